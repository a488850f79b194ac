"""Writes the table, `bench/results.json` and `bench/machine.json`."""

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.catalogue import GOALS
from bench.measure import Row

BENCH = Path(__file__).parent
RESULTS = BENCH / "results.json"
MACHINE = BENCH / "machine.json"
PACKAGES = (
    "aws-lambda-powertools",
    "boto3",
    "cryptography",
    "google-genai",
    "moto",
    "psycopg",
    "pydantic",
    "PyJWT",
)
# More digits would be noise.
DIGITS = 4


def as_result(row: Row) -> dict[str, Any]:
    """The row in the form of `results.json`."""
    goal = GOALS[row.name]
    ratio = row.ratio
    return {
        "name": row.name,
        "ours": _rounded(row.ours),
        "reference": _rounded(row.reference),
        "reference_name": row.reference_name,
        "unit": row.unit,
        "ratio": _rounded(ratio),
        "goal": goal.text,
        "met": ratio is not None and goal.is_met(ratio),
        **({"reason": row.reason} if row.reason else {}),
        "details": dict(row.details),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


def write(rows: Sequence[Row], *, full: bool, seconds: float, peers: dict[str, str]) -> None:
    """Replaces the files of the last run."""
    results = [as_result(row) for row in rows]
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    machine = {
        "date": datetime.now(UTC).date().isoformat(),
        "sizes": "full" if full else "quick",
        "seconds": round(seconds),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "peers": peers,
    }
    MACHINE.write_text(json.dumps(machine, indent=2) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


HEADING = f"{'row':18}{'ours':>12}{'peer':>12}  {'ratio':>7}  {'goal':9}{'verdict':9}against"


def line(row: Row) -> str:
    """A row of the table on the terminal."""
    result = as_result(row)
    if result["ratio"] is None:
        return f"{row.name:18}{'':24}  {'–':>7}  {result['goal']:9}{'not run':9}{row.reason}"
    unit = row.unit.split(" ", maxsplit=1)[0]
    ours, reference = (f"{result[side]:g} {unit}" for side in ("ours", "reference"))
    verdict = "met" if result["met"] else "MISSED"
    return (
        f"{row.name:18}{ours:>12}{reference:>12}  {result['ratio']:7.3f}  "
        f"{result['goal']:9}{verdict:9}{row.reference_name}"
    )
