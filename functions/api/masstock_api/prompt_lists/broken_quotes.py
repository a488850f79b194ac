"""Says which cell of a CSV record has a wrong quote. The csv module names neither line nor cell."""

import re
from collections.abc import Sequence

from masstock.errors import ValidationFailed
from masstock_api.prompt_lists.places import in_line

DOUBLE_THEM = 'Double each quote within a quoted cell, as in "say ""hello""".'
NO_END = "The quote at the end of the cell is missing."
BREAK = re.compile(r"\r\n|\r|\n")


def explain(
    record: str, line: int, names: Sequence[str], delimiter: str, error: Exception
) -> ValidationFailed:
    """The mistake of the record that the csv module refused. `line` is the line on which the text
    begins; blank lines can precede the record."""
    position, column = _broken_cell(record, re.escape(delimiter))
    line += len(BREAK.findall(record, 0, position))
    name = names[column] if column < len(names) else None
    is_open = "unexpected end" in str(error) or "field limit" in str(error)
    return ValidationFailed([in_line(line, name or None, NO_END if is_open else DOUBLE_THEM)])


def _broken_cell(record: str, delimiter: str) -> tuple[int, int]:
    """The position and the column of the first quoted cell that does not end where it should."""
    cell = re.compile(
        rf'(?P<quoted>"(?:[^"]|"")*+"(?={delimiter}|[\r\n]|\Z))|(?P<bare>(?!")[^\r\n{delimiter}]*+)'
    )
    position = column = 0
    while found := cell.match(record, position):
        position = found.end()
        if position == len(record):
            break
        column = 0 if record[position] in "\r\n" else column + 1
        position += 1
    return position, column
