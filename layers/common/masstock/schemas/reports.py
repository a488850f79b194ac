"""Bodies of reports and of usage. `masstock.schemas.responses` has the other answers."""

from datetime import date
from typing import Literal
from uuid import UUID

from pydantic import Field

from masstock.schemas.resource import Count, Resource


class ClientUsage(Resource):
    """Numbers of one client's executions."""

    client_name: str
    total_executions: Count
    successful: Count
    failed: Count
    success_rate_percent: float = Field(description="100 * `successful` / `total_executions`.")


class UsageItem(Resource):
    """Images of one month, workflow, model and tier."""

    month: date = Field(description="First day of the month (UTC).")
    workflow_id: UUID | None = Field(description="Null for usage before release 0.3.")
    workflow_name: str | None
    model: str | None = Field(description="The image model; null for usage before release 0.3.")
    tier: Literal["standard", "economy"]
    images: Count = Field(
        description="Images that were painted. An image that was painted twice counts twice, the"
        " copy of an earlier one not at all."
    )
    cost_microusd: Count = Field(
        description="What was paid, in millionths of a US dollar, also for answers with no image."
    )


class Usage(Resource):
    """What a client used, newest month first, and what is left of the current month's budget.
    Deleted executions are included."""

    client_id: UUID
    month: date = Field(description="First day of the current month (UTC).")
    monthly_budget_microusd: Count | None = Field(description="Null for no limit.")
    spent_microusd: Count = Field(description="Cost of the current month.")
    reserved_microusd: Count = Field(description="Kept free for executions that have not ended.")
    budget_left_microusd: Count | None = Field(description="Null for no limit.")
    items: list[UsageItem]


class WorkflowUsage(Resource):
    """Numbers of one workflow's executions."""

    workflow_name: str
    execution_count: Count
    avg_duration_seconds: float | None = Field(description="Seconds; null if none has ended.")
    successful_count: Count
