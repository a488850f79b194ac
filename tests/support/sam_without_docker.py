"""`sam local start-api` and `start-lambda` without Docker, for tests of `make sam-local`.

It runs the functions of a built template as processes under Lambda's emulator, with the variables
that the template names. Like SAM CLI, it answers 200 to a function's error.
"""

import argparse
import os
import signal
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from local.aws.execution_environment import InvokeResult
from local.aws.http_api import HttpApi
from local.aws.lambda_api import InnerEndpoints
from local.aws.pool import Pools
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("local", choices=["local"])
    parser.add_argument("command", choices=["start-api", "start-lambda"])
    parser.add_argument("--template", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options, _ = parser.parse_known_args()
    # A shell that runs the tests in the background ignores SIGINT, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    template = read_template(options.template, {})
    # Lambda unpacks a layer to /opt and has /opt/python on the path.
    functions = [
        replace(function, layers=tuple(layer / "python" for layer in function.layers))
        for function in template.functions
    ]
    variables = {
        function.logical_id: {"PATH": os.environ["PATH"], **RUNTIME, **function.variables}
        for function in functions
    }
    pools = Pools(functions, variables, options.template.parent, CAPACITY)

    def invoke(event: bytes) -> InvokeResult:
        return InvokeResult(pools[template.default_route].invoke(event).payload)

    application = HttpApi(invoke)
    if options.command == "start-lambda":
        application = InnerEndpoints(pools, {"keys": []})
    server = ThreadedServer(application, options.port)
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
    server.stop()
    pools.close()


if __name__ == "__main__":
    main()
