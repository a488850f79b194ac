"""Payloads of the state machine. They contain ids and numbers, never a prompt or an API key."""

from dataclasses import dataclass
from typing import Any, Literal, Self, TypedDict
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ExecutionRun:
    """One run: an execution and the number of the run. Only the current run may change the
    execution."""

    execution_id: UUID
    run: int

    @property
    def machine_name(self) -> str:
        """Name of the run's machine. A second start under the same name starts nothing."""
        return f"{self.execution_id}-{self.run}"

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> Self:
        """The run in a step's input. Raises KeyError or ValueError."""
        return cls(UUID(event["execution_id"]), int(event["run"]))

    @classmethod
    def from_machine_name(cls, name: str) -> Self:
        """The inverse of `machine_name`. Raises ValueError."""
        execution_id, _, run = name.rpartition("-")
        return cls(UUID(execution_id), int(run))

    def as_input(self) -> dict[str, str | int]:
        """The machine's input. Step Functions accepts a second start only with the same text."""
        return {"execution_id": str(self.execution_id), "run": self.run}


# What the machine does next. The choices of the state machine have the same names.
type NextStep = Literal["submit", "poll", "copy", "wait", "paint", "fanout", "end"]


class Batch(TypedDict):
    """Output of fanout and of the economy steps: what comes next, and what the Map and the Wait
    read. `tier` is economy if the Map collects what a job has painted."""

    next: NextStep
    tier: Literal["standard", "economy"]
    indices: list[int]
    max_concurrency: int
    wait_seconds: int


class Turn(TypedDict):
    """Output of generate: 0 seconds if the prompt is settled, else the time until its next turn.
    `turn` counts the invocations that ended without an error."""

    wait_seconds: int
    turn: int
