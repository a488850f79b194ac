"""Asynchronous invokes are repeated and given up as in Lambda, and schedules do not wait."""

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws.event_queue import EventQueue
from local.aws.lambda_api import InnerEndpoints
from local.aws.pool import ConcurrencyLimit, FunctionPool, Pools, TooManyRequests
from local.aws.resources import REGION
from local.aws.step_functions import LambdaEndpoint
from local.aws.timer import Timer
from local.processes.children import free_port
from local.processes.servers import ThreadedServer
from tests.local.conftest import Task

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def limit() -> ConcurrencyLimit:
    """One invoke at a time."""
    return ConcurrencyLimit(1)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """The file to which function Note writes one line for each invoke."""
    return tmp_path / "notes"


@pytest.fixture
def make_pool(task: Task, tmp_path: Path, notes: Path) -> Iterator[Callable[..., FunctionPool]]:
    pools: list[FunctionPool] = []

    def make(limit: ConcurrencyLimit | None = None, **properties: Any) -> FunctionPool:
        function = dataclasses.replace(task.function("Note", handler="handlers.note"), **properties)
        variables = {"PATH": os.environ["PATH"], "AWS_REGION": REGION, "NOTES": str(notes)}
        pools.append(FunctionPool(function, variables, tmp_path / "log", 4, limit))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    return tmp_path / "dead-letters.jsonl"


@pytest.fixture
def events(letters: Path) -> Iterator[EventQueue]:
    """A queue that repeats after 0.2 s and 0.4 s."""
    events = EventQueue(letters, retry_seconds=0.2)
    yield events
    events.stop()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_failing_event_runs_three_times_with_growing_pauses(
    events: EventQueue, make_pool: Any, notes: Path, letters: Path
) -> None:
    pool = make_pool()
    began = time.monotonic()
    events.send(pool, b'{"raise": true, "id": 7}')
    until(lambda: len(lines(letters)) == 1)
    assert time.monotonic() - began > 0.6
    assert len(lines(notes)) == 3
    record = json.loads(lines(letters)[0])
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["requestPayload"] == {"raise": True, "id": 7}
    assert record["responsePayload"]["errorType"] == "ProviderThrottled"
    time.sleep(1)
    assert len(lines(notes)) == 3


def test_a_succeeding_event_runs_once(
    events: EventQueue, make_pool: Any, notes: Path, letters: Path
) -> None:
    events.send(make_pool(), b"{}")
    until(lambda: len(lines(notes)) == 1)
    time.sleep(1)
    assert len(lines(notes)) == 1
    assert lines(letters) == []


@pytest.mark.parametrize("retries", [0, 1])
def test_the_template_sets_the_number_of_retries(
    events: EventQueue, make_pool: Any, notes: Path, letters: Path, retries: int
) -> None:
    events.send(make_pool(event_retries=retries), b'{"raise": true}')
    until(lambda: len(lines(letters)) == 1)
    assert len(lines(notes)) == 1 + retries


def test_an_event_that_is_too_old_is_given_up(letters: Path, make_pool: Any, notes: Path) -> None:
    events = EventQueue(letters, retry_seconds=60)
    events.send(make_pool(event_age_seconds=30), b'{"raise": true}')
    until(lambda: len(lines(letters)) == 1)
    assert len(lines(notes)) == 1
    assert json.loads(lines(letters)[0])["requestContext"]["condition"] == "EventAgeExceeded"


def test_a_throttled_event_waits_and_loses_no_retry(
    events: EventQueue, make_pool: Any, notes: Path, letters: Path, limit: ConcurrencyLimit
) -> None:
    pool = make_pool(limit, event_retries=0)
    with limit.slot():
        events.send(pool, b"{}")
        time.sleep(1.5)
        assert lines(notes) == []
    until(lambda: len(lines(notes)) == 1)
    assert lines(letters) == []


def test_invokes_beyond_the_accounts_limit_are_throttled_across_functions(
    make_pool: Any, notes: Path
) -> None:
    limit = ConcurrencyLimit(2)
    first, second = make_pool(limit), make_pool(limit)
    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(pool.invoke, b'{"sleep": 2}') for pool in (first, second)]
        until(lambda: len(lines(notes)) == 2)
        with pytest.raises(TooManyRequests):
            first.invoke(b"{}")
        with pytest.raises(TooManyRequests):
            second.invoke(b"{}", patience=0.2)
        assert not any(each.result(timeout=20).failed for each in running)
    assert not first.invoke(b"{}").failed


def test_invoke_answers_too_many_requests_as_lambda_does(
    task: Task, tmp_path: Path, events: EventQueue
) -> None:
    limit = ConcurrencyLimit(1)
    variables = {"Act": {"PATH": os.environ["PATH"], "AWS_REGION": REGION}}
    pools = Pools([task.function("Act")], variables, tmp_path, 4, limit)
    server = ThreadedServer(InnerEndpoints(pools, events, {"keys": []}), free_port())
    try:
        with limit.slot(), pytest.raises(ClientError) as caught:
            LambdaEndpoint(server.url).invoke("Act", b"{}")
        response: Any = caught.value.response
        assert response["Error"]["Code"] == "TooManyRequestsException"
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
        assert LambdaEndpoint(server.url).invoke("Act", b"{}")["StatusCode"] == 200
    finally:
        server.stop()
        pools.close()


def test_a_schedule_does_not_wait_for_the_function(
    events: EventQueue, make_pool: Any, notes: Path
) -> None:
    timer = Timer(events, make_pool(), '{"sleep": 4}', 0.3)
    timer.start()
    try:
        # Each invoke takes 4 s. One after the other, the third would begin after 8 s.
        until(lambda: len(lines(notes)) >= 3, seconds=8)
    finally:
        timer.stop()
