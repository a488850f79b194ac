"""The two reports equal the schema document's queries on every random history."""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString
from urllib.parse import urlencode
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.databases import Urls, connected
from tests.support.demo_data import ADMIN, JOHN_OF_ACME
from tests.support.handler import Api
from tests.support.seed_queries import SUCCESS_RATE_BY_CLIENT, TOP_WORKFLOWS

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 30
RANGES = [
    {},
    {"from": BEGINNING + timedelta(days=7)},
    {"to": BEGINNING + timedelta(days=20)},
    {"from": BEGINNING + timedelta(days=7), "to": BEGINNING + timedelta(days=20)},
    {"from": BEGINNING + timedelta(days=90)},
]


@pytest.fixture
def superuser(database: Urls) -> Iterator[psycopg.Connection]:
    with connected(database.superuser) as connection:
        yield connection


class History:
    """A random history: executions are submitted, run, ended, retried and deleted."""

    def __init__(self, seed: int, connection: psycopg.Connection, worker_url: str) -> None:
        self._chance = random.Random(seed)
        self._connection = connection
        self._worker_url = worker_url
        connection.execute("DELETE FROM public.workflow_executions")
        connection.execute("DELETE FROM public.workflow_requests")
        connection.execute("DELETE FROM public.workflows")
        self._clients = [self._client() for _ in range(self._chance.randint(1, 6))]
        # Sometimes more than ten, because the second report lists at most ten.
        self._workflows = [self._workflow() for _ in range(self._chance.choice([1, 4, 10, 14]))]

    def happen(self) -> None:
        for number, workflow in enumerate(self._workflows):
            # Different numbers of executions, so that the ten most used are well defined.
            self._submit(workflow, 1 + 3 * number)
            if self._chance.random() < 0.5:
                self._fold()
        for _ in range(60):
            self._chance.choice([self._end, self._retry, self._delete, self._fold])()

    def _client(self) -> UUID:
        # Several clients can have the same name.
        name = self._chance.choice(["Acme", "Globex", "Initech"])
        return self._insert(
            "INSERT INTO public.clients (id, name, email) VALUES (%s, %s, 'x@x.example')", name
        )

    def _workflow(self) -> UUID:
        name = self._chance.choice(["Cats", "Dogs"])
        return self._insert("INSERT INTO public.workflows (id, name) VALUES (%s, %s)", name)

    def _insert(self, query: LiteralString, name: str) -> UUID:
        row_id = uuid4()
        self._connection.execute(query, [row_id, name])
        return row_id

    def _submit(self, workflow: UUID, count: int) -> None:
        for _ in range(count):
            self._connection.execute(
                """
                INSERT INTO public.workflow_executions
                    (workflow_id, client_id, user_id, input_data, status, created_at)
                VALUES (%s, %s, %s, '{}', %s, %s)
                """,
                [
                    workflow,
                    self._chance.choice(self._clients),
                    JOHN_OF_ACME,
                    self._chance.choice(["pending", "processing"]),
                    BEGINNING + timedelta(seconds=self._chance.randrange(DAYS * 86400)),
                ],
            )

    def _end(self) -> None:
        self._some(
            """
            UPDATE public.workflow_executions
            SET status = %(status)s, duration_seconds = %(seconds)s
            WHERE id = %(id)s
            """,
            status=self._chance.choice(["completed", "completed", "failed"]),
            seconds=self._chance.choice([None, self._chance.randrange(4000)]),
        )

    def _retry(self) -> None:
        self._some(
            """
            UPDATE public.workflow_executions SET status = 'pending', duration_seconds = NULL
            WHERE id = %(id)s
            """
        )

    def _delete(self) -> None:
        self._some("DELETE FROM public.workflow_executions WHERE id = %(id)s")

    def _some(self, query: LiteralString, **values: Any) -> None:
        rows = self._connection.execute(
            "SELECT id FROM public.workflow_executions ORDER BY created_at, id"
        ).fetchall()
        for (row_id,) in self._chance.sample(rows, min(3, len(rows))):
            self._connection.execute(query, {"id": row_id, **values})

    def _fold(self) -> None:
        with connected(self._worker_url) as worker:
            worker.execute("SELECT app.fold_execution_counts()")


