"""An HTTP client of the API: bearer token, problem+json, cursors, and retries."""

import http.client
import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import urlencode

TIMEOUT_SECONDS = 30
RETRY_SECONDS = 15
RETRIED_STATUSES = frozenset({429, 502, 503, 504})


class ApiError(Exception):
    """The API refused a call or gave no answer; the message is one line."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer of the API."""

    headers: Message
    content: bytes

    def json(self) -> Any:
        """Return the decoded body; ApiError if it is not JSON."""
        try:
            return json.loads(self.content)
        except ValueError:
            raise ApiError("the API's answer is not JSON") from None

    def retry_after(self, default: float) -> float:
        """Return the seconds in Retry-After, limited to 0.1 to 30; `default` without the header."""
        asked = self.headers.get("Retry-After", "")
        return min(30.0, max(0.1, float(asked))) if asked.isdecimal() else default


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, because a presigned URL must not receive the bearer token."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


# The stack is on this machine, so a configured proxy is ignored.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


class ApiClient:
    """One caller of the API."""

    def __init__(self, base_url: str, token: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._token = token

    def get(self, path: str, **query: object) -> Answer:
        """GET a path below the base URL; ApiError for an error status."""
        suffix = f"?{urlencode(query)}" if query else ""
        return self._call(f"{path}{suffix}")

    def post(self, path: str, body: object, idempotency_key: str) -> Answer:
        """POST JSON; retries send the same idempotency key."""
        payload = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key}
        return self._call(path, payload, headers)

    def items(self, path: str, **query: object) -> Iterator[dict[str, Any]]:
        """Yield every item of a list, page by page."""
        while True:
            page = self.get(path, **query).json()
            yield from page["items"]
            if not page["next_cursor"]:
                return
            query["cursor"] = page["next_cursor"]

    def download(self, path: str) -> bytes:
        """Return the bytes behind a path that redirects to a presigned URL."""
        answer = self._call(path)
        location = answer.headers.get("Location")
        return _send(urllib.request.Request(location)).content if location else answer.content

    def upload(self, url: str, fields: Mapping[str, str], content: bytes) -> None:
        """Send a file with a presigned form."""
        boundary = secrets.token_hex(16)
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        file = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n\r\n'
        )
        body = "".join([*parts, file]).encode() + content + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        _send(urllib.request.Request(url, body, headers))

    def _call(
        self, path: str, payload: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        request = urllib.request.Request(
            self._base_url + path,
            payload,
            {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
            | dict(headers or {}),
        )
        return _send(request)


def _send(request: urllib.request.Request) -> Answer:
    """Send a request; retry for up to 15 s after a temporary error status or without an answer."""
    deadline = time.monotonic() + RETRY_SECONDS
    while True:
        try:
            with _OPENER.open(request, timeout=TIMEOUT_SECONDS) as response:
                return Answer(response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (302, 303, 307):
                    return Answer(error.headers, b"")
                problem = _describe(error.code, error.read())
                temporary = error.code in RETRIED_STATUSES
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            problem, temporary = f"no answer from {request.host}: {reason}", True
        if not temporary or time.monotonic() > deadline:
            raise ApiError(problem)
        time.sleep(0.5)


def _describe(status: int, body: bytes) -> str:
    """Return problem+json, or the beginning of another body, as one line."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        return f"HTTP {status}: {' '.join(body.decode('utf-8', 'replace').split())[:300]}"
    parts = [str(problem.get("title") or problem.get("message") or f"HTTP {status}")]
    if problem.get("detail") not in (None, "", *parts):
        parts.append(str(problem["detail"]))
    errors = problem.get("errors")
    parts += [
        f"{error.get('pointer', '')} {error.get('detail', '')}".strip()
        for error in (errors[:5] if isinstance(errors, list) else [])
        if isinstance(error, dict)
    ]
    return " ".join(f"{status} {'; '.join(parts)}".split())
