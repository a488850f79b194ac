"""The sweep that removes expired images is killed before and after each of its steps. Each time the
next sweep goes on, and nothing but the objects of this execution is gone."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
import requests

from local.aws.resources import REGION
from local.settings import RESULTS_BUCKET, UPLOADS_BUCKET
from tests.crash.faults.sitecustomize import RETENTION_STEPS
from tests.e2e.conftest import WORKFLOW, Stack

pytestmark = pytest.mark.timeout(180)

# The demo execution is younger, so that the sweep finds the test's alone.
RETENTION_DAYS, AGE_DAYS = 3000, 3100
KILLS = [(step, moment) for step in RETENTION_STEPS for moment in ("before", "after")]


@dataclass
class Painted:
    """Two images, their thumbnails and their archive."""

    stack: Stack
    who: str
    name: str
    id: str = ""

    def submit(self) -> str:
        answer = self.stack.call(
            self.who,
            "POST",
            "/v1/executions",
            json={
                "workflow_id": WORKFLOW,
                "api_key": "key of retention",
                "prompts": [f"{self.name} {number}" for number in range(2)],
            },
            headers={"Idempotency-Key": self.name},
        )
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def archive(self) -> None:
        path = f"/v1/executions/{self.id}/archive"
        self.stack.call(self.who, "POST", path)
        deadline = time.monotonic() + 60
        while self.stack.call(self.who, "GET", path).json()["state"] != "ready":
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def objects(self) -> list[int]:
        """How many images, thumbnails and archives are stored."""
        s3 = boto3.client(
            "s3",
            endpoint_url=self.stack.access["s3_endpoint"],
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        keys = [
            found["Key"]
            for bucket in (RESULTS_BUCKET, UPLOADS_BUCKET)
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            for found in page.get("Contents", [])
            if self.id in found["Key"]
        ]
        thumbnails = sum("/thumbnails/" in key for key in keys)
        archives = sum("/archives/" in key for key in keys)
        return [len(keys) - thumbnails - archives, thumbnails, archives]

    def status(self) -> int:
        path = f"/v1/executions/{self.id}/results/0/image?redirect=false"
        return self.stack.call(self.who, "GET", path).status_code


@pytest.fixture(scope="module")
def painted(stack: Stack) -> Iterator[list[Painted]]:
    """An execution that expires, a younger one, and an older one of another client."""
    made = [
        Painted(stack, who, f"retention {name}")
        for name, who in (("old", "client_a"), ("young", "client_a"), ("other", "client_b"))
    ]
    for each in made:
        each.id = each.submit()
    for each in made:
        stack.wait(each.id, 60, each.who)
        each.archive()
    with psycopg.connect(stack.access["database_url"]) as connection:
        connection.execute(
            "UPDATE public.workflow_executions SET completed_at = now() - make_interval(days => %s)"
            " WHERE id = ANY(%s)",
            [AGE_DAYS, [made[0].id, made[2].id]],
        )
    client = stack.call("client_a", "GET", f"/v1/executions/{made[0].id}").json()["client_id"]
    path = f"/v1/clients/{client}"
    stack.call("admin", "PATCH", path, json={"retention_days": RETENTION_DAYS})
    yield made
    stack.call("admin", "PATCH", path, json={"retention_days": None})


def sweep(stack: Stack) -> None:
    """Invokes the sweep at once. One of the stack's own may come before."""
    port = json.loads((stack.directory / "ports.json").read_text())["inner"]
    path = "2015-03-31/functions/FinalizeFunction/invocations"
    requests.post(f"http://127.0.0.1:{port}/{path}", json={"sweep": True}, timeout=60)


def kill_at(stack: Stack, plans: Path, step: str, moment: str) -> None:
    """Lets a sweep die."""
    name = f"retention.{step}_{moment}_kill_1_plain"
    (plans / name).mkdir()
    (plans / name / "0").touch()
    (plans / "sweep").write_text(name)
    deadline = time.monotonic() + 60
    while any((plans / name).iterdir()):
        sweep(stack)
        assert time.monotonic() < deadline, f"no sweep died {moment} {step}"


def kept(stack: Stack, painted: list[Painted]) -> Any:
    """What retention may not change."""
    ids = [each.id for each in painted]
    with psycopg.connect(stack.access["database_url"]) as connection:
        ledger = connection.execute(
            "SELECT * FROM public.spend_ledger WHERE execution_id = ANY(%s::uuid[]) ORDER BY id",
            [ids],
        ).fetchall()
    executions = [
        {
            name: stack.call(each.who, "GET", f"/v1/executions/{each.id}").json()[name]
            for name in ("status", "output_data", "progress", "cost_microusd", "duration_seconds")
        }
        for each in painted
    ]
    usage = [stack.call(who, "GET", "/v1/usage").json() for who in ("client_a", "client_b")]
    return ledger, executions, usage


def test_retention_survives_a_kill_at_each_step(
    stack: Stack, painted: list[Painted], tmp_path_factory: pytest.TempPathFactory
) -> None:
    plans = next(tmp_path_factory.getbasetemp().glob("plans*"))
    old, young, other = painted
    before = kept(stack, painted)
    for step, moment in KILLS:
        if (step, moment) == ("forget", "before"):
            assert old.objects() == [0, 0, 0]
            # An attempt may still store an image for 20 minutes.
            with psycopg.connect(stack.access["database_url"]) as connection:
                connection.execute(
                    "UPDATE app_private.deleted_executions"
                    " SET deleted_at = now() - interval '1 hour'"
                )
        kill_at(stack, plans, step, moment)
        # The callers know from the commit on.
        assert old.status() == (200 if (step, moment) == ("expire", "before") else 410)
        assert young.objects() == other.objects() == [2, 2, 1]
    (plans / "sweep").unlink()
    sweep(stack)
    assert [old.status(), young.status(), other.status()] == [410, 200, 200]
    assert old.objects() == [0, 0, 0]
    with psycopg.connect(stack.access["database_url"]) as connection:
        remembered = connection.execute(
            "SELECT execution_id::text FROM app_private.deleted_executions WHERE execution_id = %s",
            [old.id],
        ).fetchall()
    assert remembered == []
    assert kept(stack, painted) == before
    # The same submission is still the same execution.
    assert [each.submit() for each in painted] == [each.id for each in painted]
    assert kept(stack, painted) == before
