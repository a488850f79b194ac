"""Twenty writes at once with one ETag: one succeeds, the others learn that the row has changed."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.e2e.conftest import WORKFLOW, Stack, workflow

AT_ONCE = 20
ACME = "456e7890-e89b-12d3-a456-426614174001"


def new(stack: Stack, who: str, path: str, body: dict[str, Any]) -> str:
    """The path of a new resource."""
    if who == "admin" and path in ("/v1/support-tickets", "/v1/workflow-requests"):
        body = {**body, "client_id": ACME}
    answer = stack.call(who, "POST", path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def user(stack: Stack, who: str) -> str:
    body = {"email": f"{uuid4()}@x.example", "name": "x", "role": "client", "client_id": ACME}
    return new(stack, who, "/v1/users", body)


def client(stack: Stack, who: str) -> str:
    return new(stack, who, "/v1/clients", {"name": "x", "email": "x@x.example"})


def ticket(stack: Stack, who: str) -> str:
    return new(stack, who, "/v1/support-tickets", {"subject": "x", "description": "x"})


def request(stack: Stack, who: str) -> str:
    return new(stack, who, "/v1/workflow-requests", {"workflow_id": WORKFLOW})


# Who may change the resource, how it is made, and the changed member.
KINDS = {
    "user": ("admin", user, "name"),
    "client": ("admin", client, "name"),
    "workflow": ("admin", lambda stack, _: f"/v1/workflows/{workflow(stack)}", "name"),
    "ticket of an administrator": ("admin", ticket, "subject"),
    "ticket of a client user": ("client_a", ticket, "subject"),
    "request of an administrator": ("admin", request, "notes"),
    "request of a client user": ("client_a", request, "notes"),
}


def at_once(stack: Stack, who: str, path: str, calls: list[tuple[str, Any]]) -> list[int]:
    """The statuses of the calls, which all name the present version."""
    tag = stack.call(who, "GET", path).headers["ETag"]

    def call(method: str, body: Any) -> requests.Response:
        return stack.call(who, method, path, json=body, headers={"If-Match": tag})

    with ThreadPoolExecutor(len(calls)) as pool:
        return [answer.status_code for answer in pool.map(lambda each: call(*each), calls)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("same", [False, True], ids=["different changes", "one change"])
def test_of_twenty_changes_of_one_version_one_is_made(stack: Stack, kind: str, same: bool) -> None:
    who, make, member = KINDS[kind]
    path = make(stack, who)
    calls = [("PATCH", {member: f"change {0 if same else n}"}) for n in range(AT_ONCE)]
    statuses = at_once(stack, who, path, calls)
    assert Counter(statuses) == {200: 1, 412: AT_ONCE - 1}
    made = stack.call(who, "GET", path).json()[member]
    assert made == calls[statuses.index(200)][1][member]


@pytest.mark.parametrize("kind", KINDS)
def test_of_changes_beside_deletions_of_one_version_one_is_made(stack: Stack, kind: str) -> None:
    who, make, member = KINDS[kind]
    path = make(stack, who)
    calls = [("DELETE", None), ("PATCH", {member: "changed"})] * (AT_ONCE // 2)
    statuses = at_once(stack, who, path, calls)
    counted = Counter(statuses)
    assert counted[200] + counted[204] == 1, counted
    assert counted.keys() <= {200, 204, 404, 412}
    if counted[200]:
        assert counted == {200: 1, 412: AT_ONCE - 1}
        assert stack.call(who, "GET", path).json()[member] == "changed"


def test_of_twenty_deletions_of_one_execution_one_is_made(stack: Stack) -> None:
    stack.rule()
    execution_id = stack.submit(["x"])
    stack.wait(execution_id, 60)
    path = f"/v1/executions/{execution_id}"
    counted = Counter(at_once(stack, "client_a", path, [("DELETE", None)] * AT_ONCE))
    assert counted == {204: 1, 404: AT_ONCE - 1}
