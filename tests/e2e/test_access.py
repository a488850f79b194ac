"""The table access.yaml over HTTP: every operation as administrator, client A, client B and without
a token. docs/openapi.json must describe each answer, including every field."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import psycopg
import pytest
import requests
import yaml
from jsonschema import Draft202012Validator, FormatChecker

from tests.e2e.conftest import WORKFLOW, Stack
from tests.support.demo_data import ACME, GLOBEX, JOHN_OF_ACME

HERE = Path(__file__).parent
DESCRIPTION: dict[str, Any] = json.loads((HERE.parents[1] / "docs/openapi.json").read_text())
OPERATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DESCRIPTION["paths"].items()
    for method, operation in methods.items()
}
ROWS: list[dict[str, Any]] = yaml.safe_load((HERE / "access.yaml").read_text())
CHANGES = ("delete_execution", "retry_execution", "cancel_execution")
CALLERS = ("anonymous", "client_b", "client_a", "admin")

SUBMISSION = {"workflow_id": WORKFLOW, "prompts": ["a key"], "api_key": "demo-key-0123"}
CONFIG = {"workflow_type": "nano_banana", "model": "gemini-2.5-flash-image"}
NAMES = {"acme": str(ACME), "nano banana": WORKFLOW}


class Things:
    """The resources that the table's rows name, all of client A. Each call that can change a
    resource gets a new one."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._ended: list[str] = []
        self._failed: list[str] = []
        self._live: list[str] = []
        self._expired = ""

    def make_executions(self, ended: int, failed: int) -> None:
        """Makes all executions at once, before the first call, because each takes seconds."""
        self._stack.rule(
            {"match": "^blocked$", "behave": "content_blocked"},
            # This prompt keeps the execution running.
            {"match": "^later$", "behave": "throttle", "retry_delay_s": 5},
        )
        self._ended = [self._stack.submit(["a door"]) for _ in range(ended)]
        self._failed = [self._stack.submit(["blocked"]) for _ in range(failed)]
        self._expired = self._stack.submit(["a door"])
        for execution_id in (*self._ended, *self._failed, self._expired):
            self._stack.wait(execution_id, 120)
        self._archived(self._expired)
        self._expire()

    def path_values(self, kind: str, who: str) -> dict[str, str]:
        """The values of the parameters in the path."""
        makers: dict[str, Callable[[], dict[str, str]]] = {
            "john": lambda: {"user_id": str(JOHN_OF_ACME)},
            "user": lambda: {"user_id": self._created("/v1/users", new_user())},
            "invited user": lambda: {"user_id": self._created("/v1/users", invitation())},
            "acme": lambda: {"client_id": str(ACME)},
            "spare client": lambda: {"client_id": self._spare_client(who)},
            "workflow": lambda: {"workflow_id": self._created("/v1/workflows", new_workflow())},
            "retired workflow": lambda: {
                "workflow_id": self._created(
                    "/v1/workflows", {**new_workflow(), "status": "inactive"}
                )
            },
            "request": lambda: {"request_id": self._request()},
            "approved request": lambda: {
                "request_id": self._patched(
                    "/v1/workflow-requests", self._request(), status="approved"
                )
            },
            "ticket": lambda: {"ticket_id": self._ticket()},
            "closed ticket": lambda: {
                "ticket_id": self._patched("/v1/support-tickets", self._ticket(), status="closed")
            },
            "ended execution": lambda: {"execution_id": self._ended[-1], "batch_index": "0"},
            "failed execution": lambda: {"execution_id": self._failed[-1], "batch_index": "0"},
            "missing result": lambda: {"execution_id": self._ended[-1], "batch_index": "99"},
            "archived execution": lambda: {"execution_id": self._archived(self._ended[-1])},
            "expired execution": lambda: {"execution_id": self._expired, "batch_index": "0"},
            "live execution": lambda: {"execution_id": self._live_execution(), "batch_index": "0"},
            "lane": lambda: {"lane_id": self._lane()},
            "asset": lambda: {"asset": "start.js"},
            "console asset": self._console_asset,
        }
        return makers[kind]()

    def use_up(self, kind: str) -> None:
        """Drops a resource that a call has changed, so that the next call gets another one."""
        if kind == "ended execution":
            self._ended.pop()
        elif kind == "failed execution":
            self._failed.pop()
        elif kind == "live execution":
            self._live.pop()

    def _archived(self, execution_id: str) -> str:
        path = f"/v1/executions/{execution_id}/archive"
        assert self._stack.call("admin", "POST", path).status_code == 202
        return execution_id

    def _expire(self) -> None:
        """Ends the retention of the expired execution, as the sweep does."""
        with psycopg.connect(self._stack.access["database_url"]) as connection:
            connection.execute(
                "UPDATE public.clients SET retention_days = 3650 WHERE id = %s", [ACME]
            )
            connection.execute(
                "UPDATE public.workflow_executions SET completed_at = now() - interval '11 years'"
                " WHERE id = %s",
                [self._expired],
            )
            assert connection.execute("SELECT app.expire_images()").fetchone() == (True,)
            connection.execute("UPDATE public.clients SET retention_days = NULL")

    def _live_execution(self) -> str:
        if not self._live:
            execution_id = self._stack.submit(["later"])
            # Until fan-out has made its rows.
            while not self._stack.results(execution_id):
                time.sleep(0.2)
            self._live.append(execution_id)
        return self._live[-1]

    def cancel_live(self) -> None:
        """Cancels the running executions, so that other tests do not wait for them."""
        for execution_id in self._live:
            self._stack.call("admin", "POST", f"/v1/executions/{execution_id}/cancel")

    def _console_asset(self) -> dict[str, str]:
        page = self._stack.call("anonymous", "GET", "/").text
        version = re.search(r"console/(\w+)/main\.js", page)
        assert version is not None
        return {"version": version[1], "asset": "main.js"}

    def _created(self, path: str, body: dict[str, Any]) -> str:
        answer = self._stack.call("admin", "POST", path, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def _patched(self, path: str, row_id: str, **changes: Any) -> str:
        answer = self._stack.call("admin", "PATCH", f"{path}/{row_id}", json=changes)
        assert answer.status_code == 200, answer.text
        return row_id

    def _request(self) -> str:
        body = {"client_id": str(ACME), "workflow_id": WORKFLOW}
        return self._created("/v1/workflow-requests", body)

    def _ticket(self) -> str:
        body = {"client_id": str(ACME), "subject": "S", "description": "D"}
        return self._created("/v1/support-tickets", body)

    def _lane(self) -> str:
        return self._stack.call("admin", "GET", "/v1/lanes").json()["items"][0]["id"]

    def _spare_client(self, who: str) -> str:
        if who != "admin":
            return str(ACME)
        return self._created("/v1/clients", {"name": "Spare", "email": "spare@client.example"})


def new_user() -> dict[str, Any]:
    return {
        "email": f"{uuid4()}@client.example",
        "name": "New",
        "role": "client",
        "client_id": str(ACME),
    }


def invitation() -> dict[str, Any]:
    return {**new_user(), "invited_until": "2035-01-01T00:00:00Z"}


def new_workflow() -> dict[str, Any]:
    return {"name": "New", "config": CONFIG}


BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "new user": new_user,
    "invitation": invitation,
    "new workflow": new_workflow,
    "submission": lambda: dict(SUBMISSION),
}


