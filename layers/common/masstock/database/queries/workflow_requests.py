"""Statements on workflow_requests."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from masstock.database.connection import Executor
from masstock.database.queries.keyset import Page, lines_of


def list_requests(tx: Executor, page: Page) -> list[str]:
    """A page of workflow requests as JSON."""
    rows = tx.fetch_all(
        """
        SELECT string_agg(row_to_json(x)::text, chr(10)) AS json FROM (
            SELECT * FROM public.workflow_requests r
            WHERE (%(status)s::text IS NULL OR r.status = %(status)s)
              AND (%(workflow_id)s::uuid IS NULL OR r.workflow_id = %(workflow_id)s)
              AND (%(client_id)s::uuid IS NULL OR r.client_id = %(client_id)s)
              AND (%(created_from)s::timestamptz IS NULL OR r.created_at >= %(created_from)s)
              AND (%(created_to)s::timestamptz IS NULL OR r.created_at < %(created_to)s)
              AND (r.created_at, r.id) < (%(before_created_at)s, %(before_id)s)
            ORDER BY r.created_at DESC, r.id DESC
            LIMIT (SELECT %(limit)s::integer)
        ) x
        """,
        **page.parameters(),
    )
    return lines_of(rows)


def fetch_request(tx: Executor, request_id: UUID, *, for_update: bool = False) -> str:
    """One workflow request as JSON. Raises NotFound. `for_update` holds the row until the
    commit."""
    if for_update:
        tx.fetch_all("SELECT app.lock_request(%(id)s)", id=request_id)
    row = tx.fetch_one(
        "SELECT row_to_json(r)::text AS json FROM public.workflow_requests r WHERE r.id = %(id)s",
        id=request_id,
    )
    return row["json"]


def insert_request(tx: Executor, **values: object) -> None:
    """Creates a workflow request. `values` are the columns in the statement."""
    tx.fetch_all(
        """
        INSERT INTO public.workflow_requests (id, client_id, workflow_id, notes)
        VALUES (%(id)s, %(client_id)s, %(workflow_id)s, %(notes)s)
        """,
        **values,
    )


def update_notes(tx: Executor, request_id: UUID, notes: str | None) -> bool:
    """Replaces the notes of a workflow request. False if the request is not pending: the row
    policies then hide it from the UPDATE."""
    return bool(
        tx.fetch_all(
            """
            UPDATE public.workflow_requests SET notes = %(notes)s
            WHERE id = %(id)s RETURNING id
            """,
            id=request_id,
            notes=notes,
        )
    )


def update_request(tx: Executor, request_id: UUID, changes: Mapping[str, Any]) -> None:
    """Applies an administrator's changes. Raises NotFound."""
    tx.fetch_one(
        """
        UPDATE public.workflow_requests r SET (notes, status) = (
            SELECT p.notes, p.status FROM jsonb_populate_record(r, %(changes)s) p)
        WHERE r.id = %(id)s RETURNING r.id
        """,
        id=request_id,
        changes=Jsonb(changes),
    )


def delete_request(tx: Executor, request_id: UUID) -> bool:
    """Deletes a workflow request. False if the row policies do not allow it, because the request
    is not pending."""
    return bool(
        tx.fetch_all(
            "DELETE FROM public.workflow_requests WHERE id = %(id)s RETURNING id", id=request_id
        )
    )
