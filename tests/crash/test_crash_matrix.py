"""Every function crashes at every step, by SIGKILL and by an exception. Every execution still ends,
every prompt has one result, and the model calls do not exceed prompts plus crashes.

All executions run at the same time, because the claim of a killed function blocks its prompt until
the lease ends, a minute later.
"""

import time
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from PIL import Image

from tests.crash.caller import Caller
from tests.crash.cases import CALLS_OF_A_PROMPT, CASES, EVERY_CALL, HOPELESS, PROMPTS, Case
from tests.e2e.conftest import Stack

# The first test waits for the end of all executions.
pytestmark = pytest.mark.timeout(900)

# Enough for four leases, the pauses of all retries, and a new state-machine run from the sweep.
END_SECONDS = 720


@pytest.fixture(scope="session")
def executions(request: pytest.FixtureRequest, stack: Stack) -> dict[Case, dict[str, Any]]:
    """The execution of every case that a selected test names, when all have ended."""
    params = [getattr(item, "callspec", None) for item in request.session.items]
    named = {each.params.get("case") for each in params if each is not None}
    return Caller(stack).run([case for case in CASES if case in named], END_SECONDS)


@pytest.fixture(scope="session")
def calls(stack: Stack, executions: dict[Case, dict[str, Any]]) -> Counter[str]:
    made = requests.get(stack.access["model_url"] + "/_calls", timeout=10).json()
    return Counter(call["prompt"] for call in made)


every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.prefix)


@every_case
def test_every_prompt_has_exactly_one_result(
    stack: Stack, executions: dict[Case, dict[str, Any]], case: Case
) -> None:
    execution = executions[case]
    rows = stack.results(execution["id"])
    assert [row["prompt_text"] for row in rows] == case.prompts
    by_status = Counter(row["status"] for row in rows)
    output = execution["output_data"]
    assert (output["successful"], output["failed"], output["total"]) == (
        by_status["completed"],
        by_status["failed"],
        PROMPTS,
    )
    for row in rows:
        if row["status"] == "completed":
            content = requests.get(row["result_url"], timeout=10).content
            Image.open(BytesIO(content)).verify()
        else:
            assert row["error_code"]
            assert row["error_message"]


@every_case
def test_model_calls_do_not_exceed_prompts_plus_crashes(
    executions: dict[Case, dict[str, Any]], calls: Counter[str], case: Case
) -> None:
    made = sum(calls[prompt] for prompt in set(case.prompts))
    # A job is never created twice, whatever crashes.
    assert made <= case.calls + (0 if case.by_jobs else case.times)


@every_case
def test_a_crash_alone_fails_no_prompt(executions: dict[Case, dict[str, Any]], case: Case) -> None:
    """The step is simply done again."""
    if case.step in ("fail", "stop") or case in HOPELESS:
        pytest.skip("these prompts fail by themselves")
    assert executions[case]["output_data"]["successful"] == PROMPTS
    assert executions[case]["fell_back_at"] is None


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.by_jobs], ids=lambda case: case.prefix
)
def test_no_file_stays_at_the_provider(
    stack: Stack, executions: dict[Case, dict[str, Any]], case: Case
) -> None:
    """Not even one that was uploaded right before the crash."""
    files = requests.get(
        stack.access["model_url"] + "/v1beta/files",
        headers={"x-goog-api-key": f"key of {case.prefix}"},
        timeout=10,
    ).json()
    assert files == {"files": []}


@pytest.mark.parametrize("case", HOPELESS, ids=lambda case: case.prefix)
def test_a_prompt_whose_painter_always_dies_ends_with_an_outcome(
    stack: Stack, executions: dict[Case, dict[str, Any]], calls: Counter[str], case: Case
) -> None:
    made = [calls[prompt] for prompt in case.prompts]
    assert made == [CALLS_OF_A_PROMPT if case is EVERY_CALL else 0] * PROMPTS
    rows = stack.results(executions[case]["id"])
    assert [row["error_code"] for row in rows] == ["not_finished"] * PROMPTS
    assert executions[case]["error_code"] == "not_finished"


