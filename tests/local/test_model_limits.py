"""The limits of the stand-in model: who passes, what a refusal says, and when it opens."""

import contextlib
import hashlib
import itertools
import json
import math
import re
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.image_model.control import Control
from local.image_model.errors import GoogleError
from local.image_model.limits import KINDS, SECOND, Limit, Limits
from local.image_model.model import Model
from local.image_model.rules import Rule
from tests.local.model_calls import KEY, calls, control, generate, http, running_model

KEY_SHA256 = hashlib.sha256(KEY.encode()).hexdigest()
MILLISECOND = SECOND // 1000
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def url() -> Iterator[str]:
    with running_model() as url:
        yield url


def limit_to(url: str, *limits: dict[str, Any]) -> None:
    assert http(f"{url}/_control", {"limits": list(limits)})[0] == 200


# Each kind against an oracle that remembers every call that passed. Times are milliseconds.


def fixed_window_oracle(
    requests: int, length: int, offset: int, times: Sequence[int]
) -> list[bool]:
    """Windows begin at -offset, and at each length after it."""
    passed: Counter[int] = Counter()
    verdicts = []
    for time_ms in times:
        window = math.floor(Fraction(time_ms + offset, length))
        verdicts.append(passed[window] < requests)
        passed[window] += verdicts[-1]
    return verdicts


def sliding_window_oracle(
    requests: int, length: int, _offset: int, times: Sequence[int]
) -> list[bool]:
    """A call passes if fewer than `requests` calls passed in the `length` that ends now."""
    passed: list[int] = []
    verdicts = []
    for time_ms in times:
        verdicts.append(sum(time_ms - length < each for each in passed) < requests)
        if verdicts[-1]:
            passed.append(time_ms)
    return verdicts


def token_bucket_oracle(
    requests: int, length: int, _offset: int, times: Sequence[int]
) -> list[bool]:
    """The tokens are counted as an exact fraction."""
    tokens, before = Fraction(requests), 0
    verdicts = []
    for time_ms in times:
        tokens = min(Fraction(requests), tokens + Fraction((time_ms - before) * requests, length))
        before = time_ms
        verdicts.append(tokens >= 1)
        tokens -= verdicts[-1]
    return verdicts


ORACLES: dict[str, Callable[[int, int, int, Sequence[int]], list[bool]]] = {
    "fixed_window": fixed_window_oracle,
    "sliding_window": sliding_window_oracle,
    "token_bucket": token_bucket_oracle,
}
# Small numbers meet the edges of windows often.
arrivals = st.lists(st.integers(0, 12), max_size=60).map(lambda gaps: [*itertools.accumulate(gaps)])
lengths = st.integers(1, 30)


def test_every_kind_has_an_oracle() -> None:
    assert set(ORACLES) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@given(requests=st.integers(1, 7), length=lengths, share=st.integers(0, 30), times=arrivals)
def test_a_limit_admits_exactly_what_its_kind_allows(
    kind: str, requests: int, length: int, share: int, times: list[int]
) -> None:
    offset = min(share, length) if kind == "fixed_window" else 0
    since = 5 * SECOND
    limit = Limit(requests, length / 1000, kind, offset_s=offset / 1000)
    limits = Limits([limit], since)
    admitted = [enters(limits, since + each * MILLISECOND) for each in times]
    assert admitted == ORACLES[kind](requests, length, offset, times)


@pytest.mark.parametrize("kind", KINDS)
@given(requests=st.integers(1, 7), length=lengths, times=arrivals)
def test_a_closed_limit_opens_exactly_when_it_says(
    kind: str, requests: int, length: int, times: list[int]
) -> None:
    counter = Limit(requests, length / 1000, kind).counter(0)
    for now in (each * MILLISECOND for each in times):
        opens = counter.opens_at(now)
        assert opens >= now
        if opens == now:
            counter.take(now)
        else:
            assert counter.opens_at(opens - 1) == opens
            assert counter.opens_at(opens) == opens


def enters(limits: Limits, now: int, key: str = KEY_SHA256, model: str = "m") -> bool:
    try:
        limits.enter(key, model, now)
    except GoogleError:
        return False
    return True


