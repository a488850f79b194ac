"""What callers send. Unknown fields are refused: a misspelt option must not be ignored in silence.

Loaded only by the routes that read a body. What callers get is built by Postgres; its description
is `masstock.schemas.responses`.
"""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag

from masstock.limits import PROMPTS_LIMIT
from masstock.schemas.workflow_config import WHOLE, WorkflowConfig

PROMPT_LENGTH = 10_000


# Spelt out: \s is another set in every dialect of regular expressions. Control characters too.
SPACES = r"\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


def _text(max_length: int) -> StringConstraints:
    """Trimmed, and something is left; without U+0000, which Postgres cannot hold."""
    return StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=max_length,
        pattern=rf"^[^\x00]*[^{SPACES}][^\x00]*$",
    )


Name = Annotated[str, _text(200)]
Notes = Annotated[str, _text(10_000)]
Prompt = Annotated[str, _text(PROMPT_LENGTH)]
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

# JSON has no UUIDs, so that strictness would refuse them all.
Id = Annotated[UUID, Field(strict=False)]
CustomId = Annotated[str, _text(200)]
WebhookUrl = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2000, pattern=r"^https?://[\x21-\x7e]+$"),
    Field(
        description="Told when an execution has ended, by the Standard Webhooks specification: "
        "https, and no private or link-local address."
    ),
]
Microusd = Annotated[int, Field(ge=0, le=10**15, description="Millionths of a US dollar."), WHOLE]

type AccountStatus = Literal["active", "suspended", "deleted"]
type Role = Literal["admin", "client"]
type RequestStatus = Literal["pending", "approved", "rejected"]
type TicketStatus = Literal["open", "in_progress", "resolved", "closed"]
type TicketPriority = Literal["low", "medium", "high", "urgent"]
type WorkflowStatus = Literal["active", "inactive"]

# For PATCH: a field may be left out, and its absence is no value of it.
UNSET: Any = Field(default_factory=lambda: None)
ForAdmins: Any = Field(
    default=None, description="Administrators name the client; client users leave it out."
)


class RequestBody(BaseModel):
    """A JSON object."""

    # Strict: "1", 1.0 and true are no integers, and a schema's reader would not expect it.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, strict=True)

    def changes(self) -> dict[str, Any]:
        """What the caller named, null included; for PATCH."""
        return self.model_dump(mode="json", exclude_unset=True)


class UserCreate(RequestBody):
    """An account; `id` is the identity provider's `sub`, made up where it is left out."""

    id: Id | None = None
    email: Email
    name: Name
    role: Role
    client_id: Id | None = Field(
        default=None, description="Required for role client, absent for admin."
    )


class UserUpdate(RequestBody):
    """Changes of an account."""

    email: Email = UNSET
    name: Name = UNSET
    role: Role = UNSET
    status: AccountStatus = UNSET
    client_id: Id | None = UNSET


class ClientCreate(RequestBody):
    """A client organization."""

    name: Name
    email: Email
    monthly_budget_microusd: Microusd | None = Field(
        default=None,
        description="What its executions may cost in a calendar month (UTC); null for no limit.",
    )
    webhook_url: WebhookUrl | None = None


class ClientUpdate(RequestBody):
    """Changes of a client."""

    name: Name = UNSET
    email: Email = UNSET
    status: AccountStatus = UNSET
    monthly_budget_microusd: Microusd | None = UNSET
    webhook_url: WebhookUrl | None = UNSET


class WorkflowCreate(RequestBody):
    """A workflow definition."""

    name: Name
    description: Notes | None = None
    status: WorkflowStatus = "active"
    config: WorkflowConfig


class WorkflowUpdate(RequestBody):
    """Changes of a workflow; `config` is replaced as a whole."""

    name: Name = UNSET
    description: Notes | None = UNSET
    status: WorkflowStatus = UNSET
    config: WorkflowConfig = UNSET


class WorkflowRequestCreate(RequestBody):
    """Asks for a workflow."""

    workflow_id: Id
    client_id: Id | None = ForAdmins
    notes: Notes | None = None


class WorkflowRequestUpdate(RequestBody):
    """Changes of a request: `notes` while it is pending; `status` by administrators only."""

    notes: Notes | None = UNSET
    status: RequestStatus = UNSET


class SupportTicketCreate(RequestBody):
    """A support ticket."""

    client_id: Id | None = ForAdmins
    subject: Name
    description: Notes
    priority: TicketPriority = "medium"


class SupportTicketUpdate(RequestBody):
    """Changes of a ticket while it is open; `status` by administrators only."""

    subject: Name = UNSET
    description: Notes = UNSET
    priority: TicketPriority = UNSET
    status: TicketStatus = UNSET


class PromptWithId(RequestBody):
    """A prompt with the caller's own name for it, unique in the execution and returned with the
    result."""

    prompt: Prompt
    custom_id: CustomId | None = None


def _form_of_prompt(value: object) -> str:
    return OBJECT_FORM if isinstance(value, dict | PromptWithId) else TEXT_FORM


# Names of the two forms; in angle brackets, since they are no part of a caller's JSON.
TEXT_FORM = "<text>"
OBJECT_FORM = "<object>"
SubmittedPrompt = Annotated[
    Annotated[Prompt, Tag(TEXT_FORM)] | Annotated[PromptWithId, Tag(OBJECT_FORM)],
    Discriminator(_form_of_prompt),
]


class ExecutionCreate(RequestBody):
    """Submits prompts to a workflow: `prompts`, or the key of an uploaded list of them."""

    workflow_id: Id
    client_id: Id | None = ForAdmins
    prompts: list[SubmittedPrompt] | None = Field(
        default=None,
        min_length=1,
        max_length=PROMPTS_LIMIT,
        description="At most `max_prompts` of the workflow's config.",
    )
    prompts_key: str | None = Field(
        default=None,
        max_length=200,
        description="Key of an upload of kind `prompts`, for lists over the 4 MB of a request.",
    )
    reference_images: list[str] = Field(
        default_factory=list,
        max_length=14,
        description="Base64 of PNG, JPEG or WebP images, 2 MB together, or keys of uploads; "
        "where the workflow supports them.",
    )
    api_key: ApiKey | None = Field(
        default=None, description="The image model's key; kept sealed and never returned."
    )
    aspect_ratio: str | None = Field(
        default=None,
        pattern=r"^[1-9][0-9]?:[1-9][0-9]?$",
        description="Width to height of the images, where the model supports it.",
        examples=["16:9"],
    )
    webhook_url: WebhookUrl | None = Field(
        default=None, description="Instead of the client's own `webhook_url`."
    )


class EmptyBody(RequestBody):
    """Nothing is asked for but the operation itself."""


class ExecutionRetry(RequestBody):
    """Which failed prompts to paint again."""

    only_retryable: bool = Field(
        default=False, description="Leave out those whose outcome another try could not change."
    )


class UploadCreate(RequestBody):
    """One file to upload: a reference image (10 MB), or a list of prompts (50 MB) as JSON Lines,
    each line a prompt as in `prompts`."""

    client_id: Id | None = ForAdmins
    kind: Literal["reference_image", "prompts"] = "reference_image"
    content_type: Literal["image/png", "image/jpeg", "image/webp", "application/jsonl"] | None = (
        Field(default=None, description="Required for an image; `application/jsonl` for prompts.")
    )
