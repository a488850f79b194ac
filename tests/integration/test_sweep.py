"""The sweep finds what needs care, whatever else lives, and no receiver stops its other work."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import boto3
import psycopg
import pytest
from psycopg.rows import dict_row

from local.aws.resources import REGION
from masstock.database.connection import Database
from masstock.database.queries import sweeps, webhook_deliveries
from masstock.database.worker import Worker
from masstock.schemas.engine import ExecutionRun
from masstock.services.state_machine import StateMachine
from masstock.settings import FinalizeSettings
from masstock_finalize import sweep as sweeping
from masstock_finalize.deliveries import WEBHOOK_DELAYS, WEBHOOKS_AT_ONCE, WEBHOOKS_PER_CLIENT
from masstock_finalize.sweep import LOOKS_LIMIT, sweep
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, GLOBEX, JANE_OF_GLOBEX, JOHN_OF_ACME, WORKFLOW
from tests.support.handler import RESULTS_BUCKET, environment
from tests.support.receiver import dribbling, listening

pytestmark = pytest.mark.timeout(180)

FUNCTION_SECONDS = 60
USER_OF = {ACME: JOHN_OF_ACME, GLOBEX: JANE_OF_GLOBEX}
# A machine that runs for as long as a test.
WAITING = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}}


@pytest.fixture
def superuser(fresh_database: Urls) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with connected(fresh_database.superuser) as connection:
        connection.row_factory = dict_row  # pyright: ignore[reportAttributeAccessIssue]
        yield connection  # pyright: ignore[reportReturnType]


@pytest.fixture
def worker(
    fresh_database: Urls, aws_url: str, vault: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Worker]:
    vault |= {"worker": fresh_database.worker, "master": "the master secret"}
    monkeypatch.setattr("masstock_finalize.deliveries.read_secret", vault.__getitem__)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "MasStock")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "masstock-test")
    with environment(fresh_database, aws_url), closing(Database("worker")) as database:
        yield Worker(database)


@pytest.fixture
def settings(aws_url: str) -> Iterator[FinalizeSettings]:
    """With a state machine whose runs do not end."""
    client = boto3.client(
        "stepfunctions",
        endpoint_url=aws_url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    arn = client.create_state_machine(
        name=f"waiting-{uuid4()}",
        definition=json.dumps(WAITING),
        roleArn="arn:aws:iam::123456789012:role/any",
    )["stateMachineArn"]
    yield FinalizeSettings(
        {
            "DATABASE_SECRET_ID": "worker",
            "RESULTS_BUCKET": RESULTS_BUCKET,
            "STATE_MACHINE_ARN": arn,
            "ARCHIVE_FUNCTION_ARN": "archive:live",
            "UPLOADS_BUCKET": "uploads",
            "WEBHOOK_SECRET_ID": "master",
            "ALLOW_PRIVATE_WEBHOOKS": "true",
        }
    )
    client.delete_state_machine(stateMachineArn=arn)


def insert_execution(
    superuser: psycopg.Connection[dict[str, Any]],
    *,
    status: str,
    client: UUID = ACME,
    created_seconds_ago: float = 0,
    deadline_in: float = 3600,
) -> UUID:
    execution_id = uuid4()
    superuser.execute(
        "INSERT INTO public.workflow_executions (id, workflow_id, client_id, user_id, status,"
        " input_data, created_at, deadline_at)"
        ' VALUES (%s, %s, %s, %s, %s, \'{"prompts": ["x"]}\', now() - make_interval(secs => %s),'
        " now() + make_interval(secs => %s))",
        [
            execution_id,
            WORKFLOW,
            client,
            USER_OF[client],
            status,
            created_seconds_ago,
            deadline_in,
        ],
    )
    return execution_id


def insert_deliveries(
    superuser: psycopg.Connection[dict[str, Any]],
    client: UUID,
    url: str,
    *,
    count: int = 1,
    attempts: int = 1,
) -> None:
    """Deliveries of one execution each that have been due for a second."""
    for _ in range(count):
        execution_id = insert_execution(superuser, status="completed", client=client)
        superuser.execute(
            "INSERT INTO public.webhook_deliveries (execution_id, client_id, run, url,"
            " secret_version, payload, attempts, next_attempt_at)"
            " VALUES (%s, %s, 0, %s, 1, '{}', %s, now() - interval '1 second')",
            [execution_id, client, url, attempts],
        )


def state(superuser: psycopg.Connection[dict[str, Any]], execution_id: UUID) -> tuple[str, int]:
    [row] = superuser.execute(
        "SELECT status, run FROM public.workflow_executions WHERE id = %s", [execution_id]
    ).fetchall()
    return row["status"], row["run"]


def deliveries_of(
    superuser: psycopg.Connection[dict[str, Any]], client: UUID
) -> list[dict[str, Any]]:
    return superuser.execute(
        "SELECT *, extract(epoch FROM delivered_at)::float8 AS delivered FROM"
        " public.webhook_deliveries WHERE client_id = %s ORDER BY run",
        [client],
    ).fetchall()


# --- executions -----------------------------------------------------------------------------------


def test_what_needs_care_is_found_behind_500_healthy_executions(
    superuser: psycopg.Connection[dict[str, Any]], worker: Worker, settings: FinalizeSettings
) -> None:
    """The healthy ones are older, and their machines run."""
    machine = StateMachine(settings.state_machine_arn)
    healthy = [
        insert_execution(superuser, status="processing", created_seconds_ago=9000 - number)
        for number in range(LOOKS_LIMIT + 20)
    ]
    with ThreadPoolExecutor(4) as crowd:
        list(crowd.map(lambda each: machine.start(ExecutionRun(each, 0)), healthy))
    never_started = insert_execution(superuser, status="pending", created_seconds_ago=40)
    fresh = insert_execution(superuser, status="pending")
    overdue = insert_execution(superuser, status="processing", deadline_in=-1)
    lost = insert_execution(superuser, status="processing")

    began = time.monotonic()
    first = sweep(worker, settings)
    assert time.monotonic() - began < FUNCTION_SECONDS
    assert first["live"] == len(healthy) + 3
    assert machine.status(ExecutionRun(never_started, 0)) == "RUNNING"
    assert machine.status(ExecutionRun(fresh, 0)) is None
    assert state(superuser, overdue) == ("failed", 0)

    # Running machines must be asked for one by one, so that this kind takes turns.
    for _ in range(5):
        if state(superuser, lost) == ("processing", 1):
            break
        sweep(worker, settings)
    assert state(superuser, lost) == ("processing", 1)
    assert machine.status(ExecutionRun(lost, 1)) == "RUNNING"
    assert {state(superuser, each) for each in healthy} == {("processing", 0)}


@pytest.mark.parametrize("kind", sweeps.KINDS)
def test_executions_that_fail_each_time_do_not_hide_the_others(
    superuser: psycopg.Connection[dict[str, Any]],
    worker: Worker,
    settings: FinalizeSettings,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    status = "processing" if kind == "overdue" else kind
    known = [
        insert_execution(
            superuser,
            status=status,
            created_seconds_ago=1000 - number,
            deadline_in=number - 1000 if kind == "overdue" else 3600,
        )
        for number in range(10)
    ]
    looked: list[UUID] = []

    def fail(worker: Worker, row: sweeps.LiveExecution, settings: FinalizeSettings) -> bool:
        looked.append(row["id"])
        raise RuntimeError

    monkeypatch.setattr(sweeping, "LOOKS_LIMIT", 4)
    monkeypatch.setattr(sweeping, "recover", fail)
    for _ in range(3):
        assert sweep(worker, settings)["failed"] == 4
    assert looked == [*known, *known[:2]]


def test_an_execution_that_ends_the_function_is_not_the_next_sweeps_first(
    superuser: psycopg.Connection[dict[str, Any]],
    worker: Worker,
    settings: FinalizeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = [
        insert_execution(superuser, status="processing", created_seconds_ago=1000 - number)
        for number in range(2)
    ]
    looked: list[UUID] = []

    def die(worker: Worker, row: sweeps.LiveExecution, settings: FinalizeSettings) -> bool:
        looked.append(row["id"])
        raise SystemExit

    monkeypatch.setattr(sweeping, "recover", die)
    for _ in range(2):
        with pytest.raises(SystemExit):
            sweep(worker, settings)
    assert looked == known


def test_deleted_executions_that_fail_do_not_hide_the_others(
    superuser: psycopg.Connection[dict[str, Any]],
    worker: Worker,
    settings: FinalizeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = {uuid4() for _ in range(25)}
    for each in gone:
        superuser.execute(
            "INSERT INTO app_private.deleted_executions (execution_id) VALUES (%s)", [each]
        )
    tried: list[UUID] = []

    def fail(results: object, execution_id: UUID) -> int:
        tried.append(execution_id)
        raise RuntimeError("storage")

    monkeypatch.setattr("masstock.services.storage.Results.remove_all", fail)
    with pytest.raises(RuntimeError, match="storage"):
        sweep(worker, settings)
    assert set(tried) == gone


# --- webhooks -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_slow_receiver_delays_neither_another_client_nor_the_sweep(
    superuser: psycopg.Connection[dict[str, Any]],
    fresh_database: Urls,
    worker: Worker,
    settings: FinalizeSettings,
) -> None:
    """One receiver sends a byte every three seconds and has 30 deliveries due. Another client's
    first attempt fails; its repeat becomes due while the slow receiver is called."""
    lost = insert_execution(superuser, status="pending", created_seconds_ago=40)
    with dribbling(b"HTTP/1.1 200 OK\r\n" * 10, seconds=3) as slow, listening() as quick:
        insert_deliveries(superuser, ACME, slow.url, count=30)
        insert_deliveries(superuser, GLOBEX, quick.url)
        insert_deliveries(superuser, GLOBEX, f"http://127.0.0.1:{quick.port}/repeat", attempts=0)
        answers = {"/hook": [204], "/repeat": [500, 204]}
        quick.status_of = lambda path: answers[path].pop(0)
        began, wall_clock = time.monotonic(), time.time()
        with ThreadPoolExecutor(1) as background:
            swept = background.submit(sweep, worker, settings)
            while time.monotonic() - began < 5:
                if all(row["response_status"] for row in deliveries_of(superuser, GLOBEX)):
                    break
                time.sleep(0.1)
            statuses = {row["response_status"] for row in deliveries_of(superuser, GLOBEX)}
            assert statuses == {204, 500}, "recorded while the slow receiver is still called"
            assert not swept.done()
            assert StateMachine(settings.state_machine_arn).status(ExecutionRun(lost, 0))
            counts = swept.result(FUNCTION_SECONDS)
        assert time.monotonic() - began < FUNCTION_SECONDS - 2
        [repeat] = [row for row in deliveries_of(superuser, GLOBEX) if row["url"] != quick.url]
        assert 15 <= repeat["delivered"] - wall_clock < 15 + 5
        assert counts["webhooks_delivered"] == 2
        slow_ones = deliveries_of(superuser, ACME)
        assert {row["error_message"] for row in slow_ones} <= {None, "No answer within 10 s."}
        # Every attempt that was begun has been recorded: 45 s in shares of 10 s.
        begun = sum(row["attempts"] - 1 for row in slow_ones)
        assert 4 * WEBHOOKS_PER_CLIENT <= begun <= 6 * WEBHOOKS_PER_CLIENT
        assert slow.connections == begun


def claim(worker: Worker, limit: int = WEBHOOKS_AT_ONCE, busy: list[UUID] | None = None) -> Any:
    return webhook_deliveries.claim_deliveries(
        worker,
        limit=limit,
        per_client=WEBHOOKS_PER_CLIENT,
        busy=busy or [],
        delays=WEBHOOK_DELAYS,
    )


def clients_of(rows: Any) -> list[UUID]:
    return sorted(row["client_id"] for row in rows)


def test_a_client_has_no_more_than_its_share_of_the_attempts(
    superuser: psycopg.Connection[dict[str, Any]], worker: Worker
) -> None:
    insert_deliveries(superuser, ACME, "https://acme.example", count=100)
    insert_deliveries(superuser, GLOBEX, "https://globex.example", count=2)
    assert clients_of(claim(worker)) == sorted([ACME] * WEBHOOKS_PER_CLIENT + [GLOBEX] * 2)
    assert claim(worker, busy=[ACME] * WEBHOOKS_PER_CLIENT) == []
    assert clients_of(claim(worker, busy=[ACME] * 3)) == [ACME] * (WEBHOOKS_PER_CLIENT - 3)


def test_a_client_with_fewer_attempts_comes_first(
    superuser: psycopg.Connection[dict[str, Any]], worker: Worker
) -> None:
    insert_deliveries(superuser, ACME, "https://acme.example", count=100)
    insert_deliveries(superuser, GLOBEX, "https://globex.example", count=2)
    assert clients_of(claim(worker, limit=1, busy=[ACME])) == [GLOBEX]
    assert clients_of(claim(worker, limit=2)) == sorted([ACME, GLOBEX])


def test_sweeps_at_the_same_time_claim_each_delivery_once(
    superuser: psycopg.Connection[dict[str, Any]], worker: Worker
) -> None:
    insert_deliveries(superuser, ACME, "https://acme.example", count=20)
    together = threading.Barrier(8)

    def claim_once(_: int) -> list[UUID]:
        with closing(Database("worker")) as connection:
            another = Worker(connection)
            another.fetch_all("SELECT 1")
            together.wait(20)
            return [row["id"] for _ in range(5) for row in claim(another)]

    with ThreadPoolExecutor(8) as crowd:
        claimed = [each for rows in crowd.map(claim_once, range(8)) for each in rows]
    assert len(claimed) == len(set(claimed)) == 20


def test_a_part_that_fails_does_not_stop_the_webhooks(
    superuser: psycopg.Connection[dict[str, Any]],
    worker: Worker,
    settings: FinalizeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no list")

    monkeypatch.setattr(sweeps, "list_live_executions", fail)
    with listening() as receiver:
        insert_deliveries(superuser, ACME, receiver.url)
        with pytest.raises(RuntimeError, match="no list"):
            sweep(worker, settings)
        assert len(receiver.received) == 1


def test_a_list_of_executions_that_takes_too_long_leaves_time_for_the_webhooks(
    superuser: psycopg.Connection[dict[str, Any]],
    worker: Worker,
    settings: FinalizeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(5):
        insert_execution(superuser, status="processing", created_seconds_ago=100)

    looked_at: list[UUID] = []

    def slow(worker: Worker, row: sweeps.LiveExecution, settings: FinalizeSettings) -> bool:
        looked_at.append(row["id"])
        time.sleep(0.6)
        return False

    monkeypatch.setattr(sweeping, "RECOVER_SECONDS", 1)
    monkeypatch.setattr(sweeping, "recover", slow)
    with listening() as receiver:
        insert_deliveries(superuser, ACME, receiver.url)
        assert sweep(worker, settings)["webhooks_delivered"] == 1
    assert 1 <= len(looked_at) < 5
