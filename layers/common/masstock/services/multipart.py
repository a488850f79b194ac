"""Uploads to S3 in chunks, for objects that do not fit into memory."""

import base64
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Self
from zlib import crc32

from masstock.services.s3_client import ObjectMissing, s3, storage_errors

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

CHUNKS_AT_ONCE = 3


class MultipartUpload:
    """An object that is stored in chunks, several at the same time. Without `finish`, or if the
    block raises, nothing is stored."""

    def __init__(self, bucket: str, key: str, content_type: str, tagging: str) -> None:
        self._bucket = bucket
        self._key = key
        self._is_finished = False
        self._sent: list[Future[CompletedPartTypeDef]] = []
        with storage_errors():
            begun = s3().create_multipart_upload(
                Bucket=bucket,
                Key=key,
                ContentType=content_type,
                Tagging=tagging,
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
                abort_upload(self._bucket, self._key, self._id)

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


def abort_upload(bucket: str, key: str, upload_id: str) -> None:
    """Ends an upload in progress. Nothing of it is kept."""
    # It may have ended meanwhile.
    with suppress(ObjectMissing):
        s3().abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
