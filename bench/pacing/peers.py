"""Pacers that were considered, in plain Python. They share the world of the lanes."""

import random
from collections import deque
from math import inf
from uuid import UUID

from bench.pacing.providers import Answer
from bench.pacing.world import Execution, Grant, Lesson

MINUTE_SECONDS = 60


class Backoff:
    """Each prompt learns alone: it obeys a delay, or waits twice as long after each refusal."""

    max_throttles = 8

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._refusals: dict[tuple[UUID, int], int] = {}

    def enter(self, execution: Execution, prompt: int, now: float) -> Grant:
        """Grants every call."""
        return Grant(True)

    def leave(
        self, execution: Execution, prompt: int, granted: float, answer: Answer, now: float
    ) -> Lesson:
        """Counts every refusal and every failure against its prompt."""
        key = execution.id, prompt
        earlier = self._refusals.get(key, 0)
        if answer.verdict == "refused":
            self._refusals[key] = earlier + 1
        if answer.retry_after is not None:
            return Lesson(True, answer.retry_after * self._rng.uniform(1, 1.1))
        return Lesson(True, self._rng.uniform(0, min(60, 2 * 2**earlier)))


class _Paced:
    """What all shared pacers know: the starts of the last minute, and the last lesson."""

    max_throttles = 20

    def __init__(self, _rng: random.Random) -> None:
        self._interval = 0.0
        self._next = 0.0
        self._learned = -inf
        self._starts: deque[float] = deque()

    def _start(self, now: float) -> Grant:
        self._starts.append(now)
        while self._starts[0] <= now - MINUTE_SECONDS:
            self._starts.popleft()
        return Grant(True)

    def leave(
        self, execution: Execution, prompt: int, granted: float, answer: Answer, now: float
    ) -> Lesson:
        """Learns from a success, or from the refusal of a call that began after the last lesson."""
        if answer.verdict == "answered":
            self._succeed()
        elif answer.verdict == "refused":
            if granted > self._learned:
                self._learned = now
                self._refuse(answer)
            if answer.retry_after is not None:
                self._next = max(self._next, now + answer.retry_after)
        return Lesson(answer.verdict == "failed", max(1.0, self._next - now))

    def _succeed(self) -> None:
        """A call succeeded."""

    def _refuse(self, answer: Answer) -> None:
        raise NotImplementedError


class EvenSpacing(_Paced):
    """Gives each prompt a time of its own at exactly the learned limit."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._places: dict[tuple[UUID, int], float] = {}

    def enter(self, execution: Execution, prompt: int, now: float) -> Grant:
        """Grants a call at the time that was reserved for it."""
        key = execution.id, prompt
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = max(self._next, now)
            self._next = place + self._interval
        if place <= now:
            del self._places[key]
            return self._start(now)
        return Grant(False, min(60, place - now))

    def _refuse(self, answer: Answer) -> None:
        limit = answer.quota_value or max(1, len(self._starts) - 1)
        self._interval = MINUTE_SECONDS / limit


class Aimd(_Paced):
    """Grants at the moment of the call. A success adds one call per minute to the pace, a refusal
    halves it."""

    def enter(self, execution: Execution, prompt: int, now: float) -> Grant:
        """Grants a call if one is due."""
        if now >= self._next:
            self._next = max(self._next, now - self._interval) + self._interval
            return self._start(now)
        return Grant(False, min(60, self._next - now + self._interval * (prompt % 20)))

    def _succeed(self) -> None:
        if self._interval:
            rate = MINUTE_SECONDS / self._interval
            self._interval = MINUTE_SECONDS / (rate + 1 / rate)

    def _refuse(self, answer: Answer) -> None:
        rate = MINUTE_SECONDS / self._interval if self._interval else len(self._starts)
        self._interval = MINUTE_SECONDS / max(1, rate / 2)
