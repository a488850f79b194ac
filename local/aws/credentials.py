"""The endpoint that gives functions their credentials with SnapStart, instead of key variables."""

import json
import secrets
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from werkzeug.wrappers import Request, Response

from local.aws.calls import caller_key

LIFETIME = timedelta(hours=6)


class CredentialsEndpoint:
    """Answers GET /credentials/<function> to functions that send the endpoint's token."""

    def __init__(self) -> None:
        self._token = secrets.token_urlsafe(32)

    def variables(self, url: str, function: str) -> dict[str, str]:
        """Return the variables that Lambda sets with SnapStart; `url` is the server's."""
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/credentials/{function}",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": self._token,
        }

    def answer(self, request: Request, function: str) -> Response:
        """Return the credentials of a function, or 403."""
        token = request.headers.get("Authorization", "")
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            return Response(status=HTTPStatus.FORBIDDEN)
        expires_at = datetime.now(UTC) + LIFETIME
        credentials = {
            "AccessKeyId": caller_key(function),
            "SecretAccessKey": "local",
            "Token": f"session-of-{function}",
            "Expiration": expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return Response(json.dumps(credentials), content_type="application/json")
