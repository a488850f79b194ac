"""What callers get. These models describe; they do not run: answers are JSON made by Postgres, and
importing this costs no request anything. tools/openapi.py reads them, and tests hold real
answers against them.

The examples are the schema document's example rows, as sql/seed.sql has them.
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from masstock.schemas.requests import (
    AccountStatus,
    RequestStatus,
    Role,
    TicketPriority,
    TicketStatus,
    WorkflowStatus,
)
from masstock.schemas.workflow_config import WorkflowConfig

type ExecutionStatus = Literal["pending", "processing", "completed", "failed"]
type ResultStatus = Literal["processing", "completed", "failed"]
Count = Annotated[int, Field(ge=0)]


class Resource(BaseModel):
    """A JSON object. Fields may be added; those that are here stay."""


class Profile(Resource):
    """The caller, with the client they belong to."""

    id: UUID
    email: str
    name: str
    role: Role
    status: AccountStatus
    client_id: UUID | None
    client_name: str | None
    client_email: str | None


class User(Resource):
    """An account."""

    id: UUID
    email: str
    name: str
    role: Role
    status: AccountStatus
    client_id: UUID | None = Field(description="Null for administrators.")
    created_at: datetime
    updated_at: datetime
    last_login: datetime | None


class Client(Resource):
    """A client organization."""

    id: UUID
    name: str
    email: str
    status: AccountStatus
    created_at: datetime
    updated_at: datetime
    monthly_budget_microusd: Count | None = Field(
        description="What its executions may cost in a calendar month (UTC), in millionths of a "
        "US dollar; null for no limit."
    )
    webhook_url: str | None = Field(description="Told when an execution has ended.")
    webhook_secret_version: Count


class WebhookSecret(Resource):
    """What a client's webhooks are signed with."""

    client_id: UUID
    version: Count
    secret: str = Field(
        description="For a Standard Webhooks library.", examples=["whsec_" + "A" * 43 + "="]
    )


class Workflow(Resource):
    """A workflow definition."""

    id: UUID
    name: str
    description: str | None
    status: WorkflowStatus
    config: WorkflowConfig
    created_at: datetime
    updated_at: datetime


class WorkflowRequest(Resource):
    """A client's request for a workflow."""

    id: UUID
    client_id: UUID
    workflow_id: UUID
    status: RequestStatus
    notes: str | None
    created_at: datetime
    updated_at: datetime


class SupportTicket(Resource):
    """A support ticket."""

    id: UUID
    client_id: UUID
    user_id: UUID
    subject: str
    description: str
    status: TicketStatus
    priority: TicketPriority
    created_at: datetime
    updated_at: datetime


class NamedPrompt(Resource):
    """A prompt with the caller's own name for it."""

    prompt: str
    custom_id: str | None = None


class InputData(Resource):
    """What was submitted, without the API key."""

    prompts: list[str | NamedPrompt] = Field(
        default_factory=list[str | NamedPrompt],
        description="Absent where they would not fit into an answer; the results have them.",
    )
    reference_images: list[str] = Field(
        default_factory=list, description="Keys of the reference images; absent where none."
    )
    reference_etags: list[str] = Field(
        default_factory=list, description="Their versions at submission."
    )
    aspect_ratio: str | None = None


class OutputData(Resource):
    """How many prompts became images."""

    successful: Count
    failed: Count
    total: Count
    cost_microusd: Count | None = Field(
        default=None, description="Millionths of a US dollar; null or absent if unknown."
    )


class Progress(Resource):
    """How many prompts are settled, and how many are not yet."""

    successful: Count
    failed: Count
    total: Count
    processing: Count


