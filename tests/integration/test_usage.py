"""GET /v1/usage equals the ledger, whatever became of executions and results."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from masstock.database.queries import claims
from tests.integration.test_budgets import Engine, fail_rest, submit
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, WORKFLOW
from tests.support.handler import Api

MODEL = "gemini-2.5-flash-image"


@pytest.fixture
def engine(fresh_database: Urls):
    engine = Engine(fresh_database.worker)
    yield engine
    engine.close()


def usage(api: Api, who: str = "client_a", query: str = "") -> dict[str, Any]:
    answer = api.call(who, "GET", f"/v1/usage{query}")
    assert answer.status_code == 200, answer.text
    assert answer.json is not None
    return answer.json


def append(urls: Urls, month: str, *, client: UUID = ACME, **columns: Any) -> None:
    """A charge in the ledger. By default as an earlier release wrote it."""
    row = {
        "client_id": client,
        "execution_id": uuid4(),
        "month": month,
        "batch_index": 0,
        **columns,
    }
    with connected(urls.superuser) as connection:
        connection.execute(
            "INSERT INTO public.spend_ledger (client_id, execution_id, batch_index, attempt, month,"
            " charged_microusd, workflow_id, model, tier, images) VALUES (%(client_id)s,"
            " %(execution_id)s, %(batch_index)s, 1, %(month)s, %(charged)s, %(workflow_id)s,"
            " %(model)s, coalesce(%(tier)s, 'standard'), %(images)s)",
            {"workflow_id": None, "model": None, "tier": None, "images": None, **row},
        )


def ledger(urls: Urls) -> int:
    with connected(urls.superuser) as connection:
        [(charged,)] = connection.execute(
            "SELECT sum(charged_microusd)::bigint FROM public.spend_ledger WHERE client_id = %s",
            [ACME],
        ).fetchall()
    return charged


def test_usage_survives_deletes_retries_lost_images_and_unknown_prices(
    fresh_database: Urls, fresh_api: Api, engine: Engine
) -> None:
    execution_id = submit(fresh_database.superuser, 4)
    engine.start(execution_id)
    engine.paint(engine.claim(execution_id, 0), 700)
    lost = engine.claim(execution_id, 1, lease=-1)
    claims.charge_lost_image(engine, lost, lost.attempt, 31)
    unknown = engine.claim(execution_id, 2)
    engine.paint(replace(unknown, config={"model": "somebodys-own-model"}), None)
    fail_rest(fresh_database.superuser, execution_id)
    engine.end(execution_id)
    path = f"/v1/executions/{execution_id}"
    assert fresh_api.call("client_a", "POST", f"{path}/retry").status_code == 202
    engine.start(execution_id, run=1)
    for index in (1, 3):
        engine.paint(engine.claim(execution_id, index), 900)
    engine.end(execution_id, run=1)
    before = usage(fresh_api)
    assert fresh_api.call("client_a", "DELETE", path).status_code == 204
    after = usage(fresh_api)
    assert after == before
    assert [
        (item["workflow_id"], item["model"], item["tier"], item["images"], item["cost_microusd"])
        for item in after["items"]
    ] == [
        (str(WORKFLOW), MODEL, "standard", 3, 700 + 31 + 2 * 900),
        (str(WORKFLOW), "somebodys-own-model", "standard", 1, 0),
    ]
    assert ledger(fresh_database) == sum(item["cost_microusd"] for item in after["items"])
    assert (after["spent_microusd"], after["reserved_microusd"]) == (2531, 0)


def test_usage_is_told_by_month_workflow_model_and_tier(
    fresh_database: Urls, fresh_api: Api
) -> None:
    append(fresh_database, "2026-01-01", charged=5)
    append(fresh_database, "2026-01-01", charged=6)
    append(fresh_database, "2026-02-01", charged=7, workflow_id=WORKFLOW, model=MODEL, images=1)
    append(
        fresh_database,
        "2026-02-01",
        charged=3,
        workflow_id=WORKFLOW,
        model=MODEL,
        images=1,
        tier="economy",
    )
    rows = [
        [item[name] for name in ("month", "workflow_name", "model", "tier", "images")]
        for item in usage(fresh_api)["items"]
    ]
    [name] = {row[1] for row in rows if row[1]}
    february = [
        ["2026-02-01", name, MODEL, "standard", 1],
        ["2026-02-01", name, MODEL, "economy", 1],
    ]
    # Rows of an earlier release do not name the workflow.
    january = ["2026-01-01", None, None, "standard", 2]
    assert rows == [*february, january]
    for query, months in {
        "?from=2026-02-01": {"2026-02-01"},
        "?from=2026-01-01T00:00:01Z": {"2026-02-01"},
        "?to=2026-02-01": {"2026-01-01"},
        "?to=2026-02-01T00:00:01Z": {"2026-01-01", "2026-02-01"},
        "?from=2026-02-01T00:00:00%2B01:00": {"2026-02-01"},
        "?from=2026-03-01": set(),
    }.items():
        assert {item["month"] for item in usage(fresh_api, query=query)["items"]} == months, query


def test_the_budget_that_is_left_is_that_of_the_client(
    fresh_database: Urls, fresh_api: Api
) -> None:
    assert usage(fresh_api)["budget_left_microusd"] is None
    with connected(fresh_database.superuser) as connection:
        connection.execute(
            "UPDATE public.clients SET monthly_budget_microusd = 10000 WHERE id = %s", [ACME]
        )
    submit(fresh_database.superuser, 4)
    for who, query in (("client_a", ""), ("client_a", f"?client_id={ACME}")):
        told = usage(fresh_api, who, query)
        assert (told["client_id"], told["budget_left_microusd"]) == (str(ACME), 6000)
    assert usage(fresh_api, "admin", f"?client_id={ACME}") == usage(fresh_api)
    with connected(fresh_database.superuser) as connection:
        connection.execute("UPDATE public.clients SET monthly_budget_microusd = 1")
    assert usage(fresh_api)["budget_left_microusd"] == 0


@pytest.mark.parametrize(
    ("who", "query", "status"),
    [
        ("client_b", f"?client_id={ACME}", 404),
        ("admin", f"?client_id={UUID(int=1)}", 404),
        ("admin", "", 422),
        ("client_a", "?month=2026-01", 422),
    ],
)
def test_usage_of_another_client_is_refused(api: Api, who: str, query: str, status: int) -> None:
    assert api.call(who, "GET", f"/v1/usage{query}").status_code == status
