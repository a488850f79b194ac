"""Bodies of answers, for the OpenAPI document. Postgres builds the JSON of answers, so no request
imports this module. tools/openapi.py reads the models, also those of `archives`, `people`
and `reports`. Tests compare them with real answers.
"""

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from masstock.schemas.fields import (
    RequestStatus,
    TicketPriority,
    TicketStatus,
    WebhookEvent,
    WorkflowStatus,
)
from masstock.schemas.requests import Canary
from masstock.schemas.resource import Count, CreatedAt, Resource, UpdatedAt
from masstock.schemas.workflow_config import ImageSize, Tier, WorkflowConfig

type ExecutionStatus = Literal["pending", "processing", "completed", "failed"]
type ResultStatus = Literal["processing", "completed", "failed"]


class Workflow(Resource):
    """A workflow."""

    id: UUID
    name: str
    description: str | None
    status: WorkflowStatus
    config: WorkflowConfig
    created_at: CreatedAt
    updated_at: UpdatedAt


class WorkflowRequest(Resource):
    """A client's request to use a workflow."""

    id: UUID
    client_id: UUID
    workflow_id: UUID
    status: RequestStatus
    notes: str | None
    created_at: CreatedAt
    updated_at: UpdatedAt


class SupportTicket(Resource):
    """A support ticket."""

    id: UUID
    client_id: UUID
    user_id: UUID = Field(description="The user who opened the ticket.")
    subject: str
    description: str
    status: TicketStatus
    priority: TicketPriority
    created_at: CreatedAt
    updated_at: UpdatedAt


class NamedPrompt(Resource):
    """A prompt with settings of its own, as submitted."""

    prompt: str
    custom_id: str | None = None
    aspect_ratio: str | None = None
    image_size: str | None = None
    reference_images: list[str] | None = Field(default=None, description="Keys.")
    reference_etags: list[str] | None = Field(default=None, description="ETags at submission.")
    images: int | None = None
    seed: int | None = None
    metadata: dict[str, Any] | None = None


class InputData(Resource):
    """The submission without its API key."""

    prompts: list[str | NamedPrompt] = Field(
        default_factory=list[str | NamedPrompt],
        description="Absent if the input has more than 3 MB; the results contain the prompts too.",
    )
    reference_images: list[str] = Field(
        default_factory=list, description="Keys of the reference images; absent if there are none."
    )
    reference_etags: list[str] = Field(
        default_factory=list, description="ETags of the reference images at submission."
    )
    aspect_ratio: str | None = None
    image_size: str | None = None
    images_per_prompt: int | None = None
    seed: int | None = None
    canary: Canary | None = None
    reuse: Literal["identical"] | None = None
    fall_back_after_seconds: int | None = None


class OutputData(Resource):
    """Numbers of images that succeeded and failed, and their cost."""

    successful: Count
    failed: Count
    total: Count
    cost_microusd: Count | None = Field(
        default=None, description="Millionths of a US dollar; null or absent if unknown."
    )


class Progress(Resource):
    """Numbers of images by status. `total` is `successful` + `failed` + `processing`."""

    successful: Count
    failed: Count
    total: Count
    processing: Count = Field(description="Images that are not finished. The rest are parts of it.")
    waiting: Count = Field(description="They wait for their turn.")
    submitted: Count = Field(description="A job of the provider has them.")
    painted_by_provider: Count = Field(description="A job of the provider has painted them.")
    paused: Count = Field(description="They wait for the caller.")


class ExecutionSummary(Resource):
    """An execution in a list."""

    id: UUID
    workflow_id: UUID
    client_id: UUID
    user_id: UUID
    name: str | None = Field(description="The caller's name for it.")
    status: ExecutionStatus
    output_data: OutputData | None = Field(description="Null until the execution has ended.")
    started_at: datetime | None = Field(description="When processing started; null before.")
    completed_at: datetime | None = Field(description="When the execution ended; null before.")
    duration_seconds: Count | None = Field(
        description="Seconds of work, without the pause of a canary and the time before a retry; "
        "null until the end."
    )
    error_code: str | None = Field(description="Outcome code (docs/errors.md); null if none.")
    error_message: str | None = Field(description="Explains `error_code`.")
    created_at: CreatedAt
    deadline_at: datetime | None = Field(description="When unfinished prompts fail.")
    paused_at: datetime | None = Field(
        description="Since when it waits for you to resume it; null if it does not."
    )
    prompt_count: Count = Field(description="Number of submitted prompts.")
    image_count: Count = Field(description="Number of images that they ask for.")
    progress: Progress
    estimate_microusd: Count | None = Field(
        description="Expected cost, in millionths of a US dollar; null if unknown."
    )
    cost_microusd: Count | None = Field(
        description="Actual cost, in millionths of a US dollar; null until the end, or if unknown."
    )
    model: str | None = Field(
        description="The workflow's image model at submission, or its fallback model after it "
        "replaced that one."
    )
    image_size: str
    images_per_prompt: Count
    expired_at: datetime | None = Field(
        description="When its images were removed, for the client's `retention_days`; else null."
    )
    cover_url: str | None = Field(
        description="URL of the first thumbnail, like `thumbnail_url` of a result; null if none."
    )
    tier: Tier
    workflow_name: str | None
    user_name: str | None = Field(description="Null if the caller cannot see the user.")
    client_name: str | None


