"""The CPU time and the memory of processes."""

import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.measure import CannotRun, Sample

# Text of a command line and the kind's name. The first match counts.
KINDS = (
    ("aws-lambda-rie", "lambda emulator"),
    ("generate.lambda_handler", "generate"),
    ("awslambdaric", "other functions"),
    ("local.aws", "step functions and S3"),
    ("local.image_model", "model"),
    ("local supervise", "gateway and pool"),
    ("postgres", "postgres"),
)
MEGABYTE = 1_000_000
_TICKS = os.sysconf("SC_CLK_TCK")
_POLL_SECONDS = 0.05


def measured(command: Sequence[str | Path], environment: Mapping[str, str]) -> tuple[Sample, float]:
    """Runs a program; returns its times, and its peak memory in megabytes. Raises CannotRun if it
    fails.

    The peak is read while the program runs: the peak that wait4 returns begins with that of the
    parent.
    """
    peak = 0.0
    began = time.perf_counter()
    with subprocess.Popen(command, env=dict(environment)) as process:
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                process.returncode = os.waitstatus_to_exitcode(status)
                break
            peak = max(peak, memory_mb(process.pid, "VmHWM"))
            time.sleep(_POLL_SECONDS)
    if process.returncode:
        raise CannotRun(f"{command} failed")
    return Sample(time.perf_counter() - began, usage.ru_utime + usage.ru_stime), round(peak, 1)


def memory_mb(process: int, which: str = "VmRSS") -> float:
    """Megabytes that a process uses (VmRSS) or used at most (VmHWM); 0 if it has ended."""
    return _megabytes(Path(f"/proc/{process}/status"), which)


def shared_memory_mb(ancestor: int) -> float:
    """Megabytes that `ancestor` and its living descendants use. Pages that processes share count
    once (PSS)."""
    parents, _ = _processes()
    return sum(
        _megabytes(Path(f"/proc/{process}/smaps_rollup"), "Pss")
        for process in _descendants(ancestor, parents)
    )


def _megabytes(file: Path, field: str) -> float:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    return sum(
        int(line.split()[1]) * 1024 / MEGABYTE for line in lines if line.startswith(f"{field}:")
    )


def cpu_by_kind(ancestor: int) -> dict[str, float]:
    """Seconds of CPU that `ancestor` and its living descendants have used, by kind."""
    parents, spent = _processes()
    total: defaultdict[str, float] = defaultdict(float)
    for process in _descendants(ancestor, parents):
        total[_kind_of(process)] += spent[process]
    return total


def _processes() -> tuple[dict[int, int], dict[int, float]]:
    """The parent of every process, and its seconds of CPU."""
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            try:
                # The fields follow the last closing bracket: the command's name is in brackets
                # and can contain brackets itself.
                fields = (directory / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(directory.name)] = int(fields[1])
            spent[int(directory.name)] = (int(fields[11]) + int(fields[12])) / _TICKS
    return parents, spent


def _descendants(ancestor: int, parents: Mapping[int, int]) -> list[int]:
    found = [ancestor]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return [process for process in found if process in parents]


def _kind_of(process: int) -> str:
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return "gone"
    return next((kind for text, kind in KINDS if text in command), "others")
