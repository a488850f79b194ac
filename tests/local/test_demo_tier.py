"""What the demo says about the prices of the tiers."""

from local.demo.report import prices_text, saving_text

PRICES = {"standard": 464_492, "economy": 232_248}


def test_both_prices_are_shown_before_and_the_saving_after() -> None:
    assert prices_text(PRICES) == "Expected cost: 0.4645 US$ standard, 0.2322 US$ economy"
    assert saving_text(PRICES, 232_248) == (
        "Cost: 0.2322 US$ instead of 0.4645 US$; saved 0.2322 US$"
    )


def test_an_unknown_price_is_called_unknown() -> None:
    assert prices_text({"standard": None, "economy": None}) == (
        "Expected cost: unknown standard, unknown economy"
    )