class Execution(ExecutionSummary):
    """An execution with its input."""

    input_data: InputData
    pace: "Pace"
    on_economy_failure: Literal["standard", "fail"] | None
    fell_back_at: datetime | None = Field(description="When the rest went to the tier standard.")
    webhook_url: str | None = Field(description="URL that gets messages.")
    webhook_events: list[WebhookEvent]
    webhook_delivered_at: datetime | None = Field(description="Null if not yet delivered.")
    webhook_error: str | None = Field(description="Why the last attempt to deliver it failed.")


class Pace(Resource):
    """How fast an execution paints, and why not faster."""

    limited_by: Literal[
        "none", "concurrency", "provider_limit", "outage", "budget", "economy_job", "canary"
    ] = Field(
        description="`none`: it has ended, has not begun, or nothing limits it. `concurrency`: the "
        "workflow's `max_concurrency`. `provider_limit`: the rate limit of the provider. `outage`: "
        "the provider is down. `economy_job`: a job of the provider paints it. `canary`: it waits "
        "until you resume it. `budget` is reserved. Apart from `canary` you need not do anything: "
        "waiting costs no prompt."
    )
    images_per_minute: float | None = Field(description="Of the last minute; null if unknown.")
    opens_at: datetime | None = Field(
        description="When the provider is asked again; null if it is not closed."
    )
    expected_end_at: datetime | None = Field(description="Null if unknown.")


class Lane(Resource):
    """One quota of a provider: a model and an API key."""

    id: UUID
    model: str
    client_id: UUID | None = Field(
        description="The client whose key or lane it is; null for the platform's key."
    )
    limited_by: Literal["none", "provider_limit", "outage"]
    calls_per_minute: float | None = Field(description="The present pace; null if it is open.")
    limit_per_minute: Count | None = Field(description="The limit that an administrator set.")
    opens_at: datetime | None = Field(description="Null if it is not closed.")
    closed_since: datetime | None = Field(description="Null if it is not closed.")
    last_success_at: datetime | None
    waiting_executions: Count
    created_at: CreatedAt


class Estimate(Resource):
    """The expected cost of a submission. Nothing was stored."""

    dry_run: Literal[True]
    workflow_id: UUID
    client_id: UUID
    model: str = Field(description="The workflow's image model.")
    fallback_model: str | None = Field(
        description="Replaces the model if it is gone. The estimate is that of the more expensive "
        "one."
    )
    prompts: Count = Field(description="Number of prompts.")
    images: Count = Field(description="Number of images.")
    reused_images: Count = Field(
        description="How many of them `reuse` takes from earlier results. They cost nothing."
    )
    sample_prompts: list[str] = Field(description="The first five prompts, as they are painted.")
    tier: Tier
    estimate_microusd: Count | None = Field(
        description="Expected cost of what is painted in this tier, in millionths of a US dollar; "
        "null if unknown."
    )
    budget_left_microusd: Count | None = Field(
        description="Rest of this month's budget in millionths of a US dollar; null for no limit."
    )
    fits_budget: bool = Field(description="Always true: without room, the answer is a 402.")
    image_size: str
    estimates: "EstimateByTier"
    estimate_parts: "EstimateParts"


class EstimateByTier(Resource):
    """Expected cost by tier, in millionths of a US dollar; null if unknown."""

    standard: Count | None
    economy: Count | None = Field(description="Null if the model has no batch price.")


class EstimateParts(Resource):
    """Expected cost of the standard tier by part, in millionths of a US dollar; null if unknown."""

    input_microusd: Count | None = Field(description="Prompts and reference images.")
    text_microusd: Count | None = Field(description="The model's thinking.")
    image_microusd: Count | None


class ModelSize(Resource):
    """Price of an image without references, in millionths of a US dollar."""

    size: ImageSize
    microusd: Count
    economy_microusd: Count | None = Field(description="Null if the model has no batch price.")


class ImageModel(Resource):
    """A known image model."""

    model: str
    provider: str
    sizes: list[ModelSize]
    aspect_ratios: list[str]
    max_reference_images: Count
    mime_type: str = Field(description="Type of the images that the model usually answers.")
    input_microusd_per_million_tokens: Count
    text_microusd_per_million_tokens: Count = Field(description="Thinking and text.")
    image_microusd_per_million_tokens: Count
    deprecated: bool = Field(description="True if the provider advises against the model.")
    ends_on: date | None = Field(description="End that the provider announced.")
    retired_on: date | None = Field(description="Submissions are refused from this day.")
    successor: str | None


