"""Text files of prompts: one prompt a line, or blocks that blank lines separate."""

import re
from collections.abc import Iterator
from itertools import islice

from masstock.limits import PROMPTS_LIMIT
from masstock_api.prompt_lists.encoding import beginning, not_utf8
from masstock_api.prompt_lists.places import Rows

# Possessive and atomic groups do not backtrack, so the time and the memory of a search grow no
# faster than the file.
BREAK = rb"(?>\r\n|\n|\r)"
BLANKS = rb"[ \t\f\v]*+"
# From the first character of a line that is not a space.
LINE = rb"[^\s][^\r\n]*+"
LINES = re.compile(LINE)
BLOCKS = re.compile(LINE + rb"(?:" + BREAK + BLANKS + LINE + rb")*+")
BLANK_LINE = re.compile(BREAK + BLANKS + BREAK)
TWO_LINES = re.compile(rb"[^\s]" + BLANKS + BREAK + BLANKS + rb"[^\s]")


def read_text(content: bytes) -> Rows:
    """One row with the member `prompt` for each prompt. If blank lines separate blocks and one
    block has several lines, each block is a prompt; else each line is one. Reads at most
    PROMPTS_LIMIT + 1 prompts. Raises ValidationFailed if the text is not UTF-8."""
    found = list(islice(_prompts(content), PROMPTS_LIMIT + 1))
    return Rows([{"prompt": text} for _, text in found], [line for line, _ in found])


def _prompts(content: bytes) -> Iterator[tuple[int, str]]:
    start, end = beginning(content), len(content.rstrip())
    first = LINES.search(content, start, end)
    if first is None:
        return
    has_blocks = BLANK_LINE.search(content, first.start(), end) and TWO_LINES.search(
        content, first.start(), end
    )
    line, counted_to = 1, 0
    for found in (BLOCKS if has_blocks else LINES).finditer(content, start, end):
        line += _breaks(content, counted_to, found.start())
        counted_to = found.start()
        try:
            text = found[0].decode()
        except UnicodeDecodeError as error:
            raise not_utf8(line + _breaks(found[0], 0, error.start)) from error
        # A line of other spaces, such as no-break spaces, has no prompt.
        if text := re.sub(r"\r\n?", "\n", text).strip():
            yield line, text


def _breaks(content: bytes, start: int, end: int) -> int:
    return (
        content.count(b"\n", start, end)
        + content.count(b"\r", start, end)
        - content.count(b"\r\n", start, end)
    )
