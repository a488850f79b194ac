"""Statements on support_tickets."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from masstock.database.connection import Executor
from masstock.database.queries.keyset import Page, lines_of


def list_tickets(tx: Executor, page: Page) -> list[str]:
    """A page of tickets as JSON."""
    rows = tx.fetch_all(
        """
        SELECT string_agg(row_to_json(x)::text, chr(10)) AS json FROM (
            SELECT * FROM public.support_tickets t
            WHERE (%(status)s::text IS NULL OR t.status = %(status)s)
              AND (%(priority)s::text IS NULL OR t.priority = %(priority)s)
              AND (%(client_id)s::uuid IS NULL OR t.client_id = %(client_id)s)
              AND (%(user_id)s::uuid IS NULL OR t.user_id = %(user_id)s)
              AND (%(created_from)s::timestamptz IS NULL OR t.created_at >= %(created_from)s)
              AND (%(created_to)s::timestamptz IS NULL OR t.created_at < %(created_to)s)
              AND (t.created_at, t.id) < (%(before_created_at)s, %(before_id)s)
            ORDER BY t.created_at DESC, t.id DESC
            LIMIT (SELECT %(limit)s::integer)
        ) x
        """,
        **page.parameters(),
    )
    return lines_of(rows)


def fetch_ticket(tx: Executor, ticket_id: UUID, *, for_update: bool = False) -> str:
    """One ticket as JSON. Raises NotFound. `for_update` holds the row until the commit."""
    if for_update:
        tx.fetch_all("SELECT app.lock_ticket(%(id)s)", id=ticket_id)
    row = tx.fetch_one(
        "SELECT row_to_json(t)::text AS json FROM public.support_tickets t WHERE t.id = %(id)s",
        id=ticket_id,
    )
    return row["json"]


def insert_ticket(tx: Executor, **values: object) -> None:
    """Opens a ticket. `values` are the columns in the statement."""
    tx.fetch_all(
        """
        INSERT INTO public.support_tickets (id, client_id, user_id, subject, description, priority)
        VALUES (%(id)s, %(client_id)s, %(user_id)s, %(subject)s, %(description)s, %(priority)s)
        """,
        **values,
    )


def update_text(tx: Executor, ticket_id: UUID, changes: Mapping[str, Any]) -> bool:
    """Applies a client user's changes of subject, description and priority. False if the row
    policies do not allow it: the ticket is not open."""
    return bool(
        tx.fetch_all(
            """
            UPDATE public.support_tickets t SET (subject, description, priority) = (
                SELECT p.subject, p.description, p.priority
                FROM jsonb_populate_record(t, %(changes)s) p)
            WHERE t.id = %(id)s RETURNING t.id
            """,
            id=ticket_id,
            changes=Jsonb(changes),
        )
    )


def update_ticket(tx: Executor, ticket_id: UUID, changes: Mapping[str, Any]) -> None:
    """Applies an administrator's changes. Raises NotFound."""
    tx.fetch_one(
        """
        UPDATE public.support_tickets t SET (subject, description, priority, status) = (
            SELECT p.subject, p.description, p.priority, p.status
            FROM jsonb_populate_record(t, %(changes)s) p)
        WHERE t.id = %(id)s RETURNING t.id
        """,
        id=ticket_id,
        changes=Jsonb(changes),
    )


def delete_ticket(tx: Executor, ticket_id: UUID) -> bool:
    """Deletes a ticket. False if the caller sees no such ticket."""
    return bool(
        tx.fetch_all(
            "DELETE FROM public.support_tickets WHERE id = %(id)s RETURNING id", id=ticket_id
        )
    )
