"""Executions that paint on one lane, on a simulated clock.

Each child of an execution paints one prompt after another, as the state machine does: it asks the
pacer, sleeps short waits inside the function, and leaves longer ones to a Wait state of whole
seconds. Times are seconds since the start of the run.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol
from uuid import UUID

from bench.pacing.providers import Answer, Provider

NETWORK_SECONDS = 0.05
# A Wait state, the next invocation and the claim.
TRANSITION_SECONDS = 0.1
LONGEST_SLEEP_SECONDS = 1.0
SLEEP_PER_INVOCATION_SECONDS = 3.0
MAX_FAILURES, MAX_PROBES = 4, 10
LEASE_SECONDS = 225


@dataclass(frozen=True, slots=True)
class Grant:
    """What a pacer says to a prompt that asks."""

    granted: bool
    wait_seconds: float = 0
    gives_up: bool = False


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a pacer says to a call that ended without an image."""

    counts: bool
    wait_seconds: float
    was_probe: bool = False


@dataclass(slots=True)
class Execution:
    """One batch. `client` shares the lane with other clients if the lane is the platform's."""

    id: UUID
    client: UUID
    prompts: int
    began: float
    waiting: list[int]
    started: list[float] = field(default_factory=list)
    done: list[float] = field(default_factory=list)


class Pacer(Protocol):
    """Decides when calls are made, and learns from their ends. So many refusals that count end a
    prompt."""

    max_throttles: int

    def enter(self, execution: Execution, prompt: int, now: float) -> Grant:
        """May this prompt call the model now?"""
        ...

    def leave(
        self, execution: Execution, prompt: int, granted: float, answer: Answer, now: float
    ) -> Lesson:
        """A call that was granted at a time ended."""
        ...


class World:
    """Runs executions on one pacer and one provider."""

    def __init__(
        self,
        pacer: Pacer,
        provider: Provider,
        rng: random.Random,
        *,
        latency: float = 1.0,
        killed: float = 0.0,
        rounding: Literal["down", "up"] = "down",
    ) -> None:
        self._pacer, self._provider, self._rng = pacer, provider, rng
        self._latency, self._killed, self._rounds_up = latency, killed, rounding == "up"
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = itertools.count()
        self._tries: dict[tuple[UUID, int], dict[str, int]] = {}
        self.calls: list[float] = []
        self.refused: list[float] = []
        self.failed: list[float] = []
        self.images: list[float] = []
        self.lost = 0
        self.asked = 0

    def submit(
        self, prompts: int, *, at: float = 0, client: UUID | None = None, concurrency: int = 20
    ) -> Execution:
        """Adds an execution. Its children start within a third of a second."""
        execution = Execution(
            self._uuid(), client or self._uuid(), prompts, at, list(reversed(range(prompts)))
        )
        for child in range(min(concurrency, prompts)):
            self._at(at + 0.015 * child + 0.02 * self._rng.random(), self._next, execution)
        return execution

    def cancel(self, execution: Execution, at: float) -> None:
        """Ends an execution: its children ask no more."""
        self._at(at, self._end, execution)

    def run(self, until: float = 1e6) -> None:
        """Plays all events until nothing is left or the time is over."""
        while self._events and self._events[0][0] <= until:
            now, _, event, arguments = heapq.heappop(self._events)
            event(now, *arguments)

    @property
    def last_call(self) -> float:
        """When the last call started."""
        return max(self.calls)

    def _uuid(self) -> UUID:
        return UUID(int=self._rng.getrandbits(128))

    def _at(self, time: float, event: Callable[..., None], *arguments: object) -> None:
        heapq.heappush(self._events, (time, next(self._order), event, arguments))

    def _end(self, _now: float, execution: Execution) -> None:
        execution.waiting.clear()
        execution.prompts = -1

    def _next(self, now: float, execution: Execution) -> None:
        if execution.waiting:
            prompt = execution.waiting.pop()
            self._tries[execution.id, prompt] = {"throttles": 0, "failures": 0, "probes": 0}
            self._ask(now, execution, prompt, 0.0)

    def _lose(self, now: float, execution: Execution) -> None:
        self.lost += 1
        self._at(now, self._next, execution)

    def _ask(self, now: float, execution: Execution, prompt: int, slept: float) -> None:
        if execution.prompts < 0:
            return
        self.asked += 1
        said = self._pacer.enter(execution, prompt, now)
        if said.gives_up:
            self._lose(now, execution)
        elif said.granted:
            self._call(now, execution, prompt)
        elif said.wait_seconds <= LONGEST_SLEEP_SECONDS and slept <= SLEEP_PER_INVOCATION_SECONDS:
            pause = said.wait_seconds
            self._at(now + pause + 0.005, self._ask, execution, prompt, slept + pause)
        else:
            self._wait(now, execution, prompt, said.wait_seconds)

    def _wait(self, now: float, execution: Execution, prompt: int, seconds: float) -> None:
        whole = max(1, -int(-seconds // 1) if self._rounds_up else int(seconds))
        late = TRANSITION_SECONDS * (0.5 + self._rng.random())
        self._at(now + whole + late, self._ask, execution, prompt, 0.0)

    def _call(self, now: float, execution: Execution, prompt: int) -> None:
        self.calls.append(now)
        answer = self._provider(now + NETWORK_SECONDS / 2, prompt)
        if answer.verdict == "answered":
            if self._rng.random() < self._killed:
                self._at(now + LEASE_SECONDS, self._ask, execution, prompt, 0.0)
                return
            seconds = NETWORK_SECONDS + self._latency * self._rng.uniform(0.9, 1.1)
        else:
            (self.refused if answer.verdict == "refused" else self.failed).append(now)
            seconds = NETWORK_SECONDS * self._rng.uniform(0.9, 1.3)
        self._at(now + seconds, self._leave, execution, prompt, now, answer)

    def _leave(
        self, now: float, execution: Execution, prompt: int, granted: float, answer: object
    ) -> None:
        lesson = self._pacer.leave(execution, prompt, granted, answer, now)
        if answer.verdict == "answered":
            self.images.append(granted)
            execution.started.append(granted)
            execution.done.append(now)
            self._at(now + 0.02, self._next, execution)
            return
        tries = self._tries[execution.id, prompt]
        tries["probes"] += lesson.was_probe
        if lesson.counts:
            tries["throttles" if answer.verdict == "refused" else "failures"] += 1
        if (
            tries["throttles"] >= self._pacer.max_throttles
            or tries["failures"] >= MAX_FAILURES
            or tries["probes"] >= MAX_PROBES
        ):
            self._lose(now, execution)
        elif answer.verdict == "refused" or not lesson.counts:
            self._wait(now, execution, prompt, lesson.wait_seconds)
        else:
            # The state machine repeats a failure after a random time.
            pause = 2 ** tries["failures"] * self._rng.random()
            self._at(now + pause + TRANSITION_SECONDS, self._ask, execution, prompt, 0.0)
