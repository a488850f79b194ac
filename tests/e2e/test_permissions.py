"""The IAM permissions of each function equal the AWS calls that it makes.

One run triggers every call of our code, and `local.aws.calls` records the callers. The calls of
Lambda itself (logs, traces, network interfaces, dead letters) are not recorded.
"""

import base64
import json
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any, LiteralString

import boto3
import psycopg
import pytest
import requests
from PIL import Image

from local.aws.resources import ACCOUNT, REGION
from local.settings import RESULTS_BUCKET, UPLOADS_BUCKET
from local.wiring import API_DATABASE_SECRET, PLATFORM_KEY_SECRET, STAGE, WORKER_DATABASE_SECRET
from tests.e2e.conftest import Stack
from tests.support.template import Grant
from tests.support.template import Stack as Deployment

ROLES = {"api": "ApiRole", "fanout": "FanoutRole", "generate": "GenerateRole"} | {
    "economy": "EconomyRole",
    "finalize": "FinalizeRole",
    "archive": "ArchiveRole",
}
BY_LAMBDA_ITSELF = ("logs:", "xray:", "ec2:", "sqs:")
# Deployed, the buckets' names end in account and region.
BUCKETS = {
    RESULTS_BUCKET: f"arn:aws:s3:::masstock-{STAGE}-results-{ACCOUNT}-{REGION}",
    UPLOADS_BUCKET: f"arn:aws:s3:::masstock-{STAGE}-uploads-{ACCOUNT}-{REGION}",
}
ACME = "456e7890-e89b-12d3-a456-426614174001"

type Call = tuple[str, str]


def client(stack: Stack, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=stack.access["s3_endpoint"],
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def picture() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, "PNG")
    return buffer.getvalue()


