"""The schema document's "Common Queries", word for word, on the demo data."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.databases import Urls, connected, signed_identity
from tests.support.demo_data import (
    ACME,
    ADMIN,
    DEMO_EXECUTION,
    GLOBEX,
    JANE_OF_GLOBEX,
    JOHN_OF_ACME,
    MARY_OF_ACME,
)
from tests.support.seed_queries import (
    BATCH_RESULTS,
    EXECUTIONS_WITH_WORKFLOW,
    SUCCESS_RATE_BY_CLIENT,
    TOP_WORKFLOWS,
    USER_WITH_CLIENT,
)

type Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def ask(database: Urls) -> Iterator[Ask]:
    """Runs a query as a sealed user. Postgres itself binds `$1`."""
    with connected(database.api) as connection:

        def as_user(user_id: UUID, query: LiteralString, *values: object) -> list[dict[str, Any]]:
            with connection.transaction():
                connection.execute("SELECT FROM app.enter(%s, %s, %s)", signed_identity(user_id))
                with psycopg.RawCursor(connection, row_factory=dict_row) as cursor:
                    return cursor.execute(query, values).fetchall()

        yield as_user


JOHN = {
    "id": JOHN_OF_ACME,
    "email": "john@client.com",
    "name": "John Doe",
    "role": "client",
    "status": "active",
    "client_id": ACME,
    "client_name": "Acme Corporation",
    "client_email": "contact@acme.com",
}


@pytest.mark.parametrize("asking", [ADMIN, JOHN_OF_ACME])
def test_a_user_has_a_client(ask: Ask, asking: UUID) -> None:
    assert ask(asking, USER_WITH_CLIENT, JOHN_OF_ACME) == [JOHN]


def test_an_administrator_has_no_client(ask: Ask) -> None:
    [row] = ask(ADMIN, USER_WITH_CLIENT, ADMIN)
    assert (row["role"], row["client_id"], row["client_name"]) == ("admin", None, None)


@pytest.mark.parametrize("other", [JANE_OF_GLOBEX, MARY_OF_ACME, ADMIN])
def test_a_client_user_finds_only_the_own_profile(ask: Ask, other: UUID) -> None:
    assert ask(JOHN_OF_ACME, USER_WITH_CLIENT, other) == []


@pytest.mark.parametrize("asking", [ADMIN, JOHN_OF_ACME])
def test_an_execution_has_its_names(ask: Ask, asking: UUID) -> None:
    [row] = ask(asking, EXECUTIONS_WITH_WORKFLOW, ACME)
    assert row.pop("created_at").isoformat() == "2025-11-23T10:00:00+00:00"
    assert row == {
        "id": DEMO_EXECUTION,
        "status": "completed",
        "duration_seconds": 330,
        "workflow_name": "Nano Banana - Image Generation",
        "user_name": "John Doe",
        "client_name": "Acme Corporation",
    }


@pytest.mark.parametrize(
    ("asking", "client_id"),
    [(ADMIN, GLOBEX), (JANE_OF_GLOBEX, GLOBEX), (JANE_OF_GLOBEX, ACME)],
)
def test_a_client_without_executions_lists_none(ask: Ask, asking: UUID, client_id: UUID) -> None:
    assert ask(asking, EXECUTIONS_WITH_WORKFLOW, client_id) == []


@pytest.mark.parametrize("asking", [ADMIN, JOHN_OF_ACME, MARY_OF_ACME])
def test_results_have_the_order_of_the_prompts(ask: Ask, asking: UUID) -> None:
    folder = (
        "https://example.supabase.co/storage/v1/object/public/workflow-results/"
        "def45678-e89b-12d3-a456-426614174004"
    )
    assert ask(asking, BATCH_RESULTS, DEMO_EXECUTION) == [
        {
            "id": UUID("aaa78901-e89b-12d3-a456-426614174005"),
            "batch_index": 0,
            "prompt_text": "a cat wearing sunglasses",
            "status": "completed",
            "result_url": f"{folder}/0_1763892000.png",
            "processing_time_ms": 3500,
            "error_message": None,
        },
        {
            "id": UUID("aaa78901-e89b-12d3-a456-426614174015"),
            "batch_index": 1,
            "prompt_text": "dog in car",
            "status": "completed",
            "result_url": f"{folder}/1_1763892000.png",
            "processing_time_ms": 3200,
            "error_message": None,
        },
    ]


def test_results_of_another_tenants_execution_are_hidden(ask: Ask) -> None:
    assert ask(JANE_OF_GLOBEX, BATCH_RESULTS, DEMO_EXECUTION) == []


def test_success_rates_are_reported_by_client(ask: Ask) -> None:
    assert ask(ADMIN, SUCCESS_RATE_BY_CLIENT) == [
        {
            "client_name": "Acme Corporation",
            "total_executions": 1,
            "successful": 1,
            "failed": 0,
            "success_rate_percent": Decimal("100.00"),
        }
    ]


def test_workflows_are_reported_by_usage(ask: Ask) -> None:
    assert ask(ADMIN, TOP_WORKFLOWS) == [
        {
            "workflow_name": "Nano Banana - Image Generation",
            "execution_count": 1,
            "avg_duration_seconds": Decimal(330),
            "successful_count": 1,
        }
    ]
