"""API Gateway's HTTP API in front of one function: payload format 2.0, `$default` route.

Its rules are described in
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
SAM CLI's own server cannot serve a `$default` route: it registers the path `/$default`. It also
differs from the gateway in header names, cookies, empty bodies and binary bodies.
"""

import base64
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Request, Response

from local.aws.execution_environment import InvokeResult
from local.aws.pool import PayloadTooLarge, PoolClosed, TooManyRequests
from local.aws.resources import ACCOUNT, DEFAULT_ROUTE

BODY_LIMIT = 10 * 1024 * 1024
# How much of a body over the limit is read before the answer. Closing a connection with unread
# bytes resets it, and then the caller does not receive the 413.
DRAIN_LIMIT = 100 * 1024 * 1024
CHUNK = 1024 * 1024

# The function receives bodies of other types in base64.
TEXT_SUFFIXES = ("json", "xml", "javascript")

type Invoke = Callable[[bytes], InvokeResult]


class BodyTooLarge(Exception):
    """The request body is over API Gateway's limit of 10 MB."""


class HttpApi:
    """WSGI application that turns every request into one invoke."""

    def __init__(self, invoke: Invoke) -> None:
        self._invoke = invoke

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Any:
        """Answer one request."""
        request = Request(environ)
        request_id = str(uuid.uuid4())
        try:
            event = build_event(request, read_body(request), request_id)
            result = self._invoke(json.dumps(event).encode())
        except (BodyTooLarge, PayloadTooLarge):
            # The body is over the gateway's limit, or the event is over Lambda's limit. The gateway
            # answers 413 in both cases.
            response = _message(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request Entity Too Large")
        except (PoolClosed, TooManyRequests):
            response = _message(HTTPStatus.SERVICE_UNAVAILABLE, "Service Unavailable")
        else:
            response = build_response(result)
        response.headers["apigw-requestid"] = request_id
        return response(environ, start_response)


def read_body(request: Request) -> bytes:
    """Return the body; BodyTooLarge over 10 MB, raised after reading up to 100 MB."""
    body = bytearray()
    size = 0
    while size < DRAIN_LIMIT and (chunk := request.stream.read(CHUNK)):
        size += len(chunk)
        if size <= BODY_LIMIT:
            body += chunk
    if size > BODY_LIMIT:
        raise BodyTooLarge
    return bytes(body)


def build_event(request: Request, body: bytes, request_id: str) -> dict[str, Any]:
    """Return the request in payload format 2.0."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    cookies = headers.pop("cookie", None)
    headers["x-forwarded-for"] = request.remote_addr or ""
    headers["x-forwarded-port"] = request.environ["SERVER_PORT"]
    headers["x-forwarded-proto"] = request.scheme
    # An HTTP API decodes the path, also in rawPath.
    path = request.path
    query = {name: ",".join(values) for name, values in request.args.lists()}
    now = datetime.now(UTC)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": DEFAULT_ROUTE,
        "rawPath": path,
        "rawQueryString": request.query_string.decode("latin-1"),
        "headers": headers,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "local",
            "domainName": request.host,
            "domainPrefix": request.host.partition(".")[0],
            "http": {
                "method": request.method,
                "path": path,
                "protocol": request.environ["SERVER_PROTOCOL"],
                "sourceIp": request.remote_addr,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": DEFAULT_ROUTE,
            "stage": DEFAULT_ROUTE,
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(now.timestamp() * 1000),
        },
        "isBase64Encoded": False,
    }
    # The gateway leaves out each of these three when it is empty.
    if query:
        event["queryStringParameters"] = query
    if cookies:
        event["cookies"] = [cookie.strip() for cookie in cookies.split(";") if cookie.strip()]
    if body:
        event["body"], event["isBase64Encoded"] = encode_body(body, request.mimetype)
    return event


def encode_body(body: bytes, media_type: str) -> tuple[str, bool]:
    """Return the body as text, and whether this text is base64."""
    textual = not media_type or media_type.startswith("text/")
    if textual or media_type.endswith(TEXT_SUFFIXES):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode(), True


def build_response(result: InvokeResult) -> Response:
    """Return the HTTP response for a function's answer; 500 for a failed or malformed one."""
    if result.failed:
        return _message(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error")
    answer = json.loads(result.payload)
    if not isinstance(answer, dict) or "statusCode" not in answer:
        # A value without `statusCode` is the body of a 200.
        text = answer if isinstance(answer, str) else json.dumps(answer)
        answer = {"statusCode": HTTPStatus.OK, "body": text}
    try:
        headers = Headers({"content-type": "application/json"})
        for name, value in (answer.get("headers") or {}).items():
            if name.lower() != "content-length":
                headers.set(name, str(value))
        for cookie in answer.get("cookies") or []:
            headers.add("set-cookie", cookie)
        body = (answer.get("body") or "").encode()
        if answer.get("isBase64Encoded"):
            body = base64.b64decode(body, validate=True)
        return Response(body, status=int(answer["statusCode"]), headers=headers)
    except (AttributeError, TypeError, ValueError):
        return _message(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error")


def _message(status: HTTPStatus, text: str) -> Response:
    return Response(json.dumps({"message": text}), status=status, content_type="application/json")
