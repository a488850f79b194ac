"""A submission that reuses images reserves, and is told to cost, only what is painted."""

from typing import Any
from uuid import UUID

import psycopg
import pytest

from masstock.database.queries.reused_images import reserve_image
from tests.support.databases import Callers, Urls, connected
from tests.support.demo_data import ACME, JANE_OF_GLOBEX, JOHN_OF_ACME, WORKFLOW
from tests.support.engine import Engine, used
from tests.support.engine import submit as insert
from tests.support.handler import Api

# A prompt of one token.
EACH = 38_700
BODY: dict[str, Any] = {"workflow_id": str(WORKFLOW), "api_key": "a-key-of-mine"}
PROMPTS: list[Any] = ["a", {"prompt": "b", "images": 3, "seed": 7}, "c", "d"]


@pytest.fixture
def engine(fresh_database: Urls):
    engine = Engine(fresh_database.worker)
    yield engine
    engine.close()


def submit(api: Api, prompts: list[Any], who: str = "client_a", **members: Any) -> dict[str, Any]:
    body = BODY | {"prompts": prompts} | members
    answer = api.call(who, "POST", "/v1/executions", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json


def estimate(api: Api, prompts: list[Any], who: str = "client_a", **members: Any) -> Any:
    body = BODY | {"prompts": prompts, "reuse": "identical"} | members
    return api.call(who, "POST", "/v1/executions?dry_run=true", json=body).json


def paint(engine: Engine, execution_id: str, images: int) -> None:
    engine.start(UUID(execution_id))
    for index in range(images):
        assert engine.paint(engine.claim(UUID(execution_id), index), EACH)
    engine.end(UUID(execution_id))


def rows_of(database: Urls, execution_id: str, columns: str) -> list[tuple[Any, ...]]:
    with connected(database.superuser) as connection:
        return connection.execute(
            f"SELECT {columns} FROM public.workflow_batch_results"
            " WHERE execution_id = %s ORDER BY batch_index",
            [execution_id],
        ).fetchall()


def leave_budget(database: Urls, microusd: int) -> None:
    with connected(database.superuser) as connection:
        connection.execute(
            "UPDATE public.clients SET monthly_budget_microusd = %s WHERE id = %s",
            [used(database.superuser) + microusd, ACME],
        )


CHANGED: list[Any] = ["a", {"prompt": "b", "images": 3, "seed": 8}, "c", "new"]


def test_only_what_is_painted_is_estimated_and_reserved(
    fresh_database: Urls, fresh_api: Api, engine: Engine
) -> None:
    first = submit(fresh_api, PROMPTS)
    # An image that is not finished is not found.
    assert estimate(fresh_api, PROMPTS)["reused_images"] == 0
    paint(engine, first["id"], 6)
    told = estimate(fresh_api, PROMPTS)
    assert (told["images"], told["reused_images"], told["estimate_microusd"]) == (6, 6, 0)
    assert sum(told["estimate_parts"].values()) == 0
    # Images 0 and 1 of b have the seeds of the earlier 1 and 2, but not their numbers.
    told = estimate(fresh_api, CHANGED)
    assert (told["images"], told["reused_images"]) == (6, 2)
    assert told["estimate_microusd"] == sum(told["estimate_parts"].values()) == 4 * EACH
    assert told["estimates"]["standard"] == told["estimate_microusd"]
    assert estimate(fresh_api, CHANGED, reuse="never")["estimate_microusd"] == 6 * EACH
    # Exactly this must fit into the budget.
    before = used(fresh_database.superuser)
    leave_budget(fresh_database, 4 * EACH - 1)
    assert estimate(fresh_api, CHANGED)["code"] == "budget_exceeded"
    leave_budget(fresh_database, 4 * EACH)
    second = submit(fresh_api, CHANGED, reuse="identical")
    assert second["estimate_microusd"] == 4 * EACH
    assert used(fresh_database.superuser) == before + 4 * EACH
    engine.start(UUID(second["id"]))
    sources = [row[0] for row in rows_of(fresh_database, first["id"], "id")]
    assert rows_of(fresh_database, second["id"], "reused_from, reserved_microusd") == [
        (sources[0], 0),
        *[(None, EACH)] * 3,
        (sources[4], 0),
        (None, EACH),
    ]


def test_images_of_another_client_are_not_found(fresh_api: Api, engine: Engine) -> None:
    paint(engine, submit(fresh_api, PROMPTS)["id"], 6)
    for who, client, found in (
        ("client_b", {}, 0),
        ("admin", {"client_id": str(ACME)}, 6),
        ("client_a", {}, 6),
    ):
        assert estimate(fresh_api, PROMPTS, who, **client)["reused_images"] == found


@pytest.mark.parametrize("room", [0, 1])
def test_an_image_whose_source_is_gone_must_fit_into_the_budget(
    fresh_database: Urls, fresh_api: Api, engine: Engine, room: int
) -> None:
    first = submit(fresh_api, PROMPTS)
    paint(engine, first["id"], 6)
    leave_budget(fresh_database, room * EACH)
    second = submit(fresh_api, PROMPTS, reuse="identical")
    assert fresh_api.call("client_a", "DELETE", f"/v1/executions/{first['id']}").status_code == 204
    engine.start(UUID(second["id"]))
    assert rows_of(fresh_database, second["id"], "reserved_microusd") == [(0,)] * 6
    before = used(fresh_database.superuser)
    lost = [engine.claim(UUID(second["id"]), index) for index in range(2)]
    assert {(claim.reuses, claim.reusable_key) for claim in lost} == {(True, None)}
    assert [reserve_image(engine, claim) for claim in lost] == [room > 0, False]
    assert used(fresh_database.superuser) == before + room * EACH
    # A second call reserves nothing more.
    assert reserve_image(engine, lost[0]) is (room > 0)
    assert used(fresh_database.superuser) == before + room * EACH
    if room:
        assert engine.paint(lost[0], EACH - 1)
        assert used(fresh_database.superuser) == before + EACH - 1
        assert rows_of(fresh_database, second["id"], "reused_from")[0] == (None,)


def test_a_row_inserted_past_the_api_reserves_all_and_finds_its_images_in_fan_out(
    fresh_database: Urls, fresh_api: Api, engine: Engine
) -> None:
    first = submit(fresh_api, ["a"])
    paint(engine, first["id"], 1)
    content = {"prompts": ["a", "new"], "reuse": "identical"}
    before = used(fresh_database.superuser)
    second = insert(fresh_database.superuser, content, estimate=2 * EACH)
    assert used(fresh_database.superuser) == before + 2 * EACH
    engine.start(second)
    [(source,)] = rows_of(fresh_database, first["id"], "id")
    assert rows_of(fresh_database, str(second), "reused_from, reserved_microusd") == [
        (source, 0),
        (None, 2 * EACH),
    ]


def test_another_clients_row_finds_nothing_before_it_is_refused(
    fresh_database: Urls, fresh_callers: Callers, engine: Engine
) -> None:
    """The error is that of the row, not of the other client's budget."""
    paint(engine, str(insert(fresh_database.superuser, {"prompts": ["a"]})), 1)
    leave_budget(fresh_database, 0)
    statement = """
        INSERT INTO public.workflow_executions
            (id, workflow_id, client_id, user_id, input_data, estimate_microusd)
        VALUES (gen_random_uuid(), %(workflow)s, %(client)s, %(user)s,
                '{"prompts": ["a"], "reuse": "identical"}', 1) RETURNING reused_images
        """
    row = {"workflow": WORKFLOW, "client": ACME, "user": JANE_OF_GLOBEX}
    with pytest.raises(psycopg.Error) as refused, fresh_callers.writing(JANE_OF_GLOBEX) as tx:
        tx.fetch_all(statement, **row)
    assert refused.value.sqlstate == "42501"
    with fresh_callers.writing(JOHN_OF_ACME) as tx:
        [found] = tx.fetch_all(statement, **row | {"user": JOHN_OF_ACME})
        assert list(found["reused_images"]) == ["0"]
