"""A prompt can have settings of its own and several images. Fan-out makes a row for each image."""

from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from masstock.catalogue.image_models import MODELS, prices_of
from masstock_api.estimates import ImageKind, estimate_of
from tests.support.databases import Urls, connected
from tests.support.engine import EACH, Engine, submit, used


@pytest.fixture
def engine(database: Urls):
    engine = Engine(database.worker)
    yield engine
    engine.close()


def rows_of(database: Urls, execution_id: UUID, columns: str) -> list[tuple[Any, ...]]:
    with connected(database.superuser) as connection:
        return connection.execute(
            f"SELECT {columns} FROM public.workflow_batch_results"
            " WHERE execution_id = %s ORDER BY batch_index",
            [execution_id],
        ).fetchall()


def test_each_image_has_its_row_its_seed_and_its_part_of_the_reservation(
    database: Urls, engine: Engine
) -> None:
    prompts = [
        {"prompt": "a", "custom_id": "A", "images": 3, "seed": 7, "metadata": {"sku": 1}},
        "b",
        {"prompt": "c", "custom_id": "C", "images": 1},
    ]
    content = {"prompts": prompts, "images_per_prompt": 2}
    execution_id = submit(database.superuser, content, estimate=6 * EACH)
    engine.start(execution_id)
    engine.start(execution_id)
    columns = "batch_index, prompt_index, image_index, custom_id, seed, prompt_metadata"
    sku = {"sku": 1}
    assert rows_of(database, execution_id, columns) == [
        (0, 0, 0, "A", 7, sku),
        (1, 0, 1, "A", 8, sku),
        (2, 0, 2, "A", 9, sku),
        (3, 1, 0, None, None, None),
        (4, 1, 1, None, None, None),
        (5, 2, 0, "C", None, None),
    ]
    assert rows_of(database, execution_id, "reserved_microusd") == [(EACH,)] * 6
    before = used(database.superuser) - 6 * EACH
    for index in range(6):
        assert engine.paint(engine.claim(execution_id, index), EACH + index)
        assert used(database.superuser) - before == 6 * EACH + sum(range(index + 1))
    assert engine.end(execution_id)["output_data"]["total"] == 6
    assert used(database.superuser) - before == 6 * EACH + 15


def test_a_prompt_is_painted_with_its_own_settings(database: Urls, engine: Engine) -> None:
    content = {
        "aspect_ratio": "1:1",
        "image_size": "2K",
        "reference_images": ["k"],
        "reference_etags": ["e"],
        "api_key": "sealed",
        "seed": 5,
        "prompts": [
            "the execution's",
            {"prompt": "own ratio", "aspect_ratio": "16:9", "seed": 0},
            {"prompt": "no reference", "reference_images": [], "reference_etags": []},
            {"prompt": "own", "reference_images": ["o"], "reference_etags": ["f"]},
        ],
    }
    execution_id = submit(database.superuser, content)
    engine.start(execution_id)
    claims = [engine.claim(execution_id, index) for index in range(4)]
    assert [(c.aspect_ratio, c.image_size, c.references, c.seed) for c in claims] == [
        ("1:1", "2K", [("k", "e")], 5),
        ("16:9", "2K", [("k", "e")], 0),
        ("1:1", "2K", [], 5),
        ("1:1", "2K", [("o", "f")], 5),
    ]
    assert {claim.api_key for claim in claims} == {"sealed"}


