"""No result is lost and no image is paid for twice: faults, cancelling, retries, budgets and
webhooks over HTTP."""

import json
import re
import time
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
import requests
from PIL import Image
from standardwebhooks import Webhook

from tests.e2e.conftest import WORKFLOW, Stack, counts, run_local, workflow
from tests.support.receiver import Receiver, listening

ACME = "456e7890-e89b-12d3-a456-426614174001"
BODY = {"workflow_id": WORKFLOW, "api_key": "demo-key-0123"}


@pytest.fixture(autouse=True)
def _no_rules(stack: Stack) -> None:
    stack.rule()


def rule(prompt: str, behave: str, **more: Any) -> dict[str, Any]:
    return {"match": f"^{re.escape(prompt)}$", "behave": behave, **more}


def test_a_cancellation_stops_claims_and_keeps_images(stack: Stack) -> None:
    stack.rule({"match": "^long ", "behave": "ok", "delay_ms": 1500})
    execution_id = stack.submit([f"long {n}" for n in range(60)])
    path = f"/v1/executions/{execution_id}"
    _until(lambda: stack.call("client_a", "GET", path).json()["progress"]["successful"] >= 3)
    cancelled = stack.call("client_a", "POST", f"{path}/cancel")
    assert cancelled.status_code == 200, cancelled.text
    moment = time.time()
    again = stack.call("client_a", "POST", f"{path}/cancel")
    assert again.status_code == 200
    execution = stack.wait(execution_id, 60)
    assert (execution["status"], execution["error_code"]) == ("failed", "cancelled")
    results = stack.results(execution_id)
    painted = [row for row in results if row["status"] == "completed"]
    others = [row for row in results if row["status"] != "completed"]
    assert {row["error_code"] for row in others} == {"cancelled"}
    assert counts(execution) == {"successful": len(painted), "failed": len(others), "total": 60}
    # Prompts that were claimed before the cancellation can still reach the model.
    assert all(call["time"] < moment + 5 for call in stack.calls("long "))
    assert len(stack.calls("long ")) == len(painted) < 60
    for row in painted:
        image = stack.call("client_a", "GET", f"{path}/results/{row['batch_index']}/image")
        Image.open(BytesIO(image.content)).verify()
    ended = stack.call("client_a", "POST", f"{path}/cancel")
    assert (ended.status_code, ended.json()["code"]) == (409, "conflict")


def _until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_retry_paints_the_failed_prompts_only(stack: Stack) -> None:
    stack.rule(rule("again 3", "content_blocked"), rule("again 5", "no_image"))
    execution_id = stack.submit([f"again {n}" for n in range(8)])
    first = stack.wait(execution_id, 90)
    assert counts(first) == {"successful": 6, "failed": 2, "total": 8}
    # The engine itself retries "no image" once.
    assert len(stack.calls("again ")) == 9
    path = f"/v1/executions/{execution_id}"
    stack.rule()
    answer = stack.call("client_a", "POST", f"{path}/retry", json={"only_retryable": True})
    assert answer.status_code == 202, answer.text
    assert counts(stack.wait(execution_id, 60)) == {"successful": 7, "failed": 1, "total": 8}
    assert len(stack.calls("again ")) == 10
    assert stack.call("client_a", "POST", f"{path}/retry").status_code == 202
    assert counts(stack.wait(execution_id, 60)) == {"successful": 8, "failed": 0, "total": 8}
    assert len(stack.calls("again ")) == 11
    nothing = stack.call("client_a", "POST", f"{path}/retry")
    assert (nothing.status_code, nothing.json()["code"]) == (409, "conflict")


def test_a_spent_quota_stops_the_batch_and_the_rest_can_be_retried(stack: Stack) -> None:
    stack.rule({"match": "^quota ", "behave": "quota"})
    execution_id = stack.submit([f"quota {n}" for n in range(60)])
    execution = stack.wait(execution_id, 90)
    assert (execution["status"], execution["error_code"]) == ("failed", "quota_exhausted")
    assert counts(execution) == {"successful": 0, "failed": 60, "total": 60}
    assert len(stack.calls("quota ")) <= 20
    assert all(row["retryable"] for row in stack.results(execution_id))


def test_custom_ids_and_aspect_ratios_reach_the_results(stack: Stack) -> None:
    prompts = [{"prompt": "wide one", "custom_id": "sku-1"}, "wide two", {"prompt": "wide three"}]
    execution_id = stack.submit(prompts, aspect_ratio="16:9")
    execution = stack.wait(execution_id, 60)
    assert execution["input_data"]["prompts"] == prompts
    results = stack.results(execution_id)
    assert [row["custom_id"] for row in results] == ["sku-1", None, None]
    image = requests.get(results[0]["result_url"], timeout=10)
    width, height = Image.open(BytesIO(image.content)).size
    assert width / height == pytest.approx(16 / 9, rel=0.02)
    assert execution["cost_microusd"] == sum(row["cost_microusd"] for row in results) > 0
    assert execution["output_data"]["cost_microusd"] == execution["cost_microusd"]


