"""masstock_api.request: every filter and every body becomes a value, or a problem that tells the
caller the mistake."""

import json
import unicodedata
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from hypothesis import example, given
from hypothesis import strategies as st

from masstock.errors import MalformedJson, ValidationFailed
from masstock.schemas.requests import ExecutionCreate, SupportTicketCreate
from masstock_api import parameters
from masstock_api.request import MAX_MISTAKES, Request
from masstock_api.routes import usage

WORKFLOW = str(uuid4())
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=12,
)


def event(body: str) -> APIGatewayProxyEventV2:
    return APIGatewayProxyEventV2(
        {
            "headers": {"content-type": "application/json"},
            "body": body,
            "isBase64Encoded": False,
        }
    )


@given(st.uuids())
def test_a_uuid_must_have_its_usual_form(value: UUID) -> None:
    assert parameters.a_uuid.convert(str(value)) == value
    assert parameters.a_uuid.convert(str(value).upper()) == value
    for other in (value.hex, f"{{{value}}}", f"urn:uuid:{value}", f" {value}"):
        with pytest.raises(ValueError, match="UUID"):
            parameters.a_uuid.convert(other)


@given(st.datetimes(timezones=st.timezones()))
def test_a_time_without_an_offset_is_utc(value: datetime) -> None:
    value = value.astimezone(UTC)
    assert parameters.a_time.convert(value.isoformat()) == value
    assert parameters.a_time.convert(value.isoformat().replace("+", " ")) == value
    assert parameters.a_time.convert(value.replace(tzinfo=None).isoformat()) == value


@given(st.datetimes(), st.integers(-23, 23))
@example(datetime.min.replace(tzinfo=UTC), 14)
@example(datetime.max.replace(tzinfo=UTC), -14)
@example(datetime.max.replace(tzinfo=UTC), 0)
def test_every_time_is_one_of_utc_or_refused(value: datetime, hours: int) -> None:
    """The year 1 with an offset is before the first year of UTC, and no day follows the last."""
    text = value.replace(tzinfo=timezone(timedelta(hours=hours))).isoformat()
    try:
        time = parameters.a_time.convert(text)
    except ValueError:
        assert value.year in (1, 9999)
        return
    assert time.tzinfo is UTC
    day = usage._day_from(time)
    assert day is not None
    assert day in (time.date(), date.max) or datetime(*day.timetuple()[:3], tzinfo=UTC) > time


@given(st.integers(-(10**12), 10**12), st.integers(0, 500), st.integers(0, 500))
def test_a_number_must_be_within_its_range(value: int, lowest: int, more: int) -> None:
    convert = parameters.between(lowest, lowest + more).convert
    if lowest <= value <= lowest + more:
        assert convert(str(value)) == value
    else:
        with pytest.raises(ValueError, match="whole number"):
            convert(str(value))


@given(st.text(max_size=30))
def test_a_number_consists_of_ascii_digits(text: str) -> None:
    try:
        value = parameters.between(0, 10**8).convert(text)
    except ValueError:
        return
    assert text.lstrip("0") == (str(value) if value else "")


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=5))
def test_every_unknown_or_wrong_parameter_is_named(query: dict[str, str]) -> None:
    known = {"limit": parameters.between(1, 9), "status": parameters.one_of("open", "closed")}
    wrong = {
        name
        for name, value in query.items()
        if name not in known
        or (name == "limit" and value not in set("123456789"))
        or (name == "status" and value not in ("open", "closed"))
    }
    if wrong:
        with pytest.raises(ValidationFailed) as refused:
            parameters.read_query(query, known)
        assert {mistake.pointer for mistake in refused.value.errors} == wrong
    else:
        assert set(parameters.read_query(query, known)) == set(known)


def read(text: str, shape: Any = ExecutionCreate) -> Any:
    """The parsed body, or the error that refuses it."""
    try:
        return Request(event(text)).body(shape)
    except (MalformedJson, ValidationFailed) as refusal:
        return refusal


@given(json_values)
def test_any_json_is_a_submission_or_is_refused_with_pointers(content: Any) -> None:
    outcome = read(json.dumps(content))
    assert isinstance(outcome, ExecutionCreate | ValidationFailed)
    if isinstance(outcome, ValidationFailed):
        assert outcome.errors
        assert all(pointer == "" or pointer[0] == "/" for pointer, _ in outcome.errors)


