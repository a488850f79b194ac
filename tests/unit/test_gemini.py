"""Gemini, the image model: our requests, and the outcome of each of its answers."""

import base64
import gc
import hashlib
import io
import json
import re
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx2
import pytest
from PIL import Image

from local.image_model.control import Control
from local.image_model.painter import prompt_of
from local.image_model.replies import BEHAVIOURS
from local.image_model.rules import Rule
from local.image_model.server import ModelServer
from masstock import errors
from masstock.catalogue.image_models import MODELS, Usage, cost_microusd
from masstock.errors import Outcome, ProviderThrottled
from masstock.services.storage import MAX_IMAGE_BYTES
from masstock_generate.images import inspect_image
from masstock_generate.providers import Painting, PaintRequest, gemini
from tests.support.web import Web, listening

KEY = "AIza-a-demo-key-that-stays-secret"
MODEL = "gemini-2.5-flash-image"
# The SDK warns about unknown enum values, and Google adds new ones often.
pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore:.* is not a valid:UserWarning"),
]


def picture(colour: str, format: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(stream, format)
    return stream.getvalue()


def paint(prompt: str = "a mug", **changes: Any) -> Painting:
    usual: dict[str, Any] = {
        "api_key": KEY,
        "model": MODEL,
        "references": [],
        "aspect_ratio": None,
        "image_size": None,
        "timeout_seconds": 20,
    }
    return gemini.paint(PaintRequest(prompt=prompt, **{**usual, **changes}))


def outcome(**changes: Any) -> Outcome:
    """The error of a prompt without a valid image. It never contains the API key."""
    with pytest.raises(Outcome) as raised:
        inspect_image(paint(**changes).content, MAX_IMAGE_BYTES)
    assert KEY not in "".join(traceback.format_exception(raised.value))
    return raised.value


@pytest.fixture(autouse=True)
def _fresh_client() -> Iterator[None]:
    """Makes a new client for each test, because a client keeps its address."""
    gemini._client.cache_clear()
    yield
    if gemini._client.cache_info().currsize:
        gemini._client().close()
    gemini._client.cache_clear()


# --- the stand-in model ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def _model_server() -> Iterator[ModelServer]:
    with ModelServer(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class StandIn:
    """The stand-in model and the calls of this test."""

    def __init__(self, server: ModelServer) -> None:
        self._model = server.model
        self._earlier = len(json.loads(server.model.calls_json()))

    def behave(self, behave: str, **options: Any) -> None:
        self._model.replace(Control(rules=[Rule(re.compile(""), behave, **options)]))

    def calls(self) -> list[dict[str, Any]]:
        return json.loads(self._model.calls_json())[self._earlier :]


@pytest.fixture
def stand_in(_model_server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    url = f"http://127.0.0.1:{_model_server.server_port}"
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", url)
    stand_in = StandIn(_model_server)
    stand_in.behave("ok")
    return stand_in


# Behaviour → error, code, number of retries, whether a later submission can succeed, whether the
# rest of the execution would fail for the same reason.
UNAVAILABLE = (errors.ProviderUnavailable, "provider_unavailable", 3, True, False)
TIMEOUT = (errors.ProviderTimeout, "provider_timeout", 3, True, False)
NO_IMAGE = (errors.NoImage, "no_image", 1, True, False)
INVALID_KEY = (errors.InvalidApiKey, "invalid_api_key", 0, False, True)
INVALID_IMAGE = (errors.InvalidImage, "invalid_image", 0, False, False)
BILLING = (errors.BillingRequired, "billing_required", 0, False, True)
ACCOUNT = (errors.ProviderRefusesAccount, "provider_refuses_account", 0, False, True)
OUTCOMES = {
    "throttle": (errors.ProviderThrottled, "provider_rate_limited", 19, True, False),
    "quota": (errors.QuotaExhausted, "quota_exhausted", 0, True, True),
    "limit_zero": BILLING,
    "prepay": BILLING,
    "spend_cap": BILLING,
    "location": ACCOUNT,
    "billing": ACCOUNT,
    "unavailable": UNAVAILABLE,
    "created_201": UNAVAILABLE,
    "no_content_204": UNAVAILABLE,
    "redirect": UNAVAILABLE,
    "error_in_200": UNAVAILABLE,
    "html": UNAVAILABLE,
    "process_input": UNAVAILABLE,
    "conflict_409": UNAVAILABLE,
    "cancelled_499": UNAVAILABLE,
    "drop": UNAVAILABLE,
    "stall": TIMEOUT,
    "dribble": TIMEOUT,
    "prompt_blocked": (errors.PromptBlocked, "prompt_blocked", 0, False, False),
    "content_blocked": (errors.ContentBlocked, "content_blocked", 0, False, False),
    "no_image": NO_IMAGE,
    "refusal_text": NO_IMAGE,
    "finish_message": NO_IMAGE,
    "invalid_key": INVALID_KEY,
    "leaked_key": INVALID_KEY,
    "service_disabled": INVALID_KEY,
    "bad_request": (errors.InvalidRequest, "invalid_request", 0, False, False),
    "not_found": (errors.ModelUnavailable, "model_unavailable", 0, False, False),
    "garbage": INVALID_IMAGE,
    "truncated": INVALID_IMAGE,
    "oversize": INVALID_IMAGE,
}
# `slow` is an image too, after the time of its rule.
IMAGES = {
    "ok",
    "thought_draft",
    "thought_only",
    "provenance",
    "two_images",
    "wrong_shape",
    "jpeg",
    "webp",
    "cmyk",
    "deep_grey",
    "animated",
    "no_usage",
    "thinking_usage",
    "continuation",
}


def test_every_behaviour_of_the_stand_in_has_an_outcome() -> None:
    assert {*OUTCOMES, *IMAGES, "slow"} == set(BEHAVIOURS)


@pytest.mark.parametrize("behave", sorted(IMAGES))
def test_an_image_is_read_from_exactly_one_call(stand_in: StandIn, behave: str) -> None:
    stand_in.behave(behave)
    painting = paint("a mug", image_size="1K")
    inspect_image(painting.content, MAX_IMAGE_BYTES)
    assert prompt_of(painting.content) == "a mug"
    assert painting.images_in_answer == (2 if behave == "two_images" else 1)
    assert [call["behave"] for call in stand_in.calls()] == [behave]


@pytest.mark.parametrize("behave", OUTCOMES)
def test_a_failure_has_its_outcome_after_exactly_one_call(stand_in: StandIn, behave: str) -> None:
    stand_in.behave(behave)
    timeout = 0.5 if behave in ("stall", "dribble") else 20
    found = outcome(timeout_seconds=timeout)
    assert OUTCOMES[behave] == (
        type(found),
        found.code,
        found.max_retries,
        found.retryable,
        found.stops_execution,
    )
    assert [call["behave"] for call in stand_in.calls()] == [behave]


@pytest.mark.parametrize("seconds", [0.5, 7, 3200])
def test_retry_after_is_the_throttles_delay(stand_in: StandIn, seconds: float) -> None:
    stand_in.behave("throttle", retry_delay_s=seconds)
    throttled = outcome()
    assert isinstance(throttled, ProviderThrottled)
    assert throttled.retry_after == seconds


def test_a_throttle_without_a_delay_has_no_retry_after(stand_in: StandIn) -> None:
    stand_in.behave("throttle")
    throttled = outcome()
    assert isinstance(throttled, ProviderThrottled)
    assert throttled.retry_after is None


def test_a_delay_of_hours_is_a_spent_quota(stand_in: StandIn) -> None:
    stand_in.behave("throttle", retry_delay_s=7200)
    assert isinstance(outcome(), errors.QuotaExhausted)


def test_a_spent_daily_quota_is_not_a_throttle_even_with_a_delay(stand_in: StandIn) -> None:
    stand_in.behave("quota", retry_delay_s=7)
    assert isinstance(outcome(), errors.QuotaExhausted)


def test_a_slow_answer_within_the_time_is_an_image(stand_in: StandIn) -> None:
    stand_in.behave("ok", delay_ms=300)
    assert prompt_of(paint("a mug").content) == "a mug"


@pytest.mark.parametrize(("ratio", "shape"), [(None, 1), ("16:9", 16 / 9)])
def test_a_painting_has_the_asked_ratio_and_reports_its_tokens(
    stand_in: StandIn, ratio: str | None, shape: float
) -> None:
    references = [(picture("red"), "image/png"), (picture("blue", "JPEG"), "image/jpeg")]
    painting = paint("a mug", references=references, aspect_ratio=ratio)
    facts = inspect_image(painting.content, MAX_IMAGE_BYTES)
    assert facts.mime_type == "image/png"
    assert facts.width / facts.height == pytest.approx(shape, rel=0.04)
    assert painting.usage == Usage(2 + 2 * MODELS[MODEL].reference_tokens, 1290, 0)
    assert painting.model in (MODEL, None)
    assert painting.images_in_answer == 1


def test_the_call_carries_this_tenants_key_model_and_prompt(stand_in: StandIn) -> None:
    prompt = '  "a fox"\n\tin the snow 🦊 é  '
    paint(prompt, model="gemini-3-pro-image", api_key="another-key")
    [call] = stand_in.calls()
    assert (call["prompt"], call["model"]) == (prompt, "gemini-3-pro-image")
    assert call["api_key_sha256"] == hashlib.sha256(b"another-key").hexdigest()


def test_an_answer_is_freed_at_once(stand_in: StandIn) -> None:
    """A body of megabytes must not wait for the garbage collector."""
    paint()
    gc.collect()
    gc.disable()
    try:
        paint()
        kept = [each for each in gc.get_objects() if isinstance(each, httpx2.Response)]
    finally:
        gc.enable()
    assert kept == []


def test_tenants_share_a_client_but_no_key(stand_in: StandIn) -> None:
    keys = [f"the-key-of-tenant-{number}" for number in (1, 2, 1, 3)]
    for key in keys:
        paint(api_key=key)
    assert gemini._client.cache_info().misses == 1
    sent = [call["api_key_sha256"] for call in stand_in.calls()]
    assert sent == [hashlib.sha256(key.encode()).hexdigest() for key in keys]


# --- the request, byte for byte --------------------------------------------------------------


@pytest.fixture
def api(web: Web, monkeypatch: pytest.MonkeyPatch) -> Web:
    """A server at Gemini's address. The test sets its answers."""
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", web.url)
    return web


def image_answer(content: bytes, mime_type: str = "image/png", **usage: int) -> dict[str, Any]:
    inline = {"mimeType": mime_type, "data": base64.b64encode(content).decode()}
    answer: dict[str, Any] = {
        "candidates": [{"content": {"parts": [{"inlineData": inline}]}, "finishReason": "STOP"}]
    }
    return {**answer, "usageMetadata": usage} if usage else answer


def test_references_go_first_and_in_order_then_the_prompt(api: Web) -> None:
    api.answer(image_answer(picture("red")))
    references = [
        (picture("red"), "image/png"),
        (picture("red", "WEBP"), "image/webp"),
        (b"\xff\xd8\xff\xfb\xef\xbe", "image/jpeg"),
    ]
    paint("a mug", references=references, aspect_ratio="4:5", image_size="2K", seed=7)
    [request] = api.requests
    assert re.fullmatch(rf"/v1(beta)?/models/{MODEL}:generateContent", request.path)
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert headers["x-goog-api-key"] == KEY
    assert KEY.encode() not in request.body
    body = json.loads(request.body)
    [content] = body["contents"]
    assert content["role"] == "user"
    *images, text = content["parts"]
    assert text == {"text": "a mug"}
    # The SDK writes some names with underscores. The API accepts both forms.
    inline = [
        {name.replace("_", "").lower(): value for name, value in part["inlineData"].items()}
        for part in images
    ]
    sent = [(base64.urlsafe_b64decode(each["data"]), each["mimetype"]) for each in inline]
    assert sent == references
    assert body["generationConfig"] == {
        "responseModalities": ["IMAGE"],
        "imageConfig": {"aspectRatio": "4:5", "imageSize": "2K"},
        "seed": 7,
    }


def test_without_references_and_ratio_only_the_prompt_is_sent(api: Web) -> None:
    api.answer(image_answer(picture("red")))
    paint("a mug")
    body = json.loads(api.requests[0].body)
    assert body == {
        "contents": [{"role": "user", "parts": [{"text": "a mug"}]}],
        "generationConfig": {"responseModalities": ["IMAGE"]},
    }


# --- answers of status 200 -------------------------------------------------------------------


def candidate(reason: str | None, *parts: dict[str, Any]) -> dict[str, Any]:
    content = {"content": {"parts": list(parts)}} if parts else {}
    return {"candidates": [{**content, **({"finishReason": reason} if reason else {})}]}


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        *((reason, errors.ContentBlocked) for reason in ("IMAGE_SAFETY", "SAFETY", "SPII")),
        ("IMAGE_PROHIBITED_CONTENT", errors.ContentBlocked),
        ("PROHIBITED_CONTENT", errors.ContentBlocked),
        ("BLOCKLIST", errors.ContentBlocked),
        ("IMAGE_RECITATION", errors.Recitation),
        ("RECITATION", errors.Recitation),
        ("NO_IMAGE", errors.NoImage),
        ("IMAGE_OTHER", errors.NoImage),
        ("OTHER", errors.NoImage),
        ("STOP", errors.NoImage),
        ("MAX_TOKENS", errors.NoImage),
        ("A_REASON_OF_NEXT_YEAR", errors.NoImage),
        (None, errors.NoImage),
    ],
)
@pytest.mark.parametrize("words", [(), ({"text": "I would rather not."},)], ids=["", "words"])
def test_an_answer_without_an_image_has_the_outcome_of_its_reason(
    api: Web, reason: str | None, words: tuple[Any, ...], expected: type[Outcome]
) -> None:
    api.answer(candidate(reason, *words))
    assert type(outcome()) is expected


@pytest.mark.parametrize("reason", ["SAFETY", "PROHIBITED_CONTENT", "A_REASON_OF_NEXT_YEAR"])
def test_a_blocked_prompt_has_a_reason(api: Web, reason: str) -> None:
    api.answer({"promptFeedback": {"blockReason": reason}})
    blocked = outcome()
    assert type(blocked) is errors.PromptBlocked
    assert reason in blocked.detail


def test_a_block_outweighs_an_image(api: Web) -> None:
    answer = image_answer(picture("red"))
    api.answer({**answer, "promptFeedback": {"blockReason": "SAFETY"}})
    assert type(outcome()) is errors.PromptBlocked
    answer["candidates"][0]["finishReason"] = "IMAGE_SAFETY"
    api.answer(answer)
    assert type(outcome()) is errors.ContentBlocked


@pytest.mark.parametrize("reason", ["STOP", "A_REASON_OF_NEXT_YEAR", None])
def test_an_image_after_text_is_an_image(api: Web, reason: str | None) -> None:
    inline = {"mimeType": "image/png", "data": base64.b64encode(picture("red")).decode()}
    api.answer(candidate(reason, {"text": "Here it is:"}, {"inlineData": inline}))
    assert paint().content == picture("red")


@pytest.mark.parametrize(
    ("format", "mime_type"),
    [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")],
)
def test_the_bytes_and_not_the_answer_decide_the_type(
    api: Web, format: str, mime_type: str
) -> None:
    api.answer(image_answer(picture("red", format), "application/pdf"))
    assert inspect_image(paint().content, MAX_IMAGE_BYTES).mime_type == mime_type


@pytest.mark.parametrize("content", [picture("red", "GIF"), picture("red", "BMP"), b"<svg/>", b"x"])
def test_other_formats_than_png_jpeg_and_webp_are_invalid(api: Web, content: bytes) -> None:
    api.answer(image_answer(content))
    assert type(outcome()) is errors.InvalidImage


def test_ten_megabytes_are_an_image_and_one_byte_more_is_not(api: Web) -> None:
    png = picture("red").ljust(MAX_IMAGE_BYTES, b"\0")
    api.answer(image_answer(png))
    assert paint().content == png
    api.answer(image_answer(png + b"\0"))
    assert type(outcome()) is errors.InvalidImage


def test_an_empty_image_has_the_outcome_no_image(api: Web) -> None:
    api.answer(image_answer(b""))
    assert type(outcome()) is errors.NoImage


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({}, None),
        ({"promptTokenCount": 7, "candidatesTokenCount": 1290}, Usage(7, 1290, 0)),
        (
            {"promptTokenCount": 7, "candidatesTokenCount": 1290, "thoughtsTokenCount": 10},
            Usage(7, 1290, 10),
        ),
        ({"promptTokenCount": 7}, None),
        ({"candidatesTokenCount": 1290}, None),
    ],
)
def test_the_tokens_are_the_charged_ones(
    api: Web, usage: dict[str, int], tokens: Usage | None
) -> None:
    api.answer(image_answer(picture("red"), **usage))
    assert paint().usage == tokens