def test_a_long_list_of_prompts_can_be_uploaded(stack: Stack) -> None:
    form = stack.call("client_a", "POST", "/v1/uploads", json={"kind": "prompts"}).json()
    lines = [json.dumps("uploaded one"), "", json.dumps({"prompt": "two", "custom_id": "2"})]
    content = "\n".join(lines).encode()
    requests.post(
        form["url"], data=form["fields"], files={"file": content}, timeout=10
    ).raise_for_status()
    body = BODY | {"prompts_key": form["key"]}
    execution_id = stack.call("client_a", "POST", "/v1/executions", json=body).json()["id"]
    assert counts(stack.wait(execution_id, 60))["successful"] == 2
    assert [row["custom_id"] for row in stack.results(execution_id)] == [None, "2"]
    stolen = stack.call("client_b", "POST", "/v1/executions", json=body)
    assert stolen.status_code == 422
    assert stolen.json()["errors"][0]["pointer"] == "/prompts_key"


def test_mistakes_in_an_uploaded_list_are_reported_with_their_line(stack: Stack) -> None:
    form = stack.call("client_a", "POST", "/v1/uploads", json={"kind": "prompts"}).json()
    content = b'"fine"\n{"promt": "x"}\nnot json\n""\n'
    requests.post(
        form["url"], data=form["fields"], files={"file": content}, timeout=10
    ).raise_for_status()
    answer = stack.call(
        "client_a", "POST", "/v1/executions", json=BODY | {"prompts_key": form["key"]}
    )
    assert answer.status_code == 422
    told = [mistake["detail"].partition(":")[0] for mistake in answer.json()["errors"]]
    assert told == ["Line 2", "Line 2", "Line 3 is not JSON.", "Line 4"]


def test_reference_images_reach_the_model(stack: Stack) -> None:
    buffer = BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "PNG")
    form = stack.call("client_a", "POST", "/v1/uploads", json={"content_type": "image/png"}).json()
    requests.post(
        form["url"], data=form["fields"], files={"file": buffer.getvalue()}, timeout=10
    ).raise_for_status()
    plain = stack.submit(["with a reference"])
    execution_id = stack.submit(["with a reference"], reference_images=[form["key"]])
    images = []
    for each in (plain, execution_id):
        assert stack.wait(each, 60)["status"] == "completed"
        images.append(requests.get(stack.results(each)[0]["result_url"], timeout=10).content)
    assert images[0] != images[1]


def test_a_retired_model_is_refused_with_its_successors_name(stack: Stack) -> None:
    workflow_id = workflow(stack, model="gemini-2.5-flash-image-preview")
    answer = stack.call(
        "client_a",
        "POST",
        "/v1/executions",
        json=BODY | {"workflow_id": workflow_id, "prompts": ["x"]},
    )
    assert answer.status_code == 422
    [mistake] = answer.json()["errors"]
    assert mistake["pointer"] == "/workflow_id"
    assert "gemini-3.1-flash-lite-image." in mistake["detail"]


def test_an_unknown_model_is_passed_through(stack: Stack) -> None:
    workflow_id = workflow(stack, model="somebodys-own-model")
    execution_id = stack.submit(["unknown model"], workflow_id=workflow_id)
    assert stack.wait(execution_id, 60)["status"] == "completed"
    assert stack.calls("unknown model")[0]["model"] == "somebodys-own-model"


def test_a_dry_run_returns_the_price_and_creates_nothing(stack: Stack) -> None:
    before = stack.call("client_a", "GET", "/v1/executions?limit=1").json()["items"][:1]
    body = BODY | {"prompts": ["dry one", "dry two"]}
    answer = stack.call("client_a", "POST", "/v1/executions?dry_run=true", json=body)
    assert answer.status_code == 200, answer.text
    # 1,290 tokens of the image at 30, and two of the prompt at 0.3 microusd, for each.
    assert answer.json()["estimate_microusd"] == 2 * 38_701
    assert stack.call("client_a", "GET", "/v1/executions?limit=1").json()["items"][:1] == before
    refused = stack.call(
        "client_a", "POST", "/v1/executions?dry_run=true", json=body | {"aspect_ratio": "7:3"}
    )
    assert refused.status_code == 422
    assert stack.calls("dry ") == []


