"""`make sam-local` without Docker: a stand-in for SAM runs the built functions as processes.

`test_sam_local.py` runs the same command with real containers where Docker is installed.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from local.aws.sam import IMAGE, MACHINE
from local.errors import StackError
from local.processes import children
from local.processes.health import wait_for_health
from local.settings import ROOT
from tests.contract.conftest import sam_build
from tests.support.web import Web, listening

pytestmark = pytest.mark.timeout(600)

WORKFLOW = "789e1234-e89b-12d3-a456-426614174002"
READY_SECONDS = 180
IMPORT_ERROR = {
    "errorMessage": "Unable to import module 'api': No module named 'masstock'",
    "errorType": "Runtime.ImportModuleError",
    "requestId": "",
    "stackTrace": [],
}
# The stack listens on 127.0.0.1. Containers reach it through another address of this machine.
GATEWAY = '[{"IPAM": {"Config": [{"Subnet": "127.0.7.0/24", "Gateway": "127.0.7.1"}]}}]'
DOCKER = """\
#!/bin/sh
case "$1 $2" in
  "network inspect") echo '%s';;
  "image inspect") exit %d;;
  pull*) echo "Error response from daemon: no such host" >&2; exit 1;;
  *) exit 64;;
esac
"""
SAM = """\
#!/bin/sh
exec '%s' -m tests.support.sam_without_docker "$@"
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory with `docker`, which has the base image, and `sam`, which needs no Docker."""
    directory = tmp_path / "bin"
    directory.mkdir()
    write_program(directory / "docker", DOCKER % (GATEWAY, 0))
    write_program(directory / "sam", SAM % sys.executable)
    return directory


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture(scope="module")
def first_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sam_build(ROOT, tmp_path_factory.mktemp("package") / "build", MACHINE)


@pytest.fixture
def build(first_build: Path, tmp_path: Path) -> Path:
    """A build that the test may change."""
    return Path(shutil.copytree(first_build, tmp_path / "build"))


def command(
    programs: Path, directory: Path, *arguments: object
) -> tuple[list[object], dict[str, str]]:
    environment = {
        **os.environ,
        "LOCAL_DIR": str(directory),
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    environment.pop("PORT", None)
    return [sys.executable, "-m", "local", "sam", *arguments], environment


def run(
    line: list[object], environment: dict[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line,
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def clean(environment: dict[str, str]) -> None:
    done = run([sys.executable, "-m", "local", "clean"], environment, seconds=120)
    assert done.returncode == 0, done.stderr


@contextmanager
def serving(programs: Path, build: Path, directory: Path) -> Iterator[dict[str, Any]]:
    """stack.json of a stack behind SAM, with `sam_url` and `printed`."""
    arguments, environment = command(programs, directory, "--built", build / "template.yaml")
    output = directory.with_suffix(".output")
    with output.open("w") as file:
        process = subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while "start-api" not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.2)
        stack = json.loads((directory / "stack.json").read_text())
        printed = output.read_text()
        yield {**stack, "sam_url": printed.split()[3], "printed": printed}
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()
        clean(environment)


def get(stack: dict[str, Any], path: str, token: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(stack["sam_url"] + path, headers=headers, timeout=60)


def paint(stack: dict[str, Any], token: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    body = {"workflow_id": WORKFLOW, "prompts": ["a red fox", "a whale"], "api_key": "any-key-1"}
    executions = f"{stack['sam_url']}/v1/executions"
    submitted = requests.post(executions, json=body, headers=headers, timeout=60)
    assert submitted.status_code == 202, submitted.text
    deadline = time.monotonic() + 120
    while True:
        execution = get(stack, f"/v1/executions/{submitted.json()['id']}", token).json()
        if execution["status"] in ("completed", "failed"):
            return execution
        assert time.monotonic() < deadline, execution
        time.sleep(0.5)


@pytest.mark.slow
def test_two_stacks_of_one_build_keep_serving_while_it_is_built_again(
    programs: Path, build: Path, tmp_path: Path
) -> None:
    with ExitStack() as running:
        first = running.enter_context(serving(programs, build, tmp_path / "first"))
        second = running.enter_context(serving(programs, build, tmp_path / "second"))
        # `sam build` begins so.
        shutil.rmtree(build)
        for stack in (first, second):
            assert get(stack, "/health", "").status_code == 200
        sam_build(ROOT, build, MACHINE)
        for mine, other in ((first, second), (second, first)):
            token = mine["tokens"]["client_a"]
            assert get(mine, "/v1/me", token).status_code == 200
            assert get(other, "/v1/me", token).status_code == 401
            execution = paint(mine, token)
            assert (execution["status"], execution["output_data"]["successful"]) == ("completed", 2)
        for stack, name in ((first, "first"), (second, "second")):
            template = tmp_path / name / "build/sam-local.yaml"
            assert f"-t {os.path.relpath(template, ROOT)} --skip-pull-image" in stack["printed"]
            assert template.exists()


@pytest.mark.slow
def test_functions_that_cannot_be_imported_are_not_served(
    programs: Path, build: Path, tmp_path: Path
) -> None:
    # The bytecode of a build is never compared with its source.
    shutil.rmtree(build / "ApiFunction/__pycache__")
    (build / "ApiFunction/api.py").write_text("import a_package_that_was_forgotten\n")
    arguments, environment = command(
        programs, tmp_path / "stack", "--built", build / "template.yaml"
    )
    try:
        done = run(arguments, environment, seconds=300)
    finally:
        clean(environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert "/health answers Runtime.ImportModuleError" in done.stderr
    assert "a_package_that_was_forgotten" in done.stderr
    assert "start-api.log" in done.stderr


@pytest.mark.parametrize("arguments", [["--check"], []])
def test_a_missing_base_image_is_named_before_anything_starts(
    programs: Path, tmp_path: Path, arguments: list[str]
) -> None:
    write_program(programs / "docker", DOCKER % (GATEWAY, 1))
    line, environment = command(
        programs, tmp_path / "stack", "--built", ROOT / "template.yaml", *arguments
    )
    try:
        done = run(line, environment, seconds=60)
    finally:
        started = (tmp_path / "stack").exists()
        clean(environment)
    assert (done.returncode, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()
    assert first == f"The base image {IMAGE} is missing. Docker pulls it …"
    assert f"docker pull {IMAGE}" in second
    assert "no such host" in second
    assert not started


def test_make_looks_for_docker_before_it_builds() -> None:
    shown = subprocess.run(
        ["make", "--dry-run", "sam-local"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert 0 < shown.index("local sam --check") < shown.index("sam build")


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (IMPORT_ERROR, 200, "Runtime.ImportModuleError: Unable to import module 'api'"),
        ({"errorType": "Runtime.HandlerNotFound"}, 200, "Runtime.HandlerNotFound"),
    ],
)
def test_an_error_in_a_200_ends_the_wait_at_once(
    body: dict[str, Any], status: int, reason: str, tmp_path: Path
) -> None:
    with listening() as server:
        web = server.web = Web("")
        web.answer(body, status)
        with pytest.raises(StackError, match=reason):
            wait_for_health(server.server_port, tmp_path, seconds=30)
        assert len(web.requests) == 1


@pytest.mark.parametrize(
    "body", [{}, {"message": "ok"}, b"ok", [], {"status": "starting"}, {"errorType": "KeyError"}]
)
def test_only_the_body_of_health_is_healthy(body: object, tmp_path: Path) -> None:
    with listening() as server:
        web = server.web = Web("")
        web.answer(body)
        with pytest.raises(StackError, match="/health answers 200"):
            wait_for_health(server.server_port, tmp_path, seconds=0.5)
        web.answer({"status": "ok"})
        wait_for_health(server.server_port, tmp_path, seconds=10)


def test_a_server_that_ends_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(StackError, match="its server ended"):
        wait_for_health(children.free_port(), tmp_path, seconds=60, alive=lambda: False)
    assert time.monotonic() - began < 10


def test_sam_build_in_a_fresh_clone_names_make_package(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for name in ("layers", "functions", "statemachine"):
        shutil.copytree(ROOT / name, clone / name)
    shutil.copy(ROOT / "template.yaml", clone)
    done = subprocess.run(
        [Path(sys.executable).with_name("sam"), "build"],
        cwd=clone,
        env={**os.environ, "SAM_CLI_TELEMETRY": "0"},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert ".venv is missing or has no uv; run `make package`" in done.stderr
