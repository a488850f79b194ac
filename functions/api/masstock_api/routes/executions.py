"""Executions and their results."""

from typing import TYPE_CHECKING
from uuid import UUID

from aws_lambda_powertools.event_handler import Response

from masstock.database.connection import Row, Versioned
from masstock.database.queries import batch_results, canaries, executions
from masstock.errors import (
    BudgetExceeded,
    Conflict,
    Expired,
    Forbidden,
    IdempotencyKeyReused,
    InvalidCursor,
    NotFound,
    NotReady,
    OutcomeUnknown,
    StorageUnavailable,
    retryable_codes,
)
from masstock.limits import PROMPTS_LIMIT
from masstock.services.signed_urls import period
from masstock.services.storage import Results
from masstock.telemetry import logger
from masstock_api import session
from masstock_api.image_urls import (
    execution_of,
    expires_at,
    url_of_image,
    url_of_thumbnail,
    with_cover,
    with_urls,
)
from masstock_api.operation import Answer, lists, operation, reads, removes
from masstock_api.pages import (
    DEFAULT_LIMIT,
    MAX_PAGE_BYTES,
    PAGE_PARAMETERS,
    Page,
    decode_cursor,
    encode_cursor,
)
from masstock_api.parameters import a_flag, a_flag_that_is, a_uuid, between, one_of
from masstock_api.request import Request
from masstock_api.responses import as_json, cacheable_answer, json_answer, page_answer
from masstock_api.writes import claim_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from masstock.database.tenants import TenantTransaction
    from masstock.schemas.requests import ExecutionClone, ExecutionCreate, ExecutionRetry
    from masstock_api.submissions import Order

POLLING = {"Retry-After": "2"}
FILTERS = {
    "status": one_of("pending", "processing", "completed", "failed"),
    "workflow_id": a_uuid,
    "client_id": a_uuid,
    "user_id": a_uuid,
}
ACCEPTED = Answer(202, "Execution", headers=["Location", "Retry-After"])


@operation(
    "POST",
    "/v1/executions",
    Answer(200, "Estimate"),
    ACCEPTED,
    query={"dry_run": a_flag},
    headers=["Idempotency-Key"],
    problems=[
        BudgetExceeded,
        IdempotencyKeyReused,
        Forbidden,
        NotFound,
        OutcomeUnknown,
        StorageUnavailable,
    ],
)
def create_execution(request: Request, body: "ExecutionCreate") -> Response[str]:
    """Submits prompts to a workflow. Answers 202 as soon as the execution is stored; painting
    follows. With `dry_run=true` it stores nothing. It then answers 200 with the expected cost, or
    with the problem that the submission would get."""
    from masstock_api.submissions import Order

    order = Order(body)
    return _submitted(request, lambda _: order)


def _submitted(request: Request, order: "Callable[[TenantTransaction], Order]") -> Response[str]:
    from masstock_api import submissions

    if request.query["dry_run"]:
        return json_answer(as_json(submissions.estimate(request, order)))
    return _accepted(*submissions.accept(request, order))


def _accepted(execution_id: UUID, answer: str) -> Response[str]:
    return json_answer(answer, 202, {"Location": f"/v1/executions/{execution_id}", **POLLING})


@lists("/v1/executions", "ExecutionSummary", FILTERS)
def list_executions(request: Request, page: Page) -> list[str]:
    """Lists executions, newest first, without `input_data`."""
    return [with_cover(row) for row in executions.list_executions(request.reading(), page)]


@reads("/v1/executions/<execution_id>", "Execution", sends=POLLING, compress=True)
def get_execution(request: Request, execution_id: UUID) -> Versioned:
    """Returns one execution with its input, progress and pace. The ETag does not cover the pace."""
    return execution_of(request.reading(), execution_id)


@operation(
    "POST",
    "/v1/executions/<execution_id>/cancel",
    Answer(200, "Execution", headers=["Retry-After"]),
    headers=["Idempotency-Key"],
    problems=[NotFound, Conflict, IdempotencyKeyReused, OutcomeUnknown],
)
def cancel_execution(request: Request, execution_id: UUID) -> Response[str]:
    """Cancels an execution: no further prompt is painted. Running calls of the image model finish,
    and their images are kept. A second cancel changes nothing. After the end the answer is 409."""
    with request.writing() as tx:
        if claim_id(tx, request, execution_id)[1]:
            executions.cancel_execution(tx, execution_id)
        return json_answer(execution_of(tx, execution_id).body, 200, POLLING)


@operation(
    "POST",
    "/v1/executions/<execution_id>/retry",
    ACCEPTED,
    headers=["Idempotency-Key"],
    problems=[BudgetExceeded, NotFound, Conflict, IdempotencyKeyReused, OutcomeUnknown],
    body_required=False,
)
def retry_execution(request: Request, execution_id: UUID, body: "ExecutionRetry") -> Response[str]:
    """Starts an ended execution again. Only failed images are painted, with new prompts where
    `edits` has some. They must pass the checks of a submission: active workflow, active client, and
    the budget at today's price."""
    from masstock_api import retries

    return _accepted(execution_id, retries.retry(request, execution_id, body))


@operation(
    "POST",
    "/v1/executions/<execution_id>/clone",
    Answer(200, "Estimate"),
    ACCEPTED,
    query={"dry_run": a_flag},
    headers=["Idempotency-Key"],
    problems=[
        BudgetExceeded,
        IdempotencyKeyReused,
        NotFound,
        OutcomeUnknown,
        StorageUnavailable,
    ],
    body_required=False,
)
def clone_execution(request: Request, execution_id: UUID, body: "ExecutionClone") -> Response[str]:
    """Submits prompts of an execution again, as a new execution, with changes. Its API key and its
    reference images are used again. `dry_run` is that of a submission."""
    from masstock_api import clones

    return _submitted(request, lambda tx: clones.order_of(tx, execution_id, body))


