"""The routes that no row calls: declared, not implemented.

A cold start of our api loads the whole API. So the peer registers the same routes with the same
schemas, and each of these answers 501.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from fastapi import APIRouter, HTTPException

from fastapi_app.identity import Transaction
from fastapi_app.pages import PageOf
from masstock.schemas import archives, people, reports
from masstock.schemas import requests as body
from masstock.schemas import responses as answer

router = APIRouter(prefix="/v1")

LISTS: list[tuple[str, Any]] = [
    ("/users", people.User),
    ("/clients", people.ClientOrganization),
    ("/workflows", answer.Workflow),
    ("/workflow-requests", answer.WorkflowRequest),
    ("/support-tickets", answer.SupportTicket),
    ("/lanes", answer.Lane),
    ("/results", answer.BatchResult),
]
# Method, path, schema of the answer.
WITHOUT_BODY: list[tuple[str, str, Any]] = [
    ("GET", "/me", people.Profile),
    ("GET", "/users/{id}", people.User),
    ("DELETE", "/users/{id}", None),
    ("GET", "/clients/{id}", people.ClientOrganization),
    ("DELETE", "/clients/{id}", None),
    ("GET", "/clients/{id}/webhook-secret", people.WebhookSecret),
    ("GET", "/workflows/{id}", answer.Workflow),
    ("DELETE", "/workflows/{id}", None),
    ("GET", "/workflow-requests/{id}", answer.WorkflowRequest),
    ("DELETE", "/workflow-requests/{id}", None),
    ("GET", "/support-tickets/{id}", answer.SupportTicket),
    ("DELETE", "/support-tickets/{id}", None),
    ("GET", "/executions/{id}", answer.Execution),
    ("DELETE", "/executions/{id}", None),
    ("POST", "/executions/{id}/cancel", answer.Execution),
    ("GET", "/executions/{id}/results", answer.Page[answer.BatchResult]),
    ("POST", "/executions/{id}/resume", answer.Execution),
    ("GET", "/executions/{id}/results/0/image", answer.ImageUrl),
    ("GET", "/executions/{id}/results/0/thumbnail", answer.ImageUrl),
    ("GET", "/executions/{id}/archive", archives.Archive),
    ("GET", "/models", answer.Report[answer.ImageModel]),
    ("GET", "/lanes/{id}", answer.Lane),
    ("GET", "/usage", reports.Usage),
    ("GET", "/analytics/clients", answer.Report[reports.ClientUsage]),
    ("GET", "/analytics/workflows", answer.Report[reports.WorkflowUsage]),
]
# Method, path, schema of the body, schema of the answer.
WITH_BODY: list[tuple[str, str, Any, Any]] = [
    ("POST", "/users", body.UserCreate, people.User),
    ("PATCH", "/users/{id}", body.UserUpdate, people.User),
    ("POST", "/clients", body.ClientCreate, people.ClientOrganization),
    ("PATCH", "/clients/{id}", body.ClientUpdate, people.ClientOrganization),
    ("POST", "/workflows", body.WorkflowCreate, answer.Workflow),
    ("PATCH", "/workflows/{id}", body.WorkflowUpdate, answer.Workflow),
    ("POST", "/workflow-requests", body.WorkflowRequestCreate, answer.WorkflowRequest),
    ("PATCH", "/workflow-requests/{id}", body.WorkflowRequestUpdate, answer.WorkflowRequest),
    ("POST", "/support-tickets", body.SupportTicketCreate, answer.SupportTicket),
    ("PATCH", "/support-tickets/{id}", body.SupportTicketUpdate, answer.SupportTicket),
    ("POST", "/executions", body.ExecutionCreate, answer.Execution),
    ("POST", "/executions/{id}/retry", body.ExecutionRetry, answer.Execution),
    ("POST", "/executions/{id}/clone", body.ExecutionClone, answer.Execution),
    ("POST", "/executions/{id}/archive", body.ArchiveCreate, archives.Archive),
    ("PATCH", "/lanes/{id}", body.LaneUpdate, answer.Lane),
    ("POST", "/clients/{id}/webhook-secret", body.WebhookSecretAdvance, people.WebhookSecret),
    ("POST", "/uploads", body.UploadCreate, answer.Upload),
]


def declare(method: str, path: str, schema: Any, function: Callable[..., Any]) -> None:
    """Adds a route as its decorator would."""
    router.add_api_route(path, function, methods=[method], response_model=schema)


def with_body(schema: Any) -> Callable[..., Any]:
    """A function that takes this body."""

    async def function(tx: Transaction, content: schema, id: UUID | None = None) -> Any:
        raise HTTPException(501)

    return function


async def one(tx: Transaction, id: UUID | None = None) -> Any:
    """A route about one resource."""
    raise HTTPException(501)


async def page(
    tx: Transaction,
    paging: PageOf,
    status: str | None = None,
    client_id: UUID | None = None,
    q: str | None = None,
) -> Any:
    """A route that lists resources."""
    raise HTTPException(501)


for path, item in LISTS:
    declare("GET", path, answer.Page[item], page)
for method, path, schema in WITHOUT_BODY:
    declare(method, path, schema, one)
for method, path, content, schema in WITH_BODY:
    declare(method, path, schema, with_body(content))
