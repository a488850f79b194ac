"""The figures of a paced run, computed from the model's log of calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from bench.model_control import Call


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `batches` has the texts of the prompts of each batch, in the order of submission.
    `began` is the time of the first submission, `submitted` that of the last one, both in seconds
    since 1970. `calls` are in the order of their arrival."""

    batches: Mapping[str, Sequence[str]]
    began: float
    submitted: float
    calls: Sequence[Call]

    @property
    def prompts(self) -> int:
        """How many prompts were submitted."""
        return sum(map(len, self.batches.values()))

    @property
    def images(self) -> dict[str, float]:
        """The prompts that have an image, with the start of the call that painted it."""
        painted: dict[str, float] = {}
        for call in self.calls:
            if call.behave == "ok":
                painted.setdefault(call.prompt, call.time)
        return painted

    @property
    def lost(self) -> int:
        """How many prompts have no image."""
        images = self.images
        return sum(prompt not in images for texts in self.batches.values() for prompt in texts)

    @property
    def refused(self) -> int:
        """How many calls were answered with 429, by the limit or by a rule."""
        return self._count("limited") + self._count("throttle")

    @property
    def failed(self) -> int:
        """How many calls met an outage."""
        return self._count("outage")

    @property
    def seconds(self) -> float:
        """The time from the first submission to the start of the last call."""
        return self.calls[-1].time - self.began if self.calls else 0.0

    def share(self, rate: float) -> float:
        """The images as a part of those that `rate` calls per second allow until the start of the
        last call; 0 without a call. The burst at the start can lift it over 1."""
        return len(self.images) / (rate * self.seconds) if self.calls else 0.0

    def fairness(self) -> float:
        """Jain's index of the images of the batches, while all of them are active: from the last
        submission until a batch has its last image. A batch that lost a prompt stays active.
        Raises ValueError if no image was painted in that time."""
        images = self.images
        times = [
            [images[text] for text in texts if text in images] for texts in self.batches.values()
        ]
        sizes = map(len, self.batches.values())
        ends = [max(own) for own, size in zip(times, sizes, strict=True) if len(own) == size]
        until = min(ends, default=inf)
        return jain([sum(self.submitted <= time <= until for time in own) for own in times])

    def over_time(self, behave: str, step: float) -> list[int]:
        """How many calls with this behaviour began in each interval of `step` seconds since the
        first submission."""
        counts = [0] * (int(self.seconds / step) + 1)
        for call in self.calls:
            if call.behave == behave:
                counts[int((call.time - self.began) / step)] += 1
        return counts

    def _count(self, behave: str) -> int:
        return sum(call.behave == behave for call in self.calls)


def jain(amounts: Sequence[float]) -> float:
    """Jain's index: 1 for equal amounts, 1 ÷ their number if one has all. Raises ValueError if
    there is nothing to share."""
    squares = sum(amount * amount for amount in amounts)
    if not squares:
        raise ValueError("nothing was shared")
    return sum(amounts) ** 2 / (len(amounts) * squares)
