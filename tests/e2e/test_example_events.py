"""The events in examples/events are valid input of the functions.

The stack's Invoke API runs each function in its own execution environment.
"""

import json
from typing import Any

import pytest
import requests

from tests.contract.test_package import HANDLERS
from tests.e2e.conftest import ROOT, WORKFLOW, Stack

EVENTS = ROOT / "examples/events"
NOTHING_TO_DO = {
    "next": "end",
    "tier": "standard",
    "indices": [],
    "max_concurrency": 1,
    "wait_seconds": 1,
}


def read(name: str) -> dict[str, Any]:
    return json.loads((EVENTS / f"{name}.json").read_text())


def invoke(stack: Stack, name: str, event: dict[str, Any]) -> dict[str, Any]:
    """What the function `name` returns; fails if it raises."""
    port = json.loads((stack.directory / "ports.json").read_text())["inner"]
    logical_id = f"{name.capitalize()}Function"
    answer = requests.post(
        f"http://127.0.0.1:{port}/2015-03-31/functions/{logical_id}/invocations",
        json=event,
        timeout=60,
    )
    assert answer.status_code == 200
    assert "x-amz-function-error" not in answer.headers, answer.text
    return answer.json()


def test_each_function_has_one_example_event() -> None:
    assert {path.stem for path in EVENTS.iterdir()} == {
        function.removesuffix("Function").lower() for function in HANDLERS
    }


def test_the_event_of_the_api_gets_200(stack: Stack) -> None:
    answer = invoke(stack, "api", read("api"))
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"]) == {"status": "ok"}


def test_the_event_of_the_api_can_name_another_path_and_a_caller(stack: Stack) -> None:
    event = read("api") | {"rawPath": f"/v1/workflows/{WORKFLOW}"}
    event["headers"]["authorization"] = f"Bearer {stack.access['tokens']['client_a']}"
    answer = invoke(stack, "api", event)
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["id"] == WORKFLOW


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # The execution of the demo data has ended.
        ("fanout", NOTHING_TO_DO),
        ("economy", NOTHING_TO_DO | {"next": "fanout", "tier": "economy"}),
        ("generate", {"wait_seconds": 0, "turn": 1}),
        ("finalize", {"status": "ended", "must_notify": False}),
        # No archive has this id.
        ("archive", {"built": False}),
    ],
)
def test_the_event_of_a_step_changes_nothing_in_an_ended_execution(
    stack: Stack, name: str, expected: dict[str, Any]
) -> None:
    path = f"/v1/executions/{read('finalize')['execution_id']}"
    before = stack.call("client_a", "GET", path)
    assert before.status_code == 200
    assert before.json()["status"] == "completed"
    assert invoke(stack, name, read(name)) == expected
    assert stack.call("client_a", "GET", path).json() == before.json()
