"""Reports."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from fastapi_app.identity import Transaction
from masstock.schemas.responses import ClientUsage, Report, WorkflowUsage

router = APIRouter(prefix="/v1")

Since = Annotated[datetime | None, Query(alias="from")]
Until = Annotated[datetime | None, Query(alias="to")]


@router.get("/analytics/clients", response_model=Report[ClientUsage])
async def report_clients(tx: Transaction, since: Since = None, until: Until = None) -> Any:
    """Executions and success rate by client."""
    tx.for_admins()
    rows = await tx.rows(
        """
        SELECT c.name AS client_name, count(e.id) AS total_executions,
            count(*) FILTER (WHERE e.status = 'completed') AS successful,
            count(*) FILTER (WHERE e.status = 'failed') AS failed,
            round(count(*) FILTER (WHERE e.status = 'completed')::numeric
                / nullif(count(e.id), 0) * 100, 2) AS success_rate_percent
        FROM public.workflow_executions e JOIN public.clients c ON e.client_id = c.id
        WHERE (%(since)s::timestamptz IS NULL OR e.created_at >= %(since)s)
          AND (%(until)s::timestamptz IS NULL OR e.created_at < %(until)s)
        GROUP BY c.id, c.name ORDER BY total_executions DESC, c.name, c.id
        """,
        since=since,
        until=until,
    )
    return {"items": rows}


@router.get("/analytics/workflows", response_model=Report[WorkflowUsage])
async def report_workflows(tx: Transaction, since: Since = None, until: Until = None) -> Any:
    """The ten most used workflows."""
    tx.for_admins()
    rows = await tx.rows(
        """
        SELECT w.name AS workflow_name, count(e.id) AS execution_count,
            avg(e.duration_seconds) AS avg_duration_seconds,
            count(*) FILTER (WHERE e.status = 'completed') AS successful_count
        FROM public.workflows w LEFT JOIN public.workflow_executions e ON w.id = e.workflow_id
            AND (%(since)s::timestamptz IS NULL OR e.created_at >= %(since)s)
            AND (%(until)s::timestamptz IS NULL OR e.created_at < %(until)s)
        GROUP BY w.id, w.name ORDER BY execution_count DESC, w.name, w.id LIMIT 10
        """,
        since=since,
        until=until,
    )
    return {"items": rows}
