"""The built artifacts that several contract tests examine."""

import os
import platform
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"


def sam_build(root: Path, target: Path, architecture: str) -> Path:
    """Builds as `make package` does, into another directory."""
    done = subprocess.run(
        [
            ROOT / ".venv/bin/sam",
            "build",
            "--build-dir",
            target,
            "--parameter-overrides",
            f"Architecture={architecture}",
        ],
        cwd=root,
        env={**os.environ, "ARCHITECTURE": architecture, "SAM_CLI_TELEMETRY": "0"},
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return target


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts for this machine's architecture."""
    return sam_build(ROOT, tmp_path_factory.mktemp("build") / "here", HERE)
