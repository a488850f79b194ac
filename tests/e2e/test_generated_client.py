"""A newcomer gets a first image with only docs/openapi.json and a token, through a client that
openapi-python-client generates. The client passes mypy --strict together with the document's own
examples and a program that paints, waits, retries and downloads."""

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
import pytest
import requests
from PIL import Image

from tests.e2e.conftest import ROOT, WORKFLOW, Stack
from tests.integration.test_seed_examples import EXAMPLES, assert_same_shape

PACKAGE = "masstock_generated"
REQUESTS: dict[str, dict[str, Any]] = json.loads((ROOT / "examples/requests.json").read_text())
RESPONSES: dict[str, Any] = json.loads((ROOT / "examples/responses.json").read_text())


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Imports a module of the generated package."""
    directory = tmp_path_factory.mktemp("generated")
    settings = directory / "settings.yaml"
    # Without hooks the code is as the generator writes it. By default they run a linter, which
    # replaces a type in client.py with one that mypy refuses.
    settings.write_text(f"package_name_override: {PACKAGE}\npost_hooks: []\n")
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


def test_the_client_passes_mypy_with_the_examples_and_then_paints(
    stack: Stack, generated: Any
) -> None:
    bodies = [(name, body) for name, each in REQUESTS.items() for body in each.values()]
    lines = [
        f"e{number}: models.{name} = {spelled(example_of(generated, name, example))}"
        for number, (name, example) in enumerate([*bodies, *RESPONSES.items()])
    ]
    imports = ("from uuid import UUID", "import datetime", f"from {PACKAGE} import models")
    Path("examples.py").write_text("\n".join([*imports, *lines]))
    shutil.copy(ROOT / "tests/python/paint.py", ".")
    mypy = [Path(sys.executable).parent / "mypy", "--strict", PACKAGE, "examples.py", "paint.py"]
    checked = subprocess.run(mypy, capture_output=True, text=True, check=False, timeout=120)
    assert checked.returncode == 0, checked.stdout

    stack.rule({"match": "^once blocked$", "behave": "content_blocked", "times": 1})
    prompts = ["a lamp", "once blocked"]
    call = {
        "baseUrl": stack.access["base_url"],
        "token": stack.access["tokens"]["client_a"],
        "submission": {"workflow_id": WORKFLOW, "prompts": prompts, "api_key": stack.api_key},
    }
    told = json.loads(
        subprocess.run(
            [sys.executable, "paint.py"],
            input=json.dumps(call),
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
    )
    counts = [(output["successful"], output["failed"]) for output in told["outputs"]]
    assert counts == [(1, 1), (2, 0)]
    assert [image["prompt"] for image in told["images"]] == prompts
    for image in told["images"]:
        assert image["type"].startswith("image/")
        assert image["bytes"] > 1000
    assert (told["problem"]["status"], told["problem"]["code"]) == (404, "not_found")


def example_of(generated: Any, name: str, example: dict[str, Any]) -> Any:
    return getattr(generated("models"), name).from_dict(example)


def spelled(value: Any) -> str:
    """Python code of a value of the client's types, as a caller would write it."""
    if isinstance(value, list):
        return f"[{', '.join(map(spelled, value))}]"
    if isinstance(value, Enum):
        return f"models.{type(value).__name__}({value.value!r})"
    if not attrs.has(type(value)):
        return repr(value)
    members = {
        field.alias: getattr(value, field.name)
        for field in attrs.fields(type(value))
        if field.init and type(getattr(value, field.name)).__name__ != "Unset"
    }
    if not members and getattr(value, "additional_properties", None):
        return f"models.{type(value).__name__}.from_dict({value.to_dict()!r})"
    written = [f"{name}={spelled(member)}" for name, member in members.items()]
    return f"models.{type(value).__name__}({', '.join(written)})"


def test_the_client_sends_what_the_caller_sets_and_nothing_else(generated: Any) -> None:
    for name, examples in REQUESTS.items():
        for example in examples.values():
            sent = example_of(generated, name, example).to_dict()
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
