"""Reports about executions."""

from aws_lambda_powertools.event_handler import Response

from masstock.database.queries import analytics
from masstock_api.operation import Answer, operation
from masstock_api.parameters import PERIOD
from masstock_api.request import Request
from masstock_api.responses import json_answer


@operation(
    "GET",
    "/v1/analytics/clients",
    Answer(200, "Report[ClientUsage]"),
    query=PERIOD,
    admins=True,
)
def report_clients(request: Request) -> Response[str]:
    """Counts the executions of each client. The client with the most executions is first. `from`
    and `to` limit the creation time of the counted executions."""
    tx, since, until = request.reading(), request.query["from"], request.query["to"]
    if since or until:
        return _report(analytics.report_clients_between(tx, since, until))
    return _report(analytics.report_clients(tx))


@operation(
    "GET",
    "/v1/analytics/workflows",
    Answer(200, "Report[WorkflowUsage]"),
    query=PERIOD,
    admins=True,
)
def report_workflows(request: Request) -> Response[str]:
    """Returns the ten workflows with the most executions. `from` and `to` limit the creation time
    of the counted executions."""
    tx, since, until = request.reading(), request.query["from"], request.query["to"]
    if since or until:
        return _report(analytics.report_workflows_between(tx, since, until))
    return _report(analytics.report_workflows(tx))


def _report(items: str) -> Response[str]:
    # A report has the form of a list's only page.
    return json_answer(f'{{"items":{items},"next_cursor":null}}')
