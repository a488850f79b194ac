"""The stand-in model, called by the real SDK and over plain HTTP."""

import base64
import hashlib
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from local.image_model.painter import paint
from local.image_model.replies import BEHAVIOURS
from local.image_model.server import ModelServer
from tests.local.pictures import a_picture, decode

KEY = "a-demo-key-of-some-length"
SDK_TIMEOUT_MS = 1500
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def url() -> Iterator[str]:
    with ModelServer(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(5)


def http(url: str, body: Any = None, key: str | None = KEY) -> tuple[int, Any]:
    payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, payload, {"x-goog-api-key": key} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def control(url: str, *rules: Any) -> tuple[int, Any]:
    return http(f"{url}/_control", {"rules": list(rules)})


def calls(url: str) -> list[dict[str, Any]]:
    return http(f"{url}/_calls")[1]


def generate(url: str, prompt: str, key: str | None = KEY) -> tuple[int, Any]:
    body = {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
    return http(f"{url}/v1beta/models/some-model:generateContent", body, key)


def ask_sdk(url: str, *contents: Any, version: str = "v1beta", **config: Any) -> Any:
    client = genai.Client(
        api_key=KEY,
        http_options=types.HttpOptions(
            base_url=url,
            api_version=version,
            timeout=SDK_TIMEOUT_MS,
            retry_options=types.HttpRetryOptions(attempts=1),
        ),
    )
    return client.models.generate_content(
        model="gemini-2.5-flash-image",
        contents=list(contents),
        config=types.GenerateContentConfig(response_modalities=["IMAGE"], **config),
    )


def image_of(reply: Any) -> bytes:
    return reply.candidates[0].content.parts[0].inline_data.data


# Every behaviour, called by the SDK


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_the_sdk_receives_a_png_with_usage(url: str, version: str) -> None:
    reply = ask_sdk(url, "a lighthouse in the fog", version=version)
    assert image_of(reply) == paint("a lighthouse in the fog")
    assert reply.candidates[0].content.parts[0].inline_data.mime_type == "image/png"
    assert reply.candidates[0].finish_reason == types.FinishReason.STOP
    usage = reply.usage_metadata
    assert usage.candidates_token_count == 1290
    assert usage.total_token_count == usage.prompt_token_count + 1290
    assert reply.model_version == "gemini-2.5-flash-image"
    assert reply.response_id


def test_references_and_aspect_ratio_reach_the_painter(url: str) -> None:
    red = types.Part.from_bytes(data=a_picture("red"), mime_type="image/png")
    reply = ask_sdk(
        url, red, "a mug", image_config=types.ImageConfig(aspect_ratio="16:9")
    )  # fmt: skip
    assert image_of(reply) == paint("a mug", [a_picture("red")], "16:9")
    assert reply.usage_metadata.prompt_token_count > 258


SDK_ERRORS = {
    "throttle": (429, "RESOURCE_EXHAUSTED", "QuotaFailure"),
    "quota": (429, "RESOURCE_EXHAUSTED", "QuotaFailure"),
    "unavailable": (503, "UNAVAILABLE", None),
    "invalid_key": (400, "INVALID_ARGUMENT", "ErrorInfo"),
    "bad_request": (400, "INVALID_ARGUMENT", "BadRequest"),
    "not_found": (404, "NOT_FOUND", None),
}


@pytest.mark.parametrize("behave", SDK_ERRORS)
def test_the_sdk_raises_googles_error(url: str, behave: str) -> None:
    code, status, detail = SDK_ERRORS[behave]
    control(url, {"match": ".", "behave": behave})
    with pytest.raises(errors.APIError) as raised:
        ask_sdk(url, "a kite")
    assert (raised.value.code, raised.value.status) == (code, status)
    found = [each["@type"].rpartition(".")[2] for each in details_of(raised.value)]
    assert detail in found or (detail is None and not found)


def details_of(error: errors.APIError) -> list[dict[str, Any]]:
    body = error.details
    assert isinstance(body, dict)
    return body["error"].get("details", [])


@pytest.mark.parametrize(
    ("behave", "period"), [("throttle", "PerMinute"), ("quota", "PerDay")]
)  # fmt: skip
def test_throttle_names_a_minute_and_quota_names_a_day(url: str, behave: str, period: str) -> None:
    control(url, {"match": ".", "behave": behave, "retry_delay_s": 7})
    with pytest.raises(errors.ClientError) as raised:
        ask_sdk(url, "a kite")
    details = {each["@type"].rpartition(".")[2]: each for each in details_of(raised.value)}
    (violation,) = details["QuotaFailure"]["violations"]
    assert period in violation["quotaId"]
    assert details["RetryInfo"]["retryDelay"] == "7s"


def test_an_invalid_key_has_googles_reason(url: str) -> None:
    control(url, {"match": ".", "behave": "invalid_key"})
    with pytest.raises(errors.ClientError) as raised:
        ask_sdk(url, "a kite")
    assert details_of(raised.value)[0]["reason"] == "API_KEY_INVALID"


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


def test_no_image_answers_with_text_only(url: str) -> None:
    control(url, {"match": ".", "behave": "no_image"})
    (part,) = ask_sdk(url, "a kite").candidates[0].content.parts
    assert part.text
    assert part.inline_data is None


def test_garbage_is_labelled_png_but_is_not_an_image(url: str) -> None:
    control(url, {"match": ".", "behave": "garbage"})
    reply = ask_sdk(url, "a kite")
    assert reply.candidates[0].content.parts[0].inline_data.mime_type == "image/png"
    with pytest.raises(OSError, match="cannot identify"):
        decode(image_of(reply))


def test_oversize_is_a_real_image_over_the_limit(url: str) -> None:
    control(url, {"match": ".", "behave": "oversize"})
    status, reply = generate(url, "a kite")
    png = base64.b64decode(reply["candidates"][0]["content"]["parts"][0]["inlineData"]["data"])
    assert status == 200
    assert len(png) > 10 * 1024 * 1024
    assert decode(png).format == "PNG"


def test_oversize_follows_the_limit() -> None:
    with ModelServer(("127.0.0.1", 0), max_image_megabytes=2) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        control(url, {"match": ".", "behave": "oversize"})
        _, reply = generate(url, "a kite")
        server.shutdown()
        thread.join(5)
    png = base64.b64decode(reply["candidates"][0]["content"]["parts"][0]["inlineData"]["data"])
    assert 2 * 2**20 < len(png) < 3 * 2**20
    assert decode(png).format == "PNG"


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


def until(met: Any, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "the deadline passed"
        time.sleep(0.02)


# Rules


def test_a_rule_may_name_every_behaviour(url: str) -> None:
    assert set(BEHAVIOURS) == {
        *("ok", "throttle", "quota", "unavailable", "prompt_blocked", "content_blocked"),
        *("no_image", "invalid_key", "bad_request", "not_found", "stall", "garbage"),
        *("oversize", "drop"),
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
    body = {"contents": [{"parts": [{"text": "a mug"}, {"inlineData": {"data": blob}}]}]}
    _, reply = http(f"{url}/v1/models/m:generateContent", body)
    painted = reply["candidates"][0]["content"]["parts"][0]["inlineData"]["data"]
    assert base64.b64decode(painted) == paint("a mug", [reference])


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
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_malformed_call_gets_googles_400(url: str, case: str) -> None:
    status, reply = http(f"{url}/v1/models/m:generateContent", BAD_BODIES[case])
    assert status == 400
    assert reply["error"]["code"] == 400
    assert reply["error"]["status"] == "INVALID_ARGUMENT"
    assert reply["error"]["message"]
    assert len(calls(url)) == 1


def test_a_call_without_a_key_is_refused(url: str) -> None:
    status, reply = generate(url, "a kite", key=None)
    assert (status, reply["error"]["status"]) == (403, "PERMISSION_DENIED")


def test_an_unknown_path_gets_googles_404(url: str) -> None:
    for path, body in (("/v2/models/m:generateContent", {}), ("/", None), ("/_control", None)):
        status, reply = http(url + path, body)
        assert (status, reply["error"]["status"]) == (404, "NOT_FOUND")
