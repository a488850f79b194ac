"""What people ask of a batch, over HTTP: settings per prompt, several images, other prompts after a
failure, clones, canaries and images that they already have."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.conftest import WORKFLOW, Stack, counts, workflow


@pytest.fixture(autouse=True)
def _no_rules(stack: Stack) -> None:
    stack.rule()


def submit(stack: Stack, who: str = "client_a", **members: Any) -> str:
    body = {"workflow_id": WORKFLOW, "api_key": "demo-key-0123"} | members
    answer = stack.call(who, "POST", "/v1/executions", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def post(stack: Stack, who: str, path: str, **body: Any) -> Any:
    return stack.call(who, "POST", path, json=body)


def until_paused(stack: Stack, execution_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while True:
        execution = stack.call("client_a", "GET", f"/v1/executions/{execution_id}").json()
        if execution["paused_at"] is not None:
            return execution
        assert time.monotonic() < deadline, execution
        time.sleep(0.2)


def test_each_image_of_a_prompt_is_painted_with_its_seed_and_size(stack: Stack) -> None:
    prompts = [
        {"prompt": "several a", "custom_id": "A", "images": 3, "seed": 7, "metadata": {"sku": 1}},
        {"prompt": "several b", "aspect_ratio": "16:9"},
    ]
    execution_id = submit(stack, prompts=prompts, name="Spring")
    assert counts(stack.wait(execution_id, 60)) == {"successful": 4, "failed": 0, "total": 4}
    rows = stack.results(execution_id)
    assert [(r["prompt_index"], r["image_index"], r["custom_id"], r["seed"]) for r in rows] == [
        (0, 0, "A", 7),
        (0, 1, "A", 8),
        (0, 2, "A", 9),
        (1, 0, None, None),
    ]
    assert len({row["image_sha256"] for row in rows}) == 4
    assert rows[3]["width"] > rows[3]["height"]
    # The same seed paints the same image again.
    again = submit(stack, prompts=[{"prompt": "several a", "seed": 8}])
    stack.wait(again, 60)
    assert stack.results(again)[0]["image_sha256"] == rows[1]["image_sha256"]


def test_a_blocked_prompt_is_edited_and_gets_the_new_picture(stack: Stack) -> None:
    stack.rule({"match": "^edit bad$", "behave": "prompt_blocked"})
    execution_id = submit(stack, prompts=["edit bad", "edit fine"])
    assert counts(stack.wait(execution_id, 60)) == {"successful": 1, "failed": 1, "total": 2}
    edits = [{"batch_index": 0, "prompt": "edit good"}]
    answer = post(stack, "client_a", f"/v1/executions/{execution_id}/retry", edits=edits)
    assert answer.status_code == 202, answer.text
    assert counts(stack.wait(execution_id, 60)) == {"successful": 2, "failed": 0, "total": 2}
    row = stack.results(execution_id)[0]
    assert (row["prompt_text"], row["original_prompt"]) == ("edit good", "edit bad")
    assert [call["prompt"] for call in stack.calls("edit ")].count("edit good") == 1


def test_a_canary_pauses_until_it_is_resumed(stack: Stack) -> None:
    prompts = [f"canary {n}" for n in range(6)]
    execution_id = submit(stack, prompts=prompts, canary={"images": 2})
    paused = until_paused(stack, execution_id)
    assert paused["progress"]["paused"] == 4
    assert paused["pace"]["limited_by"] == "canary"
    assert len(stack.calls("canary ")) == 2
    path = f"/v1/executions/{execution_id}/resume"
    statuses = {who: post(stack, who, path).status_code for who in ("client_b", "admin")}
    assert statuses == {"client_b": 404, "admin": 202}
    assert counts(stack.wait(execution_id, 60)) == {"successful": 6, "failed": 0, "total": 6}
    assert len(stack.calls("canary ")) == 6
    # A canary that is good enough does not pause.
    going = submit(stack, prompts=prompts, canary={"images": 2, "continue_at": 1})
    assert counts(stack.wait(going, 60))["successful"] == 6


@pytest.mark.parametrize("size", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_changed_prompts_alone_are_painted_again(stack: Stack, size: int) -> None:
    prefix = f"reuse of {size} "
    to = workflow(stack, max_prompts=size)
    prompts = [f"{prefix}{n}" for n in range(size)]
    first = submit(stack, workflow_id=to, prompts=prompts)
    stack.wait(first, 200)
    assert len(stack.calls(prefix)) == size
    changed = [f"{prefix}x", *prompts[1:10], f"{prefix}y", *prompts[11:-1], f"{prefix}z"]
    second = submit(stack, workflow_id=to, prompts=changed, reuse="identical")
    execution = stack.wait(second, 200)
    assert counts(execution)["successful"] == size
    assert len(stack.calls(prefix)) == size + 3
    earlier = {row["prompt_text"]: row for row in stack.results(first)}
    painted = [row for row in stack.results(second) if row["prompt_text"] not in earlier]
    assert [row["reused_from"] for row in painted] == [None] * 3
    assert execution["cost_microusd"] == sum(row["cost_microusd"] for row in painted) > 0
    # What the provider counts can differ a little from the estimate.
    assert execution["cost_microusd"] == pytest.approx(execution["estimate_microusd"], abs=30)
    for row in stack.results(second):
        if row["prompt_text"] in earlier:
            source = earlier[row["prompt_text"]]
            assert row["reused_from"] == source["id"]
            assert row["image_sha256"] == source["image_sha256"]
            assert row["result_storage_path"] != source["result_storage_path"]
            assert row["cost_microusd"] == 0
    # Images of another client are never found.
    others = submit(stack, "client_b", workflow_id=to, prompts=prompts[:2], reuse="identical")
    stack.wait(others, 60, "client_b")
    assert len(stack.calls(prefix)) == size + 5


def test_submissions_at_once_with_mixed_numbers_of_images_stay_within_the_budget(
    stack: Stack,
) -> None:
    each = 38_701
    room = 10 * each
    new = {"name": "Race", "email": "race@client.example", "monthly_budget_microusd": room}
    client_id = stack.call("admin", "POST", "/v1/clients", json=new).json()["id"]

    def attempt(images: int) -> Any:
        body = {
            "workflow_id": WORKFLOW,
            "api_key": stack.api_key,
            "client_id": client_id,
            "prompts": ["race a", {"prompt": "race b", "images": 1}],
            "images_per_prompt": images,
        }
        return stack.call("admin", "POST", "/v1/executions", json=body)

    numbers = [1, 2, 3] * 4
    with ThreadPoolExecutor(len(numbers)) as pool:
        answers = list(pool.map(attempt, numbers))
    assert {answer.status_code for answer in answers} == {202, 402}
    accepted = [answer.json() for answer in answers if answer.ok]
    reserved = sum(execution["estimate_microusd"] for execution in accepted)
    assert reserved == sum(execution["image_count"] for execution in accepted) * each <= room
    # Nothing was refused that had room.
    for images, answer in zip(numbers, answers, strict=True):
        assert answer.ok or (images + 1) * each > room - reserved
    ended = [stack.wait(execution["id"], 90, "admin") for execution in accepted]
    assert [execution["output_data"]["failed"] for execution in ended] == [0] * len(ended)
    usage = stack.call("admin", "GET", f"/v1/usage?client_id={client_id}").json()
    spent = sum(execution["cost_microusd"] for execution in ended)
    assert (usage["spent_microusd"], usage["reserved_microusd"]) == (spent, 0)
    assert spent <= room
