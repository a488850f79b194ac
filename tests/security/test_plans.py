"""SQL injected into a request learns nothing about hidden rows from query plans, errors or
statistics."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from tests.support import tenants
from tests.support.databases import Callers, Urls, connected
from tests.support.demo_data import ACME, GLOBEX, JANE_OF_GLOBEX, JOHN_OF_ACME

# Columns with confidential text, and the row of another tenant. Columns with their own index are
# missing here: docs/security.md names that limit.
SECRETS = [
    ("workflow_batch_results", "prompt_text", "client_id", GLOBEX),
    ("workflow_batch_results", "error_message", "client_id", GLOBEX),
    ("workflow_executions", "error_message", "client_id", GLOBEX),
    ("workflow_requests", "notes", "client_id", GLOBEX),
    ("support_tickets", "subject", "client_id", GLOBEX),
    ("support_tickets", "description", "client_id", GLOBEX),
    ("webhook_deliveries", "url", "client_id", GLOBEX),
    ("clients", "name", "id", GLOBEX),
    ("users", "name", "id", JANE_OF_GLOBEX),
]
ROWS: dict[str, Any] = {
    f"{table}.{column}": (table, column, *whose) for table, column, *whose in SECRETS
}
PLANNERS = ["", "enable_indexscan", "enable_bitmapscan", "enable_seqscan"]
SECRET = "only Globex knows this"
GUESS = "text that no row contains"


@pytest.fixture(scope="module")
def superuser(database: Urls) -> Iterator[psycopg.Connection]:
    with connected(database.superuser) as superuser:
        tenants.lay_out(superuser)
        for table, column, owner, whose in SECRETS:
            changed = superuser.execute(
                f"UPDATE public.{table} SET {column} = %s WHERE {owner} = %s", [SECRET, whose]
            )
            assert changed.rowcount, f"{table} has no row of Globex"
        yield superuser


@pytest.mark.parametrize("planner", PLANNERS)
@pytest.mark.parametrize("secret", ROWS)
def test_a_right_guess_has_the_same_plan_as_a_wrong_one(
    callers: Callers, superuser: psycopg.Connection, secret: str, planner: str
) -> None:
    table, column, *_ = ROWS[secret]

    def looks(text: str) -> list[str]:
        with callers.writing(JOHN_OF_ACME) as tx:
            assert tx.caller.client_id == ACME
            if planner:
                tx.fetch_all(f"SET LOCAL {planner} = off")
            plan = tx.fetch_all(
                "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF)"
                f" SELECT FROM public.{table} WHERE starts_with({column}, '{text}')"
            )
        return [line.replace(text, "…") for row in plan for line in row.values()]

    assert looks(SECRET) == looks(GUESS)


@pytest.mark.parametrize("planner", PLANNERS)
@pytest.mark.parametrize("secret", ROWS)
def test_invalid_claims_give_the_same_result_for_every_guess(
    callers: Callers, superuser: psycopg.Connection, secret: str, planner: str
) -> None:
    table, column, *_ = ROWS[secret]

    def answer(text: str) -> object:
        with suppress(psycopg.Error), callers.writing(JOHN_OF_ACME) as tx:
            if planner:
                tx.fetch_all(f"SET LOCAL {planner} = off")
            return tx.fetch_all(
                f"""
                SELECT (SELECT count(*) FROM public.{table} WHERE starts_with({column}, '{text}'))
                FROM (SELECT set_config('request.jwt.claims', 'x', true) AS k OFFSET 0) forged
                WHERE forged.k IS NOT NULL
                """
            )
        return "refused"

    assert answer(SECRET) == answer(GUESS) == [{"count": 0}]


@pytest.mark.parametrize("secret", ROWS)
def test_no_column_statistics_contain_confidential_text(
    superuser: psycopg.Connection, secret: str
) -> None:
    table, column, *_ = ROWS[secret]
    superuser.execute(f"ANALYZE public.{table}")
    query = "SELECT FROM pg_stats WHERE schemaname = 'public' AND tablename = %s AND attname = %s"
    assert superuser.execute(query, [table, column]).rowcount == 0


def test_the_policy_of_results_is_no_reason_to_read_all_results_of_a_client(
    callers: Callers,
) -> None:
    """docs/decisions.md, 113. Without a sequential scan the planner takes any usable condition."""
    with callers.writing(JOHN_OF_ACME) as tx:
        tx.fetch_all("SET LOCAL enable_seqscan = off")
        plan = tx.fetch_all(
            "EXPLAIN (COSTS OFF) SELECT prompt_text FROM public.workflow_batch_results"
        )
    conditions = [line for row in plan for line in row.values() if "Index Cond" in line]
    assert all("client_id" not in line for line in conditions), conditions


def test_one_request_cannot_switch_off_durability_for_another(callers: Callers) -> None:
    with callers.writing(JOHN_OF_ACME) as tx:
        tx.fetch_all("SET synchronous_commit = off")
    with callers.writing(JANE_OF_GLOBEX) as tx:
        [setting] = tx.fetch_all("SELECT current_setting('synchronous_commit') AS now")
    assert setting["now"] == "on"
