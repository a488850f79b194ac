"""A repeated Idempotency-Key gets the answer of the first request before anything is checked."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from werkzeug.test import TestResponse

from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, DEMO_EXECUTION, WORKFLOW
from tests.support.handler import Api

SUBMISSION = {"workflow_id": str(WORKFLOW), "prompts": ["x"], "api_key": "a-key-of-mine"}


@pytest.fixture
def superuser(fresh_database: Urls) -> Iterator[psycopg.Connection]:
    with connected(fresh_database.superuser) as connection:
        yield connection


def post(api: Api, who: str, path: str, body: Any, key: str | None = "key-1") -> TestResponse:
    headers = {} if key is None else {"Idempotency-Key": key}
    return api.call(who, "POST", path, json=body, headers=headers)


def reused(answer: TestResponse) -> bool:
    assert answer.json is not None
    return (answer.status_code, answer.json["code"]) == (422, "idempotency_key_reused")


BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "/v1/users": (
        "admin",
        {
            "id": str(uuid4()),
            "email": "new@acme.example",
            "name": "New",
            "role": "client",
            "client_id": str(ACME),
        },
    ),
    "/v1/clients": ("admin", {"name": "New", "email": "new@client.example"}),
    "/v1/workflows": (
        "admin",
        {"name": "New", "config": {"workflow_type": "nano_banana", "model": "x"}},
    ),
    "/v1/workflow-requests": ("client_a", {"workflow_id": str(WORKFLOW)}),
    "/v1/support-tickets": ("client_a", {"subject": "S", "description": "D"}),
    "/v1/executions": ("client_a", SUBMISSION),
    "/v1/uploads": ("client_a", {"content_type": "image/png"}),
}


@pytest.mark.parametrize("path", BODIES)
def test_a_repeated_request_gets_the_first_answer(fresh_api: Api, path: str) -> None:
    who, body = BODIES[path]
    first = post(fresh_api, who, path, body)
    assert first.status_code in (201, 202), first.text
    again = post(fresh_api, who, path, body)
    assert again.status_code == first.status_code, again.text
    assert again.headers["Location"] == first.headers["Location"]
    assert first.json is not None
    assert again.json is not None
    name = "key" if path == "/v1/uploads" else "id"
    assert again.json[name] == first.json[name]
    other = {**body, "notes": "x"} if path == "/v1/workflow-requests" else dict(body)
    other |= {"name": "Other"} if "name" in body else {}
    other |= {"subject": "Other"} if "subject" in body else {}
    other |= {"prompts": ["y"]} if "prompts" in body else {}
    other |= {"content_type": "image/webp"} if "content_type" in body else {}
    assert reused(post(fresh_api, who, path, other))
    assert post(fresh_api, who, path, other | {"id": None} if "id" in body else other, None).json


@pytest.mark.parametrize("path", ["/v1/executions", "/v1/workflow-requests"])
def test_an_inactive_workflow_does_not_change_the_answer(
    fresh_api: Api, superuser: psycopg.Connection, path: str
) -> None:
    who, body = BODIES[path]
    first = post(fresh_api, who, path, body)
    superuser.execute("UPDATE public.workflows SET status = 'inactive'")
    again = post(fresh_api, who, path, body)
    assert (again.status_code, again.headers["Location"]) == (
        first.status_code,
        first.headers["Location"],
    )
    assert post(fresh_api, who, path, body, "key-2").status_code == 422


@pytest.mark.parametrize(
    "path", ["/v1/executions", "/v1/workflow-requests", "/v1/support-tickets", "/v1/uploads"]
)
def test_an_inactive_client_does_not_change_the_answer_for_an_administrator(
    fresh_api: Api, superuser: psycopg.Connection, path: str
) -> None:
    body = {**BODIES[path][1], "client_id": str(ACME)}
    first = post(fresh_api, "admin", path, body)
    superuser.execute("UPDATE public.clients SET status = 'suspended' WHERE id = %s", [ACME])
    again = post(fresh_api, "admin", path, body)
    assert (again.status_code, again.headers["Location"]) == (
        first.status_code,
        first.headers["Location"],
    )
    assert post(fresh_api, "admin", path, body, "key-2").status_code == 422


def test_a_user_is_created_once_and_answered_after_its_email_was_taken(
    fresh_api: Api, superuser: psycopg.Connection
) -> None:
    who, body = BODIES["/v1/users"]
    first = post(fresh_api, who, "/v1/users", body)
    superuser.execute("UPDATE public.users SET status = 'suspended' WHERE id = %s", [body["id"]])
    again = post(fresh_api, who, "/v1/users", body)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json is not None
    assert again.json["status"] == "suspended"
    assert post(fresh_api, who, "/v1/users", body, "key-2").status_code == 409


def test_a_retry_is_repeated_without_a_second_run(
    fresh_api: Api, superuser: psycopg.Connection
) -> None:
    path = f"/v1/executions/{DEMO_EXECUTION}/retry"

    def fail() -> None:
        superuser.execute(
            "UPDATE public.workflow_batch_results SET status = 'failed', error_code = 'no_image'"
        )
        superuser.execute("UPDATE public.workflow_executions SET status = 'completed'")

    def run() -> int:
        row = superuser.execute(
            "SELECT run FROM public.workflow_executions WHERE id = %s", [DEMO_EXECUTION]
        ).fetchone()
        assert row is not None
        return row[0]

    fail()
    first = post(fresh_api, "client_a", path, {})
    assert (first.status_code, run()) == (202, 1)
    # While it runs, and after its end with prompts that failed again.
    assert post(fresh_api, "client_a", path, {}).status_code == 202
    fail()
    again = post(fresh_api, "client_a", path, {})
    assert (again.status_code, again.headers["Location"]) == (202, first.headers["Location"])
    assert run() == 1
    assert reused(post(fresh_api, "client_a", path, {"only_retryable": True}))
    assert post(fresh_api, "client_a", path, {}, "key-2").status_code == 202
    assert run() == 2


def test_a_retry_without_a_body_is_repeated_too(
    fresh_api: Api, superuser: psycopg.Connection
) -> None:
    superuser.execute(
        "UPDATE public.workflow_batch_results SET status = 'failed', error_code = 'no_image'"
    )
    path = f"/v1/executions/{DEMO_EXECUTION}/retry"
    for _ in range(2):
        answer = fresh_api.call("client_a", "POST", path, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 202, answer.text


def test_a_cancellation_is_repeated_after_the_end(
    fresh_api: Api, superuser: psycopg.Connection
) -> None:
    created = post(fresh_api, "client_a", "/v1/executions", SUBMISSION, None)
    path = created.headers["Location"] + "/cancel"
    assert post(fresh_api, "client_a", path, {}).status_code == 200
    superuser.execute(
        "UPDATE public.workflow_executions SET status = 'failed' WHERE status = 'pending'"
    )
    assert post(fresh_api, "client_a", path, {}).status_code == 200
    assert post(fresh_api, "client_a", path, {}, "key-2").status_code == 409


def test_a_webhook_secret_is_advanced_once(fresh_api: Api) -> None:
    path = f"/v1/clients/{ACME}/webhook-secret"
    first = post(fresh_api, "admin", path, {})
    again = post(fresh_api, "admin", path, {})
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json == again.json
    advanced = post(fresh_api, "admin", path, {}, "key-2").json
    assert first.json is not None
    assert advanced is not None
    assert advanced["version"] == first.json["version"] + 1


def test_a_key_that_cannot_be_one_is_refused_wherever_keys_are_read(fresh_api: Api) -> None:
    for path, (who, body) in BODIES.items():
        assert post(fresh_api, who, path, body, "x" * 256).status_code == 422
