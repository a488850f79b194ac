"""users."""

from uuid import UUID

from masstock.db import Executor, only


def fetch_profile(tx: Executor, user_id: UUID) -> str:
    """The schema document's first query, "Get User with Client Info", as JSON; raises NotFound."""
    rows = tx.fetch_all(
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
    return only(rows)["json"]
