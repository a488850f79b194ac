"""Pages of lists, ordered by (created_at, id).

Statements on a client's rows end with `LIMIT (SELECT …)`, so that the planner does not know the
limit and reads an ordered index. With a plain number, the planner would sort all rows of the
client: it does not know which client it is and assumes an average number of rows. A big client has
a thousand times the average.

Postgres returns a page as one value with a row per line. Separate rows would take twice the time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from masstock.database.connection import Row

LAST_UUID = UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list, newest first: at most `limit` rows before the position `before`, which is
    (created_at, id). A filter of None matches every row."""

    limit: int
    before: tuple[datetime, UUID] | None = None
    filters: Mapping[str, object] = field(default_factory=dict[str, object])

    def parameters(self) -> dict[str, object]:
        """The statement's parameters: the filters, `before_created_at`, `before_id` and `limit`.
        `limit` is one more than the page's limit: an additional row shows that a next page
        exists."""
        created_at, row_id = self.before or ("infinity", LAST_UUID)
        return {
            **self.filters,
            "before_created_at": created_at,
            "before_id": row_id,
            "limit": self.limit + 1,
        }


def lines_of(rows: list[Row]) -> list[str]:
    """The JSON texts of a page. JSON from Postgres contains no line ends."""
    [row] = rows
    return row["json"].split("\n") if row["json"] is not None else []
