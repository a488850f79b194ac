"""Prompts are submitted over HTTP and become images."""

import re
from io import BytesIO

import boto3
import psycopg
import requests
from PIL import Image

from tests.e2e.conftest import Stack, counts

KEY = "a-key-that-must-not-leak-4711"


def test_every_prompt_becomes_its_own_image(stack: Stack) -> None:
    stack.rule()
    execution_id = stack.submit([f"a lighthouse, view {n}" for n in range(6)])
    execution = stack.wait(execution_id, 90)
    assert execution["status"] == "completed"
    assert counts(execution) == {"successful": 6, "failed": 0, "total": 6}
    images = set()
    for index in range(6):
        answer = stack.call(
            "client_a", "GET", f"/v1/executions/{execution_id}/results/{index}/image"
        )
        Image.open(BytesIO(answer.content)).verify()
        images.add(answer.content)
    assert len(images) == 6


def test_one_blocked_prompt_does_not_fail_the_batch(stack: Stack) -> None:
    stack.rule({"match": "^forbidden$", "behave": "content_blocked"})
    execution_id = stack.submit([*(f"prompt {n}" for n in range(99)), "forbidden"])
    execution = stack.wait(execution_id, 120)
    assert execution["status"] == "completed"
    assert counts(execution) == {"successful": 99, "failed": 1, "total": 100}
    failed = stack.call("client_a", "GET", f"/v1/executions/{execution_id}/results?status=failed")
    [row] = failed.json()["items"]
    assert (row["batch_index"], row["error_code"], row["retryable"]) == (
        99,
        "content_blocked",
        False,
    )


def test_another_tenants_execution_is_not_found(stack: Stack) -> None:
    execution_id = stack.submit(["mine"])
    for path in ("", "/results", "/results/0/image"):
        answer = stack.call("client_b", "GET", f"/v1/executions/{execution_id}{path}")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
    stack.wait(execution_id, 60)


def test_an_invalid_key_stops_the_batch_and_every_prompt_has_a_result(stack: Stack) -> None:
    stack.rule({"match": "wrong key", "behave": "invalid_key"})
    execution = stack.wait(stack.submit([f"wrong key {n}" for n in range(60)]), 90)
    assert (execution["status"], execution["error_code"]) == ("failed", "invalid_api_key")
    assert counts(execution) == {"successful": 0, "failed": 60, "total": 60}
    calls = requests.get(stack.access["model_url"] + "/_calls", timeout=10).json()
    made = [call for call in calls if call["prompt"].startswith("wrong key")]
    # One round of concurrency.
    assert len(made) <= 20


def test_throttled_prompts_wait_the_given_delay_and_complete(stack: Stack) -> None:
    stack.rule({"match": "slow down", "behave": "throttle", "times": 2, "retry_delay_s": 1})
    execution = stack.wait(stack.submit(["slow down please"]), 60)
    assert counts(execution) == {"successful": 1, "failed": 0, "total": 1}


def test_the_api_key_is_stored_nowhere_in_plain_text(stack: Stack) -> None:
    stack.rule()
    execution_id = stack.submit(["a secret garden"], api_key=KEY)
    execution = stack.wait(execution_id, 60)
    results = stack.call("client_a", "GET", f"/v1/executions/{execution_id}/results").text
    assert KEY not in str(execution)
    assert "api_key" not in str(execution)
    assert KEY not in results
    with psycopg.connect(stack.access["database_url"]) as connection:
        [stored] = connection.execute(
            "SELECT input_data ->> 'api_key' FROM public.workflow_executions WHERE id = %s",
            [execution_id],
        ).fetchall()
        assert re.match(r"v1\.k\d+\.", stored[0])
        for table in ("workflow_executions", "workflow_batch_results", "idempotency_keys"):
            [count] = connection.execute(
                psycopg.sql.SQL("SELECT count(*) FROM {} t WHERE t::text LIKE %s").format(
                    psycopg.sql.Identifier("public", table)
                ),
                [f"%{KEY}%"],
            ).fetchall()
            assert count[0] == 0
    for log in (stack.directory / "logs").iterdir():
        assert KEY not in log.read_text(), log.name
    machines = boto3.client(
        "stepfunctions",
        endpoint_url=stack.access["s3_endpoint"],
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    [machine] = machines.list_state_machines()["stateMachines"]
    runs = machines.list_executions(stateMachineArn=machine["stateMachineArn"])["executions"]
    [run] = [run for run in runs if run["name"].startswith(execution_id)]
    history = str(machines.get_execution_history(executionArn=run["executionArn"]))
    assert execution_id in history
    assert KEY not in history
    assert "secret garden" not in history
