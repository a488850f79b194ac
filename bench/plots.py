"""Runs `bench.draw` in the peers' environment, which has matplotlib."""

import subprocess

from bench import environment
from bench.measure import CannotRun
from local.settings import ROOT


def draw() -> None:
    """Replaces the plots; raises CannotRun with the end of the program's stderr."""
    command = [str(environment.python()), "-m", "bench.draw"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotRun(f"the plots were not drawn: {done.stderr.strip()[-500:]}")
