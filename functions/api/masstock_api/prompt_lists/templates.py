"""Templates: one text with variables, and rows of their values, make prompts."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from math import prod
from typing import Any

from pydantic import ValidationError

from masstock.errors import FieldError
from masstock.limits import PROMPTS_LIMIT
from masstock.schemas.prompts import PromptWithId
from masstock.services.storage import MAX_PROMPTS_BYTES
from masstock_api.prompt_lists.places import Places, PromptList, described, refuse, short, validated
from masstock_api.strict_json import MAX_MISTAKES

# Members of a row that are settings of its prompt. The template can use them too.
SETTINGS = frozenset(PromptWithId.model_fields) - {"prompt"}
# These belong to one prompt, so no combination can have them.
OF_ONE_PROMPT = ("custom_id", "metadata")
PART = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|([{}])")

type Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. It can have thousands of variables, or one variable in thousands of
    places, for 10,000 prompts. So no prompt takes a step of Python for each place."""

    # For the operator %, with the key of the variable (`_key`) in each place.
    form: str
    # How often the template has each variable, in the order of the template.
    variables: Mapping[str, int]
    text_bytes: int

    def texts_of(self, row: Row) -> dict[str, str | None]:
        """The row's values of variables, for `form`."""
        return {_key(name): text_of(value) for name, value in row.items() if name in self.variables}

    def size_of(self, row: Row) -> int:
        """The bytes of the prompt. The row has every variable."""
        places = self.variables.items()
        return self.text_bytes + sum(count * _bytes_of(row[name]) for name, count in places)

    def check(self, row: Row, *, combined: bool) -> Iterator[tuple[str | None, str]]:
        """Each member of the row that is wrong, and the reason. A combination takes its values from
        several rows, so a row can lack some."""
        for name in row:
            if name not in SETTINGS and name not in self.variables:
                yield name, "The template has no such variable."
        # In a combination the row can be much shorter than the list of variables.
        for name in row if combined else self.variables:
            if name not in row:
                yield name, "The row has no value for this variable."
            elif name in self.variables and text_of(row[name]) is None:
                yield name, "Send text or a number."
        try:
            PromptWithId.model_validate({"prompt": "-"} | _settings(row))
        except ValidationError as error:
            for mistake in error.errors(include_url=False, include_input=False):
                yield described(mistake["loc"], mistake)
        if combined:
            for name in OF_ONE_PROMPT:
                if name in row:
                    yield name, "Several combinations would have it."


def parse(text: str) -> Template:
    """Reads a template. `{name}` is a variable, `{{` and `}}` are braces. Raises
    ValidationFailed."""
    texts, names = [""], list[str]()
    mistakes: list[FieldError] = []
    end = 0
    for found in PART.finditer(text):
        texts[-1] += text[end : found.start()]
        end = found.end()
        if found[1] is not None:
            names.append(found[1].strip())
            texts.append("")
        elif found[2] is not None:
            detail = f"Character {found.start() + 1} is a single {found[2]}; double it."
            mistakes.append(FieldError("/template", detail))
        else:
            texts[-1] += found[0][0]
    texts[-1] += text[end:]
    if "" in names:
        mistakes.append(FieldError("/template", "A variable has no name."))
    refuse(mistakes)
    form = texts[0].replace("%", "%%")
    for name, following in zip(names, texts[1:], strict=True):
        form += f"%({_key(name)})s" + following.replace("%", "%%")
    return Template(form, Counter(names), len("".join(texts).encode()))


def _key(name: str) -> str:
    # A name can have parentheses, which end a key of the operator %.
    return name.encode().hex()


def check_rows(template: Template, rows: Sequence[Row], places: Places, *, combined: bool) -> None:
    """Raises ValidationFailed with the place of each mistake in the rows."""
    mistakes: list[FieldError] = []
    for index, row in enumerate(rows):
        found = islice(template.check(row, combined=combined), MAX_MISTAKES)
        mistakes += (places.mistake(index, member, detail) for member, detail in found)
        if len(mistakes) >= MAX_MISTAKES:
            break
    refuse(mistakes)


def expand(
    template: Template, rows: Sequence[Row], places: Places, *, combined: bool
) -> PromptList:
    """One prompt for each row; or, if `combined`, for each combination of the values. The rows are
    checked. Counts the prompts and their bytes before it makes them. Raises ValidationFailed."""
    if len(rows) > PROMPTS_LIMIT:
        # A longer file was not read to its end.
        refuse([FieldError(places.pointer, f"At most {PROMPTS_LIMIT} rows are allowed.")])
    if not combined:
        _refuse_bytes(places.pointer, sum(map(template.size_of, rows)))
        made = [{"prompt": template.form % template.texts_of(row)} | _settings(row) for row in rows]
        return validated(made, places, has_prompts=False)
    axes = _axes(template, rows)
    if lacking := [name for name in template.variables if name not in axes]:
        refuse(
            FieldError(places.pointer, f"No row has a value for {short(name)}.") for name in lacking
        )
    count = prod(map(len, axes.values()))
    if count > PROMPTS_LIMIT:
        # An exact number could have thousands of digits.
        there_are = str(count) if count < 10**12 else "more than 10^12"
        detail = f"At most {PROMPTS_LIMIT} prompts are allowed; the rows make {there_are}."
        refuse([FieldError(places.pointer, detail)])
    _refuse_bytes(places.pointer, _size_of_all(template, axes, count))
    places = Places(places.pointer, combined=True)
    return validated(_combinations(template, axes), places, has_prompts=False)


def _combinations(template: Template, axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Each combination as a prompt. Few of thousands of variables can have several values."""
    fixed = {name: values[0] for name, values in axes.items() if len(values) == 1}
    varied = {name: values for name, values in axes.items() if len(values) > 1}
    texts, settings = template.texts_of(fixed), _settings(fixed)
    made: list[dict[str, Any]] = []
    for values in product(*varied.values()):
        row = dict(zip(varied, values, strict=True))
        prompt = template.form % (texts | template.texts_of(row))
        made.append({"prompt": prompt} | settings | _settings(row))
    return made


def _axes(template: Template, rows: Sequence[Row]) -> dict[str, list[Any]]:
    """The distinct values of each variable and setting. The variable that the template names first
    changes slowest."""
    axes: dict[str, dict[str, Any]] = {name: {} for name in template.variables}
    for row in rows:
        for name, value in row.items():
            # 1 and "1" make the same text.
            key = text_of(value) or json.dumps(value, sort_keys=True)
            axes.setdefault(name, {}).setdefault(key, value)
    return {name: list(values.values()) for name, values in axes.items() if values}


def _size_of_all(template: Template, axes: Mapping[str, Sequence[Any]], count: int) -> int:
    size = template.text_bytes * count
    for name, places in template.variables.items():
        values = axes[name]
        size += places * sum(map(_bytes_of, values)) * (count // len(values))
    return size


def _refuse_bytes(pointer: str, size: int) -> None:
    if size > MAX_PROMPTS_BYTES:
        megabytes = f"{size / 2**20:.1f}"
        refuse([FieldError(pointer, f"The prompts have {megabytes} MB; at most 50 are allowed.")])


def _settings(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name in SETTINGS}


def text_of(value: object) -> str | None:
    """The text of a variable's value: a text, or a number as JSON writes it. None otherwise."""
    if isinstance(value, str):
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return json.dumps(value) if is_number else None


def _bytes_of(value: object) -> int:
    return len((text_of(value) or "").encode())
