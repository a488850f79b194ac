"""Client organizations."""

from typing import TYPE_CHECKING
from uuid import UUID

from aws_lambda_powertools.event_handler import Response

from masstock.database.connection import Row
from masstock.database.queries import clients
from masstock.errors import (
    FieldError,
    Forbidden,
    IdempotencyKeyReused,
    NotFound,
    OutcomeUnknown,
    ValidationFailed,
)
from masstock.services.secret_store import read_secret
from masstock_api import session
from masstock_api.operation import Answer, changes, creates, lists, operation, reads, removes
from masstock_api.pages import Page
from masstock_api.parameters import a_text, one_of
from masstock_api.request import Request
from masstock_api.responses import as_json, page_answer
from masstock_api.writes import claim_id

if TYPE_CHECKING:
    from masstock.schemas.requests import ClientCreate, ClientUpdate, WebhookSecretAdvance

FILTERS = {"status": one_of("active", "suspended", "deleted"), "q": a_text}


@lists("/v1/clients", "ClientOrganization", FILTERS)
def list_clients(request: Request, page: Page) -> list[str]:
    """Lists clients, newest first. A client user gets only their own client."""
    return clients.list_clients(request.reading(), page)


@creates("/v1/clients", "ClientOrganization", admins=True)
def create_client(request: Request, body: "ClientCreate") -> tuple[UUID, str]:
    """Creates a client."""
    with request.writing() as tx:
        client_id, is_new = claim_id(tx, request)
        if is_new:
            _check_callable(body.webhook_url)
            clients.insert_client(tx, id=client_id, **body.model_dump())
        return client_id, clients.fetch_client(tx, client_id)


@reads("/v1/clients/<client_id>", "ClientOrganization")
def get_client(request: Request, client_id: UUID) -> str:
    """Returns one client."""
    return clients.fetch_client(request.reading(), client_id)


@changes("/v1/clients/<client_id>", "ClientOrganization", admins=True, row=clients.fetch_client)
def update_client(request: Request, client_id: UUID, body: "ClientUpdate") -> str:
    """Changes a client. After a suspension, the API refuses all requests of the client's users."""
    changed = body.changes()
    with request.writing() as tx:
        request.check_version(clients.fetch_client(tx, client_id, for_update=True))
        _check_callable(changed.get("webhook_url"))
        if changed:
            clients.update_client(tx, client_id, changed)
        return clients.fetch_client(tx, client_id)


@removes("/v1/clients/<client_id>", admins=True, row=clients.fetch_client)
def delete_client(request: Request, client_id: UUID) -> None:
    """Sets the client's status to `deleted`. Lists still contain the client."""
    with request.writing() as tx:
        request.check_version(clients.fetch_client(tx, client_id, for_update=True))
        clients.update_client(tx, client_id, {"status": "deleted"})


@operation(
    "GET",
    "/v1/clients/<client_id>/webhook-secret",
    Answer(200, "WebhookSecret"),
    problems=[NotFound],
)
def get_webhook_secret(request: Request, client_id: UUID) -> Response[str]:
    """Returns the secret that signs the client's webhooks."""
    return _secret(clients.fetch_active_client(request.reading(), client_id), client_id)


@operation(
    "POST",
    "/v1/clients/<client_id>/webhook-secret",
    Answer(200, "WebhookSecret"),
    headers=["Idempotency-Key"],
    problems=[NotFound, Forbidden, IdempotencyKeyReused, OutcomeUnknown],
    body_required=False,
    admins=True,
    row=clients.fetch_client,
)
def advance_webhook_secret(
    request: Request, client_id: UUID, body: "WebhookSecretAdvance"
) -> Response[str]:
    """Replaces the secret that signs the client's webhooks and returns the new secret. For 24 hours
    deliveries also carry the signature of the replaced one, unless it leaked."""
    with request.writing() as tx:
        if claim_id(tx, request, client_id)[1]:
            clients.advance_webhook_secret(tx, client_id, leaked=body.leaked)
        return _secret(clients.fetch_active_client(tx, client_id), client_id)


def _secret(client: Row | None, client_id: UUID) -> Response[str]:
    from masstock.services.webhooks import client_secret

    if client is None:
        raise NotFound
    version = client["webhook_secret_version"]
    master = read_secret(session.settings().webhook_secret_id)
    secret = client_secret(master, client_id, version)
    answer = {
        "client_id": client_id,
        "version": version,
        "secret": secret,
        "overlaps_until": client["overlaps_until"],
    }
    return page_answer(as_json(answer))


def _check_callable(webhook_url: str | None) -> None:
    """Raises ValidationFailed for an address that must not receive webhooks. Only for requests of
    administrators, because it makes DNS queries."""
    from masstock.services.webhooks import WebhookRefused, check_url

    if webhook_url is not None:
        try:
            check_url(webhook_url, allow_private=session.settings().allow_private_webhooks)
        except WebhookRefused as error:
            raise ValidationFailed([FieldError("/webhook_url", str(error))]) from error
