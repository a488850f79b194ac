"""One Lambda execution environment: AWS' runtime interface emulator around awslambdaric.

The emulator has real timeouts and the real runtime API, but runs one invoke at a time. A pool
(`local.aws.pool`) therefore holds one environment for each concurrent invoke.
"""

import http.client
import json
import os
import platform
import signal
import sys
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import samcli

from local.aws.resources import LambdaFunction
from local.aws.runtime import INITIALIZE, STARTS_VARIABLE
from local.errors import StackError
from local.processes import children

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: 6 MB for the event and
# 6 MB for the answer. The emulator cuts longer payloads without an error.
PAYLOAD_LIMIT = 6 * 1024 * 1024
INVOKE_PATH = "/2015-03-31/functions/function/invocations"
RUNTIME = Path(__file__).with_name("runtime.py")
START_SECONDS = 15
# The emulator ends a handler at its timeout. If it fails to do so, the pool ends the emulator this
# many seconds later.
GRACE_SECONDS = 15
DEATHS = ("Runtime.ExitError", "Sandbox.Timedout")


@dataclass(frozen=True, slots=True)
class InvokeResult:
    """What a handler returned, or Lambda's error object if `failed`.

    An environment whose result is not `reusable` takes no further invoke. `began` is False if the
    environment died before it called the handler.
    """

    payload: bytes
    failed: bool = False
    reusable: bool = True
    began: bool = True


@cache
def emulator() -> Path:
    """Return the emulator's binary for this machine; aws-sam-cli brings it."""
    machine = {"aarch64": "arm64", "amd64": "x86_64"}.get(platform.machine(), platform.machine())
    binary = Path(samcli.__file__).parent / "local" / "rapid" / f"aws-lambda-rie-{machine}"
    if sys.platform != "linux" or not binary.exists():
        raise StackError(
            "The local stack needs Linux on x86_64 or arm64: AWS' Lambda emulator, which runs the "
            "functions, exists for no other system."
        )
    return binary


class ExecutionEnvironment:
    """A process that runs one invoke at a time. `initialize` makes its cold start."""

    def __init__(
        self,
        function: LambdaFunction,
        variables: Mapping[str, str],
        log: Path,
        generation: int = 0,
    ) -> None:
        self.generation = generation
        self.idle_since = 0.0
        self._function = function
        self._ports = (children.free_port(), children.free_port())
        # A file in memory. The runtime appends one byte for each invoke that reaches the handler.
        self._starts = os.memfd_create("handler-starts")
        weakref.finalize(self, os.close, self._starts)
        runtime = [sys.executable, str(RUNTIME), "-m", "awslambdaric", function.handler]
        self._process = children.spawn(
            [
                str(emulator()),
                "--log-level",
                "error",
                "--runtime-interface-emulator-address",
                f"{children.HOST}:{self._ports[0]}",
                "--runtime-api-address",
                f"{children.HOST}:{self._ports[1]}",
                *children.on_leash(runtime, parent=0),
            ],
            log=log,
            env=self._variables(variables),
            cwd=function.code,
        )

    def _variables(self, given: Mapping[str, str]) -> dict[str, str]:
        function = self._function
        path = [given.get("FAULTS_DIR"), function.code, *function.layers]
        return {
            **given,
            "_HANDLER": function.handler,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function.timeout),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "LAMBDA_TASK_ROOT": str(function.code),
            "PYTHONPATH": ":".join(map(str, filter(None, path))),
            "PYTHONUNBUFFERED": "1",
            STARTS_VARIABLE: f"/proc/{os.getpid()}/fd/{self._starts}",
        }

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self._process.poll() is None

    def initialize(self) -> InvokeResult:
        """Start the runtime and import the handler. The result is Lambda's error if that fails.

        The result is not `began` if the runtime died or was too slow: another one may succeed.
        """
        before = self._handler_starts()
        result = self._send(INITIALIZE)
        died = result.failed and json.loads(result.payload)["errorType"] in DEATHS
        return replace(result, began=not died or self._handler_starts() > before)

    def invoke(self, payload: bytes) -> InvokeResult:
        """Run the handler once. Errors are returned as Lambda's error object and never raised."""
        before = self._handler_starts()
        result = self._send(payload)
        if result.reusable or self._handler_starts() > before:
            return result
        return replace(result, began=False)

    def _handler_starts(self) -> int:
        return os.fstat(self._starts).st_size

    def _send(self, payload: bytes) -> InvokeResult:
        if not children.wait_for_listener(self._ports[0], self._process, START_SECONDS):
            return _error("Runtime.ExitError", "The emulator did not start.")
        connection = http.client.HTTPConnection(
            children.HOST, self._ports[0], timeout=self._function.timeout + GRACE_SECONDS
        )
        try:
            connection.request("POST", INVOKE_PATH, body=payload)
            response = connection.getresponse()
            return _interpret(response.status, response.read(), self._function.timeout)
        except TimeoutError:
            return _timed_out(self._function.timeout)
        except (OSError, http.client.HTTPException) as error:
            return _error("Runtime.ExitError", f"The environment ended: {error!r}")
        finally:
            connection.close()

    def destroy(self) -> None:
        """Kill the process and the processes that the handler started."""
        children.end(self._process, signal.SIGKILL, patience=5)
        for port in self._ports:
            children.release_port(port)


def _interpret(status: int, body: bytes, timeout: int) -> InvokeResult:
    """Turn the emulator's answer into Lambda's.

    The emulator answers 200 to timeouts and to exceptions of the handler too.
    """
    if body.startswith(b"Task timed out after "):
        return _timed_out(timeout)
    if status != http.client.OK:
        # A runtime that is killed during its init leaves an empty body.
        if not body:
            return _error("Runtime.ExitError", "The runtime ended before it was ready.")
        error = json.loads(body)
        return _error(error["errorType"], error["errorMessage"])
    if len(body) >= PAYLOAD_LIMIT:
        message = f"Response payload size exceeded maximum allowed payload size ({PAYLOAD_LIMIT})."
        return _error("Function.ResponseSizeTooLarge", message)
    # Only awslambdaric's report of an exception has exactly these keys.
    if body.startswith(b'{"errorMessage"'):
        report = json.loads(body)
        if report.keys() == {"errorMessage", "errorType", "requestId", "stackTrace"}:
            del report["requestId"]
            return InvokeResult(json.dumps(report).encode(), failed=True)
    return InvokeResult(body)


def service_error(error: Exception) -> InvokeResult:
    """Return the result of an invoke that Lambda itself could not run."""
    return _error("Lambda.ServiceException", repr(error))


def _timed_out(timeout: int) -> InvokeResult:
    return _error("Sandbox.Timedout", f"Task timed out after {timeout:.2f} seconds")


def _error(kind: str, message: str) -> InvokeResult:
    payload = json.dumps({"errorType": kind, "errorMessage": message}).encode()
    return InvokeResult(payload, failed=True, reusable=False)
