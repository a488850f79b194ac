"""The ZIP files of images in the bucket of uploads."""

import base64
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Self
from uuid import UUID
from zlib import crc32

from masstock.services.s3_client import URL_SECONDS, ObjectMissing, remove_all, s3, storage_errors

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

# The lifecycle rule of the bucket names the tag (template.yaml).
ARCHIVE_TAG = "kind=archive"
CHUNKS_AT_ONCE = 3


class Archives:
    """The ZIP files of images, in the bucket of uploads, which is always private. S3 removes them
    after seven days, by their tag."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    @staticmethod
    def prefix(client_id: UUID, execution_id: UUID, archive_id: UUID, part: int) -> str:
        """What the keys of all attempts to build a part begin with."""
        return f"{client_id}/archives/{execution_id}/{archive_id}/{part}-"

    def new_upload(self, key: str) -> "ArchiveUpload":
        """Begins an upload in chunks."""
        return ArchiveUpload(self._bucket, key)

    def abort_uploads(self, prefix: str) -> None:
        """Ends the uploads in progress under a prefix. Nothing of them is kept."""
        with storage_errors():
            pages = s3().get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
                for found in page.get("Uploads", []):
                    _abort(self._bucket, found.get("Key", ""), found.get("UploadId", ""))

    def size_of(self, key: str) -> int:
        """The size of a stored archive."""
        with storage_errors():
            return s3().head_object(Bucket=self._bucket, Key=key)["ContentLength"]

    def remove_all(self, client_id: UUID, execution_id: UUID) -> int:
        """Deletes the archives of an execution and returns their number. Raises as
        `Results.remove_all`."""
        return remove_all(self._bucket, f"{client_id}/archives/{execution_id}/")

    def signed_url(self, key: str, file_name: str) -> str:
        """A URL that needs no token, for 15 minutes. A browser saves the file as `file_name`, which
        consists of letters, digits, dots and hyphens."""
        return s3().generate_presigned_url(
            "get_object",
            {
                "Bucket": self._bucket,
                "Key": key,
                "ResponseContentDisposition": f'attachment; filename="{file_name}"',
            },
            ExpiresIn=URL_SECONDS,
        )


class ArchiveUpload:
    """The multipart upload of an archive: several chunks at the same time. Without `finish`, or if
    the block raises, nothing is stored."""

    def __init__(self, bucket: str, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._is_finished = False
        self._sent: list[Future[CompletedPartTypeDef]] = []
        with storage_errors():
            begun = s3().create_multipart_upload(
                Bucket=bucket,
                Key=key,
                ContentType="application/zip",
                Tagging=ARCHIVE_TAG,
                ChecksumAlgorithm="CRC32",
            )
        self._id = begun["UploadId"]
        self._pool = ThreadPoolExecutor(CHUNKS_AT_ONCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        if not self._is_finished:
            with storage_errors():
                _abort(self._bucket, self._key, self._id)

    def send(self, chunk: bytes) -> None:
        """Sends the next chunk. Waits while CHUNKS_AT_ONCE others are on their way. Raises the
        error of an earlier chunk."""
        under_way = [sent for sent in self._sent if not sent.done()]
        if len(under_way) >= CHUNKS_AT_ONCE:
            wait(under_way, return_when=FIRST_COMPLETED)
        for sent in self._sent:
            if sent.done():
                sent.result()
        self._sent.append(self._pool.submit(self._send, len(self._sent) + 1, chunk))

    def _send(self, number: int, chunk: bytes) -> "CompletedPartTypeDef":
        checksum = base64.b64encode(crc32(chunk).to_bytes(4)).decode()
        with storage_errors():
            stored = s3().upload_part(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=self._id,
                PartNumber=number,
                Body=chunk,
                ChecksumCRC32=checksum,
            )
        return {"PartNumber": number, "ETag": stored["ETag"], "ChecksumCRC32": checksum}

    def finish(self) -> None:
        """Makes the chunks one object."""
        parts = [sent.result() for sent in self._sent]
        with storage_errors():
            s3().complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=self._id,
                MultipartUpload={"Parts": parts},
            )
        self._is_finished = True


def _abort(bucket: str, key: str, upload_id: str) -> None:
    # It may have ended meanwhile.
    with suppress(ObjectMissing):
        s3().abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
