"""What every operation takes and answers, by the name of its route's function. Paths, methods and
texts come from the routes, fields from the models, statuses of errors from `problems`; what is
said here is what only the route knows. A test holds this table and the routes together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from masstock.errors import (
    AppError,
    BudgetExceeded,
    Conflict,
    Forbidden,
    IdempotencyKeyReused,
    InvalidCursor,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    StorageUnavailable,
)
from masstock.schemas import requests, responses
from masstock.schemas.responses import ACME, EXECUTION, JOHN, WORKFLOW, Page, Report
from masstock_api.request import PERIOD, Parameter
from masstock_api.routes import (
    clients,
    executions,
    support_tickets,
    users,
    workflow_requests,
    workflows,
)

NO_PARAMETERS: Mapping[str, Parameter] = {}


@dataclass(frozen=True)
class Answer:
    """A success: its body's model, or its media type where it is no JSON, and its headers."""

    status: int
    model: type[responses.Resource] | None = None
    media_type: str | None = None
    headers: Sequence[str] = ()


@dataclass(frozen=True)
class Operation:
    """`problems` come on top of those that follow from the rest (see tools.openapi)."""

    answers: Sequence[Answer]
    problems: Sequence[type[AppError]] = ()
    query: Mapping[str, Parameter] = field(default_factory=lambda: NO_PARAMETERS)
    path: Mapping[str, Parameter] = field(default_factory=lambda: NO_PARAMETERS)
    headers: Sequence[str] = ()
    body: type[requests.RequestBody] | None = None
    body_required: bool = True
    examples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Any])
    # Without a token, and without the database where `bare`.
    is_open: bool = False
    bare: bool = False


def _list(item: Any, query: Mapping[str, Parameter], *problems: type[AppError]) -> Operation:
    page = Page[item]
    return Operation([Answer(200, page)], [InvalidCursor, *problems], query)


def _read(model: type[responses.Resource], *problems: type[AppError]) -> Operation:
    return Operation(
        [Answer(200, model, headers=["ETag"]), Answer(304, headers=["ETag"])],
        [NotFound, *problems],
        headers=["If-None-Match"],
    )


def _create(
    model: type[responses.Resource],
    body: type[requests.RequestBody],
    examples: Mapping[str, Mapping[str, Any]],
    *problems: type[AppError],
) -> Operation:
    return Operation(
        [Answer(201, model, headers=["Location", "ETag"])],
        [IdempotencyKeyReused, Forbidden, OutcomeUnknown, *problems],
        headers=["Idempotency-Key"],
        body=body,
        examples=examples,
    )


def _change(
    model: type[responses.Resource],
    body: type[requests.RequestBody],
    examples: Mapping[str, Mapping[str, Any]],
    *problems: type[AppError],
) -> Operation:
    return Operation(
        [Answer(200, model, headers=["ETag"])],
        [NotFound, Forbidden, PreconditionFailed, OutcomeUnknown, *problems],
        headers=["If-Match"],
        body=body,
        examples=examples,
    )


def _remove(*problems: type[AppError]) -> Operation:
    return Operation(
        [Answer(204)],
        [NotFound, Forbidden, PreconditionFailed, OutcomeUnknown, *problems],
        headers=["If-Match"],
    )


ACCEPTED = Answer(202, responses.Execution, headers=["Location", "Retry-After"])

