"""Image models: provider, prices, limits, retirement. A workflow may also name a model that is not
listed here; its executions have no estimate.

Prices are Google's public list prices of 2026-11 in US dollars per million tokens, which equals
millionths of a dollar per token. Estimates use the listed tokens of one image; the cost of a
painted image uses the tokens that the model reports, if they are believable.
"""

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

# The provider of the models that are not listed.
DEFAULT_PROVIDER = "gemini"
# A larger number of tokens in the answer of one call is not believable: the context of a listed
# model has at most 131,072 tokens.
MAX_TOKENS = 131_072
# The largest charge for one image that the database accepts.
MAX_COST_MICROUSD = 10**12
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


def microusd_per_image(name: str, configured: object) -> int | None:
    """The list price of one image in millionths of a US dollar. `configured` is the workflow's
    `microusd_per_image`, which counts if the model is not listed. None if neither is a price."""
    model = MODELS.get(name)
    if model is not None:
        return model.microusd_per_image
    if isinstance(configured, int) and not isinstance(configured, bool) and configured >= 0:
        return min(configured, MAX_COST_MICROUSD)
    return None


def cost_microusd(
    name: str, input_tokens: object, output_tokens: object, configured: object
) -> int | None:
    """Cost of one painted image in millionths of a US dollar: the tokens at the model's prices, or
    its list price if the provider reports no believable tokens. Never raises, whatever the provider
    reports. None only if the model is not listed and `configured` is not a price."""
    model = MODELS.get(name)
    read = 0 if input_tokens is None else _tokens(input_tokens)
    painted = _tokens(output_tokens)
    if model is None or read is None or not painted:
        return microusd_per_image(name, configured)
    return _whole(model.input_price * read + model.output_price * painted)


def _tokens(reported: object) -> int | None:
    """A number of tokens as a provider reports it. None if it is not believable."""
    if not isinstance(reported, int) or isinstance(reported, bool):
        return None
    return reported if 0 <= reported <= MAX_TOKENS else None


def _whole(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))
