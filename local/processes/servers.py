"""HTTP servers that run in threads of this process."""

import json
import logging
import threading
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from local.aws.pool import FunctionPool, PayloadTooLarge, PoolClosed, Pools
from local.processes.children import HOST

logger = logging.getLogger(__name__)

INVOKE_PATH = "/2015-03-31/functions/{}/invocations"


class QuietHandler(WSGIRequestHandler):
    """Logs failures, not every request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


class ThreadedServer:
    """Serves `application` on 127.0.0.1 from construction to `stop`."""

    def __init__(self, application: Callable, port: int) -> None:
        self._server: BaseWSGIServer = make_server(
            HOST, port, application, threaded=True, request_handler=QuietHandler
        )
        self.url = f"http://{HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; requests under way are dropped."""
        self._server.shutdown()
        self._server.server_close()


class InnerEndpoints:
    """WSGI application for the stack's own processes: Lambda's Invoke, and the issuer's key set."""

    def __init__(self, pools: Pools, key_set: dict[str, Any]) -> None:
        self._pools = pools
        self._key_set = key_set
        self._routes = Map(
            [
                Rule(INVOKE_PATH.format("<name>"), methods=["POST"], endpoint=self._invoke),
                Rule("/jwks.json", methods=["GET"], endpoint=self._keys),
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
            threading.Thread(target=run_in_background, args=(pool, event), daemon=True).start()
            return Response(status=HTTPStatus.ACCEPTED)
        try:
            result = pool.invoke(event)
        except PayloadTooLarge:
            return _lambda_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestTooLargeException")
        except PoolClosed:
            return _lambda_error(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceException")
        response = Response(result.payload, content_type="application/json")
        response.headers["x-amzn-requestid"] = str(uuid.uuid4())
        if result.failed:
            response.headers["x-amz-function-error"] = "Unhandled"
        return response


def run_in_background(pool: FunctionPool, event: bytes) -> None:
    """An asynchronous invoke: nobody waits for the answer, so failures are only logged."""
    try:
        result = pool.invoke(event)
    except PoolClosed:
        pass
    except Exception:
        logger.exception("%s could not be invoked", pool.function.name)
    else:
        if result.failed:
            logger.error("%s failed: %s", pool.function.name, result.payload.decode())


def _lambda_error(status: HTTPStatus, code: str) -> Response:
    body = json.dumps({"__type": code, "Message": code})
    return Response(body, status=status, content_type="application/json")
