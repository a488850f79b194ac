"""The functions that the rows measure, ours and the peers'. Each is a module with a
`lambda_handler` and the environment variables of its process."""

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

# -S: no site-packages of this machine, which may run code at each start. -P: no directory of the
# script. Imports come from PYTHONPATH only.
COMMAND = [str(BARE_PYTHON), "-S", "-P", str(BENCH / "call.py")]
# The packages of Lambda's runtime: boto3 and its dependencies.
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six.py")


@dataclass(frozen=True, slots=True)
class Function:
    """A handler's module and its environment variables."""

    module: str
    variables: Mapping[str, str]

    def with_variables(self, **changes: str) -> "Function":
        """The same function with changed environment variables."""
        return replace(self, variables={**self.variables, **changes})

    def start(self, *events: Event) -> Sample:
        """Measures a cold start that handles these events. Without events it only imports."""
        return run_process(self.command(*events), self.variables)

    def command(self, *events: Event) -> list[str]:
        """The command of such a cold start."""
        return [*COMMAND, self.module, *map(json.dumps, events)]

    @contextmanager
    def stay(self, events: Sequence[Event]) -> "Iterator[Warm]":
        """A running process of the function that can handle these events repeatedly."""
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
    """A running process of a function."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def call(self, times: int, position: int = 0) -> Sample:
        """The mean of `times` calls with the event at this position."""
        wall, cpu = self._ask(position, times)
        return Sample(wall, cpu)

    def answer(self, position: int = 0) -> dict[str, Any]:
        """The function's answer to the event at this position."""
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
            raise CannotRun(
                f"the function's process ended: {self._process.stderr.read().strip()[-2000:]}"
            )
        return json.loads(line)


def ours(scene: Stage, logical_id: str) -> Function:
    """The built function with this logical id in the template, such as `ApiFunction`."""
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
    """json and psycopg, from our built layer."""
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
    """FastAPI with its own packages, in the same interpreter as ours."""
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
    """One call of google-genai and one of boto3, with the packages of generate."""
    return _beside_generate(scene, "genai_and_put")


def decoding(scene: Stage) -> Function:
    """Pillow alone, with the packages of generate."""
    return _beside_generate(scene, "decoding")


def without_decoding(scene: Stage) -> Function:
    """Our generate without the decoding of its images."""
    return _beside_generate(scene, "generate_without_decoding")


def _beside_generate(scene: Stage, module: str) -> Function:
    generate = ours(scene, "GenerateFunction")
    path = f"{PEERS}:{generate.variables['PYTHONPATH']}"
    return Function(module, {**generate.variables, "PYTHONPATH": path})


def _schemas() -> Path:
    """A directory with the schemas of our built layer, without the layer's packages."""
    package = SCRATCH / "schemas" / "masstock"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    _link(package, LAYER / "masstock", ("schemas", "catalogue", "limits.py"))
    return package.parent


def _runtime() -> Path:
    """A directory with the packages of Lambda's runtime. The first start writes their bytecode."""
    directory = SCRATCH / "runtime"
    directory.mkdir(parents=True, exist_ok=True)
    _link(directory, Path(boto3.__file__).parents[1], RUNTIME)
    return directory


def _link(directory: Path, origin: Path, names: Sequence[str]) -> None:
    for name in names:
        link = directory / name
        link.unlink(missing_ok=True)
        link.symlink_to(origin / name)
