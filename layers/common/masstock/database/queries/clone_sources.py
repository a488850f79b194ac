"""The parts of an execution that a clone copies."""

from typing import Any, Literal, TypedDict, cast
from uuid import UUID

from masstock.database.connection import Executor


class CloneSource(TypedDict):
    """The parts that a clone copies. `input_data` holds the sealed API key."""

    workflow_id: UUID
    client_id: UUID
    name: str | None
    input_data: Any
    lane_key: UUID | None
    webhook_url: str | None
    webhook_events: list[str]
    tier: Literal["standard", "economy"]
    on_economy_failure: Literal["standard", "fail"] | None


def fetch_clone_source(tx: Executor, execution_id: UUID) -> CloneSource:
    """The submission of an execution; raises NotFound."""
    row = tx.fetch_one(
        """
        SELECT workflow_id, client_id, name, input_data, lane_key, webhook_url, webhook_events,
            tier, on_economy_failure
        FROM public.workflow_executions WHERE id = %(id)s
        """,
        id=execution_id,
    )
    return cast(CloneSource, row)


class ImageRow(TypedDict):
    """A row of `list_images`. `prompt_text` is None if it is the submitted prompt."""

    batch_index: int
    prompt_index: int
    image_index: int
    seed: int | None
    prompt_text: str | None
    failed: bool


def list_images(tx: Executor, execution_id: UUID) -> list[ImageRow]:
    """All images of an execution, in order."""
    rows = tx.fetch_all(
        """
        SELECT batch_index, prompt_index, image_index, seed, status = 'failed' AS failed,
            CASE WHEN original_prompt IS NOT NULL THEN prompt_text END AS prompt_text
        FROM public.workflow_batch_results WHERE execution_id = %(execution_id)s
        ORDER BY batch_index
        """,
        execution_id=execution_id,
    )
    return cast(list[ImageRow], rows)
