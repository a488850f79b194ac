"""Starts an ended execution again."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from masstock.catalogue.image_sizes import DEFAULT_SIZE
from masstock.database.queries import batch_results, executions
from masstock.database.queries.executions import Submitted
from masstock.database.tenants import TenantTransaction
from masstock.errors import Conflict, FieldError, ValidationFailed, retryable_codes
from masstock.schemas.requests import ExecutionRetry, PromptEdit
from masstock.schemas.workflow_config import WorkflowConfig
from masstock_api import session
from masstock_api.checks import active_config, against_model, of_images, retirement, valid_config
from masstock_api.estimates import dearest_prices
from masstock_api.image_urls import execution_of
from masstock_api.request import Request
from masstock_api.strict_json import MAX_MISTAKES
from masstock_api.submissions import start
from masstock_api.tiers import retry_terms
from masstock_api.writes import active_client, claim_id


def retry(request: Request, execution_id: UUID, body: ExecutionRetry) -> str:
    """Reopens the failed images of an ended execution that the body selects, and starts the next
    run. Returns the execution's JSON text. The settings are those of the submission, or the
    workflow's present ones if `current_settings`. The images must pass the checks of a submission.
    A repeated Idempotency-Key starts nothing. Raises NotFound, Conflict, ValidationFailed; SQLSTATE
    MS402 or MS409."""
    with request.writing() as tx:
        if not claim_id(tx, request, execution_id)[1]:
            return execution_of(tx, execution_id).body
        submitted = executions.fetch_submitted(tx, execution_id)
        config = _checked_config(tx, execution_id, submitted, body)
        run = executions.reopen_failed(
            tx,
            execution_id,
            retryable_codes() if body.only_retryable else None,
            **retry_terms(
                submitted["tier"],
                submitted["on_economy_failure"],
                dearest_prices(
                    config.models,
                    submitted["image_size"] or DEFAULT_SIZE,
                    submitted["references"],
                    config.microusd_per_image,
                ),
                session.settings().execution_deadline_seconds,
            ),
            edits=None if body.edits is None else _edits(tx, execution_id, submitted, body.edits),
        )
        answer = execution_of(tx, execution_id).body
    start(run)
    return answer


def _checked_config(
    tx: TenantTransaction, execution_id: UUID, submitted: Submitted, body: ExecutionRetry
) -> WorkflowConfig:
    """The settings of the retry. Raises ValidationFailed."""
    config = active_config(tx, submitted["workflow_id"])
    active_client(tx, submitted["client_id"])
    if body.current_settings:
        executions.refresh_settings(tx, execution_id)
        mistakes = against_model(
            config,
            references=submitted["references"],
            ratio=submitted["aspect_ratio"],
            size=submitted["image_size"],
        )
        mistakes += of_images(config, batch_results.list_own_settings(tx, execution_id))
    else:
        if submitted["settings"] is not None:
            config = valid_config(submitted["settings"])
        mistakes = retirement(config.model, of_submission=True)
    if mistakes:
        raise ValidationFailed(mistakes)
    return config


def _edits(
    tx: TenantTransaction, execution_id: UUID, submitted: Submitted, edits: Sequence[PromptEdit]
) -> Mapping[int, str | None]:
    """The new prompt of each index. Raises Conflict if the execution has not ended, and
    ValidationFailed."""
    if submitted["status"] not in ("completed", "failed"):
        raise Conflict("The execution has not ended.")
    failed = batch_results.list_failed(tx, execution_id, [edit.batch_index for edit in edits])
    found: dict[int, str | None] = {}
    mistakes: list[FieldError] = []
    for position, edit in enumerate(edits):
        place = f"/edits/{position}/batch_index"
        if edit.batch_index in found:
            mistakes.append(FieldError(place, "Another edit has the same batch_index."))
        elif edit.batch_index not in failed:
            mistakes.append(FieldError(place, "This image has not failed."))
        found[edit.batch_index] = edit.prompt
    if mistakes:
        raise ValidationFailed(mistakes[:MAX_MISTAKES])
    return found
