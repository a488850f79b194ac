"""Workflow definitions."""

from typing import TYPE_CHECKING
from uuid import UUID

from masstock.database.queries import workflows
from masstock_api.operation import changes, creates, lists, reads, removes
from masstock_api.pages import Page
from masstock_api.parameters import one_of
from masstock_api.request import Request
from masstock_api.writes import claim_id

if TYPE_CHECKING:
    from masstock.schemas.requests import WorkflowCreate, WorkflowUpdate


@lists("/v1/workflows", "Workflow", {"status": one_of("active", "inactive")})
def list_workflows(request: Request, page: Page) -> list[str]:
    """Lists workflows, newest first. A client user gets only active workflows."""
    return workflows.list_workflows(request.reading(), page)


@creates("/v1/workflows", "Workflow", admins=True)
def create_workflow(request: Request, body: "WorkflowCreate") -> tuple[UUID, str]:
    """Creates a workflow."""
    from masstock_api import setting_names

    with request.writing() as tx:
        workflow_id, is_new = claim_id(tx, request)
        if is_new:
            setting_names.refuse_misspelt(body.config)
            workflows.insert_workflow(
                tx,
                workflow_id=workflow_id,
                name=body.name,
                description=body.description,
                status=body.status,
                config=body.config.model_dump(mode="json", exclude_unset=True),
            )
        return workflow_id, workflows.fetch_workflow(tx, workflow_id)


@reads("/v1/workflows/<workflow_id>", "Workflow")
def get_workflow(request: Request, workflow_id: UUID) -> str:
    """Returns one workflow."""
    return workflows.fetch_workflow(request.reading(), workflow_id)


@changes("/v1/workflows/<workflow_id>", "Workflow", admins=True, row=workflows.fetch_workflow)
def update_workflow(request: Request, workflow_id: UUID, body: "WorkflowUpdate") -> str:
    """Changes a workflow. Executions keep the `config` of their submission."""
    from masstock_api import setting_names

    changed = body.changes()
    with request.writing() as tx:
        request.check_version(workflows.fetch_workflow(tx, workflow_id, for_update=True))
        if "config" in changed:
            setting_names.refuse_misspelt(body.config)
        if changed:
            workflows.update_workflow(tx, workflow_id, changed)
        return workflows.fetch_workflow(tx, workflow_id)


@removes("/v1/workflows/<workflow_id>", admins=True, row=workflows.fetch_workflow)
def delete_workflow(request: Request, workflow_id: UUID) -> None:
    """Sets the workflow's status to `inactive`. Administrators still see it."""
    with request.writing() as tx:
        request.check_version(workflows.fetch_workflow(tx, workflow_id, for_update=True))
        workflows.update_workflow(tx, workflow_id, {"status": "inactive"})
