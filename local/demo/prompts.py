"""The prompts of the demo, from a file.

The API reads CSV and JSON Lines, so the demo uploads such a file. The demo reads a text itself.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from local.errors import DemoError
from local.settings import ROOT

EXAMPLE_PROMPTS = ROOT / "examples" / "prompts.txt"
LARGEST_TEXT = 4 * 1024 * 1024
LARGEST_UPLOAD = 50 * 1024 * 1024
LONGEST_PROMPT = 10_000
UPLOADED = {".csv": "text/csv", ".tsv": "text/csv", ".jsonl": "application/jsonl"}


@dataclass(frozen=True, slots=True)
class PromptFile:
    """A file of prompts for the API to read."""

    content: bytes
    content_type: str


def read_prompts(path: Path) -> list[str] | PromptFile:
    """Return the prompts of a text, or another file of prompts; DemoError if it cannot be used."""
    content_type = UPLOADED.get(path.suffix.lower())
    largest = LARGEST_TEXT if content_type is None else LARGEST_UPLOAD
    try:
        with path.open("rb") as file:
            raw = file.read(largest + 1)
    except OSError as error:
        raise DemoError(f"cannot read the prompts in {path}: {error.strerror}") from None
    if len(raw) > largest:
        raise DemoError(f"{path} is too long: over {largest // 1024**2} MB of prompts")
    if content_type is not None:
        if not raw.strip():
            raise DemoError(f"{path} contains no prompt")
        return PromptFile(raw, content_type)
    return _read_text(path, raw)


def _read_text(path: Path, raw: bytes) -> list[str]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DemoError(f"{path} is not UTF-8 text") from None
    prompts = split_prompts(text)
    if not prompts:
        raise DemoError(f"{path} contains no prompt")
    for number, prompt in enumerate(prompts, 1):
        if len(prompt) > LONGEST_PROMPT:
            raise DemoError(
                f"{path}: prompt {number} is too long:"
                f" {len(prompt):,} characters, {LONGEST_PROMPT:,} are allowed"
            )
    return prompts


def split_prompts(text: str) -> list[str]:
    """Return one prompt for each line.

    If blank lines separate blocks and one block has several lines, each block is one prompt. If the
    first line is a CSV header with a column `prompt`, the cells of the column are the prompts.
    """
    rows = _csv_rows(text)
    if rows and (column := _prompt_column(rows[0])) is not None:
        # With a single column, an unquoted comma is part of the prompt.
        cells = rows[1:] if len(rows[0]) > 1 else [[",".join(row)] for row in rows[1:]]
        prompts = [row[column].strip() for row in cells if len(row) > column]
        return [prompt for prompt in prompts if prompt]
    text = re.sub(r"\r\n?", "\n", text).strip()
    blocks = [block.strip() for block in re.split(r"\n\s*\n", text)]
    if len(blocks) > 1 and any("\n" in block for block in blocks):
        prompts = blocks
    else:
        prompts = [line.strip() for line in text.split("\n")]
    return [prompt for prompt in prompts if prompt]


def _csv_rows(text: str) -> list[list[str]]:
    """Return the rows of a CSV text.

    A cell that only begins with quoted words keeps its quotes: `"Sale" sign`.
    """
    header = text.strip().partition("\n")[0]
    mark = next((mark for mark in ",;\t" if mark in header), ",")
    cell = re.compile(rf'"((?:[^"]|"")*+)"(?=[{mark}\r\n]|\Z)|([^{mark}\r\n]*+)')
    rows: list[list[str]] = [[]]
    position, text = 0, text.strip()
    while found := cell.match(text, position):
        quoted, bare = found.groups()
        rows[-1].append(bare if quoted is None else quoted.replace('""', '"'))
        position = found.end() + 1
        if position > len(text):
            break
        if text[found.end()] != mark:
            rows.append([])
    return [row for row in rows if row != [""]]


def _prompt_column(header: list[str]) -> int | None:
    """Return the position of the column `prompt`, or None if the row has no such name."""
    names = [name.strip().casefold() for name in header]
    return names.index("prompt") if "prompt" in names else None
