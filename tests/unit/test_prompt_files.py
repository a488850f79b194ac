"""Prompts from CSV and text files: what spreadsheets, editors and scripts write is read as meant,
and a mistake names its line and field."""

import csv
import io
import re
import time
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from masstock.errors import ValidationFailed
from masstock.limits import PROMPTS_LIMIT
from masstock.schemas.prompts import PromptWithId
from masstock.services.storage import MAX_PROMPTS_BYTES
from masstock_api.prompt_lists.csv_files import read_csv
from masstock_api.prompt_lists.places import PromptList, Rows, validated
from masstock_api.prompt_lists.text_files import read_text

BOM = b"\xef\xbb\xbf"
# Values that other readers of tables turn into something else.
ODD = [
    "NA",
    "null",
    "16:9",
    "1:01",
    "00123",
    "1e5",
    "#first",
    "=1+1",
    "TRUE",
    "-",
    "1,5",
    '"',
    "“a”",
]
# Text that UTF-8 and Postgres can hold. The schema trims prompts.
TEXT = (
    st.sampled_from(ODD)
    | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=40)
).filter(lambda text: text == text.strip() and text)
DIALECTS = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from(",;\t|"),
        "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        "lineterminator": st.sampled_from(["\r\n", "\n"]),
    }
)


def written(rows: Sequence[Sequence[str]], *, bom: bool = False, **dialect: Any) -> bytes:
    """The rows as the csv module writes them."""
    text = io.StringIO(newline="")
    csv.writer(text, **dialect).writerows(rows)
    return BOM * bom + text.getvalue().encode()


def prompts(rows: Rows) -> list[str]:
    return [row["prompt"] for row in rows.members]


def read_table(content: bytes) -> Rows:
    return read_csv(content, None)


def mistakes(content: bytes, variables: Sequence[str] | None = None) -> list[str]:
    def read() -> PromptList:
        rows = read_csv(content, variables)
        return validated(rows.members, rows.places)

    with pytest.raises(ValidationFailed) as refused:
        read()
    assert {mistake.pointer for mistake in refused.value.errors} == {"/prompts_key"}
    return [mistake.detail for mistake in refused.value.errors]


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8), DIALECTS, st.booleans())
def test_a_table_comes_back_as_it_was_written(
    cells: list[tuple[str, str]], dialect: dict[str, Any], bom: bool
) -> None:
    assume(not any("{" in prompt for prompt, _ in cells))
    content = written([("prompt", "custom_id"), *cells], bom=bom, **dialect)
    rows = read_csv(content, None)
    assert [(row["prompt"], row["custom_id"]) for row in rows.members] == cells


@given(st.lists(TEXT, min_size=1, max_size=8), DIALECTS, st.booleans())
def test_one_column_comes_back_as_it_was_written(
    cells: list[str], dialect: dict[str, Any], bom: bool
) -> None:
    content = written([["prompt"], *([cell] for cell in cells)], bom=bom, **dialect)
    assert prompts(read_csv(content, None)) == cells


@given(st.lists(TEXT, min_size=1, max_size=8), DIALECTS)
def test_each_row_knows_the_line_on_which_it_begins(
    cells: list[str], dialect: dict[str, Any]
) -> None:
    content = written([["prompt", "x"], *([cell, ""] for cell in cells)], **dialect)
    assume("{" not in content.decode())
    heights = [1 + len(re.findall(r"\r\n|\r|\n", cell)) for cell in ["prompt", *cells]]
    assert list(read_csv(content, None).lines) == [1 + total for total in accumulate(heights[:-1])]


