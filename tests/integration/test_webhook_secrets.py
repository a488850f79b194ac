"""A replaced webhook secret signs for another 24 hours, and one that leaked signs nothing any more.
The official libraries for Python and npm judge."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from masstock.database.connection import Database
from masstock.database.worker import Worker
from masstock.errors import NotFinished
from masstock.schemas.engine import ExecutionRun
from masstock.settings import FinalizeSettings
from masstock_finalize.deliveries import deliver_due, deliver_first
from masstock_finalize.ending import end_run
from tests.integration.test_webhook_deliveries import ENVIRONMENT, let_time_pass
from tests.support import node
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, JOHN_OF_ACME, WORKFLOW
from tests.support.handler import SECRETS, Api, environment
from tests.support.receiver import Receiver, listening

SETTINGS = FinalizeSettings(ENVIRONMENT)
PATH = f"/v1/clients/{ACME}/webhook-secret"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as receiver:
        yield receiver


@pytest.fixture
def api(fresh_database: Urls, aws_url: str, vault: dict[str, str]) -> Iterator[Api]:
    vault[f"database {fresh_database.name}"] = fresh_database.api
    with environment(fresh_database, aws_url):
        yield Api()


@pytest.fixture
def worker(
    fresh_database: Urls, vault: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Worker]:
    vault |= {"worker": fresh_database.worker, "master": SECRETS["webhook"]}
    monkeypatch.setattr("masstock_finalize.deliveries.read_secret", vault.__getitem__)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "MasStock")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "masstock-test")
    database = Database("worker")
    yield Worker(database)
    database.close()


def running(database: Urls, receiver: Receiver) -> UUID:
    execution_id = uuid4()
    with connected(database.superuser) as connection:
        connection.execute(
            "INSERT INTO public.workflow_executions"
            " (id, workflow_id, client_id, user_id, status, input_data, webhook_url)"
            " VALUES (%s, %s, %s, %s, 'processing', '{\"prompts\": [\"x\"]}', %s)",
            [execution_id, WORKFLOW, ACME, JOHN_OF_ACME, receiver.url],
        )
    return execution_id


def secret(api: Api) -> str:
    answer = api.call("client_a", "GET", PATH)
    assert answer.json is not None
    return answer.json["secret"]


def replace(api: Api, **body: Any) -> dict[str, Any]:
    answer = api.call("admin", "POST", PATH, **({"json": body} if body else {}))
    assert answer.status_code == 200, answer.text
    assert answer.json is not None
    return answer.json


def verifies(secret: str, delivery: tuple[str, dict[str, str], bytes]) -> bool:
    try:
        Webhook(secret).verify(delivery[2], delivery[1])
    except WebhookVerificationError:
        return False
    return True


def judged(folder: Path, secrets: list[str], receiver: Receiver) -> list[list[bool]]:
    """Which secrets verify each delivery so far, as both libraries say."""
    by_python = [[verifies(secret, each) for secret in secrets] for each in receiver.received]
    deliveries = [
        {"headers": headers, "body": body.decode()} for _, headers, body in receiver.received
    ]
    told = node.run(
        folder,
        "verify.mjs",
        text=json.dumps({"secrets": secrets, "deliveries": deliveries}),
    )
    assert json.loads(told) == by_python
    return by_python


def test_the_replaced_secret_signs_for_another_day_unless_it_leaked(
    fresh_database: Urls, api: Api, worker: Worker, receiver: Receiver, tmp_path: Path
) -> None:
    ids = [running(fresh_database, receiver) for _ in range(6)]
    first_id, second_id, third_id, fourth_id, fifth_id, sixth_id = ids

    def end(execution_id: UUID) -> None:
        end_run(worker, ExecutionRun(execution_id, 0), NotFinished())
        deliver_first(worker, SETTINGS, execution_id)

    secrets = [secret(api)]
    end(first_id)
    replaced = replace(api)
    assert (replaced["version"], secret(api)) == (2, replaced["secret"])
    left = datetime.fromisoformat(replaced["overlaps_until"]) - datetime.now(UTC)
    assert timedelta(hours=24, seconds=-60) < left <= timedelta(hours=24)
    secrets.append(replaced["secret"])
    end(second_id)
    # A second change leaves the first secret its day.
    secrets.append(replace(api, leaked=False)["secret"])
    end(third_id)
    with connected(fresh_database.superuser) as connection:
        connection.execute(
            "UPDATE app_private.webhook_overlaps SET until = now() WHERE version = 1"
        )
    receiver.status = 500
    end(fourth_id)
    leaked = replace(api, leaked=True)
    assert leaked["overlaps_until"] is None
    secrets.append(leaked["secret"])
    # The repeat of a message, too, has no signature of a secret that leaked.
    receiver.status = 200
    let_time_pass(fresh_database)
    assert deliver_due(worker, SETTINGS, until=0) == 1
    # Nor has an execution that was running, also after a usual change.
    end(fifth_id)
    secrets.append(replace(api)["secret"])
    end(sixth_id)
    assert judged(tmp_path, secrets, receiver) == [
        [True, False, False, False, False],
        [True, True, False, False, False],
        [True, True, True, False, False],
        [False, True, True, False, False],
        [False, False, False, True, False],
        [False, False, False, True, False],
        [False, False, False, True, True],
    ]
    assert len({headers["webhook-id"] for _, headers, _ in receiver.received}) == 6


def test_only_administrators_replace_a_secret_and_only_its_client_sees_it(api: Api) -> None:
    before = secret(api)
    assert api.call("client_a", "POST", PATH, json={"leaked": True}).status_code == 403
    assert api.call("client_b", "POST", PATH, json={"leaked": True}).status_code == 404
    assert api.call("client_b", "GET", PATH).status_code == 404
    assert api.call("admin", "POST", PATH, json={"leaked": "yes"}).status_code == 422
    assert secret(api) == before


def test_injected_sql_of_a_client_replaces_no_secret(api: Api, fresh_database: Urls) -> None:
    with connected(fresh_database.superuser) as connection:
        connection.execute("SET ROLE masstock_admin")
        # The role alone is no identity.
        told = connection.execute("SELECT app.advance_webhook_secret(%s, true)", [ACME]).fetchone()
    assert told == (None,)
