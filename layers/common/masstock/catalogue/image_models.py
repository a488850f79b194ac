"""Image models: provider, prices, limits, retirement. A workflow may also name a model that is not
listed here; its executions have no estimate.

Prices are Google's public list prices of 2026-11 in US dollars per million tokens, which equals
millionths of a dollar per token. Estimates use `image_tokens`; the cost of a painted image uses the
tokens that the model reports.
"""

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

# The provider of the models that are not listed.
DEFAULT_PROVIDER = "gemini"
# https://ai.google.dev/gemini-api/docs/image-generation#aspect-ratios
ASPECT_RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")


@dataclass(frozen=True, slots=True)
class ImageModel:
    """One model. `image_tokens` is the number of output tokens of an image of the default size."""

    input_price: Decimal
    output_price: Decimal
    image_tokens: int
    max_reference_images: int
    aspect_ratios: tuple[str, ...] = ASPECT_RATIOS
    # From this day the api refuses submissions.
    retired_on: date | None = None
    successor: str | None = None
    # A key of PROVIDERS in masstock_generate.providers.
    provider: str = DEFAULT_PROVIDER

    @property
    def microusd_per_image(self) -> int:
        """Estimate for one image in millionths of a US dollar, without the prompt's few tokens."""
        return _whole(self.output_price * self.image_tokens)


MODELS = {
    # Google announced its end for 2026-10-02. It may still answer, so `retired_on` is not set.
    "gemini-2.5-flash-image": ImageModel(
        input_price=Decimal("0.30"),
        output_price=Decimal(30),
        image_tokens=1290,
        max_reference_images=3,
        successor="gemini-3.1-flash-lite-image",
    ),
    "gemini-2.5-flash-image-preview": ImageModel(
        input_price=Decimal("0.30"),
        output_price=Decimal(30),
        image_tokens=1290,
        max_reference_images=3,
        retired_on=date(2026, 1, 15),
        successor="gemini-2.5-flash-image",
    ),
    "gemini-3.1-flash-image": ImageModel(
        input_price=Decimal("0.50"),
        output_price=Decimal(60),
        image_tokens=1120,
        max_reference_images=14,
        successor="gemini-nano-banana-2.1",
    ),
    "gemini-3.1-flash-lite-image": ImageModel(
        input_price=Decimal("0.25"),
        output_price=Decimal(30),
        image_tokens=1120,
        max_reference_images=14,
    ),
    "gemini-nano-banana-2.1": ImageModel(
        input_price=Decimal("0.25"),
        output_price=Decimal(30),
        image_tokens=1120,
        max_reference_images=14,
    ),
    "gemini-3-pro-image": ImageModel(
        input_price=Decimal(2),
        output_price=Decimal(120),
        image_tokens=1120,
        max_reference_images=14,
    ),
}


def provider_of(name: str) -> str:
    """The name of the model's provider."""
    model = MODELS.get(name)
    return model.provider if model else DEFAULT_PROVIDER


def cost_microusd(
    name: str, input_tokens: int | None, output_tokens: int | None, fallback: int | None
) -> int | None:
    """Cost of one call in millionths of a US dollar. `fallback` if the model is not listed or its
    answer reports no tokens."""
    model = MODELS.get(name)
    if model is None or output_tokens is None:
        return fallback
    return _whole(model.input_price * (input_tokens or 0) + model.output_price * output_tokens)


def _whole(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))
