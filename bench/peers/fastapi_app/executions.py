"""The list of executions."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from fastapi_app.identity import Transaction
from fastapi_app.pages import PageOf
from masstock.schemas.responses import ExecutionStatus, ExecutionSummary, Page

router = APIRouter(prefix="/v1")

LIST = Path(__file__).parents[1].joinpath("list_executions.sql").read_text()


@router.get("/executions", response_model=Page[ExecutionSummary])
async def list_executions(
    tx: Transaction,
    paging: PageOf,
    status: ExecutionStatus | None = None,
    workflow_id: UUID | None = None,
    client_id: UUID | None = None,
    user_id: UUID | None = None,
    created_from: Annotated[datetime | None, Query(alias="from")] = None,
    created_to: Annotated[datetime | None, Query(alias="to")] = None,
) -> Any:
    """Newest first."""
    rows = await tx.rows(
        LIST,
        status=status,
        workflow_id=workflow_id,
        client_id=client_id,
        user_id=user_id,
        created_from=created_from,
        created_to=created_to,
        **paging.values(),
    )
    return paging.page(rows)
