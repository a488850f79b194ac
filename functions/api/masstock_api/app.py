"""Routes each HTTP request to its operation. Errors become problems."""

import re
import time
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from aws_lambda_powertools.utilities.typing import LambdaContext

from masstock.errors import MethodNotAllowed, NotFound
from masstock.telemetry import logger
from masstock_api import cors, session
from masstock_api.operation import Operation, declared_in
from masstock_api.problems import problem_of, respond
from masstock_api.responses import compress
from masstock_api.routes import (
    analytics,
    archives,
    clients,
    console,
    documents,
    executions,
    health,
    lanes,
    library,
    me,
    models,
    support_tickets,
    uploads,
    usage,
    users,
    workflow_requests,
    workflows,
)

# In the order of the OpenAPI document: what callers do every day comes first.
MODULES = (
    executions,
    archives,
    library,
    uploads,
    workflows,
    models,
    usage,
    me,
    workflow_requests,
    support_tickets,
    clients,
    users,
    lanes,
    analytics,
    health,
    documents,
    console,
)
OPERATIONS = {
    operation.name: operation for module in MODULES for operation in declared_in(module.__name__)
}

app = APIGatewayHttpResolver()


def _register(operation: Operation) -> None:
    def answer(**path_values: str) -> Response[Any]:
        response = operation.run(app.current_event, path_values)
        if operation.compress:
            compress(response, app.current_event.headers.get("accept-encoding", ""))
        return response

    route = app.route(operation.path, operation.method)
    route(answer)  # pyright: ignore[reportUnknownMemberType]


for _operation in OPERATIONS.values():
    _register(_operation)


def handle(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers one event of API Gateway. Logs one line per request, without body and token."""
    began = time.monotonic()
    request_id = event["requestContext"]["requestId"]
    method = event["requestContext"]["http"]["method"]
    logger.append_keys(request_id=request_id, method=method)
    origin = cors.allow_origin(
        session.settings().cors_allow_origins, event["headers"].get("origin")
    )
    allowed = "Access-Control-Allow-Origin" in origin
    if allowed and cors.is_preflight(method, event["headers"]):
        response: dict[str, Any] = {"statusCode": 204, "headers": cors.allow_request()}
    elif method == "HEAD":
        response = {**app.resolve(_as_get(event), context), "body": "", "isBase64Encoded": False}
    else:
        response = app.resolve(event, context)
    headers = {**response["headers"], **origin, "X-Request-Id": request_id}
    if vary := [each["Vary"] for each in (response["headers"], origin) if "Vary" in each]:
        headers["Vary"] = ", ".join(vary)
    response["headers"] = headers
    logger.info(
        "request",
        status=response["statusCode"],
        duration_ms=round((time.monotonic() - began) * 1000, 1),
    )
    return response


def _as_get(event: dict[str, Any]) -> dict[str, Any]:
    context = event["requestContext"]
    return {**event, "requestContext": {**context, "http": {**context["http"], "method": "GET"}}}


@app.exception_handler(Exception)
def _on_error(error: Exception) -> Response[str]:
    return _problem(error)


def _problem(error: Exception) -> Response[str]:
    problem = problem_of(error)
    if problem.status >= 500:
        logger.exception(problem.error.code)
    event: APIGatewayProxyEventV2 = app.current_event
    return respond(problem, event.path, event.request_context.request_id)


@app.not_found  # pyright: ignore[reportUnknownMemberType]
def _on_unknown_route(_: Exception) -> Response[str]:
    event: APIGatewayProxyEventV2 = app.current_event
    allowed = {
        operation.method
        for operation in OPERATIONS.values()
        if re.fullmatch(re.sub(r"<\w+>", "[^/]+", operation.path), event.path)
    }
    # If the method is in `allowed`, an id has characters that Powertools' pattern refuses.
    if not allowed or event.request_context.http.method in allowed:
        return _problem(NotFound("There is no such route."))
    if "GET" in allowed:
        allowed.add("HEAD")
    return _problem(MethodNotAllowed(sorted(allowed)))