def test_the_model_of_the_answer_is_recorded(api: Web) -> None:
    api.answer({**image_answer(picture("red")), "modelVersion": "gemini-3-pro-image"})
    assert paint().model == "gemini-3-pro-image"


@pytest.mark.parametrize(
    "usage",
    [
        None,
        5,
        "many",
        [],
        {"candidatesTokenCount": "many"},
        {"candidatesTokenCount": 1290.5},
        {"candidatesTokenCount": None, "promptTokenCount": []},
        {"candidatesTokenCount": {"tokens": 1290}},
        {"candidatesTokenCount": -1290, "promptTokenCount": -7},
        {"candidatesTokenCount": 1290, "thoughtsTokenCount": -5000},
        {"candidatesTokenCount": 1290, "promptTokenCount": "seven"},
        {"candidatesTokenCount": 10**30},
        {"candidatesTokenCount": 1290, "candidatesTokensDetails": 5},
        {"candidatesTokenCount": 1290, "promptTokensDetails": [{"modality": 5, "tokenCount": "x"}]},
        {"candidatesTokenCount": 1290, "trafficType": {"a": 1}},
    ],
    ids=str,
)
def test_an_image_is_kept_whatever_its_usage_says(api: Web, usage: Any) -> None:
    content = picture("red")
    api.answer({**image_answer(content), "usageMetadata": usage})
    painting = paint()
    assert painting.content == content
    cost = cost_microusd(MODEL, painting.usage, size="1K", references=0, configured=None)
    assert cost == 38_700
    assert len(api.requests) == 1