@pytest.mark.parametrize("model", MODELS)
def test_the_database_prices_an_image_as_the_estimate(database: Urls, model: str) -> None:
    prices = Jsonb(prices_of(model, None))
    with connected(database.superuser) as connection:
        for size in ("512", "1K", "2K", "4K", "8K"):
            for references, prompt in ((0, "x"), (3, "\N{FOX FACE}" * 9)):
                kind = ImageKind(size, references, -(-len(prompt) // 4))
                [row] = connection.execute(
                    "SELECT app.image_price(%s, %s, %s, %s)",
                    [prices, size, Jsonb(["k"] * references), prompt],
                ).fetchall()
                assert row[0] == estimate_of(model, None, {kind: 1}).standard


def test_each_row_reserves_by_its_price(database: Urls, engine: Engine) -> None:
    prompts = ["x", {"prompt": "x", "image_size": "4K", "images": 2}]
    execution_id = submit(database.superuser, {"prompts": prompts}, estimate=5001)
    with connected(database.superuser) as connection:
        connection.execute(
            "UPDATE public.workflow_executions SET prices = %s WHERE id = %s",
            [Jsonb({"sizes": {"1K": 1000, "4K": 2000}}), execution_id],
        )
    engine.start(execution_id)
    # A price list that changed since does not release more than was reserved.
    assert rows_of(database, execution_id, "reserved_microusd") == [(1000,), (2000,), (2000,)]


STRANGE: dict[str, tuple[Any, int]] = {
    "more prompts than allowed": ({"prompts": ["x"] * 10_001}, 10_000),
    "more images than allowed": ({"prompts": ["x"] * 1251, "images_per_prompt": 8}, 10_000),
    "a number that is too large": ({"prompts": [{"prompt": "x", "images": 1e300}]}, 8),
    "a negative number": ({"prompts": [{"prompt": "x", "images": -3}]}, 1),
    "a text": ({"prompts": [{"prompt": "x", "images": "3"}], "images_per_prompt": "9"}, 1),
    "settings of every kind": (
        {
            "prompts": [
                {"prompt": "x", "seed": value, "metadata": value, "image_size": value}
                for value in ("y", 1e300, -1, [], {}, None, True)
            ],
            "seed": [],
        },
        7,
    ),
    "a setting's name as a prompt": ({"prompts": ["image_size", ["image_size"], 3]}, 3),
}


@pytest.mark.parametrize("what", STRANGE)
def test_a_row_inserted_past_the_api_has_the_same_limits(
    database: Urls, engine: Engine, what: str
) -> None:
    content, images = STRANGE[what]
    execution_id = submit(database.superuser, content)
    engine.start(execution_id)
    [(rows, reserved)] = rows_of_all(database, execution_id)
    assert rows == images
    assert reserved <= len(content["prompts"]) * EACH
    with connected(database.superuser) as connection:
        [(counted, size, progress)] = connection.execute(
            "SELECT image_count, max(r.asked ->> 'image_size'),"
            " app.progress(e.id, e.status, e.image_count, e.output_data)"
            " FROM public.workflow_executions e, public.workflow_batch_results r"
            " WHERE e.id = %s AND r.execution_id = e.id GROUP BY e.id",
            [execution_id],
        ).fetchall()
    assert counted == progress["total"] == progress["waiting"] == images
    if size is not None:
        engine.claim(execution_id, 1)


def rows_of_all(database: Urls, execution_id: UUID) -> list[tuple[Any, ...]]:
    with connected(database.superuser) as connection:
        return connection.execute(
            "SELECT count(*), sum(reserved_microusd) FROM public.workflow_batch_results"
            " WHERE execution_id = %s",
            [execution_id],
        ).fetchall()


def test_rows_of_an_earlier_release_reserve_equal_parts(database: Urls, engine: Engine) -> None:
    execution_id = submit(database.superuser, 2)
    with connected(database.superuser) as connection:
        connection.execute(
            "INSERT INTO public.workflow_batch_results"
            " (execution_id, client_id, batch_index, prompt_text)"
            " SELECT id, client_id, 1, 'x' FROM public.workflow_executions WHERE id = %s",
            [execution_id],
        )
    engine.start(execution_id)
    assert rows_of(database, execution_id, "prompt_index, image_index") == [(0, 0), (1, 0)]
    assert engine.claim(execution_id, 1).reserved_microusd == EACH
