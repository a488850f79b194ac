"""Checks a submission against its workflow, estimates its cost and stores it as an execution."""

from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from masstock.catalogue.image_models import prompt_tokens
from masstock.catalogue.image_sizes import DEFAULT_SIZE
from masstock.database.connection import Row
from masstock.database.queries import clients, executions
from masstock.database.tenants import TenantTransaction
from masstock.errors import ValidationFailed
from masstock.schemas.engine import ExecutionRun
from masstock.schemas.fields import ENDS
from masstock.schemas.prompts import PromptWithId
from masstock.schemas.requests import ExecutionCreate
from masstock.schemas.workflow_config import WorkflowConfig
from masstock.services.lanes import lane_key
from masstock.services.secret_store import read_secret
from masstock.services.state_machine import StateMachine
from masstock.services.storage import Uploads
from masstock.telemetry import logger
from masstock_api import session
from masstock_api.checks import (
    active_config,
    find_mistakes,
    images_of,
)
from masstock_api.estimates import Estimate, ImageKind, dearest_estimate, estimate_of
from masstock_api.image_urls import execution_of
from masstock_api.prompt_lists.places import PromptList
from masstock_api.prompt_lists.reading import read_prompts
from masstock_api.request import Request
from masstock_api.stored_form import input_data
from masstock_api.tiers import Terms, terms_of
from masstock_api.writes import active_client, claim_id, client_named_by

# Prompts that a dry run shows.
SAMPLE = 5


@dataclass(frozen=True, slots=True)
class Order:
    """A submission. If it takes its API key from an earlier execution, `lane_key` is the lane key
    of that execution."""

    submission: ExecutionCreate
    lane_key: UUID | None = None


def accept(request: Request, order: Callable[[TenantTransaction], Order]) -> tuple[UUID, str]:
    """Stores the submission as an execution, then starts its machine. Returns the execution's id
    and its JSON text. A repeated Idempotency-Key returns the first execution. Raises
    ValidationFailed, Forbidden, IdempotencyKeyReused, and psycopg.Error with SQLSTATE MS402 if the
    estimate exceeds the client's budget."""
    with request.writing() as tx:
        execution_id, is_new = claim_id(tx, request)
        if is_new:
            ordered = order(tx)
            _insert(tx, check(tx, ordered.submission), ordered, execution_id)
        answer = execution_of(tx, execution_id).body
    if is_new:
        start(ExecutionRun(execution_id, 0))
    return execution_id, answer


def estimate(request: Request, order: Callable[[TenantTransaction], Order]) -> Mapping[str, Any]:
    """What the submission would cost, and what is left of the budget. Makes the checks of `accept`
    by doing what it does, in a transaction that is rolled back: no row is stored and no
    Idempotency-Key is used up. No reference image is uploaded. Raises what `accept` raises."""
    with request.trying() as tx:
        claim_id(tx, request)
        ordered = order(tx)
        submission = ordered.submission
        checked = check(tx, submission)
        budget = clients.fetch_budget(tx, checked.client_id)
        # The key may belong to a stored execution, so the row gets an id of its own.
        reused = _insert(tx, checked, ordered, uuid4(), dry_run=True)
    # The database lowered the stored estimate in the same way.
    painted = estimate_of(
        checked.estimate.model,
        checked.config.microusd_per_image,
        _kinds_of_images(submission, checked.listed, checked.image_size or DEFAULT_SIZE, reused),
    )
    limit = budget["monthly_budget_microusd"]
    left = None
    if limit is not None:
        left = max(0, limit - budget["spent_microusd"] - budget["reserved_microusd"])
    return {
        "dry_run": True,
        "workflow_id": submission.workflow_id,
        "client_id": checked.client_id,
        "model": checked.config.model,
        "fallback_model": checked.config.fallback_model,
        "prompts": len(checked.listed.prompts),
        "images": checked.images,
        "reused_images": len(reused),
        "sample_prompts": [text_of(prompt) for prompt in checked.listed.prompts[:SAMPLE]],
        "image_size": checked.image_size or DEFAULT_SIZE,
        "tier": checked.terms["tier"],
        "estimate_microusd": painted.economy
        if checked.terms["tier"] == "economy"
        else painted.standard,
        # The tier economy does not reuse images.
        "estimates": {"standard": painted.standard, "economy": checked.estimate.economy},
        "estimate_parts": {
            "input_microusd": painted.input,
            "text_microusd": painted.text,
            "image_microusd": painted.image,
        },
        "budget_left_microusd": left,
        # Otherwise the answer is a 402.
        "fits_budget": True,
    }


