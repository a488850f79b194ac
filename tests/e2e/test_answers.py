"""Each answer and refusal of the image model, through the whole local stack: its result, its calls
and its charges. tests/unit/test_gemini_answers.py has the same table for the parsing functions."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import psycopg
import pytest
import requests

from local.image_model.encoding import prompt_of
from local.image_model.replies import BEHAVIOURS
from tests.e2e.conftest import Stack, run_local, workflow

pytestmark = pytest.mark.timeout(300)

# It answers JPEG, and thinks only in the behaviours with thoughts.
MODEL = "gemini-nano-banana-2.1"
INPUT_PRICE, TEXT_PRICE, IMAGE_PRICE = Decimal("1.5"), Decimal("7.5"), Decimal(30)
IMAGE, THOUGHTS, TEXT, REFUSAL = 1120, 337, 340, 16
TIMEOUT_SECONDS = 8
PRO = "gemini-3-pro-image"


@dataclass(frozen=True)
class Painted:
    """An image. `tokens` are those of the image and of the text; None if the answer has none."""

    calls: int = 1
    tokens: tuple[int, int] | None = (IMAGE, 0)
    times: int | None = None
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """No image. `words` are the provider's own. Each call has `tokens`, if it is charged."""

    code: str
    words: str | None = None
    calls: int = 1
    retryable: bool = False
    tokens: tuple[int, int] | None = None


UNREADABLE = Failed("provider_unavailable", None, 4, retryable=True)
TIMED_OUT = Failed("provider_timeout", None, 4, retryable=True)
EXPECTED: dict[str, Painted | Failed] = {
    # Which picture is the result.
    "ok": Painted(),
    "thought_draft": Painted(tokens=(IMAGE, THOUGHTS)),
    "thought_only": Painted(tokens=(IMAGE, THOUGHTS)),
    "two_images": Painted(tokens=(2 * IMAGE, 0), columns={"images_in_answer": 2}),
    "thinking_usage": Painted(tokens=(IMAGE, TEXT + THOUGHTS)),
    "no_usage": Painted(tokens=None),
    "jpeg": Painted(),
    "webp": Painted(columns={"mime_type": "image/webp"}),
    "provenance": Painted(columns={"has_provenance": True}),
    "continuation": Painted(),
    "slow": Painted(),
    "truncated": Failed("invalid_image", tokens=(IMAGE, 0)),
    "garbage": Failed("invalid_image", tokens=(IMAGE, 0)),
    "oversize": Failed("invalid_image", tokens=(IMAGE, 0)),
    # Answers in words.
    "no_image": Failed("no_image", "I can describe that scene", 2, True, (0, REFUSAL)),
    "refusal_text": Failed("no_image", "I'm sorry, but I can't", 2, True, (0, REFUSAL)),
    "finish_message": Failed("no_image", "Unable to show the generated image.", 2, True),
    "content_blocked": Failed("content_blocked", "Unable to show the generated image."),
    "prompt_blocked": Failed("prompt_blocked"),
    # Refusals of one request.
    "bad_request": Failed("invalid_request", "Request contains an invalid argument."),
    "not_found": Failed("model_unavailable", f"models/{MODEL} is not found"),
    # Passing refusals.
    "throttle": Painted(2, times=1),
    "unavailable": Painted(3, times=2),
    "process_input": Painted(2, times=1),
    "conflict_409": Painted(2, times=1),
    "cancelled_499": Painted(2, times=1),
    "drop": Painted(2, times=1),
    # Answers that cannot be read, and none in time.
    "created_201": UNREADABLE,
    "no_content_204": UNREADABLE,
    "redirect": UNREADABLE,
    "error_in_200": Failed("provider_unavailable", "The model is overloaded.", 4, True),
    "html": UNREADABLE,
    "dribble": TIMED_OUT,
    "stall": TIMED_OUT,
}
# Of another execution below, or of test_originals.
ELSEWHERE = {"wrong_shape", "cmyk", "deep_grey", "animated"}
STOPS = {"prepay", "spend_cap", "limit_zero", "location", "billing", "quota"} | {
    *("invalid_key", "leaked_key", "service_disabled")
}
USUAL = {
    "status": "completed",
    "error_code": None,
    "error_message": None,
    "provider_message": None,
    "model": MODEL,
    "mime_type": "image/jpeg",
    "width": 1024,
    "height": 1024,
    "as_asked": None,
    "images_in_answer": 1,
    "has_provenance": False,
}


