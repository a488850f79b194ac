"""The api logs the caller, the route and the duration of a request, but no content."""

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import psycopg
import pytest

from masstock.telemetry import logger
from tests.integration.test_problems import without_database  # noqa: F401 - a fixture
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, ADMIN, DEMO_EXECUTION, GLOBEX, JANE_OF_GLOBEX, WORKFLOW
from tests.support.demo_data import JOHN_OF_ACME as JOHN
from tests.support.demo_data import MARY_OF_ACME as MARY
from tests.support.handler import JWT_KEY, Api

SAID = "words-that-must-not-be-logged"


class Log:
    """The log lines since the last read."""

    def __init__(self) -> None:
        self.stream = StringIO()

    def lines(self) -> list[dict[str, Any]]:
        text = self.stream.getvalue()
        assert SAID not in text
        assert "eyJ" not in text  # the beginning of every token
        assert JWT_KEY not in text
        self.stream.seek(0)
        self.stream.truncate()
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def log(api: Api) -> Iterator[Log]:
    log = Log()
    handler = logger.registered_handler
    stdout = handler.setStream(log.stream)  # pyright: ignore
    yield log
    handler.setStream(stdout)  # pyright: ignore


@pytest.fixture
def superuser(database: Urls) -> Iterator[psycopg.Connection]:
    with connected(database.superuser) as connection:
        yield connection


EXECUTION = {"workflow_id": str(WORKFLOW), "prompts": [SAID], "api_key": SAID}


@pytest.mark.parametrize(
    ("who", "method", "path", "body", "status", "route", "user_id", "client_id"),
    [
        ("client_a", "GET", "/v1/me", None, 200, "/v1/me", JOHN, ACME),
        ("admin", "GET", f"/v1/users?q={SAID}", None, 200, "/v1/users", ADMIN, None),
        ("client_a", "POST", "/v1/executions", EXECUTION, 202, "/v1/executions", JOHN, ACME),
        (
            *("client_b", "GET", f"/v1/executions/{DEMO_EXECUTION}", None, 404),
            *("/v1/executions/<execution_id>", JANE_OF_GLOBEX, GLOBEX),
        ),
        ("client_b", "GET", "/v1/users", None, 403, "/v1/users", JANE_OF_GLOBEX, GLOBEX),
        ("mary", "GET", f"/v1/executions?cursor={SAID}", None, 400, "/v1/executions", MARY, None),
        (None, "GET", "/v1/me", None, 401, "/v1/me", None, None),
        ("admin", "POST", "/v1/users", {"name": SAID}, 422, "/v1/users", ADMIN, None),
        (None, "POST", "/v1/users", {"name": SAID}, 401, "/v1/users", None, None),
        (None, "HEAD", "/v1/me", None, 401, "/v1/me", None, None),
        (None, "GET", f"/{SAID}", None, 404, None, None, None),
        (None, "PUT", "/v1/users", None, 405, None, None, None),
    ],
)
def test_every_request_leaves_one_line(
    api: Api,
    log: Log,
    who: str | None,
    method: str,
    path: str,
    body: Any,
    status: int,
    route: str | None,
    user_id: Any,
    client_id: Any,
) -> None:
    api.call("admin", "GET", "/v1/me")
    log.lines()
    answer = api.call(who, method, path, json=body, headers={"Idempotency-Key": f"{SAID} {path}"})
    assert answer.status_code == status
    [line] = log.lines()
    assert line["message"] == "request"
    assert line["request_id"] == answer.headers["X-Request-Id"]
    assert (line["method"], line["status"]) == (method, status)
    assert line["duration_ms"] >= 0
    # The line contains nothing of the previous request.
    assert line.get("route") == route
    assert line.get("user_id") == (user_id and str(user_id))
    assert line.get("client_id") == (client_id and str(client_id))


def test_a_forged_token_is_not_logged(api: Api, log: Log) -> None:
    api.call(None, "GET", "/v1/me", headers={"Authorization": f"Bearer {SAID}"})
    assert len(log.lines()) == 1


def test_a_failure_is_logged_without_the_row_that_caused_it(
    api: Api, log: Log, superuser: psycopg.Connection
) -> None:
    """For a failed check, Postgres quotes the whole row, unless row security hides it."""
    table = "ALTER TABLE public.support_tickets "
    superuser.execute(table + "ADD CONSTRAINT unforeseen CHECK (subject <> 'unforeseen')")
    try:
        body = {"subject": "unforeseen", "description": SAID}
        answer = api.call("client_a", "POST", "/v1/support-tickets", json=body)
    finally:
        superuser.execute(table + "DROP CONSTRAINT unforeseen")
    assert answer.status_code == 500
    failure, request = log.lines()
    assert (failure["level"], failure["message"]) == ("ERROR", "internal_error")
    assert failure["request_id"] == request["request_id"] == answer.headers["X-Request-Id"]
    assert failure["user_id"] == str(JOHN)
    # This is enough to find the failure.
    assert "unforeseen" in failure["exception"]
    assert "insert_ticket" in failure["exception"]


def test_a_database_that_is_gone_is_logged_with_its_reason(
    api: Api,
    log: Log,
    without_database: None,  # noqa: F811 - a fixture
) -> None:
    body = {"subject": SAID, "description": SAID}
    assert api.call("client_a", "POST", "/v1/support-tickets", json=body).status_code == 503
    failure, _ = log.lines()
    assert failure["message"] == "database_unavailable"
    assert "connection" in str(failure).lower()
