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
# The kills in their order. The stack's own sweeps die too, so that each kill finds its step undone.
KILLS = [f"{step}_{moment}" for step in RETENTION_STEPS for moment in ("before", "after")]
# More than there are sweeps: no sweep passes these before the test lets it.
HOLDS = ("expire_before", "forget_before")
HELD = 100


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
    yield made
    retain(made[0], None)


def retain(painted: Painted, days: int | None) -> None:
    path = f"/v1/executions/{painted.id}"
    client = painted.stack.call(painted.who, "GET", path).json()["client_id"]
    path = f"/v1/clients/{client}"
    answer = painted.stack.call("admin", "PATCH", path, json={"retention_days": days})
    assert answer.status_code == 200, answer.text


def sweep(stack: Stack) -> None:
    """Invokes the sweep at once. One of the stack's own may come before."""
    port = json.loads((stack.directory / "ports.json").read_text())["inner"]
    path = "2015-03-31/functions/FinalizeFunction/invocations"
    requests.post(f"http://127.0.0.1:{port}/{path}", json={"sweep": True}, timeout=60)


class Kills:
    """The planned deaths of sweeps."""

    def __init__(self, plans: Path) -> None:
        self._sweep = plans / "sweep"
        self._folders = {name: plans / f"retention.{name}_kill_1_plain" for name in KILLS}
        for name, folder in self._folders.items():
            folder.mkdir()
            for number in range(HELD if name in HOLDS else 1):
                (folder / str(number)).touch()
        self._sweep.write_text("\n".join(folder.name for folder in self._folders.values()))

    def left(self, name: str) -> int:
        return len(list(self._folders[name].iterdir()))

    def die(self, stack: Stack, name: str) -> None:
        """Sweeps until one has died there."""
        deadline = time.monotonic() + 60
        while self.left(name) >= (HELD if name in HOLDS else 1):
            sweep(stack)
            assert time.monotonic() < deadline, f"no sweep died at {name}"

    def let_pass(self, name: str) -> None:
        for left in self._folders[name].iterdir():
            left.unlink(missing_ok=True)

    def end(self) -> None:
        self._sweep.unlink()


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
    kills = Kills(next(tmp_path_factory.getbasetemp().glob("plans*")))
    old, young, other = painted
    before = kept(stack, painted)
    retain(old, RETENTION_DAYS)
    kills.die(stack, "expire_before")
    assert (old.status(), old.objects()) == (200, [2, 2, 1])
    kills.let_pass("expire_before")
    kills.die(stack, "expire_after")
    # The callers know from the commit on.
    assert old.status() == 410
    for name in KILLS[2:-1]:
        kills.die(stack, name)
    assert old.objects() == [0, 0, 0]
    # The execution is remembered, because an attempt may still store an image for 20 minutes.
    with psycopg.connect(stack.access["database_url"]) as connection:
        connection.execute(
            "UPDATE app_private.deleted_executions SET deleted_at = now() - interval '1 hour'"
        )
    kills.let_pass("forget_before")
    kills.die(stack, "forget_after")
    kills.end()
    sweep(stack)
    assert [each.objects() for each in painted] == [[0, 0, 0], [2, 2, 1], [2, 2, 1]]
    assert [old.status(), young.status(), other.status()] == [410, 200, 200]
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
