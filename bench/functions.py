"""What is measured, ours and the peers': a module with a `lambda_handler`, and the environment that
it finds in its own process."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3

from bench import environment
from bench.environment import BARE_PYTHON, BENCH, PEERS, SCRATCH
from bench.measure import CannotRun, Sample, run_process
from bench.stage import LAYER, Event, Stage
from local.keys import USERS

# Nothing of this machine's, whose site-packages may run anything at each start, and no script's
# directory: PYTHONPATH alone.
COMMAND = [str(BARE_PYTHON), "-S", "-P", str(BENCH / "call.py")]
# What Lambda's runtime brings: boto3, and what that needs.
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six.py")


@dataclass(frozen=True, slots=True)
class Function:
    """See the module."""

    module: str
    variables: Mapping[str, str]

    def with_variables(self, **changes: str) -> "Function":
        """The same in another environment."""
        return replace(self, variables={**self.variables, **changes})

    def start(self, *events: Event) -> Sample:
        """A cold start that takes these events; one without any only imports."""
        return run_process(self.command(*events), self.variables)

    def command(self, *events: Event) -> list[str]:
        """Of such a cold start."""
        return [*COMMAND, self.module, *map(json.dumps, events)]

    @contextmanager
    def stay(self, events: Sequence[Event]) -> "Iterator[Warm]":
        """A process of it that stays, and takes these events as often as it is told to."""
        with subprocess.Popen(
            self.command(*events),
            env={**self.variables, "STAY": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield Warm(process)
            finally:
                process.kill()


class Warm:
    """A process that stays."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def call(self, times: int, position: int = 0) -> Sample:
        """The mean of so many calls with the event at this position."""
        wall, cpu = self._ask(position, times)
        return Sample(wall, cpu)

    def answer(self, position: int = 0) -> dict[str, Any]:
        """What the function answers."""
        return self._ask(position, 0)

    def _ask(self, position: int, times: int) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        try:
            self._process.stdin.write(f"{position} {times}\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise CannotRun(f"it ended: {self._process.stderr.read().strip()[-2000:]}")
        return json.loads(line)


def ours(scene: Stage, logical_id: str) -> Function:
    """A function of the template, as built: `ApiFunction`."""
    built = scene.functions[logical_id]
    return Function(
        built.handler.partition(".")[0],
        {
            **scene.variables(logical_id),
            "PYTHONPATH": f"{environment.BUILD / logical_id}:{LAYER}",
            "RUNTIME_PACKAGES": str(_runtime()),
        },
    )


def floor(scene: Stage) -> Function:
    """json and psycopg, from our layer's own build."""
    return Function(
        "bare",
        {
            "PYTHONPATH": f"{PEERS}:{LAYER}",
            "DATABASE_URL": scene.urls.api,
            "IDENTITY_KEY": scene.keys.secret("identity-key"),
            "USER_ID": USERS["client_a"],
        },
    )


def fastapi(scene: Stage) -> Function:
    """FastAPI, with packages of its own, in the same interpreter as ours."""
    packages = environment.python().parents[1] / "lib" / BARE_PYTHON.name / "site-packages"
    return Function(
        "fastapi_app.app",
        {
            **scene.variables("ApiFunction"),
            "SECRETS_EXTENSION_URL": scene.stand_in.url,
            "PYTHONPATH": f"{PEERS}:{packages}:{_schemas()}",
            "RUNTIME_PACKAGES": str(_runtime()),
        },
    )


def calls_alone(scene: Stage) -> Function:
    """google-genai and boto3, one call each, with generate's own packages."""
    generate = ours(scene, "GenerateFunction")
    path = f"{PEERS}:{generate.variables['PYTHONPATH']}"
    return Function("genai_and_put", {**generate.variables, "PYTHONPATH": path})


def _schemas() -> Path:
    """A directory with only the schemas of our built layer: the peer finds none of its packages."""
    package = SCRATCH / "schemas" / "masstock"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    _link(package, LAYER / "masstock", ("schemas", "limits.py"))
    return package.parent


def _runtime() -> Path:
    """A directory with what Lambda's runtime brings. Its bytecode is written by the first start."""
    directory = SCRATCH / "runtime"
    directory.mkdir(parents=True, exist_ok=True)
    _link(directory, Path(boto3.__file__).parents[1], RUNTIME)
    return directory


def _link(directory: Path, origin: Path, names: Sequence[str]) -> None:
    for name in names:
        link = directory / name
        link.unlink(missing_ok=True)
        link.symlink_to(origin / name)
