"""Where a page of the newest first begins."""

from datetime import datetime
from uuid import UUID

LAST_UUID = UUID(int=2**128 - 1)


def start_of(before: tuple[datetime, UUID] | None) -> tuple[datetime | str, UUID]:
    """The (created_at, id) that every row of the page is smaller than."""
    return before or ("infinity", LAST_UUID)
