"""Retention removes the images, thumbnails and archives of its client alone. Rows, ledger, counts
and idempotency stay, and a sweep that dies at any step is finished by the next one."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import boto3
import pytest

from masstock.database.connection import Database
from masstock.database.queries import sweeps
from masstock.database.worker import Worker
from masstock.services.archive_storage import Archives
from masstock.services.s3_client import s3
from masstock.services.storage import Results, thumbnail_key
from masstock.settings import FinalizeSettings
from masstock_finalize.sweep import sweep
from tests.support import handler
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, JOHN_OF_ACME, WORKFLOW

SWEEP = {
    "RESULTS_BUCKET": "results",
    "UPLOADS_BUCKET": "uploads",
    "STATE_MACHINE_ARN": "arn:aws:states:us-east-1:123456789012:stateMachine:execution",
    "ARCHIVE_FUNCTION_ARN": "arn:aws:lambda:us-east-1:123456789012:function:archive",
    "WEBHOOK_SECRET_ID": "webhook",
}
# Postgres tables that retention may not change in any column.
UNCHANGED = ("spend_ledger", "idempotency_keys", "webhook_deliveries")


class Killed(BaseException):
    """Passes every handler of exceptions, as SIGKILL does."""


@pytest.fixture
def api(fresh_database: Urls, aws_url: str) -> Iterator[handler.Api]:
    with handler.environment(fresh_database, aws_url) as patch:
        patch.setenv("POWERTOOLS_METRICS_NAMESPACE", "MasStock")
        patch.setenv("POWERTOOLS_SERVICE_NAME", "masstock-test")
        yield handler.Api()


@pytest.fixture
def settings(api: handler.Api, fresh_database: Urls, aws_url: str) -> FinalizeSettings:
    name = f"worker {uuid4()}"
    secrets: Any = boto3.client("secretsmanager", endpoint_url=aws_url)
    secrets.create_secret(Name=name, SecretString=fresh_database.worker)
    return FinalizeSettings({**SWEEP, "DATABASE_SECRET_ID": name})


def run_sweep(settings: FinalizeSettings) -> dict[str, int]:
    """With a connection of its own, as in a new process."""
    connection = Database(settings.database_secret_id)
    try:
        return sweep(Worker(connection), settings)
    finally:
        connection.close()


class Painted:
    """An ended execution with an image, its thumbnail, a failed prompt and an archive."""

    def __init__(self, database: Urls, client: UUID, user: UUID, age_days: int) -> None:
        self.id, self.client, self._database = uuid4(), client, database
        path = f"{self.id}/0_0.png"
        ended = "now() - make_interval(days => %s)"
        with connected(database.superuser) as connection:
            connection.execute(
                "INSERT INTO public.workflow_executions (id, workflow_id, client_id, user_id,"
                " input_data, status, output_data, completed_at, cost_microusd) VALUES (%s, %s,"
                ' %s, %s, \'{"prompts": ["a", "b"]}\', \'completed\','
                ' \'{"successful": 1, "failed": 1, "total": 2}\', ' + ended + ", 7)",
                [self.id, WORKFLOW, client, user, age_days],
            )
            for index, status in enumerate(("completed", "failed")):
                done = status == "completed"
                connection.execute(
                    "INSERT INTO public.workflow_batch_results (execution_id, client_id,"
                    " batch_index, prompt_text, status, result_storage_path, has_thumbnail,"
                    " cost_microusd, error_code, error_message)"
                    " VALUES (%s, %s, %s, 'x', %s, %s, %s, 7, %s, %s)",
                    [
                        *(self.id, client, index, status, path if done else None, done),
                        *((None, None) if done else ("no_image", "none")),
                    ],
                )
            connection.execute(
                "INSERT INTO public.spend_ledger (client_id, execution_id, batch_index, attempt,"
                " month, images, charged_microusd) VALUES (%s, %s, 0, 1, '2026-01-01', 1, 7)",
                [client, self.id],
            )
        self._stored = {
            "results": [path, thumbnail_key(self.id, 0)],
            "uploads": [f"{client}/archives/{self.id}/one.zip"],
        }
        for bucket, keys in self._stored.items():
            for key in keys:
                s3().put_object(Bucket=bucket, Key=key, Body=b"x")

    def objects(self) -> int:
        """How many objects are left."""
        return sum(
            s3().list_objects_v2(Bucket=bucket, Prefix=key)["KeyCount"]
            for bucket, keys in self._stored.items()
            for key in keys
        )

    def expired(self) -> bool:
        with connected(self._database.superuser) as connection:
            rows = connection.execute(
                "SELECT status, expired_at IS NOT NULL, has_thumbnail"
                " FROM public.workflow_batch_results WHERE execution_id = %s ORDER BY batch_index",
                [self.id],
            ).fetchall()
        assert [row[0] for row in rows] == ["completed", "failed"]
        assert rows[0][1] is not rows[0][2]
        return rows[0][1]


@pytest.fixture
def old(api: handler.Api, fresh_database: Urls) -> Painted:
    return Painted(fresh_database, ACME, JOHN_OF_ACME, 31)


def keep(api: handler.Api, client: UUID, days: int | None) -> None:
    answer = api.call("admin", "PATCH", f"/v1/clients/{client}", json={"retention_days": days})
    assert answer.status_code == 200
    changed: Any = answer.json
    assert changed["retention_days"] == days


def snapshot(database: Urls) -> dict[str, Any]:
    """What retention may not change: whole tables, the reports, and the counts of executions."""
    with connected(database.superuser) as connection:
        found: dict[str, Any] = {
            table: connection.execute(f"SELECT t::text FROM public.{table} t ORDER BY 1").fetchall()
            for table in UNCHANGED
        }
        found["executions"] = connection.execute(
            "SELECT id, status, output_data, cost_microusd, completed_at"
            " FROM public.workflow_executions ORDER BY id"
        ).fetchall()
        found["counts"] = connection.execute(
            "SELECT client_id, status, sum(executions) FROM ("
            "SELECT client_id, status, executions FROM app_private.execution_counts UNION ALL"
            " SELECT client_id, status, executions FROM app_private.executions_by_client"
            ") GROUP BY 1, 2 ORDER BY 1, 2"
        ).fetchall()
    return found


def test_retention_removes_the_objects_of_its_client_alone(
    api: handler.Api, fresh_database: Urls, settings: FinalizeSettings, old: Painted
) -> None:
    with connected(fresh_database.superuser) as connection:
        [other] = connection.execute(
            "SELECT id, client_id FROM public.users WHERE client_id <> %s LIMIT 1",
            [ACME],
        ).fetchall()
    young = Painted(fresh_database, ACME, JOHN_OF_ACME, 29)
    others = Painted(fresh_database, other[1], other[0], 300)
    before = snapshot(fresh_database)
    assert run_sweep(settings)["expired"] == 0
    keep(api, ACME, 30)
    # The demo execution of this client is older, too.
    assert run_sweep(settings)["expired"] == 2
    assert (old.objects(), young.objects(), others.objects()) == (0, 3, 3)
    assert (old.expired(), young.expired(), others.expired()) == (True, False, False)
    assert snapshot(fresh_database) == before
    assert run_sweep(settings)["expired"] == 0


def test_callers_are_told_that_an_image_is_gone(
    api: handler.Api, settings: FinalizeSettings, old: Painted
) -> None:
    keep(api, ACME, 1)
    run_sweep(settings)
    path = f"/v1/executions/{old.id}"
    for what in ("image", "thumbnail"):
        for who in ("admin", "client_a"):
            answer = api.call(who, "GET", f"{path}/results/0/{what}")
            problem: Any = answer.json
            assert (answer.status_code, problem["code"]) == (410, "expired")
        assert api.call("client_b", "GET", f"{path}/results/0/{what}").status_code == 404
        assert api.call("client_a", "GET", f"{path}/results/1/{what}").status_code == 404
    page: Any = api.call("client_a", "GET", f"{path}/results").json
    row = page["items"][0]
    assert (row["status"], row["prompt_text"], row["cost_microusd"]) == ("completed", "x", 7)
    assert (row["result_url"], row["thumbnail_url"], row["url_expires_at"]) == (None, None, None)
    assert row["expired_at"] is not None
    assert page["items"][1]["expired_at"] is None
    execution: Any = api.call("client_a", "GET", path).json
    assert (execution["cover_url"], execution["progress"]["successful"]) == (None, 1)
    assert execution["expired_at"] is not None
    # Nothing new may come below the keys that are removed.
    for action in ("retry", "archive"):
        refused = api.call("client_a", "POST", f"{path}/{action}", json={})
        problem = refused.json
        assert (refused.status_code, problem["detail"]) == (
            409,
            "The images of this execution have expired.",
        )
    assert api.call("client_a", "DELETE", path).status_code == 204


STEPS = {
    "the images are given up": (sweeps, "expire_images"),
    "images are removed": (Results, "remove_all"),
    "archives are removed": (Archives, "remove_all"),
    "the removal is forgotten": (sweeps, "forget_deleted_execution"),
}


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_sweep_that_dies_is_finished_by_the_next(
    api: handler.Api,
    fresh_database: Urls,
    settings: FinalizeSettings,
    old: Painted,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    moment: str,
) -> None:
    before = snapshot(fresh_database)
    keep(api, ACME, 30)
    owner, name = STEPS[step]
    real = getattr(owner, name)

    def dies(*values: Any) -> None:
        if moment == "after":
            real(*values)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, dies)
        with pytest.raises(Killed):
            run_sweep(settings)
    run_sweep(settings)
    assert (old.objects(), old.expired()) == (0, True)
    assert snapshot(fresh_database) == before


@pytest.mark.parametrize("days", [0, 3651, -1, 1.5, "7"])
def test_a_retention_of_other_numbers_is_refused(api: handler.Api, days: object) -> None:
    answer = api.call("admin", "PATCH", f"/v1/clients/{ACME}", json={"retention_days": days})
    assert answer.status_code == 422
