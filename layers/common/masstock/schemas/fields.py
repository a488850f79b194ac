"""Types of the fields of requests, with their limits."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from masstock.limits import IMAGES_LIMIT, IMAGES_PER_PROMPT_LIMIT
from masstock.schemas.patterns import API_KEY, EMAIL, RATIO, VISIBLE, WEB_URL
from masstock.schemas.workflow_config import WHOLE

PROMPT_LENGTH = 10_000
# The database has the same limit (0033).
MAX_DEADLINE_SECONDS = 72 * 3600
Duration = Annotated[int, Field(ge=60, le=MAX_DEADLINE_SECONDS), WHOLE]
# Of one prompt.
MAX_REFERENCES = 14
METADATA_BYTES = 4096
# The largest seed of Gemini, less what the last image of a prompt adds.
MAX_SEED = 2**31 - IMAGES_PER_PROMPT_LIMIT


def text_of(max_length: int) -> StringConstraints:
    """Text with a visible character."""
    return StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=max_length,
        pattern=VISIBLE,
    )


Name = Annotated[str, text_of(200)]
Notes = Annotated[str, text_of(10_000)]
Prompt = Annotated[str, text_of(PROMPT_LENGTH)]
Email = Annotated[str, StringConstraints(strip_whitespace=True, max_length=320, pattern=EMAIL)]
ApiKey = Annotated[str, StringConstraints(min_length=8, max_length=512, pattern=API_KEY)]


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
        pattern=RATIO,
        description="Ratio of width to height of the images, if the model supports it.",
        examples=["16:9"],
    ),
]
ImagesPerPrompt = Annotated[int, Field(ge=1, le=IMAGES_PER_PROMPT_LIMIT), WHOLE]
BatchIndex = Annotated[int, Field(ge=0, lt=IMAGES_LIMIT), WHOLE]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED), WHOLE]
WebhookUrl = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2000, pattern=WEB_URL),
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
