"""HTTP to a deployed stack: the token goes to the API only, never to S3."""

import ipaddress
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from deploy.smoke_report import one_line

TIMEOUT_SECONDS = 40
ATTEMPTS = 4
# The gateway's throttle, a cold database, a dropped connection.
TEMPORARY = frozenset({429, 502, 503, 504})
OWN_TOKEN = object()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the API."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    seconds: float

    @property
    def json(self) -> dict[str, Any]:
        """The JSON object of the body; empty if the body is something else."""
        try:
            content = json.loads(self.content)
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}

    @property
    def code(self) -> str:
        """The code of problem+json, or an empty text."""
        return str(self.json.get("code", ""))

    @property
    def problem(self) -> str:
        """Status and problem+json, or the beginning of another body, as one line."""
        problem = self.json
        texts = [problem.get("code"), problem.get("detail") or problem.get("title")]
        texts += [
            f"{error.get('pointer')} {error.get('detail')}"
            for error in problem.get("errors") or []
            if isinstance(error, dict)
        ]
        if not problem.get("code"):
            texts = [self.content[:200].decode("utf-8", "replace")]
        return one_line(f"{self.status} {'; '.join(str(text) for text in texts if text)}")

    def retry_after(self, default: float) -> float:
        """The seconds in Retry-After, limited to 0.1 to 30; `default` without the header."""
        asked = self.headers.get("Retry-After", "")
        return min(30.0, max(0.1, float(asked))) if asked.isdecimal() else default


class _NoToken(AuthBase):
    """Sends no credentials, not even those of ~/.netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class StackClient:
    """One caller of a stack. Raises requests.RequestException if there is no answer."""

    def __init__(self, api: str, token: str) -> None:
        self._api = api
        self._token = token

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        token: Any = OWN_TOKEN,
    ) -> Answer:
        """Call the API without following redirects; `token` None sends no token.

        Repeats after a temporary error status, and a GET also after a lost connection.
        """
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {self._token if token is OWN_TOKEN else token}"
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            began = time.monotonic()
            try:
                response = requests.request(
                    method,
                    self._api + path,
                    json=body,
                    headers=sent,
                    auth=_NoToken(),
                    timeout=TIMEOUT_SECONDS,
                    allow_redirects=False,
                )
            except requests.ConnectionError:
                if last or method != "GET":
                    raise
                time.sleep(attempt)
                continue
            seconds = time.monotonic() - began
            answer = Answer(response.status_code, response.headers, response.content, seconds)
            if last or answer.status not in TEMPORARY:
                return answer
            time.sleep(answer.retry_after(attempt))
        raise AssertionError("the last attempt returns or raises")

    def fetch(self, url: str) -> tuple[int, str, bytes]:
        """Status, Content-Type and body of a URL, fetched without the token."""
        response = requests.get(url, auth=_NoToken(), timeout=TIMEOUT_SECONDS)
        content_type = response.headers.get("Content-Type", "").partition(";")[0]
        return response.status_code, content_type, response.content

    def upload(self, url: str, fields: Mapping[str, str], content: bytes) -> tuple[int, str]:
        """POST a file with a presigned form; status and the beginning of the answer."""
        response = requests.post(
            url,
            data=dict(fields),
            files={"file": content},
            auth=_NoToken(),
            timeout=TIMEOUT_SECONDS,
            allow_redirects=False,
        )
        return response.status_code, one_line(response.text)


def is_loopback(url: str) -> bool:
    """True if the host of the URL is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
