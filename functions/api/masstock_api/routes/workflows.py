"""Workflow definitions."""

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from masstock.database.queries import workflows
from masstock_api import session
from masstock_api.pages import PAGE_PARAMETERS, page_of_rows, page_start
from masstock_api.request import PERIOD, one_of, path_uuid, read_body, read_query
from masstock_api.responses import cacheable_answer, created, page_answer
from masstock_api.writes import check_precondition, create_once

router = APIGatewayHttpRouter()

LIST_PARAMETERS = {"status": one_of("active", "inactive"), **PERIOD, **PAGE_PARAMETERS}


@router.get("/workflows")
def list_workflows() -> Response[str]:
    """Newest first. Client users see the active ones."""
    query = read_query(router.current_event, LIST_PARAMETERS)
    key = session.signing_key()
    limit, before = page_start(query, "workflows", key)
    rows = workflows.list_workflows(
        session.reading(router.current_event),
        limit=limit + 1,
        before=before,
        status=query["status"],
        created_from=query["from"],
        created_to=query["to"],
    )
    return page_answer(page_of_rows(rows, limit, "workflows", key))


@router.post("/workflows", middlewares=[session.admins_first])
def create_workflow() -> Response[str]:
    """201 with the workflow."""
    from masstock.schemas.requests import WorkflowCreate

    event = router.current_event
    read_query(event, {})
    body = read_body(event, WorkflowCreate)
    with session.writing(event) as tx:
        session.require_admin(tx.caller)
        workflow_id, _ = create_once(
            tx,
            event,
            lambda new_id: workflows.insert_workflow(
                tx,
                workflow_id=new_id,
                name=body.name,
                description=body.description,
                status=body.status,
                config=body.config.model_dump(mode="json", exclude_unset=True),
            ),
        )
        answer = workflows.fetch_workflow(tx, workflow_id)
    return created(answer, f"/v1/workflows/{workflow_id}")


@router.get("/workflows/<workflow_id>")
def get_workflow(workflow_id: str) -> Response[str]:
    """One workflow."""
    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(workflow_id, "workflow_id")
    answer = workflows.fetch_workflow(session.reading(event), wanted)
    return cacheable_answer(answer, event.headers.get("if-none-match"))


@router.patch("/workflows/<workflow_id>", middlewares=[session.admins_first])  # pyright: ignore[reportUnknownMemberType]
def update_workflow(workflow_id: str) -> Response[str]:
    """200 with the changed workflow."""
    from masstock.schemas.requests import WorkflowUpdate

    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(workflow_id, "workflow_id")
    changes = read_body(event, WorkflowUpdate).changes()
    with session.writing(event) as tx:
        workflows.fetch_workflow(tx, wanted)
        session.require_admin(tx.caller)
        check_precondition(event, workflows.fetch_workflow(tx, wanted, for_update=True))
        if changes:
            workflows.update_workflow(tx, wanted, changes)
        answer = workflows.fetch_workflow(tx, wanted)
    return cacheable_answer(answer, None)


@router.delete("/workflows/<workflow_id>", middlewares=[session.admins_first])
def delete_workflow(workflow_id: str) -> Response[str]:
    """204; the workflow stays, with status inactive."""
    event = router.current_event
    read_query(event, {})
    wanted = path_uuid(workflow_id, "workflow_id")
    with session.writing(event) as tx:
        workflows.fetch_workflow(tx, wanted)
        session.require_admin(tx.caller)
        check_precondition(event, workflows.fetch_workflow(tx, wanted, for_update=True))
        workflows.update_workflow(tx, wanted, {"status": "inactive"})
    return Response(204)
