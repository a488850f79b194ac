"""A part of an archive is built in bounded memory, in a process of its own."""

import subprocess
import sys

import pytest

from local.settings import ROOT


@pytest.mark.slow
def test_a_part_of_many_images_is_built_in_200_megabytes() -> None:
    command = [sys.executable, "-m", "bench.large_archive", "400"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
