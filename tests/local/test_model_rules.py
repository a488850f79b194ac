"""The rules and the log of the stand-in model, and the calls that it refuses."""

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local.image_model.errors import ERRORS
from local.image_model.painter import paint
from local.image_model.replies import BEHAVIOURS
from tests.local.model_calls import (
    KEY,
    calls,
    control,
    generate,
    http,
    images_in,
    running_model,
    until,
)
from tests.local.pictures import a_picture

PRO, FLASH = "gemini-3-pro-image", "gemini-3.1-flash-image"
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def url() -> Iterator[str]:
    with running_model() as url:
        yield url


# Rules


def test_a_rule_may_name_every_behaviour(url: str) -> None:
    assert set(BEHAVIOURS) == set(ERRORS) | {
        *("ok", "prompt_blocked", "content_blocked", "no_image", "stall", "drop", "garbage"),
        *("oversize", "thought_draft", "two_images", "truncated", "wrong_shape", "jpeg", "webp"),
        *("refusal_text", "finish_message", "continuation", "created_201", "redirect", "html"),
        *("error_in_200", "dribble", "slow", "no_usage", "thinking_usage"),
        *("thought_only", "provenance", "no_content_204", "cmyk", "deep_grey", "animated"),
    }
    assert control(url, *({"match": "x", "behave": each} for each in BEHAVIOURS))[0] == 200


BAD_RULES: dict[str, Any] = {
    "not json": b"{",
    "not an object": [],
    "no rules": {},
    "more than rules": {"rules": [], "reset": True},
    "rules not a list": {"rules": {}},
    "rule not an object": {"rules": ["ok"]},
    "no match": {"rules": [{"behave": "ok"}]},
    "no behave": {"rules": [{"match": "x"}]},
    "match not a string": {"rules": [{"match": 1, "behave": "ok"}]},
    "bad expression": {"rules": [{"match": "(", "behave": "ok"}]},
    "unknown behave": {"rules": [{"match": "x", "behave": "explode"}]},
    "behave not a string": {"rules": [{"match": "x", "behave": ["ok"]}]},
    "unknown member": {"rules": [{"match": "x", "behave": "ok", "time": 1}]},
    "times a string": {"rules": [{"match": "x", "behave": "ok", "times": "1"}]},
    "times a bool": {"rules": [{"match": "x", "behave": "ok", "times": True}]},
    "times a fraction": {"rules": [{"match": "x", "behave": "ok", "times": 1.5}]},
    "times negative": {"rules": [{"match": "x", "behave": "ok", "times": -1}]},
    "delay a string": {"rules": [{"match": "x", "behave": "ok", "delay_ms": "5"}]},
    "delay negative": {"rules": [{"match": "x", "behave": "ok", "delay_ms": -5}]},
    "delay not a number": b'{"rules": [{"match": "x", "behave": "ok", "delay_ms": NaN}]}',
    "retry delay a list": {"rules": [{"match": "x", "behave": "throttle", "retry_delay_s": []}]},
    "retry delay of an image": {"rules": [{"match": "x", "behave": "ok", "retry_delay_s": 1}]},
    "slow without delay": {"rules": [{"match": "x", "behave": "slow", "delay_ms": 0}]},
    "dribble at once": {"rules": [{"match": "x", "behave": "dribble", "delay_ms": 0}]},
}


@pytest.mark.parametrize("case", BAD_RULES)
def test_a_bad_rule_is_refused_with_a_reason_and_changes_nothing(url: str, case: str) -> None:
    control(url, {"match": ".", "behave": "not_found"})
    bad = BAD_RULES[case]
    if isinstance(bad, dict) and isinstance(bad.get("rules"), list):
        bad = {**bad, "rules": [{"match": ".", "behave": "ok"}, *bad["rules"]]}
    status, reply = http(f"{url}/_control", bad)
    assert status == 400
    assert reply["error"]
    assert generate(url, "a kite")[0] == 404


def test_the_first_rule_with_times_left_wins(url: str) -> None:
    control(
        url,
        {"match": "fox$", "behave": "throttle", "times": 2},
        {"match": "fox", "behave": "unavailable", "times": 1},
    )
    assert [generate(url, "a red fox")[0] for _ in range(4)] == [429, 429, 503, 200]
    assert generate(url, "a hen")[0] == 200


def test_concurrent_calls_use_each_time_of_a_rule_once(url: str) -> None:
    control(url, {"match": ".", "behave": "throttle", "times": 37})
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda n: generate(url, f"number {n}")[0], range(80)))
    assert answers.count(429) == 37
    assert answers.count(200) == 43


def test_a_rules_delay_delays_the_answer(url: str) -> None:
    control(url, {"match": ".", "behave": "not_found", "delay_ms": 300})
    started = time.monotonic()
    generate(url, "a kite")
    assert 0.3 <= time.monotonic() - started < 3


# The log of calls


def test_calls_are_logged_on_arrival_and_survive_new_rules(url: str) -> None:
    control(url, {"match": "slow", "behave": "not_found", "delay_ms": 1500})
    generate(url, "first")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(generate, url, "slow second")
        until(lambda: len(calls(url)) == 2, 1.2)
        assert not slow.done()
    control(url)
    generate(url, "third")
    log = calls(url)
    assert [call["prompt"] for call in log] == ["first", "slow second", "third"]
    assert [call["behave"] for call in log] == ["ok", "not_found", "ok"]
    assert {call["model"] for call in log} == {"some-model"}
    assert {call["api_key_sha256"] for call in log} == {hashlib.sha256(KEY.encode()).hexdigest()}
    assert sorted(call["time"] for call in log) == [call["time"] for call in log]
    assert abs(log[0]["time"] - time.time()) < 30
    assert KEY not in json.dumps(log)


