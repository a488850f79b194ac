"""The tiers of a submission: the allowed ones, their prices and their deadlines."""

from typing import Literal, TypedDict

from masstock.catalogue.image_models import MODELS, Prices, halved_prices
from masstock.errors import FieldError
from masstock.schemas.fields import MAX_DEADLINE_SECONDS
from masstock.schemas.requests import ExecutionCreate
from masstock.schemas.workflow_config import Tier, WorkflowConfig
from masstock_api.estimates import Estimate


def tier_of(submission: ExecutionCreate, config: WorkflowConfig) -> Tier:
    """The tier that paints the submission."""
    return submission.tier or config.allowed_tiers[0]


def tier_mistakes(submission: ExecutionCreate, config: WorkflowConfig) -> list[FieldError]:
    """Every setting of the tier that the workflow does not accept."""
    tier = tier_of(submission, config)
    mistakes: list[FieldError] = []
    if tier not in config.allowed_tiers:
        detail = f"This workflow has only the tier {config.allowed_tiers[0]}."
        mistakes.append(FieldError("/tier", detail))
    if tier == "economy":
        for name in config.models:
            model = MODELS.get(name)
            if model is None or model.batch_factor is None:
                mistakes.append(FieldError("/tier", f"{name} has no economy price."))
        if submission.on_economy_failure == "fail" and submission.fall_back_after_seconds:
            detail = "With on_economy_failure fail, nothing falls back."
            mistakes.append(FieldError("/fall_back_after_seconds", detail))
        return mistakes
    if submission.on_economy_failure is not None:
        detail = "Only the tier economy has this setting."
        mistakes.append(FieldError("/on_economy_failure", detail))
    if submission.fall_back_after_seconds is not None and config.fallback_model is None:
        detail = "The workflow has no fallback_model."
        mistakes.append(FieldError("/fall_back_after_seconds", detail))
    return mistakes


class Terms(TypedDict):
    """The settings that the tier gives to an execution."""

    tier: Tier
    on_economy_failure: Literal["standard", "fail"] | None
    estimate_microusd: int | None
    reserve_microusd: int | None
    prices: Prices | None
    deadline_seconds: int


def terms_of(
    submission: ExecutionCreate, config: WorkflowConfig, estimate: Estimate, standard_seconds: int
) -> Terms:
    """The terms of a submission. `standard_seconds` is the default deadline of the tier standard;
    the provider's jobs can take days."""
    if tier_of(submission, config) == "standard":
        return {
            "tier": "standard",
            "on_economy_failure": None,
            "estimate_microusd": estimate.standard,
            "reserve_microusd": None,
            "prices": estimate.prices,
            "deadline_seconds": submission.deadline_seconds or standard_seconds,
        }
    on_failure = submission.on_economy_failure or "standard"
    return {
        "tier": "economy",
        "on_economy_failure": on_failure,
        "estimate_microusd": estimate.economy,
        # What falls back costs the standard price.
        "reserve_microusd": estimate.standard if on_failure == "standard" else None,
        "prices": _reserved(estimate.prices, on_failure),
        "deadline_seconds": submission.deadline_seconds or MAX_DEADLINE_SECONDS,
    }


class RetryTerms(TypedDict):
    """What a retry has of its execution's tier. `prices` are reserved."""

    prices: Prices | None
    deadline_seconds: int


def retry_terms(
    tier: str, on_economy_failure: str | None, prices: Prices | None, standard_seconds: int
) -> RetryTerms:
    """The terms of a retry. It has new jobs, and prompts that they do not paint fall back again."""
    return {
        "prices": _reserved(prices, on_economy_failure),
        "deadline_seconds": MAX_DEADLINE_SECONDS if tier == "economy" else standard_seconds,
    }


def _reserved(prices: Prices | None, on_economy_failure: str | None) -> Prices | None:
    """The prices that rows reserve."""
    return prices and halved_prices(prices) if on_economy_failure == "fail" else prices
