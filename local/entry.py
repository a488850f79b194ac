"""Hands the console tokens of the demo users, so that a newcomer enters with one click."""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from werkzeug.wrappers import Request, Response

PATH = "/_local/entry"
LABELS = {"client_a": "Acme", "client_b": "Beta", "admin": "Administrator"}

type Application = Callable[[dict[str, Any], Callable], Any]


class LocalEntry:
    """WSGI application in front of another one. Only the console's own page gets an answer from
    PATH: tokens must not reach another page of this machine, nor a page whose host name was bound
    to this address after it was loaded (DNS rebinding)."""

    def __init__(
        self, application: Application, tokens: Mapping[str, str], port: int, *, practice: bool
    ) -> None:
        self._application = application
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        items = [{"name": LABELS[user], "token": tokens[user]} for user in LABELS]
        # In practice mode the stand-in model paints.
        self._body = json.dumps({"items": items, "practice": practice})

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Any:
        """Answer one request."""
        if environ["PATH_INFO"] != PATH:
            return self._application(environ, start_response)
        request = Request(environ)
        # Browsers set Sec-Fetch-Site themselves; no script can.
        is_own_page = request.headers.get("Sec-Fetch-Site") == "same-origin"
        if request.method != "GET" or not is_own_page or request.host not in self._hosts:
            body = json.dumps({"message": "Only the console's own page may ask."})
            answer = Response(body, HTTPStatus.FORBIDDEN, content_type="application/json")
        else:
            answer = Response(self._body, content_type="application/json")
        answer.headers["Cache-Control"] = "no-store"
        answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return answer(environ, start_response)
