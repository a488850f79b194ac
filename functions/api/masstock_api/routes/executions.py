"""Executions and their results."""

import time
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from masstock.database.connection import Row
from masstock.database.queries import batch_results, clients, executions, workflows
from masstock.database.tenants import TenantTransaction
from masstock.errors import (
    Conflict,
    FieldError,
    NotFound,
    StorageUnavailable,
    ValidationFailed,
    retryable_codes,
)
from masstock.limits import PROMPTS_LIMIT
from masstock.schemas.engine import ExecutionRun
from masstock.services.secret_store import read_secret
from masstock.services.state_machine import StateMachine
from masstock.services.storage import URL_SECONDS, Results, Uploads
from masstock.telemetry import logger
from masstock_api import session
from masstock_api.pages import (
    DEFAULT_LIMIT,
    MAX_PAGE_BYTES,
    PAGE_PARAMETERS,
    decode_cursor,
    encode_cursor,
    page_of_rows,
    page_start,
)
from masstock_api.request import (
    PERIOD,
    a_flag,
    a_uuid,
    between,
    idempotency_key,
    one_of,
    path_uuid,
    read_body,
    read_no_body,
    read_query,
)
from masstock_api.responses import as_json, cacheable_answer, json_answer, page_answer
from masstock_api.writes import active_client, check_precondition, client_named_by, create_once

if TYPE_CHECKING:
    from masstock.schemas.requests import ExecutionCreate
    from masstock.schemas.workflow_config import WorkflowConfig
    from masstock_api.submissions import Prompts

router = APIGatewayHttpRouter()

POLL_SECONDS = "2"
# A page that has not changed is sent again this often, with URLs that live on.
URLS_KEPT_SECONDS = URL_SECONDS // 3

LIST_PARAMETERS = {
    "status": one_of("pending", "processing", "completed", "failed"),
    "workflow_id": a_uuid,
    "client_id": a_uuid,
    "user_id": a_uuid,
    **PERIOD,
    **PAGE_PARAMETERS,
}
RESULT_PARAMETERS = {
    "status": one_of("processing", "completed", "failed"),
    **PAGE_PARAMETERS,
}
SUBMIT_PARAMETERS = {"dry_run": a_flag}
BATCH_INDEX = between(0, PROMPTS_LIMIT - 1)


@router.post("/executions")
def create_execution() -> Response[str]:
    """Stores the submission, then starts its machine: 202 with the execution. `dry_run=true`
    checks it and answers 200 with an estimate."""
    from masstock.schemas.requests import ExecutionCreate

    event = router.current_event
    dry_run = read_query(event, SUBMIT_PARAMETERS)["dry_run"]
    body = read_body(event, ExecutionCreate)
    if dry_run:
        return _estimate(body)
    with session.writing(event) as tx:
        client_id = client_named_by(tx.caller, body.client_id)
        execution_id, is_new = create_once(
            tx, event, lambda new_id: _insert(tx, body, client_id, new_id)
        )
        answer = executions.fetch_execution(tx, execution_id)
    if is_new:
        _start(ExecutionRun(execution_id, 0))
    return _accepted(answer, execution_id)


