"""What an image costs: the provider's numbers are used only if they are believable."""

from itertools import product
from typing import Any

import pytest

from masstock.catalogue.image_models import (
    MAX_COST_MICROUSD,
    MAX_TOKENS,
    MODELS,
    Usage,
    cost_microusd,
    halved,
    list_price,
    own_price,
)
from masstock.catalogue.image_sizes import SIZES
from masstock_generate.providers.gemini_answers import read_usage

MODEL = "gemini-2.5-flash-image"
LIST_PRICE = 38_700
UNBELIEVABLE = [
    None,
    -1,
    -(10**30),
    MAX_TOKENS + 1,
    2**31 - 1,
    10**30,
    1290.5,
    float("nan"),
    float("inf"),
    True,
    "1290",
    "many",
    [1290],
    {"tokenCount": 1290},
]


def charged(
    read: Any = 7,
    output: Any = 1290,
    *,
    model: str = MODEL,
    configured: object = None,
    size: str = "1K",
    references: int = 0,
    **more: Any,
) -> int | None:
    """The cost of an image whose answer reports these tokens."""
    reported = {"promptTokenCount": read, "candidatesTokenCount": output, **more}
    return cost_microusd(
        model, read_usage(reported), size=size, references=references, configured=configured
    )


def details(count: Any, modality: str = "IMAGE") -> dict[str, Any]:
    return {"candidatesTokensDetails": [{"modality": modality, "tokenCount": count}]}


def test_believable_tokens_are_charged_at_the_models_prices() -> None:
    assert charged(1_000, 1290) == 300 + 38_700
    assert charged(0, 1290) == 38_700
    assert charged(326, 1120, model="gemini-3-pro-image") == 652 + 134_400
    text = charged(0, 2340, model="gemini-3-pro-image", thoughtsTokenCount=337, **details(2000))
    assert text == 240_000 + 677 * 12
    assert charged(0, 2520, model="gemini-nano-banana-2.1", thoughtsTokenCount=100) == 76_350


@pytest.mark.parametrize("output", [*UNBELIEVABLE, 0], ids=str)
def test_the_list_price_is_charged_for_output_that_makes_no_sense(output: Any) -> None:
    assert charged(7, output) == LIST_PRICE
    # A workflow's own price is for unlisted models.
    assert charged(7, output, configured=1) == LIST_PRICE


@pytest.mark.parametrize("read", UNBELIEVABLE, ids=str)
def test_the_list_price_is_charged_for_input_that_makes_no_sense(read: Any) -> None:
    assert charged(read, 5000) == LIST_PRICE


@pytest.mark.parametrize("count", UNBELIEVABLE, ids=str)
def test_the_list_price_is_charged_for_details_that_make_no_sense(count: Any) -> None:
    assert charged(7, 5000, thoughtsTokenCount=count) == LIST_PRICE
    assert charged(7, 5000, **details(count)) == LIST_PRICE


def test_a_painted_image_is_never_charged_as_text_alone() -> None:
    assert charged(7, 1290, **details(1290, "TEXT")) == LIST_PRICE
    assert charged(7, 1290, **details(0)) == LIST_PRICE


def test_the_list_price_follows_size_and_references() -> None:
    asked: dict[str, Any] = {"model": "gemini-3-pro-image", "output": None, "references": 2}
    thinking = 350 * 12
    assert charged(**asked, size="1K") == 2 * 1100 * 2 + 1120 * 120 + thinking
    assert charged(**asked, size="4K") == 2 * 1100 * 2 + 2000 * 120 + thinking


@pytest.mark.parametrize("model", [*MODELS, "unlisted"])
def test_a_cost_is_an_amount_that_the_ledger_accepts(model: str) -> None:
    reported = product([7, *UNBELIEVABLE], [1, MAX_TOKENS, *UNBELIEVABLE], [0, MAX_TOKENS, -1, "x"])
    for (read, output, thoughts), size in product(reported, [*SIZES, "another"]):
        cost = charged(
            read,
            output,
            model=model,
            configured=10**30,
            size=size,
            references=14,
            thoughtsTokenCount=thoughts,
        )
        assert type(cost) is int
        assert 0 < cost <= MAX_COST_MICROUSD


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("usage", [None, Usage(0, 0, 0), Usage(7, 0, 0), Usage(0, 0, 5)])
def test_a_listed_model_is_never_free(model: str, usage: Usage | None) -> None:
    cost = cost_microusd(model, usage, size="1K", references=0, configured=0)
    assert cost == list_price(model, "1K", 0, None)
    assert cost is not None
    assert cost > 0


def test_an_amount_is_rounded_half_up() -> None:
    assert MODELS[MODEL].cost_of(Usage(0, 0, 1)) == 3
    assert MODELS[MODEL].cost_of(Usage(5, 0, 0)) == 2
    assert [halved(amount) for amount in (0, 1, 2, 3)] == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("configured", "price"),
    [
        (5, 5),
        (0, 0),
        (10**30, MAX_COST_MICROUSD),
        (None, None),
        (-1, None),
        (1.5, None),
        (True, None),
        ("5", None),
        ([5], None),
    ],
    ids=str,
)
def test_the_price_of_an_unlisted_model_is_the_configured_one(
    configured: Any, price: int | None
) -> None:
    assert own_price(configured) == price
    assert list_price("unlisted", "1K", 3, configured) == price
    assert charged(1, 1, model="unlisted", configured=configured) == price
