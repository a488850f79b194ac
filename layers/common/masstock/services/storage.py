"""Object storage: the only S3 calls, and the only place that knows object keys."""

import base64
import hashlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from masstock.errors import InvalidImage, ReferenceGone, StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# The bucket's limit in the schema document; generated images and references alike.
MAX_IMAGE_BYTES = 10 * 1024 * 1024
# Ten thousand prompts of a few thousand characters each.
MAX_PROMPTS_BYTES = 50 * 1024 * 1024
# A presigned URL dies with the credentials that signed it, an hour at the least.
URL_SECONDS = 900

EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
PROMPTS_TYPE = "application/jsonl"


class ObjectMissing(Exception):
    """There is no object under the key, or no longer the one that was asked for."""


MISSING_OR_CHANGED = {"NoSuchKey", "404", "InvalidRange", "416", "PreconditionFailed", "412"}


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A finished image in the results bucket, with what completing its row needs."""

    key: str
    mime_type: str
    size_bytes: int
    sha256: str
    processing_time_ms: int
    cost_microusd: int | None
    # The attempt that paid for it.
    attempt: int


def sniff_image(content: bytes) -> str:
    """The MIME type by magic bytes; raises InvalidImage for anything but PNG, JPEG and WebP of at
    most 10 MB."""
    if len(content) > MAX_IMAGE_BYTES:
        raise InvalidImage(f"The image has {len(content)} bytes; at most 10 MB are kept.")
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    raise InvalidImage


def image_key(execution_id: UUID, batch_index: int, created_at: datetime, mime_type: str) -> str:
    """`{execution_id}/{batch_index}_{timestamp}.{ext}`. The timestamp is the row's creation, so
    that a task delivered twice writes one object."""
    timestamp = int(created_at.timestamp())
    return f"{execution_id}/{batch_index}_{timestamp}.{EXTENSIONS[mime_type]}"


class Results:
    """The bucket of finished images."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    def put(
        self,
        key: str,
        content: bytes,
        mime_type: str,
        *,
        processing_time_ms: int,
        cost: int | None,
        attempt: int,
    ) -> StoredImage:
        """Stores an image; its metadata can complete the row should we die before that."""
        digest = hashlib.sha256(content)
        metadata = {
            "sha256": digest.hexdigest(),
            "processing-time-ms": str(processing_time_ms),
            "attempt": str(attempt),
        }
        if cost is not None:
            metadata["cost-microusd"] = str(cost)
        with _storage_errors():
            _s3().put_object(
                Bucket=self._bucket,
                Key=key,
                Body=content,
                ContentType=mime_type,
                ChecksumSHA256=_checksum(digest.digest()),
                Metadata=metadata,
            )
        return StoredImage(
            key, mime_type, len(content), digest.hexdigest(), processing_time_ms, cost, attempt
        )

    def find(self, execution_id: UUID, batch_index: int) -> StoredImage | None:
        """The image that an earlier attempt has already stored for a prompt, if any."""
        prefix = f"{execution_id}/{batch_index}_"
        with _storage_errors():
            listed = _s3().list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=1)
            if not (found := listed.get("Contents")):
                return None
            key = found[0].get("Key", "")
            head = _s3().head_object(Bucket=self._bucket, Key=key)
        return _described(key, head["ContentType"], head["ContentLength"], head["Metadata"])

    def remove_all(self, execution_id: UUID) -> int:
        """Deletes every image of an execution; returns how many there were."""
        removed = 0
        with _storage_errors():
            pages = _s3().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=f"{execution_id}/"):
                keys = [found.get("Key", "") for found in page.get("Contents", [])]
                if keys:
                    _s3().delete_objects(
                        Bucket=self._bucket,
                        Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
                    )
                    removed += len(keys)
        return removed

    def signed_url(self, key: str) -> str:
        """A URL that shows the image to whoever has it, for 15 minutes."""
        return _s3().generate_presigned_url(
            "get_object", {"Bucket": self._bucket, "Key": key}, ExpiresIn=URL_SECONDS
        )

    def public_url(self, key: str) -> str:
        """The permanent URL of an image in a public bucket."""
        return self.signed_url(key).partition("?")[0]


