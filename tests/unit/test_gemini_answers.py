"""Each answer and refusal of Gemini has one meaning, whatever its JSON looks like."""

import base64
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masstock import errors
from masstock.catalogue.image_models import (
    MAX_COST_MICROUSD,
    MODELS,
    Usage,
    cost_microusd,
    halved,
)
from masstock.catalogue.image_sizes import SIZES
from masstock.errors import Outcome, ProviderThrottled
from masstock_generate.providers import Painting
from masstock_generate.providers.gemini_answers import read_answer, read_usage, seconds_to_reset

KEY = "AIza-a-demo-key-that-nobody-may-see"
FINAL, DRAFT = b"the final image", b"a draft"
USAGE = {"promptTokenCount": 5, "candidatesTokenCount": 1120}


def part(content: bytes, *, thought: bool | None = None) -> dict[str, Any]:
    inline = {"mimeType": "image/png", "data": base64.b64encode(content).decode()}
    return {"inlineData": inline} | ({} if thought is None else {"thought": thought})


def candidate(*parts: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"content": {"parts": list(parts)}, "finishReason": "STOP", **members}


def answer(*candidates: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"candidates": list(candidates), "usageMetadata": USAGE, **members}


def read(content: Any, status: int = 200, **headers: str) -> Painting:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read_answer(status, headers, body, KEY)


def outcome(content: Any, status: int = 200, **headers: str) -> Outcome:
    with pytest.raises(Outcome) as raised:
        read(content, status, **headers)
    return raised.value


def error(status: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"status": status, "message": message, "details": list(details)}}


def quota(quota_id: str, value: str = "10") -> dict[str, Any]:
    return {"violations": [{"quotaId": quota_id, "quotaValue": value}]}


# --- the picture of an answer --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "expected", "count"),
    [
        ([part(DRAFT, thought=True), part(FINAL)], FINAL, 1),
        ([part(FINAL), part(DRAFT, thought=True)], FINAL, 1),
        ([part(DRAFT, thought=True)], DRAFT, 1),
        ([part(DRAFT, thought=True), part(FINAL, thought=True)], FINAL, 1),
        ([part(b"one"), part(FINAL)], FINAL, 2),
        ([{"text": "Here it is:"}, part(FINAL), {"text": "Enjoy."}], FINAL, 1),
        ([part(FINAL, thought=False)], FINAL, 1),
        ([{"inlineData": {"data": "?"}}, part(FINAL)], FINAL, 1),
    ],
)
def test_result_is_the_last_image_that_is_not_a_thought(
    parts: list[dict[str, Any]], expected: bytes, count: int
) -> None:
    painting = read(answer(candidate(*parts)))
    assert (painting.content, painting.images_in_answer) == (expected, count)


@given(
    st.binary(min_size=1, max_size=300),
    st.sampled_from([base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes]),
    st.booleans(),
)
def test_image_is_decoded_whatever_the_form_of_its_base64(
    content: bytes, encode: Any, padded: bool
) -> None:
    text = encode(content).decode()
    data = text if padded else text.replace("=", "")
    assert read(answer(candidate({"inlineData": {"data": data}}))).content == content


def test_image_in_both_alphabets_at_once_is_decoded() -> None:
    data = "-_+/"
    assert read(answer(candidate({"inlineData": {"data": data}}))).content == b"\xfb\xff\xbf"


def test_model_that_answered_is_recorded() -> None:
    painting = read(answer(candidate(part(FINAL)), modelVersion="gemini-3-pro-image"))
    assert painting.model == "gemini-3-pro-image"
    for odd in (5, "", "a\x00b", "a\ud800", "m" * 3000, "modèle", "<b>", "a b", "a\n"):
        painting = read(answer(candidate(part(FINAL)), modelVersion=odd))
        assert (painting.content, painting.model) == (FINAL, None)


def test_continuation_with_an_image_is_that_image() -> None:
    continued = candidate(part(FINAL), finishReason="CONTINUATION")
    assert read(answer(continued, continuationToken="t")).content == FINAL


def test_candidate_with_an_image_is_found_behind_an_empty_one() -> None:
    assert read(answer(candidate({"text": "x"}), candidate(part(FINAL)))).content == FINAL


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        *((reason, errors.ContentBlocked) for reason in ("IMAGE_SAFETY", "SAFETY", "SPII")),
        *((reason, errors.Recitation) for reason in ("IMAGE_RECITATION", "RECITATION")),
        *((reason, errors.NoImage) for reason in ("NO_IMAGE", "IMAGE_OTHER", "OTHER", "STOP")),
    ],
)
def test_end_without_an_image_has_the_providers_words(reason: str, kind: type[Outcome]) -> None:
    found = outcome(answer(candidate(finishReason=reason, finishMessage="Try\nother\x00 words.")))
    assert type(found) is kind
    assert found.provider_message == "Try other words."
    assert found.detail.endswith(": Try other words.")
    assert found.usage == Usage(5, 1120, 0)


