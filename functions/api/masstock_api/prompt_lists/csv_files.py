"""CSV files of prompts (RFC 4180)."""

import csv
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from typing import Any

from masstock.errors import FieldError, MalformedJson, ValidationFailed
from masstock.limits import PROMPTS_LIMIT
from masstock_api import strict_json
from masstock_api.prompt_lists import broken_quotes
from masstock_api.prompt_lists.csv_header import Header, read_header
from masstock_api.prompt_lists.encoding import beginning, lines_of, wrong_byte
from masstock_api.prompt_lists.placeholders import fill
from masstock_api.prompt_lists.places import Rows, in_line, refuse
from masstock_api.strict_json import MAX_MISTAKES

BREAK = re.compile(r"\r\n|\r|\n")
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
    rows, mistakes = Rows(), list[FieldError]()
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
    reader = csv.reader(
        islice(lines_of(content), header.line, None), delimiter=header.delimiter, strict=True
    )
    ended = 0
    try:
        # Skips blank lines, and the rows without a value that spreadsheets append.
        for cells in filter(any, reader):
            line = reader.line_num
            if line != ended + 1:
                line -= sum(len(BREAK.findall(cell)) for cell in cells)
            ended = reader.line_num
            line += header.line
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
    except csv.Error as error:
        before, broken = header.line + ended, header.line + reader.line_num
        record = "".join(islice(lines_of(content), before, broken))
        raise broken_quotes.explain(
            record, before + 1, header.names, header.delimiter, error
        ) from error


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