def test_a_refused_call_takes_nothing_from_another_limit() -> None:
    wide, narrow = Limit(3, 10, "sliding_window"), Limit(1, 1, "sliding_window")
    limits = Limits([wide, narrow], 0)
    # Two calls are refused by the narrow limit, so the wide one still has two of three.
    times = (0, 100, 200, 1000, 2000, 3000, 9999, 10_000)
    admitted = [enters(limits, each * MILLISECOND) for each in times]
    assert admitted == [True, False, False, True, True, False, False, True]


def test_several_closed_limits_open_with_the_last_one() -> None:
    limits = Limits(
        [
            Limit(1, 10, "sliding_window", retry_info=True, quota_value=True),
            Limit(1, 30, "fixed_window", offset_s=5, quota_value=True),
        ],
        0,
    )
    limits.enter(KEY_SHA256, "m", 0)
    with pytest.raises(GoogleError) as refused:
        limits.enter(KEY_SHA256, "m", 4 * SECOND)
    quota, retry = refused.value.body["error"]["details"]
    assert [each["quotaValue"] for each in quota["violations"]] == ["1", "1"]
    assert retry["retryDelay"] == "21s"


# Many threads


@pytest.mark.parametrize("kind", KINDS)
def test_32_threads_pass_as_many_calls_as_one_after_the_other(kind: str) -> None:
    requests, length_ms, total = 7, 100, 32 * 100
    ticks = itertools.count()
    model = Model(Path(), clock=lambda: next(ticks) * MILLISECOND)
    # Setting the limit is tick 0, and the calls are the ticks after it.
    model.replace(Control(limits=[Limit(requests, length_ms / 1000, kind)]))

    def call(number: int) -> bool:
        try:
            model.admit(f"number {number}", "m", KEY)
        except GoogleError:
            return False
        return True

    with ThreadPoolExecutor(32) as pool:
        admitted = sum(pool.map(call, range(total)))
    assert admitted == sum(ORACLES[kind](requests, length_ms, 0, range(1, total + 1)))
    behaves = Counter(call["behave"] for call in json.loads(model.calls_json()))
    assert behaves == {"ok": admitted, "limited": total - admitted}


def test_concurrent_calls_over_http_pass_exactly_as_often_as_allowed(url: str) -> None:
    limit_to(url, {"requests": 37, "seconds": 3600, "kind": "sliding_window"})
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda n: generate(url, f"number {n}")[0], range(80)))
    assert Counter(answers) == {200: 37, 429: 43}
    assert Counter(call["behave"] for call in calls(url)) == {"ok": 37, "limited": 43}


# Whose calls count


def test_each_key_and_each_model_has_a_count_of_its_own(url: str) -> None:
    limit_to(url, {"requests": 1, "seconds": 60, "kind": "token_bucket"})
    asks = [("key-one", "m"), ("key-one", "n"), ("key-two", "m")] * 2
    statuses = [generate(url, "a kite", key, model=model)[0] for key, model in asks]
    assert statuses == [200, 200, 200, 429, 429, 429]


@pytest.mark.parametrize("scope", [{"key_sha256": KEY_SHA256}, {"model": "m"}])
def test_a_limit_of_one_key_or_one_model_leaves_the_others_free(
    url: str, scope: dict[str, str]
) -> None:
    limit_to(url, {"requests": 1, "seconds": 60, "kind": "fixed_window", **scope})
    assert [generate(url, "a kite", model="m")[0] for _ in range(2)] == [200, 429]
    other = {"key": "another-key"} if "key_sha256" in scope else {"model": "n"}
    asked: dict[str, Any] = {"key": KEY, "model": "m", **other}
    assert [generate(url, "a kite", **asked)[0] for _ in range(2)] == [200, 200]


# What a refusal says


