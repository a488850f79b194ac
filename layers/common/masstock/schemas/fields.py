"""Types of the fields of requests, with their limits."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from masstock.limits import IMAGES_LIMIT, IMAGES_PER_PROMPT_LIMIT
from masstock.schemas.workflow_config import RATIO_PATTERN, WHOLE

PROMPT_LENGTH = 10_000
# The database has the same limit (0033).
MAX_DEADLINE_SECONDS = 72 * 3600
Duration = Annotated[int, Field(ge=60, le=MAX_DEADLINE_SECONDS), WHOLE]
# Of one prompt.
MAX_REFERENCES = 14
METADATA_BYTES = 4096
# The largest seed of Gemini, less what the last image of a prompt adds.
MAX_SEED = 2**31 - IMAGES_PER_PROMPT_LIMIT


# Spaces, control characters and characters of no width. Not \s, which differs between dialects of
# regular expressions.
SPACES = (
    r"\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    r"\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0"
)


def text_of(max_length: int) -> StringConstraints:
    """Text with a visible character. U+0000 is refused: Postgres cannot store it."""
    return StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=max_length,
        pattern=rf"^[^\x00]*[^{SPACES}][^\x00]*$",
    )


Name = Annotated[str, text_of(200)]
Notes = Annotated[str, text_of(10_000)]
Prompt = Annotated[str, text_of(PROMPT_LENGTH)]
Email = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        max_length=320,
        pattern=rf"^[^{SPACES}@]+@[^{SPACES}@]+\.[^{SPACES}@]+$",
    ),
]
# HTTP cannot send a header value that begins or ends with a space.
ApiKey = Annotated[
    str,
    StringConstraints(
        min_length=8, max_length=512, pattern=r"^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$"
    ),
]


def _future(value: object) -> datetime:
    try:
        # Offsets are required, because a time without one is another time elsewhere.
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise PydanticCustomError("time", "Send an ISO 8601 date-time with an offset.")
    if time <= datetime.now(UTC):
        raise PydanticCustomError("past", "Send a time in the future.")
    return time


FutureTime = Annotated[datetime, BeforeValidator(_future)]

# Not strict: JSON has UUIDs as strings, which strict mode refuses.
Id = Annotated[UUID, Field(strict=False)]
CustomId = Annotated[str, text_of(200)]
AspectRatio = Annotated[
    str,
    Field(
        pattern=RATIO_PATTERN,
        description="Ratio of width to height of the images, if the model supports it.",
        examples=["16:9"],
    ),
]
ImagesPerPrompt = Annotated[int, Field(ge=1, le=IMAGES_PER_PROMPT_LIMIT), WHOLE]
BatchIndex = Annotated[int, Field(ge=0, lt=IMAGES_LIMIT), WHOLE]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED), WHOLE]
WebhookUrl = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2000, pattern=r"^https?://[\x21-\x7e]+$"),
    Field(
        description="https URL that gets a Standard Webhooks message at the end of an execution; "
        "no private or link-local address."
    ),
]
Budget = Annotated[
    Annotated[int, Field(ge=0, le=10**15), WHOLE] | None,
    Field(
        description="Limit of the cost per calendar month (UTC), in millionths of a US dollar; "
        "null for no limit."
    ),
]

RetentionDays = Annotated[
    Annotated[int, Field(ge=1, le=3650), WHOLE] | None,
    Field(
        description="Days from the end of an execution until its images are removed; null keeps "
        "them."
    ),
]

type AccountStatus = Literal["active", "suspended", "deleted"]
type Role = Literal["admin", "client"]
type RequestStatus = Literal["pending", "approved", "rejected"]
type TicketStatus = Literal["open", "in_progress", "resolved", "closed"]
type TicketPriority = Literal["low", "medium", "high", "urgent"]
type WorkflowStatus = Literal["active", "inactive"]

type WebhookEvent = Literal[
    "execution.completed",
    "execution.failed",
    "execution.paused",
    "result.completed",
    "result.failed",
]
ENDS: tuple[WebhookEvent, ...] = ("execution.completed", "execution.failed")
