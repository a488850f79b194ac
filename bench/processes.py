"""The CPU time of a stack's processes, by kind of process."""

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

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
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_by_kind(ancestor: int) -> dict[str, float]:
    """Seconds of CPU that `ancestor` and its living descendants have used, by kind."""
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
    total: defaultdict[str, float] = defaultdict(float)
    for process in _descendants(ancestor, parents):
        total[_kind_of(process)] += spent[process]
    return total


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