def until(fact: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := fact()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def upload(stack: Stack, content: bytes, **body: str) -> str:
    form = stack.call("client_a", "POST", "/v1/uploads", json=body).json()
    sent = requests.post(form["url"], data=form["fields"], files={"file": content}, timeout=30)
    assert sent.status_code < 300, sent.text
    return form["key"]


def in_trouble(stack: Stack, prompt: str, times: int = 1, **more: Any) -> str:
    """An execution whose only prompt was throttled and waits five seconds for its next attempt."""
    stack.rule({"match": prompt, "behave": "throttle", "times": times, "retry_delay_s": 5})
    execution_id = stack.submit([prompt], **more)
    until(lambda: any(call["prompt"] == prompt for call in calls_to_model(stack)))
    return execution_id


def archive_twice(stack: Stack, s3: Any, execution_id: str) -> None:
    """The archive of an execution, whose first builder fails and whose second one the sweep starts:
    the stored image differs from its row at first."""
    [row] = stack.results(execution_id)
    key = row["result_storage_path"]
    image = s3.get_object(Bucket=RESULTS_BUCKET, Key=key)["Body"].read()
    s3.put_object(Bucket=RESULTS_BUCKET, Key=key, Body=picture())
    path = f"/v1/executions/{execution_id}/archive"
    assert stack.call("client_a", "POST", path).status_code == 202
    log = stack.directory / "logs/archive.log"
    until(lambda: log.exists() and "ArchiveDiffers" in log.read_text())
    s3.put_object(Bucket=RESULTS_BUCKET, Key=key, Body=image)
    archive = until(
        lambda: (found := stack.call("client_a", "GET", path).json())["state"] == "ready" and found
    )
    assert requests.get(archive["parts"][0]["url"], timeout=10).content[:4] == b"PK\x03\x04"


def calls_to_model(stack: Stack) -> list[dict[str, Any]]:
    return requests.get(stack.access["model_url"] + "/_calls", timeout=10).json()


@pytest.fixture(scope="module")
def seen(stack: Stack) -> dict[str, set[Call]]:
    """Maps each caller to its AWS calls, with IAM's names."""
    s3, machines = client(stack, "s3"), client(stack, "stepfunctions")
    [machine] = machines.list_state_machines()["stateMachines"]

    # Inline, uploaded and missing references, a list of prompts, a webhook, the platform's API key.
    reference = upload(stack, picture(), kind="reference_image", content_type="image/png")
    prompts = upload(stack, b'"listed"\n', kind="prompts")
    inline = base64.b64encode(picture()).decode()
    hooked = stack.submit(
        ["hooked"], reference_images=[inline, reference], webhook_url="https://hooks.example/done"
    )
    body = {"workflow_id": platform_workflow(stack), "prompts_key": prompts}
    listed = stack.call("client_a", "POST", "/v1/executions", json=body).json()["id"]
    missing = {**body, "reference_images": [f"{ACME}/references/{'0' * 36}.png"]}
    assert stack.call("client_a", "POST", "/v1/executions", json=missing).status_code == 422
    assert stack.call("client_a", "GET", f"/v1/clients/{ACME}/webhook-secret").status_code == 200

    # Jobs: a result that arrives cut short, a reference, and one that disappears.
    collected, unreferenced = economy_jobs(stack, s3)

    # A reference that disappears between two attempts.
    vanishing = in_trouble(stack, "vanishing reference", reference_images=[reference])
    s3.delete_object(Bucket=UPLOADS_BUCKET, Key=reference)

    # An image that an earlier attempt stored.
    stored = in_trouble(stack, "stored before")
    with psycopg.connect(stack.access["database_url"]) as connection:
        [laid_out] = connection.execute(
            "SELECT floor(extract(epoch FROM created_at))::bigint"
            " FROM public.workflow_batch_results WHERE execution_id = %s",
            [stored],
        ).fetchall()
    s3.put_object(
        Bucket=RESULTS_BUCKET,
        Key=f"{stored}/0_{laid_out[0]}.png",
        Body=picture(),
        ContentType="image/png",
        Metadata={"sha256": "0" * 64, "processing-time-ms": "1", "attempt": "1"},
    )

    # A run that is lost, and a run that exceeds its deadline.
    lost = in_trouble(stack, "lost machine")
    runs = machines.list_executions(stateMachineArn=machine["stateMachineArn"])["executions"]
    [run] = [run for run in runs if run["name"].startswith(lost)]
    machines.stop_execution(executionArn=run["executionArn"])
    late = in_trouble(stack, "past the deadline", times=99)
    with psycopg.connect(stack.access["database_url"]) as connection:
        connection.execute(
            "UPDATE public.workflow_executions SET deadline_at = now() - interval '1 s' "
            "WHERE id = %s",
            [late],
        )

    for execution_id in (hooked, listed, collected, unreferenced, vanishing, stored, lost, late):
        stack.wait(execution_id, 120)
    image = stack.call("client_a", "GET", f"/v1/executions/{hooked}/results/0/image")
    assert image.headers["content-type"] == "image/png"
    archive_twice(stack, s3, hooked)
    assert stack.call("client_a", "DELETE", f"/v1/executions/{hooked}").status_code == 204
    assert "Contents" not in s3.list_objects_v2(Bucket=RESULTS_BUCKET, Prefix=hooked)
    archives = f"{ACME}/archives/{hooked}/"
    until(lambda: "Contents" not in s3.list_objects_v2(Bucket=UPLOADS_BUCKET, Prefix=archives))
    # A submission that bypasses the api, as through Supabase's API.
    assert "Contents" in s3.list_objects_v2(Bucket=RESULTS_BUCKET, Prefix=listed)
    with psycopg.connect(stack.access["database_url"]) as connection:
        connection.execute("DELETE FROM public.workflow_executions WHERE id = %s", [listed])
    until(lambda: "Contents" not in s3.list_objects_v2(Bucket=RESULTS_BUCKET, Prefix=listed))

    calls: dict[str, set[Call]] = {name: set() for name in ROLES}
    for line in (stack.directory / "logs/aws-calls.jsonl").read_text().splitlines():
        call = json.loads(line)
        calls[call["caller"]].add((call["action"], deployed(call["resource"])))
    return calls


def economy_jobs(stack: Stack, s3: Any) -> tuple[str, str]:
    """Two executions of the economy tier. The first reads its result twice and pays with the
    platform's key. The reference image of the second is gone before its job is made."""
    first, second = (
        upload(stack, picture(), kind="reference_image", content_type="image/png") for _ in range(2)
    )
    url = stack.access["model_url"] + "/_control"
    assert requests.post(url, json={"batches": {"cut_download": 1}}, timeout=10).ok
    body = {"workflow_id": platform_workflow(stack), "tier": "economy", "prompts": ["by a job"]}
    sent = {**body, "reference_images": [first]}
    collected = stack.call("client_a", "POST", "/v1/executions", json=sent).json()["id"]
    with psycopg.connect(stack.access["database_url"]) as connection:
        until(lambda: jobs_in(connection, collected, "state = 'done'"))
        # Later jobs of the lane wait behind this one.
        connection.execute(
            "UPDATE public.economy_jobs SET state = 'planned', next_look_at = 'infinity',"
            " refused_until = now() + interval '1 h' WHERE execution_id = %s",
            [collected],
        )
        connection.commit()
        sent = {**body, "reference_images": [second]}
        unreferenced = stack.call("client_a", "POST", "/v1/executions", json=sent).json()["id"]
        until(lambda: jobs_in(connection, unreferenced, "true"))
        s3.delete_object(Bucket=UPLOADS_BUCKET, Key=second)
        connection.execute(
            "UPDATE public.economy_jobs SET state = 'done' WHERE execution_id = %s", [collected]
        )
    stack.wait(stack.submit(["by a job with an own key"], tier="economy"), 60)
    return collected, unreferenced


def jobs_in(connection: psycopg.Connection, execution_id: str, condition: LiteralString) -> bool:
    query: LiteralString = "SELECT FROM public.economy_jobs WHERE execution_id = %s AND "
    with connection.transaction():
        return bool(connection.execute(query + condition, [execution_id]).fetchall())


def platform_workflow(stack: Stack) -> str:
    config = {"workflow_type": "nano_banana", "model": "gemini-2.5-flash-image"}
    config |= {"requires_api_key": False, "supports_reference_images": True}  # type: ignore
    body = {"name": "paid for by the platform", "config": config}
    return stack.call("admin", "POST", "/v1/workflows", json=body).json()["id"]


def deployed(resource: str) -> str:
    """The resource with its name in AWS."""
    bucket, slash, key = resource.partition("/")
    return f"{BUCKETS[bucket]}{slash}{key}" if bucket in BUCKETS else resource


@pytest.fixture(scope="module")
def granted() -> dict[str, set[Grant]]:
    deployment = Deployment(
        Stage=STAGE,
        ApiDatabaseSecretArn=API_DATABASE_SECRET,
        WorkerDatabaseSecretArn=WORKER_DATABASE_SECRET,
        PlatformApiKeySecretArn=PLATFORM_KEY_SECRET,
    )
    return {
        name: {g for g in deployment.grants(role) if not g.action.startswith(BY_LAMBDA_ITSELF)}
        for name, role in ROLES.items()
    }


def missing(grants: set[Grant], calls: set[Call]) -> set[Call]:
    """Calls that the role does not permit."""
    return {call for call in calls if not any(grant.covers(*call) for grant in grants)}


def surplus(grants: set[Grant], calls: set[Call]) -> set[Grant]:
    """Grants that no call used."""
    return {grant for grant in grants if not any(grant.covers(*call) for call in calls)}


@pytest.mark.parametrize("function", ROLES)
def test_a_function_has_exactly_the_permissions_that_it_uses(
    function: str, seen: dict[str, set[Call]], granted: dict[str, set[Grant]]
) -> None:
    assert missing(granted[function], seen[function]) == set()
    assert surplus(granted[function], seen[function]) == set()


@pytest.mark.parametrize("function", ROLES)
def test_a_missing_or_surplus_grant_is_detected(
    function: str, seen: dict[str, set[Call]], granted: dict[str, set[Grant]]
) -> None:
    for grant in granted[function]:
        assert missing(granted[function] - {grant}, seen[function]), grant
    for action, resource in (
        ("s3:DeleteBucket", BUCKETS[RESULTS_BUCKET]),
        ("s3:GetObject", "arn:aws:s3:::another-bucket/*"),
        ("states:StopExecution", f"arn:aws:states:{REGION}:{ACCOUNT}:execution:another:*"),
        ("secretsmanager:GetSecretValue", "masstock/local/another"),
    ):
        more = Grant(action, resource)
        assert surplus(granted[function] | {more}, seen[function]) == {more}


def test_every_recorded_call_is_an_iam_action(seen: dict[str, set[Call]]) -> None:
    known = {
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:ListBucket",
        "states:StartExecution",
        "states:DescribeExecution",
        "states:StopExecution",
        "secretsmanager:GetSecretValue",
        "lambda:InvokeFunction",
        "s3:PutObjectTagging",
        "s3:AbortMultipartUpload",
        "s3:ListBucketMultipartUploads",
    }
    assert {action for calls in seen.values() for action, _ in calls} == known
