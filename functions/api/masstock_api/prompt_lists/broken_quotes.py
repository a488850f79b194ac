"""Quotes that RFC 4180 does not allow. The csv module drops them, or refuses the record without its
line and cell."""

import re
from collections.abc import Iterator, Sequence

from masstock.errors import ValidationFailed
from masstock_api.prompt_lists.places import in_line

DOUBLE_THEM = 'Double each quote within a quoted cell, as in "say ""hello""".'
NO_END = "The quote at the end of the cell is missing."
BREAK = re.compile(r"\r\n|\r|\n")


def cells_of(line: str, delimiter: str) -> list[str] | None:
    """The cells of a record of one line. A cell that only begins with quoted words stays unchanged:
    `"Sale" sign`. None if a quote is not closed, because then the cell may continue on the next
    line."""
    cells: list[str] = []
    for _, cell, is_whole in _walk(line.rstrip("\r\n"), delimiter):
        if is_whole and cell.startswith('"'):
            cells.append(cell[1:-1].replace('""', '"'))
        elif cell.startswith('"') and cell.count('"') % 2:
            return None
        else:
            cells.append(cell)
    return cells


def explain(
    record: str, line: int, names: Sequence[str], delimiter: str, error: Exception
) -> ValidationFailed:
    """The mistake of the record that begins on this line and that the csv module refused."""
    name = None
    for column, (position, cell, is_whole) in enumerate(_walk(record, delimiter)):
        if cell.startswith('"') and not is_whole:
            line += len(BREAK.findall(record, 0, position))
            name = names[column] if column < len(names) else None
            break
    is_open = "unexpected end" in str(error) or "field limit" in str(error)
    return ValidationFailed([in_line(line, name or None, NO_END if is_open else DOUBLE_THEM)])


def _walk(record: str, delimiter: str) -> Iterator[tuple[int, str, bool]]:
    """Position and text of each cell, and whether its quotes follow the rules."""
    part = re.escape(delimiter)
    whole = re.compile(rf'"(?:[^"]|"")*+"(?={part}|[\r\n]|\Z)|(?!")[^\r\n{part}]*+')
    until_next = re.compile(rf"[^\r\n{part}]*+")
    position = 0
    while position <= len(record):
        found = whole.match(record, position)
        cell = found or until_next.match(record, position)
        if cell is None:
            return
        yield position, cell[0], found is not None
        position = cell.end() + 1
