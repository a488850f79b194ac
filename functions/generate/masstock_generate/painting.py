"""Paints a claimed prompt, stores the image and completes the row.

No transaction is open while the model paints. The lease is longer than the invocation, so no second
invocation paints at the same time. A paid image is stored again until it is in the bucket or this
invocation ends. If this invocation dies after it stored the image, the next attempt completes the
row from the stored object and does not call the model again.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from masstock.catalogue.image_models import (
    MODELS,
    Usage,
    cost_microusd,
    price_in_tier,
    provider_of,
)
from masstock.catalogue.image_sizes import DEFAULT_SIZE
from masstock.database.queries import claims, executions, gone_models, reused_images
from masstock.database.queries.claims import Claim, Line
from masstock.database.queries.economy_lines import release_line
from masstock.database.worker import Worker
from masstock.errors import (
    DatabaseUnavailable,
    ModelUnavailable,
    NoBudget,
    NotFinished,
    Outcome,
    ProviderThrottled,
    QuotaExhausted,
    StorageUnavailable,
    UnknownWorkflowType,
)
from masstock.services.s3_client import REQUEST_SECONDS
from masstock.services.storage import (
    ImageDetails,
    ObjectMissing,
    Results,
    StoredImage,
    Uploads,
    image_key,
)
from masstock.settings import GenerateSettings
from masstock.telemetry import emit_counts, logger
from masstock_generate import pacing
from masstock_generate.api_keys import read_api_key
from masstock_generate.economy.collect import may_fall_back, read_claimed_line
from masstock_generate.images import inspect_image, is_as_asked
from masstock_generate.lease import Lease
from masstock_generate.pacing import MAX_PROBES
from masstock_generate.providers import Painting, PaintRequest, provider
from masstock_generate.storing import (
    ImageLost,
    store_image,
    with_found_thumbnail,
    with_thumbnail,
)

# No wait: the prompt is painted, failed for good, or stopped.
SETTLED = 0.0
# Before a prompt whose model answered 404 is painted again.
FALL_BACK_SECONDS = 1


def settle(worker: Worker, claim: Claim, settings: GenerateSettings, lease: Lease) -> float:
    """Paints a claimed prompt. Without an image, stores the reason, raises it for a retry, or
    returns the seconds until the prompt's next turn."""
    image: StoredImage | None = None
    try:
        image = _image_of(worker, claim, settings, lease)
        return _complete(worker, claim, settings, image)
    except Outcome as outcome:
        _charge_answer(worker, claim, outcome)
        return _settle_failure(worker, claim, settings, outcome)
    except ImageLost as lost:
        pacing.leave(worker, claim, None, settings.pace_minute_seconds)
        claims.charge_lost_image(worker, claim, claim.attempt, lost.cost_microusd)
        claims.release_prompt(worker, claim, counts_as="failure")
        raise StorageUnavailable from lost
    except DatabaseUnavailable:
        raise
    except StorageUnavailable:
        # Released, so that the next attempt does not wait for the end of the lease. Nothing was
        # paid, so it does not count: the machine bounds these retries.
        pacing.leave(worker, claim, NotFinished(), settings.pace_minute_seconds)
        claims.release_prompt(worker, claim, counts_as=None)
        raise
    except Exception:  # a mistake of ours must not lose the prompt or a paid image
        logger.exception("an attempt failed unexpectedly")
        return _settle_failure(worker, claim, settings, NotFinished(), image)


def _image_of(
    worker: Worker, claim: Claim, settings: GenerateSettings, lease: Lease
) -> StoredImage:
    """The stored image of the claimed prompt: an earlier attempt's, or a new one."""
    workflow_type = claim.config.get("workflow_type")
    paint = WORKFLOW_TYPES.get(workflow_type) if isinstance(workflow_type, str) else None
    if paint is None:
        raise UnknownWorkflowType(f"There is no workflow type {workflow_type!r}."[:200])
    return paint(worker, claim, settings, lease)


def _complete(
    worker: Worker, claim: Claim, settings: GenerateSettings, image: StoredImage
) -> float:
    results = Results(settings.results_bucket)
    result_url = results.public_url(image.key) if settings.images_are_public else None
    if not claims.complete_prompt(worker, claim, image, result_url, settings.pace_minute_seconds):
        logger.warning("the claim is outdated; the image is stored under the same key")
        return SETTLED
    emit_counts(ImagesGenerated=1)
    logger.info(
        "image stored", processing_time_ms=image.processing_time_ms, size_bytes=image.size_bytes
    )
    return SETTLED


