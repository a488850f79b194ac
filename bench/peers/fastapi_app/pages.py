"""Pages of a list, found by the creation time and id of their first row."""

import base64
import json
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Query

LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"


class Paging:
    """The start and length of a page."""

    def __init__(
        self, limit: Annotated[int, Query(ge=1, le=200)] = 50, cursor: str | None = None
    ) -> None:
        self.limit = limit
        try:
            self.before = json.loads(base64.urlsafe_b64decode(cursor)) if cursor else None
        except ValueError as error:
            raise HTTPException(400, "This list did not return this cursor.") from error

    def values(self) -> dict[str, Any]:
        """Parameters of a statement that reads one row more than the page has."""
        created_at, row_id = self.before or ("infinity", LAST_ID)
        return {"limit": self.limit + 1, "before_created_at": created_at, "before_id": row_id}

    def page(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The page as the response body."""
        items, next_cursor = rows[: self.limit], None
        if len(rows) > self.limit:
            position = [items[-1]["created_at"].isoformat(), str(items[-1]["id"])]
            next_cursor = base64.urlsafe_b64encode(json.dumps(position).encode()).decode()
        return {"items": items, "next_cursor": next_cursor}


PageOf = Annotated[Paging, Depends()]
