"""The header of a CSV file: it names the columns, and shows which character separates the cells."""

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import islice

from masstock.errors import FieldError, ValidationFailed
from masstock.schemas.prompts import PromptWithId
from masstock_api.prompt_lists import broken_quotes
from masstock_api.prompt_lists.encoding import lines_of
from masstock_api.prompt_lists.places import FILE, in_line, refuse

DELIMITERS = ",;\t|"
# For a file with one column, whose cells can contain every delimiter. No text contains U+0000.
NO_DELIMITER = "\0"
MAX_COLUMNS = 200
# Excel writes and reads this line, which names the delimiter.
SEPARATOR = re.compile(r'"?sep=([,;\t|])"?[\r\n]*', re.IGNORECASE)
# A column whose name is this similar to a setting's is a mistake.
ALIKE = 0.9


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


# `Image size` and `imageSize` are `image_size`.
MEMBERS = {_letters(name): name for name in PromptWithId.model_fields}
# The name of a variable can resemble a shorter one by chance.
LONG_NAMES = [letters for letters, name in MEMBERS.items() if "_" in name]


@dataclass(frozen=True, slots=True)
class Header:
    """The names of the columns, the delimiter, and the line on which the header ends."""

    names: Sequence[str]
    delimiter: str
    line: int

    @property
    def variables(self) -> set[str]:
        """The columns that are no members of a prompt."""
        return set(self.names) - set(MEMBERS.values()) - {""}


def read_header(content: bytes, variables: Collection[str] | None) -> Header:
    """Reads the first record. `variables` are those of the submission's template; without a
    template there must be a column `prompt`. Raises ValidationFailed."""
    delimiters, skipped = DELIMITERS, 0
    if named := SEPARATOR.fullmatch(next(lines_of(content), "")):
        delimiters, skipped = named[1], 1
    required = {"prompt"} if variables is None else set(variables)
    found = [
        header
        for delimiter in delimiters
        if (header := _parse(content, delimiter, skipped, required))
    ]
    if not found:
        raise ValidationFailed([in_line(skipped + 1, None, broken_quotes.DOUBLE_THEM)])
    known = required | set(MEMBERS.values())
    header = max(found, key=lambda header: (len(known & set(header.names)), len(header.names)))
    if len(header.names) == 1:
        header = replace(header, delimiter=NO_DELIMITER)
    refuse(_mistakes(header, required))
    return header


def _parse(content: bytes, delimiter: str, skipped: int, required: set[str]) -> Header | None:
    """The header as this delimiter separates it. None if its quotes do not fit the delimiter."""
    lines = islice(lines_of(content), skipped, None)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        cells = next(filter(any, reader), list[str]())
    except csv.Error:
        return None
    names = [cell.strip() for cell in cells]
    return Header(
        [name if name in required else MEMBERS.get(_letters(name), name) for name in names],
        delimiter,
        skipped + reader.line_num,
    )


def _mistakes(header: Header, required: set[str]) -> Iterator[FieldError]:
    names = [name for name in header.names if name]
    if not names:
        yield FieldError(FILE, "The list is empty.")
        return
    if len(names) > MAX_COLUMNS:
        detail = f"There are {len(names)} columns; at most {MAX_COLUMNS} are allowed."
        yield in_line(header.line, None, detail)
        return
    there_are = ", ".join(names)[:200]
    for name in sorted(required.difference(names)):
        detail = f"There is no such column; there are {there_are}."
        yield in_line(header.line, name, detail)
    for name, count in Counter(names).items():
        if count > 1:
            yield in_line(header.line, name, "Two columns have this name.")
    for name in sorted(header.variables - required):
        if meant := get_close_matches(_letters(name[:50]), LONG_NAMES, 1, ALIKE):
            detail = f"There is no such setting; use {MEMBERS[meant[0]]}."
            yield in_line(header.line, name, detail)
