"""Bodies of requests. Unknown fields are refused, so that a misspelt option is not ignored.

Only routes that read a body import this module. Postgres builds the bodies of answers;
`masstock.schemas.responses` describes them.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
)

from masstock.limits import IMAGES_LIMIT, PROMPTS_LIMIT
from masstock.schemas.fields import (
    MAX_REFERENCES,
    PROMPT_LENGTH,
    AccountStatus,
    ApiKey,
    AspectRatio,
    BatchIndex,
    Budget,
    Duration,
    Email,
    FutureTime,
    Id,
    ImagesPerPrompt,
    Name,
    Notes,
    Prompt,
    RequestStatus,
    RetentionDays,
    Role,
    Seed,
    TicketPriority,
    TicketStatus,
    WebhookEvent,
    WebhookUrl,
    WorkflowStatus,
    text_of,
)
from masstock.schemas.prompts import SubmittedPrompt
from masstock.schemas.request_body import RequestBody
from masstock.schemas.workflow_config import WHOLE, ImageSize, Tier, WorkflowConfig

# PATCH leaves an omitted field unchanged. Omitting is not the same as null.
UNSET: Any = Field(default_factory=lambda: None)
ForAdmins: Any = Field(
    default=None, description="Required from administrators; client users omit it."
)


class UserCreate(RequestBody):
    """A new account."""

    id: Id | None = Field(
        default=None, description="The identity provider's `sub`; a random UUID if omitted."
    )
    email: Email
    name: Name
    role: Role
    client_id: Id | None = Field(
        default=None, description="Required for role client, not allowed for admin."
    )
    invited_until: FutureTime | None = Field(
        default=None,
        description="Invites the person: the first sign-in before this time whose token carries "
        "`email`, confirmed, gets the account. Not allowed with `id`.",
    )


class UserUpdate(RequestBody):
    """Changes of an account. Omitted fields stay unchanged."""

    email: Email = UNSET
    name: Name = UNSET
    role: Role = UNSET
    status: AccountStatus = UNSET
    client_id: Id | None = UNSET
    invited_until: Annotated[
        FutureTime, Field(description="Only for an invitation that was not claimed yet.")
    ] = UNSET


class ClientCreate(RequestBody):
    """A new client organization."""

    name: Name
    email: Email
    monthly_budget_microusd: Budget = None
    webhook_url: WebhookUrl | None = None
    retention_days: RetentionDays = None


class ClientUpdate(RequestBody):
    """Changes of a client. Omitted fields stay unchanged."""

    name: Name = UNSET
    email: Email = UNSET
    status: AccountStatus = UNSET
    monthly_budget_microusd: Budget = UNSET
    webhook_url: WebhookUrl | None = UNSET
    retention_days: RetentionDays = UNSET


class WebhookSecretAdvance(RequestBody):
    """How a webhook secret is replaced."""

    leaked: bool = Field(
        default=False,
        description="The replaced secret signs nothing any more. By default it signs for another "
        "24 hours beside the new one.",
    )


class LaneUpdate(RequestBody):
    """Changes of a lane."""

    limit_per_minute: Annotated[
        Annotated[int, Field(ge=1, le=1_000_000), WHOLE] | None,
        Field(
            description="Calls per minute that the provider allows; null lets the lane find out."
        ),
    ] = UNSET


class WorkflowCreate(RequestBody):
    """A new workflow."""

    name: Name
    description: Notes | None = None
    status: WorkflowStatus = "active"
    config: WorkflowConfig


class WorkflowUpdate(RequestBody):
    """Changes of a workflow. Omitted fields stay unchanged. `config` is replaced as a whole."""

    name: Name = UNSET
    description: Notes | None = UNSET
    status: WorkflowStatus = UNSET
    config: WorkflowConfig = UNSET


class WorkflowRequestCreate(RequestBody):
    """A client's request to use a workflow."""

    workflow_id: Id
    client_id: Id | None = ForAdmins
    notes: Notes | None = None


class WorkflowRequestUpdate(RequestBody):
    """Changes of a workflow request. Omitted fields stay unchanged. Only administrators may send
    `status`."""

    notes: Notes | None = UNSET
    status: RequestStatus = UNSET