def test_each_image_is_what_was_asked(stack: Stack, executions: dict[Case, dict[str, Any]]) -> None:
    for case, execution in executions.items():
        rows = stack.results(execution["id"])
        if case.shape == "rich":
            asked = [(r["custom_id"], r["image_index"], r["seed"], r["as_asked"]) for r in rows]
            assert asked == [("a", 0, 7, True), ("a", 1, 8, True), (None, 0, None, None)]
            assert [row["width"] > row["height"] for row in rows] == [True, True, False]
        if case.shape == "edited":
            assert [f"{row['prompt_text']} bad" for row in rows] == [
                row["original_prompt"] for row in rows
            ]
        if case.shape == "reused":
            assert {(row["reused_from"] is None, row["cost_microusd"]) for row in rows} == {
                (False, 0)
            }
        if case.shape == "gone":
            assert {row["model"] for row in rows} == {"gemini-nano-banana-2.1"}


def test_one_submission_is_one_execution(
    stack: Stack, executions: dict[Case, dict[str, Any]]
) -> None:
    with psycopg.connect(stack.access["database_url"]) as connection:
        rows = connection.execute(
            "SELECT coalesce(item ->> 'prompt', item #>> '{}'), count(*)"
            " FROM public.workflow_executions e, LATERAL (SELECT input_data #> '{prompts,0}') AS"
            " p (item) GROUP BY 1"
        ).fetchall()
    made = {str(prompt).rpartition(" #")[0]: number for prompt, number in rows}
    for case in executions:
        assert made[case.prefix] == (2 if case.shape in ("cloned", "reused") else 1), case.prefix


def test_no_row_and_no_reservation_is_left_over(
    stack: Stack, executions: dict[Case, dict[str, Any]]
) -> None:
    with psycopg.connect(stack.access["database_url"]) as connection:
        processing = connection.execute(
            "SELECT count(*) FROM public.workflow_batch_results WHERE status = 'processing'"
        ).fetchone()
        reserved = connection.execute(
            "SELECT execution_id FROM public.spend_ledger GROUP BY 1"
            " HAVING sum(reserved_microusd) <> 0"
        ).fetchall()
        uncharged = connection.execute(
            "SELECT r.execution_id, r.batch_index FROM public.workflow_batch_results r"
            " WHERE r.cost_microusd IS NOT NULL AND NOT EXISTS ("
            "   SELECT FROM public.spend_ledger l WHERE l.execution_id = r.execution_id"
            "   AND l.batch_index = r.batch_index AND l.charged_microusd = r.cost_microusd)"
        ).fetchall()
        miscounted = connection.execute(
            "SELECT l.execution_id, sum(l.images) FROM public.spend_ledger l"
            " GROUP BY 1 HAVING sum(l.images) <> (SELECT count(*)"
            " FROM public.workflow_batch_results r"
            " WHERE r.execution_id = l.execution_id AND r.status = 'completed'"
            # A reused image was not painted again.
            " AND r.cost_microusd > 0)"
        ).fetchall()
    assert processing == (0,)
    assert reserved == []
    assert uncharged == []
    assert miscounted == []


def test_every_crash_took_place(
    stack: Stack,
    executions: dict[Case, dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A crash that did not happen would prove nothing."""
    plans = next(tmp_path_factory.getbasetemp().glob("plans*"))
    deadline = time.monotonic() + 60
    # Webhooks are delivered after the end of an execution.
    while (unfired := _unfired(plans)) and time.monotonic() < deadline:
        time.sleep(1)
    assert unfired == []
    planned = {folder.name for folder in plans.iterdir() if folder.is_dir()}
    assert {case.folder for case in executions} <= planned


def _unfired(plans: Path) -> list[str]:
    return [
        folder.name
        for folder in plans.iterdir()
        # A hopeless case has more crashes than its prompts have claims.
        if folder.is_dir() and any(folder.iterdir()) and "_60_" not in folder.name
    ]