def asked_verbatim(
    connection: psycopg.Connection, query: LiteralString, span: dict[str, datetime]
) -> list[dict[str, Any]]:
    """The result of the unedited query, in a transaction without executions outside of the span."""
    with connection.transaction(force_rollback=True):
        connection.execute(
            "DELETE FROM public.workflow_executions WHERE created_at < %s OR created_at >= %s",
            [span.get("from", "-infinity"), span.get("to", "infinity")],
        )
        with connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query).fetchall()


def reported(api: Api, name: str, span: dict[str, datetime]) -> list[dict[str, Any]]:
    query = urlencode({key: value.isoformat() for key, value in span.items()})
    answer = api.call("admin", "GET", f"/v1/analytics/{name}?{query}")
    assert answer.status_code == 200, answer.text
    # Numbers as decimals, because floating point would round them.
    return json.loads(answer.text, parse_float=Decimal, parse_int=Decimal)["items"]


def exactly(rows: list[dict[str, Any]]) -> list[str]:
    """The rows in a comparable order: the document does not define the order of equal counts."""
    return sorted(
        str({name: Decimal(v) if isinstance(v, int) else v for name, v in row.items()})
        for row in rows
    )


@pytest.mark.parametrize("seed", range(8))
def test_reports_equal_the_documents_queries(
    api: Api, database: Urls, superuser: psycopg.Connection, seed: int
) -> None:
    History(seed, superuser, database.worker).happen()
    for span in RANGES:
        clients = reported(api, "clients", span)
        assert exactly(clients) == exactly(asked_verbatim(superuser, SUCCESS_RATE_BY_CLIENT, span))
        totals = [row["total_executions"] for row in clients]
        assert totals == sorted(totals, reverse=True)

        workflows = reported(api, "workflows", span)
        verbatim = asked_verbatim(superuser, TOP_WORKFLOWS, span)
        counts = [row["execution_count"] for row in workflows]
        assert counts == [row["execution_count"] for row in verbatim]
        # Several workflows can share the lowest count. The document does not say which is listed.
        least = counts[-1] if len(counts) == 10 else -1
        assert exactly([row for row in workflows if row["execution_count"] > least]) == exactly(
            [row for row in verbatim if row["execution_count"] > least]
        )


def test_without_executions_there_is_no_success_rate(
    api: Api, superuser: psycopg.Connection
) -> None:
    superuser.execute("DELETE FROM public.workflow_executions")
    assert reported(api, "clients", {}) == []
    assert {row["execution_count"] for row in reported(api, "workflows", {})} == {0}


def test_a_range_includes_its_start_and_excludes_its_end(
    api: Api, superuser: psycopg.Connection
) -> None:
    superuser.execute("DELETE FROM public.workflow_executions")
    superuser.execute(
        """
        INSERT INTO public.workflow_executions (workflow_id, client_id, user_id, input_data,
            created_at)
        SELECT w.id, c.id, %s, '{}', %s
        FROM (SELECT id FROM public.workflows LIMIT 1) w,
            (SELECT id FROM public.clients LIMIT 1) c
        """,
        [ADMIN, BEGINNING],
    )
    later = BEGINNING + timedelta(seconds=1)
    assert len(reported(api, "clients", {"from": BEGINNING, "to": later})) == 1
    assert reported(api, "clients", {"from": later}) == []
    assert reported(api, "clients", {"to": BEGINNING}) == []


def test_concurrent_folds_and_writers_count_every_execution_once(
    api: Api, database: Urls, superuser: psycopg.Connection
) -> None:
    superuser.execute("DELETE FROM public.workflow_executions")

    def work(number: int) -> None:
        if number % 3 == 0:
            with connected(database.worker) as worker:
                worker.execute("SELECT app.fold_execution_counts()")
            return
        with connected(database.superuser) as writer:
            writer.execute(
                """
                INSERT INTO public.workflow_executions (workflow_id, client_id, user_id, input_data)
                SELECT w.id, c.id, %s, '{}' FROM public.workflows w, public.clients c
                """,
                [ADMIN],
            )
            writer.execute(
                """
                UPDATE public.workflow_executions SET status = 'completed', duration_seconds = %s
                WHERE id = (SELECT id FROM public.workflow_executions
                            WHERE status = 'pending' LIMIT 1 FOR UPDATE SKIP LOCKED)
                """,
                [number],
            )

    with ThreadPoolExecutor(8) as crowd:
        list(crowd.map(work, range(60)))
    for name, query in (("clients", SUCCESS_RATE_BY_CLIENT), ("workflows", TOP_WORKFLOWS)):
        assert exactly(reported(api, name, {})) == exactly(asked_verbatim(superuser, query, {}))
