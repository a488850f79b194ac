"""The expected cost of a submission. `dry_run` shows it, and the budget must have room for it.

Fan-out divides it among the images (`masstock/database/queries/layout.py`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from masstock.catalogue.image_models import (
    MODELS,
    Prices,
    Usage,
    halved,
    list_price,
    own_price,
    prices_of,
)


class ImageKind(NamedTuple):
    """What decides the price of an image."""

    size: str
    references: int
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected cost in microusd, by tier and by part; None if no price is known. `economy` is None
    if the model has no batch price. `prices` are the model's, for the database."""

    model: str
    standard: int | None
    economy: int | None
    input: int | None
    text: int | None
    image: int | None
    prices: Prices | None


def dearest_estimate(
    models: Sequence[str], configured: object, images: Mapping[ImageKind, int]
) -> Estimate:
    """The estimate of the model whose images cost most. An unknown price counts as the highest.
    `images` are the numbers of images of each kind."""
    estimates = [estimate_of(name, configured, images) for name in models]
    return max(estimates, key=lambda estimate: _rank(estimate.standard))


def dearest_prices(
    models: Sequence[str], size: str, references: int, configured: object
) -> Prices | None:
    """The prices of the model whose images of this kind cost most. None if a price is unknown."""
    dearest = max(models, key=lambda name: _rank(list_price(name, size, references, configured)))
    return prices_of(dearest, configured)


def _rank(microusd: int | None) -> float:
    return inf if microusd is None else microusd


def estimate_of(model_name: str, configured: object, images: Mapping[ImageKind, int]) -> Estimate:
    """Rounds each image separately, as its cost is rounded later."""
    prices = prices_of(model_name, configured)
    model = MODELS.get(model_name)
    if model is None:
        price = own_price(configured)
        total = None if price is None else price * sum(images.values())
        return Estimate(model_name, total, None, None, None, total, prices)
    standard = economy = read = thought = painted = 0
    for kind, count in images.items():
        usual = model.usual(kind.size, kind.references)
        tokens = usual.input + kind.prompt_tokens
        each = model.cost_of(Usage(tokens, usual.image, usual.text))
        standard += each * count
        economy += halved(each) * count
        read += model.cost_of(Usage(tokens, 0, 0)) * count
        thought += model.cost_of(Usage(0, 0, usual.text)) * count
        painted += model.cost_of(Usage(0, usual.image, 0)) * count
    return Estimate(
        model_name,
        standard,
        economy if model.batch_factor is not None else None,
        read,
        thought,
        painted,
        prices,
    )