def test_refusal_in_plain_text_is_quoted() -> None:
    text = "I cannot paint that person."
    found = outcome(answer(candidate({"text": text}, {"text": "thinking", "thought": True})))
    assert type(found) is errors.NoImage
    assert found.provider_message == text


def test_block_reason_is_quoted() -> None:
    feedback = {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "Not allowed."}
    found = outcome({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 5}})
    assert type(found) is errors.PromptBlocked
    assert "PROHIBITED_CONTENT" in found.detail
    assert found.provider_message == "Not allowed."


def test_words_are_cut_to_500_characters_and_hide_the_key() -> None:
    found = outcome(error("INVALID_ARGUMENT", f"{KEY} " * 100 + "x" * 5000), 400)
    assert found.provider_message is not None
    assert len(found.provider_message) == 500
    assert KEY not in found.detail


# --- refusals ------------------------------------------------------------------------------------

PER_MINUTE = "GenerateRequestsPerMinutePerProjectPerModel"
PER_DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
KEY_INVALID = {"reason": "API_KEY_INVALID"}
DISABLED = {"reason": "SERVICE_DISABLED"}
REFUSALS: dict[str, tuple[int, Any, type[Outcome]]] = {
    "per minute": (429, error("RESOURCE_EXHAUSTED", "m", quota(PER_MINUTE)), ProviderThrottled),
    "429 alone": (429, {}, ProviderThrottled),
    "429 in HTML": (429, b"<html>slow down</html>", ProviderThrottled),
    "per day": (429, error("RESOURCE_EXHAUSTED", "m", quota(PER_DAY)), errors.QuotaExhausted),
    "reset in hours": (429, error("", "m", {"retryDelay": "7200s"}), errors.QuotaExhausted),
    "prepaid": (
        429,
        error("RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."),
        errors.BillingRequired,
    ),
    "spending cap": (
        429,
        error("RESOURCE_EXHAUSTED", "Your project has exceeded its monthly spending cap."),
        errors.BillingRequired,
    ),
    "limit 0": (429, error("", "m", quota(PER_MINUTE, "0")), errors.BillingRequired),
    "location": (
        400,
        error("FAILED_PRECONDITION", "User location is not supported for the API use."),
        errors.ProviderRefusesAccount,
    ),
    "key": (400, error("INVALID_ARGUMENT", "m", KEY_INVALID), errors.InvalidApiKey),
    "401": (401, error("UNAUTHENTICATED", "m"), errors.InvalidApiKey),
    "leaked": (
        403,
        error("PERMISSION_DENIED", "Your API key was reported as leaked."),
        errors.InvalidApiKey,
    ),
    "disabled": (403, error("PERMISSION_DENIED", "m", DISABLED), errors.InvalidApiKey),
    "ratio": (400, error("INVALID_ARGUMENT", "aspect ratio"), errors.InvalidRequest),
    "input image": (
        400,
        error("INVALID_ARGUMENT", "Unable to process input image. Please retry."),
        errors.ProviderUnavailable,
    ),
    "409": (409, error("ABORTED", "m"), errors.ProviderUnavailable),
    "499": (499, error("CANCELLED", "m"), errors.ProviderUnavailable),
    "404": (404, error("NOT_FOUND", "m"), errors.ModelUnavailable),
    "413": (413, {}, errors.InvalidRequest),
    "500": (500, error("INTERNAL", "m"), errors.ProviderUnavailable),
    "503": (503, b"", errors.ProviderUnavailable),
    "504": (504, error("DEADLINE_EXCEEDED", "m"), errors.ProviderTimeout),
    "201": (201, answer(candidate(part(FINAL))), errors.ProviderUnavailable),
    "204": (204, b"", errors.ProviderUnavailable),
    "302": (302, b"", errors.ProviderUnavailable),
    "error in 200": (200, error("INTERNAL", "m"), errors.ProviderUnavailable),
    "HTML in 200": (200, b"<html>", errors.ProviderUnavailable),
    "nothing": (200, b"", errors.ProviderUnavailable),
    "a list": (200, b"[]", errors.ProviderUnavailable),
    "no candidates": (200, {}, errors.NoImage),
}
STOPS = {"billing_required", "quota_exhausted", "provider_refuses_account", "invalid_api_key"}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_has_its_outcome(name: str) -> None:
    status, content, kind = REFUSALS[name]
    found = outcome(content, status)
    assert type(found) is kind
    assert found.stops_execution == (found.code in STOPS)


