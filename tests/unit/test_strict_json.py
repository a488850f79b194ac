"""What JSON the api reads, and which pointer a refused value gets."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masstock.errors import MalformedJson, ValidationFailed
from masstock_api import strict_json
from masstock_api.strict_json import MAX_DEPTH

NESTED = {depth: "[" * depth + "1" + "]" * depth for depth in (MAX_DEPTH, MAX_DEPTH + 1)}
# Text of half a surrogate pair does not survive hypothesis' database.
STORABLE = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"))


def pointers(text: str) -> list[str]:
    with pytest.raises(ValidationFailed) as refused:
        strict_json.parse(text.encode())
    return [mistake.pointer for mistake in refused.value.errors]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**300), 10**300) | STORABLE
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(STORABLE, inner),
    ),
    st.booleans(),
)  # fmt: skip
def test_what_postgres_can_hold_is_read_as_it_is(value: Any, ensure_ascii: bool) -> None:
    assert strict_json.parse(json.dumps(value, ensure_ascii=ensure_ascii).encode()) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": "\\ud800"}', ["/a"]),
        ('{"a": ["x", "\\udFFFx"]}', ["/a/1"]),
        ('{"a": {"\\uDBFF": 1}}', ["/a/\ufffd"]),
        ('{"a": "\\u0000"}', ["/a"]),
        ('["\\ud83d\\ude00", "\\\\u0000"]', []),
        ('{"a": 1e309, "b": -1e999, "c": 1e308}', ["/a", "/b"]),
        ('{"a/b": 1' + "0" * 309 + "}", ["/a~1b"]),
        ('{"a": 1' + "0" * 10_000 + "}", ["/a"]),
        ('{"a": 1' + "0" * 308 + "}", []),
        ('{"a": 17' + "0" * 307 + "}", []),
        ('{"a": 18' + "0" * 307 + "}", ["/a"]),
    ],
)
def test_what_postgres_or_a_double_cannot_hold_is_pointed_at(
    text: str, expected: list[str]
) -> None:
    if not expected:
        strict_json.parse(text.encode())
    else:
        assert pointers(text) == expected


def test_the_largest_double_is_read() -> None:
    largest = 1.7976931348623157e308
    assert strict_json.parse(b"1.7976931348623157e308") == largest
    assert strict_json.parse(str(int(largest)).encode()) == largest
    assert math.isfinite(strict_json.parse(b"1e-999"))


def test_the_deepest_body_is_read() -> None:
    assert strict_json.parse(NESTED[MAX_DEPTH].encode()) == json.loads(NESTED[MAX_DEPTH])
    assert pointers(NESTED[MAX_DEPTH + 1]) == ["/0" * MAX_DEPTH]


@pytest.mark.parametrize("depth", [100, 5_000, 50_000, 500_000])
@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
def test_a_value_below_the_deepest_level_is_pointed_at(
    depth: int, opened: str, closed: str
) -> None:
    text = '{"config": {"x": "[[\\"{", "y": ' + opened * depth + "1" + closed * depth + "}}"
    [pointer] = pointers(text)
    assert pointer.startswith("/config/y")
    assert pointer.count("/") == MAX_DEPTH


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "[" * 100_000 + "]" * 99_999, "[" * 100_000 + "]" * 100_001, '{"a": NaN}'],
    ids=["never closed", "not closed", "closed too often", "no number"],
)
def test_a_text_that_is_not_json_is_malformed_however_deep(text: str) -> None:
    with pytest.raises(MalformedJson):
        strict_json.parse(text.encode())


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 1}', '[{"b": {"a": 1, "c": 2, "\\u0061": 2}}]', '{"": 1, "": 2}']
)
def test_a_name_that_an_object_has_twice_is_malformed(text: str) -> None:
    with pytest.raises(MalformedJson, match="twice"):
        strict_json.parse(text.encode())


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-32", "latin-1", "cp037"])
def test_only_utf_8_is_json(charset: str) -> None:
    with pytest.raises(MalformedJson):
        strict_json.parse('{"a": "é"}'.encode(charset))


def test_a_byte_order_mark_of_utf_8_is_skipped() -> None:
    assert strict_json.parse('{"a": "é"}'.encode("utf-8-sig")) == {"a": "é"}
