"""Executions and their results."""

import hmac
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

import machine
import session
from answers import as_json, cacheable_answer, json_answer, page_answer
from masstock.db import Caller, Row, TenantTransaction
from masstock.errors import FieldError, Forbidden, NotFound, ValidationFailed, retryable_codes
from masstock.limits import PROMPTS_LIMIT
from masstock.models.workflow import ExecutionRun
from masstock.queries import batch_results, executions, idempotency_keys, workflows
from masstock.secrets import read_secret
from masstock.storage import Results, Uploads
from pages import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    MAX_PAGE_BYTES,
    decode_cursor,
    encode_cursor,
    page_of_rows,
    time_position,
)
from request import (
    a_time,
    a_uuid,
    between,
    idempotency_key,
    one_of,
    path_uuid,
    raw_body,
    read_body,
    read_query,
)

if TYPE_CHECKING:
    from masstock.models.api import ExecutionCreate

router = APIGatewayHttpRouter()

POLL_SECONDS = "2"

LIST_PARAMETERS = {
    "status": one_of("pending", "processing", "completed", "failed"),
    "workflow_id": a_uuid,
    "client_id": a_uuid,
    "user_id": a_uuid,
    "from": a_time,
    "to": a_time,
    "limit": between(1, MAX_LIMIT),
    "cursor": str,
}
RESULT_PARAMETERS = {
    "status": one_of("processing", "completed", "failed"),
    "limit": between(1, MAX_LIMIT),
    "cursor": str,
}


@router.post("/executions")
def create_execution() -> Response[str]:
    """Stores the submission, then starts its machine: 202 with the execution."""
    from masstock.models.api import ExecutionCreate

    event = router.current_event
    body = read_body(event, ExecutionCreate)
    key = idempotency_key(event)
    with session.writing(event) as tx:
        client_id = _client_of(tx.caller, body.client_id)
        execution_id = fresh_id = uuid4()
        if key is not None:
            execution_id = idempotency_keys.claim_key(
                tx,
                client_id=tx.caller.client_id,
                user_id=tx.caller.user_id,
                route="POST /v1/executions",
                key=key,
                request_hmac=_digest(raw_body(event)),
                response_ref=fresh_id,
            )
        if execution_id == fresh_id:
            _insert(tx, body, client_id, execution_id)
        answer = executions.fetch_execution(tx, execution_id)
    if execution_id == fresh_id:
        machine.start(ExecutionRun(execution_id, 0), session.settings().state_machine_arn)
    location = f"/v1/executions/{execution_id}"
    return json_answer(answer, 202, {"Location": location, "Retry-After": POLL_SECONDS})


def _client_of(caller: Caller, named: UUID | None) -> UUID:
    if caller.client_id is not None:
        if named is not None:
            raise Forbidden("Only administrators may name a client_id.")
        return caller.client_id
    if named is None:
        raise ValidationFailed([FieldError("/client_id", "Administrators must name the client.")])
    return named


def _insert(
    tx: TenantTransaction, body: "ExecutionCreate", client_id: UUID, execution_id: UUID
) -> None:
    import submissions
    from masstock.models.config import WorkflowConfig

    config = workflows.fetch_active_config(tx, body.workflow_id)
    if config is None:
        raise ValidationFailed([FieldError("/workflow_id", "There is no such active workflow.")])
    references = submissions.check(body, WorkflowConfig.model_validate(config))
    settings = session.settings()
    executions.insert_execution(
        tx,
        execution_id=execution_id,
        workflow_id=body.workflow_id,
        client_id=client_id,
        user_id=tx.caller.user_id,
        input_data=submissions.input_data(
            body,
            references,
            client_id=client_id,
            execution_id=execution_id,
            uploads=Uploads(settings.uploads_bucket),
            sealing_keys=read_secret(settings.sealing_secret_id),
        ),
        deadline_seconds=settings.execution_deadline_seconds,
    )


def _digest(body: bytes) -> str:
    # Keyed: a body holds an API key, and a plain hash of it could be guessed at.
    return hmac.digest(session.signing_key().encode(), b"request|" + body, "sha256").hex()


@router.get("/executions")
def list_executions() -> Response[str]:
    """Newest first, with the names of workflow, user and client; input_data is left out."""
    query = read_query(router.current_event, LIST_PARAMETERS)
    limit = query["limit"] or DEFAULT_LIMIT
    key = session.signing_key()
    rows = executions.list_executions(
        session.reading(router.current_event),
        limit=limit + 1,
        before=time_position(query["cursor"], "executions", key),
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


@router.get("/executions/<execution_id>/results")
def list_results(execution_id: str) -> Response[str]:
    """Results in the order of the prompts, as they land."""
    event = router.current_event
    query = read_query(event, RESULT_PARAMETERS)
    limit = query["limit"] or DEFAULT_LIMIT
    key = session.signing_key()
    list_name = f"results/{execution_id}"
    after = int(decode_cursor(query["cursor"], list_name, key)[0]) if query["cursor"] else -1
    rows = batch_results.list_results(
        session.reading(event),
        path_uuid(execution_id, "execution_id"),
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
    return page_answer(as_json({"items": results, "next_cursor": next_cursor}))


def _result(row: Row) -> Row:
    """A row as callers see it: with a URL that shows the image."""
    result = {name: row[name] for name in row if name != "more_follow"}
    settings = session.settings()
    if (path := row["result_storage_path"]) and settings.image_access == "signed":
        result["result_url"] = Results(settings.results_bucket).signed_url(path)
    return result


@router.get("/executions/<execution_id>/results/<batch_index>/image")
def get_image(execution_id: str, batch_index: str) -> Response[str]:
    """302 to a URL that shows the image without any header."""
    event = router.current_event
    read_query(event, {})
    try:
        index = between(0, PROMPTS_LIMIT - 1)(batch_index)
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
    if settings.image_access == "public":
        url = row["result_url"]
    return Response(302, None, None, {"Location": url, "Cache-Control": "private, no-store"})
