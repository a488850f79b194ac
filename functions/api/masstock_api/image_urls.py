"""URLs of images and thumbnails, made from their keys at each read: a stored URL may name a host, a
bucket or a kind of access that this stage had before."""

import json
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

from masstock.database.connection import Executor, Row, Versioned
from masstock.database.queries import executions
from masstock.services.storage import URL_SECONDS, Results, thumbnail_key
from masstock_api import session

# How long an answer keeps its ETag although its URLs are new. They are valid three times as long.
WINDOW_SECONDS = URL_SECONDS // 3
# The end of the JSON of an execution without a thumbnail.
NO_COVER = ',"cover":null}'


def window() -> int:
    """The number of the present window, which is part of the ETag of answers with URLs."""
    return int(time.time() // WINDOW_SECONDS)


def image_url(key: str) -> str:
    """A URL of the object that needs no token."""
    settings = session.settings()
    results = Results(settings.results_bucket)
    return results.public_url(key) if settings.images_are_public else results.signed_url(key)


def thumbnail_url(execution_id: UUID, batch_index: int) -> str:
    """A URL of the thumbnail that needs no token."""
    return image_url(thumbnail_key(execution_id, batch_index))


def expires_at() -> datetime | None:
    """When the URLs that are made now stop working. None if images are public."""
    if session.settings().images_are_public:
        return None
    return (datetime.now(UTC) + timedelta(seconds=URL_SECONDS)).replace(microsecond=0)


def with_urls(row: Row) -> Row:
    """A result with the URLs of its image and its thumbnail."""
    result = {name: value for name, value in row.items() if name != "has_thumbnail"}
    path = row["result_storage_path"]
    if path:
        result["result_url"] = image_url(path)
    result["thumbnail_url"] = (
        thumbnail_url(row["execution_id"], row["batch_index"]) if row["has_thumbnail"] else None
    )
    result["url_expires_at"] = expires_at() if path else None
    return result


def execution_of(tx: Executor, execution_id: UUID, *, for_update: bool = False) -> Versioned:
    """One execution with the URL of its cover; see `executions.fetch_execution`."""
    body, version = executions.fetch_execution(tx, execution_id, for_update=for_update)
    is_covered = not version.endswith(NO_COVER)
    return Versioned(with_cover(body), f"{version}{window()}" if is_covered else version)


def with_cover(execution: str) -> str:
    """The JSON of an execution with `cover_url` for its last member `cover`."""
    if execution.endswith(NO_COVER):
        return f'{execution.removesuffix(NO_COVER)},"cover_url":null}}'
    beginning, _, cover = execution[:-1].rpartition(',"cover":')
    execution_id, batch_index = json.loads(cover)
    url = thumbnail_url(execution_id, batch_index)
    return f'{beginning},"cover_url":{json.dumps(url)}}}'
