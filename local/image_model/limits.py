"""The limits of /_control: so many calls in so many seconds, for each key and model.

All times are whole nanoseconds of one clock, so that no call passes or fails by rounding.
"""

import math
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from local.image_model.errors import GoogleError, limited
from local.image_model.members import (
    ControlError,
    read_flag,
    read_members,
    read_number,
    read_whole,
)

SECOND = 1_000_000_000
MOST_REQUESTS, MOST_SECONDS = 100_000, 3600
MEMBERS = {
    *("key_sha256", "model", "requests", "seconds", "kind", "offset_s"),
    *("retry_info", "quota_value", "retry_after"),
}


class Counter(Protocol):
    """Counts the calls of one key and model that passed one limit."""

    def opens_at(self, now: int) -> int:
        """Return the earliest time, `now` or later, at which a call passes."""
        ...

    def take(self, now: int) -> None:
        """Count a call that passes now."""
        ...


class FixedWindow:
    """`requests` calls in each window. The first window began `offset` before `since`."""

    def __init__(self, requests: int, length: int, since: int, offset: int = 0) -> None:
        self._requests, self._length, self._start = requests, length, since - offset
        self._window, self._used = 0, 0

    def opens_at(self, now: int) -> int:
        window = (now - self._start) // self._length
        if window != self._window or self._used < self._requests:
            return now
        return self._start + (window + 1) * self._length

    def take(self, now: int) -> None:
        window = (now - self._start) // self._length
        self._used = self._used + 1 if window == self._window else 1
        self._window = window


class SlidingWindow:
    """`requests` calls in any `length`. A call leaves the window exactly `length` later."""

    def __init__(self, requests: int, length: int) -> None:
        self._length = length
        self._passed: deque[int] = deque(maxlen=requests)

    def opens_at(self, now: int) -> int:
        if len(self._passed) < (self._passed.maxlen or 0):
            return now
        return max(now, self._passed[0] + self._length)

    def take(self, now: int) -> None:
        self._passed.append(now)


class TokenBucket:
    """A bucket of `requests` tokens, full at first, that refills `requests` tokens in `length`.

    It holds (`requests` · now - `_empty`) ÷ `length` tokens, at most `requests`. `_empty` is a time
    multiplied by `requests`, so that every number here is whole.
    """

    def __init__(self, requests: int, length: int, since: int) -> None:
        self._requests, self._length = requests, length
        self._empty = requests * (since - length)

    def opens_at(self, now: int) -> int:
        one_token = self._empty + self._length
        return max(now, -(-one_token // self._requests))

    def take(self, now: int) -> None:
        full = self._requests * (now - self._length)
        self._empty = max(self._empty, full) + self._length


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of /_control.

    It counts the calls of each key and each model apart; None means every key, every model.
    `retry_info`, `quota_value` and `retry_after` say what a refusal tells the caller.
    """

    requests: int
    seconds: float
    kind: str
    key_sha256: str | None = None
    model: str | None = None
    offset_s: float = 0
    retry_info: bool = False
    quota_value: bool = False
    retry_after: bool = False

    def covers(self, key_sha256: str, model: str) -> bool:
        """Tell whether the limit counts the calls of this key and model."""
        return self.key_sha256 in (None, key_sha256) and self.model in (None, model)

    def counter(self, since: int) -> Counter:
        """Return a counter without calls. `since` is the time at which the limit was set."""
        length = round(self.seconds * SECOND)
        match self.kind:
            case "fixed_window":
                return FixedWindow(self.requests, length, since, round(self.offset_s * SECOND))
            case "sliding_window":
                return SlidingWindow(self.requests, length)
            case _:
                return TokenBucket(self.requests, length, since)


KINDS = ("fixed_window", "token_bucket", "sliding_window")


def read_limit(where: str, value: object) -> Limit:
    """Parse one limit; ControlError if it is not valid. A null member counts as absent."""
    members = read_members(where, value, MEMBERS)
    key_sha256, model, kind = (members.get(name) for name in ("key_sha256", "model", "kind"))
    if key_sha256 is not None and not (
        isinstance(key_sha256, str) and re.fullmatch("[0-9a-f]{64}", key_sha256)
    ):
        raise ControlError(f"{where}.key_sha256 must be 64 hexadecimal digits in lower case")
    if model is not None and not isinstance(model, str):
        raise ControlError(f"{where}.model must be a string")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ControlError(f"{where}.kind must be one of {', '.join(KINDS)}")
    requests = read_whole(where, members, "requests", least=1, most=MOST_REQUESTS)
    seconds = read_number(where, members, "seconds", least=0.001, most=MOST_SECONDS)
    if requests is None or seconds is None:
        raise ControlError(f"{where} must have requests and seconds")
    offset_s = read_number(where, members, "offset_s", most=seconds)
    if offset_s is not None and kind != "fixed_window":
        raise ControlError(f"{where}.offset_s has no meaning for {kind}; only windows have edges")
    return Limit(
        requests,
        seconds,
        kind,
        key_sha256,
        model,
        offset_s or 0,
        *(read_flag(where, members, name) for name in ("retry_info", "quota_value", "retry_after")),
    )


class Limits:
    """Limits that were set at one moment, with their counts. Not safe for concurrent threads."""

    def __init__(self, limits: Sequence[Limit], since: int) -> None:
        self._limits, self._since = limits, since
        self._counters: dict[tuple[str, str], list[tuple[Limit, Counter]]] = {}

    def __len__(self) -> int:
        return len(self._limits)

    def enter(self, key_sha256: str, model: str, now: int) -> None:
        """Count a call against every limit that covers it.

        GoogleError 429 if one of them is used up. Then no limit counts the call.
        """
        counters = self._counters_of(key_sha256, model)
        opening = [(limit, counter.opens_at(now)) for limit, counter in counters]
        closed = [(limit, at) for limit, at in opening if at > now]
        if closed:
            raise _refusal(model, [limit for limit, _ in closed], max(at for _, at in closed) - now)
        for _, counter in counters:
            counter.take(now)

    def _counters_of(self, key_sha256: str, model: str) -> list[tuple[Limit, Counter]]:
        key_and_model = (key_sha256, model)
        if key_and_model not in self._counters:
            self._counters[key_and_model] = [
                (limit, limit.counter(self._since))
                for limit in self._limits
                if limit.covers(key_sha256, model)
            ]
        return self._counters[key_and_model]


def _refusal(model: str, closed: Sequence[Limit], delay: int) -> GoogleError:
    """Return a 429 that tells what these limits tell. All of them are open after `delay`."""
    error = limited(model, [limit.requests for limit in closed if limit.quota_value])
    if any(limit.retry_info for limit in closed):
        error.add_retry_info(delay / SECOND)
    if any(limit.retry_after for limit in closed):
        error.headers["Retry-After"] = str(math.ceil(delay / SECOND))
    return error
