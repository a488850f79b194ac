"""Support tickets."""

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from masstock.database.queries import support_tickets
from masstock.errors import Conflict, Forbidden
from masstock_api import session
from masstock_api.pages import PAGE_PARAMETERS, page_of_rows, page_start
from masstock_api.request import PERIOD, a_uuid, one_of, path_uuid, read_body, read_query
from masstock_api.responses import cacheable_answer, created, page_answer
from masstock_api.writes import active_client, check_precondition, client_named_by, create_once

router = APIGatewayHttpRouter()

LIST_PARAMETERS = {
    "status": one_of("open", "in_progress", "resolved", "closed"),
    "priority": one_of("low", "medium", "high", "urgent"),
    "client_id": a_uuid,
    "user_id": a_uuid,
    **PERIOD,
    **PAGE_PARAMETERS,
}


@router.get("/support-tickets")
def list_tickets() -> Response[str]:
    """Newest first."""
    query = read_query(router.current_event, LIST_PARAMETERS)
    key = session.signing_key()
    limit, before = page_start(query, "support-tickets", key)
    rows = support_tickets.list_tickets(
        session.reading(router.current_event),
        limit=limit + 1,
        before=before,
        status=query["status"],
        priority=query["priority"],
        client_id=query["client_id"],
        user_id=query["user_id"],
        created_from=query["from"],
        created_to=query["to"],
    )
    return page_answer(page_of_rows(rows, limit, "support-tickets", key))


@router.post("/support-tickets")
def create_ticket() -> Response[str]:
    """201 with the open ticket."""
    from masstock.schemas.requests import SupportTicketCreate

    event = router.current_event
    read_query(event, {})
    body = read_body(event, SupportTicketCreate)
    with session.writing(event) as tx:
        client_id = client_named_by(tx.caller, body.client_id)
        active_client(tx, client_id)
        ticket_id, _ = create_once(
            tx,
            event,
            lambda new_id: support_tickets.insert_ticket(
                tx,
                ticket_id=new_id,
                client_id=client_id,
                user_id=tx.caller.user_id,
                subject=body.subject,
                description=body.description,
                priority=body.priority,
            ),
        )
        answer = support_tickets.fetch_ticket(tx, ticket_id)
    return created(answer, f"/v1/support-tickets/{ticket_id}")


@router.get("/support-tickets/<ticket_id>")
def get_ticket(ticket_id: str) -> Response[str]:
    """One ticket."""
    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(ticket_id, "ticket_id")
    answer = support_tickets.fetch_ticket(session.reading(event), wanted)
    return cacheable_answer(answer, event.headers.get("if-none-match"))


@router.patch("/support-tickets/<ticket_id>")  # pyright: ignore[reportUnknownMemberType]
def update_ticket(ticket_id: str) -> Response[str]:
    """200 with the changed ticket."""
    from masstock.schemas.requests import SupportTicketUpdate

    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(ticket_id, "ticket_id")
    changes = read_body(event, SupportTicketUpdate).changes()
    with session.writing(event) as tx:
        check_precondition(event, support_tickets.fetch_ticket(tx, wanted))
        if tx.caller.is_admin:
            support_tickets.update_ticket(tx, wanted, changes)
        elif "status" in changes:
            raise Forbidden("Only administrators may change the status.")
        elif changes and not support_tickets.update_text(tx, wanted, changes):
            raise Conflict("The ticket is no longer open.")
        answer = support_tickets.fetch_ticket(tx, wanted)
    return cacheable_answer(answer, None)


@router.delete("/support-tickets/<ticket_id>")
def delete_ticket(ticket_id: str) -> Response[str]:
    """204."""
    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(ticket_id, "ticket_id")
    with session.writing(event) as tx:
        check_precondition(event, support_tickets.fetch_ticket(tx, wanted))
        support_tickets.delete_ticket(tx, wanted)
    return Response(204)
