"""workflows."""

from typing import Any
from uuid import UUID

from masstock.db import Executor, Row


def fetch_active_config(tx: Executor, workflow_id: UUID) -> dict[str, Any] | None:
    """The config of a workflow that may be run; None where there is none."""
    rows = tx.fetch_all(
        "SELECT config FROM public.workflows WHERE id = %(id)s AND status = 'active'",
        id=workflow_id,
    )
    return rows[0]["config"] if rows else None


def list_workflows(
    tx: Executor, *, limit: int, before: tuple[object, UUID] | None, status: str | None
) -> list[Row]:
    """The newest `limit` workflows before a position, each as {json, created_at, id}."""
    return tx.fetch_all(
        """
        SELECT row_to_json(x)::text AS json, x.created_at, x.id FROM (
            SELECT w.id, w.name, w.description, w.status, w.config, w.created_at, w.updated_at
            FROM public.workflows w
            WHERE (%(status)s::text IS NULL OR w.status = %(status)s)
              AND (w.created_at, w.id) < (%(before_created_at)s, %(before_id)s)
            ORDER BY w.created_at DESC, w.id DESC
            LIMIT %(limit)s
        ) x
        """,
        status=status,
        limit=limit,
        before_created_at=before[0] if before else "infinity",
        before_id=before[1] if before else UUID(int=2**128 - 1),
    )
