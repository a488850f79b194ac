"""Functions run as in Lambda: timeouts, error names, one environment for each invoke."""

import json
import os
import signal
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


def test_a_runtime_that_died_idle_is_replaced_and_its_invoke_succeeds(pool: FunctionPool) -> None:
    with ThreadPoolExecutor(4) as threads:
        pids = {a["pid"] for a in threads.map(lambda _: returned(pool, sleep=1), range(4))}
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        after = {a["pid"] for a in threads.map(lambda _: returned(pool), range(8))}
    assert not pids & after


def test_an_emulator_that_died_idle_is_replaced(pool: FunctionPool) -> None:
    emulator = parent(returned(pool)["pid"])
    os.kill(emulator, signal.SIGKILL)
    assert parent(returned(pool)["pid"]) != emulator


def test_an_invoke_whose_runtime_dies_during_init_is_retried(
    variables: dict[str, str], tmp_path: Path
) -> None:
    starts = tmp_path / "starts"
    code = tmp_path / "code"
    code.mkdir()
    # The first three runtimes die while they import the handler.
    (code / "handlers.py").write_text(
        "import os, pathlib, signal\n"
        f"starts = pathlib.Path({str(starts)!r})\n"
        "with starts.open('a') as log: log.write('x')\n"
        "if starts.stat().st_size <= 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "def act(event, context): return starts.stat().st_size\n"
    )
    pool = FunctionPool(Task(code).function("Act"), variables, tmp_path / "log", 4)
    try:
        assert returned(pool) >= 4
    finally:
        pool.close()


def test_a_module_that_raises_fails_its_invoke_soon(
    variables: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "handlers.py").write_text("{}['missing']\n")
    pool = FunctionPool(Task(tmp_path).function("Act"), variables, tmp_path / "log", 4)
    try:
        start = time.monotonic()
        assert failed(pool)["errorType"]
        assert failed(pool)["errorType"]
        assert time.monotonic() - start < 10
    finally:
        pool.close()


def test_a_handler_that_began_runs_once_even_if_it_is_killed(
    pool: FunctionPool, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(failed, pool, append=str(begun), sleep=1.5)
        deadline = time.monotonic() + 10
        while not begun.exists() or not begun.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(int(begun.read_text()), signal.SIGKILL)
        assert running.result(timeout=10)["errorType"] == "Runtime.ExitError"
    assert len(begun.read_text().split()) == 1


def test_waiting_invokes_take_the_first_environment_that_is_free(
    variables: dict[str, str], tmp_path: Path
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "handlers.py").write_text(
        "import os, time\n"
        "end = time.process_time() + 0.4\n"
        "while time.process_time() < end: pass\n"
        "def act(event, context): return {'pid': os.getpid()}\n"
    )
    pool = FunctionPool(Task(code).function("Act"), variables, tmp_path / "log", 32)
    try:
        with ThreadPoolExecutor(32) as threads:
            returned(pool)
            start = time.monotonic()
            pids = {a["pid"] for a in threads.map(lambda _: returned(pool), range(32))}
            seconds = time.monotonic() - start
    finally:
        pool.close()
    # A warm environment answers in milliseconds. 31 cold starts need 12 s of CPU.
    assert seconds < 3
    assert len(pids) < 16


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


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
