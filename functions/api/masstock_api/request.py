"""What a route may read of a request, checked: its body, its query string, its path, its caller."""

import json
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from masstock.errors import (
    BodyTooLarge,
    FieldError,
    MalformedJson,
    UnsupportedMediaType,
    ValidationFailed,
)

if TYPE_CHECKING:
    from masstock.schemas.requests import RequestBody

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_IDEMPOTENCY_KEY_LENGTH = 255
MAX_TEXT_LENGTH = 200
# An answer of Lambda has at most 6 MB, and every unknown field of 4 MB is a mistake with its name.
MAX_MISTAKES = 100
MAX_POINTER_LENGTH = 1000


def raw_body(event: APIGatewayProxyEventV2) -> bytes:
    """The body as it was sent; raises BodyTooLarge."""
    text = event.body or ""
    body = b64decode(text) if event.is_base64_encoded else text.encode()
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge
    return body


def read_body[Body: "RequestBody"](event: APIGatewayProxyEventV2, shape: type[Body]) -> Body:
    """The JSON body as its model; raises UnsupportedMediaType, BodyTooLarge, MalformedJson, or
    ValidationFailed with a JSON pointer to every mistake, to the first MAX_MISTAKES of many."""
    from pydantic import ValidationError

    media_type = (event.headers.get("content-type") or "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaType
    try:
        content = json.loads(raw_body(event), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedJson from error
    try:
        return shape.model_validate(content)
    except ValidationError as error:
        raise ValidationFailed(
            [
                FieldError(_pointer(mistake["loc"]), mistake["msg"])
                for mistake in error.errors(include_url=False, include_input=False)[:MAX_MISTAKES]
            ]
        ) from error


def read_no_body(event: APIGatewayProxyEventV2) -> None:
    """Refuses what is sent to an operation that asks for nothing; raises as `read_body` does."""
    if event.body:
        # Where there is nothing to read, pydantic need not be there.
        from masstock.schemas.requests import EmptyBody

        read_body(event, EmptyBody)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _pointer(location: tuple[int | str, ...]) -> str:
    """RFC 6901, its beginning where a field's name is no name but a text. Parts in angle brackets
    are the models' own names for one of several forms."""
    pointer = "".join(
        "/" + str(part).replace("~", "~0").replace("/", "~1")
        for part in location
        if not str(part).startswith("<")
    )
    return pointer[:MAX_POINTER_LENGTH]


# --- query string and path -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a parameter may be: `convert` makes a value of its text, or raises ValueError telling
    the caller what to send; `schema` tells the API's description the same."""

    convert: Callable[[str], Any]
    schema: Mapping[str, Any]

    def __call__(self, text: str) -> Any:
        """The value of a text; raises ValueError."""
        return self.convert(text)


def read_query(
    event: APIGatewayProxyEventV2, parameters: Mapping[str, Parameter]
) -> dict[str, Any]:
    """Every known parameter, converted, None where absent; raises ValidationFailed for unknown
    ones and for values that do not convert."""
    given = event.query_string_parameters or {}
    mistakes = [
        FieldError(name, "There is no such parameter.") for name in given if name not in parameters
    ]
    values: dict[str, Any] = dict.fromkeys(parameters)
    for name, convert in parameters.items():
        if name in given:
            try:
                values[name] = convert(given[name])
            except ValueError as error:
                mistakes.append(FieldError(name, str(error)))
    if mistakes:
        raise ValidationFailed(mistakes)
    return values


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
    except ValueError:
        raise ValueError("Send a date or a date-time of ISO 8601.") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _text(text: str) -> str:
    if 0 < len(text) <= MAX_TEXT_LENGTH and "\x00" not in text:
        return text
    raise ValueError(f"Send 1 to {MAX_TEXT_LENGTH} characters.")


a_uuid = Parameter(_uuid, {"type": "string", "format": "uuid"})
# ISO 8601; UTC where it names no offset.
a_time = Parameter(_time, {"type": "string", "format": "date-time"})
# Something to look for.
a_text = Parameter(_text, {"type": "string", "minLength": 1, "maxLength": MAX_TEXT_LENGTH})
# When the rows of a list were created.
PERIOD = {"from": a_time, "to": a_time}


def one_of(*choices: str) -> Parameter:
    """One of a few words."""

    def convert(text: str) -> str:
        if text not in choices:
            raise ValueError(f"Send one of: {', '.join(choices)}.")
        return text

    return Parameter(convert, {"type": "string", "enum": list(choices)})


def between(lowest: int, highest: int, *, default: int | None = None) -> Parameter:
    """A whole number in a range; `default` is what its absence means."""

    def convert(text: str) -> int:
        # int() also takes signs, underscores, spaces and other scripts' digits.
        if text.isascii() and text.isdigit() and len(text) < 10 and lowest <= int(text) <= highest:
            return int(text)
        raise ValueError(f"Send a whole number from {lowest} to {highest}.")

    schema = {"type": "integer", "minimum": lowest, "maximum": highest}
    return Parameter(convert, schema if default is None else {**schema, "default": default})


a_flag = Parameter(
    # Python's own spelling too: its HTTP clients send str(True).
    lambda text: one_of("true", "false")(text.lower()) == "true",
    {"type": "boolean", "default": False},
)


def path_uuid(text: str, name: str) -> UUID:
    """A path segment that must be a UUID; raises ValidationFailed."""
    try:
        return a_uuid(text)
    except ValueError as error:
        raise ValidationFailed([FieldError(name, str(error))]) from error


def idempotency_key(event: APIGatewayProxyEventV2) -> str | None:
    """The Idempotency-Key header; raises ValidationFailed for one that cannot be a key."""
    key = event.headers.get("idempotency-key")
    if key is not None and not (
        0 < len(key) <= MAX_IDEMPOTENCY_KEY_LENGTH and key.isascii() and key.isprintable()
    ):
        raise ValidationFailed(
            [FieldError("Idempotency-Key", "Send 1 to 255 printable ASCII characters.")]
        )
    return key
