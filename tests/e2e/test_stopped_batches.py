"""What waiting cannot heal stops a batch: few calls, a quick end, and the provider's own words."""

import pytest

from tests.e2e.conftest import Stack, counts, workflow

PROMPTS = 40
CONCURRENCY = 20
# Calls that begin while the first refusal is recorded.
MORE_CALLS = 4
END_SECONDS = 30
ACCOUNT = "provider_refuses_account"
# Signal → the execution's code and a part of the provider's words.
SIGNALS = {
    "invalid_key": ("invalid_api_key", "API key not valid."),
    "leaked_key": ("invalid_api_key", "Your API key was reported as leaked."),
    "service_disabled": ("invalid_api_key", "has not been used in project 123456789012"),
    "prepay": ("billing_required", "Your prepayment credits are depleted."),
    "spend_cap": ("billing_required", "has exceeded its monthly spending cap."),
    "limit_zero": ("billing_required", "limit: 0"),
    "location": (ACCOUNT, "User location is not supported for the API use."),
    "billing": (ACCOUNT, "Please enable billing on your project"),
    "quota": ("quota_exhausted", "You exceeded your current quota"),
    "not_found": ("model_unavailable", "models/gemini-2.5-flash-image is not found"),
}


@pytest.mark.parametrize("signal", SIGNALS)
def test_the_signal_stops_the_batch(stack: Stack, signal: str) -> None:
    code, words = SIGNALS[signal]
    beginning = f"stopped by {signal} "
    # The delay lets the calls overlap.
    stack.rule({"match": f"^{beginning}", "behave": signal, "delay_ms": 500})
    workflow_id = workflow(stack, max_concurrency=CONCURRENCY)
    prompts = [f"{beginning}{number}" for number in range(PROMPTS)]
    execution = stack.wait(stack.submit(prompts, workflow_id=workflow_id), END_SECONDS)
    assert (execution["status"], execution["error_code"]) == ("failed", code)
    assert words in execution["error_message"]
    assert counts(execution) == {"successful": 0, "failed": PROMPTS, "total": PROMPTS}
    assert execution["cost_microusd"] is None
    calls = stack.calls(beginning)
    assert len(calls) <= CONCURRENCY + MORE_CALLS
    results = stack.results(execution["id"])
    assert {row["error_code"] for row in results} == {code}
    assert all(words in row["error_message"] for row in results)
    called = [row for row in results if row["provider_message"]]
    assert len(called) == len(calls)
