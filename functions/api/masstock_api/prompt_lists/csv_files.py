"""CSV files of prompts (RFC 4180)."""

from collections.abc import Collection
from operator import itemgetter
from typing import Any

from masstock.errors import FieldError
from masstock.limits import PROMPTS_LIMIT
from masstock.services.storage import MAX_PROMPTS_BYTES
from masstock_api.prompt_lists.csv_cells import convert
from masstock_api.prompt_lists.csv_header import MEMBERS, Header, read_header
from masstock_api.prompt_lists.csv_records import LineNumbers, read_records
from masstock_api.prompt_lists.encoding import beginning, wrong_byte
from masstock_api.prompt_lists.placeholders import fill
from masstock_api.prompt_lists.places import FILE, Rows, refuse
from masstock_api.strict_json import MAX_MISTAKES

# A prompt cannot name these columns, because their cells are no ordinary texts.
NO_VARIABLES = {"", "prompt", "metadata", "reference_images"}


def read_csv(content: bytes, variables: Collection[str] | None) -> Rows:
    """One row for each record that has a value, without empty cells. `variables` are those of the
    submission's template. Without a template the rows are prompts, and a prompt can name other
    columns as `{name}`. Reads at most PROMPTS_LIMIT + 1 rows. Raises ValidationFailed with the line
    of each mistake."""
    beginning(content)
    try:
        header = read_header(content, variables)
        reader = _Reader(content, header, variables)
        refuse(reader.mistakes)
    except UnicodeDecodeError as error:
        raise wrong_byte(content) from error
    convert(reader.rows.members, header.names)
    return reader.rows


class _Reader:
    """The rows of a table, and what is wrong with it. Each step is quick, because a table can have
    10,000 rows and its caller waits."""

    def __init__(self, content: bytes, header: Header, variables: Collection[str] | None) -> None:
        self.rows = Rows([], LineNumbers(content, header))
        self.mistakes: list[FieldError] = []
        self._header = header
        self._filled_bytes = 0
        # Without a template, prompts can name the columns of their own.
        self._fills = variables is None and bool(header.variables)
        self._read(content, {*MEMBERS.values(), *(variables or ())})

    def _read(self, content: bytes, wanted: set[str]) -> None:
        header, fills = self._header, self._fills
        members, mistakes = self.rows.members, self.mistakes
        width = len(header.names)
        names = [name for name in header.names if name in wanted]
        positions = [header.names.index(name) for name in names]
        # A single position would give a cell instead of a tuple of cells.
        cells_of = itemgetter(*(positions if len(positions) > 1 else [*positions, 0]))
        has_nameless = "" in header.names
        for cells in read_records(content, header):
            if len(cells) != width and (len(cells) < width or any(cells[width:])):
                self._refuse(None, f"There are {len(cells)} cells; the header has {width}.")
                cells.extend([""] * (width - len(cells)))
            values = [*map(str.strip, cells_of(cells))]
            row: dict[str, Any] = dict(zip(names, values, strict=False))
            if not all(values):
                if not any(map(str.strip, cells)):
                    continue
                row = {name: value for name, value in row.items() if value}
            if fills and "{" in row.get("prompt", ""):
                row["prompt"] = self._filled(row["prompt"], cells)
            if has_nameless:
                self._check_nameless(cells)
            members.append(row)
            if len(members) > PROMPTS_LIMIT or len(mistakes) >= MAX_MISTAKES:
                break

    def _refuse(self, member: str | None, detail: str) -> None:
        self.mistakes.append(self.rows.places.mistake(len(self.rows.members), member, detail))

    def _filled(self, prompt: str, cells: list[str]) -> str:
        others = zip(self._header.names, map(str.strip, cells), strict=False)
        row = {name: value for name, value in others if name not in NO_VARIABLES}
        filled, wrong = fill(prompt, row)
        for detail in wrong:
            self._refuse("prompt", detail)
        self._filled_bytes += len(filled.encode())
        if self._filled_bytes > MAX_PROMPTS_BYTES:
            refuse([FieldError(FILE, "The prompts have more than 50 MB.")])
        return filled

    def _check_nameless(self, cells: list[str]) -> None:
        named = zip(self._header.names, cells, strict=False)
        if any(value.strip() for name, value in named if not name):
            self._refuse(None, "A cell is in a column without a name.")