# --- answers of other statuses ---------------------------------------------------------------


def google_error(status: int, *details: Any) -> dict[str, Any]:
    return {"error": {"code": status, "message": KEY, "status": "X", "details": list(details)}}


BAD_KEY = {"reason": "API_KEY_INVALID"}
ELSEWHERE = {"@type": "x.LocalizedMessage", "message": "API key not valid."}


@pytest.mark.parametrize("body", ["Google's", b"<html>", b"", [], None, "x", {"error": "x"}])
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, errors.InvalidRequest),
        (401, errors.InvalidApiKey),
        (403, errors.InvalidApiKey),
        (404, errors.ModelUnavailable),
        (408, errors.ProviderTimeout),
        (409, errors.ProviderUnavailable),
        (413, errors.InvalidRequest),
        (499, errors.ProviderUnavailable),
        (429, errors.ProviderThrottled),
        (500, errors.ProviderUnavailable),
        (502, errors.ProviderUnavailable),
        (503, errors.ProviderUnavailable),
        (504, errors.ProviderTimeout),
        (529, errors.ProviderUnavailable),
    ],
)
def test_a_status_has_the_same_outcome_with_every_body(
    api: Web, status: int, expected: type[Outcome], body: Any
) -> None:
    api.answer(google_error(status) if body == "Google's" else body, status)
    with pytest.raises(Outcome) as raised:
        paint()
    assert type(raised.value) is expected
    assert KEY not in raised.value.detail
    assert len(api.requests) == 1


