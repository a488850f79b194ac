"""`sam local start-api` and `start-lambda` without Docker, for tests of `make sam-local`.

It runs the functions of a built template as processes under Lambda's emulator, with the variables
that the template names. Like SAM CLI, it answers 200 to a function's error.
"""

import argparse
import json
import os
import signal
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from local.aws.event_queue import EventQueue
from local.aws.execution_environment import InvokeResult
from local.aws.http_api import HttpApi
from local.aws.lambda_api import InnerEndpoints
from local.aws.pool import FunctionPool, Pools
from local.aws.resources import REGION
from local.aws.template import read_template
from local.processes.servers import ThreadedServer

# What Lambda itself gives to a function.
RUNTIME = {
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_ACCESS_KEY_ID": "local-sam",
    "AWS_SECRET_ACCESS_KEY": "local",
}
CAPACITY = 8


class Functions:
    """The functions of a template. Like SAM CLI, it reads the template again when it changes."""

    def __init__(self, template: Path) -> None:
        self._path = template
        self._text = ""
        self._pools: Pools | None = None
        self._route = ""
        self._lock = threading.Lock()
        self.find("")

    def find(self, name: str) -> FunctionPool | None:
        """The pool of a function's name or ARN; OSError while there is no template."""
        with self._lock:
            text = self._path.read_text()
            if self._pools is None or text != self._text:
                self.close()
                self._text, self._pools = text, self._read()
            return self._pools.find(name or self._route)

    def api(self, event: bytes) -> InvokeResult:
        """Invoke the function of the API. SAM CLI answers a function's error with 200."""
        try:
            pool = self.find("")
            assert pool is not None
        except OSError as error:
            bad_gateway = {"statusCode": 502, "body": json.dumps({"message": str(error)})}
            return InvokeResult(json.dumps(bad_gateway).encode())
        return InvokeResult(pool.invoke(event).payload)

    def close(self) -> None:
        """End every environment."""
        if self._pools is not None:
            self._pools.close()

    def _read(self) -> Pools:
        template = read_template(self._path, {})
        self._route = template.default_route
        # Lambda unpacks a layer to /opt and has /opt/python on the path.
        functions = [
            replace(function, layers=tuple(layer / "python" for layer in function.layers))
            for function in template.functions
        ]
        variables = {
            function.logical_id: {"PATH": os.environ["PATH"], **RUNTIME, **function.variables}
            for function in functions
        }
        return Pools(functions, variables, self._path.parent, CAPACITY)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("local", choices=["local"])
    parser.add_argument("command", choices=["start-api", "start-lambda"])
    parser.add_argument("--template", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options, _ = parser.parse_known_args()
    # A shell that runs the tests in the background ignores SIGINT, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    functions = Functions(options.template)
    application = HttpApi(functions.api)
    if options.command == "start-lambda":
        application = InnerEndpoints(
            functions, EventQueue(Path("dead-letters.jsonl")), {"keys": []}
        )  # pyright: ignore
    server = ThreadedServer(application, options.port)
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
    server.stop()
    functions.close()


if __name__ == "__main__":
    main()