def _paint_nano_banana(
    worker: Worker, claim: Claim, settings: GenerateSettings, lease: Lease
) -> StoredImage:
    """Calls the workflow's image model once, unless an earlier attempt stored the image."""
    results = Results(settings.results_bucket)
    if claim.attempt > 1 and (
        stored := results.find(
            claim.execution_id, claim.batch_index, claim.asked_at, claim.asked_digest
        )
    ):
        logger.info("reusing the image that an earlier attempt stored")
        if stored.cost_microusd is None:
            # The execution may have fallen back to another model since.
            model = stored.details.model if stored.details else claim.config["model"]
            stored = replace(stored, cost_microusd=_cost(claim, model, None))
        return with_found_thumbnail(results, claim, stored, lease, settings.max_image_bytes)
    if claim.failures > NotFinished.max_retries:
        raise NotFinished
    if claim.reuses:
        if reused := _reused(results, claim):
            return with_found_thumbnail(results, claim, reused, lease, settings.max_image_bytes)
        if not reused_images.reserve_image(worker, claim):
            raise NoBudget
    painting, elapsed_ms = _painting_of(claim, settings, lease)
    model = painting.model or claim.config["model"]
    cost = _cost(claim, model, painting.usage)
    try:
        facts = inspect_image(painting.content, settings.max_image_bytes)
    except Exception:  # for any reason: the image is paid
        claims.charge_lost_image(worker, claim, claim.attempt, cost)
        raise
    details = ImageDetails(
        model=model,
        width=facts.width,
        height=facts.height,
        as_asked=is_as_asked(facts, claim.aspect_ratio, claim.image_size),
        images_in_answer=painting.images_in_answer,
        has_provenance=facts.has_provenance,
    )

    def put() -> StoredImage:
        return results.put(
            image_key(claim.execution_id, claim.batch_index, claim.asked_at, facts.mime_type),
            painting.content,
            facts.mime_type,
            processing_time_ms=elapsed_ms,
            cost=cost,
            attempt=claim.attempt,
            asked=claim.asked_digest,
            details=details,
            # Of bounded length: the last request ends before this invocation.
            requests=1,
        )

    stored = store_image(put, lease, cost)
    return with_thumbnail(results, claim, stored, facts.thumbnail, lease)


def _reused(results: Results, claim: Claim) -> StoredImage | None:
    """A copy of an earlier result's image. None if that is gone: then the prompt is painted."""
    if claim.reusable_key is None:
        return None
    try:
        return results.reuse(
            claim.reusable_key,
            claim.execution_id,
            claim.batch_index,
            claim.asked_at,
            attempt=claim.attempt,
            asked=claim.asked_digest,
        )
    except ObjectMissing:
        logger.warning("the image to reuse is gone")
        return None


def _painting_of(claim: Claim, settings: GenerateSettings, lease: Lease) -> tuple[Painting, int]:
    """The image, from a job's line or from a call of the model, and how many milliseconds the
    provider took."""
    if claim.line is not None:
        return read_claimed_line(claim.config["model"], claim.line, settings), claim.line.job_ms
    request = _request(claim, settings)
    if not lease.has_time_for(settings.model_timeout_seconds + REQUEST_SECONDS):
        # Nothing is paid yet. The answer could come too late to be stored.
        raise StorageUnavailable("The reference images took too long to read.")
    began = time.monotonic()
    painting = provider(provider_of(request.model)).paint(request)
    return painting, round((time.monotonic() - began) * 1000)


def _request(claim: Claim, settings: GenerateSettings) -> PaintRequest:
    """Reads the reference images and the API key. Raises ReferenceGone, InvalidApiKey,
    ApiKeyUnreadable and StorageUnavailable."""
    uploads = Uploads(settings.uploads_bucket)
    references = [
        uploads.read_reference(claim.client_id, key, etag) for key, etag in claim.references
    ]
    return PaintRequest(
        api_key=read_api_key(
            claim.api_key, claim.client_id, claim.execution_id, claim.config, settings
        ),
        model=claim.config["model"],
        prompt=claim.prompt,
        references=references,
        aspect_ratio=claim.aspect_ratio,
        image_size=claim.image_size,
        seed=claim.seed,
        timeout_seconds=settings.model_timeout_seconds,
    )


