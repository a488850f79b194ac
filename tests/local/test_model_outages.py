"""The outages of the stand-in model, and what a control replaces."""

import http.client as http_client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.image_model.control import Control
from local.image_model.errors import FAILURES, GoogleError
from local.image_model.limits import SECOND, Limit
from local.image_model.model import Model
from local.image_model.outages import Outage
from tests.local.model_calls import KEY, calls, generate, http, running_model

pytestmark = pytest.mark.timeout(60)
LIMIT = {"requests": 1, "seconds": 60, "kind": "token_bucket"}


@pytest.fixture
def url() -> Iterator[str]:
    with running_model() as url:
        yield url


def set_controls(url: str, **members: Any) -> tuple[int, Any]:
    return http(f"{url}/_control", members)


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (500, "INTERNAL"),
        (502, "UNAVAILABLE"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ],
)
def test_in_an_outage_every_call_gets_its_status(url: str, status: int, name: str) -> None:
    assert status in FAILURES
    set_controls(url, outages=[{"in_s": 0, "for_s": 60, "status": status}])
    for prompt in ("a kite", "a fox"):
        found, reply = generate(url, prompt)
        assert (found, reply["error"]["code"], reply["error"]["status"]) == (status, status, name)
    assert [call["behave"] for call in calls(url)] == ["outage", "outage"]
    set_controls(url, outages=[])
    assert generate(url, "a kite")[0] == 200


def test_every_status_of_an_outage_is_tested() -> None:
    assert set(FAILURES) == {500, 502, 503, 504}


def test_a_refused_connection_closes_without_an_answer(url: str) -> None:
    set_controls(url, outages=[{"for_s": 60, "status": "refused"}])
    with pytest.raises(http_client.RemoteDisconnected):
        generate(url, "a kite")
    assert [call["behave"] for call in calls(url)] == ["outage"]


def test_an_outage_begins_and_ends_when_it_says() -> None:
    now = 7 * SECOND
    model = Model(Path(), clock=lambda: now)
    model.replace(Control(outages=[Outage(10, 5, 503), Outage(12, 4, 500), Outage(20, 1, 504)]))
    expected = [(0, 200), (9, 200), (10, 503), (12, 503), (14, 503), (15, 500), (16, 200)]
    expected += [(19, 200), (20, 504), (21, 200)]
    for second, code in expected:
        now = (7 + second) * SECOND
        if code == 200:
            assert model.admit("a kite", "m", KEY).behave == "ok"
        else:
            with pytest.raises(GoogleError) as failed:
                model.admit("a kite", "m", KEY)
            assert (second, failed.value.code) == (second, code)


def test_an_outage_comes_before_rules_and_limits_and_uses_neither() -> None:
    now = 0
    model = Model(Path(), clock=lambda: now)
    model.replace(Control(limits=[Limit(1, 60, "token_bucket")], outages=[Outage(0, 1, 503)]))
    for _ in range(3):
        with pytest.raises(GoogleError) as failed:
            model.admit("a kite", "m", KEY)
        assert failed.value.code == 503
    now = SECOND
    assert model.admit("a kite", "m", KEY).behave == "ok"
    with pytest.raises(GoogleError) as refused:
        model.admit("a kite", "m", KEY)
    assert refused.value.code == 429


# What a control replaces


def test_a_control_replaces_what_it_names_and_answers_what_is_in_force(url: str) -> None:
    rule = {"match": "fox", "behave": "not_found"}
    outage = {"in_s": 3600, "for_s": 1}
    assert set_controls(url, rules=[rule]) == (200, {"rules": 1, "limits": 0, "outages": 0})
    assert set_controls(url, limits=[LIMIT]) == (200, {"rules": 1, "limits": 1, "outages": 0})
    assert [generate(url, "a kite")[0], generate(url, "a fox")[0]] == [200, 404]
    assert set_controls(url, outages=[outage]) == (200, {"rules": 1, "limits": 1, "outages": 1})
    # The limit is still the same one, with its count.
    assert [generate(url, "a kite")[0], generate(url, "a fox")[0]] == [429, 404]
    assert set_controls(url, rules=[]) == (200, {"rules": 0, "limits": 1, "outages": 1})
    assert [generate(url, "a kite")[0], generate(url, "a fox")[0]] == [429, 429]
    everything = set_controls(url, rules=[rule, rule], limits=[], outages=[])
    assert everything == (200, {"rules": 2, "limits": 0, "outages": 0})
    assert generate(url, "a kite")[0] == 200


