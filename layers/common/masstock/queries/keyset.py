"""Where a page of the newest first begins.

Pages of a tenant's rows end with `LIMIT (SELECT …)`. Not knowing whose rows, the planner takes
every client for an average one; told how few rows are wanted, it would sort all that an average
one has, and a big one has a thousand times as many. Not told, it reads an ordered index.
"""

from datetime import datetime
from uuid import UUID

LAST_UUID = UUID(int=2**128 - 1)


def start_of(before: tuple[datetime, UUID] | None) -> tuple[datetime | str, UUID]:
    """The (created_at, id) that every row of the page is smaller than."""
    return before or ("infinity", LAST_UUID)