@pytest.mark.parametrize("details", [[BAD_KEY], [ELSEWHERE, BAD_KEY], ["x", None, BAD_KEY]])
def test_the_reason_of_a_bad_key_is_found_at_every_position(api: Web, details: list[Any]) -> None:
    api.answer(google_error(400, *details), 400)
    assert type(outcome_of_google()) is errors.InvalidApiKey


def test_another_400_that_mentions_keys_is_an_invalid_request(api: Web) -> None:
    api.answer(google_error(400, ELSEWHERE, {"reason": "FIELD_INVALID"}), 400)
    assert type(outcome_of_google()) is errors.InvalidRequest


@pytest.mark.parametrize(
    "detail",
    [
        {"retryDelay": ""},
        {"retryDelay": "soon"},
        {"retryDelay": "nans"},
        {"retryDelay": "infs"},
        {"retryDelay": "1e999s"},
        {"retryDelay": "-5s"},
        {"retryDelay": "9" * 400 + "s"},
        {"retryDelay": None},
        {"retryDelay": {"seconds": 5}},
        {"violations": None},
        {"violations": 5},
        {"violations": ["PerDay", None]},
        {"violations": [{"quotaId": None}, {}]},
        "x",
        None,
    ],
    ids=lambda detail: json.dumps(detail)[:40],
)
def test_a_malformed_429_is_a_throttle_without_a_delay(api: Web, detail: Any) -> None:
    api.answer(google_error(429, detail), 429)
    throttled = outcome_of_google()
    assert isinstance(throttled, ProviderThrottled)
    assert throttled.retry_after is None


