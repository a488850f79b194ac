"""A stack whose functions have no key variables, but a credentials endpoint, as with SnapStart."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from local.wiring import (
    API_DATABASE_SECRET,
    IDENTITY_SECRET,
    PLATFORM_KEY_SECRET,
    SEALING_SECRET,
    WEBHOOK_SECRET,
    WORKER_DATABASE_SECRET,
)
from tests.e2e.conftest import Stack, run_local, workflow
from tests.e2e.test_permissions import picture, upload
from tests.support.receiver import listening

# Every secret that a function reads with its own credentials.
SECRETS = {
    "api": {API_DATABASE_SECRET, IDENTITY_SECRET, SEALING_SECRET, WEBHOOK_SECRET},
    "fanout": {WORKER_DATABASE_SECRET},
    "generate": {WORKER_DATABASE_SECRET, SEALING_SECRET, PLATFORM_KEY_SECRET},
    "economy": {WORKER_DATABASE_SECRET, SEALING_SECRET, PLATFORM_KEY_SECRET},
    "finalize": {WORKER_DATABASE_SECRET, WEBHOOK_SECRET},
}
ACME = "456e7890-e89b-12d3-a456-426614174001"


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("snap-start")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNAP_START", "on")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        try:
            run_local("up", directory)
            yield Stack(directory)
        finally:
            run_local("clean", directory)


def environments(stack: Stack) -> list[dict[str, str]]:
    """The variables of every process of a function in this stack."""
    port = json.loads((stack.directory / "ports.json").read_text())["inner"]
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            lines = path.read_bytes().decode(errors="replace").split("\0")
            variables = dict(line.split("=", 1) for line in lines if "=" in line)
            if f":{port}/" in variables.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", ""):
                found.append(variables)
    return found


@pytest.mark.timeout(300)
def test_every_function_reads_its_secrets_and_signs_its_calls(restored: Stack) -> None:
    reference = upload(restored, picture(), kind="reference_image", content_type="image/png")
    prompts = upload(restored, b'"from a list"\n', kind="prompts")
    by_platform = workflow(restored, requires_api_key=False)
    with listening() as receiver:
        own_key = restored.submit(
            ["with a reference"], reference_images=[reference], webhook_url=receiver.url
        )
        body = {"workflow_id": by_platform, "prompts_key": prompts}
        platform = restored.call("client_a", "POST", "/v1/executions", json=body).json()["id"]
        job = restored.submit(["by a job"], tier="economy")
        body = {"workflow_id": by_platform, "prompts": ["by another job"], "tier": "economy"}
        jobs = [job, restored.call("client_a", "POST", "/v1/executions", json=body).json()["id"]]
        for execution_id in (own_key, platform, *jobs):
            execution = restored.wait(execution_id, 60)
            assert execution["progress"]["successful"] == 1, execution
            path = f"/v1/executions/{execution_id}/results/0/image"
            image = restored.call("client_a", "GET", path)
            assert image.headers["content-type"] == "image/png"
        deadline = time.monotonic() + 30
        while not receiver.received:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    url = restored.results(own_key)[0]["result_url"]
    assert "X-Amz-Security-Token=session-of-api" in url
    assert requests.get(url, timeout=10).status_code == 200
    secret = restored.call("client_a", "GET", f"/v1/clients/{ACME}/webhook-secret")
    assert secret.status_code == 200
    assert restored.call("client_a", "DELETE", f"/v1/executions/{own_key}").status_code == 204

    read: dict[str, set[str]] = {name: set() for name in SECRETS}
    signed: dict[str, set[str]] = {name: set() for name in SECRETS}
    for line in (restored.directory / "logs/aws-calls.jsonl").read_text().splitlines():
        call = json.loads(line)
        if call["action"] == "secretsmanager:GetSecretValue":
            read[call["caller"]].add(call["resource"])
        else:
            signed[call["caller"]].add(call["action"])
    assert read == SECRETS
    assert {"s3:PutObject", "s3:GetObject", "s3:DeleteObject", "states:StartExecution"} <= signed[
        "api"
    ]
    assert {"s3:PutObject", "s3:GetObject"} <= signed["generate"]

    running = environments(restored)
    assert {variables["AWS_LAMBDA_FUNCTION_NAME"].split("-")[-1] for variables in running} == {
        *SECRETS,
        "archive",
    }
    for variables in running:
        assert not variables.get("AWS_ACCESS_KEY_ID")
        assert not variables.get("AWS_SECRET_ACCESS_KEY")
