"""`make sam-local` paints prompts in Lambda's own containers. Needs Docker and the base image."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from local.aws.sam import IMAGE, MACHINE
from local.settings import ROOT

READY_SECONDS = 300
WORKFLOW = "789e1234-e89b-12d3-a456-426614174002"

pytestmark = pytest.mark.timeout(600)


def docker(*arguments: str, seconds: float = 30) -> subprocess.CompletedProcess[str]:
    command = ["docker", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)


@pytest.fixture(scope="module")
def containers() -> None:
    """Skip without Docker or without the base image."""
    try:
        if docker("info").returncode:
            pytest.skip("no Docker daemon answers here")
    except (OSError, subprocess.TimeoutExpired):
        pytest.skip("Docker is not installed here")
    if docker("image", "inspect", IMAGE).returncode:
        pulled = docker("pull", IMAGE, seconds=240)
        if pulled.returncode:
            pytest.skip(f"{IMAGE} is missing and cannot be pulled: {pulled.stderr.strip()[:120]}")


@pytest.fixture(scope="module")
def sam(containers: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """stack.json of a stack behind SAM, and `sam_url`."""
    directory = tmp_path_factory.mktemp("sam")
    build = directory / "build"
    architecture = f"Architecture={MACHINE}"
    subprocess.run(
        ["sam", "build", "--build-dir", build, "--parameter-overrides", architecture],
        cwd=ROOT,
        env={**os.environ, "ARCHITECTURE": MACHINE, "PATH": path(), "SAM_CLI_TELEMETRY": "0"},
        check=True,
        capture_output=True,
        timeout=240,
    )
    environment = {**os.environ, "LOCAL_DIR": str(directory / "stack"), "PATH": path()}
    environment.pop("PORT", None)
    before = running()
    output = directory / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "local", "sam", "--built", build / "template.yaml"],
            cwd=ROOT,
            env=environment,
            stdout=file,
            stderr=file,
        )
    try:
        deadline = time.monotonic() + READY_SECONDS
        while "serves" not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.5)
        stack = json.loads((directory / "stack/stack.json").read_text())
        yield {**stack, "sam_url": output.read_text().split()[3]}
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
        assert running() == before
        with contextlib.suppress(requests.ConnectionError):
            requests.get(stack["base_url"] + "/health", timeout=5)
            pytest.fail("the stack still answers after its end")
    finally:
        process.kill()
        command = [sys.executable, "-m", "local", "clean"]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=120)


def path() -> str:
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def running() -> set[str]:
    return set(docker("ps", "--quiet").stdout.split())


def test_prompts_become_images_in_lambdas_containers(sam: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {sam['tokens']['client_a']}"}
    executions = f"{sam['sam_url']}/v1/executions"
    body = {"workflow_id": WORKFLOW, "prompts": ["a red fox", "a whale"], "api_key": "any-key-1"}
    submitted = requests.post(executions, json=body, headers=headers, timeout=90)
    assert submitted.status_code == 202, submitted.text
    execution_id = submitted.json()["id"]
    deadline = time.monotonic() + 180
    while True:
        execution = requests.get(f"{executions}/{execution_id}", headers=headers, timeout=90).json()
        if execution["status"] in ("completed", "failed"):
            break
        assert time.monotonic() < deadline, execution
        time.sleep(1)
    assert (execution["status"], execution["output_data"]["successful"]) == ("completed", 2)
    image = requests.get(
        f"{executions}/{execution_id}/results/0/image", headers=headers, timeout=90
    )
    assert image.content.startswith(b"\x89PNG")


def test_another_tenant_gets_404_from_containers(sam: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {sam['tokens']['client_b']}"}
    seeded = "def45678-e89b-12d3-a456-426614174004"
    answer = requests.get(f"{sam['sam_url']}/v1/executions/{seeded}", headers=headers, timeout=90)
    assert answer.status_code == 404
