"""The API returns the schema document's example rows with the same keys and types, both from the
seed and created through the API. tests/contract/seed_examples.json holds the examples."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.demo_data import DEMO_EXECUTION
from tests.support.handler import Api

EXAMPLES: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "contract/seed_examples.json").read_text()
)
ANSWERS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "examples/responses.json").read_text()
)
# Two of the document's ids are no UUIDs and one is abbreviated; sql/seed.sql has these for them.
MAPPED = {
    "ghi78901-e89b-12d3-a456-426614174005": ANSWERS["BatchResult"]["id"],
    "jkl23456-e89b-12d3-a456-426614174006": ANSWERS["SupportTicket"]["id"],
    "def45678.../0_1234567890.png": f"{DEMO_EXECUTION}/0_1763892000.png",
}
READ = {
    "users": f"/v1/users/{ANSWERS['User']['id']}",
    "clients": f"/v1/clients/{ANSWERS['ClientOrganization']['id']}",
    "workflows": f"/v1/workflows/{ANSWERS['Workflow']['id']}",
    "workflow_requests": f"/v1/workflow-requests/{ANSWERS['WorkflowRequest']['id']}",
    "workflow_executions": f"/v1/executions/{ANSWERS['Execution']['id']}",
    "workflow_batch_results": f"/v1/executions/{ANSWERS['Execution']['id']}/results",
    "support_tickets": f"/v1/support-tickets/{ANSWERS['SupportTicket']['id']}",
}
DESCRIBED: dict[str, str] = {
    "users": "User",
    "clients": "ClientOrganization",
    "workflows": "Workflow",
    "workflow_requests": "WorkflowRequest",
    "workflow_executions": "Execution",
    "workflow_batch_results": "BatchResult",
    "support_tickets": "SupportTicket",
}


def read(api: Api, table: str) -> dict[str, Any]:
    answer = api.call("admin", "GET", READ[table])
    assert answer.status_code == 200, answer.text
    body: Any = answer.json
    return body["items"][0] if table == "workflow_batch_results" else body


def kind(value: Any) -> str:
    """The type that a caller would read from a value."""
    if isinstance(value, str):
        for name, parse in (("uuid", UUID), ("time", datetime.fromisoformat)):
            try:
                parse(value)
            except ValueError:
                continue
            return name
    return type(value).__name__


def assert_same_shape(example: Any, actual: Any, where: str = "") -> None:
    """Asserts that `actual` has every key of the example, with a value of its type. It can have
    further keys. The API key is the only exception: it is never returned."""
    if isinstance(example, dict):
        for name, value in example.items():
            if (where, name) == (".input_data", "api_key"):
                assert name not in actual
            else:
                assert name in actual, f"{where}.{name}"
                assert_same_shape(value, actual[name], f"{where}.{name}")
    elif isinstance(example, list):
        assert isinstance(actual, list), where
        for item in actual:
            assert_same_shape(example[0], item, where)
    elif example is not None:
        assert kind(actual) == kind(MAPPED.get(example, example)), where


@pytest.mark.parametrize("table", READ)
def test_the_seeded_example_is_returned_as_the_document_has_it(api: Api, table: str) -> None:
    example, actual = EXAMPLES[table], read(api, table)
    assert_same_shape(example, actual)
    for name, value in example.items():
        if name in ("config", "input_data", "output_data"):
            assert {**actual[name], **value, "api_key": None} == {**actual[name], "api_key": None}
        elif kind(value) == "time":
            assert datetime.fromisoformat(actual[name]) == datetime.fromisoformat(value)
        elif name != "result_url":  # signed again at each read
            assert actual[name] == MAPPED.get(value, value)


@pytest.mark.parametrize("table", READ)
def test_the_openapi_example_equals_the_apis_answer(api: Api, table: str) -> None:
    example, actual = dict(ANSWERS[DESCRIBED[table]]), read(api, table)
    if table == "workflow_batch_results":
        assert str(DEMO_EXECUTION) in actual.pop("result_url")
        example.pop("result_url")
        assert kind(actual.pop("url_expires_at")) == kind(example.pop("url_expires_at"))
    if table == "users":  # the login of this caller was recorded
        actual["last_login"] = example["last_login"]
    assert actual == example


def make(api: Api, who: str, path: str, body: Any) -> dict[str, Any]:
    answer = api.call(who, "POST", path, json=body)
    assert answer.status_code in (201, 202), answer.text
    read: Any = api.call(who, "GET", answer.headers["Location"]).json
    assert read == answer.json
    return read


def change(api: Api, path: str, body: Any) -> dict[str, Any]:
    answer = api.call("admin", "PATCH", path, json=body)
    assert answer.status_code == 200, answer.text
    body: Any = answer.json
    return body


def parts(table: str, *names: str) -> dict[str, Any]:
    return {name: EXAMPLES[table][name] for name in names}


def test_rows_like_the_examples_can_be_created_through_the_api(api: Api) -> None:
    client = make(api, "admin", "/v1/clients", parts("clients", "name", "email"))
    assert_same_shape(EXAMPLES["clients"], client)

    account = {**parts("users", "name", "role"), "id": str(uuid4()), "client_id": client["id"]}
    user = make(api, "admin", "/v1/users", {**account, "email": f"{uuid4()}@client.com"})
    # The user has not logged in yet.
    assert user["last_login"] is None
    assert_same_shape({**EXAMPLES["users"], "last_login": None}, user)

    workflow = make(
        api,
        "admin",
        "/v1/workflows",
        parts("workflows", "name", "description", "status", "config"),
    )
    assert_same_shape(EXAMPLES["workflows"], workflow)
    assert workflow["config"] == EXAMPLES["workflows"]["config"]

    asked = {**parts("workflow_requests", "notes"), "workflow_id": workflow["id"]}
    request = make(api, "client_a", "/v1/workflow-requests", asked)
    approved = change(api, f"/v1/workflow-requests/{request['id']}", {"status": "approved"})
    assert_same_shape(EXAMPLES["workflow_requests"], approved)
    assert approved["status"] == EXAMPLES["workflow_requests"]["status"]

    opened = make(
        api,
        "client_a",
        "/v1/support-tickets",
        parts("support_tickets", "subject", "description", "priority"),
    )
    ticket = change(api, f"/v1/support-tickets/{opened['id']}", {"status": "in_progress"})
    assert_same_shape(EXAMPLES["support_tickets"], ticket)
    assert ticket["status"] == EXAMPLES["support_tickets"]["status"]

    execution = make(
        api,
        "client_a",
        "/v1/executions",
        {
            "workflow_id": workflow["id"],
            "prompts": EXAMPLES["workflow_executions"]["input_data"]["prompts"],
            "api_key": "encrypted...",
        },
    )
    # The keys exist from the beginning. The engine writes the end of an execution (tests/e2e).
    not_yet = dict.fromkeys(("output_data", "started_at", "completed_at", "duration_seconds"))
    assert_same_shape({**EXAMPLES["workflow_executions"], **not_yet}, execution)
    assert execution["status"] == "pending"
