"""State machine payloads: ids and counts only, never a prompt or a key."""

from dataclasses import dataclass
from typing import Any, Self, TypedDict
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ExecutionRun:
    """One machine's work: an execution and the number of the machine that may work on it."""

    execution_id: UUID
    run: int

    @property
    def machine_name(self) -> str:
        """Name of the machine's execution: starting the same run twice starts it once."""
        return f"{self.execution_id}-{self.run}"

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> Self:
        """From a step's input; raises KeyError or ValueError."""
        return cls(UUID(event["execution_id"]), int(event["run"]))

    @classmethod
    def from_machine_name(cls, name: str) -> Self:
        """The inverse of `machine_name`; raises ValueError."""
        execution_id, _, run = name.rpartition("-")
        return cls(UUID(execution_id), int(run))

    def as_input(self) -> dict[str, str | int]:
        """The machine's input; always the same text, since a restart compares it as text."""
        return {"execution_id": str(self.execution_id), "run": self.run}


class Batch(TypedDict):
    """What fanout hands to the Map."""

    indices: list[int]
    max_concurrency: int


class WaitSeconds(TypedDict):
    """What generate hands back: 0 when the prompt is settled, else when to come again."""

    wait_seconds: int
