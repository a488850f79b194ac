"""The builder of archives crashes at every step. Each archive becomes ready by its next attempt,
and no half archive is ever offered."""

import io
import time
import zipfile
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import boto3
import psycopg
import pytest
import requests

from local.aws.resources import REGION
from local.settings import UPLOADS_BUCKET
from tests.crash.faults.sitecustomize import ARCHIVE_STEPS
from tests.e2e.conftest import Stack

pytestmark = pytest.mark.timeout(600)

PROMPTS = 3
END_SECONDS = 240


@dataclass(frozen=True)
class Case:
    step: str
    moment: str
    kind: str

    @property
    def prompts(self) -> list[str]:
        prefix = f"crash archive.{self.step} {self.moment} {self.kind} 1 plain"
        return [f"{prefix} #{number}" for number in range(PROMPTS)]


CASES = [
    Case(step, moment, kind)
    for step in ARCHIVE_STEPS
    for moment in ("before", "after")
    for kind in ("kill", "raise")
    # Before the claim the function does not know the execution whose crash is planned.
    if (step, moment) != ("claim", "before")
]


@pytest.fixture(scope="module")
def archives(stack: Stack) -> dict[Case, tuple[str, dict[str, Any]]]:
    """Execution and archive of every case, when all are ready."""
    ids = {case: stack.submit(case.prompts) for case in CASES}
    for execution_id in ids.values():
        stack.wait(execution_id, 120)
    for execution_id in ids.values():
        answer = stack.call("client_a", "POST", f"/v1/executions/{execution_id}/archive")
        assert answer.status_code == 202, answer.text
    ready: dict[Case, tuple[str, dict[str, Any]]] = {}
    deadline = time.monotonic() + END_SECONDS
    while len(ready) < len(CASES) and time.monotonic() < deadline:
        for case, execution_id in ids.items():
            archive = stack.call("client_a", "GET", f"/v1/executions/{execution_id}/archive").json()
            assert archive["state"] in ("building", "ready")
            assert bool(archive["parts"]) == (archive["state"] == "ready")
            if archive["state"] == "ready":
                ready[case] = (execution_id, archive)
        end_leases(stack)
        time.sleep(1)
    assert [case for case in CASES if case not in ready] == []
    return ready


def end_leases(stack: Stack) -> None:
    """A killed builder loses its part after 930 s, here after 10."""
    with psycopg.connect(stack.access["database_url"]) as connection:
        connection.execute(
            "UPDATE public.archive_parts SET due_at = now()"
            " WHERE completed_at IS NULL AND due_at BETWEEN now() + interval '1 minute'"
            " AND now() + interval '920 seconds'"
        )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_archive_is_whole_after_a_crash(
    stack: Stack, archives: dict[Case, tuple[str, dict[str, Any]]], case: Case
) -> None:
    execution_id, archive = archives[case]
    [part] = archive["parts"]
    content = requests.get(part["url"], timeout=30).content
    assert len(content) == part["size_bytes"] == archive["bytes"]
    files = zipfile.ZipFile(io.BytesIO(content))
    assert files.testzip() is None
    digests = [sha256(files.read(name)).hexdigest() for name in files.namelist()]
    assert digests[:-2] == [row["image_sha256"] for row in stack.results(execution_id)]
    assert files.namelist()[-2:] == ["results.csv", "manifest.jsonl"]
    with psycopg.connect(stack.access["database_url"]) as connection:
        [(attempts,)] = connection.execute(
            "SELECT p.attempts FROM public.archive_parts p"
            " JOIN public.archives a ON a.id = p.archive_id WHERE a.execution_id = %s",
            [execution_id],
        )
    was_complete = (case.step, case.moment) == ("complete", "after")
    assert attempts == (1 if was_complete else 2)


def test_no_upload_is_left(stack: Stack, archives: dict[Case, Any]) -> None:
    s3 = boto3.client(
        "s3",
        endpoint_url=stack.access["s3_endpoint"],
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    assert s3.list_multipart_uploads(Bucket=UPLOADS_BUCKET).get("Uploads", []) == []
