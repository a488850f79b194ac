"""An identity provider on this machine: OpenID Connect with PKCE, and Supabase's REST API."""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from werkzeug.wrappers import Request, Response

CLIENT_ID = "console"
PUBLISHABLE_KEY = "sb_publishable_test"
EMAIL, PASSWORD, CODE = "john@client.com", "correct horse", "246810"
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "apikey, content-type",
}


class Issuer:
    """WSGI application. `mint` makes a token. `url` is set when the port is known."""

    def __init__(self, mint: Callable[[], str]) -> None:
        self.url = ""
        self._mint = mint
        self._codes: dict[str, dict[str, str]] = {}
        self.refusals: list[str] = []
        self.refreshed = 0

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        """Answers one request."""
        request = Request(environ)
        if request.method == "OPTIONS":
            return Response(status=204, headers=CORS)(environ, start)
        answers = {
            "/.well-known/openid-configuration": self._discovery,
            "/authorize": self._authorize,
            "/token": self._exchange,
            "/auth/v1/token": self._supabase_token,
            "/auth/v1/otp": self._supabase_otp,
            "/auth/v1/verify": self._supabase_verify,
        }
        answer = answers.get(request.path)
        response = answer(request) if answer else Response(status=404)
        response.headers.extend(CORS)
        return response(environ, start)

    def _discovery(self, _: Request) -> Response:
        return _json(
            authorization_endpoint=f"{self.url}/authorize", token_endpoint=f"{self.url}/token"
        )

    def _authorize(self, request: Request) -> Response:
        asked = request.args.to_dict()
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        back = urlencode({"code": code, "state": asked["state"]})
        return Response(status=302, headers={"Location": f"{asked['redirect_uri']}?{back}"})

    def _exchange(self, request: Request) -> Response:
        """A code works once, for the client, the address and the verifier that it was asked for."""
        sent = request.form
        asked = self._codes.pop(sent["code"], {})
        digest = hashlib.sha256(sent.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        fits = (
            asked.get("client_id") == sent["client_id"] == CLIENT_ID
            and asked.get("redirect_uri") == sent["redirect_uri"]
            and asked.get("code_challenge_method") == "S256"
            and asked.get("code_challenge") == challenge
            and asked.get("response_type") == "code"
        )
        if not fits:
            self.refusals.append("token")
            return _json(400, error="invalid_grant", error_description="The code does not fit.")
        return _json(access_token="opaque", id_token=self._mint(), token_type="Bearer")

    def _supabase_token(self, request: Request) -> Response:
        sent = request.get_json()
        if request.args["grant_type"] == "refresh_token" and sent["refresh_token"] == "refresh":
            self.refreshed += 1
            return self._session(request)
        if (sent.get("email"), sent.get("password")) == (EMAIL, PASSWORD):
            return self._session(request)
        return _json(400, code=400, msg="Invalid login credentials")

    def _supabase_otp(self, request: Request) -> Response:
        assert request.get_json() == {"email": EMAIL, "create_user": False}
        return _json()

    def _supabase_verify(self, request: Request) -> Response:
        if request.get_json() == {"type": "email", "email": EMAIL, "token": CODE}:
            return self._session(request)
        return _json(403, code=403, msg="Token has expired or is invalid")

    def _session(self, request: Request) -> Response:
        assert request.headers["apikey"] == PUBLISHABLE_KEY
        return _json(access_token=self._mint(), refresh_token="refresh")


def _json(status: int = 200, **members: Any) -> Response:
    return Response(json.dumps(members), status, content_type="application/json")
