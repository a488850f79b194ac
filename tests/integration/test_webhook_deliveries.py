"""A delivery is repeated until the receiver accepts it, and a crash loses none."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.rows import dict_row
from standardwebhooks import Webhook

from masstock.database.connection import Database
from masstock.database.worker import Worker
from masstock.errors import NotFinished
from masstock.schemas.engine import ExecutionRun
from masstock.services import webhooks
from masstock.settings import FinalizeSettings
from masstock_finalize.deliveries import WEBHOOK_DELAYS, deliver_due, deliver_first
from masstock_finalize.ending import end_run
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, JOHN_OF_ACME, WORKFLOW
from tests.support.receiver import Receiver, listening

ENVIRONMENT = {
    "DATABASE_SECRET_ID": "worker",
    "RESULTS_BUCKET": "results",
    "STATE_MACHINE_ARN": "arn",
    "ARCHIVE_FUNCTION_ARN": "archive:live",
    "UPLOADS_BUCKET": "uploads",
    "WEBHOOK_SECRET_ID": "master",
    "ALLOW_PRIVATE_WEBHOOKS": "true",
}
SETTINGS = FinalizeSettings(ENVIRONMENT)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as receiver:
        yield receiver


@pytest.fixture
def worker(
    fresh_database: Urls, vault: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Worker]:
    vault |= {"worker": fresh_database.worker, "master": "the master secret"}
    monkeypatch.setattr("masstock_finalize.deliveries.read_secret", vault.__getitem__)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "MasStock")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "masstock-test")
    database = Database("worker")
    yield Worker(database)
    database.close()


@pytest.fixture
def ended(fresh_database: Urls, worker: Worker, receiver: Receiver) -> UUID:
    """An ended execution with a webhook."""
    execution_id = uuid4()
    with connected(fresh_database.superuser) as connection:
        connection.execute(
            "INSERT INTO public.workflow_executions"
            " (id, workflow_id, client_id, user_id, status, input_data, webhook_url)"
            " VALUES (%s, %s, %s, %s, 'processing', '{\"prompts\": [\"x\"]}', %s)",
            [execution_id, WORKFLOW, ACME, JOHN_OF_ACME, receiver.url],
        )
    assert end_run(worker, ExecutionRun(execution_id, 0), NotFinished()) == (
        "failed",
        True,
    )
    return execution_id


def delivery(database: Urls) -> dict[str, Any]:
    with connected(database.superuser) as connection:
        cursor = connection.cursor(row_factory=dict_row)
        [row] = cursor.execute(
            "SELECT *, extract(epoch FROM next_attempt_at - now())::float8 AS due_in"
            " FROM public.webhook_deliveries"
        ).fetchall()
    return row


def let_time_pass(database: Urls) -> None:
    with connected(database.superuser) as connection:
        connection.execute("UPDATE public.webhook_deliveries SET next_attempt_at = now()")


def test_the_same_message_is_repeated_until_it_is_accepted(
    fresh_database: Urls, worker: Worker, receiver: Receiver, ended: UUID
) -> None:
    receiver.status = 500
    assert deliver_due(worker, SETTINGS, until=0) == 0
    assert receiver.received == [], "the first attempt is the machine's"
    assert deliver_first(worker, SETTINGS, ended) == 0
    kept = delivery(fresh_database)
    assert (kept["attempts"], kept["response_status"], kept["delivered_at"]) == (1, 500, None)
    assert webhooks.TIMEOUT_SECONDS < kept["due_in"] <= 15
    assert deliver_first(worker, SETTINGS, ended) == 0
    assert deliver_due(worker, SETTINGS, until=0) == 0
    assert len(receiver.received) == 1, "not before it is due"
    let_time_pass(fresh_database)
    receiver.status = 200
    assert deliver_due(worker, SETTINGS, until=0) == 1
    first, second = receiver.received
    assert first[1]["webhook-id"] == second[1]["webhook-id"]
    assert first[2] == second[2]
    secret = webhooks.client_secret("the master secret", ACME, 1)
    assert Webhook(secret).verify(second[2], second[1])["data"]["id"] == str(ended)
    let_time_pass(fresh_database)
    assert deliver_due(worker, SETTINGS, until=0) == 0
    assert len(receiver.received) == 2


def test_a_crash_between_claim_and_record_only_delays_the_delivery(
    fresh_database: Urls, worker: Worker, receiver: Receiver, ended: UUID
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(webhooks, "send", lambda *_, **__: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            deliver_first(worker, SETTINGS, ended)
    assert delivery(fresh_database)["due_in"] > 0
    let_time_pass(fresh_database)
    assert deliver_due(worker, SETTINGS, until=0) == 1


def test_a_receiver_that_answers_gone_gets_no_more_attempts(
    fresh_database: Urls, worker: Worker, receiver: Receiver, ended: UUID
) -> None:
    receiver.status = 410
    deliver_first(worker, SETTINGS, ended)
    kept = delivery(fresh_database)
    assert (kept["next_attempt_at"], kept["delivered_at"]) == (None, None)


def test_after_the_last_attempt_the_delivery_ends(
    fresh_database: Urls, worker: Worker, receiver: Receiver, ended: UUID
) -> None:
    receiver.status = 503
    attempts = len(WEBHOOK_DELAYS) + 1
    for _ in range(attempts):
        assert delivery(fresh_database)["next_attempt_at"] is not None
        let_time_pass(fresh_database)
        deliver_due(worker, SETTINGS, until=0)
    kept = delivery(fresh_database)
    assert (kept["attempts"], kept["next_attempt_at"]) == (attempts, None)


def test_ending_twice_sends_one_webhook(
    fresh_database: Urls, worker: Worker, receiver: Receiver, ended: UUID
) -> None:
    assert end_run(worker, ExecutionRun(ended, 0), NotFinished()) == ("ended", False)
    assert delivery(fresh_database)["attempts"] == 0


def test_private_addresses_are_refused_again_when_sending(
    fresh_database: Urls, worker: Worker, receiver: Receiver, ended: UUID
) -> None:
    """The address was allowed at submission."""
    strict = FinalizeSettings({**ENVIRONMENT, "ALLOW_PRIVATE_WEBHOOKS": "false"})
    assert deliver_first(worker, strict, ended) == 0
    assert receiver.received == []
    assert "https" in delivery(fresh_database)["error_message"]
