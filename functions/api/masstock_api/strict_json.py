"""JSON of callers. Refuses values that Postgres or another reader would lose or change."""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from masstock.errors import FieldError, MalformedJson, ValidationFailed

# Deeper than every body, and far above what the stacks of Python and Postgres hold.
MAX_DEPTH = 64
MAX_POINTER_LENGTH = 1000
# A body of 4 MB can have a mistake in every field. The list of all mistakes could exceed Lambda's
# limit of 6 MB for a response.
MAX_MISTAKES = 100
# The largest double has 309 digits. Python refuses numbers of more than 4,300 digits.
MAX_DIGITS = 309
TOO_DEEP = f"Send at most {MAX_DEPTH} levels of lists and objects."
TOO_LARGE = "Send a number that a double can hold."
NOT_TEXT = "Text may not contain U+0000 or half of a surrogate pair."
# Raw UTF-8 contains no surrogate, and raw JSON no U+0000. Only escapes can make them.
ESCAPED = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")
STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)

type Path = tuple[int | str, ...]


def parse(content: bytes) -> Any:
    """The value of a JSON text. Raises MalformedJson, also if the text is not UTF-8 or an object
    has a name twice. Raises ValidationFailed with a pointer to each value that Postgres text or a
    double cannot hold, and to each value that is nested too deep."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedJson("The body is not UTF-8.") from error
    numbers = _Numbers()
    try:
        value = numbers.parse(text)
    except RecursionError:
        value = numbers.parse(_cut(text))
    is_suspicious = numbers.has_large or ESCAPED.search(text)
    if is_suspicious or text.count("[") + text.count("{") > MAX_DEPTH:
        mistakes = [FieldError(pointer(path), detail) for path, detail in _mistakes(value, ())]
        if mistakes:
            raise ValidationFailed(mistakes[:MAX_MISTAKES])
    return value


def pointer(path: Path) -> str:
    """The JSON pointer (RFC 6901) of a place, at most MAX_POINTER_LENGTH characters long: the name
    of an unknown field can have megabytes."""
    text = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
    return re.sub("[\ud800-\udfff]", "\ufffd", text[:MAX_POINTER_LENGTH])


class _Numbers:
    """A JSON parser. Numbers that no double holds become infinite."""

    has_large = False

    def parse(self, text: str) -> Any:
        try:
            return json.loads(
                text,
                parse_int=self._int,
                parse_float=self._float,
                parse_constant=_refuse_constant,
                object_pairs_hook=_object,
            )
        except ValueError as error:
            raise MalformedJson from error

    def _int(self, text: str) -> float:
        if len(text) > MAX_DIGITS + 1 or abs(value := int(text)) > sys.float_info.max:
            return self._float(text)
        return value

    def _float(self, text: str) -> float:
        value = float(text)
        self.has_large |= abs(value) > sys.float_info.max
        return value


def _refuse_constant(name: str) -> object:
    raise MalformedJson(f"{name} is not JSON.")


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise MalformedJson("An object of the body has a name twice.")
    return value


def _mistakes(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        if NOT_STORABLE.search(value):
            yield path, NOT_TEXT
    elif isinstance(value, float):
        if abs(value) > sys.float_info.max:
            yield path, TOO_LARGE
    elif isinstance(value, dict | list):
        if len(path) >= MAX_DEPTH:
            yield path, TOO_DEEP
            return
        if isinstance(value, dict):
            members = cast(Mapping[str, Any], value).items()
        else:
            members = enumerate(cast(list[Any], value))
        for name, member in members:
            if isinstance(name, str) and NOT_STORABLE.search(name):
                yield (*path, name), NOT_TEXT
            yield from _mistakes(member, (*path, name))


def _cut(text: str) -> str:
    """The text with an empty list for each value that is nested too deep. Raises MalformedJson if
    the brackets are not closed."""
    kept: list[str] = []
    depth, begin = 0, 0
    for found in STRING_OR_BRACKET.finditer(text):
        if found[0] in ("[", "{"):
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept += text[begin : found.start()], "[]"
        elif found[0] in ("]", "}"):
            if depth == MAX_DEPTH + 1:
                begin = found.end()
            depth -= 1
    if depth != 0:
        raise MalformedJson
    return "".join([*kept, text[begin:]])
