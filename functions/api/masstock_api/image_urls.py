"""URLs of images and thumbnails, made from their keys at each read. A stored URL may be outdated:
it can name an earlier host, bucket or kind of access of this stage."""

import json
from datetime import datetime
from urllib.parse import urlsplit
from uuid import UUID

from masstock.database.connection import Executor, Row, Versioned
from masstock.database.queries import executions
from masstock.file_names import image_stem
from masstock.services.signed_urls import expiry, period
from masstock.services.storage import Results, thumbnail_key
from masstock_api import session

# The end of the JSON of an execution without a thumbnail.
NO_COVER = ',"cover":null}'
# Members of a row that callers do not see.
OF_URLS = ("has_thumbnail", "thumbnail_path", "several")


def image_url(key: str, file_name: str | None = None) -> str:
    """A URL of the object that needs no token. Browsers save a signed one as `file_name`."""
    settings = session.settings()
    results = Results(settings.results_bucket)
    if settings.images_are_public:
        return results.public_url(key)
    return results.signed_url(key, file_name)


def origin_of(url: str) -> str:
    """Scheme and host of a URL, for a Content-Security-Policy."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def images_origin() -> str:
    """Where browsers get images."""
    return origin_of(Results(session.settings().results_bucket).public_url("image"))


def url_of_image(row: Row) -> str:
    """The URL of a result's image."""
    path = row["result_storage_path"]
    stem = image_stem(
        row["custom_id"], row["prompt_index"], row["image_index"], several=row["several"]
    )
    return image_url(path, f"{stem}.{path.rpartition('.')[2]}")


def url_of_thumbnail(execution_id: UUID, batch_index: int, path: str | None) -> str:
    """The URL of a result's thumbnail. `path` is the result's `thumbnail_path`."""
    return image_url(path or thumbnail_key(execution_id, batch_index))


def expires_at() -> datetime | None:
    """When the URLs that are made now stop working. None if images are public."""
    return None if session.settings().images_are_public else expiry()


def with_urls(row: Row) -> Row:
    """A result with the URLs of its image and its thumbnail."""
    result = {name: row[name] for name in row if name not in OF_URLS}
    path = None if row["expired_at"] else row["result_storage_path"]
    if path:
        result["result_url"] = url_of_image(row)
    result["thumbnail_url"] = (
        url_of_thumbnail(row["execution_id"], row["batch_index"], row["thumbnail_path"])
        if row["has_thumbnail"]
        else None
    )
    result["url_expires_at"] = expires_at() if path else None
    return result


def execution_of(tx: Executor, execution_id: UUID, *, for_update: bool = False) -> Versioned:
    """One execution with the URL of its cover; see `executions.fetch_execution`."""
    body, version = executions.fetch_execution(tx, execution_id, for_update=for_update)
    is_covered = not version.endswith(NO_COVER)
    return Versioned(with_cover(body), f"{version}{period()}" if is_covered else version)


def with_cover(execution: str) -> str:
    """The JSON of an execution with `cover_url` for its last member `cover`."""
    if execution.endswith(NO_COVER):
        return f'{execution.removesuffix(NO_COVER)},"cover_url":null}}'
    beginning, _, cover = execution[:-1].rpartition(',"cover":')
    url = url_of_thumbnail(*json.loads(cover))
    return f'{beginning},"cover_url":{json.dumps(url)}}}'
