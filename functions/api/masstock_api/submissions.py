"""Checks a submission against its workflow, estimates its cost and stores it as an execution."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from pydantic import ValidationError

from masstock.catalogue.image_models import MODELS
from masstock.catalogue.image_sizes import DEFAULT_SIZE
from masstock.database.connection import Row
from masstock.database.queries import clients, executions, workflows
from masstock.database.tenants import TenantTransaction
from masstock.errors import FieldError, ValidationFailed
from masstock.limits import PROMPTS_LIMIT
from masstock.schemas.engine import ExecutionRun
from masstock.schemas.requests import ExecutionCreate, PromptWithId
from masstock.schemas.workflow_config import WorkflowConfig
from masstock.services import sealing
from masstock.services.lanes import lane_key
from masstock.services.secret_store import read_secret
from masstock.services.state_machine import StateMachine
from masstock.services.storage import Uploads
from masstock.services.webhooks import WebhookRefused, check_url
from masstock.telemetry import logger
from masstock_api import session, strict_json
from masstock_api.estimates import Estimate, dearest_estimate, dearest_price
from masstock_api.prompt_lists.places import PromptList
from masstock_api.prompt_lists.reading import read_prompts
from masstock_api.references import store_references
from masstock_api.request import Request
from masstock_api.strict_json import MAX_MISTAKES
from masstock_api.writes import active_client, claim_id, client_named_by

type Prompts = Sequence[str | PromptWithId]
# Prompts that a dry run shows.
SAMPLE = 5


def accept(request: Request, submission: ExecutionCreate) -> tuple[UUID, str]:
    """Stores the submission as an execution, then starts its machine. Returns the execution's id
    and its JSON text. A repeated Idempotency-Key returns the first execution. Raises
    ValidationFailed, Forbidden, IdempotencyKeyReused, and psycopg.Error with SQLSTATE MS402 if the
    estimate exceeds the client's budget."""
    with request.writing() as tx:
        execution_id, is_new = claim_id(tx, request)
        if is_new:
            _insert(tx, check(tx, submission), submission, execution_id)
        answer = executions.fetch_execution(tx, execution_id).body
    if is_new:
        start(ExecutionRun(execution_id, 0))
    return execution_id, answer


def estimate(request: Request, submission: ExecutionCreate) -> Mapping[str, Any]:
    """What the submission would cost, and what is left of the budget. Makes the checks of `accept`
    by doing what it does, in a transaction that is rolled back: no row is stored and no
    Idempotency-Key is used up. No reference image is uploaded. Raises what `accept` raises."""
    with request.trying() as tx:
        claim_id(tx, request)
        checked = check(tx, submission)
        budget = clients.fetch_budget(tx, checked.client_id)
        # The key may belong to a stored execution, so the row gets an id of its own.
        _insert(tx, checked, submission, uuid4(), dry_run=True)
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
        "prompts": len(checked.prompts),
        "sample_prompts": [text_of(prompt) for prompt in checked.prompts[:SAMPLE]],
        "image_size": checked.image_size or DEFAULT_SIZE,
        "estimate_microusd": checked.estimate.standard,
        "estimates": {
            "standard": checked.estimate.standard,
            "economy": checked.estimate.economy,
        },
        "estimate_parts": {
            "input_microusd": checked.estimate.input,
            "text_microusd": checked.estimate.text,
            "image_microusd": checked.estimate.image,
        },
        "budget_left_microusd": left,
        # Otherwise the answer is a 402.
        "fits_budget": True,
    }


def retry(
    request: Request, execution_id: UUID, codes: list[str] | None, *, current_settings: bool
) -> str:
    """Reopens the failed prompts of an ended execution, or those with the given codes, and starts
    the next run. Returns the execution's JSON text. The settings are those of the submission, or
    the workflow's present ones if `current_settings`. The prompts must pass the checks of a
    submission. A repeated Idempotency-Key starts nothing. Raises NotFound, ValidationFailed;
    SQLSTATE MS402 or MS409."""
    with request.writing() as tx:
        if not claim_id(tx, request, execution_id)[1]:
            return executions.fetch_execution(tx, execution_id).body
        submitted = executions.fetch_submitted(tx, execution_id)
        config = active_config(tx, submitted["workflow_id"])
        active_client(tx, submitted["client_id"])
        if current_settings:
            executions.refresh_settings(tx, execution_id)
            mistakes = _against_model(
                config,
                references=submitted["references"],
                ratio=submitted["aspect_ratio"],
                size=submitted["image_size"],
            )
        else:
            if submitted["settings"] is not None:
                config = _valid_config(submitted["settings"])
            mistakes = _retirement(config.model, of_submission=True)
        if mistakes:
            raise ValidationFailed(mistakes)
        run = executions.reopen_failed(
            tx,
            execution_id,
            codes,
            deadline_seconds=session.settings().execution_deadline_seconds,
            microusd_per_image=dearest_price(
                config.models,
                submitted["image_size"] or DEFAULT_SIZE,
                submitted["references"],
                config.microusd_per_image,
            ),
        )
        answer = executions.fetch_execution(tx, execution_id).body
    start(run)
    return answer


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
    prompts: Prompts
    aspect_ratio: str | None
    image_size: str | None
    estimate: Estimate