def refusal(url: str, limit: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The details by type, and the headers, of the second call at one per 20 s."""
    limit_to(url, {"requests": 1, "seconds": 20, "kind": "sliding_window", **limit})
    assert generate(url, "a kite")[0] == 200
    body = b'{"contents": [{"parts": [{"text": "a kite"}]}]}'
    request = urllib.request.Request(
        f"{url}/v1beta/models/some-model:generateContent", body, {"x-goog-api-key": KEY}
    )  # fmt: skip
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    with refused.value as answer:
        assert answer.code == 429
        error = json.load(answer)["error"]
        headers = dict(answer.headers)
    assert (error["code"], error["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert error["message"]
    details = {each["@type"].rpartition(".")[2]: each for each in error.get("details", [])}
    return {**details, "message": error["message"]}, headers


def test_a_refusal_without_hints_says_nothing_about_the_limit(url: str) -> None:
    details, headers = refusal(url, {})
    assert details.keys() == {"message"}
    assert not re.search(r"\d", details["message"])
    assert "Retry-After" not in headers


def test_retry_info_is_the_time_until_a_call_passes(url: str) -> None:
    details, headers = refusal(url, {"retry_info": True})
    assert details.keys() == {"RetryInfo", "message"}
    assert re.fullmatch(r"19\.\d{1,9}s", details["RetryInfo"]["retryDelay"])
    assert "Retry-After" not in headers


def test_a_quota_value_names_the_limit_as_google_does(url: str) -> None:
    details, headers = refusal(url, {"quota_value": True})
    assert details.keys() == {"QuotaFailure", "message"}
    assert details["QuotaFailure"]["violations"] == [
        {
            "quotaMetric": "generativelanguage.googleapis.com/generate_requests_per_model",
            "quotaId": "GenerateRequestsPerMinutePerProjectPerModel",
            "quotaDimensions": {"location": "global", "model": "some-model"},
            "quotaValue": "1",
        }
    ]
    assert "Retry-After" not in headers


def test_retry_after_is_a_header_of_whole_seconds_rounded_up(url: str) -> None:
    details, headers = refusal(url, {"retry_after": True})
    assert details.keys() == {"message"}
    assert headers["Retry-After"] == "20"


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_after_the_told_time_passes(url: str, kind: str) -> None:
    limit_to(url, {"requests": 2, "seconds": 1, "kind": kind, "retry_info": True})
    while (answer := generate(url, "a kite"))[0] == 200:
        pass
    (retry,) = answer[1]["error"]["details"]
    time.sleep(float(retry["retryDelay"].removesuffix("s")))
    assert generate(url, "a kite")[0] == 200


def test_an_offset_sets_the_limit_in_mid_window(url: str) -> None:
    limit = {"requests": 1, "seconds": 20, "kind": "fixed_window", "offset_s": 15}
    details, _ = refusal(url, {**limit, "retry_info": True})
    assert 4 < float(details["RetryInfo"]["retryDelay"].removesuffix("s")) < 5


# Rules and limits


def test_a_rule_that_fails_a_call_wins_and_takes_nothing_from_the_limit(url: str) -> None:
    limit_to(url, {"requests": 1, "seconds": 60, "kind": "token_bucket"})
    control(url, {"match": "fox", "behave": "unavailable"}, {"match": "hen", "behave": "no_image"})
    prompts = ["a fox", "a fox", "a hen", "a hen", "a kite", "a fox"]
    assert [generate(url, prompt)[0] for prompt in prompts] == [503, 503, 200, 429, 429, 503]
    logged = ["unavailable", "unavailable", "no_image", "limited", "limited", "unavailable"]
    assert [call["behave"] for call in calls(url)] == logged


def test_a_refused_call_uses_no_time_of_a_rule() -> None:
    ticks = itertools.count()
    model = Model(Path(), clock=lambda: next(ticks) * SECOND)
    rule = Rule(re.compile("kite"), "slow", times=2)
    model.replace(Control([rule], [Limit(1, 3, "sliding_window")]))
    left = []
    for _ in range(4):
        with contextlib.suppress(GoogleError):
            model.admit("a kite", "m", KEY)
        left.append(rule.times)
    assert left == [1, 1, 1, 0]
    behaves = [call["behave"] for call in json.loads(model.calls_json())]
    assert behaves == ["slow", "limited", "limited", "slow"]


def test_a_refusal_comes_at_once(url: str) -> None:
    limit_to(url, {"requests": 1, "seconds": 60, "kind": "token_bucket"})
    assert generate(url, "a kite")[0] == 200
    control(url, {"match": ".", "behave": "slow", "delay_ms": 30_000})
    started = time.monotonic()
    assert generate(url, "a kite")[0] == 429
    assert time.monotonic() - started < 10


def test_limits_that_are_set_again_start_anew(url: str) -> None:
    limit = {"requests": 1, "seconds": 60, "kind": "token_bucket"}
    for _ in range(2):
        limit_to(url, limit)
        assert [generate(url, "a kite")[0] for _ in range(2)] == [200, 429]
    limit_to(url)
    assert generate(url, "a kite")[0] == 200