def body_of(row: dict[str, Any], who: str) -> dict[str, Any] | None:
    sent = row.get("send")
    if sent is None:
        return None
    body = BODIES[sent]() if isinstance(sent, str) else dict(sent)
    if who == "admin":
        body |= row.get("admin_sends", {})
    return {name: NAMES.get(str(value), value) for name, value in body.items()}


@pytest.fixture(scope="module")
def things(stack: Stack) -> Iterator[Things]:
    things = Things(stack)
    things.make_executions(ended=2, failed=2)
    yield things
    things.cancel_live()
    stack.rule()


def send(stack: Stack, things: Things, row: dict[str, Any], who: str) -> requests.Response:
    method, path, _ = OPERATIONS[row["do"]]
    if "of" in row:
        path = path.format(**things.path_values(row["of"], who))
    return stack.call(
        who,
        method,
        path,
        json=body_of(row, who),
        params={name: NAMES.get(value, value) for name, value in parse_qsl(row.get("with", ""))},
        allow_redirects=False,
    )


def title(row: dict[str, Any]) -> str:
    return " ".join(str(row[name]) for name in ("do", "of", "with") if name in row)


@pytest.mark.parametrize("row", ROWS, ids=title)
def test_every_operation_answers_as_the_table_says(
    stack: Stack, things: Things, row: dict[str, Any]
) -> None:
    for who in CALLERS:
        answer = send(stack, things, row, who)
        assert answer.status_code == row[who], f"{who}: {answer.text}"
        assert_described(row["do"], answer)
        if who == "client_b" and answer.ok:
            assert_no_row_of_client_a(answer)
        if "execution" in row.get("of", "") and row["do"] in CHANGES and answer.ok:
            things.use_up(row["of"])


def test_the_table_has_every_operation() -> None:
    assert {row["do"] for row in ROWS} == set(OPERATIONS)
    for row in ROWS:
        assert set(CALLERS) <= set(row)


# --- answers ------------------------------------------------------------------------------------


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        _, _, kind, name = part["$ref"].split("/")
        part = DESCRIPTION["components"][kind][name]
    return part


def assert_described(operation_id: str, answer: requests.Response) -> None:
    """The document describes the status, the headers and every field of the body."""
    _, _, operation = OPERATIONS[operation_id]
    described = resolved(operation["responses"][str(answer.status_code)])
    for name in described["headers"]:
        assert name in answer.headers
    content = described.get("content")
    if content is None:
        assert answer.content == b""
        return
    media_type = answer.headers["Content-Type"].partition(";")[0]
    schema = content[media_type]["schema"]
    if media_type.endswith("json"):
        whole = {**schema, "components": DESCRIPTION["components"]}
        Draft202012Validator(whole, format_checker=FormatChecker()).validate(answer.json())
        assert_no_field_is_hidden(schema, answer.json())


def assert_no_field_is_hidden(schema: dict[str, Any], value: Any) -> None:
    schema = resolved(schema)
    if isinstance(value, list):
        for item in value:
            assert_no_field_is_hidden(schema["items"], item)
    elif isinstance(value, dict) and "properties" in schema:
        if schema.get("additionalProperties") is not True:
            assert set(value) <= set(schema["properties"])
        for name, part in schema["properties"].items():
            if name in value and ("$ref" in part or "items" in part):
                assert_no_field_is_hidden(part, value[name])


def assert_no_row_of_client_a(answer: requests.Response) -> None:
    if "json" in answer.headers.get("Content-Type", "") and "/v1/" in answer.url:
        assert str(ACME) not in answer.text
        for item in answer.json().get("items", []):
            assert item.get("client_id", str(GLOBEX)) == str(GLOBEX)
