"""Statements on users."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from masstock.database.connection import Executor, Row
from masstock.database.queries.keyset import Page, lines_of


def fetch_profile(tx: Executor, user_id: UUID) -> str:
    """The user with the client's name and e-mail, as JSON: the schema document's query "Get User
    with Client Info". Raises NotFound."""
    row = tx.fetch_one(
        """
        SELECT row_to_json(x)::text AS json FROM (
            SELECT u.id, u.email, u.name, u.role, u.status,
                c.id AS client_id, c.name AS client_name, c.email AS client_email
            FROM public.users u LEFT JOIN public.clients c ON u.client_id = c.id
            WHERE u.id = %(id)s
        ) x
        """,
        id=user_id,
    )
    return row["json"]


def admit(tx: Executor) -> None:
    """Reads nothing. Raises what every query raises for a caller that is not active."""
    tx.fetch_all("SELECT 1")


def list_users(tx: Executor, page: Page) -> list[str]:
    """A page of users as JSON. `q` is part of a name or an email."""
    rows = tx.fetch_all(
        """
        SELECT string_agg(row_to_json(x)::text, chr(10)) AS json FROM (
            SELECT * FROM public.users u
            WHERE (%(role)s::text IS NULL OR u.role = %(role)s)
              AND (%(status)s::text IS NULL OR u.status = %(status)s)
              AND (%(client_id)s::uuid IS NULL OR u.client_id = %(client_id)s)
              AND (%(q)s::text IS NULL
                   OR position(lower(normalize(%(q)s::text, NFC))
                               IN lower(normalize(u.name || ' ' || u.email, NFC))) > 0)
              AND (%(created_from)s::timestamptz IS NULL OR u.created_at >= %(created_from)s)
              AND (%(created_to)s::timestamptz IS NULL OR u.created_at < %(created_to)s)
              AND (u.created_at, u.id) < (%(before_created_at)s, %(before_id)s)
            ORDER BY u.created_at DESC, u.id DESC LIMIT %(limit)s
        ) x
        """,
        **page.parameters(),
    )
    return lines_of(rows)


def fetch_user(tx: Executor, user_id: UUID, *, for_update: bool = False) -> str:
    """One user as JSON. Raises NotFound. `for_update` locks the row until the commit."""
    if for_update:
        tx.fetch_all("SELECT FROM public.users WHERE id = %(id)s FOR UPDATE", id=user_id)
    row = tx.fetch_one(
        "SELECT row_to_json(u)::text AS json FROM public.users u WHERE u.id = %(id)s", id=user_id
    )
    return row["json"]


def insert_user(tx: Executor, **values: object) -> None:
    """Creates an account. `values` are the columns in the statement."""
    tx.fetch_all(
        """
        INSERT INTO public.users (id, email, name, role, client_id, invited_until)
        VALUES (%(id)s, %(email)s, %(name)s, %(role)s, %(client_id)s, %(invited_until)s)
        """,
        **values,
    )


def update_user(tx: Executor, user_id: UUID, changes: Mapping[str, Any]) -> Row:
    """Applies the changes and returns {role, client_id}. Raises NotFound."""
    return tx.fetch_one(
        """
        UPDATE public.users u SET (email, name, role, status, client_id, invited_until) = (
            SELECT p.email, p.name, p.role, p.status, p.client_id, p.invited_until
            FROM jsonb_populate_record(u, %(changes)s) p)
        WHERE u.id = %(id)s RETURNING u.role, u.client_id
        """,
        id=user_id,
        changes=Jsonb(changes),
    )