class SupportTicketCreate(RequestBody):
    """A new support ticket."""

    client_id: Id | None = ForAdmins
    subject: Name
    description: Notes
    priority: TicketPriority = "medium"


class SupportTicketUpdate(RequestBody):
    """Changes of a ticket. Omitted fields stay unchanged. Only administrators may send `status`."""

    subject: Name = UNSET
    description: Notes = UNSET
    priority: TicketPriority = UNSET
    status: TicketStatus = UNSET


class Canary(RequestBody):
    """The first images of an execution. After them it pauses."""

    images: Annotated[int, Field(ge=1, le=IMAGES_LIMIT), WHOLE]
    continue_at: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Goes on by itself if at least this share of these images succeeded.",
    )


class SubmissionMembers(RequestBody):
    """What a submission and a clone can name."""

    name: Name | None = Field(default=None, description="A name for people; lists show it.")
    prompts: list[SubmittedPrompt] | None = Field(
        default=None,
        min_length=1,
        max_length=PROMPTS_LIMIT,
        description="At most `max_prompts` of the workflow's config.",
    )
    prompts_key: str | None = Field(
        default=None,
        max_length=200,
        description="Key of an upload of kind `prompts`. For files, and for lists over the body "
        "limit of 4 MB.",
    )
    template: str | None = Field(
        default=None,
        min_length=1,
        max_length=2 * PROMPT_LENGTH,
        description="A prompt with variables: `A {product} on {surface}`. `{{` and `}}` are "
        "braces. It needs `rows`, or a file of rows as `prompts_key`.",
        examples=["A {product} on {surface}, {style}"],
    )
    rows: list[dict[str, Any]] | None = Field(
        default=None,
        min_length=1,
        max_length=PROMPTS_LIMIT,
        description="Values of the template's variables: texts or numbers. Each row makes one "
        "prompt. It can also have the members of a prompt object, such as `custom_id`.",
        examples=[[{"product": "mug", "surface": "slate", "style": "top view"}]],
    )
    api_key: ApiKey | None = Field(
        default=None,
        description="API key of the image model. It is stored encrypted, never returned.",
    )
    aspect_ratio: AspectRatio | None = None
    image_size: ImageSize | None = Field(
        default=None, description="Size of the images, if the model supports it; 1K by default."
    )
    images_per_prompt: ImagesPerPrompt | None = Field(
        default=None,
        description="How many images to paint of each prompt; 1 by default. An execution has at "
        "most 10,000 images.",
    )
    seed: Seed | None = Field(
        default=None,
        description="Seed of each prompt. Image k of a prompt is painted with seed + k. By default "
        "the model chooses.",
    )
    webhook_url: WebhookUrl | None = Field(
        default=None, description="Replaces the client's own `webhook_url`."
    )
    reuse: Literal["never", "identical"] | None = Field(
        default=None,
        description="`identical` takes an image that you already have for the same prompt, model, "
        "settings, seed and reference images, at no cost. By default `never`. Not with the tier "
        "economy.",
    )
    canary: Canary | None = Field(
        default=None,
        description="Paint so many images first, then pause until you resume the execution. After "
        "seven days it is cancelled. Not with the tier economy.",
    )
    lane: Annotated[str, text_of(100)] | None = Field(
        default=None,
        description="Your own name for the quota of `api_key`. Executions with the same name share "
        "one pace. Use it if several keys belong to one project of the provider.",
    )
    tier: Tier | None = Field(
        None, description="economy: half the price. By default the first of the workflow's `tiers`."
    )
    on_economy_failure: Literal["standard", "fail"] | None = Field(
        None,
        description="Prompts that no economy job painted are painted directly (default), or fail.",
    )
    fall_back_after_seconds: Duration | None = Field(
        default=None,
        description="If the provider is down for this time, the workflow's `fallback_model` paints "
        "the unfinished prompts. With the tier economy: after this time (default 24 hours) "
        "unfinished prompts are painted directly.",
    )
    deadline_seconds: Duration | None = Field(
        default=None,
        description="Ends the execution this long after its submission. By default it ends six "
        "hours after its provider last painted, at most 72 hours; with the tier economy after 72.",
    )