def check(tx: TenantTransaction, submission: ExecutionCreate) -> Checked:
    """Checks a submission, except for its budget. Raises Forbidden or ValidationFailed."""
    client_id = client_named_by(tx.caller, submission.client_id)
    config = active_config(tx, submission.workflow_id)
    client = active_client(tx, client_id)
    settings = session.settings()
    listed = read_prompts(submission, client_id, Uploads(settings.uploads_bucket))
    prompts = listed.prompts
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
    return Checked(
        client_id,
        client,
        config,
        prompts,
        submission.aspect_ratio or config.aspect_ratio,
        image_size,
        dearest_estimate(
            config.models,
            image_size,
            len(submission.reference_images),
            config.microusd_per_image,
            [text_of(prompt) for prompt in prompts],
        ),
    )


def active_config(tx: TenantTransaction, workflow_id: UUID) -> WorkflowConfig:
    """The config of a workflow that executions may use. Raises ValidationFailed."""
    found = workflows.fetch_active_config(tx, workflow_id)
    if found is None:
        raise ValidationFailed([FieldError("/workflow_id", "There is no such active workflow.")])
    return _valid_config(found)


def _valid_config(found: Mapping[str, Any]) -> WorkflowConfig:
    try:
        return WorkflowConfig.model_validate(found)
    except ValidationError as error:
        # An older version stored it, or a login of the database's owner.
        place = strict_json.pointer(("config", *error.errors()[0]["loc"]))
        detail = f"An administrator must correct the workflow: {place} is not valid."
        raise ValidationFailed([FieldError("/workflow_id", detail)]) from error


def text_of(prompt: str | PromptWithId) -> str:
    """The text of a prompt."""
    return prompt if isinstance(prompt, str) else prompt.prompt


def find_mistakes(
    submission: ExecutionCreate,
    listed: PromptList,
    config: WorkflowConfig,
    *,
    has_platform_key: bool,
    allow_private_webhooks: bool,
) -> list[FieldError]:
    """Everything in the submission that the workflow does not accept."""
    mistakes: list[FieldError] = []
    if (count := len(listed.prompts)) > (limit := min(config.max_prompts, PROMPTS_LIMIT)):
        there_are = str(count) if count <= PROMPTS_LIMIT else f"more than {PROMPTS_LIMIT}"
        detail = f"This workflow takes at most {limit} prompts; there are {there_are}."
        mistakes.append(FieldError("/prompts", detail))
    mistakes += _repeated_ids(listed)
    if submission.api_key is None and (config.requires_api_key or not has_platform_key):
        mistakes.append(FieldError("/api_key", "This workflow requires an api_key."))
    if submission.lane is not None and submission.api_key is None:
        mistakes.append(FieldError("/lane", "Name a lane only for an api_key of your own."))
    if submission.fall_back_after_seconds is not None and config.fallback_model is None:
        detail = "The workflow has no fallback_model."
        mistakes.append(FieldError("/fall_back_after_seconds", detail))
    if submission.webhook_url is not None:
        try:
            check_url(submission.webhook_url, allow_private=allow_private_webhooks)
        except WebhookRefused as error:
            mistakes.append(FieldError("/webhook_url", str(error)))
    if submission.reference_images and not config.supports_reference_images:
        detail = "This workflow does not support reference images."
        mistakes.append(FieldError("/reference_images", detail))
    return mistakes + _against_model(
        config,
        references=len(submission.reference_images),
        ratio=submission.aspect_ratio or config.aspect_ratio,
        size=submission.image_size or config.image_size,
    )


def _repeated_ids(listed: PromptList) -> list[FieldError]:
    seen: dict[str, int] = {}
    repeated: list[FieldError] = []
    for position, prompt in enumerate(listed.prompts):
        if isinstance(prompt, str) or prompt.custom_id is None:
            continue
        if (first := seen.setdefault(prompt.custom_id, position)) != position:
            repeated.append(listed.places.repeated(position, first, prompt.custom_id))
    return repeated[:MAX_MISTAKES]


