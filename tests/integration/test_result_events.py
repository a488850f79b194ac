"""Results are told in batches, in order, at least once, and before the end of their execution."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from masstock.database.connection import Database
from masstock.database.queries import webhook_deliveries
from masstock.database.worker import Worker
from masstock.errors import NotFinished
from masstock.schemas.engine import ExecutionRun
from masstock.settings import FinalizeSettings
from masstock_finalize.deliveries import WEBHOOK_DELAYS, deliver_due, deliver_first
from masstock_finalize.ending import end_run
from masstock_finalize.sweep import _announce_results
from tests.integration.test_webhook_deliveries import ENVIRONMENT
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, JOHN_OF_ACME, WORKFLOW
from tests.support.receiver import Receiver, listening

SETTINGS = FinalizeSettings(ENVIRONMENT)
ALL = ["result.completed", "result.failed", "execution.completed", "execution.failed"]
FOREVER = float("inf")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as receiver:
        yield receiver


@pytest.fixture
def owner(fresh_database: Urls) -> Iterator[psycopg.Connection]:
    with connected(fresh_database.superuser) as connection:
        yield connection


@pytest.fixture
def worker(
    fresh_database: Urls, vault: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Worker]:
    vault |= {"worker": fresh_database.worker, "master": "the master secret"}
    monkeypatch.setattr("masstock_finalize.deliveries.read_secret", vault.__getitem__)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "MasStock")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "masstock-test")
    with closing(Database("worker")) as database:
        yield Worker(database)


def running(owner: psycopg.Connection, url: str, prompts: int, events: Sequence[str] = ALL) -> UUID:
    """A running execution with a row for each prompt."""
    execution_id = uuid4()
    owner.execute(
        "INSERT INTO public.workflow_executions (id, workflow_id, client_id, user_id, status,"
        " input_data, webhook_url, webhook_events) VALUES (%s, %s, %s, %s, 'processing',"
        " jsonb_build_object('prompts', array_fill('x'::text, ARRAY[%s])), %s, %s)",
        [execution_id, WORKFLOW, ACME, JOHN_OF_ACME, prompts, url, list(events)],
    )
    owner.execute(
        "INSERT INTO public.workflow_batch_results (execution_id, client_id, batch_index,"
        " prompt_text) SELECT %s, %s, n, 'x' FROM generate_series(0, %s - 1) n",
        [execution_id, ACME, prompts],
    )
    return execution_id


def settle(
    owner: psycopg.Connection, execution_id: UUID, indices: range, status: str = "completed"
) -> None:
    owner.execute(
        "UPDATE public.workflow_batch_results SET status = %s, completed_at = now(),"
        " error_code = CASE WHEN %s = 'failed' THEN 'no_image' END"
        " WHERE execution_id = %s AND batch_index = ANY (%s)",
        [status, status, execution_id, list(indices)],
    )


def sweep(worker: Worker, *, send: bool = True) -> None:
    _announce_results(worker, until=FOREVER)
    if send:
        deliver_due(worker, SETTINGS, until=FOREVER)


def bodies(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(body) for _, _, body in receiver.received]


def told(receiver: Receiver) -> list[tuple[str, list[int]]]:
    """Type and batch indices of each message so far."""
    return [
        (body["type"], [result["batch_index"] for result in body["data"].get("results", [])])
        for body in bodies(receiver)
    ]


def end(worker: Worker, execution_id: UUID, run: int = 0) -> bool:
    return end_run(worker, ExecutionRun(execution_id, run), NotFinished())[1]


def let_time_pass(owner: psycopg.Connection) -> None:
    owner.execute(
        "UPDATE public.webhook_deliveries SET next_attempt_at = now()"
        " WHERE next_attempt_at < 'infinity'"
    )


def test_ten_thousand_results_arrive_in_batches_in_order_before_the_end(
    owner: psycopg.Connection, worker: Worker, receiver: Receiver
) -> None:
    execution_id = running(owner, receiver.url, 10_000)
    settle(owner, execution_id, range(250))
    sweep(worker)
    settle(owner, execution_id, range(250, 7000))
    settle(owner, execution_id, range(7000, 7150), "failed")
    sweep(worker, send=False)
    settle(owner, execution_id, range(7150, 10_000))
    assert end(worker, execution_id)
    deliver_first(worker, SETTINGS, execution_id)
    messages = told(receiver)
    assert messages.pop() == ("execution.completed", [])
    assert max(len(indices) for _, indices in messages) == 100
    assert [len(indices) for _, indices in messages[:3]] == [100, 100, 50]
    of_type: dict[str, list[int]] = {"result.completed": [], "result.failed": []}
    for kind, indices in messages:
        of_type[kind] += indices
    assert of_type["result.failed"] == list(range(7000, 7150))
    assert of_type["result.completed"] == [*range(7000), *range(7150, 10_000)]
    assert len({headers["webhook-id"] for _, headers, _ in receiver.received}) == len(messages) + 1
    first = bodies(receiver)[0]["data"]
    assert first["execution_id"] == str(execution_id)
    assert first["results"][0]["status"] == "completed"


def test_a_message_waits_until_the_one_before_it_is_accepted(
    owner: psycopg.Connection, worker: Worker, receiver: Receiver
) -> None:
    execution_id = running(owner, receiver.url, 150)
    settle(owner, execution_id, range(120))
    receiver.status = 500
    sweep(worker)
    sweep(worker)
    settle(owner, execution_id, range(120, 150))
    assert end(worker, execution_id)
    assert deliver_first(worker, SETTINGS, execution_id) == 0
    assert told(receiver) == [("result.completed", list(range(100)))]
    let_time_pass(owner)
    receiver.status = 200
    assert deliver_due(worker, SETTINGS, until=FOREVER) == 4
    assert told(receiver) == [
        ("result.completed", list(range(100))),
        ("result.completed", list(range(100))),
        ("result.completed", list(range(100, 120))),
        ("result.completed", list(range(120, 150))),
        ("execution.completed", []),
    ]
    first, second, third, *_ = (headers["webhook-id"] for _, headers, _ in receiver.received)
    assert first == second != third


def test_a_queue_goes_on_after_a_message_that_nobody_accepts(
    owner: psycopg.Connection, worker: Worker, receiver: Receiver
) -> None:
    execution_id = running(owner, receiver.url, 150)
    settle(owner, execution_id, range(150))
    sweep(worker, send=False)
    owner.execute(
        "UPDATE public.webhook_deliveries SET attempts = %s WHERE next_attempt_at < 'infinity'",
        [len(WEBHOOK_DELAYS)],
    )
    # The last attempt begins, and the function dies.
    claimed = webhook_deliveries.claim_deliveries(
        worker, limit=9, per_client=9, busy=[], delays=WEBHOOK_DELAYS
    )
    assert len(claimed) == 1
    sweep(worker)
    assert told(receiver) == [("result.completed", list(range(100, 150)))]


def test_a_retried_result_is_told_again(
    owner: psycopg.Connection, worker: Worker, receiver: Receiver
) -> None:
    execution_id = running(owner, receiver.url, 3)
    settle(owner, execution_id, range(2))
    settle(owner, execution_id, range(2, 3), "failed")
    assert end(worker, execution_id)
    deliver_first(worker, SETTINGS, execution_id)
    assert not end(worker, execution_id)
    owner.execute(
        "UPDATE public.workflow_batch_results SET status = 'processing', completed_at = NULL"
        " WHERE status = 'failed'"
    )
    owner.execute("UPDATE public.workflow_executions SET status = 'processing', run = 1")
    sweep(worker)
    settle(owner, execution_id, range(2, 3))
    assert end(worker, execution_id, run=1)
    deliver_first(worker, SETTINGS, execution_id)
    assert told(receiver) == [
        ("result.completed", [0, 1]),
        ("result.failed", [2]),
        ("execution.completed", []),
        ("result.completed", [2]),
        ("execution.completed", []),
    ]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        (["execution.paused"], []),
        (["execution.failed"], []),
        (["execution.completed"], ["execution.completed"]),
        (["result.failed"], ["result.failed"]),
        (["result.completed"], ["result.completed"]),
        (ALL, ["result.completed", "result.failed", "execution.completed"]),
    ],
)
def test_a_webhook_gets_the_events_that_it_wants(
    owner: psycopg.Connection,
    worker: Worker,
    receiver: Receiver,
    events: list[str],
    expected: list[str],
) -> None:
    execution_id = running(owner, receiver.url, 2, events)
    settle(owner, execution_id, range(1))
    settle(owner, execution_id, range(1, 2), "failed")
    assert end(worker, execution_id) == bool(expected)
    deliver_first(worker, SETTINGS, execution_id)
    sweep(worker)
    assert [kind for kind, _ in told(receiver)] == expected


def test_the_sweep_and_the_end_of_a_run_do_not_lock_each_other_out(
    owner: psycopg.Connection, fresh_database: Urls, worker: Worker, receiver: Receiver
) -> None:
    execution_id = running(owner, receiver.url, 3)
    settle(owner, execution_id, range(3))
    with connected(fresh_database.worker) as ending, ending.transaction():
        ending.execute("SELECT FROM public.workflow_executions FOR UPDATE")
        sweeping = threading.Thread(target=sweep, args=(worker,), kwargs={"send": False})
        sweeping.start()
        while not owner.execute(
            "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        ).rowcount:
            pass
        query, values = webhook_deliveries.announce_results(execution_id)
        assert ending.execute(query, values).fetchone() == (3,)  # pyright: ignore
    sweeping.join(10)
    assert owner.execute("SELECT FROM public.webhook_deliveries").rowcount == 1


def test_messages_that_are_queued_at_once_get_places_of_their_own(
    owner: psycopg.Connection, fresh_database: Urls, receiver: Receiver
) -> None:
    execution_id = running(owner, receiver.url, 1)

    def queue(connection: psycopg.Connection, run: int | None) -> None:
        connection.execute(
            "INSERT INTO public.webhook_deliveries"
            " (execution_id, client_id, run, url, secret_version, next_attempt_at, payload)"
            ' VALUES (%s, %s, %s, %s, 1, now(), \'{"type": "x"}\')',
            [execution_id, ACME, run, receiver.url],
        )

    with connected(fresh_database.worker) as first, connected(fresh_database.worker) as second:
        with first.transaction():
            queue(first, 0)
            waiting = threading.Thread(target=queue, args=(second, None))
            waiting.start()
            waiting.join(0.5)
            assert waiting.is_alive()
            queue(first, 1)
        waiting.join(10)
    rows = owner.execute(
        "SELECT sequence, run FROM public.webhook_deliveries ORDER BY sequence"
    ).fetchall()
    assert rows == [(0, 0), (1, 1), (2, None)]
