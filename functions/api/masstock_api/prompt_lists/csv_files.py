"""CSV files of prompts (RFC 4180)."""

import csv
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from typing import Any

from masstock.errors import FieldError, MalformedJson, ValidationFailed
from masstock.limits import PROMPTS_LIMIT
from masstock.services.storage import MAX_PROMPTS_BYTES
from masstock_api import strict_json
from masstock_api.prompt_lists import broken_quotes
from masstock_api.prompt_lists.csv_header import Header, read_header
from masstock_api.prompt_lists.encoding import beginning, lines_of, wrong_byte
from masstock_api.prompt_lists.placeholders import fill
from masstock_api.prompt_lists.places import FILE, Rows, in_line, refuse
from masstock_api.strict_json import MAX_MISTAKES

WHOLE = re.compile(r"[+-]?[0-9]{1,30}")
LIST = re.compile(r"[\s,;|]+")


def read_csv(content: bytes, variables: Collection[str] | None) -> Rows:
    """One row for each record, without empty cells and empty records. `variables` are those of the
    submission's template. Without a template the rows are prompts, and a prompt can name other
    columns as `{name}`. Reads at most PROMPTS_LIMIT + 1 rows. Raises ValidationFailed with the line
    of each mistake."""
    beginning(content)
    try:
        header = read_header(content, variables)
        return _read_rows(content, header, variables)
    except UnicodeDecodeError as error:
        raise wrong_byte(content) from error


def _read_rows(content: bytes, header: Header, variables: Collection[str] | None) -> Rows:
    rows, mistakes, filled = Rows(), list[FieldError](), 0
    own = header.variables
    fills = variables is None and bool(own)
    # A cell of these columns is no text that a prompt could name.
    columns = {*header.names} - {"", "prompt", "metadata", "reference_images"}
    dropped = own.difference(variables or ())
    convert = [(name, CONVERT[name]) for name in header.names if name in CONVERT]
    for line, row in _records(content, header, mistakes):
        for name, converted in convert:
            if name in row:
                try:
                    row[name] = converted(row[name])
                except ValueError as error:
                    mistakes.append(in_line(line, name, str(error)))
        if fills and "{" in row.get("prompt", ""):
            row["prompt"], wrong = fill(row["prompt"], row, columns)
            mistakes += (in_line(line, "prompt", detail) for detail in wrong)
            filled += len(row["prompt"].encode())
            if filled > MAX_PROMPTS_BYTES:
                mistakes.append(FieldError(FILE, "The prompts have more than 50 MB."))
                break
        for name in dropped:
            row.pop(name, None)
        rows.add(row, line)
        if len(rows.lines) > PROMPTS_LIMIT or len(mistakes) >= MAX_MISTAKES:
            break
    refuse(mistakes)
    return rows


def _records(
    content: bytes, header: Header, mistakes: list[FieldError]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records as dictionaries, each with the line on which it begins."""
    names, width = header.names, len(header.names)
    for line, cells in _cells(content, header):
        # Blank lines, and the rows without a value that spreadsheets append.
        if not any(cells):
            continue
        if len(cells) != width and (len(cells) < width or any(cells[width:])):
            detail = f"There are {len(cells)} cells; the header has {width}."
            mistakes.append(in_line(line, None, detail))
            if len(mistakes) >= MAX_MISTAKES:
                return
            continue
        row = {
            name: cell
            for name, cell in zip(names, cells, strict=False)
            if cell and not cell.isspace()
        }
        if "" in row:
            mistakes.append(in_line(line, None, "A cell is in a column without a name."))
        if row:
            yield line, row


def _cells(content: bytes, header: Header) -> Iterator[tuple[int, list[str]]]:
    """The cells of each record, with the line on which it begins."""
    lines = Lines(islice(lines_of(content), header.line, None))
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


class Lines:
    """Lines for the csv module. It remembers the last one, which the module may refuse."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.last = ""

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        self.last = next(self._lines)
        return self.last


def _number(cell: str) -> object:
    # Other text is refused by the schema, with the reason.
    return int(cell) if WHOLE.fullmatch(cell.strip()) else cell


def _keys(cell: str) -> object:
    return [key for key in LIST.split(cell) if key]


def _object(cell: str) -> object:
    try:
        return strict_json.parse(cell.encode())
    except (MalformedJson, ValidationFailed) as error:
        raise ValueError("The cell is no JSON object.") from error


CONVERT: Mapping[str, Callable[[str], object]] = {
    "aspect_ratio": str.strip,
    "image_size": str.strip,
    "images": _number,
    "metadata": _object,
    "reference_images": _keys,
    "seed": _number,
}
