"""A template and its rows make prompts; a mistake names the row and the variable."""

import itertools
import json
import string
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masstock.errors import FieldError, ValidationFailed
from masstock.limits import PROMPTS_LIMIT
from masstock.schemas.prompts import PromptWithId
from masstock_api.prompt_lists import json_lines, templates
from masstock_api.prompt_lists.places import Places
from masstock_api.prompt_lists.templates import Template

IN_ROWS = Places("/rows")
NAMES = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8).filter(
    lambda name: name not in PromptWithId.model_fields
)
VALUES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=20)


def made(
    text: str, rows: Sequence[Any], combine: str = "rows", places: Places = IN_ROWS
) -> list[PromptWithId]:
    combined = combine == "product"
    template = templates.parse(text)
    templates.check_rows(template, rows, places, combined=combined)
    prompts = templates.expand(template, rows, places, combined=combined).prompts
    return [prompt for prompt in prompts if isinstance(prompt, PromptWithId)]


def texts(text: str, rows: Sequence[Any], combine: str = "rows") -> list[str]:
    return [prompt.prompt for prompt in made(text, rows, combine)]


def mistakes(
    text: str, rows: Sequence[Any], combine: str = "rows", places: Places = IN_ROWS
) -> list[FieldError]:
    with pytest.raises(ValidationFailed) as refused:
        made(text, rows, combine, places)
    return list(refused.value.errors)


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=4), st.lists(VALUES, max_size=4))
def test_a_template_is_the_format_of_python_without_its_options(
    row: dict[str, str], literals: list[str]
) -> None:
    """Doubled braces and names in braces; other readers of templates agree."""
    pieces = [literal.replace("{", "{{").replace("}", "}}") for literal in literals]
    text = "".join(
        part
        for pair in itertools.zip_longest(pieces, [f"{{{name}}}" for name in row])
        for part in pair
        if part
    )
    expected = "x" + "".join(
        literal + (row[name] if name is not None else "")
        for literal, name, _, _ in string.Formatter().parse(text)
    )
    assert texts(f"x{text}x", [row]) == [f"{expected}x"]


@given(
    st.lists(st.sampled_from(["mug", "cup", "16:9", "{x}", ""]), min_size=1, max_size=6),
    st.lists(st.sampled_from(["oak", "slate", "007"]), min_size=1, max_size=6),
)
def test_a_product_has_every_combination_once(products: list[str], surfaces: list[str]) -> None:
    rows = [{"product": one} for one in products] + [{"surface": one} for one in surfaces]
    expected = [
        f"A {one} on {other}."
        for one in dict.fromkeys(products)
        for other in dict.fromkeys(surfaces)
    ]
    assert texts("A {product} on {surface}.", rows, "product") == expected


def test_numbers_are_written_as_json_writes_them() -> None:
    rows = [{"n": 3}, {"n": 1.5}, {"n": "007"}, {"n": 10**20}]
    assert texts("{n} cats", rows) == ["3 cats", "1.5 cats", "007 cats", f"{10**20} cats"]


def test_a_member_of_a_prompt_is_its_setting_and_can_be_a_variable() -> None:
    [prompt] = made("{custom_id}: a {x}", [{"x": "cat", "custom_id": "a1"}])
    assert (prompt.prompt, prompt.custom_id) == ("a1: a cat", "a1")


def test_settings_in_the_rows_of_a_product_are_combined_too() -> None:
    rows = [{"x": "cat", "aspect_ratio": "1:1"}, {"x": "dog"}, {"aspect_ratio": "16:9"}]
    found = [(prompt.prompt, prompt.aspect_ratio) for prompt in made("a {x}", rows, "product")]
    assert found == [("a cat", "1:1"), ("a cat", "16:9"), ("a dog", "1:1"), ("a dog", "16:9")]


def test_the_prompts_of_a_list_can_be_a_variable() -> None:
    assert texts("{prompt}, in oil", [{"prompt": "a cat"}]) == ["a cat, in oil"]


@pytest.mark.parametrize(
    ("text", "details"),
    [
        ("a {", ["Character 3 is a single {; double it."]),
        ("}{x}", ["Character 1 is a single }; double it."]),
        (
            "{x}{}",
            ["Character 4 is a single {; double it.", "Character 5 is a single }; double it."],
        ),
        ("{ }", ["A variable has no name."]),
    ],
)
def test_a_malformed_template_is_refused(text: str, details: list[str]) -> None:
    found = mistakes(text, [{"x": "1"}])
    assert [(mistake.pointer, mistake.detail) for mistake in found] == [
        ("/template", detail) for detail in details
    ]


