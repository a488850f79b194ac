"""A text file is split into its prompts."""

from pathlib import Path

import pytest

from local.demo.prompts import EXAMPLE_PROMPTS, PromptFile, read_prompts, split_prompts


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("one\ntwo\n", ["one", "two"]),
        ("one", ["one"]),
        ("\n\n one \n\n\ntwo\n\n", ["one", "two"]),
        ("one\r\ntwo\r\n", ["one", "two"]),
        ("one\n  more\n\ntwo\n", ["one\n  more", "two"]),
        ("one\nmore\n \t\ntwo\nmore", ["one\nmore", "two\nmore"]),
        (" \n\t\n", []),
        ("", []),
    ],
)
def test_prompts_are_lines_or_blocks(text: str, prompts: list[str]) -> None:
    assert split_prompts(text) == prompts


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("prompt\none\ntwo\n", ["one", "two"]),
        ("Prompt\r\none, and more\r\n", ["one, and more"]),
        ('"prompt"\n"one, and more"\n"say ""two"""\n', ["one, and more", 'say "two"']),
        ('prompt\n"one\n\nmore"\ntwo\n', ["one\n\nmore", "two"]),
        ("id,prompt,style\n1,one,a\n2,two,b\n3\n4,,\n", ["one", "two"]),
        ("id;Prompt\n1;one, and more\n", ["one, and more"]),
        ("prompt\tid\none; and more\t1\n", ["one; and more"]),
        ("prompt\n", []),
        ("a prompt\ntwo\n", ["a prompt", "two"]),
        ("one, prompted\ntwo\n", ["one, prompted", "two"]),
        ('one "prompt\ntwo\n', ['one "prompt', "two"]),
        ('prompt\n"Sale" sign, "new"\n"""a"" b"\n', ['"Sale" sign, "new"', '"a" b']),
        ('prompt;id\n"Sale" sign;1\n"a;\nb";2\n', ['"Sale" sign', "a;\nb"]),
    ],
)
def test_a_csv_header_is_not_a_prompt(text: str, prompts: list[str]) -> None:
    assert split_prompts(text) == prompts


def test_the_examples_are_twelve_distinct_prompts() -> None:
    prompts = read_prompts(EXAMPLE_PROMPTS)
    assert isinstance(prompts, list)
    assert len(prompts) == len(set(prompts)) == 12


@pytest.mark.parametrize(
    ("name", "content_type"), [("a.csv", "text/csv"), ("a.JSONL", "application/jsonl")]
)
def test_the_api_reads_other_files(tmp_path: Path, name: str, content_type: str) -> None:
    (tmp_path / name).write_bytes(b"prompt\n")
    assert read_prompts(tmp_path / name) == PromptFile(b"prompt\n", content_type)


def test_a_byte_order_mark_is_not_part_of_a_prompt(tmp_path: Path) -> None:
    path = tmp_path / "bom.txt"
    path.write_bytes(b"\xef\xbb\xbfone\n")
    assert read_prompts(path) == ["one"]