@given(st.lists(TEXT, min_size=1, max_size=8), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_a_text_is_one_prompt_a_line(cells: list[str], end: str, bom: bool) -> None:
    assume(not any(re.search(r"[\r\n]", cell) for cell in cells))
    content = BOM * bom + (end.join(cells) + end).encode()
    rows = read_text(content)
    assert prompts(rows) == cells
    assert rows.lines == list(range(1, len(cells) + 1))


@given(
    st.lists(st.lists(TEXT, min_size=1, max_size=3), min_size=2, max_size=5),
    st.sampled_from(["\n", "\r\n"]),
)
def test_blank_lines_part_blocks(blocks: list[list[str]], end: str) -> None:
    assume(not any(re.search(r"[\r\n]", line) for block in blocks for line in block))
    assume(any(len(block) > 1 for block in blocks))
    content = f"{end} {end}".join(end.join(block) for block in blocks).encode()
    assert prompts(read_text(content)) == ["\n".join(block) for block in blocks]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo\n", ["one", "two"]),
        ("\n\n one \n\n\ntwo\n\n", ["one", "two"]),
        ("one\n  more\n\ntwo\n", ["one\n  more", "two"]),
        ("one\r\rtwo\rmore", ["one", "two\nmore"]),
        ("prompt\n# one, two", ["prompt", "# one, two"]),
        ("one\n\N{NO-BREAK SPACE}\ntwo", ["one", "two"]),
        (" \n\t\n", []),
    ],
)
def test_a_text_is_lines_or_blocks(text: str, expected: list[str]) -> None:
    assert prompts(read_text(text.encode())) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('Prompt\none, two\n"three, ""four"""\n', ["one, two", 'three, "four"']),
        ('prompt;x\n5" pipe;\n\n;;\n"a\r\nb";y\n', ['5" pipe', "a\r\nb"]),
        ("sep=|\nx|PROMPT|\n1|a,b;c|\n", ["a,b;c"]),
        ("prompt,,\na,,\n , ,\nb,,,,\n", ["a", "b"]),
        ("prompt\rone\rtwo", ["one", "two"]),
        ("prompt;x\r\none;1\ntwo;2\r\n", ["one", "two"]),
        (
            'prompt\n"Sale" sign, "new"\n\n"a, ""b"""\n"x" y',
            ['"Sale" sign, "new"', 'a, "b"', '"x" y'],
        ),
        ('prompt,x\n"Sale" sign,"1"\n"a\nb",2\n"""c""",3\n', ['"Sale" sign', "a\nb", '"c"']),
    ],
)
def test_a_table_is_read_as_a_spreadsheet_shows_it(content: str, expected: list[str]) -> None:
    assert prompts(read_csv(content.encode(), None)) == expected


def test_cells_of_settings_become_what_the_schema_takes() -> None:
    names = "prompt,images,seed,aspect ratio,Image Size,Reference images,metadata"
    cells = 'a,3,0042, 16:9 ,2K,"k1, k2 k3","{""sku"": ""007""}"'
    rows = read_csv(f"{names}\n{cells}\nb,,,,,,\n".encode(), None)
    full, bare = validated(rows.members, rows.places).prompts
    assert isinstance(full, PromptWithId)
    assert full.model_dump(exclude_none=True) == {
        "prompt": "a",
        "images": 3,
        "seed": 42,
        "aspect_ratio": "16:9",
        "image_size": "2K",
        "reference_images": ["k1", "k2", "k3"],
        "metadata": {"sku": "007"},
    }
    assert bare == PromptWithId(prompt="b")


@given(st.lists(st.tuples(*[TEXT | st.just("")] * 8), min_size=1, max_size=4), DIALECTS)
def test_any_cells_are_prompts_or_mistakes_with_their_lines(
    cells: list[tuple[str, ...]], dialect: dict[str, Any]
) -> None:
    content = written([list(PromptWithId.model_fields), *cells], **dialect)
    rows = read_csv(content, None)
    details: list[list[str]] = []
    try:
        validated(rows.members, rows.places)
    except ValidationFailed as refused:
        details = [mistake.detail.split(": ") for mistake in refused.errors]
    assert {line for line, *_ in details} <= {f"Line {line}" for line in rows.lines}
    assert {name.split(".")[0] for _, name, *_ in details} <= PromptWithId.model_fields.keys()


