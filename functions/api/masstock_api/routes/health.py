"""Health of the API."""

from aws_lambda_powertools.event_handler import Response

from masstock_api import session
from masstock_api.operation import Answer, operation
from masstock_api.request import Request
from masstock_api.responses import json_answer


@operation("GET", "/health", Answer(200, "Health"), is_open=True)
def get_health(_: Request) -> Response[str]:
    """Answers 200 if the API reaches its database, else 503. Needs no token."""
    session.database().ping()
    return json_answer('{"status":"ok"}')
