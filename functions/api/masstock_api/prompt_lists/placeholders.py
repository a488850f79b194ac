"""Variables in the prompts of a CSV file with columns of its own."""

import re
from collections.abc import Mapping

from masstock.schemas.fields import PROMPT_LENGTH
from masstock_api.prompt_lists.places import short

# A prompt is a text with braces of any kind, for example JSON. So only `{name}` is a variable, and
# `{{name}}` is the text `{name}`. A template has a stricter rule (`templates`).
PLACEHOLDER = re.compile(r"\{\{([^{}]+)\}\}|\{([^{}]+)\}")
NAME = re.compile(r"[^\W\d]\w*")


def fill(prompt: str, row: Mapping[str, str]) -> tuple[str, list[str]]:
    """The prompt with the values of the row, and its mistakes. Cuts a prompt that becomes too
    long."""
    wrong: list[str] = []
    added = 0

    def value(found: re.Match[str]) -> str:
        nonlocal added
        doubled, single = found.groups()
        name = (doubled or single).strip()
        if name not in row and not NAME.fullmatch(name):
            return found[0]
        if doubled:
            return f"{{{doubled}}}"
        if name not in row:
            known = short(name)
            wrong.append(f"There is no column {known}; double the braces of the text {{{known}}}.")
        elif not row[name]:
            wrong.append(f"The cell of {short(name)} is empty.")
        cell = row.get(name, "")[: PROMPT_LENGTH + 1] if added <= PROMPT_LENGTH else ""
        added += len(cell)
        return cell

    return PLACEHOLDER.sub(value, prompt), wrong
