"""A submission with an Idempotency-Key happens once, also if it is repeated at once or later."""

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import requests

from tests.e2e.conftest import WORKFLOW, Stack

AT_ONCE = 20
PATIENCE_SECONDS = 150


def submission(prompt: str) -> dict[str, object]:
    return {"workflow_id": WORKFLOW, "prompts": [prompt], "api_key": "demo-key-0123"}


def submit(stack: Stack, who: str, key: str, prompt: str) -> requests.Response:
    headers = {"Idempotency-Key": key}
    return stack.call(who, "POST", "/v1/executions", json=submission(prompt), headers=headers)


def submit_until_answered(stack: Stack, key: str, prompt: str) -> requests.Response:
    """Submits with the same key until there is an answer: on a busy machine, some of twenty
    simultaneous cold starts can time out."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            answer = submit(stack, "client_a", key, prompt)
        except requests.Timeout:
            assert time.monotonic() < deadline
            continue
        if answer.status_code < 500:
            return answer
        assert time.monotonic() < deadline, answer.text
        time.sleep(1)


def test_twenty_simultaneous_submissions_are_one_execution(stack: Stack) -> None:
    stack.rule()
    key, prompt = str(uuid4()), f"only once {uuid4()}"
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(
            pool.map(lambda _: submit_until_answered(stack, key, prompt), range(AT_ONCE))
        )
    assert {answer.status_code for answer in answers} == {202}
    [execution_id] = {answer.json()["id"] for answer in answers}
    assert {answer.headers["Location"] for answer in answers} == {f"/v1/executions/{execution_id}"}
    stack.wait(execution_id, 60)
    assert len(stack.calls(prompt)) == 1
    listed = stack.call("client_a", "GET", "/v1/executions", params={"limit": 200}).json()["items"]
    assert [item["id"] for item in listed].count(execution_id) == 1
    # Repeat after the execution has ended.
    assert submit(stack, "client_a", key, prompt).json()["id"] == execution_id


def test_the_same_key_with_another_body_is_refused(stack: Stack) -> None:
    key = str(uuid4())
    first = submit(stack, "client_a", key, "one")
    assert first.status_code == 202
    second = submit(stack, "client_a", key, "two")
    assert (second.status_code, second.json()["code"]) == (422, "idempotency_key_reused")


def test_two_users_can_send_the_same_key(stack: Stack) -> None:
    key = str(uuid4())
    first = submit(stack, "client_a", key, "one")
    second = submit(stack, "client_b", key, "two")
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] != second.json()["id"]


def test_a_refused_request_leaves_its_key_unused(stack: Stack) -> None:
    key = str(uuid4())
    assert submit(stack, "client_a", key, " ").status_code == 422
    assert submit(stack, "client_a", key, "one").status_code == 202
