"""The caller's own profile."""

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter

import session
from answers import json_answer
from masstock.queries import users
from request import read_query

router = APIGatewayHttpRouter()


@router.get("/me")
def get_me() -> Response[str]:
    """The caller with their client."""
    read_query(router.current_event, {})
    tx = session.reading(router.current_event)
    return json_answer(users.fetch_profile(tx, tx.principal.user_id))
