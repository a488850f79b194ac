"""Builds one part of an archive: reads its images, writes them as a ZIP file and publishes it."""

from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from uuid import UUID

from masstock.database.queries import archives
from masstock.database.queries.archives import ArchivedImage
from masstock.database.worker import Worker
from masstock.errors import StorageUnavailable
from masstock.services.archive_storage import Archives
from masstock.services.storage import EXTENSIONS, Results, mime_type_of
from masstock.settings import ArchiveSettings
from masstock.telemetry import logger
from masstock_finalize.archive_lists import CSV_NAME, MANIFEST_NAME, as_csv, as_jsonl, record_of
from masstock_finalize.archive_names import file_stems
from masstock_finalize.zip_stream import ZipStream

# S3 takes at most 10,000 chunks, each of at least 5 MB except the last one.
CHUNK_BYTES = 8 * 1024 * 1024
READS_AT_ONCE = 6
# The most bytes of images that are read ahead. A single image may be larger.
READ_AHEAD_BYTES = 24 * 1024 * 1024


class ArchiveDiffers(Exception):
    """An image or the stored file differs from the rows."""


def build_part(worker: Worker, settings: ArchiveSettings, archive_id: UUID, part: int) -> bool:
    """Builds a part and publishes it. False if the part needs no builder, or no longer needs one.
    If this function raises, the sweep starts the next attempt."""
    claim = archives.claim_part(worker, archive_id, part)
    if claim is None:
        logger.info("the part of the archive needs no builder")
        return False
    logger.append_keys(execution_id=str(claim.execution_id), attempt=claim.attempt)
    store = Archives(settings.uploads_bucket)
    prefix = store.prefix(claim.client_id, claim.execution_id, archive_id, part)
    # Each attempt has its own key. So one that outlives its lease never changes a published part.
    key = f"{prefix}{claim.attempt}.zip"
    try:
        images = archives.list_images(worker, claim)
        if [image["batch_index"] for image in images] != claim.batch_indices:
            raise ArchiveDiffers("An image of the archive is no longer there.")
        # Those of attempts that were killed.
        store.abort_uploads(prefix)
        stems = file_stems(archives.list_names(worker, claim))
        size = store_images(store, key, images, stems, Results(settings.results_bucket))
    except BaseException:
        archives.release_part(worker, claim)
        raise
    if not archives.complete_part(worker, claim, key, size):
        # The sweep removes the object with those of the deleted execution, or else S3 by its age.
        logger.warning("the archive was replaced or deleted meanwhile")
        return False
    logger.info("built a part of an archive", images=len(images), size_bytes=size)
    return True


def store_images(
    store: Archives,
    key: str,
    images: Sequence[ArchivedImage],
    stems: Mapping[int, str],
    results: Results,
) -> int:
    """Stores the ZIP file of the images and returns its size. If this function raises, S3 shows no
    object."""
    records: list[Mapping[str, object]] = []
    with store.new_upload(key) as upload, closing(_contents(images, results)) as contents:
        stream = ZipStream(upload.send, CHUNK_BYTES)
        for image, content in contents:
            file = f"{stems[image['batch_index']]}.{_extension(content, image)}"
            records.append(record_of(image, file))
            stream.add(file, content, image["completed_at"])
        newest = max(image["completed_at"] for image in images)
        stream.add(CSV_NAME, as_csv(records), newest)
        stream.add(MANIFEST_NAME, as_jsonl(records), newest)
        size = stream.close()
        if stream.entries != len(images) + 2:
            raise ArchiveDiffers("The archive does not have one entry for each image.")
        upload.finish()
    if store.size_of(key) != size:
        raise ArchiveDiffers("S3 stored another number of bytes than it was sent.")
    return size


def _extension(content: bytes, image: ArchivedImage) -> str:
    mime_type = mime_type_of(content)
    if mime_type is None:
        return image["result_storage_path"].rpartition(".")[2]
    return EXTENSIONS[mime_type]


def _contents(
    images: Sequence[ArchivedImage], results: Results
) -> Generator[tuple[ArchivedImage, bytes]]:
    """Each image with its bytes, in order. The next ones are read meanwhile."""
    waiting = deque(images)
    ahead: deque[tuple[ArchivedImage, Future[bytes]]] = deque()
    held = 0
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        try:
            while waiting or ahead:
                while waiting and len(ahead) < READS_AT_ONCE:
                    size = waiting[0]["size_bytes"] or 0
                    if ahead and held + size > READ_AHEAD_BYTES:
                        break
                    held += size
                    image = waiting.popleft()
                    ahead.append((image, pool.submit(_read, image, results)))
                image, future = ahead.popleft()
                yield image, future.result()
                held -= image["size_bytes"] or 0
        finally:
            pool.shutdown(cancel_futures=True)


def _read(image: ArchivedImage, results: Results) -> bytes:
    try:
        content = results.read(image["result_storage_path"])
    except StorageUnavailable:
        # boto3 does not repeat a read that breaks off.
        content = results.read(image["result_storage_path"])
    if image["image_sha256"] not in (None, sha256(content).hexdigest()):
        raise ArchiveDiffers("An image was painted again meanwhile.")
    return content