def _start(run: ExecutionRun) -> None:
    """Starts a committed run. A failure is logged, not raised: the submission is safe in the
    database, and the sweep starts what has no machine within two minutes."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        StateMachine(session.settings().state_machine_arn).start(run)
    except (BotoCoreError, ClientError):
        logger.exception("the machine did not start; the sweep will start it")


def _accepted(answer: str, execution_id: UUID) -> Response[str]:
    location = f"/v1/executions/{execution_id}"
    return json_answer(answer, 202, {"Location": location, "Retry-After": POLL_SECONDS})


def _estimate(body: "ExecutionCreate") -> Response[str]:
    """200 with what the submission would cost; nothing is stored, no key is used up."""
    idempotency_key(router.current_event)
    with session.writing(router.current_event) as tx:
        client_id = client_named_by(tx.caller, body.client_id)
        checked = _check(tx, body, client_id)
        budget = clients.fetch_budget(tx, client_id)
    limit = budget["monthly_budget_microusd"]
    left = None
    if limit is not None:
        left = max(0, limit - budget["spent_microusd"] - budget["reserved_microusd"])
    estimate = checked.estimate_microusd
    fits = left is None or (estimate is not None and estimate <= left)
    answer = {
        "dry_run": True,
        "workflow_id": body.workflow_id,
        "client_id": client_id,
        "model": checked.config.model,
        "prompts": len(checked.prompts),
        "estimate_microusd": estimate,
        "budget_left_microusd": left,
        "fits_budget": fits,
    }
    return json_answer(as_json(answer))


class _Checked(NamedTuple):
    config: "WorkflowConfig"
    prompts: "Prompts"
    estimate_microusd: int | None
    client: Row


def _check(tx: TenantTransaction, body: "ExecutionCreate", client_id: UUID) -> _Checked:
    from masstock.schemas.workflow_config import WorkflowConfig
    from masstock_api import submissions

    found = workflows.fetch_active_config(tx, body.workflow_id)
    if found is None:
        raise ValidationFailed([FieldError("/workflow_id", "There is no such active workflow.")])
    client = active_client(tx, client_id)
    settings = session.settings()
    config = WorkflowConfig.model_validate(found)
    prompts = submissions.read_prompts(body, client_id, Uploads(settings.uploads_bucket))
    rules = submissions.Rules(
        config, bool(settings.platform_api_key_secret_id), settings.allow_private_webhooks
    )
    submissions.check(body, prompts, rules)
    estimate = submissions.estimate_microusd(config, len(prompts))
    return _Checked(config, prompts, estimate, client)


def _insert(
    tx: TenantTransaction, body: "ExecutionCreate", client_id: UUID, execution_id: UUID
) -> None:
    from masstock_api import submissions

    checked = _check(tx, body, client_id)
    settings = session.settings()
    executions.insert_execution(
        tx,
        execution_id=execution_id,
        workflow_id=body.workflow_id,
        client_id=client_id,
        user_id=tx.caller.user_id,
        input_data=submissions.input_data(
            body,
            checked.prompts,
            client_id=client_id,
            execution_id=execution_id,
            uploads=Uploads(settings.uploads_bucket),
            sealing_keys=read_secret(settings.sealing_secret_id),
        ),
        deadline_seconds=settings.execution_deadline_seconds,
        estimate_microusd=checked.estimate_microusd,
        webhook_url=body.webhook_url or checked.client["webhook_url"],
        webhook_secret_version=checked.client["webhook_secret_version"],
    )


@router.get("/executions")
def list_executions() -> Response[str]:
    """Newest first, with the names of workflow, user and client; input_data is left out."""
    query = read_query(router.current_event, LIST_PARAMETERS)
    key = session.signing_key()
    limit, before = page_start(query, "executions", key)
    rows = executions.list_executions(
        session.reading(router.current_event),
        limit=limit + 1,
        before=before,
        status=query["status"],
        workflow_id=query["workflow_id"],
        client_id=query["client_id"],
        user_id=query["user_id"],
        created_from=query["from"],
        created_to=query["to"],
    )
    return page_answer(page_of_rows(rows, limit, "executions", key))


@router.get("/executions/<execution_id>")
def get_execution(execution_id: str) -> Response[str]:
    """One execution with its progress; 304 while nothing changed."""
    event = router.current_event
    read_query(event, {})
    tx = session.reading(event)
    body = executions.fetch_execution(tx, path_uuid(execution_id, "execution_id"))
    return cacheable_answer(body, event.headers.get("if-none-match"), {"Retry-After": POLL_SECONDS})


@router.post("/executions/<execution_id>/cancel")
def cancel_execution(execution_id: str) -> Response[str]:
    """200 with the execution. Nothing is claimed any more; calls to the model already under way
    finish and their images are kept. Cancelling twice changes nothing; 409 after the end."""
    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(execution_id, "execution_id")
    read_no_body(event)
    with session.writing(event) as tx:
        executions.cancel_execution(tx, wanted)
        answer = executions.fetch_execution(tx, wanted)
    return json_answer(answer, 200, {"Retry-After": POLL_SECONDS})


@router.post("/executions/<execution_id>/retry")
def retry_execution(execution_id: str) -> Response[str]:
    """202 with the execution, running again for its failed prompts only."""
    from masstock.schemas.requests import ExecutionRetry

    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(execution_id, "execution_id")
    body = read_body(event, ExecutionRetry) if event.body else ExecutionRetry()
    settings = session.settings()
    with session.writing(event) as tx:
        run = executions.reopen_failed(
            tx,
            wanted,
            retryable_codes() if body.only_retryable else None,
            settings.execution_deadline_seconds,
        )
        answer = executions.fetch_execution(tx, wanted)
    _start(run)
    return _accepted(answer, wanted)


@router.delete("/executions/<execution_id>")
def delete_execution(execution_id: str) -> Response[str]:
    """204; an ended execution, its results and its images."""
    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(execution_id, "execution_id")
    with session.writing(event) as tx:
        check_precondition(event, executions.fetch_execution(tx, wanted))
        if not executions.delete_execution(tx, wanted):
            raise Conflict("The execution has not ended; cancel it first.")
    try:
        Results(session.settings().results_bucket).remove_all(wanted)
    except StorageUnavailable:
        # A trigger has noted the deletion: the sweep does it again in any case.
        logger.warning("images are left to the sweep", exc_info=True)
    return Response(204)


@router.get("/executions/<execution_id>/results")
def list_results(execution_id: str) -> Response[str]:
    """Results in the order of the prompts, as they land; 304 while nothing changed."""
    event = router.current_event
    query = read_query(event, RESULT_PARAMETERS)
    limit = query["limit"] or DEFAULT_LIMIT
    wanted = path_uuid(execution_id, "execution_id")
    key = session.signing_key()
    list_name = f"results/{wanted}"
    after = -1
    if query["cursor"] is not None:
        after = int(decode_cursor(query["cursor"], list_name, key)[0])
    rows = batch_results.list_results(
        session.reading(event),
        wanted,
        after=after,
        limit=limit,
        status=query["status"],
        retryable_codes=retryable_codes(),
        max_bytes=MAX_PAGE_BYTES,
    )
    if not rows:
        raise NotFound
    results = [_result(row) for row in rows if row["id"] is not None]
    next_cursor = None
    if rows[0]["more_follow"]:
        next_cursor = encode_cursor([results[-1]["batch_index"]], list_name, key)
    body = as_json({"items": results, "next_cursor": next_cursor})
    # URLs are signed anew each time: the version is the rows, and when their URLs run out.
    window = int(time.time() // URLS_KEPT_SECONDS)
    version = as_json([rows, next_cursor, window])
    return cacheable_answer(
        body, event.headers.get("if-none-match"), {"Retry-After": POLL_SECONDS}, version
    )


def _result(row: Row) -> Row:
    """A row as callers see it: with a URL that shows the image."""
    result = {name: row[name] for name in row if name != "more_follow"}
    settings = session.settings()
    if (path := row["result_storage_path"]) and not settings.images_are_public:
        result["result_url"] = Results(settings.results_bucket).signed_url(path)
    return result


@router.get("/executions/<execution_id>/results/<batch_index>/image")
def get_image(execution_id: str, batch_index: str) -> Response[str]:
    """302 to a URL that shows the image without any header."""
    event = router.current_event
    read_query(event, {})
    try:
        index = BATCH_INDEX(batch_index)
    except ValueError as error:
        raise ValidationFailed([FieldError("batch_index", str(error))]) from error
    row = batch_results.fetch_storage_path(
        session.reading(event), path_uuid(execution_id, "execution_id"), index
    )
    if row["status"] == "processing":
        raise NotFound("The image is not finished yet.")
    if row["result_storage_path"] is None:
        raise NotFound(f"There is no image: {row['error_message']}")
    settings = session.settings()
    url = Results(settings.results_bucket).signed_url(row["result_storage_path"])
    if settings.images_are_public:
        url = row["result_url"]
    return Response(302, None, None, {"Location": url, "Cache-Control": "private, no-store"})
