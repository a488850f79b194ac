"""Whether the API works."""

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from masstock_api import session
from masstock_api.request import read_query
from masstock_api.responses import json_answer

router = APIGatewayHttpRouter()


@router.get("/health")
def get_health() -> Response[str]:
    """200 when the API can reach its database; 503 otherwise. Open to everybody, tells nothing."""
    read_query(router.current_event, {})
    session.database().ping()
    return json_answer('{"status":"ok"}')
