"""Image models: provider, prices, sizes, ratios, retirement. A workflow may also name a model that
is not listed here; its price is then the workflow's own.

Prices are Google's public list prices of 2026-11 in US dollars per million tokens, which equals
millionths of a dollar (microusd) per token.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import TypedDict

# The provider of the models that are not listed.
DEFAULT_PROVIDER = "gemini"
# https://ai.google.dev/gemini-api/docs/image-generation#aspect-ratios
ASPECT_RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
LONG_RATIOS = ("1:4", "4:1", "1:8", "8:1")
# Input tokens of one reference image of the 3.x models; 2.5 counts fewer.
REFERENCE_TOKENS = 1100
# A larger number of tokens in the answer of one call must be wrong: the context of a listed model
# has at most 131,072 tokens.
MAX_TOKENS = 131_072
# The largest charge for one image that the database accepts.
MAX_COST_MICROUSD = 10**12
HALF = Decimal("0.5")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a model reports for one call. `text` includes thinking."""

    input: int
    image: int
    text: int


@dataclass(frozen=True, slots=True)
class ImageModel:
    """One model. `image_tokens` is the number of output tokens of one image, by size."""

    input_price: Decimal
    text_price: Decimal
    image_price: Decimal
    image_tokens: Mapping[str, int]
    max_reference_images: int
    mime_type: str = "image/jpeg"
    aspect_ratios: tuple[str, ...] = ASPECT_RATIOS
    reference_tokens: int = REFERENCE_TOKENS
    # Thinking of an ordinary call, for estimates.
    thinking_tokens: int = 0
    # Price of the Batch API as a part of the ordinary one; None if the model is not offered there.
    batch_factor: Decimal | None = HALF
    # The provider advises against the model.
    deprecated: bool = False
    # The provider announced this end. Submissions are accepted, because the model may still answer.
    ends_on: date | None = None
    # From this day the api refuses submissions.
    retired_on: date | None = None
    successor: str | None = None
    # A key of PROVIDERS in masstock_generate.providers.
    provider: str = DEFAULT_PROVIDER

    def cost_of(self, usage: Usage) -> int:
        """Cost of a call in microusd, rounded half up."""
        return _whole(
            self.input_price * usage.input
            + self.text_price * usage.text
            + self.image_price * usage.image
        )

    def usual(self, size: str, references: int = 0) -> Usage:
        """Tokens of an ordinary call, without the prompt's few tokens."""
        image = self.image_tokens.get(size, max(self.image_tokens.values()))
        return Usage(references * self.reference_tokens, image, self.thinking_tokens)


_CURRENT: Mapping[str, ImageModel] = {
    "gemini-nano-banana-2.1": ImageModel(
        input_price=Decimal("1.50"),
        text_price=Decimal("7.50"),
        image_price=Decimal(30),
        image_tokens={"1K": 1120, "2K": 1680, "4K": 2520},
        aspect_ratios=ASPECT_RATIOS + LONG_RATIOS,
        max_reference_images=14,
    ),
    "gemini-3.1-flash-image": ImageModel(
        input_price=Decimal("0.50"),
        text_price=Decimal(3),
        image_price=Decimal(60),
        image_tokens={"512": 747, "1K": 1120, "2K": 1680, "4K": 2520},
        aspect_ratios=ASPECT_RATIOS + LONG_RATIOS,
        max_reference_images=14,
        # The date of its end is contested, so none is listed.
        deprecated=True,
        successor="gemini-nano-banana-2.1",
    ),
    "gemini-3.1-flash-lite-image": ImageModel(
        input_price=Decimal("0.25"),
        text_price=Decimal("1.50"),
        image_price=Decimal(30),
        image_tokens={"1K": 1120},
        max_reference_images=14,
    ),
    "gemini-3-pro-image": ImageModel(
        input_price=Decimal(2),
        text_price=Decimal(12),
        image_price=Decimal(120),
        image_tokens={"1K": 1120, "2K": 1120, "4K": 2000},
        max_reference_images=14,
        # It always thinks: 337 tokens in a documented answer.
        thinking_tokens=350,
    ),
    "gemini-2.5-flash-image": ImageModel(
        input_price=Decimal("0.30"),
        text_price=Decimal("2.50"),
        image_price=Decimal(30),
        image_tokens={"1K": 1290},
        max_reference_images=3,
        mime_type="image/png",
        reference_tokens=258,
        ends_on=date(2026, 10, 2),
        successor="gemini-3.1-flash-lite-image",
    ),
}
MODELS: Mapping[str, ImageModel] = {
    **_CURRENT,
    "gemini-3-pro-image-preview": replace(
        _CURRENT["gemini-3-pro-image"],
        retired_on=date(2026, 6, 25),
        successor="gemini-3-pro-image",
    ),
    "gemini-3.1-flash-image-preview": replace(
        _CURRENT["gemini-3.1-flash-image"],
        retired_on=date(2026, 6, 25),
        successor="gemini-nano-banana-2.1",
    ),
    "gemini-2.5-flash-image-preview": replace(
        _CURRENT["gemini-2.5-flash-image"],
        ends_on=None,
        retired_on=date(2026, 1, 15),
        successor="gemini-3.1-flash-lite-image",
    ),
}


