"""Providers that limit calls, on a simulated clock. Times are seconds since the start of a run."""

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

type Kind = Literal["fixed_window", "sliding_window", "token_bucket"]
KINDS: tuple[Kind, ...] = ("fixed_window", "sliding_window", "token_bucket")
type Hint = Literal["nothing", "RetryInfo", "RetryInfo + quotaValue"]
HINTS: tuple[Hint, ...] = ("nothing", "RetryInfo", "RetryInfo + quotaValue")


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call ends. `retry_after` is in seconds, `quota_value` in calls per window."""

    verdict: Literal["answered", "refused", "failed", "unreadable"]
    retry_after: float | None = None
    quota_value: int | None = None


OK = Answer("answered")
type Provider = Callable[[float, int], Answer]
"""Answers a call of a prompt at a time."""


class Limit:
    """Admits `calls` per `seconds`. A fixed window began `offset` seconds before the run."""

    def __init__(self, kind: Kind, calls: int, seconds: float = 60, offset: float = 0) -> None:
        self.kind, self.calls, self.seconds, self.offset = kind, calls, seconds, offset
        self._window, self._used = -1, 0
        self._admitted: deque[float] = deque()
        self._tokens, self._filled_at = float(calls), 0.0

    def seconds_until_open(self, now: float) -> float | None:
        """Counts a call and returns None if it is admitted, else the seconds until one is."""
        match self.kind:
            case "fixed_window":
                return self._fixed(now)
            case "sliding_window":
                return self._sliding(now)
            case "token_bucket":
                return self._bucket(now)

    def _fixed(self, now: float) -> float | None:
        window = math.floor((now + self.offset) / self.seconds)
        if window != self._window:
            self._window, self._used = window, 0
        if self._used >= self.calls:
            return (window + 1) * self.seconds - self.offset - now
        self._used += 1
        return None

    def _sliding(self, now: float) -> float | None:
        while self._admitted and self._admitted[0] <= now - self.seconds:
            self._admitted.popleft()
        if len(self._admitted) >= self.calls:
            return self._admitted[len(self._admitted) - self.calls] + self.seconds - now
        self._admitted.append(now)
        return None

    def _bucket(self, now: float) -> float | None:
        rate = self.calls / self.seconds
        self._tokens = min(self.calls, self._tokens + (now - self._filled_at) * rate)
        self._filled_at = now
        if self._tokens < 1:
            return (1 - self._tokens) / rate
        self._tokens -= 1
        return None


def limited(limit: Limit, hint: Hint) -> Provider:
    """A provider with one limit, whose refusals say as much as `hint`."""

    def answer(now: float, _prompt: int) -> Answer:
        seconds = limit.seconds_until_open(now)
        if seconds is None:
            return OK
        return Answer(
            "refused",
            retry_after=None if hint == "nothing" else seconds,
            quota_value=limit.calls if hint == "RetryInfo + quotaValue" else None,
        )

    return answer


def changing(limits: list[tuple[float, Limit]], hint: Hint) -> Provider:
    """A provider whose limit changes. Each limit holds from its time on."""
    providers = [(since, limited(limit, hint)) for since, limit in limits]

    def answer(now: float, prompt: int) -> Answer:
        provider = next(p for since, p in reversed(providers) if since <= now)
        return provider(now, prompt)

    return answer


def noisy(refused: set[int]) -> Provider:
    """A provider without a limit that refuses the first call of each of these prompts."""
    left = set(refused)

    def answer(_now: float, prompt: int) -> Answer:
        if prompt in left:
            left.discard(prompt)
            return Answer("refused")
        return OK

    return answer


def down(begins: float, ends: float) -> Provider:
    """A provider without a limit that answers 503 between two times."""
    return lambda now, _prompt: Answer("failed") if begins <= now < ends else OK


def choose(rng: random.Random, prompts: int, number: int) -> set[int]:
    """So many of the prompts at random."""
    return set(rng.sample(range(prompts), number))
