"""What callers get. These models describe; they do not run: answers are JSON made by Postgres, and
importing this costs no request anything. tools/openapi.py reads them, and tests hold real
answers against them.

The examples are the schema document's example rows, as sql/seed.sql has them.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from masstock.schemas.example_ids import (
    ACME,
    EXECUTION,
    JOHN,
    REQUEST,
    RESULT,
    TICKET,
    WORKFLOW,
)
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


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": values})


class Profile(Resource):
    """The caller, with the client they belong to."""

    model_config = _example(
        id=JOHN,
        email="john@client.com",
        name="John Doe",
        role="client",
        status="active",
        client_id=ACME,
        client_name="Acme Corporation",
        client_email="contact@acme.com",
    )

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

    model_config = _example(
        id=JOHN,
        email="john@client.com",
        name="John Doe",
        role="client",
        status="active",
        client_id=ACME,
        created_at="2025-01-15T10:00:00+00:00",
        updated_at="2025-01-20T14:30:00+00:00",
        last_login="2025-11-23T09:15:00+00:00",
    )

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

    model_config = _example(
        id=ACME,
        name="Acme Corporation",
        email="contact@acme.com",
        status="active",
        created_at="2025-01-10T12:00:00+00:00",
        updated_at="2025-01-10T12:00:00+00:00",
        monthly_budget_microusd=None,
        webhook_url=None,
        webhook_secret_version=1,
    )

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

    model_config = _example(
        id=WORKFLOW,
        name="Nano Banana - Image Generation",
        description="Generate AI images using Gemini 2.5 Flash",
        status="active",
        config={
            "model": "gemini-2.5-flash-image",
            "max_prompts": 100,
            "workflow_type": "nano_banana",
            "requires_api_key": True,
            "supports_reference_images": True,
        },
        created_at="2025-01-05T08:00:00+00:00",
        updated_at="2025-01-05T08:00:00+00:00",
    )

    id: UUID
    name: str
    description: str | None
    status: WorkflowStatus
    config: WorkflowConfig
    created_at: datetime
    updated_at: datetime


class WorkflowRequest(Resource):
    """A client's request for a workflow."""

    model_config = _example(
        id=REQUEST,
        client_id=ACME,
        workflow_id=WORKFLOW,
        status="approved",
        notes="Need 50 product images for Q2 campaign",
        created_at="2025-11-20T10:00:00+00:00",
        updated_at="2025-11-21T14:30:00+00:00",
    )

    id: UUID
    client_id: UUID
    workflow_id: UUID
    status: RequestStatus
    notes: str | None
    created_at: datetime
    updated_at: datetime


class SupportTicket(Resource):
    """A support ticket."""

    model_config = _example(
        id=TICKET,
        client_id=ACME,
        user_id=JOHN,
        subject="Unable to upload reference images",
        description="When I try to upload images > 5MB, I get an error...",
        status="in_progress",
        priority="high",
        created_at="2025-11-22T15:00:00+00:00",
        updated_at="2025-11-23T09:00:00+00:00",
    )

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


EXECUTION_SUMMARY: dict[str, Any] = {
    "id": EXECUTION,
    "workflow_id": WORKFLOW,
    "client_id": ACME,
    "user_id": JOHN,
    "status": "completed",
    "output_data": {"successful": 2, "failed": 0, "total": 2},
    "started_at": "2025-11-23T10:00:00+00:00",
    "completed_at": "2025-11-23T10:05:30+00:00",
    "duration_seconds": 330,
    "error_code": None,
    "error_message": None,
    "created_at": "2025-11-23T10:00:00+00:00",
    "deadline_at": None,
    "prompt_count": 2,
    "estimate_microusd": None,
    "cost_microusd": None,
    "workflow_name": "Nano Banana - Image Generation",
    "user_name": "John Doe",
    "client_name": "Acme Corporation",
}


class ExecutionSummary(Resource):
    """An execution as lists show it."""

    model_config = _example(**EXECUTION_SUMMARY)

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

    model_config = _example(
        **EXECUTION_SUMMARY,
        input_data={"prompts": ["cat with hat", "dog in car"]},
        progress={"total": 2, "successful": 2, "failed": 0, "processing": 0},
        webhook_url=None,
        webhook_delivered_at=None,
        webhook_error=None,
    )

    input_data: InputData
    progress: Progress
    webhook_url: str | None
    webhook_delivered_at: datetime | None
    webhook_error: str | None = Field(description="Why the last attempt to deliver it failed.")


class Estimate(Resource):
    """What a submission would cost; nothing was stored."""

    model_config = _example(
        dry_run=True,
        workflow_id=WORKFLOW,
        client_id=ACME,
        model="gemini-2.5-flash-image",
        prompts=2,
        estimate_microusd=78000,
        budget_left_microusd=None,
        fits_budget=True,
    )

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
    fits_budget: bool


class BatchResult(Resource):
    """What became of one prompt."""

    model_config = _example(
        id=RESULT,
        execution_id=EXECUTION,
        client_id=ACME,
        batch_index=0,
        prompt_text="a cat wearing sunglasses",
        custom_id=None,
        status="completed",
        result_url=f"https://example.com/workflow-results/{EXECUTION}/0_1763892000.png",
        result_storage_path=f"{EXECUTION}/0_1763892000.png",
        error_code=None,
        error_message=None,
        retryable=None,
        processing_time_ms=3500,
        mime_type="image/png",
        size_bytes=None,
        image_sha256=None,
        attempts=1,
        cost_microusd=None,
        created_at="2025-11-23T10:00:00+00:00",
        completed_at="2025-11-23T10:00:03+00:00",
    )

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

    model_config = _example(
        key=f"{ACME}/references/0f8fad5b-d9cb-469f-a165-70867728950e.png",
        url="https://uploads.example.com/",
        fields={"Content-Type": "image/png", "policy": "…", "x-amz-signature": "…"},
        expires_at="2025-11-23T10:15:00+00:00",
    )

    key: str = Field(description="Names the upload in a submission.")
    url: str
    fields: dict[str, str]
    expires_at: datetime


class ClientUsage(Resource):
    """How one client's executions ended."""

    model_config = _example(
        client_name="Acme Corporation",
        total_executions=1,
        successful=1,
        failed=0,
        success_rate_percent=100,
    )

    client_name: str
    total_executions: Count
    successful: Count
    failed: Count
    success_rate_percent: float


class WorkflowUsage(Resource):
    """How often one workflow was used."""

    model_config = _example(
        workflow_name="Nano Banana - Image Generation",
        execution_count=1,
        avg_duration_seconds=330,
        successful_count=1,
    )

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

    model_config = _example(
        type="https://masstock.dev/errors#not_found",
        title="There is no such resource, or it is not yours.",
        status=404,
        detail="There is no such resource, or it is not yours.",
        instance=f"/v1/executions/{EXECUTION}",
        code="not_found",
        request_id="0b9fc2a4-6b3b-4c0e-9d3c-0a8e7c3b1f52",
    )

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