@given(st.text(max_size=60))
def test_any_text_is_json_or_is_refused_as_malformed(text: str) -> None:
    try:
        json.loads(text, parse_constant=lambda name: json.loads(""))
    except ValueError:
        is_json = False
    else:
        is_json = True
    assert isinstance(read(text, SupportTicketCreate), MalformedJson) is not is_json


@pytest.mark.parametrize("text", ["NaN", '{"a": Infinity}', "[" * 100_000, "", "{"])
def test_malformed_json_is_refused_as_malformed(text: str) -> None:
    with pytest.raises(MalformedJson):
        Request(event(text)).body(SupportTicketCreate)


def submission(**more: Any) -> dict[str, Any]:
    return {"workflow_id": WORKFLOW, "prompts": ["x"], **more}


@given(st.text())
@example("\xad")
def test_a_prompt_is_trimmed_and_has_a_visible_character(prompt: str) -> None:
    outcome = read(json.dumps(submission(prompts=[prompt])))
    if isinstance(outcome, ExecutionCreate):
        [kept] = outcome.prompts or []
        assert kept in prompt
        assert kept == kept.strip(" \t\r\n")
        assert any(map(_visible, prompt))
    else:
        assert "\x00" in prompt or not any(map(_visible, prompt))
        assert [mistake.pointer for mistake in outcome.errors] == ["/prompts/0"]


# Default_Ignorable_Code_Point of Unicode, in its first plane, and the empty pattern of Braille.
WITHOUT_INK = frozenset(
    map(
        chr,
        [
            *(0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810)),
            *(*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)),
            *(0x2800, 0x3164, *range(0xFE00, 0xFE10), 0xFEFF, 0xFFA0),
        ],
    )
)


def _visible(character: str) -> bool:
    return (
        not character.isspace()
        and unicodedata.category(character) != "Cc"
        and character not in WITHOUT_INK
    )


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"prompts": ["x" * 10_001]}, "/prompts/0"),
        ({"prompts": ["fine", {"prompt": "x" * 10_001}]}, "/prompts/1/prompt"),
        ({"prompts": ["fine", {"prompt": "x", "custom": 1}]}, "/prompts/1/custom"),
        ({"prompts": []}, "/prompts"),
        ({"prompts": ["x"] * 10_001}, "/prompts"),
        ({"api_key": "x" * 7}, "/api_key"),
        ({"api_key": "x" * 513}, "/api_key"),
        ({"api_key": "clé-clé-clé"}, "/api_key"),
        ({"api_key": "line\nbreak"}, "/api_key"),
        ({"aspect_ratio": "wide"}, "/aspect_ratio"),
        ({"webhook_url": "javascript:alert(1)"}, "/webhook_url"),
        ({"unknown/field~": 1}, "/unknown~1field~0"),
    ],
)
def test_a_mistake_has_a_pointer(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        Request(event(json.dumps(submission(**changes)))).body(ExecutionCreate)
    assert [mistake.pointer for mistake in refused.value.errors] == [pointer]


@pytest.mark.parametrize(
    "content",
    [{f"unknown{number}": 1 for number in range(150_000)}, {"~" * 1_000_000: 1}],
    ids=["many mistakes", "one with a long name"],
)
def test_a_refusal_stays_below_one_megabyte(content: dict[str, Any]) -> None:
    refusal = read(json.dumps(content), SupportTicketCreate)
    assert isinstance(refusal, ValidationFailed)
    assert 1 < len(refusal.errors) <= MAX_MISTAKES
    assert len(json.dumps(refusal.errors)) < 1024 * 1024


@pytest.mark.parametrize(
    "changes",
    [
        {"prompts": ["x" * 10_000]},
        {"prompts": ["x"] * 10_000},
        {"api_key": "x" * 8},
        {"api_key": "~" * 512},
        {"api_key": "with spaces in it"},
        {"prompts": [{"prompt": "x", "custom_id": "1"}, {"prompt": "y"}, "z"]},
    ],
    ids=range(6),
)
def test_values_at_the_limits_are_accepted(changes: dict[str, Any]) -> None:
    Request(event(json.dumps(submission(**changes)))).body(ExecutionCreate)