@pytest.mark.parametrize(
    "body",
    [{"error": {"details": details}} for details in (None, 5, "x", {"retryDelay": "5s"})],
    ids=json.dumps,
)
def test_malformed_error_details_are_ignored(api: Web, body: Any) -> None:
    api.answer(body, 429)
    throttled = outcome_of_google()
    assert isinstance(throttled, ProviderThrottled)
    assert throttled.retry_after is None


def outcome_of_google() -> Outcome:
    """The outcome of an error of Google. It must not repeat Google's message (here: the key)."""
    with pytest.raises(Outcome) as raised:
        paint()
    assert KEY not in raised.value.detail
    return raised.value


# --- no answer -------------------------------------------------------------------------------


NO_ANSWERS: dict[str, Callable[[Web], None]] = {
    "HTML": lambda web: web.answer(b"<html>Welcome to the hotel's network</html>"),
    "not text": lambda web: web.answer(b"\xff\xfe"),
    "not text, 500": lambda web: web.answer(b"\xff\xff", 500),
    "a number": lambda web: web.answer(7),
    "nested too deeply": lambda web: web.answer(b"[" * 100_000),
    "parts of another shape": lambda web: web.answer({"candidates": [{"content": {"parts": 7}}]}),
    "a reason of another shape": lambda web: web.answer({"candidates": [{"finishReason": 7}]}),
    "data that is not base64": lambda web: web.answer(
        candidate("STOP", {"inlineData": {"mimeType": "image/png", "data": "***"}})
    ),
    "cut short": lambda web: web.answer(image_answer(picture("red")), length=10**6),
    "hangs up": Web.hang_up,
    "answers without HTTP": Web.babble,
}


