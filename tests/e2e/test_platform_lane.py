"""The lane of the platform's key on a running stack: a client with many prompts does not keep the
few of another client waiting."""

import time
from collections.abc import Iterator

import pytest
import requests

from tests.e2e.conftest import Stack, counts, own_stack, workflow

MINUTE = 6
PER_MINUTE = 10
# The first five calls of a client are granted within so many calls of the lane.
INTERVALS = 13
# Steps of the state machine, the model's time and one look at the execution.
CALL_SECONDS = 2.5
CLIENTS = 20


@pytest.fixture(scope="module")
def paced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("platform") / "stack"
    with own_stack(directory, PACE_MINUTE_SECONDS=str(MINUTE)) as stack:
        yield stack


def new_client(stack: Stack, number: int) -> str:
    body = {"name": f"Client {number}", "email": f"client-{number}@example.com"}
    answer = stack.call("admin", "POST", "/v1/clients", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def submit(stack: Stack, workflow_id: str, client: str, prompts: list[str]) -> str:
    body = {"workflow_id": workflow_id, "client_id": client, "prompts": prompts}
    answer = stack.call("admin", "POST", "/v1/executions", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def refused(stack: Stack) -> int:
    calls = requests.get(stack.access["model_url"] + "/_calls", timeout=10).json()
    return sum(call["behave"] == "limited" for call in calls)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_five_prompts_pass_the_many_of_another_client(paced: Stack) -> None:
    limit = {"requests": PER_MINUTE, "seconds": MINUTE, "kind": "sliding_window"}
    body = {"rules": [], "limits": [{**limit, "retry_info": True}], "outages": []}
    answer = requests.post(paced.access["model_url"] + "/_control", json=body, timeout=10)
    assert answer.status_code == 200, answer.text
    painted = workflow(paced, requires_api_key=False)
    large, small, *others = (new_client(paced, number) for number in range(CLIENTS))
    for client in others:
        submit(paced, painted, client, [f"one of {client}"])
    many = [submit(paced, painted, large, [f"many {n}" for n in range(100)]) for _ in range(4)]
    deadline = time.monotonic() + 60
    while not refused(paced):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    # The opening burst is over, and the lane knows its pace.
    time.sleep(2 * MINUTE)

    began = time.monotonic()
    execution_id = submit(paced, painted, small, [f"few {n}" for n in range(5)])
    execution = paced.wait(execution_id, 60, who="admin")
    seconds = time.monotonic() - began

    assert counts(execution) == {"successful": 5, "failed": 0, "total": 5}
    assert seconds <= INTERVALS * MINUTE / PER_MINUTE + CALL_SECONDS
    for execution_id in many:
        progress = paced.call("admin", "GET", f"/v1/executions/{execution_id}").json()["progress"]
        assert progress["failed"] == 0
        paced.call("admin", "POST", f"/v1/executions/{execution_id}/cancel")
