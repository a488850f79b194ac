"""The method of measuring: interleaved rounds, CPU and wall time, medians."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

MILLISECONDS = 1000


class CannotRun(Exception):
    """A row cannot be measured on this machine. The text becomes the row's reason."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement, in seconds. `cpu` is user plus system time."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table. `ratio` is ours ÷ reference. It is None without a measurement, and then
    `reason` says why. `details` holds further figures, such as the other clock's times."""

    name: str
    ours: float | None
    reference: float | None
    reference_name: str
    unit: str
    details: Mapping[str, Any]
    reason: str | None = None

    @property
    def ratio(self) -> float | None:
        if self.ours is None or self.reference is None:
            return None
        return self.ours / self.reference


def compare(
    name: str,
    ours: Sequence[Sample],
    reference: Sequence[Sample],
    reference_name: str,
    *,
    clock: str,
    **details: Any,
) -> Row:
    """The row of two variants from the same rounds, on one clock (`wall` or `cpu`). The details get
    the other clock's times and the quartiles of the rounds' ratios."""
    other = "cpu" if clock == "wall" else "wall"

    def middle(samples: Sequence[Sample], which: str) -> float:
        return median(getattr(sample, which) for sample in samples)

    rounds = sorted(
        getattr(a, clock) / getattr(b, clock) for a, b in zip(ours, reference, strict=True)
    )
    quarter = len(rounds) // 4
    return Row(
        name,
        middle(ours, clock) * MILLISECONDS,
        middle(reference, clock) * MILLISECONDS,
        reference_name,
        f"ms {clock}",
        {
            "rounds": len(rounds),
            "ratio_quartiles": [round(rounds[quarter], 3), round(rounds[-1 - quarter], 3)],
            f"ours_ms_{other}": round(middle(ours, other) * MILLISECONDS, 3),
            f"reference_ms_{other}": round(middle(reference, other) * MILLISECONDS, 3),
            **details,
        },
    )


def interleave(
    rounds: int, variants: Mapping[str, Callable[[], Sample]], *, warm_up: int = 1
) -> dict[str, list[Sample]]:
    """Samples of every variant, one each per round, in an order that rotates. The first `warm_up`
    rounds do not count."""
    names = list(variants)
    samples: dict[str, list[Sample]] = {name: [] for name in names}
    for number in range(-warm_up, rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            sample = variants[name]()
            if number >= 0:
                samples[name].append(sample)
    return samples


def timed(call: Callable[[], object], times: int = 1) -> Sample:
    """Measures a call in this process. For a quick call, takes the mean of `times` calls."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        call()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Sample(wall / times, cpu / times)


def run_process(
    command: Sequence[str], environment: Mapping[str, str], directory: Path | None = None
) -> Sample:
    """Measures a whole process, including the child processes that it waited for. If it fails,
    raises CannotRun with the end of its stderr."""
    began = time.perf_counter()
    with subprocess.Popen(
        command,
        env=dict(environment),
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        complaint = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise CannotRun(f"{command[0]} failed: {complaint.strip()[-2000:]}")
    return Sample(time.perf_counter() - began, usage.ru_utime + usage.ru_stime)