@pytest.mark.parametrize("seconds", ["0.5", "7", "59"])
def test_delay_comes_from_retry_info_or_header(seconds: str) -> None:
    for found in (
        outcome(error("", "m", {"retryDelay": f"{seconds}s"}), 429),
        outcome({}, 429, **{"retry-after": seconds}),
    ):
        assert isinstance(found, ProviderThrottled)
        assert found.retry_after is not None
        assert float(seconds) <= found.retry_after <= float(seconds) * 1.1


PAST, FAR = "Fri, 01 Jan 2021 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"


def test_a_delay_can_be_a_date() -> None:
    """HTTP allows it, and proxies send it."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    found = outcome({}, 429, **{"retry-after": soon})
    assert isinstance(found, ProviderThrottled)
    assert 80 < (found.retry_after or 0) <= 90 * 1.1
    late = outcome({}, 429, **{"retry-after": "Fri, 31 Dec 2049 23:59:59 GMT"})
    assert isinstance(late, errors.QuotaExhausted)
    for odd in ("-5", "1 Jan", "Fri, 32 Jan 2021 00:00:00 GMT", PAST, FAR):
        refused = outcome({}, 429, **{"retry-after": odd})
        assert isinstance(refused, ProviderThrottled)
        assert refused.retry_after is None


@pytest.mark.parametrize(
    ("now", "hours"), [("00:00", 8), ("07:59:59", 1 / 3600), ("08:00", 24), ("20:00", 12)]
)
def test_a_daily_quota_opens_at_midnight_in_the_pacific(now: str, hours: float) -> None:
    assert seconds_to_reset(datetime.fromisoformat(f"2026-12-01T{now}+00:00")) == hours * 3600


def test_a_daily_quota_is_not_open_after_the_seconds_of_its_retry_info() -> None:
    answer = error("", "m", quota(PER_DAY), {"retryDelay": "34s"})
    found = outcome(answer, 429)
    assert isinstance(found, errors.QuotaExhausted)
    assert found.opens_in_seconds == pytest.approx(seconds_to_reset(datetime.now(UTC)), abs=5)


def test_a_quota_that_opens_in_hours_says_when() -> None:
    found = outcome(error("", "m", {"retryDelay": "7200s"}), 429)
    assert isinstance(found, errors.QuotaExhausted)
    assert found.opens_in_seconds == 7200


def test_refusal_without_a_delay_has_none() -> None:
    found = outcome({}, 429, **{"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"})
    assert isinstance(found, ProviderThrottled)
    assert found.retry_after is None


# --- usage and cost ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (USAGE, Usage(5, 1120, 0)),
        ({**USAGE, "thoughtsTokenCount": 500}, Usage(5, 1120, 500)),
        (
            {
                "promptTokenCount": 326,
                "candidatesTokenCount": 2340,
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 2000}],
                "thoughtsTokenCount": 337,
            },
            Usage(326, 2000, 677),
        ),
        (None, None),
        ({}, None),
        ({"promptTokenCount": 5}, None),
        ({**USAGE, "promptTokenCount": -1}, None),
        ({**USAGE, "candidatesTokenCount": 10**12}, None),
        ({**USAGE, "thoughtsTokenCount": "many"}, None),
        ({**USAGE, "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": -5}]}, None),
        (
            {**USAGE, "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 9000}]},
            Usage(5, 1120, 0),
        ),
    ],
)
def test_usage_is_read_or_refused(metadata: Any, expected: Usage | None) -> None:
    assert read_usage(metadata) == expected


def test_costs_are_exact_to_the_microusd() -> None:
    pro = MODELS["gemini-3-pro-image"]
    assert pro.cost_of(Usage(0, 1120, 500)) == 140_400
    assert pro.cost_of(Usage(326, 2000, 677)) == 652 + 240_000 + 8_124
    assert halved(33_601) == 16_801


@pytest.mark.parametrize("name", MODELS)
def test_known_model_always_has_a_cost(name: str) -> None:
    for size in MODELS[name].image_tokens:
        cost = cost_microusd(name, None, size=size, references=2, configured=None)
        assert cost is not None
        assert cost > 0


def test_model_that_is_not_listed_costs_what_its_workflow_says() -> None:
    usage = Usage(1, 1, 1)
    assert cost_microusd("mine", usage, size="1K", references=0, configured=5) == 5
    assert cost_microusd("mine", usage, size="1K", references=0, configured=None) is None


# --- any shape -----------------------------------------------------------------------------------

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@st.composite
def objects(draw: st.DrawFn, **members: st.SearchStrategy[Any]) -> Any:
    """Objects of the API's form, mostly. A member can be missing, and it or the object can be
    anything."""
    if draw(st.integers(0, 19)) == 19:
        return draw(anything)
    found = {}
    for name, member in members.items():
        form = draw(st.integers(0, 9))
        if form < 9:
            found[name] = draw(member if form < 8 else anything)
    return found


def lists(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(items, max_size=4)


words = st.sampled_from([KEY, f"key {KEY}\n", "x" * 3000, "spending cap", "\x00\ud800", "no"])
images = st.binary(min_size=1, max_size=20).map(lambda raw: base64.b64encode(raw).decode())
inline = objects(data=images | st.just("***"), mimeType=words)
parts = lists(
    objects(thought=st.booleans(), inlineData=inline)
    | objects(text=words, thought=st.booleans(), inline_data=inline)
)
reasons = st.sampled_from(["STOP", "STOP", "CONTINUATION", "SAFETY", "RECITATION", "NO_IMAGE", KEY])
candidates = lists(objects(content=objects(parts=parts), finishReason=reasons, finishMessage=words))
tokens = st.integers(0, 131_072) | st.sampled_from([131_073, -1, 10**30, 1.5, "1120"])
modalities = lists(objects(modality=st.sampled_from(["IMAGE", "TEXT"]), tokenCount=tokens))
usages = objects(
    promptTokenCount=tokens,
    candidatesTokenCount=tokens,
    thoughtsTokenCount=tokens,
    candidatesTokensDetails=modalities,
)
quotas = objects(
    quotaId=st.sampled_from(["PerDay", "PerMinute"]), quotaValue=st.sampled_from(["0", "10"])
)
delays = st.sampled_from(["7s", "1e9s", "99999s", "-1s", "nans", ""])
details = lists(
    objects(
        reason=st.sampled_from(["API_KEY_INVALID", KEY]),
        retryDelay=delays,
        violations=lists(quotas),
    )
)
versions = st.sampled_from([*MODELS, KEY])
feedback = objects(blockReason=reasons, blockReasonMessage=words)
painted = objects(candidates=candidates, usageMetadata=usages, modelVersion=versions)
blocked = objects(promptFeedback=feedback, candidates=candidates, usageMetadata=usages)
answers = painted | blocked | anything
refusals = objects(
    error=objects(
        message=words, status=st.sampled_from(["FAILED_PRECONDITION", KEY]), details=details
    )
)
headers = st.fixed_dictionaries({}, optional={"retry-after": delays | st.text(max_size=9)})


def image_or_outcome(
    content: Any, status: int, headers: dict[str, str] | None = None
) -> Painting | Outcome:
    try:
        return read(content, status, **(headers or {}))
    except Outcome as found:
        return found


@settings(max_examples=1000)
@given(answers, st.sampled_from(SIZES), st.integers(0, 14))
def test_any_answer_is_an_image_or_an_outcome_with_a_price(
    content: Any, size: str, references: int
) -> None:
    found = image_or_outcome(content, 200)
    if isinstance(found, Painting):
        assert found.content
        assert found.images_in_answer >= 1
    else:
        check_words(found)
    for name, model in MODELS.items():
        cost = cost_microusd(name, found.usage, size=size, references=references, configured=None)
        assert cost is not None
        assert 0 < cost <= MAX_COST_MICROUSD
        # What an answer without an image is charged.
        if found.usage is not None:
            assert 0 <= model.cost_of(found.usage) <= MAX_COST_MICROUSD


STATUSES = [201, 204, 302, 400, 401, 403, 404, 408, 409, 429, 429, 429, 499, 500, 503]


@settings(max_examples=1000)
@given(refusals | answers, st.sampled_from(STATUSES), headers)
def test_any_refusal_is_an_outcome(content: Any, status: int, headers: dict[str, str]) -> None:
    found = image_or_outcome(content, status, headers)
    assert isinstance(found, Outcome)
    check_words(found)
    if isinstance(found, ProviderThrottled) and found.retry_after is not None:
        assert 0 <= found.retry_after <= 3600


def check_words(found: Outcome) -> None:
    assert len(found.detail) < 700
    assert KEY not in found.detail
    assert found.provider_message is None or 0 < len(found.provider_message) <= 500
    # Postgres stores them.
    found.detail.encode()
    assert "\x00" not in found.detail


@given(st.binary(max_size=60), st.sampled_from([200, 204, 400, 429, 503]))
def test_any_bytes_are_an_outcome(body: bytes, status: int) -> None:
    assert isinstance(outcome(body, status), Outcome)