class Uploads:
    """The bucket of what callers send, always private; keys begin with the client's id."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    def put_reference(self, client_id: UUID, content: bytes) -> tuple[str, str]:
        """Stores a reference image under a key named by its content; returns key and ETag."""
        mime_type = sniff_image(content)
        digest = hashlib.sha256(content)
        key = f"{client_id}/references/{digest.hexdigest()}.{EXTENSIONS[mime_type]}"
        with _storage_errors():
            stored = _s3().put_object(
                Bucket=self._bucket,
                Key=key,
                Body=content,
                ContentType=mime_type,
                ChecksumSHA256=_checksum(digest.digest()),
            )
        return key, stored["ETag"].strip('"')

    def new_image_upload(self, client_id: UUID, mime_type: str) -> dict[str, object]:
        """A form that uploads one image of at most 10 MB; see `_new_upload`."""
        key = f"{client_id}/references/{uuid4()}.{EXTENSIONS[mime_type]}"
        return self._new_upload(key, mime_type, MAX_IMAGE_BYTES)

    def new_prompts_upload(self, client_id: UUID) -> dict[str, object]:
        """A form that uploads one list of prompts of at most 50 MB; see `_new_upload`."""
        key = f"{client_id}/prompts/{uuid4()}.jsonl"
        return self._new_upload(key, PROMPTS_TYPE, MAX_PROMPTS_BYTES)

    def _new_upload(self, key: str, mime_type: str, max_bytes: int) -> dict[str, object]:
        """{key, url, fields, expires_at}. The signed policy fixes key, content type and size."""
        form = _s3().generate_presigned_post(
            self._bucket,
            key,
            Fields={"Content-Type": mime_type},
            Conditions=[
                {"Content-Type": mime_type},
                ["content-length-range", 1, max_bytes],
            ],
            ExpiresIn=URL_SECONDS,
        )
        expires_at = datetime.now(UTC) + timedelta(seconds=URL_SECONDS)
        return {"key": key, **form, "expires_at": expires_at.replace(microsecond=0)}

    def version_of(self, key: str) -> str:
        """The ETag of an uploaded reference image; raises ObjectMissing or InvalidImage."""
        with _storage_errors():
            found = _s3().get_object(Bucket=self._bucket, Key=key, Range="bytes=0-15")
            beginning = found["Body"].read()
        size = int(found["ContentRange"].rpartition("/")[2])
        if size > MAX_IMAGE_BYTES:
            raise InvalidImage
        sniff_image(beginning)
        return found["ETag"].strip('"')

    def read_prompts(self, key: str) -> bytes:
        """An uploaded list of prompts; raises ObjectMissing."""
        with _storage_errors():
            found = _s3().get_object(Bucket=self._bucket, Key=key)
            return found["Body"].read(MAX_PROMPTS_BYTES)

    def read_reference(self, client_id: UUID, key: str, version: str) -> tuple[bytes, str]:
        """Content and MIME type of a client's reference image as it was at submission; raises
        ReferenceGone, for another client's too: SQL injected into a row must not reach them."""
        if not version or not key.startswith(f"{client_id}/"):
            raise ReferenceGone
        try:
            with _storage_errors():
                found = _s3().get_object(Bucket=self._bucket, Key=key, IfMatch=f'"{version}"')
                content = found["Body"].read()
            return content, sniff_image(content)
        except (ObjectMissing, InvalidImage) as error:
            raise ReferenceGone from error


def _described(key: str, mime_type: str, size: int, metadata: Mapping[str, str]) -> StoredImage:
    cost = metadata.get("cost-microusd")
    return StoredImage(
        key=key,
        mime_type=mime_type,
        size_bytes=size,
        sha256=metadata["sha256"],
        processing_time_ms=int(metadata["processing-time-ms"]),
        cost_microusd=int(cost) if cost else None,
        attempt=int(metadata["attempt"]),
    )


def _checksum(sha256: bytes) -> str:
    """As S3 has it in a header."""
    return base64.b64encode(sha256).decode()


@cache
def _s3() -> "S3Client":
    # Here, not at the top: most requests need no S3, and boto3 doubles a cold start.
    import boto3
    from botocore.config import Config

    return boto3.client(  # pyright: ignore[reportUnknownMemberType]
        "s3",
        config=Config(
            signature_version="s3v4",
            retries={"mode": "standard", "max_attempts": 3},
            connect_timeout=3,
            read_timeout=20,
            # boto3's own is put together twice a call, an eighth of its CPU.
            user_agent="masstock",
            # Nothing is hashed twice: what is stored brings the checksum that we compute anyway. S3
            # checks it, and the signature covers it and through it the body.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"payload_signing_enabled": False},
        ),
    )


@contextmanager
def _storage_errors() -> Generator[None]:
    """S3's failures become StorageUnavailable, a missing object ObjectMissing."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in MISSING_OR_CHANGED:
            raise ObjectMissing from error
        raise StorageUnavailable from error
    except BotoCoreError as error:
        raise StorageUnavailable from error
