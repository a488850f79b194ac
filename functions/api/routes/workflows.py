"""Workflow definitions."""

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

import session
from answers import page_answer
from masstock.queries import workflows
from pages import DEFAULT_LIMIT, MAX_LIMIT, page_of_rows, time_position
from request import between, one_of, read_query

router = APIGatewayHttpRouter()

LIST_PARAMETERS = {
    "status": one_of("active", "inactive"),
    "limit": between(1, MAX_LIMIT),
    "cursor": str,
}


@router.get("/workflows")
def list_workflows() -> Response[str]:
    """Newest first. Client users see the active ones."""
    query = read_query(router.current_event, LIST_PARAMETERS)
    limit = query["limit"] or DEFAULT_LIMIT
    key = session.signing_key()
    rows = workflows.list_workflows(
        session.reading(router.current_event),
        limit=limit + 1,
        before=time_position(query["cursor"], "workflows", key),
        status=query["status"],
    )
    return page_answer(page_of_rows(rows, limit, "workflows", key))
