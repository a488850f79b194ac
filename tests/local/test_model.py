"""The stand-in model, called by the real SDK and over plain HTTP."""

import http.client as http_client
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.genai import errors, types

from local.image_model.errors import ERRORS
from local.image_model.painter import paint, prompt_of
from local.image_model.replies import oversize_image
from masstock.services.storage import MAX_IMAGE_BYTES
from masstock_generate.images import inspect_image
from tests.local.model_calls import (
    KEY,
    SDK_TIMEOUT_MS,
    ask_sdk,
    calls,
    control,
    generate,
    image_of,
    images_in,
    running_model,
    until,
)
from tests.local.pictures import a_picture, decode

PRO, FLASH = "gemini-3-pro-image", "gemini-3.1-flash-image"
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def url() -> Iterator[str]:
    with running_model() as url:
        yield url


# Every behaviour, called by the SDK


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_the_sdk_receives_a_png_with_usage(url: str, version: str) -> None:
    reply = ask_sdk(url, "a lighthouse in the fog", version=version, seed=7)
    assert image_of(reply) == paint("a lighthouse in the fog", seed=7)
    assert reply.candidates[0].content.parts[0].inline_data.mime_type == "image/png"
    assert reply.candidates[0].finish_reason == types.FinishReason.STOP
    usage = reply.usage_metadata
    assert usage.candidates_token_count == 1290
    assert usage.total_token_count == usage.prompt_token_count + 1290
    assert reply.model_version == "gemini-2.5-flash-image"
    assert reply.response_id


def test_without_a_seed_each_call_paints_another_picture_of_the_prompt(url: str) -> None:
    pictures = [image_of(ask_sdk(url, "a mug")) for _ in range(3)]
    assert len({decode(picture).convert("RGB").tobytes() for picture in pictures}) == 3
    assert {prompt_of(picture) for picture in pictures} == {"a mug"}


def test_references_ratio_and_size_reach_the_painter(url: str) -> None:
    red = types.Part.from_bytes(data=a_picture("red"), mime_type="image/png")
    shape = types.ImageConfig(aspect_ratio="16:9", image_size="2K")
    reply = ask_sdk(url, red, "a mug", model="gemini-3-pro-image", seed=7, image_config=shape)
    picture = image_of(reply)
    assert picture == paint(
        "a mug", [a_picture("red")], "16:9", size="2K", seed=7, format="JPEG"
    )  # fmt: skip
    assert decode(picture).size == (2752, 1536)
    assert reply.candidates[0].content.parts[0].inline_data.mime_type == "image/jpeg"


# Behaviour → code, status, type of the detail, words of the message.
SDK_ERRORS = {
    "throttle": (429, "RESOURCE_EXHAUSTED", None, "Resource has been exhausted"),
    "quota": (429, "RESOURCE_EXHAUSTED", "QuotaFailure", "exceeded your current quota"),
    "limit_zero": (429, "RESOURCE_EXHAUSTED", "QuotaFailure", "limit: 0"),
    "prepay": (429, "RESOURCE_EXHAUSTED", None, "Your prepayment credits are depleted"),
    "spend_cap": (429, "RESOURCE_EXHAUSTED", None, "monthly spending cap"),
    "location": (400, "FAILED_PRECONDITION", None, "User location is not supported for the API"),
    "billing": (400, "FAILED_PRECONDITION", None, "enable billing"),
    "invalid_key": (400, "INVALID_ARGUMENT", "ErrorInfo", "API key not valid"),
    "leaked_key": (403, "PERMISSION_DENIED", None, "Your API key was reported as leaked."),
    "service_disabled": (403, "PERMISSION_DENIED", "ErrorInfo", "it is disabled"),
    "bad_request": (400, "INVALID_ARGUMENT", "BadRequest", "invalid argument"),
    "process_input": (400, "INVALID_ARGUMENT", None, "Unable to process input image. Please retry"),
    "not_found": (404, "NOT_FOUND", None, "models/gemini-2.5-flash-image is not found"),
    "conflict_409": (409, "ABORTED", None, "aborted"),
    "cancelled_499": (499, "CANCELLED", None, "cancelled"),
    "unavailable": (503, "UNAVAILABLE", None, "overloaded"),
}


