"""Parameters of the query string and the path: converts their text to checked values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from masstock.errors import FieldError, ValidationFailed
from masstock_api.strict_json import NOT_STORABLE

MAX_TEXT_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. `convert` turns its text into a value, or raises ValueError with a message
    for the caller. `schema` is its JSON Schema in the OpenAPI document, and `note` describes it
    there."""

    convert: Callable[[str], Any]
    schema: Mapping[str, Any]
    note: str | None = None


def read_query(given: Mapping[str, str], parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """The value of every declared parameter, None if it is absent. Raises ValidationFailed for
    unknown parameters and for texts that do not convert."""
    mistakes = [
        FieldError(name, "There is no such parameter.") for name in given if name not in parameters
    ]
    values: dict[str, Any] = dict.fromkeys(parameters)
    for name in parameters.keys() & given.keys():
        try:
            values[name] = parameters[name].convert(given[name])
        except ValueError as error:
            mistakes.append(FieldError(name, str(error)))
    if mistakes:
        raise ValidationFailed(mistakes)
    return values


def read_path(given: Mapping[str, str], parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """The values of the path's parameters: UUIDs, except those in `parameters`. Raises
    ValidationFailed."""
    return read_query(given, {name: parameters.get(name, a_uuid) for name in given})


def _uuid(text: str) -> UUID:
    try:
        # UUID() also takes braces, urn: and missing hyphens.
        if len(text) == 36:
            return UUID(text)
    except ValueError:
        pass
    raise ValueError("Send a UUID.")


def _time(text: str) -> datetime:
    try:
        # An unescaped + arrives as a space.
        time = datetime.fromisoformat(text.replace(" ", "+"))
        # OverflowError: with its offset the time is outside the years 1 to 9999 of UTC.
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError("Send an ISO 8601 date or date-time.") from None


def _text(text: str) -> str:
    if 0 < len(text) <= MAX_TEXT_LENGTH and not NOT_STORABLE.search(text):
        return text
    raise ValueError(f"Send 1 to {MAX_TEXT_LENGTH} characters.")


def _words(text: str) -> str:
    if not any(character.isalnum() for character in text):
        raise ValueError("Send at least one word.")
    return _text(text)


def one_of(*choices: str) -> Parameter:
    """One word of `choices`."""

    def convert(text: str) -> str:
        if text not in choices:
            raise ValueError(f"Send one of: {', '.join(choices)}.")
        return text

    return Parameter(convert, {"type": "string", "enum": list(choices)})


def between(lowest: int, highest: int, *, default: int | None = None) -> Parameter:
    """A whole number in a range. `default` is for the OpenAPI document only. The handler itself
    must apply it."""

    def convert(text: str) -> int:
        # int() also takes signs, underscores, spaces and other scripts' digits.
        if text.isascii() and text.isdigit() and len(text) < 10 and lowest <= int(text) <= highest:
            return int(text)
        raise ValueError(f"Send a whole number from {lowest} to {highest}.")

    schema = {"type": "integer", "minimum": lowest, "maximum": highest}
    return Parameter(convert, schema if default is None else {**schema, "default": default})


a_uuid = Parameter(_uuid, {"type": "string", "format": "uuid"})
# ISO 8601; UTC if the text has no offset.
a_time = Parameter(_time, {"type": "string", "format": "date-time"})
# A text to search for.
a_text = Parameter(
    _text,
    {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_TEXT_LENGTH,
        "pattern": r"^[^\u0000]*$",
    },
)
# Words to search for.
some_words = Parameter(
    _words,
    a_text.schema,
    "Words that the prompt contains, in any order, without case and accents.",
)


def a_flag_that_is(default: bool) -> Parameter:
    """true or false. `default` is for the OpenAPI document only, as in `between`."""
    return Parameter(
        # Python's HTTP clients send str(True), which is "True".
        lambda text: one_of("true", "false").convert(text.lower()) == "true",
        {"type": "boolean", "default": default},
    )


a_flag = a_flag_that_is(False)
# Limits of the creation time of a list's rows: [from, to).
PERIOD = {"from": a_time, "to": a_time}
