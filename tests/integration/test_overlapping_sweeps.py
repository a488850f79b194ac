"""Sweeps overlap: the schedule does not wait for the last one, and Lambda repeats a failed one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import boto3
import pytest
from psycopg.rows import dict_row

from local.aws.resources import ACCOUNT, REGION
from tests.support import handler
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, JOHN_OF_ACME, WORKFLOW
from tests.support.receiver import Receiver, listening

SWEEPS = 4
MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{handler.MACHINE}"
# One sweep as its own process, like an environment of Lambda. It starts when its input has a line.
PROGRAM = """
import json, sys
import finalize

class Context:
    function_name, memory_limit_in_mb, aws_request_id = "finalize", 512, "an-invocation"
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:finalize"

print("ready", file=sys.stderr, flush=True)
sys.stdin.readline()
answer = finalize.lambda_handler({"sweep": True}, Context())
print("ANSWER" + json.dumps(answer), flush=True)
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as receiver:
        yield receiver


@pytest.fixture
def variables(fresh_database: Urls, aws_url: str) -> dict[str, str]:
    """The environment of finalize."""
    secret_id = f"worker {fresh_database.name}"
    client("secretsmanager", aws_url).create_secret(
        Name=secret_id, SecretString=fresh_database.worker
    )
    return {
        "PATH": os.environ["PATH"],
        "DATABASE_SECRET_ID": secret_id,
        "RESULTS_BUCKET": handler.RESULTS_BUCKET,
        "STATE_MACHINE_ARN": MACHINE,
        "ARCHIVE_FUNCTION_ARN": "archive:live",
        "UPLOADS_BUCKET": "uploads",
        "WEBHOOK_SECRET_ID": "webhook",
        "ALLOW_PRIVATE_WEBHOOKS": "true",
        "POWERTOOLS_METRICS_NAMESPACE": "MasStock",
        "POWERTOOLS_SERVICE_NAME": "masstock-test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL_S3": aws_url,
        "AWS_ENDPOINT_URL_SFN": aws_url,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws_url,
    }


def client(service: str, url: str) -> Any:
    return boto3.client(
        service,  # pyright: ignore
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def insert(database: Urls, status: str, *, deadline: str = "1 hour", webhook: str = "") -> UUID:
    """An execution of one prompt that was submitted two minutes ago and has no machine."""
    execution_id = uuid4()
    with connected(database.superuser) as connection:
        connection.execute(
            "INSERT INTO public.workflow_executions (id, workflow_id, client_id, user_id, status,"
            " input_data, created_at, deadline_at, webhook_url) VALUES (%s, %s, %s, %s, %s,"
            " '{\"prompts\": [\"x\"]}', now() - interval '2 minutes', now() + %s::interval,"
            " nullif(%s, ''))",
            [execution_id, WORKFLOW, ACME, JOHN_OF_ACME, status, deadline, webhook],
        )
    return execution_id


def rows(database: Urls, query: str) -> list[dict[str, Any]]:
    with connected(database.superuser) as connection:
        return connection.cursor(row_factory=dict_row).execute(query).fetchall()  # pyright: ignore


def sweep_together(variables: dict[str, str]) -> list[dict[str, int]]:
    """The answers of SWEEPS sweeps that begin at the same moment."""
    sweeps = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(SWEEPS)
    ]
    for sweep in sweeps:
        assert sweep.stderr is not None
        assert sweep.stderr.readline() == "ready\n"
    for sweep in sweeps:
        assert sweep.stdin is not None
        sweep.stdin.write("\n")
        sweep.stdin.flush()
    answers = []
    for sweep in sweeps:
        out, error = sweep.communicate(timeout=60)
        assert sweep.returncode == 0, error
        [line] = [line for line in out.splitlines() if line.startswith("ANSWER")]
        answers.append(json.loads(line.removeprefix("ANSWER")))
    return answers


@pytest.mark.timeout(200)
def test_overlapping_sweeps_do_everything_once(
    fresh_database: Urls, aws_url: str, variables: dict[str, str], receiver: Receiver
) -> None:
    pending = [insert(fresh_database, "pending") for _ in range(8)]
    lost = [insert(fresh_database, "processing") for _ in range(8)]
    overdue = [
        insert(fresh_database, "processing", deadline="-1 minute", webhook=receiver.url)
        for _ in range(5)
    ]
    s3 = client("s3", aws_url)
    deleted = insert(fresh_database, "completed")
    s3.put_object(Bucket=handler.RESULTS_BUCKET, Key=f"{deleted}/0_1.png", Body=b"x")
    with connected(fresh_database.superuser) as connection:
        connection.execute("DELETE FROM public.workflow_executions WHERE id = %s", [deleted])

    first = sweep_together(variables)

    # No sweep meets an error because another one was faster.
    assert [answer["failed"] for answer in first] == [0] * SWEEPS
    runs = {
        row["id"]: (row["status"], row["run"])
        for row in rows(fresh_database, "SELECT id, status, run FROM public.workflow_executions")
    }
    machines = client("stepfunctions", aws_url)
    for execution_id in [*pending, *lost]:
        status, run = runs[execution_id]
        assert status in ("pending", "processing")
        assert run <= SWEEPS
        arn = MACHINE.replace(":stateMachine:", ":execution:") + f":{execution_id}-{run}"
        started = json.loads(machines.describe_execution(executionArn=arn)["input"])
        assert started["execution_id"] == str(execution_id)
    assert all(runs[execution_id][1] >= 1 for execution_id in lost)
    assert {runs[execution_id][0] for execution_id in overdue} == {"failed"}
    listed = s3.list_objects_v2(Bucket=handler.RESULTS_BUCKET, Prefix=str(deleted))
    assert listed["KeyCount"] == 0

    # One delivery for each end, and one message for each delivery that is due.
    deliveries = "SELECT attempts, delivered_at FROM public.webhook_deliveries"
    assert len(rows(fresh_database, deliveries)) == len(overdue)
    with connected(fresh_database.superuser) as connection:
        connection.execute("UPDATE public.webhook_deliveries SET next_attempt_at = now()")
    already = len(receiver.received)
    second = sweep_together(variables)
    assert sum(answer["webhooks_delivered"] for answer in second) == len(overdue) - already
    assert len(receiver.received) == len(overdue)
    assert all(row["delivered_at"] for row in rows(fresh_database, deliveries))
