"""Variables in the prompts of a CSV file with columns of its own."""

import re
from collections.abc import Collection, Mapping

# A prompt is a text with braces of any kind, for example JSON. So only `{name}` is a variable, and
# `{{name}}` is the text `{name}`. A template has a stricter rule (`templates`).
PLACEHOLDER = re.compile(r"\{\{([^{}]+)\}\}|\{([^{}]+)\}")
NAME = re.compile(r"[^\W\d]\w*")


def fill(prompt: str, row: Mapping[str, object], columns: Collection[str]) -> tuple[str, list[str]]:
    """The prompt with the values of the row, and what is wrong with it."""
    wrong: list[str] = []

    def value(found: re.Match[str]) -> str:
        doubled, single = found.groups()
        name = (doubled or single).strip()
        if name not in columns and not NAME.fullmatch(name):
            return found[0]
        if doubled:
            return f"{{{doubled}}}"
        if name not in columns:
            wrong.append(
                f"There is no column {name}; write {{{{{name}}}}} for the text {{{name}}}."
            )
        elif name not in row:
            wrong.append(f"The cell of {name} is empty.")
        return str(row.get(name, ""))

    return PLACEHOLDER.sub(value, prompt), wrong