class BatchResult(Resource):
    """One image of a prompt, or its outcome."""

    id: UUID
    execution_id: UUID
    client_id: UUID
    batch_index: Count = Field(description="Position of the image in the execution, from 0.")
    prompt_index: Count = Field(description="Position of the prompt in the submission, from 0.")
    image_index: Count = Field(description="Number among the images of its prompt, from 0.")
    prompt_text: str = Field(description="The prompt that is painted.")
    original_prompt: str | None = Field(
        description="The prompt as submitted; null if no retry has changed it."
    )
    custom_id: str | None = Field(description="The caller's own name for the prompt.")
    prompt_metadata: dict[str, Any] | None = Field(description="The prompt's `metadata`.")
    seed: Count | None = Field(description="The seed that was sent to the model.")
    reused_from: UUID | None = Field(
        description="The result whose image this one has; null if it was painted."
    )
    status: ResultStatus
    result_url: str | None = Field(
        description="URL of the image. It needs no token. It is valid for at least 15 minutes "
        "after this answer, or for ever if the installation's images are public. Answers of one "
        "quarter of an hour mostly have the same URL."
    )
    result_storage_path: str | None = Field(description="Object key of the image.")
    error_code: str | None = Field(description="Outcome code (docs/errors.md); null if none.")
    error_message: str | None = Field(description="Explains `error_code`.")
    retryable: bool | None = Field(
        description="If failed: true if a new submission could succeed; else null."
    )
    processing_time_ms: Count | None = Field(description="Milliseconds that the image model took.")
    mime_type: Literal["image/png", "image/jpeg", "image/webp"] | None
    size_bytes: Count | None
    image_sha256: str | None = Field(description="SHA-256 of the image, in hexadecimal.")
    attempts: Count = Field(description="How often painting was tried.")
    cost_microusd: Count | None = Field(description="Millionths of a US dollar; null if unknown.")
    tier: Tier | None = Field(description="The tier that painted the image; null without one.")
    model: str | None = Field(description="The model that answered.")
    width: Count | None = Field(description="Pixels.")
    height: Count | None = Field(description="Pixels.")
    as_asked: bool | None = Field(
        description="False if the image has another ratio or size than asked; null if none was."
    )
    images_in_answer: Count | None = Field(
        description="Number of finished images in the answer; the last one is the result."
    )
    has_provenance: bool | None = Field(description="True if the file carries a C2PA manifest.")
    thumbnail_url: str | None = Field(
        description="URL of a WebP of at most 512 pixels, like `result_url`. Null if there is none."
    )
    url_expires_at: datetime | None = Field(
        description="Until when the URLs work. Null without an image, and if images are public."
    )
    provider_message: str | None = Field(
        description="The provider's own words about an answer without an image."
    )
    created_at: CreatedAt
    completed_at: datetime | None = Field(description="Null while processing.")
    expired_at: datetime | None = Field(
        description="When its image was removed, for the client's `retention_days`; else null."
    )


class ImageUrl(Resource):
    """Where an image is."""

    url: str = Field(description="It needs no token.")
    expires_at: datetime | None = Field(
        description="Until when the URL works; null if images are public."
    )


class Upload(Resource):
    """A form that uploads a file. Send it to `url` with POST as multipart/form-data: first all
    `fields`, then the content of the file as `file`."""

    key: str = Field(description="Name of the file in a submission.")
    url: str
    fields: dict[str, str]
    expires_at: datetime = Field(description="When the form stops working.")


class Health(Resource):
    """The API reaches its database."""

    status: Literal["ok"]


class Report[Row](Resource):
    """A report, in the form of a page."""

    items: list[Row]
    next_cursor: None = Field(description="Always null: a report has one page.")


class Page[Item](Resource):
    """A page of a list."""

    items: list[Item]
    next_cursor: str | None = Field(
        description="Value of `cursor` for the next page; null on the last page."
    )


class FieldProblem(Resource):
    """One mistake in a request."""

    pointer: str = Field(
        description="A JSON pointer into the body, or the name of a parameter or header."
    )
    detail: str = Field(description="How to correct it.")


class Problem(Resource):
    """Why a request was refused or has failed (RFC 9457)."""

    type: str = Field(description="A URI that identifies the code.")
    title: str = Field(description="What the code means.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What went wrong with this request.")
    instance: str = Field(description="The path of the request.")
    code: str = Field(description="Stable. docs/errors.md explains every code.")
    request_id: str = Field(description="Send it with a support question.")
    errors: list[FieldProblem] = Field(
        default_factory=list[FieldProblem],
        description="Mistakes of a `validation_failed`, at most 100.",
    )


class GatewayMessage(Resource):
    """An answer of API Gateway, which the API itself did not see."""

    message: str