def test_a_submission_over_budget_is_refused_and_one_within_is_not(stack: Stack) -> None:
    globex = stack.call("client_b", "GET", "/v1/me").json()["client_id"]
    path = f"/v1/clients/{globex}"
    room = 3 * 38_700 + 1_000
    # Other tests have already spent part of the budget.
    vast = 10**12
    stack.call("admin", "PATCH", path, json={"monthly_budget_microusd": vast})
    dry = BODY | {"prompts": ["costly"]}
    left = stack.call("client_b", "POST", "/v1/executions?dry_run=true", json=dry).json()
    budget = vast - left["budget_left_microusd"] + room
    patched = stack.call("admin", "PATCH", path, json={"monthly_budget_microusd": budget})
    assert patched.status_code == 200, patched.text
    try:
        body = BODY | {"prompts": ["costly"] * 4}
        refused = stack.call("client_b", "POST", "/v1/executions", json=body)
        assert (refused.status_code, refused.json()["code"]) == (402, "budget_exceeded")
        dry_run = stack.call("client_b", "POST", "/v1/executions?dry_run=true", json=body)
        assert (dry_run.status_code, dry_run.json()["code"]) == (402, "budget_exceeded")
        within = BODY | {"prompts": ["costly"] * 3}
        told = stack.call("client_b", "POST", "/v1/executions?dry_run=true", json=within).json()
        assert (told["fits_budget"], told["budget_left_microusd"]) == (True, room)
        accepted = stack.call("client_b", "POST", "/v1/executions", json=within)
        assert accepted.status_code == 202
    finally:
        stack.call("admin", "PATCH", path, json={"monthly_budget_microusd": None})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as receiver:
        yield receiver


def test_the_end_of_an_execution_sends_one_signed_webhook(stack: Stack, receiver: Receiver) -> None:
    execution_id = stack.submit(["tell me"], webhook_url=receiver.url)
    execution = stack.wait(execution_id, 60)
    path = f"/v1/executions/{execution_id}"
    _until(lambda: stack.call("client_a", "GET", path).json()["webhook_delivered_at"])
    secret = stack.call("client_a", "GET", f"/v1/clients/{ACME}/webhook-secret").json()["secret"]
    [(_, headers, body)] = receiver.received
    told = Webhook(secret).verify(body, headers)
    assert told["type"] == "execution.completed"
    assert told["data"]["id"] == execution_id
    assert told["data"]["output_data"] == execution["output_data"]
    assert stack.call("client_b", "GET", f"/v1/clients/{ACME}/webhook-secret").status_code == 404


def test_a_webhook_gets_results_before_the_end(stack: Stack, receiver: Receiver) -> None:
    stack.rule({"match": "^blocked$", "behave": "content_blocked"})
    events = ["result.completed", "result.failed", "execution.completed"]
    prompts = ["tell me", "blocked"]
    execution_id = stack.submit(prompts, webhook_url=receiver.url, webhook_events=events)
    assert stack.wait(execution_id, 60)["webhook_events"] == sorted(events)
    _until(lambda: len(receiver.received) >= 3)
    told = [json.loads(body) for _, _, body in receiver.received]
    assert {message["type"]: message["data"].get("results") is None for message in told} == {
        "result.completed": False,
        "result.failed": False,
        "execution.completed": True,
    }
    assert told[-1]["type"] == "execution.completed"


def test_an_unchanged_execution_answers_304(stack: Stack) -> None:
    execution_id = stack.submit(["poll me"])
    stack.wait(execution_id, 60)
    for path in (f"/v1/executions/{execution_id}", f"/v1/executions/{execution_id}/results"):
        first = stack.call("client_a", "GET", path)
        assert first.headers["Retry-After"] == "2"
        headers = {"If-None-Match": first.headers["ETag"]}
        again = stack.call("client_a", "GET", path, headers=headers)
        # The ETag of results changes when their URLs are signed for a new time window.
        if again.status_code != 304:
            again = stack.call(
                "client_a", "GET", path, headers={"If-None-Match": again.headers["ETag"]}
            )
        assert (again.status_code, again.content) == (304, b"")


def test_keys_are_sealed_again_while_executions_run(stack: Stack) -> None:
    stack.rule({"match": "^rotating ", "behave": "ok", "delay_ms": 1000})
    execution_id = stack.submit([f"rotating {n}" for n in range(60)])
    run_local("reseal", stack.directory, "--add-key")
    later = stack.submit(["rotating later"])
    assert counts(stack.wait(execution_id, 120))["successful"] == 60
    assert counts(stack.wait(later, 60))["successful"] == 1