def test_every_error_is_tested() -> None:
    assert set(SDK_ERRORS) == set(ERRORS)


@pytest.mark.parametrize("behave", SDK_ERRORS)
def test_the_sdk_raises_googles_error(url: str, behave: str) -> None:
    code, status, detail, words = SDK_ERRORS[behave]
    control(url, {"match": ".", "behave": behave, "retry_delay_s": 7})
    with pytest.raises(errors.APIError) as raised:
        ask_sdk(url, "a kite")
    assert (raised.value.code, raised.value.status) == (code, status)
    assert words in (raised.value.message or "")
    details = details_of(raised.value)
    assert details.pop("RetryInfo")["retryDelay"] == "7s"
    assert detail in details or (detail is None and not details)


def details_of(error: errors.APIError) -> dict[str, Any]:
    body = error.details
    assert isinstance(body, dict)
    details = body["error"].get("details", [])
    return {each["@type"].rpartition(".")[2]: each for each in details}


@pytest.mark.parametrize(
    ("behave", "period", "value"),
    [("quota", "PerDay", "100"), ("limit_zero", "Per", "0")],
)
def test_a_quota_names_its_period_and_its_limit(
    url: str, behave: str, period: str, value: str
) -> None:
    control(url, {"match": ".", "behave": behave})
    with pytest.raises(errors.ClientError) as raised:
        ask_sdk(url, "a kite")
    details = details_of(raised.value)
    (violation,) = details.pop("QuotaFailure")["violations"]
    assert period in violation["quotaId"]
    assert violation["quotaValue"] == value
    assert not details


@pytest.mark.parametrize(
    ("behave", "reason"),
    [("invalid_key", "API_KEY_INVALID"), ("service_disabled", "SERVICE_DISABLED")],
)
def test_a_refused_key_has_googles_reason(url: str, behave: str, reason: str) -> None:
    control(url, {"match": ".", "behave": behave})
    with pytest.raises(errors.ClientError) as raised:
        ask_sdk(url, "a kite")
    assert details_of(raised.value)["ErrorInfo"]["reason"] == reason


def test_a_blocked_prompt_has_feedback_and_no_candidate(url: str) -> None:
    control(url, {"match": ".", "behave": "prompt_blocked"})
    reply = ask_sdk(url, "a kite")
    assert reply.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT
    assert not reply.candidates


def test_blocked_content_has_a_reason_and_no_image(url: str) -> None:
    control(url, {"match": ".", "behave": "content_blocked"})
    (candidate,) = ask_sdk(url, "a kite").candidates
    assert candidate.finish_reason == types.FinishReason.IMAGE_SAFETY
    assert candidate.content is None


@pytest.mark.parametrize(("behave", "words"), [("no_image", "describe"), ("refusal_text", "sorry")])
def test_words_instead_of_an_image(url: str, behave: str, words: str) -> None:
    control(url, {"match": ".", "behave": behave})
    reply = ask_sdk(url, "a kite")
    (part,) = reply.candidates[0].content.parts
    assert words in part.text
    assert part.inline_data is None
    assert reply.candidates[0].finish_reason == types.FinishReason.STOP
    (tokens,) = reply.usage_metadata.candidates_tokens_details
    assert tokens.modality == types.MediaModality.TEXT


def test_finish_message_says_why_there_is_no_image(url: str) -> None:
    control(url, {"match": ".", "behave": "finish_message"})
    # The SDK drops the message (google-genai 3.4.0).
    assert ask_sdk(url, "a kite").candidates[0].finish_reason == types.FinishReason.NO_IMAGE
    (candidate,) = generate(url, "a kite")[1]["candidates"]
    assert candidate["finishMessage"].startswith("Unable to show the generated image.")
    assert "content" not in candidate


def test_garbage_is_labelled_png_but_is_not_an_image(url: str) -> None:
    control(url, {"match": ".", "behave": "garbage"})
    reply = ask_sdk(url, "a kite")
    assert reply.candidates[0].content.parts[0].inline_data.mime_type == "image/png"
    with pytest.raises(OSError, match="cannot identify"):
        decode(image_of(reply))


