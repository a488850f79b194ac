"""Node of the environment, and the npm packages of tests/typescript. `python -m tests.support.node`
installs them into .venv; the first test that needs them does it otherwise."""

import shutil
import subprocess
from pathlib import Path

from tools import npm

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "tests/typescript"


def packages() -> Path:
    """The folder `node_modules`, as package-lock.json says."""
    return npm.packages(SOURCES)


def run(folder: Path, script: str, *arguments: str | Path, text: str = "") -> str:
    """Runs a script of tests/typescript, copied to `folder`, so that it finds the packages. `text`
    is its standard input. Returns what it prints."""
    link(folder)
    return _node(folder, shutil.copy(SOURCES / script, folder), *arguments, text=text)


def tool(folder: Path, name: str, *arguments: str | Path) -> str:
    """Runs a command of a package, for example `tsc`, in `folder`. Returns what it prints."""
    link(folder)
    return _node(folder, (packages() / ".bin" / name).resolve(), *arguments)


def link(folder: Path) -> None:
    """Lets scripts in the folder find the packages."""
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(packages())


def _node(folder: Path, *command: str | Path, text: str = "") -> str:
    done = subprocess.run(
        [npm.NODE, *command],
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


if __name__ == "__main__":
    packages()
