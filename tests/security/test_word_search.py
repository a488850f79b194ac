"""The search for words tells nothing of other tenants: not by rows, errors and estimates, and not
by its work, which takes its time."""

import json
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest

from tests.support.databases import Callers, Urls, connected
from tests.support.demo_data import ACME, GLOBEX, JANE_OF_GLOBEX, JOHN_OF_ACME

SEARCH: LiteralString = """
    SELECT * FROM app.search_prompts(%(client)s, ARRAY[%(word)s], 'infinity', gen_random_uuid(), 0,
        50, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
"""
# Both clients use the first word often.
PAIR = SEARCH.replace("ARRAY[", "ARRAY['common', ")
# A word that Globex uses often, and words that nobody uses, before and behind it.
OFTEN = "mmm"
NEVER = ["mml", "mmn", "aaa", "zzz", "mmm0"]


@pytest.fixture(scope="module")
def superuser(database: Urls) -> Iterator[psycopg.Connection]:
    with connected(database.superuser) as connection:
        connection.execute(
            "INSERT INTO app_private.prompt_words"
            " SELECT c, w, now(), gen_random_uuid(), '{0}' FROM generate_series(1, 5000) i,"
            " (VALUES (%s::uuid, 'mmm'), (%s, 'common'), (%s, 'common')) AS v (c, w)",
            [GLOBEX, GLOBEX, ACME],
        )
        connection.execute("ANALYZE app_private.prompt_words")
        yield connection


def explained(callers: Callers, word: str, statement: LiteralString = SEARCH) -> dict[str, Any]:
    with callers.writing(JOHN_OF_ACME) as tx:
        tx.fetch_all(statement, client=ACME, word="warm")
        [row] = tx.fetch_all(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON, TIMING OFF, SUMMARY OFF) " + statement,
            client=ACME,
            word=word,
        )
    [plan] = row["QUERY PLAN"] if isinstance(row["QUERY PLAN"], list) else json.loads(*row.values())
    return plan["Plan"]


@pytest.mark.parametrize("search", [SEARCH, PAIR])
def test_a_word_of_another_tenant_costs_as_many_pages_as_a_word_of_nobody(
    callers: Callers, superuser: psycopg.Connection, search: LiteralString
) -> None:
    def pages_of(word: str) -> int:
        return explained(callers, word, search)["Shared Hit Blocks"]

    pages = {word: pages_of(word) for word in [*NEVER, OFTEN]}
    # A search that begins at the end of a page of the index looks at the next one too.
    assert pages[OFTEN] - min(pages[word] for word in NEVER) <= 2
    assert pages[OFTEN] <= max(pages[word] for word in NEVER) + 1
    assert pages_of("common") > 50


def test_the_estimate_of_every_word_is_the_same(
    callers: Callers, superuser: psycopg.Connection
) -> None:
    estimates = {explained(callers, word)["Plan Rows"] for word in [*NEVER, OFTEN, "common"]}
    assert len(estimates) == 1
    columns = superuser.execute(
        "SELECT attname FROM pg_stats WHERE tablename = 'prompt_words'"
        " AND attname IN ('client_id', 'word', 'execution_id', 'batch_indices')"
    )
    assert columns.fetchall() == []


@pytest.mark.parametrize("client", [GLOBEX, None])
def test_another_client_is_searched_like_a_client_that_does_not_exist(
    callers: Callers, superuser: psycopg.Connection, client: object
) -> None:
    with callers.writing(JOHN_OF_ACME) as tx:
        assert tx.fetch_all(SEARCH, client=client, word=OFTEN) == []
    with callers.writing(JANE_OF_GLOBEX) as tx:
        # Its executions do not exist, so the search goes through all of them.
        assert tx.fetch_all(SEARCH, client=GLOBEX, word=OFTEN) == []


@pytest.mark.parametrize("persona", ["masstock_api", "masstock_admin"])
def test_a_search_without_a_sealed_identity_finds_nothing(
    superuser: psycopg.Connection, persona: str
) -> None:
    claims = json.dumps({"sub": str(JANE_OF_GLOBEX), "role": "authenticated"})
    with superuser.transaction(force_rollback=True):
        superuser.execute("SELECT set_config('request.jwt.claims', %s, true)", [claims])
        superuser.execute(f"SET LOCAL ROLE {persona}")  # pyright: ignore
        found = superuser.execute(SEARCH, {"client": GLOBEX, "word": OFTEN}).fetchall()
    assert found == []
