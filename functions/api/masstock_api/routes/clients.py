"""Client organizations."""

from uuid import UUID

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from masstock.database.connection import Row
from masstock.database.queries import clients
from masstock.errors import FieldError, NotFound, ValidationFailed
from masstock.services.secret_store import read_secret
from masstock_api import session
from masstock_api.pages import PAGE_PARAMETERS, page_of_rows, page_start
from masstock_api.request import (
    PERIOD,
    a_text,
    one_of,
    path_uuid,
    read_body,
    read_no_body,
    read_query,
)
from masstock_api.responses import as_json, cacheable_answer, created, page_answer
from masstock_api.writes import check_precondition, create_once

router = APIGatewayHttpRouter()

LIST_PARAMETERS = {
    "status": one_of("active", "suspended", "deleted"),
    "q": a_text,
    **PERIOD,
    **PAGE_PARAMETERS,
}


@router.get("/clients")
def list_clients() -> Response[str]:
    """Newest first. A client user's list has the one own client."""
    query = read_query(router.current_event, LIST_PARAMETERS)
    key = session.signing_key()
    limit, before = page_start(query, "clients", key)
    rows = clients.list_clients(
        session.reading(router.current_event),
        limit=limit + 1,
        before=before,
        status=query["status"],
        q=query["q"],
        created_from=query["from"],
        created_to=query["to"],
    )
    return page_answer(page_of_rows(rows, limit, "clients", key))


@router.post("/clients", middlewares=[session.admins_first])
def create_client() -> Response[str]:
    """201 with the client."""
    from masstock.schemas.requests import ClientCreate

    event = router.current_event
    read_query(event, {})
    body = read_body(event, ClientCreate)
    with session.writing(event) as tx:
        session.require_admin(tx.caller)
        _check_callable(body.webhook_url)
        client_id, _ = create_once(
            tx,
            event,
            lambda new_id: clients.insert_client(
                tx,
                client_id=new_id,
                name=body.name,
                email=body.email,
                monthly_budget_microusd=body.monthly_budget_microusd,
                webhook_url=body.webhook_url,
            ),
        )
        answer = clients.fetch_client(tx, client_id)
    return created(answer, f"/v1/clients/{client_id}")


@router.get("/clients/<client_id>")
def get_client(client_id: str) -> Response[str]:
    """One client."""
    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(client_id, "client_id")
    answer = clients.fetch_client(session.reading(event), wanted)
    return cacheable_answer(answer, event.headers.get("if-none-match"))


@router.patch("/clients/<client_id>", middlewares=[session.admins_first])  # pyright: ignore[reportUnknownMemberType]
def update_client(client_id: str) -> Response[str]:
    """200 with the changed client. Suspending it locks its users out from the next request on."""
    from masstock.schemas.requests import ClientUpdate

    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(client_id, "client_id")
    changes = read_body(event, ClientUpdate).changes()
    with session.writing(event) as tx:
        clients.fetch_client(tx, wanted)
        session.require_admin(tx.caller)
        _check_callable(changes.get("webhook_url"))
        check_precondition(event, clients.fetch_client(tx, wanted, for_update=True))
        if changes:
            clients.update_client(tx, wanted, changes)
        answer = clients.fetch_client(tx, wanted)
    return cacheable_answer(answer, None)


@router.delete("/clients/<client_id>", middlewares=[session.admins_first])
def delete_client(client_id: str) -> Response[str]:
    """204; the client stays, with status deleted."""
    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(client_id, "client_id")
    with session.writing(event) as tx:
        clients.fetch_client(tx, wanted)
        session.require_admin(tx.caller)
        check_precondition(event, clients.fetch_client(tx, wanted, for_update=True))
        clients.update_client(tx, wanted, {"status": "deleted"})
    return Response(204)


@router.get("/clients/<client_id>/webhook-secret")
def get_webhook_secret(client_id: str) -> Response[str]:
    """The secret that the client's webhooks are signed with, for a Standard Webhooks library."""
    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(client_id, "client_id")
    return _secret_answer(clients.fetch_active_client(session.reading(event), wanted), wanted)


@router.post("/clients/<client_id>/webhook-secret", middlewares=[session.admins_first])
def advance_webhook_secret(client_id: str) -> Response[str]:
    """200 with the next secret. Executions submitted before go on with the one they began with."""
    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(client_id, "client_id")
    read_no_body(event)
    with session.writing(event) as tx:
        clients.fetch_client(tx, wanted)
        session.require_admin(tx.caller)
        clients.advance_webhook_secret(tx, wanted)
        answer = clients.fetch_active_client(tx, wanted)
    return _secret_answer(answer, wanted)


def _secret_answer(client: Row | None, client_id: UUID) -> Response[str]:
    from masstock.services.webhooks import client_secret

    if client is None:
        raise NotFound
    version = client["webhook_secret_version"]
    master = read_secret(session.settings().webhook_secret_id)
    secret = client_secret(master, client_id, version)
    return page_answer(as_json({"client_id": client_id, "version": version, "secret": secret}))


def _check_callable(webhook_url: str | None) -> None:
    """Raises ValidationFailed for an address that we would not call. For administrators only: it
    looks names up."""
    from masstock.services.webhooks import WebhookRefused, check_url

    if webhook_url is not None:
        try:
            check_url(webhook_url, allow_private=session.settings().allow_private_webhooks)
        except WebhookRefused as error:
            raise ValidationFailed([FieldError("/webhook_url", str(error))]) from error
