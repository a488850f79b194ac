"""Cursors: a list accepts only its own cursors, and pages never lose or repeat a row."""

import json
import string
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from masstock.errors import InvalidCursor
from masstock_api import pages

KEY = "the key that only we have"
LIST = "executions"
positions = st.lists(st.one_of(st.text(max_size=40), st.integers(0, 10_000)), max_size=3)


@given(positions)
def test_a_cursor_contains_its_position(position: list[str | int]) -> None:
    cursor = pages.encode_cursor(position, LIST, KEY)
    assert set(cursor) <= set(string.ascii_letters + string.digits + "-_")
    assert pages.decode_cursor(cursor, LIST, KEY) == position


@given(positions, st.text(max_size=30), st.text(max_size=30))
def test_a_cursor_of_another_list_or_key_is_refused(
    position: list[str | int], other_list: str, other_key: str
) -> None:
    cursor = pages.encode_cursor(position, LIST, KEY)
    if other_list != LIST:
        with pytest.raises(InvalidCursor):
            pages.decode_cursor(cursor, other_list, KEY)
    if other_key != KEY:
        with pytest.raises(InvalidCursor):
            pages.decode_cursor(cursor, LIST, other_key)


@given(positions, st.data())
def test_an_altered_cursor_is_refused(position: list[str | int], data: st.DataObject) -> None:
    cursor = pages.encode_cursor(position, LIST, KEY)
    place = data.draw(st.integers(0, len(cursor) - 1))
    instead = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_=+/ é"))
    altered = cursor[:place] + instead + cursor[place + 1 :]
    assume(altered != cursor)
    with pytest.raises(InvalidCursor):
        pages.decode_cursor(altered, LIST, KEY)


@given(positions, st.data())
def test_a_cut_or_lengthened_cursor_is_refused(
    position: list[str | int], data: st.DataObject
) -> None:
    cursor = pages.encode_cursor(position, LIST, KEY)
    length = data.draw(st.integers(0, len(cursor) - 1))
    for other in (cursor[:length], cursor + "=", cursor + "A", "A" + cursor, cursor * 2):
        with pytest.raises(InvalidCursor):
            pages.decode_cursor(other, LIST, KEY)


@given(st.text(max_size=200))
def test_other_text_is_refused_as_a_cursor(text: str) -> None:
    with pytest.raises(InvalidCursor):
        pages.decode_cursor(text, LIST, KEY)


EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
# Few different times, so that many rows share one.
rows = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2**128 - 1)), unique=True, max_size=60)


@given(rows, st.integers(1, 20))
def test_pages_contain_every_row_once_and_in_order(keys: list[tuple[int, int]], limit: int) -> None:
    table = sorted(
        ((EPOCH + timedelta(microseconds=moment), UUID(int=number)) for moment, number in keys),
        reverse=True,
    )
    seen: list[str] = []
    cursor = None
    for _ in range(len(table) + 1):
        before = pages.time_position(cursor, LIST, KEY)
        found = [row for row in table if before is None or row < before][: limit + 1]
        page = json.loads(pages.page_of_rows([_row(*row) for row in found], limit, LIST, KEY))
        assert len(page["items"]) <= limit
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [str(row_id) for _, row_id in table]


def _row(created_at: datetime, row_id: UUID, filling: int = 0) -> str:
    return json.dumps(
        {"id": str(row_id), "created_at": created_at.isoformat(), "filling": "x" * filling}
    )


def test_a_page_ends_early_if_it_would_become_too_large() -> None:
    megabyte = 1024 * 1024
    table = [_row(EPOCH, UUID(int=number), megabyte) for number in range(9, 0, -1)]
    page = json.loads(pages.page_of_rows(table, 8, LIST, KEY))
    assert len(page["items"]) == 3
    _, after = pages.time_position(page["next_cursor"], LIST, KEY) or (None, None)
    assert after == UUID(int=7)


@given(st.text() | st.text('"\\\n'))
def test_a_page_is_counted_as_lambda_sends_it(text: str) -> None:
    """Python's runtime writes the answer as JSON, and in it the page as a string."""
    body = json.dumps(text, ensure_ascii=False)
    assert pages.bytes_in_envelope(body) == len(json.dumps(body, ensure_ascii=False).encode()) - 2


def test_one_row_larger_than_a_page_is_a_page() -> None:
    table = [_row(EPOCH, UUID(int=number), 5 * 1024 * 1024) for number in (2, 1)]
    assert len(json.loads(pages.page_of_rows(table, 1, LIST, KEY))["items"]) == 1
