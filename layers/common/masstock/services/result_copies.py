"""Copies of the results of economy jobs, in the bucket of uploads.

The copies are not in the bucket of results, which may be public: one copy holds the images of a
whole job. A copy is written in chunks, so that the writer's memory does not depend on its size.
"""

from uuid import UUID

from masstock.services.multipart import MultipartUpload
from masstock.services.s3_client import s3, storage_errors

# S3 accepts chunks of 5 MiB or more, and 10,000 of them.
CHUNK_BYTES = 8 * 1024 * 1024
# The lifecycle rule of the bucket names the tag (template.yaml).
COPY_TAG = "kind=economy"


def copy_key(client_id: UUID, job_id: UUID) -> str:
    """The key of a job's copy. No caller can upload to such a key."""
    return f"{client_id}/economy/{job_id}.jsonl"


class CopyWriter(MultipartUpload):
    """Writes one copy, from pieces of any size. Without `finish`, nothing is stored."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(bucket, key, "application/jsonl", COPY_TAG)
        self._pending = bytearray()

    def write(self, content: bytes) -> None:
        """Appends to the copy. Raises StorageUnavailable."""
        self._pending += content
        while len(self._pending) >= CHUNK_BYTES:
            self.send(bytes(self._pending[:CHUNK_BYTES]))
            del self._pending[:CHUNK_BYTES]

    def finish(self) -> None:
        """Makes the chunks one object. The last one may be short, and there must be one."""
        self.send(bytes(self._pending))
        super().finish()


def read_copied_line(bucket: str, key: str, offset: int, length: int) -> bytes:
    """One line of a copy. Raises ObjectMissing or StorageUnavailable."""
    with storage_errors():
        found = s3().get_object(
            Bucket=bucket, Key=key, Range=f"bytes={offset}-{offset + length - 1}"
        )
        return found["Body"].read()


def delete_copy(bucket: str, key: str) -> None:
    """Deletes a copy, if it exists. Raises StorageUnavailable."""
    with storage_errors():
        s3().delete_object(Bucket=bucket, Key=key)
