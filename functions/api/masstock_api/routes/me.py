"""The caller's own profile."""

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

from masstock.database.queries import users
from masstock_api import session
from masstock_api.request import read_query
from masstock_api.responses import json_answer

router = APIGatewayHttpRouter()


@router.get("/me")
def get_me() -> Response[str]:
    """The caller with their client."""
    read_query(router.current_event, {})
    tx = session.reading(router.current_event)
    return json_answer(users.fetch_profile(tx, tx.principal.user_id))