class ExecutionSummary(Resource):
    """An execution as lists show it."""

    id: UUID
    workflow_id: UUID
    client_id: UUID
    user_id: UUID
    status: ExecutionStatus
    output_data: OutputData | None = Field(description="Null until the execution has ended.")
    started_at: datetime | None
    completed_at: datetime | None
    duration_seconds: Count | None
    error_code: str | None = Field(description="An outcome of docs/errors.md.")
    error_message: str | None
    created_at: datetime
    deadline_at: datetime | None = Field(
        description="When the execution ends with what it has by then."
    )
    prompt_count: Count
    estimate_microusd: Count | None = Field(
        description="Expected cost, in millionths of a US dollar; null if unknown."
    )
    cost_microusd: Count | None = Field(
        description="Actual cost, in millionths of a US dollar; null until the end, or if unknown."
    )
    workflow_name: str | None
    user_name: str | None
    client_name: str | None


class Execution(ExecutionSummary):
    """An execution with its input and progress."""

    input_data: InputData
    progress: Progress
    webhook_url: str | None
    webhook_delivered_at: datetime | None
    webhook_error: str | None = Field(description="Why the last attempt to deliver it failed.")


class Estimate(Resource):
    """What a submission would cost; nothing was stored."""

    dry_run: Literal[True]
    workflow_id: UUID
    client_id: UUID
    model: str
    prompts: Count
    estimate_microusd: Count | None = Field(
        description="Millionths of a US dollar; null if unknown."
    )
    budget_left_microusd: Count | None = Field(
        description="Of this month's budget; null where there is no limit."
    )
    fits_budget: bool = Field(description="Always true: without room, the answer is a 402.")


class BatchResult(Resource):
    """What became of one prompt."""

    id: UUID
    execution_id: UUID
    client_id: UUID
    batch_index: Count = Field(description="The prompt's place in the submission, from 0.")
    prompt_text: str
    custom_id: str | None
    status: ResultStatus
    result_url: str | None = Field(
        description="Shows the image without any header, for 15 minutes from when it was read; "
        "where the installation's images are public, for ever."
    )
    result_storage_path: str | None
    error_code: str | None = Field(description="An outcome of docs/errors.md.")
    error_message: str | None
    retryable: bool | None = Field(
        description="Of a failed one: whether submitting the prompt again could succeed."
    )
    processing_time_ms: Count | None
    mime_type: Literal["image/png", "image/jpeg", "image/webp"] | None
    size_bytes: Count | None
    image_sha256: str | None
    attempts: Count
    cost_microusd: Count | None = Field(description="Millionths of a US dollar; null if unknown.")
    created_at: datetime
    completed_at: datetime | None


class Upload(Resource):
    """A form: POST `fields` and then the content, as `file`, to `url` as multipart/form-data."""

    key: str = Field(description="Names the upload in a submission.")
    url: str
    fields: dict[str, str]
    expires_at: datetime


class ClientUsage(Resource):
    """How one client's executions ended."""

    client_name: str
    total_executions: Count
    successful: Count
    failed: Count
    success_rate_percent: float


class WorkflowUsage(Resource):
    """How often one workflow was used."""

    workflow_name: str
    execution_count: Count
    avg_duration_seconds: float | None
    successful_count: Count


class Health(Resource):
    """The API reaches its database."""

    status: Literal["ok"]


class Report[Row](Resource):
    """A report."""

    items: list[Row]
    next_cursor: None = Field(description="Always null: a report comes in one piece.")


class Page[Item](Resource):
    """A page of a list."""

    items: list[Item]
    next_cursor: str | None = Field(
        description="Pass it as `cursor` to get the next page; null on the last one."
    )


class FieldProblem(Resource):
    """One offending place in a request."""

    pointer: str = Field(
        description="A JSON pointer into the body, or the name of a parameter or header."
    )
    detail: str


class Problem(Resource):
    """Why a request was refused or failed (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(description="Stable; every code is explained in docs/errors.md.")
    request_id: str = Field(description="Quote it when you ask for help.")
    errors: list[FieldProblem] = Field(
        default_factory=list[FieldProblem], description="Of a validation problem: every mistake."
    )