class ExecutionCreate(SubmissionMembers):
    """Prompts for a workflow: `prompts`, or `prompts_key`, or `template` with `rows`."""

    workflow_id: Id
    client_id: Id | None = ForAdmins
    combine: Literal["rows", "product"] = Field(
        default="rows",
        description="`rows` makes one prompt for each row. `product` makes one for each "
        "combination of the distinct values of each variable, and of each setting in the rows.",
    )
    reference_images: list[str] | None = Field(
        default=None,
        max_length=MAX_REFERENCES,
        description="Base64 or data URLs of PNG, JPEG or WebP images (2 MB in total), or keys of "
        "uploads. All together may have 15 MB. Only for a workflow that supports reference images.",
    )
    webhook_events: list[WebhookEvent] | None = Field(
        default=None,
        max_length=5,
        description="The events that the webhook gets; by default `execution.completed` and "
        "`execution.failed`. Results come in order, at most 100 in a message.",
    )


class ExecutionClone(SubmissionMembers):
    """Selects images of an execution, and what the new one has instead. What is omitted stays."""

    select: Literal["all", "failed"] = Field(
        default="all", description="The images to paint again. Not with prompts of your own."
    )
    indices: list[BatchIndex] | None = Field(
        default=None,
        min_length=1,
        max_length=IMAGES_LIMIT,
        description="Only these of the selected images, by `batch_index`.",
    )
    edits: list["PromptEdit"] | None = Field(
        default=None,
        min_length=1,
        max_length=IMAGES_LIMIT,
        description="Other prompts of selected images.",
    )
    workflow_id: Id | None = Field(default=None, description="The model is the workflow's.")
    combine: Literal["rows", "product"] | None = Field(
        default=None, description="See ExecutionCreate."
    )
    reference_images: list[str] | None = Field(
        default=None, max_length=MAX_REFERENCES, description="See ExecutionCreate."
    )
    webhook_events: list[WebhookEvent] | None = Field(
        default=None, max_length=5, description="See ExecutionCreate."
    )


class EmptyBody(RequestBody):
    """An object without fields."""


class PromptEdit(RequestBody):
    """An image, and the prompt to paint instead."""

    batch_index: BatchIndex
    prompt: Prompt | None = Field(default=None, description="By default the prompt stays.")


class ExecutionRetry(RequestBody):
    """Selects the failed images to paint again: all, or those that its fields name."""

    edits: list[PromptEdit] | None = Field(
        default=None,
        min_length=1,
        max_length=IMAGES_LIMIT,
        description="Paint these images, with other prompts. With `only_retryable` also those.",
    )

    only_retryable: bool = Field(
        default=False, description="Paint only prompts whose result has `retryable` true."
    )
    current_settings: bool = Field(
        default=False,
        description="Use the workflow's present settings instead of those of the submission.",
    )


class ArchiveCreate(RequestBody):
    """Selects the images of an archive."""

    indices: list[Annotated[int, Field(ge=0, lt=PROMPTS_LIMIT)]] | None = Field(
        default=None,
        min_length=1,
        max_length=PROMPTS_LIMIT,
        description="`batch_index` of each result. Absent: all that have an image.",
    )


class UploadCreate(RequestBody):
    """One file to upload: a reference image (at most 10 MB), or a list of prompts (at most 50 MB).
    The content type of a list says its format. In JSON Lines (`application/jsonl`, the default)
    each line is a prompt as in `prompts`. In CSV (`text/csv`) the header names the columns. In a
    text (`text/plain`) each line is a prompt, or each block if blank lines separate blocks."""

    client_id: Id | None = ForAdmins
    kind: Literal["reference_image", "prompts"] = "reference_image"
    content_type: (
        Literal[
            "image/png",
            "image/jpeg",
            "image/webp",
            "application/jsonl",
            "text/csv",
            "text/plain",
        ]
        | None
    ) = Field(
        default=None,
        description="Required for an image. A list of prompts is `application/jsonl` by default.",
    )