def test_the_prompt_is_the_text_of_the_last_user_turn(url: str) -> None:
    blob = base64.b64encode(a_picture("red")).decode()
    body = {
        "contents": [
            {"role": "user", "parts": [{"text": "draw a cat"}]},
            {"role": "model", "parts": [{"text": "done"}]},
            {
                "role": "user",
                "parts": [
                    {"text": "now a "},
                    {"inline_data": {"mime_type": "image/png", "data": blob}},
                    {"text": "dog"},
                ],
            },
        ]
    }
    status, _ = http(f"{url}/v1/models/m:generateContent?key={KEY}", body, key=None)
    assert status == 200
    (call,) = calls(url)
    assert call["prompt"] == "now a dog"
    assert call["api_key_sha256"] == hashlib.sha256(KEY.encode()).hexdigest()


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_both_base64_alphabets_are_decoded(url: str, encode: Any) -> None:
    picture = a_picture("red")
    reference = picture + bytes(-len(picture) % 3) + b"\xfb\xef\xbe\xff\xff\xff\x00"
    blob = encode(reference).decode().rstrip("=")
    assert blob.endswith(("++++////AA", "----____AA"))
    body = {
        "contents": [{"parts": [{"text": "a mug"}, {"inlineData": {"data": blob}}]}],
        "generationConfig": {"seed": 7},
    }
    _, reply = http(f"{url}/v1/models/m:generateContent", body)
    assert images_in(reply) == [paint("a mug", [reference], seed=7)]


# Malformed calls


BAD_BODIES: dict[str, Any] = {
    "not json": b"{",
    "not an object": [],
    "no contents": {},
    "contents not a list": {"contents": "a cat"},
    "no user turn": {"contents": [{"role": "model", "parts": [{"text": "hi"}]}]},
    "empty prompt": {"contents": [{"role": "user", "parts": [{"text": "  "}]}]},
    "text not a string": {"contents": [{"parts": [{"text": 7}]}]},
    "bad base64": {"contents": [{"parts": [{"text": "x"}, {"inlineData": {"data": "*"}}]}]},
    "bad ratio": {
        "contents": [{"parts": [{"text": "x"}]}],
        "generationConfig": {"imageConfig": {"aspectRatio": "wide"}},
    },
    "seed a bool": {
        "contents": [{"parts": [{"text": "x"}]}],
        "generationConfig": {"seed": True},
    },
    "seed too large": {
        "contents": [{"parts": [{"text": "x"}]}],
        "generationConfig": {"seed": 2**31},
    },
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_malformed_call_gets_googles_400(url: str, case: str) -> None:
    status, reply = http(f"{url}/v1/models/m:generateContent", BAD_BODIES[case])
    assert status == 400
    assert reply["error"]["code"] == 400
    assert reply["error"]["status"] == "INVALID_ARGUMENT"
    assert reply["error"]["message"]
    assert len(calls(url)) == 1


@pytest.mark.parametrize(
    ("model", "image_config", "references", "words"),
    [
        (PRO, {"aspectRatio": "7:3"}, 0, "aspect_ratio must be one of '1:1', '2:3', "),
        (PRO, {"aspectRatio": "1:8"}, 0, "'16:9', or '21:9'."),
        (FLASH, {"aspectRatio": "1:9"}, 0, "'1:1', '1:4', '1:8', '2:3', "),
        (PRO, {"imageSize": "512"}, 0, "image_size must be one of '1K', '2K', or '4K'."),
        (FLASH, {"imageSize": "2k"}, 0, "one of '512', '1K', '2K', or '4K'."),
        ("gemini-2.5-flash-image", {"imageSize": "2K"}, 0, "image_size must be '1K'."),
        ("gemini-2.5-flash-image", {}, 4, "at most 3"),
        (FLASH, {}, 15, "at most 14"),
    ],
)
def test_what_the_model_does_not_accept_is_refused_in_googles_words(
    url: str, model: str, image_config: Any, references: int, words: str
) -> None:
    config = {"imageConfig": image_config}
    status, reply = generate(url, "a kite", model=model, references=references, config=config)
    assert (status, reply["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert words in reply["error"]["message"]
    assert [call["prompt"] for call in calls(url)] == ["a kite"]


def test_a_prompt_that_exceeds_the_context_is_refused(url: str) -> None:
    status, reply = generate(url, "abcd" * 32_769, model=FLASH)
    assert status == 400
    words = "The input token count (32769) exceeds the maximum number of tokens allowed (32768)."
    assert reply["error"]["message"] == words


def test_a_call_without_a_key_is_refused(url: str) -> None:
    status, reply = generate(url, "a kite", key=None)
    assert (status, reply["error"]["status"]) == (403, "PERMISSION_DENIED")


def test_an_unknown_path_gets_googles_404(url: str) -> None:
    for path, body in (("/v2/models/m:generateContent", {}), ("/", None), ("/_control", None)):
        status, reply = http(url + path, body)
        assert (status, reply["error"]["status"]) == (404, "NOT_FOUND")
