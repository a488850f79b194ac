"""The packages that a function imports, and the time of each."""

import re
import subprocess
from collections import Counter

from bench.functions import Function
from bench.measure import CannotRun
from bench.stage import Event

# A line of `-X importtime`: microseconds of a module without its own imports, and its name.
LINE = re.compile(r"import time:\s*(\d+) \|\s*\d+ \|\s*(\S+)")
SHOWN = 12
ROUNDS = 3


def of(function: Function, *events: Event) -> dict[str, float]:
    """Milliseconds by package, the slowest first; the rest is `(others)`.

    Takes the quickest of a few runs, which also handle these events. Profiling makes imports a
    little slower, so the proportions are more exact than the times.
    """
    runs = [_once(function, *events) for _ in range(ROUNDS)]
    packages = min(runs, key=lambda run: run.total())
    shown = dict(packages.most_common(SHOWN))
    shown["(others)"] = packages.total() - sum(shown.values())
    return {name: round(microseconds / 1000, 1) for name, microseconds in shown.items()}


def _once(function: Function, *events: Event) -> Counter[str]:
    interpreter, *rest = function.command(*events)
    done = subprocess.run(
        [interpreter, "-X", "importtime", *rest],
        env=dict(function.variables),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotRun(f"{function.module} was not imported: {done.stderr.strip()[-500:]}")
    packages: Counter[str] = Counter()
    for microseconds, module in LINE.findall(done.stderr):
        # google is a namespace of several packages.
        parts = module.split(".")
        packages[".".join(parts[: 2 if parts[0] == "google" else 1])] += int(microseconds)
    return packages
