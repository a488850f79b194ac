"""An execution with a canary pauses after its first images, and nothing but its caller, its end or
seven days ends the pause."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import pytest

from masstock.database.connection import Database
from masstock.database.worker import Worker
from masstock.errors import NotFinished
from masstock.schemas.engine import ExecutionRun
from masstock.services.state_machine import StateMachine
from masstock.settings import FanoutSettings, FinalizeSettings
from masstock_fanout.fan_out import fan_out
from masstock_finalize.canary import settle_canary
from masstock_finalize.ending import end_run
from masstock_finalize.sweep import sweep
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, JOHN_OF_ACME, WORKFLOW
from tests.support.engine import EACH, Engine, submit, used
from tests.support.handler import RESULTS_BUCKET, Api

FANOUT = FanoutSettings(
    {
        "DATABASE_SECRET_ID": "worker",
        "MAX_CONCURRENCY_DEFAULT": "5",
        "MAX_CONCURRENCY_LIMIT": "9",
    }
)


@pytest.fixture
def engine(fresh_database: Urls) -> Iterator[Engine]:
    with closing(Engine(fresh_database.worker)) as engine:
        yield engine


@pytest.fixture
def worker(
    fresh_database: Urls, vault: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Worker]:
    vault["worker"] = fresh_database.worker
    # The id that tests.support.handler gives to the api's login.
    vault[f"database {fresh_database.name}"] = fresh_database.api
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "MasStock")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "masstock-test")
    with closing(Database("worker")) as database:
        yield Worker(database)


class Machines:
    """The state machine. No machine runs for longer than a call."""

    def __init__(self) -> None:
        self.started: list[ExecutionRun] = []

    def start(self, run: ExecutionRun) -> None:
        self.started.append(run)


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Machines:
    found = Machines()
    monkeypatch.setattr(StateMachine, "start", lambda _, run: found.start(run))
    monkeypatch.setattr(
        StateMachine, "status", lambda _, run: "SUCCEEDED" if run in found.started else None
    )
    return found


@pytest.fixture
def settings() -> FinalizeSettings:
    return FinalizeSettings(
        {
            "DATABASE_SECRET_ID": "worker",
            "RESULTS_BUCKET": RESULTS_BUCKET,
            "STATE_MACHINE_ARN": "arn:aws:states:us-east-1:123456789012:stateMachine:any",
            "ARCHIVE_FUNCTION_ARN": "archive:live",
            "UPLOADS_BUCKET": "uploads",
            "WEBHOOK_SECRET_ID": "master",
            "ALLOW_PRIVATE_WEBHOOKS": "true",
        }
    )


def change(database: Urls, statement: Any, *values: object) -> None:
    with connected(database.superuser) as connection:
        connection.execute(statement, values)


def shown(api: Api, execution_id: UUID) -> dict[str, Any]:
    answer = api.call("client_a", "GET", f"/v1/executions/{execution_id}")
    assert answer.json is not None
    return answer.json


@pytest.fixture
def paused(
    fresh_database: Urls,
    engine: Engine,
    worker: Worker,
    settings: FinalizeSettings,
    machines: Machines,
) -> ExecutionRun:
    """Of five images two are painted, one of them in vain."""
    content = {"prompts": ["x"] * 5, "canary": {"images": 2, "continue_at": 0.9}}
    run = ExecutionRun(submit(fresh_database.superuser, content), 0)
    machines.started.append(run)
    assert fan_out(worker, run, FANOUT)["indices"] == [0, 1]
    engine.paint(engine.claim(run.execution_id, 0), EACH)
    fail(fresh_database, run.execution_id, 1)
    assert settle_canary(worker, run, settings) == ("paused", False)
    return run


def fail(database: Urls, execution_id: UUID, index: int) -> None:
    change(
        database,
        "UPDATE public.workflow_batch_results SET status = 'failed', error_code = 'no_image'"
        " WHERE execution_id = %s AND batch_index = %s",
        execution_id,
        index,
    )


def test_a_paused_execution_is_left_alone_until_it_is_resumed(
    fresh_database: Urls,
    fresh_api: Api,
    engine: Engine,
    worker: Worker,
    settings: FinalizeSettings,
    machines: Machines,
    paused: ExecutionRun,
) -> None:
    execution_id = paused.execution_id
    before = shown(fresh_api, execution_id)
    assert before["status"] == "processing"
    assert before["paused_at"] is not None
    assert before["pace"]["limited_by"] == "canary"
    progress = before["progress"]
    assert (progress["processing"], progress["paused"], progress["waiting"]) == (3, 3, 0)
    # A deadline, a sweep, and steps that come twice change nothing.
    hours = "now() - interval '2 hours'"
    change(
        fresh_database,
        f"UPDATE public.workflow_executions SET deadline_at = {hours} + interval '1 minute',"
        f" paused_at = {hours} WHERE id = %s",
        execution_id,
    )
    assert settle_canary(worker, paused, settings) is None
    assert end_run(worker, paused, NotFinished())[0] == "ended"
    assert fan_out(worker, paused, FANOUT)["indices"] == []
    sweep(worker, settings)
    assert machines.started == [paused]
    assert shown(fresh_api, execution_id)["status"] == "processing"
    # The deadline moves by the time of the pause.
    answer = fresh_api.call("client_a", "POST", f"/v1/executions/{execution_id}/resume")
    assert answer.status_code == 202, answer.text
    again = fresh_api.call("client_a", "POST", f"/v1/executions/{execution_id}/resume")
    assert again.status_code == 409
    with connected(fresh_database.superuser) as connection:
        [(seconds,)] = connection.execute(
            "SELECT extract(epoch FROM deadline_at - now()) FROM public.workflow_executions"
            " WHERE id = %s",
            [execution_id],
        ).fetchall()
    assert 0 < seconds <= 60
    run = ExecutionRun(execution_id, 1)
    assert machines.started == [paused, run]
    assert fan_out(worker, run, FANOUT)["indices"] == [2, 3, 4]
    for index in (2, 3, 4):
        engine.paint(engine.claim(execution_id, index), EACH)
    assert settle_canary(worker, run, settings) is None
    assert end_run(worker, run, NotFinished())[0] == "completed"
    assert used(fresh_database.superuser) == 4 * EACH
    assert shown(fresh_api, execution_id)["output_data"]["successful"] == 4


def test_a_good_canary_goes_on_by_itself(
    fresh_database: Urls,
    engine: Engine,
    worker: Worker,
    settings: FinalizeSettings,
    machines: Machines,
) -> None:
    content = {"prompts": ["x"] * 4, "canary": {"images": 2, "continue_at": 0.5}}
    run = ExecutionRun(submit(fresh_database.superuser, content), 0)
    fan_out(worker, run, FANOUT)
    engine.paint(engine.claim(run.execution_id, 0), EACH)
    fail(fresh_database, run.execution_id, 1)
    assert settle_canary(worker, run, settings) == ("processing", False)
    following = ExecutionRun(run.execution_id, 1)
    assert machines.started == [following]
    # The first machine's step may come twice.
    assert settle_canary(worker, run, settings) is None
    assert end_run(worker, run, NotFinished())[0] == "ended"
    assert fan_out(worker, following, FANOUT)["indices"] == [2, 3]


def test_a_canary_of_all_images_pauses_nothing(
    fresh_database: Urls, worker: Worker, settings: FinalizeSettings, machines: Machines
) -> None:
    content = {"prompts": ["x"] * 2, "canary": {"images": 1e300}}
    run = ExecutionRun(submit(fresh_database.superuser, content), 0)
    assert fan_out(worker, run, FANOUT)["indices"] == [0, 1]
    assert settle_canary(worker, run, settings) is None


@pytest.mark.parametrize("end", ["seven days", "a cancellation"])
def test_a_pause_that_nobody_resumes_ends(
    fresh_database: Urls,
    fresh_api: Api,
    worker: Worker,
    settings: FinalizeSettings,
    paused: ExecutionRun,
    end: str,
) -> None:
    path = f"/v1/executions/{paused.execution_id}"
    if end == "a cancellation":
        assert fresh_api.call("client_a", "POST", f"{path}/cancel").status_code == 200
    else:
        change(
            fresh_database,
            "UPDATE public.workflow_executions SET paused_at = now() - interval '8 days'",
        )
        sweep(worker, settings)
    assert fresh_api.call("client_a", "POST", f"{path}/resume").status_code == 409
    change(
        fresh_database,
        "UPDATE public.workflow_executions SET stopped_at = now() - interval '1 minute'"
        " WHERE stopped_at IS NOT NULL",
    )
    sweep(worker, settings)
    execution = shown(fresh_api, paused.execution_id)
    assert (execution["status"], execution["error_code"]) == ("failed", "cancelled")
    assert used(fresh_database.superuser) == EACH
    # A retry paints the rest without another pause.
    assert fresh_api.call("client_a", "POST", f"{path}/retry").status_code == 202
    run = ExecutionRun(paused.execution_id, 1)
    assert fan_out(worker, run, FANOUT)["indices"] == [1, 2, 3, 4]
    assert settle_canary(worker, run, settings) is None


def test_the_webhook_tells_of_a_pause(
    fresh_database: Urls, worker: Worker, settings: FinalizeSettings, machines: Machines
) -> None:
    run = ExecutionRun(uuid4(), 0)
    change(
        fresh_database,
        "INSERT INTO public.workflow_executions (id, workflow_id, client_id, user_id, input_data,"
        " webhook_url, webhook_events) VALUES (%s, %s, %s, %s, %s, 'https://x.example/',"
        " '{execution.paused,execution.completed}')",
        run.execution_id,
        WORKFLOW,
        ACME,
        JOHN_OF_ACME,
        json.dumps({"prompts": ["x"] * 2, "canary": {"images": 1}}),
    )
    fan_out(worker, run, FANOUT)
    fail(fresh_database, run.execution_id, 0)
    assert settle_canary(worker, run, settings) == ("paused", True)
    with connected(fresh_database.superuser) as connection:
        rows = connection.execute("SELECT type, run FROM public.webhook_deliveries").fetchall()
    assert rows == [("execution.paused", None)]


def test_the_economy_tier_has_no_canary(fresh_api: Api, worker: Worker) -> None:
    body = {"workflow_id": str(WORKFLOW), "api_key": "a-key-of-mine", "prompts": ["x", "y"]}
    canary = {"images": 1, "continue_at": 0.5}
    refused = fresh_api.call(
        "client_a", "POST", "/v1/executions", json=body | {"canary": canary, "tier": "economy"}
    )
    assert [error["pointer"] for error in refused.json["errors"]] == ["/canary"]
    stored = fresh_api.call("client_a", "POST", "/v1/executions", json=body | {"canary": canary})
    assert stored.json["input_data"]["canary"] == canary
