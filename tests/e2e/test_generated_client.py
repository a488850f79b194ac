"""A newcomer gets a first image with only docs/openapi.json and a token, through a client that
openapi-python-client generates."""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import requests
from PIL import Image

from tests.e2e.conftest import ROOT, Stack
from tests.integration.test_seed_examples import EXAMPLES, assert_same_shape

PACKAGE = "masstock_generated"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Imports a module of the generated package."""
    directory = tmp_path_factory.mktemp("generated")
    settings = directory / "settings.yaml"
    settings.write_text(f"package_name_override: {PACKAGE}\n")
    binaries = Path(sys.executable).parent
    subprocess.run(
        [
            *(binaries / "openapi-python-client", "generate", "--meta", "none"),
            *("--config", settings, "--path", ROOT / "docs/openapi.json"),
            *("--output-path", directory / PACKAGE),
        ],
        env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"},
        check=True,
        timeout=120,
        stdout=subprocess.DEVNULL,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(directory))
        patch.chdir(directory)
        yield lambda name: importlib.import_module(f"{PACKAGE}.{name}")
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_a_generated_client_gets_a_first_image(stack: Stack, generated: Any) -> None:
    stack.rule()
    models = generated("models")

    def client(who: str) -> Any:
        return generated("client").AuthenticatedClient(
            base_url=stack.access["base_url"], token=stack.access["tokens"][who], timeout=30
        )

    def call(operation: str, who: str, *values: Any, **more: Any) -> Any:
        return generated(f"api.{operation}").sync(*values, client=client(who), **more)

    me = call("me.get_me", "client_a")
    assert me.client_name

    # Request a workflow, and let the administrator approve the request.
    [workflow, *_] = call("workflows.list_workflows", "client_a", limit=200).items[-1:]
    request = call(
        "workflow_requests.create_request",
        "client_a",
        body=models.WorkflowRequestCreate(workflow_id=workflow.id, notes="50 product images"),
    )
    assert request.status == models.RequestStatus.PENDING
    approved = call(
        "workflow_requests.update_request",
        "admin",
        request.id,
        body=models.WorkflowRequestUpdate(status=models.RequestStatus.APPROVED),
    )
    assert approved.status == models.RequestStatus.APPROVED

    # Ask for the price, then submit.
    prompts = EXAMPLES["workflow_executions"]["input_data"]["prompts"]
    submission = models.ExecutionCreate(
        workflow_id=workflow.id, prompts=list(prompts), api_key="any-key-of-mine"
    )
    estimate = call("executions.create_execution", "client_a", body=submission, dry_run=True)
    assert (estimate.prompts, estimate.fits_budget) == (2, True)
    execution = call(
        "executions.create_execution", "client_a", body=submission, idempotency_key="my-first"
    )
    assert isinstance(execution, models.Execution)

    # Poll at the interval that the answer gives.
    deadline = time.monotonic() + 120
    ended = (models.ExecutionStatus.COMPLETED, models.ExecutionStatus.FAILED)
    while execution.status not in ended:
        assert time.monotonic() < deadline
        answer = generated("api.executions.get_execution").sync_detailed(
            execution.id, client=client("client_a")
        )
        execution = answer.parsed
        time.sleep(min(2, int(answer.headers["Retry-After"])))
    assert execution.output_data.successful == len(prompts)
    assert_same_shape(EXAMPLES["workflow_executions"], execution.to_dict())

    # Fetch the images by their URLs, which need no header …
    results = call("executions.list_results", "client_a", execution.id).items
    assert [result.prompt_text for result in results] == prompts
    for result in results:
        Image.open(BytesIO(requests.get(result.result_url, timeout=30).content)).verify()
        assert_same_shape(EXAMPLES["workflow_batch_results"], result.to_dict())
    # … and by their number.
    image = generated("api.executions.get_image").sync_detailed(
        execution.id, 0, client=client("client_a")
    )
    assert image.status_code == 302
    Image.open(BytesIO(requests.get(image.headers["Location"], timeout=30).content)).verify()

    # Another tenant gets a problem with an explanation.
    problem = call("executions.get_execution", "client_b", execution.id)
    assert isinstance(problem, models.Problem)
    assert (problem.status, problem.code) == (404, "not_found")


def test_a_failed_prompt_is_retried(stack: Stack, generated: Any) -> None:
    stack.rule({"match": "^once blocked$", "behave": "content_blocked", "times": 1})
    models = generated("models")
    client = generated("client").AuthenticatedClient(
        base_url=stack.access["base_url"], token=stack.access["tokens"]["client_a"], timeout=30
    )
    execution_id = stack.submit(["once blocked"])
    assert stack.wait(execution_id, 60)["status"] == "failed"
    again = generated("api.executions.retry_execution").sync(
        execution_id, client=client, body=models.ExecutionRetry()
    )
    assert isinstance(again, models.Execution)
    assert stack.wait(execution_id, 60)["status"] == "completed"


def test_the_generated_client_type_checks_and_keeps_the_examples(generated: Any) -> None:
    """mypy --strict, except for one rule in client.py: there the generator passes objects of any
    type on to httpx, whatever the document says."""
    Path("mypy.ini").write_text(
        f"[mypy]\nstrict = True\n[mypy-{PACKAGE}.client]\ndisable_error_code = arg-type\n"
    )
    checked = subprocess.run(
        [Path(sys.executable).parent / "mypy", "-p", PACKAGE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
    models = generated("models")
    requests_of: dict[str, Any] = json.loads((ROOT / "examples/requests.json").read_text())
    for name, examples in requests_of.items():
        for example in examples.values():
            # The client sends what the caller sets, and nothing else.
            sent = getattr(models, name).from_dict(example).to_dict()
            assert comparable(sent) == comparable(example), name


def comparable(value: Any) -> Any:
    """The value with each time as a time: a client may write it in another form."""
    if isinstance(value, dict):
        return {name: comparable(part) for name, part in value.items()}
    if isinstance(value, str) and value.startswith("20"):
        return datetime.fromisoformat(value)
    return [comparable(part) for part in value] if isinstance(value, list) else value


def test_a_mistake_is_explained(stack: Stack, generated: Any) -> None:
    models = generated("models")
    client = generated("client").AuthenticatedClient(
        base_url=stack.access["base_url"], token=stack.access["tokens"]["client_a"]
    )
    problem = generated("api.executions.create_execution").sync(
        client=client,
        body=models.ExecutionCreate(workflow_id=UUID(int=1), prompts=["x"]),
    )
    assert isinstance(problem, models.Problem)
    assert [error.pointer for error in problem.errors] == ["/workflow_id"]
