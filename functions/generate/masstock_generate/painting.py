"""Paints a claimed prompt, stores the image and completes the row.

No transaction is open while the model paints. The lease ends after the function's timeout, so two
invocations never paint the same prompt at the same time. If the invocation dies after it stored the
image, the next attempt completes the row from the stored object and does not call the model again.
"""

import math
import time
from collections.abc import Callable, Mapping

from masstock.catalogue.image_models import cost_microusd, provider_of
from masstock.database.queries import batch_results, executions
from masstock.database.queries.batch_results import Claim
from masstock.database.worker import Worker
from masstock.errors import (
    ApiKeyUnreadable,
    DatabaseUnavailable,
    InvalidApiKey,
    NotFinished,
    Outcome,
    ProviderThrottled,
    StorageUnavailable,
    UnknownWorkflowType,
)
from masstock.schemas.engine import WaitSeconds
from masstock.services import sealing
from masstock.services.secret_store import forget_secrets, read_secret
from masstock.services.storage import Results, StoredImage, Uploads, image_key
from masstock.settings import GenerateSettings
from masstock.telemetry import emit_counts, logger
from masstock_generate.providers import PaintRequest, provider

SETTLED: WaitSeconds = {"wait_seconds": 0}
MAX_WAIT_SECONDS = 300


def settle(worker: Worker, claim: Claim, settings: GenerateSettings) -> WaitSeconds:
    """Paints a claimed prompt. If there is no image, stores the outcome, or raises it so that the
    state machine retries."""
    try:
        return _paint_and_complete(worker, claim, settings)
    except Outcome as outcome:
        return _settle_failure(worker, claim, outcome)
    except DatabaseUnavailable:
        raise
    except StorageUnavailable:
        # Released, so that the next attempt does not wait for the end of the lease.
        batch_results.release_prompt(worker, claim, throttled=False)
        raise
    except Exception:  # a mistake of ours must not lose the prompt or a paid image
        logger.exception("an attempt failed unexpectedly")
        return _settle_failure(worker, claim, NotFinished())


def _paint_and_complete(worker: Worker, claim: Claim, settings: GenerateSettings) -> WaitSeconds:
    workflow_type = claim.config.get("workflow_type")
    paint = WORKFLOW_TYPES.get(workflow_type) if isinstance(workflow_type, str) else None
    if paint is None:
        raise UnknownWorkflowType(f"There is no workflow type {workflow_type!r}."[:200])
    image = paint(claim, settings)
    results = Results(settings.results_bucket)
    result_url = results.public_url(image.key) if settings.images_are_public else None
    if not batch_results.complete_prompt(worker, claim, image, result_url):
        logger.warning("the claim is outdated; the image is stored under the same key")
        return SETTLED
    emit_counts(ImagesGenerated=1)
    logger.info(
        "image stored", processing_time_ms=image.processing_time_ms, size_bytes=image.size_bytes
    )
    return SETTLED


def _paint_nano_banana(claim: Claim, settings: GenerateSettings) -> StoredImage:
    """Calls the workflow's image model once, unless an earlier attempt stored the image."""
    results = Results(settings.results_bucket)
    if claim.attempt > 1 and (stored := results.find(claim.execution_id, claim.batch_index)):
        logger.info("reusing the image that an earlier attempt stored")
        return stored
    uploads = Uploads(settings.uploads_bucket)
    references = [
        uploads.read_reference(claim.client_id, key, etag) for key, etag in claim.references
    ]
    model: str = claim.config["model"]
    request = PaintRequest(
        api_key=_api_key(claim, settings),
        model=model,
        prompt=claim.prompt,
        references=references,
        aspect_ratio=claim.aspect_ratio,
        timeout_seconds=settings.model_timeout_seconds,
    )
    began = time.monotonic()
    painting = provider(provider_of(model)).paint(request)
    elapsed_ms = round((time.monotonic() - began) * 1000)
    key = image_key(claim.execution_id, claim.batch_index, claim.created_at, painting.mime_type)
    cost = cost_microusd(
        model, painting.input_tokens, painting.output_tokens, claim.config.get("microusd_per_image")
    )
    return results.put(
        key,
        painting.content,
        painting.mime_type,
        processing_time_ms=elapsed_ms,
        cost=cost,
        attempt=claim.attempt,
    )


# The function that paints a prompt, by workflow type. The api accepts the same types
# (masstock.schemas.workflow_config). A row that was inserted without the api can name another type.
WORKFLOW_TYPES: Mapping[str, Callable[[Claim, GenerateSettings], StoredImage]] = {
    "nano_banana": _paint_nano_banana,
}


def _api_key(claim: Claim, settings: GenerateSettings) -> str:
    if claim.api_key is None:
        # The api checks this at submission, but a row can be inserted without the api.
        if claim.config.get("requires_api_key") or not settings.platform_api_key_secret_id:
            raise InvalidApiKey("The execution was submitted without an API key.")
        return read_secret(settings.platform_api_key_secret_id)
    try:
        return _unseal(claim.api_key, claim, settings)
    except ApiKeyUnreadable:
        # The value may be sealed with a key that is newer than the cached secret.
        forget_secrets()
    try:
        return _unseal(claim.api_key, claim, settings)
    except ApiKeyUnreadable:
        logger.error("a sealed API key cannot be decrypted: altered, moved, or its key was removed")
        raise


def _unseal(sealed: str, claim: Claim, settings: GenerateSettings) -> str:
    keys = read_secret(settings.sealing_secret_id)
    return sealing.unseal(sealed, claim.client_id, claim.execution_id, keys)


def _settle_failure(worker: Worker, claim: Claim, outcome: Outcome) -> WaitSeconds:
    emit_counts(PromptAttemptFailed=1)
    throttled = isinstance(outcome, ProviderThrottled)
    earlier = claim.throttles if throttled else claim.failures
    if earlier < outcome.max_retries:
        batch_results.release_prompt(worker, claim, throttled=throttled)
        logger.info("attempt failed, another follows", error_code=outcome.code)
        if isinstance(outcome, ProviderThrottled) and outcome.retry_after is not None:
            # A Retry of the state machine cannot wait for a given time; its Wait state can.
            return {"wait_seconds": min(MAX_WAIT_SECONDS, max(1, math.ceil(outcome.retry_after)))}
        raise outcome
    batch_results.fail_prompt(worker, claim, outcome)
    if outcome.stops_execution:
        executions.stop_execution(worker, claim.execution_id, outcome.code, outcome.detail)
    logger.info("prompt failed", error_code=outcome.code)
    return SETTLED
