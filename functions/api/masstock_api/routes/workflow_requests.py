"""Requests of clients for workflows."""

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from masstock.database.queries import workflow_requests, workflows
from masstock.errors import Conflict, FieldError, Forbidden, ValidationFailed
from masstock_api import session
from masstock_api.pages import PAGE_PARAMETERS, page_of_rows, page_start
from masstock_api.request import PERIOD, a_uuid, one_of, path_uuid, read_body, read_query
from masstock_api.responses import cacheable_answer, created, page_answer
from masstock_api.writes import active_client, check_precondition, client_named_by, create_once

router = APIGatewayHttpRouter()

LIST_PARAMETERS = {
    "status": one_of("pending", "approved", "rejected"),
    "workflow_id": a_uuid,
    "client_id": a_uuid,
    **PERIOD,
    **PAGE_PARAMETERS,
}


@router.get("/workflow-requests")
def list_requests() -> Response[str]:
    """Newest first."""
    query = read_query(router.current_event, LIST_PARAMETERS)
    key = session.signing_key()
    limit, before = page_start(query, "workflow-requests", key)
    rows = workflow_requests.list_requests(
        session.reading(router.current_event),
        limit=limit + 1,
        before=before,
        status=query["status"],
        workflow_id=query["workflow_id"],
        client_id=query["client_id"],
        created_from=query["from"],
        created_to=query["to"],
    )
    return page_answer(page_of_rows(rows, limit, "workflow-requests", key))


@router.post("/workflow-requests")
def create_request() -> Response[str]:
    """201 with the pending request."""
    from masstock.schemas.requests import WorkflowRequestCreate

    event = router.current_event
    read_query(event, {})
    body = read_body(event, WorkflowRequestCreate)
    with session.writing(event) as tx:
        client_id = client_named_by(tx.caller, body.client_id)
        # Through the policies first: a foreign key would tell that a hidden row exists.
        if workflows.fetch_active_config(tx, body.workflow_id) is None:
            raise ValidationFailed([FieldError("/workflow_id", "There is no such workflow.")])
        active_client(tx, client_id)
        request_id, _ = create_once(
            tx,
            event,
            lambda new_id: workflow_requests.insert_request(
                tx,
                request_id=new_id,
                client_id=client_id,
                workflow_id=body.workflow_id,
                notes=body.notes,
            ),
        )
        answer = workflow_requests.fetch_request(tx, request_id)
    return created(answer, f"/v1/workflow-requests/{request_id}")


@router.get("/workflow-requests/<request_id>")
def get_request(request_id: str) -> Response[str]:
    """One request."""
    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(request_id, "request_id")
    answer = workflow_requests.fetch_request(session.reading(event), wanted)
    return cacheable_answer(answer, event.headers.get("if-none-match"))


@router.patch("/workflow-requests/<request_id>")  # pyright: ignore[reportUnknownMemberType]
def update_request(request_id: str) -> Response[str]:
    """200 with the changed request."""
    from masstock.schemas.requests import WorkflowRequestUpdate

    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(request_id, "request_id")
    changes = read_body(event, WorkflowRequestUpdate).changes()
    with session.writing(event) as tx:
        check_precondition(event, workflow_requests.fetch_request(tx, wanted))
        if tx.caller.is_admin:
            workflow_requests.update_request(tx, wanted, changes)
        elif "status" in changes:
            raise Forbidden("Only administrators may change the status.")
        elif changes and not workflow_requests.update_notes(tx, wanted, changes["notes"]):
            raise Conflict("The request is no longer pending.")
        answer = workflow_requests.fetch_request(tx, wanted)
    return cacheable_answer(answer, None)


@router.delete("/workflow-requests/<request_id>")
def delete_request(request_id: str) -> Response[str]:
    """204; a client's request only while it is pending."""
    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(request_id, "request_id")
    with session.writing(event) as tx:
        check_precondition(event, workflow_requests.fetch_request(tx, wanted))
        if not workflow_requests.delete_request(tx, wanted):
            raise Conflict("The request is no longer pending.")
    return Response(204)
