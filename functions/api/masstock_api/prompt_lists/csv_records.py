"""The records of a CSV file, and the line on which each begins."""

import csv
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import overload

from masstock.limits import PROMPTS_LIMIT
from masstock_api.prompt_lists import broken_quotes
from masstock_api.prompt_lists.csv_header import Header
from masstock_api.prompt_lists.encoding import lines_of


def read_records(content: bytes, header: Header) -> Iterator[list[str]]:
    """The cells of each record that is not empty."""
    reader = csv.reader(_rest(content, header), delimiter=header.delimiter, strict=True)
    read = 0
    try:
        for read, cells in enumerate(filter(any, reader), 1):  # noqa: B007
            yield cells
    except csv.Error:
        numbered = (cells for _, cells in _numbered(content, header))
        yield from islice(filter(any, numbered), read, None)


class LineNumbers(Sequence[int]):
    """The lines on which the records begin. Counts them only on demand, because only mistakes need
    them."""

    def __init__(self, content: bytes, header: Header) -> None:
        self._content, self._header = content, header

    @cached_property
    def _lines(self) -> list[int]:
        numbered = _numbered(self._content, self._header)
        # Spreadsheets append records without a value; a line of spaces is another.
        lines = (line for line, cells in numbered if any(map(str.strip, cells)))
        return list(islice(lines, PROMPTS_LIMIT + 1))

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> list[int]: ...

    def __getitem__(self, index: int | slice) -> int | list[int]:
        return self._lines[index]

    def __len__(self) -> int:
        return len(self._lines)


def _rest(content: bytes, header: Header) -> Iterator[str]:
    return islice(lines_of(content), header.line, None)


def _numbered(content: bytes, header: Header) -> Iterator[tuple[int, list[str]]]:
    """The records with their lines. Also reads a record that the csv module refuses, if it has only
    one meaning. Raises ValidationFailed otherwise."""
    lines = _Lines(_rest(content, header))
    ended = header.line
    while True:
        before = ended
        reader = csv.reader(lines, delimiter=header.delimiter, strict=True)
        try:
            for cells in reader:
                yield ended + 1, cells
                ended = before + reader.line_num
        except csv.Error as error:
            is_one_line = before + reader.line_num == ended + 1
            cells = broken_quotes.cells_of(lines.last, header.delimiter) if is_one_line else None
            if cells is None:
                record = "".join(islice(lines_of(content), ended, before + reader.line_num))
                raise broken_quotes.explain(
                    record, ended + 1, header.names, header.delimiter, error
                ) from error
            yield ended + 1, cells
            ended += 1
        else:
            return


class _Lines:
    """Lines for the csv module. It remembers the last one, which the module may refuse."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.last = ""

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        self.last = next(self._lines)
        return self.last
