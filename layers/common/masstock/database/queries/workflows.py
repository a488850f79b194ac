"""Statements on workflows."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from masstock.database.connection import Executor
from masstock.database.queries.keyset import Page, lines_of


def fetch_active_config(tx: Executor, workflow_id: UUID) -> dict[str, Any] | None:
    """The config of an active workflow; None if the caller sees no such workflow."""
    rows = tx.fetch_all(
        "SELECT config FROM public.workflows WHERE id = %(id)s AND status = 'active'",
        id=workflow_id,
    )
    return rows[0]["config"] if rows else None


def list_workflows(tx: Executor, page: Page) -> list[str]:
    """A page of workflows as JSON."""
    rows = tx.fetch_all(
        """
        SELECT string_agg(row_to_json(x)::text, chr(10)) AS json FROM (
            SELECT * FROM public.workflows w
            WHERE (%(status)s::text IS NULL OR w.status = %(status)s)
              AND (%(created_from)s::timestamptz IS NULL OR w.created_at >= %(created_from)s)
              AND (%(created_to)s::timestamptz IS NULL OR w.created_at < %(created_to)s)
              AND (w.created_at, w.id) < (%(before_created_at)s, %(before_id)s)
            ORDER BY w.created_at DESC, w.id DESC LIMIT %(limit)s
        ) x
        """,
        **page.parameters(),
    )
    return lines_of(rows)


def fetch_workflow(tx: Executor, workflow_id: UUID, *, for_update: bool = False) -> str:
    """One workflow as JSON. Raises NotFound. `for_update` locks the row until the commit."""
    if for_update:
        tx.fetch_all("SELECT FROM public.workflows WHERE id = %(id)s FOR UPDATE", id=workflow_id)
    row = tx.fetch_one(
        "SELECT row_to_json(w)::text AS json FROM public.workflows w WHERE w.id = %(id)s",
        id=workflow_id,
    )
    return row["json"]


def insert_workflow(
    tx: Executor,
    *,
    workflow_id: UUID,
    name: str,
    description: str | None,
    status: str,
    config: Mapping[str, Any],
) -> None:
    """Creates a workflow."""
    tx.fetch_all(
        """
        INSERT INTO public.workflows (id, name, description, status, config)
        VALUES (%(id)s, %(name)s, %(description)s, %(status)s, %(config)s)
        """,
        id=workflow_id,
        name=name,
        description=description,
        status=status,
        config=Jsonb(config),
    )


def update_workflow(tx: Executor, workflow_id: UUID, changes: Mapping[str, Any]) -> None:
    """Applies the changes. Raises NotFound."""
    tx.fetch_one(
        """
        UPDATE public.workflows w SET (name, description, status, config) = (
            SELECT p.name, p.description, p.status, p.config
            FROM jsonb_populate_record(w, %(changes)s) p)
        WHERE w.id = %(id)s RETURNING w.id
        """,
        id=workflow_id,
        changes=Jsonb(changes),
    )
