"""Reports; for administrators."""

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from masstock.database.queries import analytics
from masstock_api import session
from masstock_api.request import PERIOD, read_query
from masstock_api.responses import json_answer

router = APIGatewayHttpRouter()


@router.get("/analytics/clients", middlewares=[session.admins_first])
def report_clients() -> Response[str]:
    """Executions and success rate by client, busiest first."""
    query = read_query(router.current_event, PERIOD)
    tx = session.reading_as_admin(router.current_event)
    if query["from"] or query["to"]:
        return _report(analytics.report_clients_between(tx, query["from"], query["to"]))
    return _report(analytics.report_clients(tx))


@router.get("/analytics/workflows", middlewares=[session.admins_first])
def report_workflows() -> Response[str]:
    """The ten most used workflows."""
    query = read_query(router.current_event, PERIOD)
    tx = session.reading_as_admin(router.current_event)
    if query["from"] or query["to"]:
        return _report(analytics.report_workflows_between(tx, query["from"], query["to"]))
    return _report(analytics.report_workflows(tx))


def _report(items: str) -> Response[str]:
    # In one piece, and a list like any other.
    return json_answer(f'{{"items":{items},"next_cursor":null}}')
