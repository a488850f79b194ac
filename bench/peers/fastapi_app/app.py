"""The application, and the handler that Lambda calls."""

import json
import time

from fastapi import FastAPI
from mangum import Mangum
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastapi_app import executions, other_routes


class RequestLog:
    """Writes one log line per request, with the fields of our own log. It is a plain ASGI
    middleware because BaseHTTPMiddleware runs the application in a separate task."""

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
app.include_router(executions.router)
app.include_router(other_routes.router)

# No lifespan: there is nothing to start, and Mangum would run it for every invocation.
lambda_handler = Mangum(app, lifespan="off")
