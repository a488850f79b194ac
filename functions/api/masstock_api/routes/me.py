"""The caller's profile."""

from aws_lambda_powertools.event_handler import Response

from masstock.database.queries import users
from masstock_api.operation import Answer, operation
from masstock_api.request import Request
from masstock_api.responses import json_answer


@operation("GET", "/v1/me", Answer(200, "Profile"))
def get_me(request: Request) -> Response[str]:
    """Returns the caller's account and client."""
    return json_answer(users.fetch_profile(request.reading(), request.principal.user_id))