@pytest.mark.parametrize(
    ("rows", "combine", "expected"),
    [
        ([{"x": "1"}, {}], "rows", ("/rows/1/x", "The row has no value for this variable.")),
        ([{"x": "1", "y": 2}], "rows", ("/rows/0/y", "The template has no such variable.")),
        ([{"x": "1", "a/b": 2}], "rows", ("/rows/0/a~1b", "The template has no such variable.")),
        ([{"x": True}], "rows", ("/rows/0/x", "Send text or a number.")),
        ([{"x": ["1"]}], "product", ("/rows/0/x", "Send text or a number.")),
        ([{}], "product", ("/rows", "No row has a value for x.")),
        (
            [{"x": "1", "custom_id": "a"}],
            "product",
            ("/rows/0/custom_id", "Several combinations would have it."),
        ),
        (
            [{"x": "1", "custom_id": 5}],
            "rows",
            ("/rows/0/custom_id", "Input should be a valid string"),
        ),
        (
            [{"x": "1", "image_size": "8K", "metadata": {"a": "b" * 5_000}}],
            "rows",
            ("/rows/0/image_size", "Input should be '512', '1K', '2K' or '4K'"),
        ),
        ([{"x": " "}], "rows", ("/rows/0", "String should have at least 1 character")),
        (
            [{"x": "1"}, {"x": " "}],
            "product",
            ("/rows", "Combination 2: String should have at least 1 character"),
        ),
    ],
)
def test_a_mistake_names_row_and_variable(
    rows: list[dict[str, Any]], combine: str, expected: tuple[str, str]
) -> None:
    assert mistakes("{x}", rows, combine)[0] == expected


def test_a_mistake_in_a_file_names_line_and_variable() -> None:
    found = mistakes("{x}", [{"x": "1"}, {}], places=Places("/prompts_key", [2, 5]))
    assert found == [("/prompts_key", "Line 5: x: The row has no value for this variable.")]


def test_prompts_are_counted_before_they_are_made() -> None:
    names = string.ascii_letters
    rows = [dict.fromkeys(names, str(number)) for number in range(10)]
    text = "".join(f"{{{name}}}" for name in names)
    [mistake] = mistakes(text, rows, "product")
    assert mistake.pointer == "/rows"
    assert f"At most {PROMPTS_LIMIT} prompts" in mistake.detail
    [mistake] = mistakes("{a}{b}", [{"a": str(n), "b": str(n)} for n in range(101)], "product")
    assert mistake.detail == "At most 10000 prompts are allowed; the rows make 10201."


def test_many_variables_are_found_quickly() -> None:
    names = [f"v{number}" for number in range(3_000)]
    rows = [dict.fromkeys(names, str(number)) for number in range(60)]
    began = time.process_time()
    assert len(made("".join(f"{{{name}}}" for name in names), rows)) == 60
    assert time.process_time() - began < 1


@pytest.mark.parametrize("combine", ["rows", "product"])
def test_a_variable_in_many_places_takes_no_step_for_each(combine: str) -> None:
    """The body has 0.1 MB. A step for each place of each row took minutes."""
    rows = [{"x": number} for number in range(1_000, 10_000)]
    began = time.process_time()
    [mistake] = mistakes("{x}" * 6_666, rows, combine)
    assert mistake.detail == "The prompts have 228.9 MB; at most 50 are allowed."
    assert len(texts("{x}" * 2_000, rows[:1_000], combine)) == 1_000
    assert time.process_time() - began < 3


def test_variables_with_one_value_cost_little_in_each_combination() -> None:
    names = [f"{number:x}" for number in range(3_000)]
    rows = [dict.fromkeys(names, 10)] + [{"0": n, "1": n} for n in range(10, 40)]
    began = time.process_time()
    found = texts("".join(f"{{{name}}}" for name in names), rows, "product")
    assert len(set(found)) == len(found) == 30 * 30
    assert time.process_time() - began < 2


def test_texts_and_names_are_not_read_as_another_format() -> None:
    assert texts("100% {a)%(b} %s", [{"a)%(b": "%d"}]) == ["100% %d %s"]


@pytest.mark.parametrize("combine", ["rows", "product"])
def test_bytes_are_counted_before_prompts_are_made(combine: str) -> None:
    rows = [{"x": f"{number:04}" + "é" * 9_000} for number in range(3_000)]
    [mistake] = mistakes("{x}", rows, combine)
    assert mistake == ("/rows", "The prompts have 51.5 MB; at most 50 are allowed.")


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.sampled_from(["rows", "product"]))
def test_the_counted_size_is_the_size(values: list[int], combine: str) -> None:
    rows = [{"x": "é" * (value + 1), "y": str(value)} for value in values]
    template = templates.parse("ü{x}{{{y}{x}")
    found = texts("ü{x}{{{y}{x}", rows, combine)
    if combine == "rows":
        size = sum(map(template.size_of, rows))
    else:
        axes = templates._axes(template, rows)
        size = templates._size_of_all(template, axes, len(found))
    assert size == len("".join(found).encode())


def test_json_lines_can_be_the_rows_of_a_template() -> None:
    def read(content: str, template: Template) -> list[dict[str, Any]]:
        return json_lines.read_rows(content.encode(), template, combined=False).members

    template = templates.parse("{prompt} in {style}")
    line = {"prompt": "a cat", "style": "oil", "custom_id": "1"}
    assert read(json.dumps(line), template) == [line]
    assert read('"a cat"', templates.parse("{prompt}!")) == [{"prompt": "a cat"}]
    with pytest.raises(ValidationFailed) as refused:
        read('\n"a cat"\n5\n{"prompt": "a", "style": "b", "size": 1}', template)
    assert [mistake.detail for mistake in refused.value.errors] == [
        "Line 2: style: The row has no value for this variable.",
        "Line 3: Send an object or a text.",
        "Line 4: size: The template has no such variable.",
    ]
