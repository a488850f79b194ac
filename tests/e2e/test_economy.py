"""The economy tier with the stand-in's jobs, for each of its controls. Each picture belongs to its
prompt, and the provider paints each image once."""

import base64
import hashlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

import psycopg
import pytest
import requests

from local.image_model.batches import CHOICES, Batches
from tests.e2e.conftest import Stack, workflow
from tests.e2e.test_permissions import client, picture, upload

pytestmark = pytest.mark.timeout(280)

MODEL = "gemini-2.5-flash-image"
SEED = 7
PROMPTS = [f"a quay at dusk, view {number}" for number in range(2)]
STANDARD, ECONOMY = ["standard"] * 2, ["economy"] * 2


@dataclass(frozen=True)
class Case:
    """A control of the stand-in's jobs. `tiers` are those of the results, in any order; None for a
    prompt without an image."""

    name: str
    control: dict[str, Any]
    tiers: list[str | None]
    more: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case("begins late", {"delay_s": 2}, ECONOMY),
    Case(
        "the answer to the creation is lost", {"lose_create_answer": 1, "empty_pages": 2}, ECONOMY
    ),
    Case("refused by a limit", {"create_429": 1}, ECONOMY),
    Case("shuffled", {"order": "shuffled"}, ECONOMY),
    Case("doubled keys", {"double_keys": 2}, ECONOMY),
    Case("foreign keys", {"foreign_keys": 2}, ECONOMY),
    Case("missing keys", {"drop_keys": 1}, ["economy", "standard"]),
    Case("lines with errors", {"error_lines": 1}, ["economy", "standard"]),
    Case("an output under response", {"output_under": "response"}, ECONOMY),
    Case("an output under metadata", {"output_under": "metadata"}, ECONOMY),
    Case("failed", {"state": "FAILED"}, STANDARD),
    Case("expired", {"state": "EXPIRED"}, STANDARD),
    Case("cancelled by the provider", {"state": "CANCELLED"}, ["economy", "standard"]),
    Case(
        "expired, without a fall-back",
        {"state": "EXPIRED"},
        [None] * 2,
        {"on_economy_failure": "fail"},
    ),
    # These controls hold for the next downloads, so they come last.
    Case("a download that fails", {"download_503": 2}, ECONOMY),
    Case("a download that is cut", {"cut_download": 1}, ECONOMY),
]
# A refused creation is tried again: under the control of that time.
SEQUENTIAL = ("create_429", "download_503", "cut_download")


def control(stack: Stack, **members: Any) -> None:
    url = stack.access["model_url"] + "/_control"
    answer = requests.post(url, json={"rules": [], **members}, timeout=10)
    assert answer.status_code == 200, answer.text


def jobs_of(stack: Stack, api_key: str) -> list[dict[str, Any]]:
    jobs = requests.get(stack.access["model_url"] + "/_jobs", timeout=10).json()
    digest = hashlib.sha256(api_key.encode()).hexdigest()
    return [job for job in jobs if job["api_key_sha256"] == digest]


def calls_of(stack: Stack, api_key: str) -> list[dict[str, Any]]:
    digest = hashlib.sha256(api_key.encode()).hexdigest()
    return [call for call in stack.calls("") if call["api_key_sha256"] == digest]