def _cost(claim: Claim, answered: str, usage: Usage | None) -> int | None:
    """Cost of a painted image. The model that answered prices it, if that model is listed."""
    cost = cost_microusd(
        answered if answered in MODELS else claim.config["model"],
        usage,
        size=claim.image_size or DEFAULT_SIZE,
        references=len(claim.references),
        configured=claim.config.get("microusd_per_image"),
    )
    return price_in_tier(cost, claim.tier)


# The function that paints a prompt, by workflow type. The api accepts the same types
# (masstock.schemas.workflow_config). A row that was inserted without the api can name another type.
WORKFLOW_TYPES: Mapping[str, Callable[[Worker, Claim, GenerateSettings, Lease], StoredImage]] = {
    "nano_banana": _paint_nano_banana,
}


def _charge_answer(worker: Worker, claim: Claim, outcome: Outcome) -> None:
    """Charges a paid answer without an image, as an attempt of its own."""
    model = MODELS.get(str(claim.config.get("model")))
    if model is not None and outcome.usage is not None:
        cost = price_in_tier(model.cost_of(outcome.usage), claim.tier)
        claims.charge_lost_image(worker, claim, claim.attempt, cost)


def _settle_failure(
    worker: Worker,
    claim: Claim,
    settings: GenerateSettings,
    outcome: Outcome,
    image: StoredImage | None = None,
) -> float:
    """Records the outcome, or releases the prompt: then raises the outcome for a retry, or returns
    the seconds until the prompt's next turn. `image` is stored, but could not be recorded."""
    if claim.line is not None and not isinstance(outcome, NotFinished):
        return _settle_line(worker, claim, claim.line, outcome)
    if isinstance(outcome, QuotaExhausted) and (claim.seconds_left or 0) > outcome.opens_in_seconds:
        # The caller's own deadline leaves time for the next day.
        outcome = ProviderThrottled(
            retry_after=outcome.opens_in_seconds, provider_message=outcome.provider_message
        )
    left = pacing.leave(worker, claim, outcome, settings.pace_minute_seconds)
    is_refused = isinstance(outcome, ProviderThrottled)
    if (is_refused or outcome.is_outage) and not left.counts and claim.probes < MAX_PROBES:
        # The provider's fault: it costs the prompt nothing.
        claims.release_prompt(worker, claim, counts_as=None, refused=left)
        logger.info("the call was refused, another follows", error_code=outcome.code)
        return max(left.wait_seconds, 1)
    emit_counts(PromptAttemptFailed=1)
    if isinstance(outcome, ModelUnavailable) and _goes_on(worker, claim, outcome):
        claims.release_prompt(worker, claim, counts_as="failure")
        return FALL_BACK_SECONDS
    earlier = claim.throttles if is_refused else claim.failures
    if earlier < outcome.max_retries and claim.probes < MAX_PROBES:
        counts_as = "throttle" if is_refused else "failure"
        claims.release_prompt(worker, claim, counts_as=counts_as, refused=left)
        logger.info("attempt failed, another follows", error_code=outcome.code)
        if is_refused:
            return max(left.wait_seconds, 1)
        raise outcome
    if image is not None:
        claims.charge_lost_image(worker, claim, image.attempt, image.cost_microusd)
    claims.fail_prompt(worker, claim, outcome)
    if outcome.stops_execution:
        executions.stop_execution(worker, claim.execution_id, outcome.code, outcome.detail)
    logger.info("prompt failed", error_code=outcome.code)
    return SETTLED


def _settle_line(worker: Worker, claim: Claim, line: Line, outcome: Outcome) -> float:
    """Records the outcome of a line without an image, or leaves the prompt to the fall-back.
    Reading the line again would give the same outcome."""
    if line.falls_back and may_fall_back(outcome):
        release_line(worker, claim)
        logger.info("a line without an image is left to the fall-back", error_code=outcome.code)
        return SETTLED
    emit_counts(PromptAttemptFailed=1)
    claims.fail_prompt(worker, claim, outcome)
    logger.info("prompt failed", error_code=outcome.code)
    return SETTLED


def _goes_on(worker: Worker, claim: Claim, outcome: ModelUnavailable) -> bool:
    """True if the prompt is painted again although its model answered 404: with the same model, or
    with the fallback model. Without a fallback, the second 404 stops the execution."""
    model = claim.config["model"]
    missed = gone_models.miss_model(worker, claim.execution_id, model, outcome)
    if missed == "second" and gone_models.fall_back(worker, claim.execution_id, model):
        logger.warning("the execution goes on with its fallback model", model=model)
    return missed in ("first", "second", "replaced") and claim.failures < NotFinished.max_retries
