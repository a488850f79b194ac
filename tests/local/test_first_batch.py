"""A batch right after `make up` does not wait for cold environments while warm ones stand idle."""

import os
import time
from pathlib import Path

import pytest

from local.aws.execution_environment import ExecutionEnvironment
from local.aws.resources import LambdaFunction
from local.aws.template import read_template
from local.settings import ROOT, Settings
from local.wiring import template_parameters
from tests.e2e.conftest import Stack, counts, run_local

pytestmark = pytest.mark.timeout(280)

PROMPTS = [f"first batch {number}" for number in range(30)]


def generate() -> LambdaFunction:
    parameters = template_parameters(Settings.from_environment({}), "http://keys")
    functions = read_template(ROOT / "template.yaml", parameters).functions
    return next(f for f in functions if f.logical_id == "GenerateFunction")


def cold_start(tmp_path: Path) -> float:
    """The seconds that generate needs to start on this machine now."""
    function = generate()
    variables = {"PATH": os.environ["PATH"], **function.variables}
    began = time.monotonic()
    environment = ExecutionEnvironment(function, variables, tmp_path / "log")
    try:
        assert not environment.initialize().failed
    finally:
        environment.destroy()
    return time.monotonic() - began


def paint(stack: Stack) -> float:
    began = time.monotonic()
    execution = stack.wait(stack.submit(PROMPTS), 120)
    assert counts(execution)["successful"] == len(PROMPTS)
    return time.monotonic() - began


# It compares times, so no other test may run beside it.
@pytest.mark.slow
def test_the_first_batch_takes_little_longer_than_a_warm_one(tmp_path: Path) -> None:
    directory = tmp_path / "stack"
    try:
        run_local("up", directory)
        stack = Stack(directory)
        first = paint(stack)
        start = cold_start(tmp_path)
        warm = paint(stack)
    finally:
        run_local("clean", directory)
    print(f"first {first:.1f} s, warm {warm:.1f} s, cold start {start:.1f} s")
    assert first <= 2.5 * warm + start
