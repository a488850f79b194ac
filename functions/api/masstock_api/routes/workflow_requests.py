"""Clients' requests for workflows."""

from typing import TYPE_CHECKING
from uuid import UUID

from masstock.database.queries import workflow_requests, workflows
from masstock.errors import Conflict, FieldError, Forbidden, NotFound, ValidationFailed
from masstock_api.operation import changes, creates, lists, reads, removes
from masstock_api.pages import Page
from masstock_api.parameters import a_uuid, one_of
from masstock_api.request import Request
from masstock_api.writes import active_client, claim_id, client_named_by

if TYPE_CHECKING:
    from masstock.schemas.requests import WorkflowRequestCreate, WorkflowRequestUpdate

FILTERS = {
    "status": one_of("pending", "approved", "rejected"),
    "workflow_id": a_uuid,
    "client_id": a_uuid,
}


@lists("/v1/workflow-requests", "WorkflowRequest", FILTERS)
def list_requests(request: Request, page: Page) -> list[str]:
    """Lists workflow requests, newest first."""
    return workflow_requests.list_requests(request.reading(), page)


@creates("/v1/workflow-requests", "WorkflowRequest", NotFound)
def create_request(request: Request, body: "WorkflowRequestCreate") -> tuple[UUID, str]:
    """Requests a workflow for a client."""
    with request.writing() as tx:
        request_id, is_new = claim_id(tx, request)
        if is_new:
            client_id = client_named_by(tx.caller, body.client_id)
            # Without this query, a foreign key's error would show if a hidden workflow exists.
            if workflows.fetch_active_config(tx, body.workflow_id) is None:
                raise ValidationFailed([FieldError("/workflow_id", "There is no such workflow.")])
            active_client(tx, client_id)
            workflow_requests.insert_request(
                tx,
                id=request_id,
                client_id=client_id,
                **body.model_dump(exclude={"client_id"}),
            )
        return request_id, workflow_requests.fetch_request(tx, request_id)


@reads("/v1/workflow-requests/<request_id>", "WorkflowRequest")
def get_request(request: Request, request_id: UUID) -> str:
    """Returns one workflow request."""
    return workflow_requests.fetch_request(request.reading(), request_id)


@changes("/v1/workflow-requests/<request_id>", "WorkflowRequest", Conflict)
def update_request(request: Request, request_id: UUID, body: "WorkflowRequestUpdate") -> str:
    """Changes a workflow request. A client user can change the notes of a pending request."""
    changed = body.changes()
    with request.writing() as tx:
        request.check_version(workflow_requests.fetch_request(tx, request_id, for_update=True))
        if tx.caller.is_admin:
            workflow_requests.update_request(tx, request_id, changed)
        elif "status" in changed:
            raise Forbidden("Only administrators may change the status.")
        elif changed and not workflow_requests.update_notes(tx, request_id, changed["notes"]):
            raise Conflict("The request is no longer pending.")
        return workflow_requests.fetch_request(tx, request_id)


@removes("/v1/workflow-requests/<request_id>", Conflict)
def delete_request(request: Request, request_id: UUID) -> None:
    """Deletes a workflow request. A client user can delete only a pending request."""
    with request.writing() as tx:
        request.check_version(workflow_requests.fetch_request(tx, request_id, for_update=True))
        if not workflow_requests.delete_request(tx, request_id):
            raise Conflict("The request is no longer pending.")
