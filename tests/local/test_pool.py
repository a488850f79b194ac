"""Functions run as in Lambda: timeouts, error names, one environment for each invoke."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from local.aws.execution_environment import PAYLOAD_LIMIT, InvokeResult
from local.aws.pool import FunctionPool, PayloadTooLarge, PoolClosed, Pools
from tests.local.conftest import Task

pytestmark = pytest.mark.timeout(60)


def invoke(pool: FunctionPool, **event: Any) -> InvokeResult:
    return pool.invoke(json.dumps(event).encode())


def returned(pool: FunctionPool, **event: Any) -> Any:
    result = invoke(pool, **event)
    assert not result.failed, result.payload
    return json.loads(result.payload)


def failed(pool: FunctionPool, **event: Any) -> Any:
    result = invoke(pool, **event)
    assert result.failed
    return json.loads(result.payload)


def test_a_warm_environment_is_reused(pool: FunctionPool) -> None:
    assert returned(pool)["pid"] == returned(pool)["pid"]


def test_an_exception_is_reported_by_its_class_name(pool: FunctionPool) -> None:
    before = returned(pool)["pid"]
    error = failed(pool, **{"raise": True})
    assert error["errorType"] == "ProviderThrottled"
    assert error["errorMessage"] == "slow down"
    assert error.keys() == {"errorType", "errorMessage", "stackTrace"}
    assert returned(pool)["pid"] == before


def test_a_result_that_looks_like_an_error_is_a_result(pool: FunctionPool) -> None:
    answer = {"errorMessage": "x", "errorType": "y"}
    assert returned(pool, **{"return": answer}) == answer


def test_a_handler_past_its_timeout_loses_its_environment(pool: FunctionPool) -> None:
    before = returned(pool)["pid"]
    start = time.monotonic()
    assert failed(pool, sleep=30)["errorType"] == "Sandbox.Timedout"
    assert 1.9 < time.monotonic() - start < 5
    assert returned(pool)["pid"] != before


def test_an_exiting_handler_is_an_exit_error_and_loses_its_environment(
    pool: FunctionPool,
) -> None:
    before = returned(pool)["pid"]
    assert failed(pool, exit=True)["errorType"] == "Runtime.ExitError"
    assert returned(pool)["pid"] != before


def test_a_missing_handler_is_a_runtime_error(task: Task, variables: Any, tmp_path: Path) -> None:
    pool = FunctionPool(task.function("No", handler="nowhere.no"), variables, tmp_path / "log", 1)
    try:
        assert failed(pool)["errorType"].startswith("Runtime.")
    finally:
        pool.close()


def test_invokes_run_concurrently_up_to_the_capacity(pool: FunctionPool) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: returned(pool), range(8)))
        start = time.monotonic()
        pids = {
            answer["pid"] for answer in threads.map(lambda _: returned(pool, sleep=0.5), range(8))
        }
    assert len(pids) == 4
    assert 0.95 < time.monotonic() - start < 4


def test_an_event_over_lambdas_limit_is_refused(pool: FunctionPool) -> None:
    with pytest.raises(PayloadTooLarge):
        invoke(pool, padding="x" * PAYLOAD_LIMIT)


def test_an_event_just_under_the_limit_arrives_whole(pool: FunctionPool) -> None:
    length = PAYLOAD_LIMIT - 100
    assert returned(pool, padding="x" * length)["length"] == length


@pytest.mark.parametrize("size", [PAYLOAD_LIMIT, PAYLOAD_LIMIT + 1_000_000])
def test_an_answer_over_the_limit_is_an_error_and_is_not_cut(pool: FunctionPool, size: int) -> None:
    assert failed(pool, size=size)["errorType"] == "Function.ResponseSizeTooLarge"


def test_a_closed_pool_leaves_no_process_and_refuses_invokes(pool: FunctionPool) -> None:
    pid = returned(pool)["pid"]
    pool.close()
    with pytest.raises(PoolClosed):
        invoke(pool)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_edited_source_is_used_and_running_invokes_finish(tmp_path: Path) -> None:
    source = tmp_path / "code" / "handlers.py"
    source.parent.mkdir()
    text = "import time\ndef act(event, context):\n    time.sleep(event['sleep'])\n    return {}\n"
    source.write_text(text.format(1))
    function = Task(source.parent).function("Act")
    pools = Pools([function], {"Act": {"PATH": os.environ["PATH"]}}, tmp_path, 2)
    try:
        pools.start()
        assert returned(pools["Act"], sleep=0) == 1
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(returned, pools["Act"], sleep=2.5)
            time.sleep(0.2)
            source.write_text(text.format(2))
            # Python compares the age of bytecode in whole seconds.
            os.utime(source, (time.time() + 10, time.time() + 10))
            deadline = time.monotonic() + 10
            while returned(pools["Act"], sleep=0) != 2:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert running.result(timeout=10) == 1
        assert returned(pools["Act"], sleep=0) == 2
    finally:
        pools.close()
