"""The application, and Lambda's way into it."""

import json
import time

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from mangum import Mangum
from psycopg import Error
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastapi_app import accounts, executions, reports, workflows
from fastapi_app.identity import connect


class RequestLog:
    """One line a request, as ours writes it. A plain ASGI middleware: BaseHTTPMiddleware runs the
    application in a task of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self.app(scope, receive, noting)
        line = {
            "level": "INFO",
            "message": "request",
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "duration_ms": round((time.monotonic() - began) * 1000, 1),
        }
        print(json.dumps(line))


app = FastAPI(title="MasStock")
app.add_middleware(RequestLog)
for resource in (accounts, workflows, executions, reports):
    app.include_router(resource.router)

STATUS = {"MS401": 401, "MS403": 403, "MS402": 402, "42501": 403, "23503": 422, "23505": 409}


@app.exception_handler(Error)
async def on_database_error(request: Request, error: Error) -> JSONResponse:
    """What the database refused."""
    return JSONResponse(
        {"detail": type(error).__name__}, STATUS.get(getattr(error, "sqlstate", None) or "", 503)
    )


@app.get("/health")
async def get_health() -> dict[str, str]:
    """200 when the database can be reached."""
    await (await connect()).execute("SELECT 1")
    return {"status": "ok"}


# No lifespan: there is nothing to start, and Mangum would run it for every invocation.
lambda_handler = Mangum(app, lifespan="off")
