"""Whether the API works."""

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter
from psycopg import OperationalError

import session
from answers import json_answer
from masstock.errors import DatabaseUnavailable
from request import read_query

router = APIGatewayHttpRouter()


@router.get("/health")
def get_health() -> Response[str]:
    """200 when the API can reach its database; 503 otherwise. Open to everybody, tells nothing."""
    read_query(router.current_event, {})
    try:
        session.database().flight([("SELECT 1", {})])
    except OperationalError as error:
        raise DatabaseUnavailable from error
    return json_answer('{"status":"ok"}')
