"""An execution whose model is gone goes on with the workflow's fallback model, at its price."""

from typing import Any

import psycopg

from tests.e2e.conftest import Stack, counts, workflow

MODEL, FALLBACK = "gemini-2.5-flash-image", "gemini-nano-banana-2.1"
# One prompt of four tokens of input at 1.5 microusd, and 1,120 of the image at 30.
PRICE = 33_606


def run(stack: Stack, beginning: str, **rule: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Three prompts, one after the other. Returns the ended execution and its results."""
    stack.rule({"match": f"^{beginning}", "behave": "not_found", **rule})
    # One at a time, so that the calls have one order.
    workflow_id = workflow(stack, model=MODEL, fallback_model=FALLBACK, max_concurrency=1)
    prompts = [f"{beginning}{number}" for number in range(3)]
    execution_id = stack.submit(prompts, workflow_id=workflow_id)
    return stack.wait(execution_id, 60), stack.results(execution_id)


def reserved(stack: Stack, execution_id: str) -> list[int]:
    """What is reserved at first, and what is left."""
    with psycopg.connect(stack.access["database_url"]) as connection:
        rows = connection.execute(
            "SELECT reserved_microusd FROM public.spend_ledger WHERE execution_id = %s ORDER BY id",
            [execution_id],
        ).fetchall()
    amounts = [amount for (amount,) in rows]
    return [amounts[0], sum(amounts)]


def test_unfinished_prompts_go_on_with_the_fallback_at_its_price(stack: Stack) -> None:
    execution, results = run(stack, "fall back, #", times=2)
    assert counts(execution) == {"successful": 3, "failed": 0, "total": 3}
    called = [(call["model"], call["behave"]) for call in stack.calls("fall back, #")]
    assert called == [*[(MODEL, "not_found")] * 2, *[(FALLBACK, "ok")] * 3]
    assert [row["model"] for row in results] == [FALLBACK] * 3
    assert [row["cost_microusd"] for row in results] == [PRICE] * 3
    assert (execution["model"], execution["cost_microusd"]) == (FALLBACK, 3 * PRICE)
    # The estimate is that of the dearer model.
    assert execution["estimate_microusd"] > execution["cost_microusd"]
    assert reserved(stack, execution["id"]) == [execution["estimate_microusd"], 0]


def test_a_fallback_that_is_gone_too_stops_the_execution(stack: Stack) -> None:
    execution, results = run(stack, "both gone, #")
    assert (execution["status"], execution["error_code"]) == ("failed", "model_unavailable")
    assert f"models/{FALLBACK} is not found" in execution["error_message"]
    assert [call["model"] for call in stack.calls("both gone, #")] == [
        *[MODEL] * 2,
        *[FALLBACK] * 2,
    ]
    assert {row["error_code"] for row in results} == {"model_unavailable"}
    assert reserved(stack, execution["id"])[1] == 0


def test_a_retry_stays_with_the_fallback(stack: Stack) -> None:
    execution, _ = run(stack, "retried, #", times=4)
    assert counts(execution) == {"successful": 0, "failed": 3, "total": 3}
    path = f"/v1/executions/{execution['id']}/retry"
    answer = stack.call("client_a", "POST", path)
    assert answer.status_code == 202, answer.text
    assert answer.json()["model"] == FALLBACK
    assert counts(stack.wait(execution["id"], 60))["successful"] == 3
    assert [call["model"] for call in stack.calls("retried, #")][4:] == [FALLBACK] * 3
