"""Environments that die before a handler begins cost no attempt."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Stack, counts

pytestmark = pytest.mark.timeout(200)
# Importing generate's handler takes longer than this on every machine.
YOUNG_SECONDS = 0.3


def runtimes_of_generate(stack: Stack) -> dict[int, float]:
    """The age in seconds of each runtime of generate, by pid."""
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    ticks = os.sysconf("SC_CLK_TCK")
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command = (directory / "cmdline").read_bytes()
            variables = (directory / "environ").read_bytes()
            fields = (directory / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        mine = stack.access["s3_endpoint"].encode() in variables
        # The emulator has the runtime's command at the end of its own.
        runtime = b"\0awslambdaric\0generate.lambda_handler" in command
        if mine and runtime and b"aws-lambda-rie" not in command:
            found[int(directory.name)] = uptime - int(fields[19]) / ticks
    return found


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def paint(stack: Stack, name: str) -> str:
    return stack.submit([f"{name} {number}" for number in range(12)])


def assert_complete_at_the_first_attempt(stack: Stack, execution_id: str, name: str) -> None:
    assert counts(stack.wait(execution_id, 120)) == {"successful": 12, "failed": 0, "total": 12}
    assert {row["attempts"] for row in stack.results(execution_id)} == {1}
    assert len(stack.calls(f"{name} ")) == 12


def test_runtimes_that_died_idle_cost_no_attempt(stack: Stack) -> None:
    assert_complete_at_the_first_attempt(stack, paint(stack, "warm up"), "warm up")
    idle = runtimes_of_generate(stack)
    assert idle
    for pid in idle:
        kill(pid)
    assert_complete_at_the_first_attempt(stack, paint(stack, "after idle"), "after idle")


def test_runtimes_that_die_during_init_cost_no_attempt(stack: Stack) -> None:
    for pid in runtimes_of_generate(stack):
        kill(pid)
    execution_id = paint(stack, "during init")
    killed = 0
    deadline = time.monotonic() + 20
    while killed < 3 and time.monotonic() < deadline:
        for pid, age in runtimes_of_generate(stack).items():
            if age < YOUNG_SECONDS:
                kill(pid)
                killed += 1
        time.sleep(0.05)
    assert killed >= 3
    assert_complete_at_the_first_attempt(stack, execution_id, "during init")
