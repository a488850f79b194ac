"""Waiting until the HTTP API answers."""

import http.client
import json
import time
from collections.abc import Callable
from pathlib import Path

from local.errors import StackError
from local.processes.children import HOST

HEALTH_SECONDS = 90


# SAM CLI and API Gateway answer 200 to a function's value without `statusCode`. SAM CLI takes the
# error object of a function for such a value. Waiting repairs none of these errors.
BROKEN = frozenset(
    {
        "Runtime.HandlerNotFound",
        "Runtime.ImportModuleError",
        "Runtime.MalformedHandlerName",
        "Runtime.UserCodeSyntaxError",
    }
)


def wait_for_health(
    port: int,
    log: Path,
    seconds: float = HEALTH_SECONDS,
    *,
    alive: Callable[[], bool] = lambda: True,
) -> None:
    """Return when GET /health answers 200 with {"status": "ok"}.

    Raises StackError with the last answer and the place of the log after `seconds`, or at once if
    the function cannot be imported or the server is not `alive`.
    """
    deadline = time.monotonic() + seconds
    answer = "nothing"
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(HOST, port, timeout=seconds)
        try:
            connection.request("GET", "/health")
            response = connection.getresponse()
            body = response.read().decode(errors="replace")
            answer = f"{response.status} {body}"
            content = _json_object(body)
            if response.status == http.client.OK and content.get("status") == "ok":
                return
            if content.get("errorType") in BROKEN:
                answer = f"{content['errorType']}: {content.get('errorMessage')}"
                break
        except (OSError, http.client.HTTPException) as error:
            answer = repr(error)
        finally:
            connection.close()
        if not alive():
            answer = f"nothing, because its server ended ({answer})"
            break
        time.sleep(0.2)
    raise StackError(f"/health answers {answer[:300]}; see {log}")


def _json_object(body: str) -> dict[str, object]:
    try:
        content = json.loads(body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