# Part of a body → the place that the reason names.
BAD_LIMITS: dict[str, tuple[Any, str]] = {
    "not an object": (7, "limits[1] must be an object"),
    "unknown member": ({**LIMIT, "request": 1}, "limits[1] has unknown members: request"),
    "no requests": ({"seconds": 1, "kind": "token_bucket"}, "limits[1] must have requests"),
    "no seconds": ({"requests": 1, "kind": "token_bucket"}, "limits[1] must have requests"),
    "no kind": ({"requests": 1, "seconds": 1}, "limits[1].kind"),
    "unknown kind": ({**LIMIT, "kind": "leaky_bucket"}, "limits[1].kind"),
    "kind a list": ({**LIMIT, "kind": ["fixed_window"]}, "limits[1].kind"),
    "no request at all": ({**LIMIT, "requests": 0}, "limits[1].requests"),
    "requests a fraction": ({**LIMIT, "requests": 1.5}, "limits[1].requests"),
    "requests a bool": ({**LIMIT, "requests": True}, "limits[1].requests"),
    "too many requests": ({**LIMIT, "requests": 100_001}, "limits[1].requests"),
    "no time": ({**LIMIT, "seconds": 0}, "limits[1].seconds"),
    "seconds a string": ({**LIMIT, "seconds": "60"}, "limits[1].seconds"),
    "more than an hour": ({**LIMIT, "seconds": 3601}, "limits[1].seconds"),
    "offset of a bucket": ({**LIMIT, "offset_s": 1}, "limits[1].offset_s"),
    "offset too large": ({**LIMIT, "kind": "fixed_window", "offset_s": 61}, "limits[1].offset_s"),
    "key not a hash": ({**LIMIT, "key_sha256": KEY}, "limits[1].key_sha256"),
    "key in upper case": ({**LIMIT, "key_sha256": "A" * 64}, "limits[1].key_sha256"),
    "model a number": ({**LIMIT, "model": 3}, "limits[1].model"),
    "hint a number": ({**LIMIT, "retry_info": 1}, "limits[1].retry_info"),
    "hint a string": ({**LIMIT, "quota_value": "yes"}, "limits[1].quota_value"),
    "header a number": ({**LIMIT, "retry_after": 5}, "limits[1].retry_after"),
}
BAD_OUTAGES: dict[str, tuple[Any, str]] = {
    "not an object": ([], "outages[1] must be an object"),
    "unknown member": ({"for_s": 1, "seconds": 1}, "outages[1] has unknown members: seconds"),
    "no length": ({"in_s": 1}, "outages[1] must have for_s"),
    "negative": ({"in_s": -1, "for_s": 1}, "outages[1].in_s"),
    "length a string": ({"for_s": "1"}, "outages[1].for_s"),
    "a status that is no failure": ({"for_s": 1, "status": 429}, "outages[1].status"),
    "status a list": ({"for_s": 1, "status": [503]}, "outages[1].status"),
    "status a bool": ({"for_s": 1, "status": True}, "outages[1].status"),
}


def check_that_nothing_changes(url: str, controls: dict[str, Any], place: str) -> None:
    set_controls(url, rules=[{"match": ".", "behave": "not_found"}])
    status, reply = set_controls(url, rules=[], **controls)
    assert status == 400
    assert place in reply["error"]
    assert generate(url, "a kite")[0] == 404
    assert set_controls(url, rules=[])[1] == {"rules": 0, "limits": 0, "outages": 0}


@pytest.mark.parametrize("case", BAD_LIMITS)
def test_a_bad_limit_is_refused_with_its_place_and_changes_nothing(url: str, case: str) -> None:
    bad, place = BAD_LIMITS[case]
    check_that_nothing_changes(url, {"limits": [LIMIT, bad], "outages": [{"for_s": 60}]}, place)


@pytest.mark.parametrize("case", BAD_OUTAGES)
def test_a_bad_outage_is_refused_with_its_place_and_changes_nothing(url: str, case: str) -> None:
    bad, place = BAD_OUTAGES[case]
    check_that_nothing_changes(url, {"limits": [LIMIT], "outages": [{"for_s": 60}, bad]}, place)


@pytest.mark.parametrize("name", ["limits", "outages"])
@pytest.mark.parametrize("value", [None, {}, "all"])
def test_a_member_that_is_no_list_is_refused(url: str, name: str, value: Any) -> None:
    check_that_nothing_changes(url, {name: value}, f"{name} must be a list")


def test_null_members_count_as_absent(url: str) -> None:
    names = ("key_sha256", "model", "offset_s", "retry_info", "quota_value", "retry_after")
    outage = {"in_s": None, "for_s": 60, "status": None}
    nulls = {**LIMIT, **dict.fromkeys(names)}
    assert set_controls(url, limits=[nulls], outages=[outage])[0] == 200
    assert generate(url, "a kite")[0] == 503
    set_controls(url, outages=[])
    assert [generate(url, "a kite")[0] for _ in range(2)] == [200, 429]
