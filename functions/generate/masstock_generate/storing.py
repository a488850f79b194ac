"""Stores a paid image and its thumbnail: first the image, then the thumbnail, then the row."""

import time
from collections.abc import Callable
from dataclasses import replace

from masstock.database.queries.claims import Claim
from masstock.services.s3_client import REQUEST_SECONDS
from masstock.services.storage import Results, StoredImage, thumbnail_key
from masstock.telemetry import logger
from masstock_generate.images import inspect_image
from masstock_generate.lease import Lease

# Between two requests to store a paid image.
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 4


class ImageLost(Exception):
    """The model was paid for an image that could not be stored."""

    def __init__(self, cost_microusd: int | None) -> None:
        super().__init__()
        self.cost_microusd = cost_microusd


def store_image(put: Callable[[], StoredImage], lease: Lease, cost: int | None) -> StoredImage:
    """Stores a paid image. The next attempt of the prompt would pay again, so this attempt tries
    until its lease leaves no time. Raises ImageLost."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return put()
        except Exception as error:  # for any reason: the image is paid
            if not lease.has_time_for(pause + REQUEST_SECONDS):
                logger.exception("a paid image is lost")
                raise ImageLost(cost) from error
            logger.warning("the image is not stored yet", exc_info=True)
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def with_thumbnail(
    results: Results, claim: Claim, stored: StoredImage, thumbnail: bytes | None, lease: Lease
) -> StoredImage:
    """Stores the thumbnail of a stored image, with one request. If this fails, or if there is no
    time, the image has no thumbnail."""
    if thumbnail is None or not lease.has_time_for(REQUEST_SECONDS):
        return stored
    key = _thumbnail_key(claim)
    try:
        results.put_thumbnail(key, thumbnail, stored.sha256)
    except Exception:  # for any reason: the image is there
        logger.warning("the thumbnail is not stored", exc_info=True)
        return stored
    return replace(stored, thumbnail=key)


def with_found_thumbnail(
    results: Results, claim: Claim, stored: StoredImage, lease: Lease, max_bytes: int
) -> StoredImage:
    """The image of an earlier attempt with its thumbnail, which is made now if it is missing."""
    key = _thumbnail_key(claim)
    try:
        if results.has_thumbnail(key, stored.sha256):
            return replace(stored, thumbnail=key)
        if not lease.has_time_for(3 * REQUEST_SECONDS):
            return stored
        thumbnail = inspect_image(results.read(stored.key), max_bytes).thumbnail
    except Exception:  # for any reason: the image is there
        logger.warning("the thumbnail of a stored image is not made", exc_info=True)
        return stored
    return with_thumbnail(results, claim, stored, thumbnail, lease)


def _thumbnail_key(claim: Claim) -> str:
    return thumbnail_key(claim.execution_id, claim.batch_index, claim.edited_at)
