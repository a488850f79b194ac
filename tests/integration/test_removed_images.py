"""The sweep removes the images of deleted executions, also if S3 first refuses some of them."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import boto3
import pytest

from local.aws.resources import ACCOUNT, REGION
from masstock.database.connection import Database
from masstock.database.worker import Worker
from masstock.errors import StorageUnavailable
from masstock.services import s3_client
from masstock.services.storage import Results
from masstock.settings import FinalizeSettings
from masstock_finalize.sweep import sweep
from tests.support.databases import Urls, connected

BUCKET = "removals"
ENVIRONMENT = {
    "DATABASE_SECRET_ID": "worker",
    "RESULTS_BUCKET": BUCKET,
    "STATE_MACHINE_ARN": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:execution",
    "ARCHIVE_FUNCTION_ARN": "archive:live",
    "UPLOADS_BUCKET": "uploads",
    "WEBHOOK_SECRET_ID": "webhook",
}


@pytest.fixture
def s3(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL_S3": aws_url,
        "AWS_ENDPOINT_URL_SFN": aws_url,
        "POWERTOOLS_METRICS_NAMESPACE": "MasStock",
        "POWERTOOLS_SERVICE_NAME": "masstock-test",
    }.items():
        monkeypatch.setenv(name, value)
    s3_client.s3.cache_clear()
    client: Any = boto3.client("s3", endpoint_url=aws_url, region_name=REGION)
    client.create_bucket(Bucket=BUCKET)
    yield client
    client.delete_bucket_policy(Bucket=BUCKET)
    s3_client.s3.cache_clear()


@pytest.fixture
def worker(fresh_database: Urls, vault: dict[str, str]) -> Iterator[Worker]:
    vault["worker"] = fresh_database.worker
    connection = Database("worker")
    yield Worker(connection)
    connection.close()


def delete_long_ago(database: Urls, age_minutes: int) -> UUID:
    """An execution that was deleted, so that the next clean sweep forgets it."""
    execution_id = uuid4()
    with connected(database.superuser) as connection:
        connection.execute(
            "INSERT INTO app_private.deleted_executions VALUES (%s, now() - %s * interval '1 min')",
            [execution_id, age_minutes],
        )
    return execution_id


def remembered(database: Urls) -> set[UUID]:
    with connected(database.superuser) as connection:
        rows = connection.execute("SELECT execution_id FROM app_private.deleted_executions")
        return {row[0] for row in rows}


def left(s3: Any, execution_id: UUID) -> int:
    return s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{execution_id}/")["KeyCount"]


def refuse_to_delete(s3: Any, key: str) -> None:
    """S3 answers 200 to DeleteObjects, with an error for this key."""
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:DeleteObject",
        "Resource": f"arn:aws:s3:::{BUCKET}/{key}",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    s3.put_bucket_policy(Bucket=BUCKET, Policy=policy)


def test_the_keys_after_a_refused_one_are_deleted_too(s3: Any) -> None:
    """More keys than S3 lists or deletes at once."""
    execution_id = uuid4()
    keys = [f"{execution_id}/{index:04}_0.png" for index in range(1001)]
    for key in keys:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    refuse_to_delete(s3, keys[0])
    with pytest.raises(StorageUnavailable, match="did not delete 1 objects: AccessDenied"):
        Results(BUCKET).remove_all(execution_id)
    assert left(s3, execution_id) == 1
    s3.delete_bucket_policy(Bucket=BUCKET)
    assert Results(BUCKET).remove_all(execution_id) == 1


@pytest.mark.timeout(60)
def test_an_outage_of_s3_does_not_take_the_sweeps_time(
    fresh_database: Urls, worker: Worker, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(50):
        delete_long_ago(fresh_database, 60)
    silent = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{silent.getsockname()[1]}")
    s3_client.s3.cache_clear()
    monkeypatch.setattr("masstock_finalize.sweep.REMOVE_SECONDS", 0.5)
    # A closed port refuses at once; each attempt waits between botocore's retries.
    silent.close()
    began = time.monotonic()
    answer = sweep(worker, FinalizeSettings(ENVIRONMENT))
    assert 0 < answer["removals_failed"] < 50
    assert time.monotonic() - began < 20
    assert len(remembered(fresh_database)) == 50


def test_an_execution_is_forgotten_only_when_all_its_images_are_gone(
    fresh_database: Urls, worker: Worker, s3: Any
) -> None:
    refused = delete_long_ago(fresh_database, 60)
    later = delete_long_ago(fresh_database, 30)
    for execution_id in (refused, later):
        for index in range(3):
            s3.put_object(Bucket=BUCKET, Key=f"{execution_id}/{index}_0.png", Body=b"x")
    refuse_to_delete(s3, f"{refused}/1_0.png")
    settings = FinalizeSettings(ENVIRONMENT)
    answer = sweep(worker, settings)
    assert (left(s3, refused), left(s3, later)) == (1, 0)
    # One execution that S3 refuses must not keep the images of the others.
    assert remembered(fresh_database) == {refused}
    assert answer["removals_failed"] == 1

    s3.delete_bucket_policy(Bucket=BUCKET)
    answer = sweep(worker, settings)
    assert left(s3, refused) == 0
    assert remembered(fresh_database) == set()
    assert answer["removals_failed"] == 0
