"""JSON Lines: each line is a prompt as in `prompts` of a submission, or a row of a template."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from masstock.errors import FieldError, MalformedJson, ValidationFailed
from masstock.limits import PROMPTS_LIMIT
from masstock.schemas.prompts import PromptWithId, SubmittedPrompt
from masstock_api import strict_json
from masstock_api.prompt_lists.encoding import beginning, not_utf8
from masstock_api.prompt_lists.places import (
    FILE,
    Places,
    PromptList,
    Rows,
    described,
    in_line,
    refuse,
)
from masstock_api.prompt_lists.templates import Template
from masstock_api.strict_json import MAX_MISTAKES

# One match per line that is not blank. The search skips any number of blank lines in one step.
LINE = re.compile(rb"\S[^\n]*")
# A line with the longest prompt is shorter, even if every character is escaped. Longer lines are
# not parsed, because parsed JSON takes up to thirty times the memory of its text.
MAX_LINE_BYTES = 1024 * 1024


def read_prompts(content: bytes) -> PromptList:
    """The prompts of the lines. Reads at most PROMPTS_LIMIT + 1 of them, because a longer list is
    refused anyway. Raises ValidationFailed with the line of each mistake."""
    adapter: TypeAdapter[str | PromptWithId] = TypeAdapter(SubmittedPrompt)
    prompts: list[str | PromptWithId] = []
    lines: list[int] = []
    mistakes: list[FieldError] = []
    for line, value in _values(content, mistakes):
        try:
            prompts.append(adapter.validate_python(value))
            lines.append(line)
        except ValidationError as error:
            mistakes += [
                in_line(line, *described(mistake["loc"], mistake))
                for mistake in error.errors(include_url=False, include_input=False)
            ]
        if len(mistakes) >= MAX_MISTAKES or len(prompts) > PROMPTS_LIMIT:
            break
    refuse(mistakes)
    return PromptList(prompts, Places(FILE, lines))


def read_rows(content: bytes, template: Template, *, combined: bool) -> Rows:
    """The rows of a template. A line that is a text has the member `prompt`. Otherwise like
    `read_prompts`."""
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    mistakes: list[FieldError] = []
    for line, value in _values(content, mistakes):
        row: Any = {"prompt": value} if isinstance(value, str) else value
        if isinstance(row, dict):
            # Checked here, because the rows of a wrong file would need much memory together.
            members = cast(dict[str, Any], row)
            found = list(islice(template.check(members, combined=combined), MAX_MISTAKES))
            mistakes += (in_line(line, member, detail) for member, detail in found)
            rows.append({} if found else members)
            lines.append(line)
        else:
            mistakes.append(in_line(line, None, "Send an object or a text."))
        if len(mistakes) >= MAX_MISTAKES or len(rows) > PROMPTS_LIMIT:
            break
    refuse(mistakes)
    return Rows(rows, lines)


def _values(content: bytes, mistakes: list[FieldError]) -> Iterator[tuple[int, Any]]:
    """The value of each line that has one, with its number. Appends what is wrong with others."""
    if b"\n" not in content:
        content = content.replace(b"\r", b"\n")
    line, counted_to = 1, 0
    for found in LINE.finditer(content, beginning(content)):
        line += content.count(b"\n", counted_to, found.start())
        counted_to = found.start()
        try:
            if found.end() - found.start() > MAX_LINE_BYTES:
                mistakes.append(FieldError(FILE, f"Line {line} is longer than 1 MB."))
            else:
                yield line, strict_json.parse(found[0])
        except ValidationFailed as error:
            mistakes.append(in_line(line, None, error.errors[0].detail))
        except MalformedJson as error:
            if isinstance(error.__cause__, UnicodeDecodeError):
                raise not_utf8(line) from error
            mistakes.append(FieldError(FILE, f"Line {line} is not JSON."))
        if len(mistakes) >= MAX_MISTAKES:
            return