def _against_model(
    config: WorkflowConfig, *, references: int, ratio: str | None, size: str | None
) -> list[FieldError]:
    """Everything that the model or its fallback cannot do. A model outside the catalogue is not
    checked."""
    return [
        mistake
        for name in config.models
        if name in MODELS
        for mistake in _against_one_model(name, references, ratio, size)
    ]


def _against_one_model(
    name: str, references: int, ratio: str | None, size: str | None
) -> list[FieldError]:
    model = MODELS[name]
    mistakes = _retirement(name)
    if references > model.max_reference_images:
        detail = f"{name} takes at most {model.max_reference_images} reference images."
        mistakes.append(FieldError("/reference_images", detail))
    if ratio is not None and ratio not in model.aspect_ratios:
        detail = f"{name} supports {', '.join(model.aspect_ratios)}."
        mistakes.append(FieldError("/aspect_ratio", detail))
    if size is not None and size not in model.image_tokens:
        detail = f"{name} supports {', '.join(model.image_tokens)}."
        mistakes.append(FieldError("/image_size", detail))
    return mistakes


def _retirement(name: str, *, of_submission: bool = False) -> list[FieldError]:
    """The mistake of using a model that is known to be off. `of_submission` says that the settings
    of an earlier submission name it."""
    model = MODELS.get(name)
    if model is None or model.retired_on is None or model.retired_on > datetime.now(UTC).date():
        return []
    detail = (
        f"The workflow's model {name} was retired on {model.retired_on}; an administrator can "
        f"replace it by {model.successor}."
    )
    if of_submission:
        detail += " Then retry with current_settings."
    return [FieldError("/workflow_id", detail)]


# --- storing -------------------------------------------------------------------------------------


def _insert(
    tx: TenantTransaction,
    checked: Checked,
    submission: ExecutionCreate,
    execution_id: UUID,
    *,
    dry_run: bool = False,
) -> None:
    settings = session.settings()
    executions.insert_execution(
        tx,
        execution_id=execution_id,
        workflow_id=submission.workflow_id,
        client_id=checked.client_id,
        user_id=tx.caller.user_id,
        input_data=input_data(
            submission,
            checked.prompts,
            client_id=checked.client_id,
            execution_id=execution_id,
            uploads=Uploads(settings.uploads_bucket),
            sealing_keys=read_secret(settings.sealing_secret_id),
            aspect_ratio=checked.aspect_ratio,
            image_size=checked.image_size,
            dry_run=dry_run,
        ),
        lane_key=lane_key(
            submission.api_key,
            submission.lane,
            checked.client_id,
            read_secret(settings.sealing_secret_id),
        ),
        deadline_seconds=submission.deadline_seconds or settings.execution_deadline_seconds,
        deadline_is_fixed=submission.deadline_seconds is not None,
        estimate_microusd=checked.estimate.standard,
        webhook_url=submission.webhook_url or checked.client["webhook_url"],
        webhook_secret_version=checked.client["webhook_secret_version"],
    )


def input_data(
    submission: ExecutionCreate,
    prompts: Prompts,
    *,
    client_id: UUID,
    execution_id: UUID,
    uploads: Uploads,
    sealing_keys: str,
    aspect_ratio: str | None = None,
    image_size: str | None = None,
    dry_run: bool = False,
) -> Mapping[str, Any]:
    """The stored form of a submission: reference images as keys, the API key sealed. Raises
    ValidationFailed for an invalid reference image."""
    stored: dict[str, Any] = {
        "prompts": [
            prompt if isinstance(prompt, str) else prompt.model_dump(exclude_none=True)
            for prompt in prompts
        ]
    }
    if submission.reference_images:
        references = store_references(
            submission.reference_images, client_id, uploads, dry_run=dry_run
        )
        stored["reference_images"] = [key for key, _ in references]
        stored["reference_etags"] = [etag for _, etag in references]
    if aspect_ratio is not None:
        stored["aspect_ratio"] = aspect_ratio
    if image_size is not None:
        stored["image_size"] = image_size
    if submission.fall_back_after_seconds is not None:
        stored["fall_back_after_seconds"] = submission.fall_back_after_seconds
    if submission.api_key is not None:
        stored["api_key"] = sealing.seal(submission.api_key, client_id, execution_id, sealing_keys)
    return stored