def provider_of(name: str) -> str:
    """The name of the model's provider."""
    model = MODELS.get(name)
    return model.provider if model else DEFAULT_PROVIDER


def prompt_tokens(prompt: str) -> int:
    """Input tokens of a text, by Google's rule of thumb of four characters a token."""
    return -(-len(prompt) // 4)


def own_price(configured: object) -> int | None:
    """The workflow's `microusd_per_image`, for a model that is not listed; None if it is no
    price."""
    if isinstance(configured, int) and not isinstance(configured, bool) and configured >= 0:
        return min(configured, MAX_COST_MICROUSD)
    return None


def list_price(name: str, size: str, references: int, configured: object) -> int | None:
    """Expected cost of one image in microusd, without the prompt's tokens. `configured` is the
    workflow's `microusd_per_image`. None if no price is known."""
    model = MODELS.get(name)
    if model is None:
        return own_price(configured)
    return model.cost_of(model.usual(size, references))


class Prices(TypedDict, total=False):
    """Prices of one image in microusd, as app.image_price of the database reads them: by size, and
    for each token of the prompt and each reference image."""

    sizes: dict[str, float]
    other_size: float
    token: float
    reference: float


def prices_of(name: str, configured: object) -> Prices | None:
    """The list prices of a model. None if no price is known."""
    model = MODELS.get(name)
    if model is None:
        price = own_price(configured)
        return None if price is None else {"other_size": price}
    thinking = model.text_price * model.thinking_tokens
    sizes = {
        size: float(thinking + model.image_price * tokens)
        for size, tokens in model.image_tokens.items()
    }
    return {
        "sizes": sizes,
        "other_size": max(sizes.values()),
        "token": float(model.input_price),
        "reference": float(model.input_price * model.reference_tokens),
    }


def halved_prices(prices: Prices) -> Prices:
    """The economy tier's prices."""
    return {
        "sizes": {size: price / 2 for size, price in prices.get("sizes", {}).items()},
        "other_size": prices.get("other_size", 0) / 2,
        "token": prices.get("token", 0) / 2,
        "reference": prices.get("reference", 0) / 2,
    }


def cost_microusd(
    name: str, usage: Usage | None, *, size: str, references: int, configured: object
) -> int | None:
    """Cost of a painted image in microusd: the tokens at the model's prices, or the list price if
    the provider reports none for the image. Never zero for a listed model. None if no price is
    known."""
    model = MODELS.get(name)
    if model is not None and usage is not None and usage.image:
        return model.cost_of(usage)
    return list_price(name, size, references, configured)


def price_in_tier(microusd: int | None, tier: str) -> int | None:
    """The price in this tier, from the standard price."""
    return halved(microusd) if tier == "economy" and microusd is not None else microusd


def halved(microusd: int) -> int:
    """The economy tier's price of an amount, rounded half up."""
    return _whole(microusd * HALF)


def _whole(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))
