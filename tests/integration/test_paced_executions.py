"""What an execution has of its lane: whose quota it uses, a moving deadline, and its pace."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from werkzeug.test import TestResponse

from masstock.database.connection import Database
from masstock.database.queries import claims, sweeps
from masstock.database.queries.claims import Claim
from masstock.database.worker import Worker
from masstock.schemas.engine import ExecutionRun
from masstock.services.lanes import lane_key
from masstock.services.storage import StoredImage
from masstock.settings import FanoutSettings
from masstock_fanout.fan_out import fan_out
from tests.support.claims import claim_in_turn
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, GLOBEX, JOHN_OF_ACME, WORKFLOW
from tests.support.handler import Api

KEYS = json.dumps({"current": "k1", "k1": "a" * 64})
SETTINGS = FanoutSettings(
    {
        "DATABASE_SECRET_ID": "worker",
        "MAX_CONCURRENCY_DEFAULT": "5",
        "MAX_CONCURRENCY_LIMIT": "9",
    }
)


@pytest.fixture(autouse=True)
def _database_urls(fresh_database: Urls, vault: dict[str, str]) -> None:
    vault["worker"] = fresh_database.worker
    vault[f"database {fresh_database.name}"] = fresh_database.api


@pytest.fixture
def worker(_database_urls: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "MasStock")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "masstock-test")
    connection = Database("worker")
    yield Worker(connection)
    connection.close()


def submit(api: Api, user: str = "client_a", **more: Any) -> TestResponse:
    body = {"workflow_id": str(WORKFLOW), "prompts": ["x", "y"], "api_key": "a-key-of-mine", **more}
    return api.call(user, "POST", "/v1/executions", json=body)


def created(answer: TestResponse) -> UUID:
    assert answer.status_code == 202, answer.text
    return UUID(json.loads(answer.text)["id"])


def column(database: Urls, execution_id: UUID, name: str) -> Any:
    with connected(database.superuser) as connection:
        [[row]] = connection.execute(
            "SELECT to_jsonb(e) -> %s FROM public.workflow_executions e WHERE id = %s",
            [name, execution_id],
        ).fetchall()
    return row


def change(database: Urls, statement: str, *values: object) -> None:
    with connected(database.superuser) as connection:
        connection.execute(statement, values)  # pyright: ignore[reportArgumentType]


def seconds_to_deadline(database: Urls, execution_id: UUID) -> float:
    with connected(database.superuser) as connection:
        [[seconds]] = connection.execute(
            "SELECT extract(epoch FROM deadline_at - now()) FROM public.workflow_executions"
            " WHERE id = %s",
            [execution_id],
        ).fetchall()
    return float(seconds)


# --- whose quota ---------------------------------------------------------------------------------


def test_a_lane_is_one_key_or_one_name_of_one_client() -> None:
    key = lane_key("a-key-of-mine", None, ACME, KEYS)
    assert key == lane_key("a-key-of-mine", None, GLOBEX, KEYS), "one key is one quota"
    assert key != lane_key("another-key", None, ACME, KEYS)
    named = lane_key("a-key-of-mine", "project", ACME, KEYS)
    assert named == lane_key("another-key", "project", ACME, KEYS)
    assert named not in (key, lane_key("a-key-of-mine", "project", GLOBEX, KEYS))
    assert lane_key(None, None, ACME, KEYS) is None
    assert lane_key(None, "project", ACME, KEYS) is None, "no name reaches the platform's lane"


def test_a_lane_key_cannot_be_computed_without_the_sealing_secret() -> None:
    other = json.dumps({"current": "k1", "k1": "b" * 64})
    assert lane_key("a-key", None, ACME, KEYS) != lane_key("a-key", None, ACME, other)


def test_submissions_store_their_lane(fresh_api: Api, fresh_database: Urls) -> None:
    first, second = created(submit(fresh_api)), created(submit(fresh_api))
    other = created(submit(fresh_api, api_key="another-key"))
    named = [
        created(submit(fresh_api, api_key=key, lane="studio")) for key in ("one-key-1", "two-key-2")
    ]
    keys = [column(fresh_database, each, "lane_key") for each in (first, second, other, *named)]
    assert None not in keys
    assert keys[0] == keys[1]
    assert keys[3] == keys[4]
    assert len(set(keys)) == 3


def test_a_lane_needs_a_key_of_the_clients_own(fresh_api: Api) -> None:
    answer = submit(fresh_api, api_key=None, lane="studio")
    assert answer.status_code == 422, answer.text
    assert "/lane" in [error["pointer"] for error in json.loads(answer.text)["errors"]]


def test_nothing_of_the_key_is_in_the_answer(fresh_api: Api, fresh_database: Urls) -> None:
    answer = submit(fresh_api)
    assert str(column(fresh_database, created(answer), "lane_key")) not in answer.text
    assert "lane_key" not in answer.text


# --- deadlines -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [60, 7200, 259_200])
def test_the_caller_chooses_the_deadline(
    fresh_api: Api, fresh_database: Urls, seconds: int
) -> None:
    execution_id = created(submit(fresh_api, deadline_seconds=seconds))
    assert seconds - 60 < seconds_to_deadline(fresh_database, execution_id) <= seconds
    assert column(fresh_database, execution_id, "deadline_is_fixed") is True


@pytest.mark.parametrize("seconds", [0, 59, 259_201, "60", 60.5])
def test_a_deadline_out_of_bounds_is_refused(fresh_api: Api, seconds: object) -> None:
    answer = submit(fresh_api, deadline_seconds=seconds)
    assert answer.status_code == 422
    assert json.loads(answer.text)["errors"][0]["pointer"] == "/deadline_seconds"


def test_a_row_inserted_past_the_api_gets_at_most_72_hours(fresh_database: Urls) -> None:
    for given, most in (("now() + interval '1 year'", 72), ("NULL", 6), ("'infinity'", 72)):
        execution_id = uuid4()
        change(
            fresh_database,
            "INSERT INTO public.workflow_executions"
            " (id, workflow_id, client_id, user_id, input_data, deadline_at)"
            f" VALUES (%s, %s, %s, %s, '{{}}', {given})",
            *(execution_id, WORKFLOW, ACME, JOHN_OF_ACME),
        )
        left = seconds_to_deadline(fresh_database, execution_id)
        assert most * 3600 - 60 < left <= most * 3600


def paint_one(worker: Worker, execution_id: UUID) -> None:
    fan_out(worker, ExecutionRun(execution_id, 0), SETTINGS)
    claim = claim_in_turn(worker, execution_id, 0, 60)
    assert isinstance(claim, Claim)
    image = StoredImage("k", "image/png", 1, "0", 1, 1000, claim.attempt, None)
    assert claims.complete_prompt(worker, claim, image, None)


def test_the_deadline_moves_while_the_lane_paints(
    fresh_api: Api, worker: Worker, fresh_database: Urls
) -> None:
    execution_id = created(submit(fresh_api))
    paint_one(worker, execution_id)
    overdue = "UPDATE public.workflow_executions SET deadline_at = now() - interval '1 minute'"
    change(fresh_database, overdue + " WHERE id = %s", execution_id)
    assert sweeps.extend_deadline(worker, execution_id, 21_600)
    assert 21_500 < seconds_to_deadline(fresh_database, execution_id) <= 21_600
    # Not beyond 72 hours after the submission.
    change(
        fresh_database,
        "UPDATE public.workflow_executions SET created_at = now() - interval '73 hours',"
        " working_since = NULL, deadline_at = now() - interval '1 minute' WHERE id = %s",
        execution_id,
    )
    assert not sweeps.extend_deadline(worker, execution_id, 21_600)


def test_a_deadline_of_the_caller_does_not_move(
    fresh_api: Api, worker: Worker, fresh_database: Urls
) -> None:
    execution_id = created(submit(fresh_api, deadline_seconds=600))
    paint_one(worker, execution_id)
    assert not sweeps.extend_deadline(worker, execution_id, 21_600)
    assert seconds_to_deadline(fresh_database, execution_id) <= 600


def test_a_lane_that_paints_nothing_extends_no_deadline(fresh_api: Api, worker: Worker) -> None:
    execution_id = created(submit(fresh_api, api_key="a-key-that-painted-nothing"))
    fan_out(worker, ExecutionRun(execution_id, 0), SETTINGS)
    assert not sweeps.extend_deadline(worker, execution_id, 21_600)
    # The first claim makes the row of the lane.
    assert isinstance(claim_in_turn(worker, execution_id, 0), Claim)
    assert not sweeps.extend_deadline(worker, execution_id, 21_600)


# --- pace ----------------------------------------------------------------------------------------


def get(fresh_api: Api, execution_id: UUID, etag: str | None = None) -> TestResponse:
    headers = {} if etag is None else {"If-None-Match": etag}
    return fresh_api.call("client_a", "GET", f"/v1/executions/{execution_id}", headers=headers)


def test_the_pace_is_not_part_of_the_etag(fresh_api: Api, worker: Worker) -> None:
    execution_id = created(submit(fresh_api))
    paint_one(worker, execution_id)
    first = get(fresh_api, execution_id)
    pace = json.loads(first.text)["pace"]
    assert pace["limited_by"] == "none"
    assert pace["images_per_minute"] > 0
    assert pace["opens_at"] is None
    assert pace["expected_end_at"] is not None
    assert get(fresh_api, execution_id, first.headers["ETag"]).status_code == 304


def test_an_execution_that_does_not_run_has_no_pace(fresh_api: Api) -> None:
    waiting = json.loads(get(fresh_api, created(submit(fresh_api))).text)["pace"]
    assert waiting == {
        "limited_by": "none",
        "images_per_minute": None,
        "opens_at": None,
        "expected_end_at": None,
    }


def test_nobody_reads_the_pace_of_another_client(fresh_database: Urls, fresh_api: Api) -> None:
    execution_id = created(submit(fresh_api))
    answer = fresh_api.call("client_b", "GET", f"/v1/executions/{execution_id}")
    assert answer.status_code == 404
    with connected(fresh_database.worker) as connection, pytest.raises(Exception, match="denied"):
        connection.execute("SELECT app.pace(%s)", [execution_id])


def test_a_fallback_after_an_outage_needs_a_fallback_model(fresh_api: Api) -> None:
    answer = submit(fresh_api, fall_back_after_seconds=600)
    assert answer.status_code == 422
    assert json.loads(answer.text)["errors"][0]["pointer"] == "/fall_back_after_seconds"