@pytest.mark.parametrize("megabytes", [10, 12])
def test_oversize_is_a_real_image_over_the_limit(
    url: str, megabytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_IMAGE_MEGABYTES", str(megabytes))
    oversize_image.cache_clear()
    control(url, {"match": ".", "behave": "oversize"})
    status, reply = generate(url, "a kite")
    oversize_image.cache_clear()
    (png,) = images_in(reply)
    assert status == 200
    assert megabytes * 2**20 < len(png) < (megabytes + 1) * 2**20
    assert decode(png).format == "PNG"


# Images that are not what they seem


def test_a_draft_among_the_thoughts_comes_before_the_image(url: str) -> None:
    control(url, {"match": ".", "behave": "thought_draft"})
    reply = ask_sdk(url, "a kite", seed=7)
    words, draft, final = reply.candidates[0].content.parts
    assert (words.thought, draft.thought, final.thought) == (True, True, None)
    assert decode(draft.inline_data.data).size == (512, 512)
    assert final.inline_data.data == paint("a kite", seed=7)
    assert reply.usage_metadata.thoughts_token_count > 0


def test_the_only_image_is_a_thought(url: str) -> None:
    control(url, {"match": ".", "behave": "thought_only"})
    (part,) = ask_sdk(url, "a kite", seed=7).candidates[0].content.parts
    assert part.thought
    assert part.inline_data.data == paint("a kite", seed=7)


@pytest.mark.parametrize("model", ["gemini-2.5-flash-image", "gemini-3-pro-image"])
def test_an_image_with_a_manifest_is_otherwise_the_same(url: str, model: str) -> None:
    control(url, {"match": ".", "behave": "provenance"})
    (image,) = images_in(generate(url, "a kite", model=model, config={"seed": 7})[1])
    control(url)
    (plain,) = images_in(generate(url, "a kite", model=model, config={"seed": 7})[1])
    assert len(image) > len(plain)
    assert decode(image).tobytes() == decode(plain).tobytes()
    assert prompt_of(image) == "a kite"
    assert inspect_image(image, MAX_IMAGE_BYTES).has_provenance
    assert not inspect_image(plain, MAX_IMAGE_BYTES).has_provenance


def test_two_images_differ_and_both_are_counted(url: str) -> None:
    control(url, {"match": ".", "behave": "two_images"})
    _, reply = generate(url, "a kite", config={"seed": 7})
    first, last = images_in(reply)
    assert last == paint("a kite", seed=7) != first
    assert prompt_of(first) == "a kite"
    assert reply["usageMetadata"]["candidatesTokenCount"] == 2 * 1290


@pytest.mark.parametrize("model", ["gemini-2.5-flash-image", "gemini-3-pro-image"])
def test_a_truncated_image_starts_well_and_cannot_be_decoded(url: str, model: str) -> None:
    control(url, {"match": ".", "behave": "truncated"})
    (cut,) = images_in(generate(url, "a kite", model=model)[1])
    assert prompt_of(cut) == "a kite"
    with pytest.raises(OSError, match="truncated"):
        decode(cut)


def test_wrong_shape_is_a_square_of_1k(url: str) -> None:
    control(url, {"match": ".", "behave": "wrong_shape"})
    shape = {"imageConfig": {"aspectRatio": "16:9", "imageSize": "4K"}}
    _, reply = generate(url, "a kite", model="gemini-3-pro-image", config=shape)
    assert decode(images_in(reply)[0]).size == (1024, 1024)
    assert reply["usageMetadata"]["candidatesTokenCount"] == 1120


@pytest.mark.parametrize("behave", ["jpeg", "webp"])
def test_the_mime_type_may_lie(url: str, behave: str) -> None:
    control(url, {"match": ".", "behave": behave})
    reply = ask_sdk(url, "a kite")
    assert reply.candidates[0].content.parts[0].inline_data.mime_type == "image/png"
    assert decode(image_of(reply)).format == behave.upper()
    assert prompt_of(image_of(reply)) == "a kite"


@pytest.mark.parametrize(
    ("behave", "format", "mode", "frames"),
    [
        ("cmyk", "JPEG", "CMYK", 1),
        ("deep_grey", "PNG", "I;16", 1),
        ("animated", "WEBP", "RGB", 2),
    ],
)
def test_an_image_may_be_of_an_unusual_kind(
    url: str, behave: str, format: str, mode: str, frames: int
) -> None:
    control(url, {"match": ".", "behave": behave})
    content = image_of(ask_sdk(url, "a kite"))
    assert prompt_of(content) == "a kite"
    image = decode(content)
    assert (image.format, image.mode, getattr(image, "n_frames", 1)) == (format, mode, frames)


# Answers of broken gateways, and slow ones


def test_an_image_with_status_201(url: str) -> None:
    control(url, {"match": ".", "behave": "created_201"})
    status, reply = generate(url, "a kite")
    assert status == 201
    assert prompt_of(images_in(reply)[0]) == "a kite"
    with pytest.raises(errors.APIError):
        ask_sdk(url, "a kite")


def test_an_answer_without_content(url: str) -> None:
    control(url, {"match": ".", "behave": "no_content_204"})
    with pytest.raises(errors.APIError):
        ask_sdk(url, "a kite")


def test_a_followed_redirect_paints_and_is_logged(url: str) -> None:
    control(url, {"match": ".", "behave": "redirect"})
    reply = ask_sdk(url, "a kite & a fox 🦊")
    assert prompt_of(image_of(reply)) == "a kite & a fox 🦊"
    assert [call["behave"] for call in calls(url)] == ["redirect", "followed"]
    assert [call["prompt"] for call in calls(url)] == ["a kite & a fox 🦊"] * 2
    connection = http_client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    body = json.dumps({"contents": [{"parts": [{"text": "a \ud800 kite"}]}]})
    path = "/v1/models/m:generateContent"
    connection.request("POST", path, body, {"x-goog-api-key": KEY})
    response = connection.getresponse()
    connection.close()
    assert response.status == 302
    assert response.headers["Location"].startswith("/_followed?model=m&prompt=a+")
    assert len(calls(url)) == 3


def test_an_error_may_have_status_200(url: str) -> None:
    control(url, {"match": ".", "behave": "error_in_200"})
    status, reply = generate(url, "a kite")
    assert status == 200
    assert (reply["error"]["code"], reply["error"]["status"]) == (503, "UNAVAILABLE")


def test_html_with_status_200(url: str) -> None:
    control(url, {"match": ".", "behave": "html"})
    with pytest.raises(json.JSONDecodeError):
        generate(url, "a kite")
    with pytest.raises(json.JSONDecodeError):
        ask_sdk(url, "a kite")


def test_the_sdk_pays_for_a_continuation_unless_it_is_forbidden(url: str) -> None:
    control(url, {"match": ".", "behave": "continuation"})
    once = types.FinishReason.CONTINUATION
    reply = ask_sdk(url, "a kite", automatic_continuation=False)
    assert reply.candidates[0].finish_reason == once
    assert reply.candidates[0].continuation_token
    assert prompt_of(image_of(reply)) == "a kite"
    assert len(calls(url)) == 1
    assert ask_sdk(url, "a kite").candidates[0].finish_reason == types.FinishReason.STOP
    assert len(calls(url)) == 3


def test_a_dribble_passes_the_timeout_that_counts_each_read(url: str) -> None:
    seconds = SDK_TIMEOUT_MS / 1000 * 2
    control(url, {"match": ".", "behave": "dribble", "delay_ms": seconds * 1000})
    started = time.monotonic()
    assert prompt_of(image_of(ask_sdk(url, "a kite"))) == "a kite"
    assert seconds * 0.9 <= time.monotonic() - started < seconds + 5


def test_a_dribble_without_a_delay_is_long_and_ends_with_the_connection(url: str) -> None:
    control(url, {"match": ".", "behave": "dribble"})
    before = threading.active_count()
    body = b'{"contents": [{"parts": [{"text": "a kite"}]}]}'
    request = urllib.request.Request(
        f"{url}/v1/models/m:generateContent", body, {"x-goog-api-key": KEY}
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=5) as response:
        length = int(response.headers["Content-Length"])
        assert 0 < len(response.read1()) < length / 100
    until(lambda: threading.active_count() <= before)


def test_slow_waits_and_paints(url: str) -> None:
    control(url, {"match": ".", "behave": "slow", "delay_ms": 300})
    started = time.monotonic()
    assert prompt_of(image_of(ask_sdk(url, "a kite"))) == "a kite"
    assert time.monotonic() - started >= 0.3


# Usage


@pytest.mark.parametrize(
    ("model", "size", "references", "prompt", "image", "thoughts"),
    [
        ("gemini-2.5-flash-image", None, 2, 3 + 2 * 258, 1290, None),
        (FLASH, "512", 0, 3, 747, None),
        (FLASH, None, 0, 3, 1120, None),
        (FLASH, "2K", 1, 3 + 1100, 1680, None),
        (PRO, "4K", 0, 3, 2000, 350),
    ],
)
def test_tokens_follow_the_catalogue_and_the_size(
    url: str, model: str, size: str | None, references: int, prompt: int, image: int, thoughts: Any
) -> None:
    config = {"imageConfig": {"imageSize": size}}
    status, reply = generate(url, "a red kite", model=model, references=references, config=config)
    assert status == 200
    usage = reply["usageMetadata"]
    assert usage["promptTokenCount"] == prompt
    assert usage["candidatesTokenCount"] == image
    assert usage["candidatesTokensDetails"] == [{"modality": "IMAGE", "tokenCount": image}]
    assert usage.get("thoughtsTokenCount") == thoughts
    assert usage["totalTokenCount"] == prompt + image + (thoughts or 0)
    assert reply["modelVersion"] == model


def test_no_usage_is_an_image_without_its_price(url: str) -> None:
    control(url, {"match": ".", "behave": "no_usage"})
    reply = ask_sdk(url, "a kite")
    assert prompt_of(image_of(reply)) == "a kite"
    assert reply.usage_metadata is None


def test_thinking_usage_counts_thoughts_and_text_beside_the_image(url: str) -> None:
    control(url, {"match": ".", "behave": "thinking_usage"})
    _, reply = generate(url, "a kite", model=FLASH)
    usage = reply["usageMetadata"]
    counts = {each["modality"]: each["tokenCount"] for each in usage["candidatesTokensDetails"]}
    assert counts == {"IMAGE": 1120, "TEXT": 340}
    assert (usage["candidatesTokenCount"], usage["thoughtsTokenCount"]) == (1460, 337)
    assert reply["candidates"][0]["content"]["parts"][0]["text"]
    assert prompt_of(images_in(reply)[0]) == "a kite"


# Calls that end without an answer


def test_drop_closes_without_an_answer(url: str) -> None:
    control(url, {"match": ".", "behave": "drop"})
    started = time.monotonic()
    with pytest.raises(Exception, match="disconnected"):
        ask_sdk(url, "a kite")
    assert time.monotonic() - started < SDK_TIMEOUT_MS / 1000


def test_stall_lasts_until_the_sdk_gives_up_and_leaves_no_thread(url: str) -> None:
    control(url, {"match": "stuck", "behave": "stall"})
    before = threading.active_count()
    started = time.monotonic()
    with pytest.raises(Exception, match="timed out"):
        ask_sdk(url, "stuck")
    assert time.monotonic() - started >= SDK_TIMEOUT_MS / 1000 * 0.9
    until(lambda: threading.active_count() <= before)


def test_a_hundred_stalled_calls_do_not_delay_others(url: str) -> None:
    control(url, {"match": "stuck", "behave": "stall"})
    before = threading.active_count()
    port = int(url.rpartition(":")[2])
    stalled = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(100)]
    body = json.dumps({"contents": [{"parts": [{"text": "stuck"}]}]})
    for connection in stalled:
        connection.sendall(
            f"POST /v1/models/m:generateContent HTTP/1.1\r\nHost: x\r\nx-goog-api-key: {KEY}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
    until(lambda: len(calls(url)) == 100)
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda n: generate(url, f"free {n}")[0], range(50)))
    assert answers == [200] * 50
    for connection in stalled:
        connection.close()
    until(lambda: threading.active_count() <= before)
