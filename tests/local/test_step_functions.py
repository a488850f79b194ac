"""One test for each change to moto's Step Functions."""

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws.step_functions import LambdaEndpoint, matches
from tests.local.conftest import Aws

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def machines(aws: Aws) -> Any:
    return aws.client("stepfunctions")


def start(machines: Any, aws: Aws, machine: str, given: Any, name: str | None = None) -> str:
    named = {"name": name} if name else {}
    answer = machines.start_execution(
        stateMachineArn=aws.machine_arn(machine), input=json.dumps(given), **named
    )
    return answer["executionArn"]


def finish(machines: Any, arn: str, seconds: float = 60) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while (execution := machines.describe_execution(executionArn=arn))["status"] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return execution


def noted(aws: Aws, arn: str) -> list[str]:
    """Return the events about this execution that the rule's function received."""
    lines = aws.notes.read_text().splitlines() if aws.notes.exists() else []
    return [line for line in lines if arn in line]


def await_note(aws: Aws, arn: str) -> str:
    deadline = time.monotonic() + 20
    while not noted(aws, arn):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return noted(aws, arn)[0]


def test_a_task_invokes_the_function(machines: Any, aws: Aws) -> None:
    execution = finish(machines, start(machines, aws, "task", {"return": {"answer": 42}}))
    assert json.loads(execution["output"])["Payload"] == {"answer": 42}


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({"raise": True}, "ProviderThrottled"),
        ({"exit": True}, "Runtime.ExitError"),
    ],
)
def test_errors_keep_their_names(machines: Any, aws: Aws, event: Any, name: str) -> None:
    execution = finish(machines, start(machines, aws, "task", event))
    assert (execution["status"], execution["error"]) == ("FAILED", name)


def test_catch_matches_the_error_name_inside_a_map(machines: Any, aws: Aws) -> None:
    items = {"items": [{}, {"raise": True}, {}]}
    execution = finish(machines, start(machines, aws, "parallel", items))
    assert json.loads(execution["output"]) == [0, "caught", 0]


def test_an_unreachable_lambda_is_a_service_exception() -> None:
    with pytest.raises(ClientError) as caught:
        LambdaEndpoint("http://127.0.0.1:1").invoke("Act", b"{}")
    assert caught.value.response["Error"]["Code"] == "ServiceException"  # pyright: ignore


def test_an_unknown_function_is_not_found(aws: Aws) -> None:
    endpoint = LambdaEndpoint(aws.configuration["lambda_url"])
    with pytest.raises(ClientError) as caught:
        endpoint.invoke("Nobody", b"{}")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"  # pyright: ignore


def test_one_worker_runs_more_items_than_pythons_stack_is_deep(machines: Any, aws: Aws) -> None:
    execution = finish(machines, start(machines, aws, "one-by-one", {"items": [{}] * 1100}))
    assert execution["status"] == "SUCCEEDED"
    assert len(json.loads(execution["output"])) == 1100


def test_an_item_takes_less_than_10_ms_of_cpu_and_leaves_no_thread(machines: Any, aws: Aws) -> None:
    def status() -> tuple[float, int]:
        assert aws.service._process is not None
        fields = Path(f"/proc/{aws.service._process.pid}/stat").read_text().split()
        return (int(fields[13]) + int(fields[14])) / 100, int(fields[19])

    finish(machines, start(machines, aws, "parallel", {"items": [{}] * 20}))
    seconds, threads = status()
    finish(machines, start(machines, aws, "parallel", {"items": [{}] * 500}))
    seconds_after, threads_after = status()
    assert (seconds_after - seconds) / 500 < 0.010
    assert threads_after <= threads + 3


def test_executions_without_a_name_get_different_names(machines: Any, aws: Aws) -> None:
    arns = [start(machines, aws, "task", {}) for _ in range(3)]
    assert len(set(arns)) == 3
    assert {finish(machines, arn)["status"] for arn in arns} == {"SUCCEEDED"}


def test_concurrent_starts_with_one_name_are_one_execution(machines: Any, aws: Aws) -> None:
    name = str(uuid.uuid4())
    with ThreadPoolExecutor(10) as threads:
        arns = list(
            threads.map(lambda _: start(machines, aws, "task", {"sleep": 2}, name), range(10))
        )
    assert len(set(arns)) == 1
    listed = machines.list_executions(stateMachineArn=aws.machine_arn("task"))["executions"]
    assert [execution["name"] for execution in listed].count(name) == 1


def test_stop_takes_effect_at_once_and_emits_an_event(machines: Any, aws: Aws) -> None:
    arn = start(machines, aws, "parallel", {"items": [{"sleep": 1.5}] * 10})
    time.sleep(0.5)
    machines.stop_execution(executionArn=arn)
    assert machines.describe_execution(executionArn=arn)["status"] == "ABORTED"
    assert "'status': 'ABORTED'" in await_note(aws, arn)
    time.sleep(1.5)
    assert machines.describe_execution(executionArn=arn)["status"] == "ABORTED"
    assert len(noted(aws, arn)) == 1


def test_a_failure_emits_eventbridges_event(machines: Any, aws: Aws) -> None:
    arn = start(machines, aws, "task", {"raise": True})
    note = await_note(aws, arn)
    assert "'source': 'aws.states'" in note
    assert "'detail-type': 'Step Functions Execution Status Change'" in note
    assert f"'stateMachineArn': '{aws.machine_arn('task')}'" in note
    assert "'status': 'FAILED'" in note
    assert len(noted(aws, arn)) == 1


def test_success_and_failed_items_of_a_map_emit_no_event(machines: Any, aws: Aws) -> None:
    arn = start(machines, aws, "parallel", {"items": [{"exit": True}, {}]})
    finish(machines, arn)
    later = start(machines, aws, "task", {"raise": True})
    await_note(aws, later)
    assert noted(aws, arn) == []


def test_a_killed_process_forgets_its_executions(machines: Any, aws: Aws) -> None:
    arn = start(machines, aws, "task", {})
    finish(machines, arn)
    assert aws.service._process is not None
    aws.service._process.kill()
    aws.service._process.wait(10)
    aws.service.revive()
    aws.service.wait_until_ready()
    with pytest.raises(machines.exceptions.ExecutionDoesNotExist):
        machines.describe_execution(executionArn=arn)


def test_an_event_pattern_compares_every_field() -> None:
    pattern = {"source": ["aws.states"], "detail": {"status": ["FAILED", "ABORTED"]}}
    assert matches(pattern, {"source": "aws.states", "detail": {"status": "FAILED"}})
    assert not matches(pattern, {"source": "aws.s3", "detail": {"status": "FAILED"}})
    assert not matches(pattern, {"source": "aws.states", "detail": {"status": "SUCCEEDED"}})
    assert not matches(pattern, {"source": "aws.states"})
