"""Statements on clients."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from masstock.database.connection import Executor, Row
from masstock.database.queries.keyset import Page, lines_of


def list_clients(tx: Executor, page: Page) -> list[str]:
    """A page of clients as JSON. `q` is part of a name or an email."""
    rows = tx.fetch_all(
        """
        SELECT string_agg(row_to_json(x)::text, chr(10)) AS json FROM (
            SELECT * FROM public.clients c
            WHERE (%(status)s::text IS NULL OR c.status = %(status)s)
              AND (%(q)s::text IS NULL
                   OR position(lower(normalize(%(q)s::text, NFC))
                               IN lower(normalize(c.name || ' ' || c.email, NFC))) > 0)
              AND (%(created_from)s::timestamptz IS NULL OR c.created_at >= %(created_from)s)
              AND (%(created_to)s::timestamptz IS NULL OR c.created_at < %(created_to)s)
              AND (c.created_at, c.id) < (%(before_created_at)s, %(before_id)s)
            ORDER BY c.created_at DESC, c.id DESC LIMIT %(limit)s
        ) x
        """,
        **page.parameters(),
    )
    return lines_of(rows)


def fetch_client(tx: Executor, client_id: UUID, *, for_update: bool = False) -> str:
    """One client as JSON. Raises NotFound. `for_update` locks the row until the commit."""
    if for_update:
        tx.fetch_all("SELECT FROM public.clients WHERE id = %(id)s FOR UPDATE", id=client_id)
    row = tx.fetch_one(
        "SELECT row_to_json(c)::text AS json FROM public.clients c WHERE c.id = %(id)s",
        id=client_id,
    )
    return row["json"]


def fetch_active_client(tx: Executor, client_id: UUID) -> Row | None:
    """{webhook_url, webhook_secret_version, overlaps_until}; None if the caller sees no such active
    client."""
    rows = tx.fetch_all(
        """
        SELECT webhook_url, webhook_secret_version,
            app.webhook_overlap_until(id) AS overlaps_until
        FROM public.clients
        WHERE id = %(id)s AND status = 'active'
        """,
        id=client_id,
    )
    return rows[0] if rows else None


def fetch_budget(tx: Executor, client_id: UUID) -> Row:
    """{monthly_budget_microusd, spent_microusd, reserved_microusd} of the current month (UTC).
    Raises NotFound."""
    return tx.fetch_one("SELECT * FROM app.fetch_budget(%(id)s)", id=client_id)


def advance_webhook_secret(tx: Executor, client_id: UUID, *, leaked: bool) -> None:
    """Selects the next webhook secret. The replaced one signs for another 24 hours, unless it
    leaked: then no earlier one signs any more."""
    tx.fetch_all(
        "SELECT app.advance_webhook_secret(%(id)s, %(leaked)s)", id=client_id, leaked=leaked
    )


def insert_client(tx: Executor, **values: object) -> None:
    """Creates a client. `values` are the columns in the statement."""
    tx.fetch_all(
        """
        INSERT INTO public.clients
            (id, name, email, monthly_budget_microusd, webhook_url, retention_days)
        VALUES (%(id)s, %(name)s, %(email)s, %(monthly_budget_microusd)s, %(webhook_url)s,
            %(retention_days)s)
        """,
        **values,
    )


def update_client(tx: Executor, client_id: UUID, changes: Mapping[str, Any]) -> None:
    """Applies the changes. Raises NotFound."""
    tx.fetch_one(
        """
        UPDATE public.clients c SET
            (name, email, status, monthly_budget_microusd, webhook_url, retention_days) = (
            SELECT p.name, p.email, p.status, p.monthly_budget_microusd, p.webhook_url,
                p.retention_days
            FROM jsonb_populate_record(c, %(changes)s) p)
        WHERE c.id = %(id)s RETURNING c.id
        """,
        id=client_id,
        changes=Jsonb(changes),
    )
