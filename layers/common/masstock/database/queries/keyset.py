"""Where a page of the newest first begins, and how its rows arrive.

Pages of a tenant's rows end with `LIMIT (SELECT …)`. Not knowing whose rows, the planner takes
every client for an average one; told how few rows are wanted, it would sort all that an average
one has, and a big one has a thousand times as many. Not told, it reads an ordered index.

Rows arrive as one value, a line each: fetched one by one they cost the function as much again.
"""

from datetime import datetime
from uuid import UUID

from masstock.database.connection import Row

LAST_UUID = UUID(int=2**128 - 1)


def start_of(before: tuple[datetime, UUID] | None) -> tuple[datetime | str, UUID]:
    """The (created_at, id) that every row of the page is smaller than."""
    return before or ("infinity", LAST_UUID)


def lines_of(rows: list[Row]) -> list[str]:
    """The JSON texts of a page; JSON made by Postgres has no line ends of its own."""
    [row] = rows
    return row["json"].split("\n") if row["json"] is not None else []