@operation(
    "POST",
    "/v1/executions/<execution_id>/resume",
    ACCEPTED,
    headers=["Idempotency-Key"],
    problems=[NotFound, Conflict, IdempotencyKeyReused, OutcomeUnknown],
)
def resume_execution(request: Request, execution_id: UUID) -> Response[str]:
    """Lets an execution go on that paused after its canary. If it is not paused, the answer is
    409."""
    from masstock_api import submissions

    run = None
    with request.writing() as tx:
        if claim_id(tx, request, execution_id)[1]:
            run = canaries.resume_execution(tx, execution_id)
        answer = execution_of(tx, execution_id).body
    if run is not None:
        submissions.start(run)
    return _accepted(execution_id, answer)


@removes("/v1/executions/<execution_id>", Conflict)
def delete_execution(request: Request, execution_id: UUID) -> None:
    """Deletes an ended execution, its results and its images."""
    with request.writing() as tx:
        execution = execution_of(tx, execution_id, for_update=True)
        request.check_version(execution.version)
        if not executions.delete_execution(tx, execution_id):
            raise Conflict("The execution has not ended; cancel it first.")
    try:
        Results(session.settings().results_bucket).remove_all(execution_id)
    except StorageUnavailable:
        # A trigger has recorded the deletion, so the sweep removes the images later.
        logger.warning("the sweep will remove the images", exc_info=True)


@operation(
    "GET",
    "/v1/executions/<execution_id>/results",
    Answer(200, "Page[BatchResult]", headers=["ETag", "Retry-After"]),
    Answer(304, headers=["ETag", "Retry-After"]),
    query={
        "status": one_of("processing", "completed", "failed"),
        "from_index": between(0, PROMPTS_LIMIT - 1),
        **PAGE_PARAMETERS,
    },
    headers=["If-None-Match"],
    problems=[InvalidCursor, NotFound],
    compress=True,
)
def list_results(request: Request, execution_id: UUID) -> Response[str]:
    """Lists the results of an execution in the order of the prompts, also while it runs.
    `from_index` jumps to a `batch_index`."""
    key, list_name = session.signing_key(), f"results/{execution_id}"
    after = (request.query["from_index"] or 0) - 1
    if request.query["cursor"] is not None:
        after = max(after, int(decode_cursor(request.query["cursor"], list_name, key)[0]))
    rows = batch_results.list_results(
        request.reading(),
        execution_id,
        after=after,
        limit=request.query["limit"] or DEFAULT_LIMIT,
        status=request.query["status"],
        retryable_codes=retryable_codes(),
        max_bytes=MAX_PAGE_BYTES,
    )
    if not rows:
        raise NotFound
    results = [
        with_urls({name: row[name] for name in row if name != "more_follow"})
        for row in rows
        if row["id"] is not None
    ]
    next_cursor = None
    if rows[0]["more_follow"]:
        next_cursor = encode_cursor([results[-1]["batch_index"]], list_name, key)
    body = as_json({"items": results, "next_cursor": next_cursor})
    # Two environments sign different URLs. So the ETag is a hash of the rows and the period.
    version = as_json([rows, next_cursor, period()])
    return cacheable_answer(Versioned(body, version), request.header("if-none-match"), POLLING)


PLACE = {"batch_index": between(0, PROMPTS_LIMIT - 1)}
REDIRECT = {"redirect": a_flag_that_is(True)}


@operation(
    "GET",
    "/v1/executions/<execution_id>/results/<batch_index>/image",
    Answer(200, "ImageUrl"),
    Answer(302, headers=["Location"]),
    query=REDIRECT,
    path_parameters=PLACE,
    problems=[Expired, NotFound, NotReady],
)
def get_image(request: Request, execution_id: UUID, batch_index: int) -> Response[str]:
    """Redirects to the image. Its URL needs no token. With `redirect=false` the answer names the
    URL instead."""
    return _answer(request, url_of_image(_painted(request, execution_id, batch_index)))


@operation(
    "GET",
    "/v1/executions/<execution_id>/results/<batch_index>/thumbnail",
    Answer(200, "ImageUrl"),
    Answer(302, headers=["Location"]),
    query=REDIRECT,
    path_parameters=PLACE,
    problems=[Expired, NotFound, NotReady],
)
def get_thumbnail(request: Request, execution_id: UUID, batch_index: int) -> Response[str]:
    """Redirects to the image's thumbnail: WebP, at most 512 pixels wide and high. Its URL needs no
    token. Images of earlier releases have none."""
    row = _painted(request, execution_id, batch_index)
    if not row["has_thumbnail"]:
        raise NotFound("The image has no thumbnail.")
    return _answer(request, url_of_thumbnail(execution_id, batch_index, row["thumbnail_path"]))


def _painted(request: Request, execution_id: UUID, batch_index: int) -> Row:
    """The place of a finished image. Raises NotFound, NotReady or Expired."""
    row = batch_results.fetch_image_place(request.reading(), execution_id, batch_index)
    if row["status"] == "processing":
        raise NotReady
    if row["expired_at"] is not None:
        raise Expired
    if row["result_storage_path"] is None:
        raise NotFound(f"There is no image: {row['error_message']}")
    return row


def _answer(request: Request, url: str) -> Response[str]:
    if request.query["redirect"] is False:
        return page_answer(as_json({"url": url, "expires_at": expires_at()}))
    return Response(302, None, None, {"Location": url, "Cache-Control": "private, no-store"})