@pytest.mark.parametrize("name", ["custom_id", "Custom ID", "customId", " custom-id "])
def test_the_name_of_a_setting_may_be_written_as_people_do(name: str) -> None:
    [row] = read_csv(f"prompt,{name}\na,007\n".encode(), None).members
    assert row == {"prompt": "a", "custom_id": "007"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text,size\na,b\n", ["Line 1: prompt: There is no such column; there are text, size."]),
        ("prompt,x,x\na,b,c\n", ["Line 1: x: Two columns have this name."]),
        ("prompt,custom_ids\n", ["Line 1: custom_ids: There is no such setting; use custom_id."]),
        ("prompt,x\n\na\n", ["Line 3: There are 1 cells; the header has 2."]),
        ("prompt,x\na,b,c\n", ["Line 2: There are 3 cells; the header has 2."]),
        ("prompt,\na,b\n", ["Line 2: A cell is in a column without a name."]),
        (
            "prompt,images,seed,image_size\na,9,x,2K\nb,1.5,1,2k\n",
            [
                "Line 2: images: Input should be less than or equal to 8",
                "Line 2: seed: Input should be a valid integer",
                "Line 3: image_size: Input should be '512', '1K', '2K' or '4K'",
                "Line 3: images: Input should be a valid integer",
            ],
        ),
        ("prompt,metadata\na,[]\n", ["Line 2: metadata: Input should be a valid dictionary"]),
        ('prompt,x\n"a\n\nb",1\n,2\n', ["Line 5: prompt: Field required"]),
        (
            'x,prompt\n1,"Sale, now" sign\n',
            ['Line 2: prompt: Double each quote within a quoted cell, as in "say ""hello""".'],
        ),
        (
            'x,prompt\n1,"Sale\nnow" sign\n',
            ['Line 2: prompt: Double each quote within a quoted cell, as in "say ""hello""".'],
        ),
        (
            'x,prompt\n"1\n2",a\n\n3,"b\nb,1\nc,2\n',
            ["Line 5: prompt: The quote at the end of the cell is missing."],
        ),
        (
            'x,prompt\n1,"b\n' + "c,2\n" * 50_000,
            ["Line 2: prompt: The quote at the end of the cell is missing."],
        ),
        ("", ["The list is empty."]),
        ("\n \n", ["The list is empty."]),
    ],
)
def test_a_mistake_in_a_table_names_line_and_field(content: str, expected: list[str]) -> None:
    assert mistakes(content.encode()) == expected


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_another_encoding_is_named(encoding: str) -> None:
    content = "prompt;x\nun café;1\nun thé;2\n".encode(encoding)
    line = 2 if encoding == "latin-1" else 1
    [detail] = mistakes(content)
    assert detail.startswith(f"Line {line}: the file is not UTF-8")
    with pytest.raises(ValidationFailed) as refused:
        read_text(content)
    assert refused.value.errors[0].detail == detail


def test_a_prompt_names_other_columns() -> None:
    content = 'prompt;colour\nA { colour } car, {{colour}} {"a": {"b": 1}};red\n'
    [row] = read_csv(content.encode(), None).members
    assert row == {"prompt": 'A red car, {colour} {"a": {"b": 1}}'}
    assert mistakes(b"prompt;colour\n{colour};\n{size};S\n") == [
        "Line 2: prompt: The cell of colour is empty.",
        "Line 3: prompt: There is no column size; double the braces of the text {size}.",
    ]


def test_filled_prompts_are_bounded() -> None:
    cell = "é" * 9_000
    many = written([["prompt", "x"], ["{x}" * 3_000, cell]])
    assert mistakes(many) == ["Line 2: prompt: String should have at most 10000 characters"]
    rows = [["prompt", "x"], *[["{x}{x}", cell[:4_500]]] * 3_000]
    assert mistakes(written(rows)) == ["The prompts have more than 50 MB."]


def test_names_of_the_caller_are_cut_in_messages() -> None:
    long = "x" * 9_000
    content = f"prompt;{long}a\n{{{long}}};1\na;b;c\n".encode()
    assert all(len(detail) < 400 for detail in mistakes(content))


def test_braces_stay_in_a_table_without_columns_of_its_own() -> None:
    content = b"prompt,custom_id\n{a} {{custom_id}} {custom_id},1\n"
    assert prompts(read_csv(content, None)) == ["{a} {{custom_id}} {custom_id}"]


def test_only_the_first_rows_over_the_limit_are_read() -> None:
    for read in (read_text, read_table):
        assert len(read(b"prompt\n" + b"x\n" * 20_000).members) == PROMPTS_LIMIT + 1


def read_whole(read: Callable[[bytes], Rows], line: bytes) -> None:
    content = b"prompt;x\n" + line * (MAX_PROMPTS_BYTES // len(line))
    with suppress(ValidationFailed):
        rows = read(content)
        validated(rows.members, rows.places)


@pytest.mark.parametrize(
    ("read", "line"),
    [
        (read_table, b"\n"),
        (read_table, b";\n"),
        (read_table, b'"a" b;c\n'),
        (read_text, b"\n"),
        (read_text, b"x\ny\n\n"),
    ],
)
def test_the_longest_file_needs_little_time(read: Callable[[bytes], Rows], line: bytes) -> None:
    began = time.process_time()
    read_whole(read, line)
    assert time.process_time() - began < 3


@pytest.mark.parametrize(
    ("read", "line"), [(read_table, b";"), (read_table, b'"'), (read_text, b"x")]
)
def test_the_longest_line_needs_little_memory(read: Callable[[bytes], Rows], line: bytes) -> None:
    tracemalloc.start()
    try:
        read_whole(read, line)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MAX_PROMPTS_BYTES