OPERATIONS: Mapping[str, Operation] = {
    "get_me": Operation([Answer(200, responses.Profile)]),
    # --- users
    "list_users": _list(responses.User, users.LIST_PARAMETERS, Forbidden),
    "create_user": _create(
        responses.User,
        requests.UserCreate,
        {
            "client user": {
                "email": "mary@client.com",
                "name": "Mary Major",
                "role": "client",
                "client_id": ACME,
            },
            "administrator": {
                "email": "bob@masstock.example",
                "name": "Bob Boss",
                "role": "admin",
            },
        },
        Conflict,
    ),
    "get_user": _read(responses.User, Forbidden),
    "update_user": _change(
        responses.User, requests.UserUpdate, {"suspend": {"status": "suspended"}}, Conflict
    ),
    "delete_user": _remove(Conflict),
    # --- clients
    "list_clients": _list(responses.Client, clients.LIST_PARAMETERS),
    "create_client": _create(
        responses.Client,
        requests.ClientCreate,
        {"client": {"name": "Acme Corporation", "email": "contact@acme.com"}},
    ),
    "get_client": _read(responses.Client),
    "update_client": _change(
        responses.Client, requests.ClientUpdate, {"suspend": {"status": "suspended"}}
    ),
    "delete_client": _remove(),
    "get_webhook_secret": Operation([Answer(200, responses.WebhookSecret)], [NotFound]),
    "advance_webhook_secret": Operation(
        [Answer(200, responses.WebhookSecret)],
        [NotFound, Forbidden, OutcomeUnknown],
        body=requests.EmptyBody,
        body_required=False,
        examples={"nothing": {}},
    ),
    # --- workflows
    "list_workflows": _list(responses.Workflow, workflows.LIST_PARAMETERS),
    "create_workflow": _create(
        responses.Workflow,
        requests.WorkflowCreate,
        {
            "nano banana": {
                "name": "Nano Banana - Image Generation",
                "description": "Generate AI images using Gemini 2.5 Flash",
                "config": {
                    "workflow_type": "nano_banana",
                    "model": "gemini-2.5-flash-image",
                    "requires_api_key": True,
                },
            }
        },
    ),
    "get_workflow": _read(responses.Workflow),
    "update_workflow": _change(
        responses.Workflow, requests.WorkflowUpdate, {"retire": {"status": "inactive"}}
    ),
    "delete_workflow": _remove(),
    # --- workflow requests
    "list_requests": _list(responses.WorkflowRequest, workflow_requests.LIST_PARAMETERS),
    "create_request": _create(
        responses.WorkflowRequest,
        requests.WorkflowRequestCreate,
        {
            "request": {
                "workflow_id": WORKFLOW,
                "notes": "Need 50 product images for Q2 campaign",
            }
        },
        NotFound,
    ),
    "get_request": _read(responses.WorkflowRequest),
    "update_request": _change(
        responses.WorkflowRequest,
        requests.WorkflowRequestUpdate,
        {"approve": {"status": "approved"}, "edit": {"notes": "Need 60 product images"}},
        Conflict,
    ),
    "delete_request": _remove(Conflict),
    # --- executions
    "create_execution": Operation(
        [Answer(200, responses.Estimate), ACCEPTED],
        [
            BudgetExceeded,
            IdempotencyKeyReused,
            Forbidden,
            NotFound,
            OutcomeUnknown,
            StorageUnavailable,
        ],
        executions.SUBMIT_PARAMETERS,
        headers=["Idempotency-Key"],
        body=requests.ExecutionCreate,
        examples={
            "two prompts": {
                "workflow_id": WORKFLOW,
                "prompts": ["a cat wearing sunglasses", "a dog in a spaceship"],
                "api_key": "the-image-models-key",
            }
        },
    ),
    "list_executions": _list(responses.ExecutionSummary, executions.LIST_PARAMETERS),
    "get_execution": Operation(
        [
            Answer(200, responses.Execution, headers=["ETag", "Retry-After"]),
            Answer(304, headers=["ETag", "Retry-After"]),
        ],
        [NotFound],
        headers=["If-None-Match"],
    ),
    "cancel_execution": Operation(
        [Answer(200, responses.Execution, headers=["Retry-After"])],
        [NotFound, Conflict, OutcomeUnknown],
        body=requests.EmptyBody,
        body_required=False,
        examples={"nothing": {}},
    ),
    "retry_execution": Operation(
        [ACCEPTED],
        [BudgetExceeded, NotFound, Conflict, OutcomeUnknown],
        body=requests.ExecutionRetry,
        body_required=False,
        examples={"all": {}, "retryable ones": {"only_retryable": True}},
    ),
    "delete_execution": _remove(Conflict),
    "list_results": Operation(
        [
            Answer(200, Page[responses.BatchResult], headers=["ETag", "Retry-After"]),
            Answer(304, headers=["ETag", "Retry-After"]),
        ],
        [InvalidCursor, NotFound],
        executions.RESULT_PARAMETERS,
        headers=["If-None-Match"],
    ),
    "get_image": Operation(
        [Answer(302, headers=["Location"])],
        [NotFound],
        path={"batch_index": executions.BATCH_INDEX},
    ),
    # --- support tickets
    "list_tickets": _list(responses.SupportTicket, support_tickets.LIST_PARAMETERS),
    "create_ticket": _create(
        responses.SupportTicket,
        requests.SupportTicketCreate,
        {
            "ticket": {
                "subject": "Unable to upload reference images",
                "description": "When I try to upload images > 5MB, I get an error...",
                "priority": "high",
            }
        },
        NotFound,
    ),
    "get_ticket": _read(responses.SupportTicket),
    "update_ticket": _change(
        responses.SupportTicket,
        requests.SupportTicketUpdate,
        {"more urgent": {"priority": "urgent"}, "answer": {"status": "in_progress"}},
        Conflict,
    ),
    "delete_ticket": _remove(),
    # --- uploads and reports
    "create_upload": Operation(
        [Answer(201, responses.Upload, headers=["Location"])],
        [Forbidden, OutcomeUnknown],
        body=requests.UploadCreate,
        examples={"image": {"content_type": "image/png"}, "prompts": {"kind": "prompts"}},
    ),
    "report_clients": Operation([Answer(200, Report[responses.ClientUsage])], [Forbidden], PERIOD),
    "report_workflows": Operation(
        [Answer(200, Report[responses.WorkflowUsage])], [Forbidden], PERIOD
    ),
    # --- without a token
    "get_health": Operation([Answer(200, responses.Health)], is_open=True),
    "get_openapi": Operation(
        [
            Answer(200, media_type="application/json", headers=["ETag"]),
            Answer(304, headers=["ETag"]),
        ],
        headers=["If-None-Match"],
        is_open=True,
        bare=True,
    ),
    "get_docs": Operation([Answer(200, media_type="text/html")], is_open=True, bare=True),
    "get_docs_asset": Operation(
        [Answer(200, media_type="text/css"), Answer(200, media_type="text/javascript")],
        [NotFound],
        path={"asset": Parameter(str, {"type": "string", "example": "start.js"})},
        is_open=True,
        bare=True,
    ),
}

# Values that paths in the examples name.
EXAMPLE_IDS = {
    "user_id": JOHN,
    "client_id": ACME,
    "workflow_id": WORKFLOW,
    "request_id": responses.REQUEST,
    "execution_id": EXECUTION,
    "ticket_id": responses.TICKET,
    "batch_index": 0,
}
