"""The peers' virtual environment, `bench/.venv`, made from a lock file at its first use."""

import json
import os
import subprocess
import sys
from pathlib import Path

from bench.measure import CannotRun
from local.settings import ROOT

BENCH = ROOT / "bench"
PEERS = BENCH / "peers"
LOCK = BENCH / "requirements.txt"
VIRTUAL = BENCH / ".venv"
# Temporary files of a run.
SCRATCH = ROOT / ".build" / "bench"
# The output of `make package`.
BUILD = ROOT / ".aws-sam" / "build"
# The interpreter without a virtual environment: it imports only from the given PYTHONPATH.
BARE_PYTHON = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"

PACKAGES = (
    "arq",
    "celery",
    "fastapi",
    "httpx",
    "huey",
    "mangum",
    "psycopg",
    "pydantic",
    "PyJWT",
    "pyrate-limiter",
    "redis",
)


def python() -> Path:
    """The interpreter of the peers' environment. Installs the peers if the lock file changed."""
    interpreter = VIRTUAL / "bin" / "python"
    stamp = VIRTUAL / ".installed"
    if not stamp.exists() or stamp.read_text() != LOCK.read_text():
        uv = str(Path(sys.executable).with_name("uv"))
        _run(uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(VIRTUAL))
        _run(uv, "pip", "sync", "--quiet", "--require-hashes", "--compile-bytecode",
             "--python", str(interpreter), str(LOCK))  # fmt: skip
        stamp.write_text(LOCK.read_text())
    return interpreter


def versions() -> dict[str, str]:
    """The versions of the installed peers."""
    if not (VIRTUAL / ".installed").exists():
        return {}
    program = (
        "import json, sys; from importlib.metadata import version;"
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    return json.loads(_run(str(python()), "-c", program, *PACKAGES))


def _run(*command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ, timeout=600
    )
    if done.returncode:
        raise CannotRun(f"{command[0]}: {done.stderr.strip()[-500:]}")
    return done.stdout
