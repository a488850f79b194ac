"""What the cells of a prompt's members mean."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from masstock.errors import MalformedJson, ValidationFailed
from masstock_api import strict_json

LIST = re.compile(r"[\s,;|]+")
# The schema refuses longer numbers. Python refuses to read very long ones.
MAX_DIGITS = 30


def convert(rows: Iterable[dict[str, Any]], names: Collection[str]) -> None:
    """Replaces texts of the named columns by numbers, lists and objects. A value of the wrong form
    stays unchanged, and the schema refuses it with a reason."""
    for name in BY_MEMBER.keys() & names:
        of_text = BY_MEMBER[name]
        for row in rows:
            if name in row:
                row[name] = of_text(row[name])


def _number(text: str) -> object:
    return int(text) if text.isdecimal() and len(text) <= MAX_DIGITS else text


def _keys(text: str) -> object:
    return [key for key in LIST.split(text) if key]


def _object(text: str) -> object:
    try:
        return strict_json.parse(text.encode())
    except (MalformedJson, ValidationFailed):
        return text


BY_MEMBER: Mapping[str, Callable[[str], object]] = {
    "images": _number,
    "metadata": _object,
    "reference_images": _keys,
    "seed": _number,
}