def start(run: ExecutionRun) -> None:
    """Starts the machine of a committed run. Logs a failure and does not raise it: the run is in
    the database, and the sweep starts its machine within two minutes."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        StateMachine(session.settings().state_machine_arn).start(run)
    except (BotoCoreError, ClientError):
        logger.exception("the machine did not start; the sweep will start it")


# --- checking ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Checked:
    """A submission that the workflow accepts."""

    client_id: UUID
    client: Row
    config: WorkflowConfig
    listed: PromptList
    aspect_ratio: str | None
    image_size: str | None
    images: int
    estimate: Estimate
    terms: Terms


def check(tx: TenantTransaction, submission: ExecutionCreate) -> Checked:
    """Checks a submission, except for its budget. Raises Forbidden or ValidationFailed."""
    client_id = client_named_by(tx.caller, submission.client_id)
    config = active_config(tx, submission.workflow_id)
    client = active_client(tx, client_id)
    settings = session.settings()
    listed = read_prompts(submission, client_id, Uploads(settings.uploads_bucket))
    mistakes = find_mistakes(
        submission,
        listed,
        config,
        has_platform_key=bool(settings.platform_api_key_secret_id),
        allow_private_webhooks=settings.allow_private_webhooks,
    )
    if mistakes:
        raise ValidationFailed(mistakes)
    image_size = submission.image_size or config.image_size
    images = _kinds_of_images(submission, listed, image_size or DEFAULT_SIZE)
    estimate = dearest_estimate(config.models, config.microusd_per_image, images)
    return Checked(
        client_id,
        client,
        config,
        listed,
        submission.aspect_ratio or config.aspect_ratio,
        image_size,
        images.total(),
        estimate,
        terms_of(submission, config, estimate, settings.execution_deadline_seconds),
    )


def _kinds_of_images(
    submission: ExecutionCreate, listed: PromptList, size: str, reused: Container[int] = ()
) -> Counter[ImageKind]:
    """How many images of each kind are painted. `size` is that of prompts without an own one.
    `reused` has the batch indices of images that are not painted."""
    kinds: Counter[ImageKind] = Counter()
    references = len(submission.reference_images or ())
    last = 0
    for prompt in listed.prompts:
        tokens = prompt_tokens(text_of(prompt))
        kind = ImageKind(size, references, tokens)
        if not isinstance(prompt, str):
            own = prompt.reference_images
            kind = ImageKind(
                prompt.image_size or size, references if own is None else len(own), tokens
            )
        first, last = last, last + images_of(submission, prompt)
        kinds[kind] += sum(index not in reused for index in range(first, last))
    return kinds


def text_of(prompt: str | PromptWithId) -> str:
    """The text of a prompt."""
    return prompt if isinstance(prompt, str) else prompt.prompt


# --- storing -------------------------------------------------------------------------------------


def _insert(
    tx: TenantTransaction,
    checked: Checked,
    order: Order,
    execution_id: UUID,
    *,
    dry_run: bool = False,
) -> set[int]:
    """Returns the batch indices of images that are reused."""
    settings, submission = session.settings(), order.submission
    return executions.insert_execution(
        tx,
        execution_id=execution_id,
        workflow_id=submission.workflow_id,
        client_id=checked.client_id,
        user_id=tx.caller.user_id,
        name=submission.name,
        input_data=input_data(
            submission,
            checked.listed,
            client_id=checked.client_id,
            execution_id=execution_id,
            uploads=Uploads(settings.uploads_bucket),
            sealing_keys=read_secret(settings.sealing_secret_id),
            aspect_ratio=checked.aspect_ratio,
            image_size=checked.image_size,
            dry_run=dry_run,
        ),
        lane_key=order.lane_key
        or lane_key(
            submission.api_key,
            submission.lane,
            checked.client_id,
            read_secret(settings.sealing_secret_id),
        ),
        deadline_is_fixed=submission.deadline_seconds is not None,
        **checked.terms,
        webhook_url=submission.webhook_url or checked.client["webhook_url"],
        webhook_secret_version=checked.client["webhook_secret_version"],
        webhook_events=sorted(
            set(ENDS if submission.webhook_events is None else submission.webhook_events)
        ),
    )
