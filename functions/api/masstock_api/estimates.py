"""The expected cost of a submission: what dry_run shows, and what is reserved in the budget."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import inf

from masstock.catalogue.image_models import (
    MODELS,
    Usage,
    halved,
    list_price,
    own_price,
    prompt_tokens,
)
from masstock.catalogue.image_sizes import DEFAULT_SIZE


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected cost in microusd, by tier and by part; None if no price is known. `economy` is None
    if the model has no batch price."""

    standard: int | None
    economy: int | None
    input: int | None
    text: int | None
    image: int | None


def dearest_estimate(
    models: Sequence[str],
    size: str | None,
    references: int,
    configured: object,
    prompts: Collection[str],
) -> Estimate:
    """The estimate of the model whose images cost most. An unknown price counts as the highest."""
    estimates = [estimate_of(name, size, references, configured, prompts) for name in models]
    return max(estimates, key=lambda estimate: _rank(estimate.standard))


def dearest_price(
    models: Sequence[str], size: str, references: int, configured: object
) -> int | None:
    """The list price of the model whose images cost most. None if a price is unknown."""
    prices = [list_price(name, size, references, configured) for name in models]
    return max(prices, key=_rank)


def _rank(microusd: int | None) -> float:
    return inf if microusd is None else microusd


def estimate_of(
    model_name: str, size: str | None, references: int, configured: object, prompts: Iterable[str]
) -> Estimate:
    """One image per prompt. Each image is rounded by itself, as its cost will be."""
    model = MODELS.get(model_name)
    if model is None:
        price = own_price(configured)
        total = None if price is None else price * sum(1 for _ in prompts)
        return Estimate(total, None, None, None, total)
    usual = model.usual(size or DEFAULT_SIZE, references)
    # Ten thousand prompts have few different lengths.
    counts = Counter(map(prompt_tokens, prompts))
    standard = economy = read = 0
    for tokens, count in counts.items():
        each = model.cost_of(Usage(usual.input + tokens, usual.image, usual.text))
        standard += each * count
        economy += halved(each) * count
        read += model.cost_of(Usage(usual.input + tokens, 0, 0)) * count
    images = counts.total()
    return Estimate(
        standard,
        economy if model.batch_factor is not None else None,
        read,
        model.cost_of(Usage(0, 0, usual.text)) * images,
        model.cost_of(Usage(0, usual.image, 0)) * images,
    )
