"""HTTP: every request enters here, finds its route, and leaves as JSON or as a problem."""

import time
from typing import Any, cast

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from aws_lambda_powertools.utilities.typing import LambdaContext

from masstock import imports_done
from masstock.errors import MethodNotAllowed, NotFound
from masstock.telemetry import logger
from problems import problem_of, respond
from routes import (
    analytics,
    clients,
    documents,
    executions,
    health,
    me,
    support_tickets,
    uploads,
    users,
    workflow_requests,
    workflows,
)

app = APIGatewayHttpResolver()
app.include_router(health.router)
app.include_router(documents.router)
for resource in (
    me,
    users,
    clients,
    workflows,
    workflow_requests,
    executions,
    support_tickets,
    uploads,
    analytics,
):
    app.include_router(resource.router, prefix="/v1")


def _note_route(app: APIGatewayHttpResolver, proceed: NextMiddleware) -> Response[Any]:
    """The route's pattern in the log line: paths carry ids, patterns can be counted."""
    logger.append_keys(route=cast(Any, app).context["_route"].path)
    return proceed(app)  # pyright: ignore[reportUnknownVariableType]


app.use(middlewares=[_note_route])  # pyright: ignore[reportUnknownMemberType]


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """API Gateway payload 2.0 in and out. One log line per request, never a body or a token."""
    began = time.monotonic()
    request_id = event["requestContext"]["requestId"]
    logger.append_keys(request_id=request_id, method=event["requestContext"]["http"]["method"])
    response = app.resolve(event, context)
    response["headers"] = {**response.get("headers", {}), "x-request-id": request_id}
    logger.info(
        "request",
        status=response["statusCode"],
        duration_ms=round((time.monotonic() - began) * 1000, 1),
    )
    return response


@app.exception_handler(Exception)
def _on_error(error: Exception) -> Response[str]:
    return _tell(error)


def _tell(error: Exception) -> Response[str]:
    problem = problem_of(error)
    if problem.status >= 500:
        logger.exception(problem.error.code)
    event: APIGatewayProxyEventV2 = app.current_event
    return respond(problem, event.path, event.request_context.request_id)


@app.not_found  # pyright: ignore[reportUnknownMemberType]
def _on_unknown_route(_: Exception) -> Response[str]:
    event: APIGatewayProxyEventV2 = app.current_event
    allowed = sorted(
        {
            route.method
            for route in (*app._static_routes, *app._dynamic_routes)  # pyright: ignore[reportPrivateUsage]
            if route.rule.match(event.path)  # pyright: ignore[reportUnknownMemberType]
        }
    )
    return _tell(MethodNotAllowed(allowed) if allowed else NotFound("There is no such route."))


imports_done()