@pytest.mark.parametrize("no_answer", NO_ANSWERS)
def test_an_invalid_answer_can_be_retried(api: Web, no_answer: str) -> None:
    NO_ANSWERS[no_answer](api)
    assert type(outcome()) is errors.ProviderUnavailable
    assert len(api.requests) == 1


def test_an_unreachable_model_can_be_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:1")
    assert type(outcome()) is errors.ProviderUnavailable


# --- redirects ---------------------------------------------------------------------------------


@pytest.fixture
def elsewhere() -> Iterator[Web]:
    """Another host, which would answer with an image."""
    with listening() as server:
        server.web = Web(f"http://localhost:{server.server_port}")
        server.web.answer(image_answer(picture("red")))
        yield server.web


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
@pytest.mark.parametrize("same_host", [False, True])
def test_a_redirect_is_not_followed(api: Web, elsewhere: Web, status: int, same_host: bool) -> None:
    target = f"{api.url if same_host else elsewhere.url}/v1beta/models/{MODEL}:generateContent"

    def redirect(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Location", target)
        request.send_header("Content-Length", "0")
        request.end_headers()

    api.behave = redirect
    found = outcome()
    assert type(found) is errors.ProviderUnavailable
    assert str(status) in found.detail
    assert len(api.requests) == 1
    assert elsewhere.requests == []
