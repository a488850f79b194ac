"""What an image costs: the provider's numbers are used only if they are believable."""

from itertools import product
from typing import Any

import pytest

from masstock.catalogue.image_models import (
    MAX_COST_MICROUSD,
    MAX_TOKENS,
    MODELS,
    cost_microusd,
    microusd_per_image,
)

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


def test_believable_tokens_are_charged_at_the_models_prices() -> None:
    assert cost_microusd(MODEL, 1_000, 1290, None) == 300 + 38_700
    assert cost_microusd(MODEL, None, 1290, None) == 38_700
    assert cost_microusd("gemini-3-pro-image", 326, 1120, None) == 652 + 134_400


@pytest.mark.parametrize("output", [*UNBELIEVABLE, 0], ids=str)
def test_the_list_price_is_charged_for_output_that_makes_no_sense(output: Any) -> None:
    assert cost_microusd(MODEL, 7, output, None) == LIST_PRICE
    # A workflow's own price is for unlisted models.
    assert cost_microusd(MODEL, 7, output, 1) == LIST_PRICE


@pytest.mark.parametrize("read", UNBELIEVABLE[1:], ids=str)
def test_the_list_price_is_charged_for_input_that_makes_no_sense(read: Any) -> None:
    assert cost_microusd(MODEL, read, 5000, None) == LIST_PRICE


@pytest.mark.parametrize("model", [*MODELS, "unlisted"])
def test_a_cost_is_an_amount_that_the_ledger_accepts(model: str) -> None:
    for read, output in product([7, *UNBELIEVABLE], [1, MAX_TOKENS, *UNBELIEVABLE]):
        cost = cost_microusd(model, read, output, 10**30)
        assert type(cost) is int
        assert 0 < cost <= MAX_COST_MICROUSD


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
    assert microusd_per_image("unlisted", configured) == price
    assert cost_microusd("unlisted", 1, 1, configured) == price
