"""Lists by keyset: a caller who pages during writes sees every earlier row exactly once."""

import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest

from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, GLOBEX, JANE_OF_GLOBEX, JOHN_OF_ACME, WORKFLOW
from tests.support.handler import Api

ROWS = 1000
PAGE = 37
INSERTED = 200
LAMBDA_BYTES = 6 * 1024 * 1024


@pytest.fixture(scope="module")
def superuser(database: Urls) -> Iterator[psycopg.Connection]:
    with connected(database.superuser) as connection:
        yield connection


@pytest.fixture(scope="module")
def first_thousand(superuser: psycopg.Connection) -> set[str]:
    """The ids of a thousand executions. Many share a creation time, as bulk submissions do."""
    superuser.execute(
        "DELETE FROM public.workflow_executions",
    )
    rows = superuser.execute(
        """
        INSERT INTO public.workflow_executions
            (workflow_id, client_id, user_id, status, input_data, created_at)
        SELECT %s, %s, %s, CASE WHEN n %% 3 = 0 THEN 'failed' ELSE 'completed' END,
            '{"prompts": ["x"]}', now() - make_interval(mins => n / 50)
        FROM generate_series(1, %s) n RETURNING id::text
        """,
        [WORKFLOW, ACME, JOHN_OF_ACME, ROWS],
    ).fetchall()
    superuser.execute(
        """
        INSERT INTO public.workflow_executions (workflow_id, client_id, user_id, input_data)
        SELECT %s, %s, %s, '{}' FROM generate_series(1, 50)
        """,
        [WORKFLOW, GLOBEX, JANE_OF_GLOBEX],
    )
    return {row[0] for row in rows}


def pages(api: Api, who: str, **query: Any) -> Iterator[list[dict[str, Any]]]:
    cursor = None
    while True:
        wanted = query | ({"cursor": cursor} if cursor else {})
        page = api.call(who, "GET", f"/v1/executions?{urlencode(wanted)}").json
        assert page is not None
        yield page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


class Writer(threading.Thread):
    """Submits executions in separate transactions, as many as `let` permits."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._steps = threading.Semaphore(0)
        self.written = 0

    def let(self, count: int) -> None:
        for _ in range(count):
            self._steps.release()

    def run(self) -> None:
        with connected(self._url) as connection:
            while self.written < INSERTED and self._steps.acquire(timeout=60):
                connection.execute(
                    """
                    INSERT INTO public.workflow_executions
                        (workflow_id, client_id, user_id, input_data)
                    VALUES (%s, %s, %s, '{"prompts": ["late"]}')
                    """,
                    [WORKFLOW, ACME, JOHN_OF_ACME],
                )
                self.written += 1


def test_no_row_is_skipped_or_repeated_while_others_are_inserted(
    api: Api, database: Urls, superuser: psycopg.Connection, first_thousand: set[str]
) -> None:
    writer = Writer(database.superuser)
    writer.start()
    seen: list[str] = []
    sizes: list[int] = []
    # With eight inserts per page, all inserts happen between the first and the last of 28 pages.
    for page in pages(api, "client_a", limit=PAGE):
        seen += [item["id"] for item in page]
        sizes.append(len(page))
        writer.let(8)
    writer.let(INSERTED)
    writer.join(60)
    assert writer.written == INSERTED
    assert len(seen) == len(set(seen))
    assert set(seen) == first_thousand
    assert set(sizes[:-1]) == {PAGE}
    after = superuser.execute(
        "SELECT count(*) FROM public.workflow_executions WHERE client_id = %s", [ACME]
    ).fetchone()
    assert after == (ROWS + INSERTED,)


def test_no_row_is_skipped_if_rows_already_read_are_deleted(
    api: Api, superuser: psycopg.Connection, first_thousand: set[str]
) -> None:
    seen: list[str] = []
    for page in pages(api, "client_a", limit=PAGE, status="failed"):
        ids = [item["id"] for item in page]
        seen += ids
        superuser.execute("DELETE FROM public.workflow_executions WHERE id = ANY(%s)", [ids])
    assert len(seen) == len(set(seen)) == ROWS // 3


@pytest.mark.parametrize("limit", [200, 1])
def test_the_last_full_page_has_no_next_cursor(
    api: Api, superuser: psycopg.Connection, limit: int
) -> None:
    """The list does not end with an empty page."""
    superuser.execute(
        "DELETE FROM public.workflow_executions WHERE client_id = %s AND id NOT IN"
        " (SELECT id FROM public.workflow_executions WHERE client_id = %s LIMIT %s)",
        [ACME, ACME, 2 * limit],
    )
    sizes = [len(page) for page in pages(api, "client_a", limit=limit)]
    assert sizes == [limit, limit]


NEW = {
    "users": {"email": "late@masstock.example", "name": "Late", "role": "admin"},
    "clients": {"name": "Late", "email": "late@client.example"},
    "workflows": {"name": "Late", "config": {"workflow_type": "nano_banana", "model": "x"}},
    "workflow-requests": {"workflow_id": str(WORKFLOW), "client_id": str(ACME)},
    "support-tickets": {"subject": "Late", "description": "x", "client_id": str(ACME)},
}


@pytest.mark.parametrize("path", NEW)
def test_every_list_can_be_limited_to_a_time_range(api: Api, path: str) -> None:
    created = api.call("admin", "POST", f"/v1/{path}", json=NEW[path])
    assert created.json is not None
    moment = created.json["created_at"]

    def listed(**period: str) -> list[str]:
        page = api.call("admin", "GET", f"/v1/{path}?{urlencode(period)}").json
        assert page is not None
        return [row["id"] for row in page["items"]]

    newest, *others = listed()
    assert newest == created.json["id"]
    assert others
    assert listed(**{"from": moment}) == [newest]
    assert listed(to=moment) == others
    assert listed(**{"from": moment, "to": moment}) == []


def test_the_newest_rows_come_first(api: Api) -> None:
    [*items] = [item for page in pages(api, "admin", limit=PAGE) for item in page]
    keys = [(item["created_at"], item["id"]) for item in items]
    assert keys == sorted(keys, reverse=True)
    assert {item["client_id"] for item in items} == {str(ACME), str(GLOBEX)}


def test_a_page_of_quotes_fits_into_lambdas_answer(api: Api, superuser: psycopg.Connection) -> None:
    """The answer has the page as a string of JSON, which doubles each quote's two characters."""
    execution = superuser.execute(
        "INSERT INTO public.workflow_executions (workflow_id, client_id, user_id, input_data)"
        " VALUES (%s, %s, %s, '{}') RETURNING id",
        [WORKFLOW, ACME, JOHN_OF_ACME],
    ).fetchone()
    assert execution is not None
    superuser.execute(
        "INSERT INTO public.workflow_batch_results"
        " (execution_id, client_id, batch_index, prompt_text)"
        """ SELECT %s, %s, n, repeat('"', 10000) FROM generate_series(0, 199) n""",
        [execution[0], ACME],
    )
    path = f"/v1/executions/{execution[0]}/results?limit=200"
    first = api.call("client_a", "GET", path)
    assert len(json.dumps(first.text)) < LAMBDA_BYTES
    assert first.json is not None
    rest = api.call("client_a", "GET", f"{path}&cursor={first.json['next_cursor']}").json
    assert rest is not None
    indices = [row["batch_index"] for row in first.json["items"] + rest["items"]]
    assert indices == list(range(200))
