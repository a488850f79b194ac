"""statemachine/execution.asl.json has no mistake that would show only at run time."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from masstock import errors

ROOT = Path(__file__).parents[2]
MACHINE: dict[str, Any] = json.loads((ROOT / "statemachine/execution.asl.json").read_text())
OF_THE_PLATFORM = {
    "States.ALL",
    "Lambda.TooManyRequestsException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Sandbox.Timedout",
}


def scopes(machine: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield machine
    for state in machine["States"].values():
        if "ItemProcessor" in state:
            yield from scopes(state["ItemProcessor"])


def states() -> Iterator[tuple[str, dict[str, Any]]]:
    for scope in scopes(MACHINE):
        yield from scope["States"].items()


def test_every_transition_has_a_target_and_every_state_is_reached() -> None:
    for scope in scopes(MACHINE):
        names = set(scope["States"])
        targets = {scope["StartAt"]}
        for state in scope["States"].values():
            targets.update(state[key] for key in ("Next", "Default") if key in state)
            for key in ("Catch", "Choices"):
                targets.update(branch["Next"] for branch in state.get(key, []))
            ends = bool(state.get("End")) or state["Type"] in ("Choice", "Succeed")
            assert ("Next" in state) + ends == 1
        assert targets == names


def test_every_retried_error_is_ours_or_the_platforms() -> None:
    for name, state in states():
        for retrier in state.get("Retry", []):
            for error in retrier["ErrorEquals"]:
                assert error in OF_THE_PLATFORM or issubclass(
                    getattr(errors, error), errors.AppError
                ), f"{name}: {error}"


def test_no_retrier_retries_every_error() -> None:
    for name, state in states():
        for retrier in state.get("Retry", []):
            assert "States.ALL" not in retrier["ErrorEquals"], name


def test_every_retryable_outcome_has_a_retrier_with_enough_attempts() -> None:
    """The database row counts the retries. The state machine must allow at least as many."""
    paint = MACHINE["States"]["Generate"]["ItemProcessor"]["States"]["Paint"]
    allowed = {e: r["MaxAttempts"] for r in paint["Retry"] for e in r["ErrorEquals"]}
    for outcome in errors.outcomes().values():
        if outcome.max_retries:
            assert allowed[outcome.__name__] >= outcome.max_retries


def test_retries_after_a_model_call_have_jitter_and_a_maximum_delay() -> None:
    paint = MACHINE["States"]["Generate"]["ItemProcessor"]["States"]["Paint"]
    for retrier in paint["Retry"]:
        if retrier["MaxAttempts"] > 1:
            assert retrier["JitterStrategy"] == "FULL"
            assert retrier["MaxDelaySeconds"] <= 60


def test_every_task_except_the_last_catches_all_other_errors() -> None:
    for name, state in states():
        if state["Type"] in ("Task", "Map") and name != "Finalize":
            assert any("States.ALL" in c["ErrorEquals"] for c in state["Catch"]), name


def test_state_contains_only_ids_and_counts() -> None:
    """The state contains no prompt and no key. The Map's items are numbers, and each child returns
    one digit."""
    generate = MACHINE["States"]["Generate"]
    assert set(generate["ItemSelector"]) == {"execution_id.$", "batch_index.$"}
    assert generate["ItemProcessor"]["States"]["Done"]["Result"] == 0
    # 10,000 indices of up to four digits and 10,000 results, with commas.
    assert 10_000 * 5 < 256 * 1024
