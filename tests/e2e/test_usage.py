"""Usage equals the ledger, and both equal what the executions cost, to the micro-dollar. Deletes,
retries, the economy tier, reused images and retention change nothing."""

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from tests.e2e.conftest import Stack, workflow
from tests.e2e.test_economy import control, until
from tests.support.demo_data import ACME

pytestmark = pytest.mark.timeout(240)

MODEL, DEARER = "gemini-2.5-flash-image", "gemini-3-pro-image"
# (workflow, model, tier) -> (images, µ$)
type Sums = dict[tuple[str, str, str], tuple[int, int]]


@pytest.fixture
def workflows(stack: Stack) -> list[str]:
    """Two workflows that only this test uses, so that it knows each of their images."""
    return [workflow(stack), workflow(stack, model=DEARER)]


def test_usage_equals_the_ledger_and_the_cost_of_every_image(
    stack: Stack, workflows: list[str]
) -> None:
    first, second = workflows
    month = datetime.now(UTC).strftime("%Y-%m-01")
    stack.rule(
        {"match": "^usage, blocked", "behave": "content_blocked", "times": 1},
        {"match": "^usage, busy", "behave": "unavailable", "times": 1},
    )
    prompts = ["usage, plain", "usage, blocked", "usage, busy"]
    retried = stack.submit(prompts, workflow_id=first, reuse="identical")
    dearer = stack.submit(
        ["usage, large", "usage, larger"], workflow_id=second, image_size="2K", images_per_prompt=2
    )
    assert stack.wait(retried, 60)["output_data"]["failed"] == 1
    assert stack.call("client_a", "POST", f"/v1/executions/{retried}/retry").status_code == 202
    stack.wait(retried, 60)
    reused = stack.submit([*prompts, "usage, new"], workflow_id=first, reuse="identical")
    # One line of the job fails, and its prompt falls back to the standard price.
    control(stack, batches={"error_lines": 1})
    economy = stack.submit(["usage, e1", "usage, e2"], workflow_id=first, tier="economy", seed=7)
    cancelled = stack.submit(["usage, never"] * 3, workflow_id=first, tier="economy")
    assert stack.call("client_a", "POST", f"/v1/executions/{cancelled}/cancel").status_code == 200
    executions = [retried, dearer, reused, economy, cancelled]
    ended = [stack.wait(execution_id, 120) for execution_id in executions]
    control(stack, batches={})

    expected = of_results([(each, stack.results(each["id"])) for each in ended])
    assert {key[1:] for key in expected} == {
        (MODEL, "standard"),
        (MODEL, "economy"),
        (DEARER, "standard"),
    }
    assert [each["output_data"]["successful"] for each in ended[:4]] == [3, 4, 4, 2]
    assert sum(cost for _, cost in expected.values()) == sum(e["cost_microusd"] or 0 for e in ended)

    def assert_all_agree() -> None:
        assert of_ledger(stack, month, workflows) == expected
        assert of_usage(stack, month, workflows) == expected

    assert_all_agree()
    # Gone: one execution by its owner, one by retention.
    assert stack.call("client_a", "DELETE", f"/v1/executions/{dearer}").status_code == 204
    expire(stack, economy)
    assert_all_agree()


def of_results(executions: list[tuple[dict[str, Any], list[dict[str, Any]]]]) -> Sums:
    """What the images cost, as their results say. A reused image was painted before, for nothing
    now."""
    sums: defaultdict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for execution, results in executions:
        for result in results:
            if result["status"] == "completed" and result["reused_from"] is None:
                sum_of = sums[execution["workflow_id"], result["model"], result["tier"]]
                sum_of[0] += 1
                sum_of[1] += result["cost_microusd"]
            else:
                assert not result["cost_microusd"]
    return {key: (images, cost) for key, (images, cost) in sums.items()}


def of_ledger(stack: Stack, month: str, workflows: list[str]) -> Sums:
    with psycopg.connect(stack.access["database_url"]) as connection:
        rows = connection.execute(
            "SELECT workflow_id::text, model, tier, sum(images)::int, sum(charged_microusd)::int"
            " FROM public.spend_ledger WHERE client_id = %s AND month = %s"
            " AND workflow_id = ANY(%s::uuid[]) GROUP BY 1, 2, 3",
            [ACME, month, workflows],
        ).fetchall()
    return {(row[0], row[1], row[2]): (row[3], row[4]) for row in rows}


def of_usage(stack: Stack, month: str, workflows: list[str]) -> Sums:
    usage = stack.call("client_a", "GET", f"/v1/usage?from={month}").json()
    assert usage["month"] == month
    # The answer is one statement, so its parts agree also while others paint.
    assert usage["spent_microusd"] == sum(item["cost_microusd"] for item in usage["items"])
    return {
        (item["workflow_id"], item["model"], item["tier"]): (item["images"], item["cost_microusd"])
        for item in usage["items"]
        if item["workflow_id"] in workflows
    }


def expire(stack: Stack, execution_id: str) -> None:
    """Lets the sweep give up the images of an execution."""
    keep = f"/v1/clients/{ACME}"
    with psycopg.connect(stack.access["database_url"]) as connection:
        connection.execute(
            "UPDATE public.workflow_executions SET completed_at = now() - interval '2 days'"
            " WHERE id = %s",
            [execution_id],
        )
    assert stack.call("admin", "PATCH", keep, json={"retention_days": 1}).status_code == 200
    image = f"/v1/executions/{execution_id}/results/0/image"
    until(lambda: stack.call("client_a", "GET", image, allow_redirects=False).status_code == 410)
    assert stack.call("admin", "PATCH", keep, json={"retention_days": None}).status_code == 200
