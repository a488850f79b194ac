"""If-Match is compared with a locked row, so a change that is committed meanwhile counts."""

import threading
import time
from collections.abc import Iterator
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from werkzeug.test import TestResponse

from tests.support.databases import Callers, Urls, connected
from tests.support.demo_data import (
    ACME,
    ADMIN,
    DEMO_EXECUTION,
    JANE_OF_GLOBEX,
    JOHN_OF_ACME,
    WORKFLOW,
)
from tests.support.handler import Api

PATIENCE_SECONDS = 20
REQUEST = "abc12345-e89b-12d3-a456-426614174003"
TICKET = "bbb23456-e89b-12d3-a456-426614174006"
# Table, id, the body of a PATCH, and another request's change of the same row.
ROWS: dict[str, tuple[LiteralString, Any, dict[str, Any], LiteralString]] = {
    "users": ("users", JOHN_OF_ACME, {"name": "John D."}, "name = 'Other'"),
    "clients": ("clients", ACME, {"name": "Acme"}, "name = 'Other'"),
    "workflows": ("workflows", WORKFLOW, {"description": None}, "description = 'Other'"),
    "workflow-requests": ("workflow_requests", REQUEST, {"notes": "50"}, "notes = 'Other'"),
    "support-tickets": ("support_tickets", TICKET, {"priority": "low"}, "subject = 'Other'"),
    "executions": (
        "workflow_executions",
        DEMO_EXECUTION,
        {},
        "error_message = gen_random_uuid()::text",
    ),
}
CASES = [
    *(("admin", "PATCH", name) for name in ROWS if name != "executions"),
    *(("admin", "DELETE", name) for name in ROWS),
    *(("client_a", "PATCH", name) for name in ("workflow-requests", "support-tickets")),
    *(
        ("client_a", "DELETE", name)
        for name in ("workflow-requests", "support-tickets", "executions")
    ),
]


@pytest.fixture
def superuser(database: Urls) -> Iterator[psycopg.Connection]:
    """Reopens the two rows that a client user may change while they are open."""
    with connected(database.superuser) as connection:
        connection.execute("UPDATE public.workflow_requests SET status = 'pending'")
        connection.execute("UPDATE public.support_tickets SET status = 'open'")
        yield connection


def waiting_for_another(watcher: psycopg.Connection) -> None:
    """Returns when a request waits for another transaction's lock."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    query = (
        "SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    )
    while not watcher.execute(query).rowcount:
        assert time.monotonic() < deadline, "no request waited for the lock"
        time.sleep(0.02)


def answer_beside(
    api: Api,
    database: Urls,
    superuser: psycopg.Connection,
    change: tuple[Any, Any],
    request: tuple[str, str, str, Any],
) -> TestResponse:
    """The answer to a request that names the version before an uncommitted change. The change is
    committed when the request waits for it."""
    who, method, path, body = request
    tag = api.call("admin", "GET", path).headers["ETag"]
    answers: list[TestResponse] = []

    def send() -> None:
        answers.append(api.call(who, method, path, json=body, headers={"If-Match": tag}))

    with connected(database.superuser) as other:
        with other.transaction():
            other.execute(*change)
            sender = threading.Thread(target=send)
            sender.start()
            waiting_for_another(superuser)
        sender.join(PATIENCE_SECONDS)
    return answers[0]


def identified(name: str, statement: LiteralString) -> tuple[Any, Any]:
    table, row_id, _, change = ROWS[name]
    text = sql.SQL(statement).format(sql.Identifier("public", table), sql.SQL(change))
    return text, [row_id]


@pytest.mark.parametrize(("who", "method", "name"), CASES)
def test_a_version_that_another_request_replaces_meanwhile_is_refused(
    api: Api, database: Urls, superuser: psycopg.Connection, who: str, method: str, name: str
) -> None:
    _, row_id, body, _ = ROWS[name]
    answer = answer_beside(
        api,
        database,
        superuser,
        identified(name, "UPDATE {} SET {} WHERE id = %s"),
        (who, method, f"/v1/{name}/{row_id}", body if method == "PATCH" else None),
    )
    assert answer.status_code == 412, answer.text
    assert api.call("admin", "GET", f"/v1/{name}/{row_id}").status_code == 200


@pytest.mark.parametrize("name", ["support-tickets", "workflow-requests"])
def test_a_closed_row_is_locked_too_before_its_deletion(
    api: Api, database: Urls, superuser: psycopg.Connection, name: str
) -> None:
    """The policy lets a client user delete a closed ticket, but change only an open one."""
    superuser.execute("UPDATE public.support_tickets SET status = 'closed'")
    superuser.execute("UPDATE public.workflow_requests SET status = 'approved'")
    answer = answer_beside(
        api,
        database,
        superuser,
        identified(name, "UPDATE {} SET {} WHERE id = %s"),
        ("client_a", "DELETE", f"/v1/{name}/{ROWS[name][1]}", None),
    )
    assert answer.status_code == 412, answer.text


@pytest.mark.parametrize("who", ["admin", "client_a"])
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("support-tickets", "PATCH"),
        ("support-tickets", "DELETE"),
        ("workflow-requests", "PATCH"),
        ("workflow-requests", "DELETE"),
    ],
)
def test_a_row_that_another_request_deletes_meanwhile_is_not_found(
    fresh_api: Api, fresh_database: Urls, who: str, name: str, method: str
) -> None:
    _, row_id, body, _ = ROWS[name]
    with connected(fresh_database.superuser) as superuser:
        superuser.execute("UPDATE public.workflow_requests SET status = 'pending'")
        answer = answer_beside(
            fresh_api,
            fresh_database,
            superuser,
            identified(name, "DELETE FROM {} WHERE id = %s -- {}"),
            (who, method, f"/v1/{name}/{row_id}", body if method == "PATCH" else None),
        )
    assert answer.status_code == 404, answer.text


LOCKS: list[tuple[LiteralString, LiteralString, Any]] = [
    ("SELECT app.lock_ticket(%(id)s)", "support_tickets", TICKET),
    ("SELECT app.lock_request(%(id)s)", "workflow_requests", REQUEST),
    ("SELECT app.lock_execution(%(id)s)", "workflow_executions", DEMO_EXECUTION),
]


@pytest.mark.parametrize(
    ("user", "locks"), [(JOHN_OF_ACME, True), (ADMIN, True), (JANE_OF_GLOBEX, False)]
)
@pytest.mark.parametrize(("call", "table", "row_id"), LOCKS)
def test_a_caller_locks_only_rows_that_the_caller_sees(
    callers: Callers,
    superuser: psycopg.Connection,
    user: UUID,
    locks: bool,
    call: LiteralString,
    table: LiteralString,
    row_id: Any,
) -> None:
    row = sql.SQL("SELECT FROM {} WHERE id = %s FOR UPDATE SKIP LOCKED").format(
        sql.Identifier("public", table)
    )
    with callers.writing(user) as tx:
        tx.fetch_all(call, id=row_id)
        assert superuser.execute(row, [row_id]).rowcount == (0 if locks else 1)
