"""A page of a list: where it begins, and how its rows arrive.

Pages of a tenant's rows end with `LIMIT (SELECT …)`. Not knowing whose rows, the planner takes
every client for an average one; told how few rows are wanted, it would sort all that an average
one has, and a big one has a thousand times as many. Not told, it reads an ordered index.

Rows arrive as one value, a line each: fetched one by one they cost the function as much again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from masstock.database.connection import Row

LAST_UUID = UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list, newest first: at most `limit` rows before the position (created_at, id),
    that match the filters. A filter of None matches every row."""

    limit: int
    before: tuple[datetime, UUID] | None = None
    filters: Mapping[str, object] = field(default_factory=dict[str, object])

    def parameters(self) -> dict[str, object]:
        """The statement's parameters: the filters by name, `before_created_at`, `before_id`, and
        `limit`, which is one more than asked for: the last row tells that another page follows."""
        created_at, row_id = self.before or ("infinity", LAST_UUID)
        return {
            **self.filters,
            "before_created_at": created_at,
            "before_id": row_id,
            "limit": self.limit + 1,
        }


def lines_of(rows: list[Row]) -> list[str]:
    """The JSON texts of a page; JSON made by Postgres has no line ends of its own."""
    [row] = rows
    return row["json"].split("\n") if row["json"] is not None else []
