"""Changes moto's Step Functions so that it can run the state machine of this project.

moto's interpreter knows every kind of state, but it was made for short tests. Each function here
repairs one problem, and `tests/local/test_step_functions.py` tests each repair.
"""

import functools
import http.client
import json
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from botocore.exceptions import ClientError
from moto.stepfunctions.parser import utils as interpreter_utils
from moto.stepfunctions.parser.api import ExecutionStatus
from moto.stepfunctions.parser.asl.component.common.path import result_path
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.itemprocessor import (
    distributed_item_processor_worker as distributed,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.utils import json_path
from moto.stepfunctions.parser.backend.execution import (
    BaseExecutionWorkerCommunication,
    Execution,
)
from moto.stepfunctions.parser.models import StepFunctionsParserBackend

# EventBridge's detail-type of the events that `report_failures` emits.
STATUS_CHANGE = "Step Functions Execution Status Change"
FAILURES = (ExecutionStatus.FAILED, ExecutionStatus.TIMED_OUT, ExecutionStatus.ABORTED)
LONGEST_INVOKE_SECONDS = 960

type Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class LambdaEndpoint:
    """The Invoke API of `local.aws.lambda_api`."""

    url: str

    def invoke(self, name: str, payload: bytes, kind: str = "RequestResponse") -> dict[str, Any]:
        """Call Lambda's Invoke; ClientError as from boto3's client."""
        connection = http.client.HTTPConnection(
            urlsplit(self.url).netloc, timeout=LONGEST_INVOKE_SECONDS
        )
        try:
            connection.request(
                "POST",
                f"/2015-03-31/functions/{quote(name, safe='')}/invocations",
                body=payload,
                headers={"x-amz-invocation-type": kind},
            )
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise _client_error("ServiceException", 500, repr(error)) from error
        finally:
            connection.close()
        if response.status >= http.client.BAD_REQUEST:
            code = json.loads(body).get("__type", "ServiceException")
            raise _client_error(code, response.status, code)
        answer = {"StatusCode": response.status, "ExecutedVersion": "$LATEST", "Payload": body}
        if error := response.getheader("x-amz-function-error"):
            answer["FunctionError"] = error
        return answer


def _client_error(code: str, status: int, message: str) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": str(uuid.uuid4())},
    }
    return ClientError(response, "Invoke")


def invoke_functions_at(endpoint: LambdaEndpoint) -> None:
    """Let tasks call `endpoint`. Otherwise moto makes a boto3 client for each task and calls moto's
    own Lambda."""

    def invoke(parameters: dict, region: str, state_credentials: Any) -> dict[str, Any]:
        answer = endpoint.invoke(parameters["FunctionName"], parameters.get("Payload", b"{}"))
        answer["Payload"] = json.loads(answer["Payload"] or b"null")
        return answer

    lambda_eval_utils._invoke_lambda_function = invoke


def parse_paths_once() -> None:
    """Cache parsed JSONPaths. Parsing them at every use takes longer than all other work of moto
    for a Map item."""
    users: tuple[Any, ...] = (json_path, result_path)
    for module in users:
        module.parse = functools.cache(module.parse)


def loop_over_items() -> None:
    """Let a Map worker loop over its items.

    moto's worker calls itself for each next item. After about 985 items Python's stack is full and
    the worker ends without an error.
    """

    def evaluate_pool(self: Any, job: Any, worker_frame: Any) -> None:
        while job is not None:
            job_frame = worker_frame.open_inner_frame()
            self._eval_job(env=job_frame, job=job)
            worker_frame.delete_frame(job_frame)
            last = isinstance(job.job_output, Exception) or self.stopped()
            following = None if last else self._job_pool.next_job()
            if following is None:
                # Delete the frame before the job closes, because the Map may continue then.
                self._env.delete_frame(worker_frame)
            self._job_pool.close_job(job)
            job = following
        self._env.delete_frame(worker_frame)

    distributed.DistributedItemProcessorWorker._eval_pool = evaluate_pool


def forget_threads() -> None:
    """Let moto's list of threads stay empty.

    moto adds two or three threads for each Map item to a list that it never reads or clears.
    """

    class Forgetful(list):
        def append(self, item: object) -> None:
            """Keep nothing."""

    _replace_everywhere(interpreter_utils.TMP_THREADS, "TMP_THREADS", Forgetful())


def _replace_everywhere(old: object, name: str, new: object) -> None:
    for module in list(sys.modules.values()):
        if getattr(module, "__dict__", {}).get(name) is old:
            setattr(module, name, new)


def start_one_at_a_time() -> None:
    """Start executions one after the other, each with a name.

    Two concurrent starts with one name race in moto, and a start without a name breaks all later
    ones.
    """
    start = StepFunctionsParserBackend.start_execution
    lock = threading.Lock()

    def start_execution(
        self: Any, state_machine_arn: str, name: str | None = None, *args: Any, **kw: Any
    ) -> Execution:
        with lock:
            return start(self, state_machine_arn, name or str(uuid.uuid4()), *args, **kw)

    StepFunctionsParserBackend.start_execution = start_execution


def stop_at_once() -> None:
    """Let StopExecution take effect at once.

    In moto it waits until the running tasks end, and the status is then FAILED.
    """
    stop = Execution.stop
    terminated = BaseExecutionWorkerCommunication.terminated

    def stop_now(self: Any, *args: Any, **kw: Any) -> None:
        stop(self, *args, **kw)
        BaseExecutionWorkerCommunication(self).terminated()

    def terminated_once(self: Any) -> None:
        if self.execution.exec_status == ExecutionStatus.RUNNING:
            terminated(self)

    Execution.stop = stop_now
    BaseExecutionWorkerCommunication.terminated = terminated_once


def report_failures(emit: Emit) -> None:
    """Emit EventBridge's event when an execution fails. In moto, Map items are not executions, so
    they cause no events."""
    reflect = BaseExecutionWorkerCommunication._reflect_execution_status

    def reflect_and_report(self: Any) -> None:
        reflect(self)
        if self.execution.exec_status in FAILURES:
            emit(status_change(self.execution))

    BaseExecutionWorkerCommunication._reflect_execution_status = reflect_and_report


def status_change(execution: Any) -> dict[str, Any]:
    """Return EventBridge's event about the execution's status.

    Source: https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": STATUS_CHANGE,
        "source": "aws.states",
        "account": execution.account_id,
        "time": execution.stop_date.isoformat(timespec="seconds"),
        "region": execution.region_name,
        "resources": [execution.exec_arn],
        "detail": {
            "executionArn": execution.exec_arn,
            "stateMachineArn": execution.state_machine_arn,
            "name": execution.name,
            "status": str(execution.exec_status.value),
            "startDate": int(execution.start_date.timestamp() * 1000),
            "stopDate": int(execution.stop_date.timestamp() * 1000),
            "input": execution.execution_input,
            "output": None,
            "error": execution.error,
            "cause": execution.cause,
        },
    }


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """True if an EventBridge pattern of plain values matches the event."""
    return all(
        matches(expected, event.get(name, {}))
        if isinstance(expected, Mapping)
        else event.get(name) in expected
        for name, expected in pattern.items()
    )


def deliver_events(
    rules: Iterable[tuple[str, Mapping[str, Any]]], endpoint: LambdaEndpoint
) -> Emit:
    """Return a function that invokes asynchronously the function of every matching rule."""
    rules = list(rules)

    def emit(event: dict[str, Any]) -> None:
        for function, pattern in rules:
            if matches(pattern, event):
                endpoint.invoke(function, json.dumps(event).encode(), kind="Event")

    return emit
