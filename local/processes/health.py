"""Waiting until the HTTP API answers."""

import http.client
import time
from pathlib import Path

from local.errors import StackError
from local.processes.children import HOST

HEALTH_SECONDS = 90


def wait_for_health(port: int, log: Path, seconds: float = HEALTH_SECONDS) -> None:
    """Return when GET /health answers 200.

    Raises StackError with the last answer and the place of the log after `seconds`.
    """
    deadline = time.monotonic() + seconds
    answer = "nothing"
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(HOST, port, timeout=seconds)
        try:
            connection.request("GET", "/health")
            response = connection.getresponse()
            answer = f"{response.status} {response.read().decode(errors='replace')}"
            if response.status == http.client.OK:
                return
        except (OSError, http.client.HTTPException) as error:
            answer = repr(error)
        finally:
            connection.close()
        time.sleep(0.2)
    raise StackError(f"/health answers {answer[:200]}; see {log}")
