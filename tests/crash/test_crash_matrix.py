"""Every function crashes at every step, by SIGKILL and by an exception. Every execution still ends,
every prompt has one result, and the model calls do not exceed prompts plus crashes.

All executions run at the same time, because the claim of a killed function blocks its prompt until
the lease ends, two minutes later.
"""

import re
import time
from collections import Counter
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from PIL import Image

from tests.crash.faults.sitecustomize import STEPS
from tests.e2e.conftest import WORKFLOW, Stack

# The first test waits for the end of all executions.
pytestmark = pytest.mark.timeout(900)

PROMPTS = 3
# Enough for four leases, the pauses of all retries, and a new state-machine run from the sweep.
END_SECONDS = 720
# The model's behaviour that leads to the step.
BEHAVIOUR = {
    "leave": "throttle",
    "release": "unavailable",
    "fail": "content_blocked",
    "stop": "invalid_key",
}
# Steps that follow one refusal or failure of each prompt.
REPEATED = ("leave", "release")


@dataclass(frozen=True)
class Case:
    point: str
    moment: str
    kind: str
    times: int = 1

    @property
    def prefix(self) -> str:
        return f"crash {self.point} {self.moment} {self.kind} {self.times}"

    @property
    def prompts(self) -> list[str]:
        return [f"{self.prefix} #{number}" for number in range(PROMPTS)]

    @property
    def by_jobs(self) -> bool:
        """True if a job of the provider paints the prompts."""
        return self.point.startswith("economy.") or self.step in ("claim_line", "collect")

    @property
    def step(self) -> str:
        return self.point.partition(".")[2]


EVERY_CALL = Case("generate.paint", "after", "kill", 60)
EVERY_CLAIM = Case("generate.claim", "after", "kill", 60)
# The prompts of these get no image.
HOPELESS = (EVERY_CALL, EVERY_CLAIM)
CALLS_OF_A_PROMPT = 4

CASES = [
    *(
        Case(f"{function}.{step}", moment, kind)
        for function, steps in STEPS.items()
        for step in steps
        for moment in ("before", "after")
        for kind in ("kill", "raise")
    ),
    # Three times for each prompt: the fourth call gets its image.
    Case("generate.paint", "after", "kill", 9),
    # After every call, and at every claim.
    EVERY_CALL,
    EVERY_CLAIM,
    Case("fanout.mark", "after", "kill", 3),
    Case("finalize.finalize", "before", "kill", 5),
]


@pytest.fixture(scope="session")
def executions(request: pytest.FixtureRequest, stack: Stack) -> dict[Case, dict[str, Any]]:
    """The execution of every case that a selected test names, when all have ended."""
    params = [getattr(item, "callspec", None) for item in request.session.items]
    named = {each.params.get("case") for each in params if each is not None}
    cases = [case for case in CASES if case in named]
    stack.rule(
        *(
            {
                "match": f"^{re.escape(case.prefix)} ",
                "behave": BEHAVIOUR[case.step],
                # These need one failure per prompt. The other steps need every call to fail.
                "times": PROMPTS if case.step in REPEATED else None,
            }
            for case in cases
            if case.step in BEHAVIOUR
        )
    )
    ids = {case: submit(stack, case) for case in cases}
    deadline = time.monotonic() + END_SECONDS
    ended: dict[Case, dict[str, Any]] = {}
    while len(ended) < len(cases) and time.monotonic() < deadline:
        for case in cases:
            if case not in ended:
                execution = stack.call("client_a", "GET", f"/v1/executions/{ids[case]}").json()
                if execution["status"] in ("completed", "failed"):
                    ended[case] = execution
        time.sleep(1)
    assert not [case.prefix for case in cases if case not in ended]
    return ended


def submit(stack: Stack, case: Case) -> str:
    """Submits as a careful program does: with the same key until there is an answer."""
    body = {
        "workflow_id": WORKFLOW,
        "prompts": case.prompts,
        # A lane of its own: no case slows down another one.
        "api_key": f"key of {case.prefix}",
        "webhook_url": stack.access["base_url"] + "/nobody-listens-here",
        "tier": "economy" if case.by_jobs else "standard",
    }
    for _ in range(5):
        answer = stack.call(
            "client_a",
            "POST",
            "/v1/executions",
            json=body,
            headers={"Idempotency-Key": case.prefix},
        )
        if answer.status_code == 202:
            return answer.json()["id"]
        assert answer.status_code >= 500, answer.text
    pytest.fail(f"not accepted: {case.prefix}")


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
    made = sum(calls[prompt] for prompt in case.prompts)
    wanted = 2 * PROMPTS if case.step in REPEATED else PROMPTS
    # A job is never created twice, whatever crashes.
    assert made <= wanted + (0 if case.by_jobs else case.times)


@every_case
def test_a_crash_alone_fails_no_prompt(executions: dict[Case, dict[str, Any]], case: Case) -> None:
    """The step is simply done again."""
    if case.step in ("fail", "stop") or case in HOPELESS:
        pytest.skip("these prompts fail by themselves")
    assert executions[case]["output_data"]["successful"] == PROMPTS
    assert executions[case]["fell_back_at"] is None


@pytest.mark.parametrize("case", HOPELESS, ids=lambda case: case.prefix)
def test_a_prompt_whose_painter_always_dies_ends_with_an_outcome(
    stack: Stack, executions: dict[Case, dict[str, Any]], calls: Counter[str], case: Case
) -> None:
    made = [calls[prompt] for prompt in case.prompts]
    assert made == [CALLS_OF_A_PROMPT if case is EVERY_CALL else 0] * PROMPTS
    rows = stack.results(executions[case]["id"])
    assert [row["error_code"] for row in rows] == ["not_finished"] * PROMPTS
    assert executions[case]["error_code"] == "not_finished"


def test_one_submission_is_one_execution(
    stack: Stack, executions: dict[Case, dict[str, Any]]
) -> None:
    with psycopg.connect(stack.access["database_url"]) as connection:
        rows = connection.execute(
            "SELECT input_data -> 'prompts' ->> 0, count(*) FROM public.workflow_executions"
            " WHERE input_data -> 'prompts' ->> 0 LIKE 'crash %%' GROUP BY 1 HAVING count(*) > 1"
        ).fetchall()
    assert rows == []


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
    assert processing == (0,)
    assert reserved == []
    assert uncharged == []


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
    # The crashes of test_archives.py are in the same directory.
    own = [folder for folder in plans.iterdir() if not folder.name.startswith("archive.")]
    assert sum(folder.is_dir() for folder in own) == len(executions)


def _unfired(plans: Path) -> list[str]:
    return [
        folder.name
        for folder in plans.iterdir()
        # A hopeless case has more crashes than its prompts have claims.
        if folder.is_dir() and any(folder.iterdir()) and not folder.name.endswith("_60")
    ]