@pytest.fixture(scope="module")
def answering() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODEL_TIMEOUT_SECONDS", str(TIMEOUT_SECONDS))
        # The stand-in's `oversize` is above this limit.
        patch.setenv("MAX_IMAGE_MEGABYTES", "2")
        yield patch


@pytest.fixture(scope="module")
def stack(
    answering: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A stack with a short timeout of the model."""
    directory = tmp_path_factory.mktemp("answers")
    try:
        run_local("up", directory)
        yield Stack(directory)
    finally:
        run_local("clean", directory)


def prompt(behave: str) -> str:
    return f"answered by {behave}"


def rule(behave: str, **more: Any) -> dict[str, Any]:
    return {"match": f"^{prompt(behave)}$", "behave": behave, **more}


def rules() -> list[dict[str, Any]]:
    made = []
    for behave, expected in EXPECTED.items():
        more = {"delay_ms": 2000} if behave == "slow" else {}
        if isinstance(expected, Painted) and expected.times is not None:
            more["times"] = expected.times
        if behave == "throttle":
            more["retry_delay_s"] = 1
        made.append(rule(behave, **more))
    return made


@dataclass
class Answers:
    """The ended execution with one prompt for each behaviour."""

    execution: dict[str, Any]
    results: dict[str, dict[str, Any]]
    calls: list[dict[str, Any]]
    # Charges in the ledger, by prompt.
    charges: dict[str, list[int]]


@pytest.fixture(scope="module")
def answers(stack: Stack) -> Answers:
    stack.rule(*rules())
    behaviours = list(EXPECTED)
    workflow_id = workflow(stack, model=MODEL, requires_api_key=True)
    execution_id = stack.submit([*map(prompt, behaviours)], workflow_id=workflow_id)
    execution = stack.wait(execution_id, 240)
    results = dict(zip(behaviours, stack.results(execution_id), strict=True))
    charges: dict[str, list[int]] = {behave: [] for behave in behaviours}
    for index, charge in charged(stack, execution_id):
        charges[behaviours[index]].append(charge)
    return Answers(execution, results, stack.calls(prompt("")), charges)


def charged(stack: Stack, execution_id: str) -> list[tuple[int, int]]:
    """(batch_index, microusd) of every charge in the ledger."""
    with psycopg.connect(stack.access["database_url"]) as connection:
        return connection.execute(
            "SELECT batch_index, charged_microusd FROM public.spend_ledger"
            " WHERE execution_id = %s AND attempt IS NOT NULL ORDER BY batch_index, attempt",
            [execution_id],
        ).fetchall()


def price(behave: str, tokens: tuple[int, int] | None) -> int:
    """In microusd. Without tokens it is the list price, which leaves out the prompt."""
    image, text = tokens or (IMAGE, 0)
    # Four characters a token.
    read = -(-len(prompt(behave)) // 4) if tokens else 0
    amount = read * INPUT_PRICE + text * TEXT_PRICE + image * IMAGE_PRICE
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


def test_every_behaviour_has_its_row() -> None:
    assert EXPECTED.keys() | ELSEWHERE | STOPS == set(BEHAVIOURS)


@pytest.mark.parametrize("behave", EXPECTED)
def test_an_answer_has_its_result_its_calls_and_its_charges(answers: Answers, behave: str) -> None:
    expected, row = EXPECTED[behave], answers.results[behave]
    calls = [call for call in answers.calls if call["prompt"] == prompt(behave)]
    # A call that follows a redirect or continues an answer would be one more.
    assert len(calls) == expected.calls
    assert {call["model"] for call in calls} == {MODEL}
    if isinstance(expected, Painted):
        wanted = {**USUAL, **expected.columns, "cost_microusd": price(behave, expected.tokens)}
        assert {name: row[name] for name in wanted} == wanted
        assert answers.charges[behave] == [row["cost_microusd"]]
        return
    assert (row["status"], row["error_code"]) == ("failed", expected.code)
    assert (row["retryable"], row["cost_microusd"]) == (expected.retryable, None)
    assert row["result_url"] is None
    if expected.words is None:
        assert row["provider_message"] is None
    else:
        assert expected.words in row["provider_message"]
        assert row["error_message"].endswith(row["provider_message"])
    each = [] if expected.tokens is None else [price(behave, expected.tokens)]
    assert answers.charges[behave] == each * expected.calls


def test_the_execution_costs_what_its_images_cost(answers: Answers) -> None:
    execution, rows = answers.execution, answers.results.values()
    painted = [row for row in rows if row["status"] == "completed"]
    assert execution["status"] == "completed"
    assert execution["output_data"]["successful"] == len(painted)
    assert execution["cost_microusd"] == sum(row["cost_microusd"] for row in painted)


@pytest.mark.parametrize("behave", ["thought_draft", "two_images", "webp", "provenance"])
def test_the_stored_bytes_are_those_of_the_answer(answers: Answers, behave: str) -> None:
    row = answers.results[behave]
    content = requests.get(row["result_url"], timeout=10).content
    assert hashlib.sha256(content).hexdigest() == row["image_sha256"]
    assert len(content) == row["size_bytes"]
    assert prompt_of(content) == prompt(behave)
    if behave == "provenance":
        assert b"a stand-in for a manifest" in content


def test_a_message_says_the_limit_of_an_image(answers: Answers) -> None:
    assert "at most 2 MB" in answers.results["oversize"]["error_message"]


def test_another_shape_than_asked_is_stored_and_noticed(stack: Stack) -> None:
    stack.rule(rule("wrong_shape"))
    workflow_id = workflow(stack, model=PRO)
    asked = {"aspect_ratio": "16:9", "image_size": "2K", "workflow_id": workflow_id}
    execution_id = stack.submit([prompt("wrong_shape"), prompt("ok")], **asked)
    execution = stack.wait(execution_id, 60)
    assert (execution["model"], execution["image_size"]) == (PRO, "2K")
    wrong, right = stack.results(execution_id)
    assert (wrong["width"], wrong["height"], wrong["as_asked"]) == (1024, 1024, False)
    assert (right["width"], right["height"], right["as_asked"]) == (2752, 1536, True)
    # Input at 2, 1,120 tokens of the image at 120, and 350 of thinking at 12 microusd.
    assert wrong["cost_microusd"] == 6 * 2 + 134_400 + 4_200
    assert right["cost_microusd"] == 4 * 2 + 134_400 + 4_200


def test_the_models_own_words_about_a_ratio_are_kept(stack: Stack) -> None:
    stack.rule()
    # A model that is not listed is asked for any ratio.
    workflow_id = workflow(stack, model="a-model-of-tomorrow", microusd_per_image=5)
    execution_id = stack.submit(["too wide"], workflow_id=workflow_id, aspect_ratio="7:3")
    execution = stack.wait(execution_id, 60)
    assert (execution["status"], execution["error_code"]) == ("failed", "invalid_request")
    [row] = stack.results(execution_id)
    assert "aspect_ratio must be one of '1:1'" in row["provider_message"]
    assert execution["error_message"] == row["error_message"]
    assert len(stack.calls("too wide")) == 1
