"""Lambda's Invoke API in front of the pools. The token issuer's key set and the functions'
credentials are beside it."""

import json
import logging
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from botocore.exceptions import ClientError
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from local.aws.credentials import CredentialsEndpoint
from local.aws.event_queue import EventQueue
from local.aws.pool import PayloadTooLarge, PoolClosed, Pools, TooManyRequests
from local.aws.step_functions import LambdaEndpoint

logger = logging.getLogger(__name__)

INVOKE_PREFIX = "/2015-03-31/functions/"
INVOKE_PATH = INVOKE_PREFIX + "{}/invocations"


class InnerEndpoints:
    """WSGI application for the stack's own processes: Invoke, GET /jwks.json and the functions'
    credentials."""

    def __init__(
        self,
        pools: Pools,
        events: EventQueue,
        key_set: dict[str, Any],
        credentials: CredentialsEndpoint | None = None,
    ) -> None:
        self._pools = pools
        self._events = events
        self._key_set = key_set
        credentials = credentials or CredentialsEndpoint()
        self._routes = Map(
            [
                Rule(INVOKE_PATH.format("<name>"), methods=["POST"], endpoint=self._invoke),
                Rule("/jwks.json", methods=["GET"], endpoint=self._keys),
                Rule("/credentials/<function>", methods=["GET"], endpoint=credentials.answer),
            ]
        )

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Any:
        """Answer one request."""
        request = Request(environ)
        try:
            endpoint, arguments = self._routes.bind_to_environ(environ).match()
            response = endpoint(request, **arguments)
        except HTTPException as error:
            response = error.get_response(environ)
        return response(environ, start_response)

    def _keys(self, request: Request) -> Response:
        return Response(json.dumps(self._key_set), content_type="application/json")

    def _invoke(self, request: Request, name: str) -> Response:
        pool = self._pools.find(name)
        if pool is None:
            return _lambda_error(HTTPStatus.NOT_FOUND, "ResourceNotFoundException")
        event = request.get_data()
        if request.headers.get("x-amz-invocation-type") == "Event":
            self._events.send(pool, event)
            return Response(status=HTTPStatus.ACCEPTED)
        try:
            result = pool.invoke(event)
        except PayloadTooLarge:
            return _lambda_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestTooLargeException")
        except TooManyRequests:
            logger.info("%s is throttled", pool.function.name)
            return _lambda_error(HTTPStatus.TOO_MANY_REQUESTS, "TooManyRequestsException")
        except PoolClosed:
            return _lambda_error(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceException")
        response = Response(result.payload, content_type="application/json")
        response.headers["x-amzn-requestid"] = str(uuid.uuid4())
        if result.failed:
            response.headers["x-amz-function-error"] = "Unhandled"
        return response


def passing_on(endpoint: LambdaEndpoint) -> Callable:
    """Return the WSGI application that passes asynchronous invokes to `endpoint`.

    Functions have one address for all services, and their calls are recorded there.
    """

    @Request.application
    def application(request: Request) -> Response:
        name = request.path.removeprefix(INVOKE_PREFIX).removesuffix("/invocations")
        try:
            endpoint.invoke(name, request.get_data(), request.headers["x-amz-invocation-type"])
        except ClientError as error:
            return _lambda_error(HTTPStatus.SERVICE_UNAVAILABLE, error.response["Error"]["Code"])
        return Response(status=HTTPStatus.ACCEPTED)

    return application


def _lambda_error(status: HTTPStatus, code: str) -> Response:
    body = json.dumps({"__type": code, "Message": code})
    return Response(body, status=status, content_type="application/json")
