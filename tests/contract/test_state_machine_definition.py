"""statemachine/execution.asl.json has no mistake that would show only at run time."""

import heapq
import itertools
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from masstock import errors

ROOT = Path(__file__).parents[2]
MACHINE: dict[str, Any] = json.loads((ROOT / "statemachine/execution.asl.json").read_text())
# Names that Step Functions and its SDK give to failures without an answer of Lambda, and those of a
# function that died. Lambda's own errors come from botocore's model of Invoke.
OF_STEP_FUNCTIONS = {
    "Lambda.AWSLambdaException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.SdkClientException",
}
OF_DEAD_FUNCTIONS = {"Lambda.Unknown", "Runtime.ExitError", "Sandbox.Timedout"}
HISTORY_LIMIT = 25_000
# Lambda may have no capacity for so long without any loss. More attempts would not fit into the
# history.
LONGEST_SHORTAGE_SECONDS = 12 * 3600
# TaskScheduled, TaskStarted and TaskFailed.
EVENTS_OF_AN_ATTEMPT = 3


def errors_of_invoke() -> tuple[set[str], set[str]]:
    """Lambda's errors that pass when capacity is free again, and its other passing errors.

    An error can pass if its status is 408, 409, 429 or 5xx. It is about capacity if it is a 429 or
    if its name says so.
    """
    lambda_service = botocore.session.get_session().get_service_model("lambda")
    capacity, others = set(), set()
    for shape in lambda_service.operation_model("Invoke").error_shapes:
        status = shape.metadata["error"]["httpStatusCode"]
        if status == 429 or re.search("Throttled|LimitReached|NotReady|Pending", shape.name):
            capacity.add(f"Lambda.{shape.name}")
        elif status in (408, 409) or status >= 500:
            others.add(f"Lambda.{shape.name}")
    return capacity, others


CAPACITY, OTHERS = errors_of_invoke()
OF_THE_PLATFORM = CAPACITY | OTHERS | OF_STEP_FUNCTIONS | OF_DEAD_FUNCTIONS


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


STEPS = ["Fanout", "Economy", "Paint", "Finalize"]


@pytest.mark.parametrize("name", STEPS)
def test_every_passing_error_of_lambdas_invoke_is_retried(name: str) -> None:
    """A newer botocore with another error fails here, until the machine names the error."""
    retried = {e for r in dict(states())[name]["Retry"] for e in r["ErrorEquals"]}
    assert {error for error in retried if error.startswith("Lambda.")} == (
        CAPACITY | OTHERS | OF_STEP_FUNCTIONS | {"Lambda.Unknown"}
    )
    assert retried >= OF_DEAD_FUNCTIONS


@pytest.mark.parametrize("name", STEPS)
def test_throttles_of_lambda_are_waited_out_apart_from_every_other_error(name: str) -> None:
    [waiter] = [
        retrier
        for retrier in dict(states())[name]["Retry"]
        if not CAPACITY.isdisjoint(retrier["ErrorEquals"])
    ]
    # With a counter of its own, so that no other error loses an attempt.
    assert set(waiter["ErrorEquals"]) == CAPACITY
    assert "Lambda.TooManyRequestsException" in CAPACITY
    # With full jitter a pause is half as long on average.
    expected = waiter["MaxAttempts"] * waiter["MaxDelaySeconds"] / 2
    assert expected > LONGEST_SHORTAGE_SECONDS
    assert waiter["JitterStrategy"] == "FULL"


def lost_prompts(prompts: int, children: int, slots: int, image_seconds: float) -> int:
    """Simulates Map children that compete for Lambda's slots, with the retrier of the definition.
    Returns how many prompts used up their retries."""
    [retrier] = [
        retrier
        for retrier in dict(states())["Paint"]["Retry"]
        if "Lambda.TooManyRequestsException" in retrier["ErrorEquals"]
    ]
    chance = random.Random(1)
    # (time, order, what happens, retries so far)
    events: list[tuple[float, int, str, int]] = []
    order = itertools.count()

    def push(at: float, what: str, retries: int = 0) -> None:
        heapq.heappush(events, (at, next(order), what, retries))

    waiting, busy, lost = prompts - children, 0, 0
    for _ in range(children):
        push(0, "try")
    while events:
        now, _, what, retries = heapq.heappop(events)
        if what == "try" and busy < slots:
            busy += 1
            push(now + image_seconds, "done")
            continue
        if what == "try" and retries < retrier["MaxAttempts"]:
            longest = min(
                retrier["IntervalSeconds"] * retrier["BackoffRate"] ** min(retries, 30),
                retrier["MaxDelaySeconds"],
            )
            push(now + chance.uniform(0, longest), "try", retries + 1)
            continue
        # The child takes its next prompt.
        lost += what == "try"
        busy -= what == "done"
        if waiting:
            waiting -= 1
            push(now, "try")
    return lost


@pytest.mark.parametrize(("children", "slots"), [(20, 10), (20, 2), (1000, 100)])
def test_children_that_compete_for_slots_lose_no_prompt(children: int, slots: int) -> None:
    assert lost_prompts(2000, children, slots, image_seconds=10) == 0


@pytest.mark.parametrize("name", STEPS)
def test_the_history_has_room_for_every_retry(name: str) -> None:
    attempts = sum(retrier["MaxAttempts"] for retrier in dict(states())[name]["Retry"]) + 1
    assert attempts * EVENTS_OF_AN_ATTEMPT < HISTORY_LIMIT * 0.7


def test_no_retrier_retries_every_error() -> None:
    for name, state in states():
        for retrier in state.get("Retry", []):
            assert "States.ALL" not in retrier["ErrorEquals"], name


def test_every_retryable_outcome_has_a_retrier_with_enough_attempts() -> None:
    """The database row counts the retries. The state machine must allow at least as many. A
    throttled prompt waits in the Wait state instead."""
    paint = MACHINE["States"]["Generate"]["ItemProcessor"]["States"]["Paint"]
    allowed = {e: r["MaxAttempts"] for r in paint["Retry"] for e in r["ErrorEquals"]}
    for outcome in errors.outcomes().values():
        if outcome.max_retries and outcome is not errors.ProviderThrottled:
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
    assert generate["ItemSelector"] == {
        "execution_id.$": "$.execution_id",
        "batch_index.$": "$$.Map.Item.Value",
        "tier.$": "$.batch.tier",
        "outcome": {"turn": 0},
    }
    assert generate["ItemProcessor"]["States"]["Done"]["Result"] == 0
    # 10,000 indices of up to four digits and 10,000 results, with commas.
    assert 10_000 * 5 < 256 * 1024
