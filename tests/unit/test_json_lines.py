"""Prompts from JSON Lines, as scripts write them. The rows of a file make the same prompts as rows
in the body. No file is an error of ours."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from masstock.errors import ValidationFailed
from masstock.schemas.prompts import PromptWithId
from masstock_api.prompt_lists import json_lines, templates
from masstock_api.prompt_lists.csv_files import read_csv
from masstock_api.prompt_lists.places import Places, validated
from masstock_api.prompt_lists.text_files import read_text

BOM = b"\xef\xbb\xbf"
TEXT = (
    st.sampled_from(["NA", "null", "16:9", "00123", "#first", '"', "{x}", "a\nb", "a\u2028b"])
    | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=30)
).filter(lambda text: text == text.strip() and any(map(str.isprintable, text.split())))
PROMPTS = TEXT | st.fixed_dictionaries(
    {"prompt": TEXT},
    optional={
        "custom_id": TEXT,
        "aspect_ratio": st.just("16:9"),
        "image_size": st.sampled_from(["512", "1K", "2K", "4K"]),
        "images": st.integers(1, 8),
        "seed": st.integers(0, 2**31 - 8),
        "metadata": st.dictionaries(TEXT, TEXT | st.integers() | st.none(), max_size=3),
    },
)
ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n", " \r\n\t\r\n"])


def written(values: Sequence[Any], end: str, *, bom: bool, escaped: bool) -> bytes:
    lines = [json.dumps(value, ensure_ascii=escaped) + end for value in values]
    return BOM * bom + "".join(lines).encode()


@given(st.lists(PROMPTS, min_size=1, max_size=6), ENDS, st.booleans(), st.booleans())
def test_what_a_script_writes_comes_back(
    values: list[Any], end: str, bom: bool, escaped: bool
) -> None:
    found = json_lines.read_prompts(written(values, end, bom=bom, escaped=escaped))
    assert found.prompts == [
        value if isinstance(value, str) else PromptWithId(**value) for value in values
    ]
    height = end.count("\n") or 1
    assert found.places.lines == list(accumulate([1] + [height] * (len(values) - 1)))


VARIABLES = ("what", "Wo", "größe")
ROWS = st.lists(
    st.fixed_dictionaries(dict.fromkeys(VARIABLES, TEXT), optional={"custom_id": TEXT}),
    min_size=1,
    max_size=5,
)


@given(ROWS, st.sampled_from(",;\t|"), ENDS, st.booleans())
def test_rows_of_a_file_make_the_prompts_of_rows_in_the_body(
    rows: list[dict[str, str]], delimiter: str, end: str, bom: bool
) -> None:
    template = templates.parse("A {what} {{x}} {Wo}, {größe}.")

    def made(members: Sequence[Mapping[str, Any]], places: Places) -> Sequence[Any]:
        templates.check_rows(template, members, places, combined=False)
        return templates.expand(template, members, places, combined=False).prompts

    expected = made(rows, Places("/rows"))
    lines = json_lines.read_rows(
        written(rows, end, bom=bom, escaped=False), template, combined=False
    )
    assert made(lines.members, lines.places) == expected
    table = io.StringIO(newline="")
    names = [*VARIABLES, "custom_id"]
    csv.DictWriter(table, names, delimiter=delimiter).writeheader()
    csv.DictWriter(table, names, delimiter=delimiter).writerows(rows)
    cells = read_csv(BOM * bom + table.getvalue().encode(), template.variables)
    assert made(cells.members, cells.places) == expected


READERS: dict[str, Callable[[bytes], object]] = {
    "jsonl": json_lines.read_prompts,
    "csv": lambda content: validated(*_of(read_csv(content, None))),
    "csv of rows": lambda content: read_csv(content, ("a",)),
    "txt": lambda content: validated(*_of(read_text(content))),
}
# Pieces of files that are almost right.
PIECES = st.sampled_from(
    [
        *b'prompt custom_id a , ; : " "" { } [ ] NaN 1e999'.split(),
        *(b" ", b"\t", b"\r", b"\n", b"\r\n", b"\x00", b"\xff", BOM, b'{"prompt":"a"}', b"sep=;"),
    ]
)


def _of(rows: Any) -> tuple[Any, Places]:
    return rows.members, rows.places


@pytest.mark.parametrize("reader", READERS)
@given(content=st.binary(max_size=40) | st.lists(PIECES, max_size=25).map(b"".join))
@example(b"prompt,metadata\na,1e999\n")
@example(b'{"prompt": "\\ud800"}\n')
def test_any_file_is_prompts_or_mistakes(reader: str, content: bytes) -> None:
    with suppress(ValidationFailed):
        READERS[reader](content)
