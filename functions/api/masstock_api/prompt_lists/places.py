"""Where each prompt of a submission came from, so that a mistake names a place that the caller
can find."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from masstock.errors import FieldError, ValidationFailed
from masstock.schemas.patterns import reason_of
from masstock.schemas.prompts import PromptWithId
from masstock_api.strict_json import MAX_MISTAKES, pointer

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

FILE = "/prompts_key"
MAX_NAME = 100
NO_SUCH_FIELD = "There is no such field; put fields of your own into metadata."

_prompts = TypeAdapter(list[PromptWithId])


def in_line(line: int, member: str | None, detail: str) -> FieldError:
    """A mistake in a line of an uploaded file."""
    named = "" if member is None else f"{short(member)}: "
    return FieldError(FILE, f"Line {line}: {named}{detail}")


def short(name: str) -> str:
    """The beginning of a caller's name, for a message. The name can have megabytes."""
    return name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}…"


@dataclass(frozen=True, slots=True)
class Places:
    """The places of a list of prompts. Each prompt has one element of `pointer`, or one line of a
    file. A prompt that is `combined` from several rows has no place in the list."""

    pointer: str
    lines: Sequence[int] | None = None
    combined: bool = False

    def mistake(self, index: int, member: str | None, detail: str) -> FieldError:
        """A mistake in one prompt, or in a member of it."""
        if self.combined:
            return FieldError(self.pointer, f"Combination {index + 1}: {detail}")
        if self.lines is not None:
            return in_line(self.lines[index], member, detail)
        path = (index,) if member is None else (index, member)
        return FieldError(self.pointer + pointer(path), detail)

    def repeated(self, index: int, first: int, custom_id: str) -> FieldError:
        """The mistake of a `custom_id` that an earlier prompt has."""
        if self.lines is None:
            detail = "Another prompt of this execution has the same custom_id."
            return self.mistake(index, "custom_id", detail)
        detail = f'custom_id "{custom_id}" repeats line {self.lines[first]}.'
        return in_line(self.lines[index], None, detail)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a file: members of prompts and values of variables."""

    members: list[dict[str, Any]]
    lines: Sequence[int]

    @property
    def places(self) -> Places:
        """The places of the rows."""
        return Places(FILE, self.lines)


@dataclass(frozen=True, slots=True)
class PromptList:
    """The prompts of a submission."""

    prompts: Sequence[str | PromptWithId]
    places: Places


def refuse(mistakes: Iterable[FieldError]) -> None:
    """Raises ValidationFailed if there is a mistake."""
    if found := list(mistakes):
        raise ValidationFailed(found[:MAX_MISTAKES])


def validated(
    objects: Sequence[dict[str, Any]], places: Places, *, has_prompts: bool = True
) -> PromptList:
    """The objects as prompts. Raises ValidationFailed with the place of each mistake. `has_prompts`
    is false if the places have no member `prompt`, because a template made it."""
    try:
        return PromptList(_prompts.validate_python(objects), places)
    except ValidationError as error:
        raise ValidationFailed(
            [
                places.mistake(
                    int(mistake["loc"][0]),
                    member if has_prompts or member != "prompt" else None,
                    detail,
                )
                for mistake in error.errors(include_url=False, include_input=False)[:MAX_MISTAKES]
                for member, detail in [described(mistake["loc"][1:], mistake)]
            ]
        ) from error


def described(loc: tuple[int | str, ...], mistake: "ErrorDetails") -> tuple[str | None, str]:
    """The member of a prompt that pydantic refuses, and the reason. `loc` is its place in the
    prompt. Names in angle brackets are forms of a prompt (masstock.schemas.requests)."""
    named = [str(part) for part in loc if not str(part).startswith("<")]
    is_unknown = mistake["type"] == "extra_forbidden"
    return ".".join(named) or None, NO_SUCH_FIELD if is_unknown else reason_of(mistake)
