"""Support tickets."""

from typing import TYPE_CHECKING
from uuid import UUID

from masstock.database.queries import support_tickets
from masstock.errors import Conflict, Forbidden, NotFound
from masstock_api.operation import changes, creates, lists, reads, removes
from masstock_api.pages import Page
from masstock_api.parameters import a_uuid, one_of
from masstock_api.request import Request
from masstock_api.writes import active_client, claim_id, client_named_by

if TYPE_CHECKING:
    from masstock.schemas.requests import SupportTicketCreate, SupportTicketUpdate

FILTERS = {
    "status": one_of("open", "in_progress", "resolved", "closed"),
    "priority": one_of("low", "medium", "high", "urgent"),
    "client_id": a_uuid,
    "user_id": a_uuid,
}


@lists("/v1/support-tickets", "SupportTicket", FILTERS)
def list_tickets(request: Request, page: Page) -> list[str]:
    """Lists tickets, newest first."""
    return support_tickets.list_tickets(request.reading(), page)


@creates("/v1/support-tickets", "SupportTicket", NotFound)
def create_ticket(request: Request, body: "SupportTicketCreate") -> tuple[UUID, str]:
    """Opens a ticket."""
    with request.writing() as tx:
        ticket_id, is_new = claim_id(tx, request)
        if is_new:
            client_id = client_named_by(tx.caller, body.client_id)
            active_client(tx, client_id)
            support_tickets.insert_ticket(
                tx,
                id=ticket_id,
                user_id=tx.caller.user_id,
                client_id=client_id,
                **body.model_dump(exclude={"client_id"}),
            )
        return ticket_id, support_tickets.fetch_ticket(tx, ticket_id)


@reads("/v1/support-tickets/<ticket_id>", "SupportTicket")
def get_ticket(request: Request, ticket_id: UUID) -> str:
    """Returns one ticket."""
    return support_tickets.fetch_ticket(request.reading(), ticket_id)


@changes("/v1/support-tickets/<ticket_id>", "SupportTicket", Conflict)
def update_ticket(request: Request, ticket_id: UUID, body: "SupportTicketUpdate") -> str:
    """Changes a ticket. A client user can change it only while it is open."""
    changed = body.changes()
    with request.writing() as tx:
        request.check_version(support_tickets.fetch_ticket(tx, ticket_id, for_update=True))
        if tx.caller.is_admin:
            support_tickets.update_ticket(tx, ticket_id, changed)
        elif "status" in changed:
            raise Forbidden("Only administrators may change the status.")
        elif changed and not support_tickets.update_text(tx, ticket_id, changed):
            raise Conflict("The ticket is no longer open.")
        return support_tickets.fetch_ticket(tx, ticket_id)


@removes("/v1/support-tickets/<ticket_id>")
def delete_ticket(request: Request, ticket_id: UUID) -> None:
    """Deletes a ticket."""
    with request.writing() as tx:
        request.check_version(support_tickets.fetch_ticket(tx, ticket_id, for_update=True))
        support_tickets.delete_ticket(tx, ticket_id)