def until(fact: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def submit(stack: Stack, prompts: list[str], **more: Any) -> tuple[str, str]:
    """(id, API key) of an economy execution."""
    stack.change_key()
    return stack.submit(prompts, tier="economy", seed=SEED, **more), stack.api_key


@pytest.fixture(scope="module")
def ended(stack: Stack) -> dict[str, tuple[dict[str, Any], str]]:
    """The execution and API key of each case, when all have ended. A job keeps the control that was
    in force at its creation."""
    ids: dict[str, tuple[str, str]] = {}
    for case in CASES:
        control(stack, batches=case.control)
        execution_id, key = submit(stack, PROMPTS, **case.more)
        ids[case.name] = execution_id, key
        if "create_429" not in case.control:
            until(lambda key=key: jobs_of(stack, key))
        else:
            time.sleep(3)
        if case.control.keys() & set(SEQUENTIAL):
            stack.wait(execution_id, 60)
    control(stack, batches={})
    return {name: (stack.wait(execution_id, 200), key) for name, (execution_id, key) in ids.items()}


@pytest.fixture(scope="module")
def pictures(stack: Stack) -> dict[str, str]:
    """SHA-256 of the picture of each prompt, from direct calls of the model with the same seed."""
    return {prompt: picture_of(stack, prompt) for prompt in PROMPTS}


def picture_of(stack: Stack, prompt: str) -> str:
    answer = requests.post(
        f"{stack.access['model_url']}/v1beta/models/{MODEL}:generateContent",
        headers={"x-goog-api-key": "the-tests-own-key"},
        json={
            "contents": [{"parts": [{"text": prompt}]}],
            "generationConfig": {"responseModalities": ["IMAGE"], "seed": SEED},
        },
        timeout=60,
    ).json()
    [part] = answer["candidates"][0]["content"]["parts"]
    return hashlib.sha256(base64.b64decode(part["inlineData"]["data"])).hexdigest()


every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
def test_every_control_has_its_outcome(
    stack: Stack,
    ended: dict[str, tuple[dict[str, Any], str]],
    pictures: dict[str, str],
    case: Case,
) -> None:
    execution, key = ended[case.name]
    rows = stack.results(execution["id"])
    assert Counter(row["tier"] for row in rows) == Counter(case.tiers)
    for row in rows:
        if row["tier"] is None:
            assert row["error_code"] == "provider_unavailable"
        else:
            assert row["image_sha256"] == pictures[row["prompt_text"]]
    # Dropped lines were painted too.
    dropped = case.control.get("drop_keys", 0)
    painted = Counter(call["tier"] for call in calls_of(stack, key))
    assert painted["economy"] == case.tiers.count("economy") + dropped
    assert painted["standard"] == case.tiers.count("standard")
    assert len(jobs_of(stack, key)) == 1
    assert all(
        row["cost_microusd"]
        in ((19_351, 19_352) if row["tier"] == "economy" else range(38_700, 38_710))
        for row in rows
        if row["tier"] is not None
    )
    assert execution["status"] == ("failed" if case.tiers == [None] * 2 else "completed")


def test_every_control_has_a_case() -> None:
    """`stuck` is that of the cancelled execution below."""
    controls = [case.control for case in CASES] + [{"state": "stuck"}]
    tested = {(name, value) for control in controls for name, value in control.items()}
    assert {name for name, _ in tested} == {each.name for each in fields(Batches)}
    for name, choices in CHOICES.items():
        usual = getattr(Batches(), name)
        assert {value for each, value in tested if each == name} == set(choices) - {usual}


def test_no_budget_stays_reserved_and_nothing_stays_at_the_provider(
    stack: Stack, ended: dict[str, tuple[dict[str, Any], str]]
) -> None:
    ids = [execution["id"] for execution, _ in ended.values()]
    with psycopg.connect(stack.access["database_url"]) as connection:
        left = connection.execute(
            "SELECT execution_id FROM public.spend_ledger WHERE execution_id = ANY(%s::uuid[])"
            " GROUP BY 1 HAVING sum(reserved_microusd) <> 0",
            [ids],
        ).fetchall()
        states = connection.execute(
            "SELECT DISTINCT state FROM public.economy_jobs WHERE execution_id = ANY(%s::uuid[])",
            [ids],
        ).fetchall()
    assert left == []
    assert states == [("done",)]
    url = f"{stack.access['model_url']}/v1beta/files"
    for _, key in ended.values():
        files = requests.get(url, headers={"x-goog-api-key": key}, timeout=10)
        assert files.json() == {"files": []}


def test_no_secret_is_in_a_history_a_log_or_a_name(
    stack: Stack, ended: dict[str, tuple[dict[str, Any], str]]
) -> None:
    machines = client(stack, "stepfunctions")
    [machine] = machines.list_state_machines()["stateMachines"]
    arn = machine["stateMachineArn"].replace(":stateMachine:", ":execution:")
    logs = [log.read_text() for log in (stack.directory / "logs").glob("*.log")]
    for execution, key in ended.values():
        run = f"{arn}:{execution['id']}-0"
        history = str(machines.get_execution_history(executionArn=run)["events"])
        assert execution["id"] in history
        for text in (history, *logs, json.dumps(jobs_of(stack, key))):
            assert key not in text
            assert PROMPTS[0] not in text


def test_a_cancelled_execution_keeps_what_its_job_painted(stack: Stack) -> None:
    control(stack, batches={"state": "stuck"})
    execution_id, key = submit(stack, PROMPTS)
    until(lambda: jobs_of(stack, key))

    def execution() -> dict[str, Any]:
        return stack.call("client_a", "GET", f"/v1/executions/{execution_id}").json()

    until(lambda: execution()["progress"]["submitted"] == len(PROMPTS))
    assert execution()["pace"]["limited_by"] == "economy_job"
    answer = stack.call("client_a", "POST", f"/v1/executions/{execution_id}/cancel")
    assert answer.status_code == 200
    ended = stack.wait(execution_id, 60)
    assert (ended["status"], ended["error_code"]) == ("failed", "cancelled")
    painted = Counter(call["prompt"] for call in calls_of(stack, key))
    rows = stack.results(execution_id)
    kept = [row["prompt_text"] for row in rows if row["status"] == "completed"]
    assert set(kept) <= set(painted)
    assert {row["error_code"] for row in rows if row["status"] == "failed"} <= {"cancelled"}
    assert [job["state"] for job in jobs_of(stack, key)] == ["CANCELLED"]


def test_reference_images_are_uploaded_for_the_job(stack: Stack) -> None:
    control(stack, batches={})
    key = upload(stack, picture(), kind="reference_image", content_type="image/png")
    execution_id, _ = submit(
        stack,
        ["with a reference"],
        reference_images=[key],
        workflow_id=workflow(stack, tiers=["economy"]),
    )
    execution = stack.wait(execution_id, 60)
    assert execution["status"] == "completed"
    [row] = stack.results(execution_id)
    assert row["tier"] == "economy"


def test_a_workflow_says_which_tiers_it_has(stack: Stack) -> None:
    only = workflow(stack, tiers=["standard"])
    unlisted = workflow(stack, model="another-model", microusd_per_image=1)
    for workflow_id in (only, unlisted):
        body = {"workflow_id": workflow_id, "prompts": ["x"], "tier": "economy", "api_key": "k" * 9}
        answer = stack.call("client_a", "POST", "/v1/executions?dry_run=true", json=body)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/tier"
    first = workflow(stack, tiers=["economy", "standard"])
    body = {"workflow_id": first, "prompts": ["x" * 9], "api_key": "k" * 9}
    estimate = stack.call("client_a", "POST", "/v1/executions?dry_run=true", json=body).json()
    assert estimate["tier"] == "economy"
    assert estimate["estimate_microusd"] == estimate["estimates"]["economy"]
    assert estimate["estimates"]["standard"] in range(
        2 * estimate["estimates"]["economy"] - 1, 2 * estimate["estimates"]["economy"] + 1
    )


@pytest.mark.slow
def test_an_expired_job_of_200_prompts_falls_back_within_the_budget(stack: Stack) -> None:
    control(stack, batches={"state": "EXPIRED"})
    prompts = [f"a buoy, number {number}" for number in range(200)]
    execution_id, key = submit(
        stack, prompts, workflow_id=workflow(stack, max_prompts=200, max_concurrency=20)
    )
    execution = stack.wait(execution_id, 250)
    assert (execution["status"], execution["fell_back_at"] is None) == ("completed", False)
    assert execution["output_data"]["successful"] == 200
    assert {row["tier"] for row in stack.results(execution_id)} == {"standard"}
    with psycopg.connect(stack.access["database_url"]) as connection:
        amounts = connection.execute(
            "SELECT charged_microusd, reserved_microusd FROM public.spend_ledger"
            " WHERE execution_id = %s ORDER BY id",
            [execution_id],
        ).fetchall()
    # The first row is the reservation of the submission.
    assert amounts[0][0] == 0
    assert execution["cost_microusd"] == sum(charged for charged, _ in amounts) <= amounts[0][1]
    assert sum(reserved for _, reserved in amounts) == 0
    assert len(calls_of(stack, key)) == 200
