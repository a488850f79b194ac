"""Statements on lanes, for administrators. Generate's are in claims.py."""

from uuid import UUID

from masstock.database.connection import Executor, Versioned
from masstock.database.queries.keyset import Page, lines_of


def list_lanes(tx: Executor, page: Page) -> list[str]:
    """A page of lanes as JSON."""
    rows = tx.fetch_all(
        """
        SELECT string_agg(row_to_json(x)::text, chr(10)) AS json
        FROM (
            SELECT * FROM app.list_lanes(
                %(created_from)s::timestamptz, %(created_to)s::timestamptz,
                %(before_created_at)s::timestamptz, %(before_id)s::uuid, %(limit)s)
        ) x
        """,
        **page.parameters(),
    )
    return lines_of(rows)


def fetch_lane(tx: Executor, lane_id: UUID, *, for_update: bool = False) -> Versioned:
    """One lane. Its version is what an administrator can change. Raises NotFound. `for_update`
    locks the row until the commit."""
    row = tx.fetch_one(
        """
        SELECT row_to_json(l)::text AS json,
            json_build_object('id', l.id, 'limit', l.limit_per_minute)::text AS version
        FROM app.fetch_lane(%(id)s, %(for_update)s) l
        """,
        id=lane_id,
        for_update=for_update,
    )
    return Versioned(row["json"], row["version"])


def set_limit(tx: Executor, lane_id: UUID, limit_per_minute: int | None) -> None:
    """Sets the known limit of a lane, in calls per minute. None lets the lane learn it."""
    tx.fetch_all("SELECT app.set_lane_limit(%(id)s, %(limit)s)", id=lane_id, limit=limit_per_minute)
