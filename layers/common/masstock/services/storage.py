"""Object storage. No other module calls S3 or makes object keys."""

import base64
import hashlib
import json
import os
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit
from uuid import UUID

from masstock.errors import InvalidImage, ReferenceGone, StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# The bucket's limit in the schema document, for painted images and reference images.
MAX_IMAGE_BYTES = 10 * 1024 * 1024
# Enough for 10,000 prompts of about 5,000 characters.
MAX_PROMPTS_BYTES = 50 * 1024 * 1024
# A presigned URL also expires with the credentials that signed it. They live for an hour or more.
URL_SECONDS = 900

# How often a call of S3 is sent, and how long it can wait each time.
REQUESTS = 3
CONNECT_SECONDS = 3
READ_SECONDS = 20
REQUEST_SECONDS = CONNECT_SECONDS + READ_SECONDS

EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
# The key of a list of prompts ends with its format.
PROMPT_FILES = {"application/jsonl": "jsonl", "text/csv": "csv", "text/plain": "txt"}
DEFAULT_PROMPT_FILE = "application/jsonl"


class ObjectMissing(Exception):
    """There is no object under the key, or not the requested version of it."""


MISSING_OR_CHANGED = {"NoSuchKey", "404", "InvalidRange", "416", "PreconditionFailed", "412"}


@dataclass(frozen=True, slots=True)
class ImageDetails:
    """What is known of an image beside its bytes; see the columns of workflow_batch_results."""

    model: str
    width: int
    height: int
    as_asked: bool | None
    images_in_answer: int
    has_provenance: bool

    def as_metadata(self) -> str:
        """JSON in ASCII, for the object's metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def from_metadata(cls, text: str) -> Self | None:
        """The inverse of `as_metadata`. None for objects of earlier releases."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image in the results bucket, with the values for its row."""

    key: str
    mime_type: str
    size_bytes: int
    sha256: str
    processing_time_ms: int
    cost_microusd: int | None
    # The attempt that painted and paid for the image.
    attempt: int
    details: ImageDetails | None


def sniff_image(content: bytes) -> str:
    """The MIME type by magic bytes. Raises InvalidImage if the content is not a PNG, JPEG or WebP
    of at most 10 MB."""
    if len(content) > MAX_IMAGE_BYTES:
        raise InvalidImage(f"The image has {len(content)} bytes; the limit is 10 MB.")
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    raise InvalidImage


def image_key(execution_id: UUID, batch_index: int, created_at: datetime, mime_type: str) -> str:
    """`{execution_id}/{batch_index}_{timestamp}.{ext}`. The timestamp is the creation of the row,
    so that two attempts write the same object."""
    timestamp = int(created_at.timestamp())
    return f"{execution_id}/{batch_index}_{timestamp}.{EXTENSIONS[mime_type]}"


class Results:
    """The bucket of painted images."""

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
        details: ImageDetails,
        requests: int = REQUESTS,
    ) -> StoredImage:
        """Stores an image. If the function dies before it completes the row, the next attempt
        completes the row from the metadata. Sends at most `requests`, each of which ends after
        REQUEST_SECONDS."""
        digest = hashlib.sha256(content)
        metadata = {
            "sha256": digest.hexdigest(),
            "processing-time-ms": str(processing_time_ms),
            "attempt": str(attempt),
            "details": details.as_metadata(),
        }
        if cost is not None:
            metadata["cost-microusd"] = str(cost)
        with _storage_errors():
            client = _s3() if requests == REQUESTS else _s3(requests)
            client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=content,
                ContentType=mime_type,
                ChecksumSHA256=_checksum(digest.digest()),
                Metadata=metadata,
            )
        return StoredImage(
            key,
            mime_type,
            len(content),
            digest.hexdigest(),
            processing_time_ms,
            cost,
            attempt,
            details,
        )

    def find(self, execution_id: UUID, batch_index: int) -> StoredImage | None:
        """The image that an earlier attempt stored for a prompt, or None."""
        prefix = f"{execution_id}/{batch_index}_"
        with _storage_errors():
            listed = _s3().list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=1)
            if not (found := listed.get("Contents")):
                return None
            key = found[0].get("Key", "")
            head = _s3().head_object(Bucket=self._bucket, Key=key)
        return _described(key, head["ContentType"], head["ContentLength"], head["Metadata"])

    def remove_all(self, execution_id: UUID) -> int:
        """Deletes all images of an execution and returns their number. Raises StorageUnavailable
        if S3 refuses one of them, after it tried all others."""
        removed = 0
        refused: list[str] = []
        with _storage_errors():
            pages = _s3().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=f"{execution_id}/"):
                keys = [found.get("Key", "") for found in page.get("Contents", [])]
                if keys:
                    answer = _s3().delete_objects(
                        Bucket=self._bucket,
                        Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
                    )
                    # The status is 200 even if S3 refuses each key.
                    errors = [error.get("Code", "") for error in answer.get("Errors", [])]
                    refused += errors
                    removed += len(keys) - len(errors)
        if refused:
            codes = ", ".join(sorted(set(refused)))
            raise StorageUnavailable(f"S3 did not delete {len(refused)} images: {codes}")
        return removed

    def signed_url(self, key: str) -> str:
        """A URL of the image that needs no token and is valid for 15 minutes."""
        return _s3().generate_presigned_url(
            "get_object", {"Bucket": self._bucket, "Key": key}, ExpiresIn=URL_SECONDS
        )

    def public_url(self, key: str) -> str:
        """The permanent URL of an image in a public bucket."""
        return self.signed_url(key).partition("?")[0]


class Uploads:
    """The private bucket of callers' files. Keys begin with the client's id."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    def put_reference(self, client_id: UUID, content: bytes) -> tuple[str, str]:
        """Stores a reference image under the hash of its content. Returns key and ETag."""
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

    def new_image_upload(
        self, client_id: UUID, upload_id: UUID, mime_type: str
    ) -> dict[str, object]:
        """A form that uploads one image of at most 10 MB. See `_new_upload`."""
        key = f"{client_id}/references/{upload_id}.{EXTENSIONS[mime_type]}"
        return self._new_upload(key, mime_type, MAX_IMAGE_BYTES)

    def new_prompts_upload(
        self, client_id: UUID, upload_id: UUID, mime_type: str = DEFAULT_PROMPT_FILE
    ) -> dict[str, object]:
        """A form that uploads one list of prompts of at most 50 MB. See `_new_upload`."""
        key = f"{client_id}/prompts/{upload_id}.{PROMPT_FILES[mime_type]}"
        return self._new_upload(key, mime_type, MAX_PROMPTS_BYTES)

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

    def version_of(self, key: str) -> tuple[str, int]:
        """ETag and bytes of an uploaded reference image. Raises ObjectMissing or InvalidImage."""
        with _storage_errors():
            found = _s3().get_object(Bucket=self._bucket, Key=key, Range="bytes=0-15")
            beginning = found["Body"].read()
        size = int(found["ContentRange"].rpartition("/")[2])
        if size > MAX_IMAGE_BYTES:
            raise InvalidImage
        sniff_image(beginning)
        return found["ETag"].strip('"'), size

    def read_prompts(self, key: str) -> bytes:
        """An uploaded list of prompts. Raises ObjectMissing, also for a list that is longer than an
        upload may be, or StorageUnavailable for one that does not arrive whole."""
        with _storage_errors():
            found = _s3().get_object(Bucket=self._bucket, Key=key)
            if found["ContentLength"] > MAX_PROMPTS_BYTES:
                raise ObjectMissing
            # Not read(size): boto3 would not compare the length (findings/boto3-sized-read.sh).
            return found["Body"].read()

    def read_reference(self, client_id: UUID, key: str, version: str) -> tuple[bytes, str]:
        """Content and MIME type of a client's reference image in the submitted version. Raises
        ReferenceGone. This includes keys of another client, because a row may have been inserted
        without the api."""
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
    cost = metadata.get("cost-microusd", "")
    return StoredImage(
        key=key,
        mime_type=mime_type,
        size_bytes=size,
        sha256=metadata["sha256"],
        processing_time_ms=int(metadata["processing-time-ms"]),
        # Another writer of the bucket could have changed it.
        cost_microusd=int(cost) if re.fullmatch("[0-9]{1,12}", cost) else None,
        attempt=int(metadata["attempt"]),
        details=ImageDetails.from_metadata(metadata.get("details", "")),
    )


def _checksum(sha256: bytes) -> str:
    """The value of S3's checksum header."""
    return base64.b64encode(sha256).decode()


@cache
def _s3(requests: int = REQUESTS) -> "S3Client":
    """The client that sends a call at most `requests` times."""
    # Imported here because boto3 doubles a cold start; most requests do not need S3.
    import boto3
    from botocore.config import Config

    return boto3.client(  # pyright: ignore[reportUnknownMemberType]
        "s3",
        # Lambda sets both variables of the region. boto3 reads only AWS_DEFAULT_REGION.
        region_name=os.environ.get("AWS_REGION"),
        config=Config(
            signature_version="s3v4",
            retries={"mode": "standard", "max_attempts": requests},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            # boto3 would build a user agent twice per call, an eighth of the call's CPU.
            user_agent="masstock",
            # Hash each body once. `put_object` sends the checksum that we compute anyway. S3
            # verifies it, and the request's signature covers it.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            # URLs name the region's own host, over IPv4 only (docs/decisions.md). The signature
            # covers the host, so a redirect does not help.
            use_dualstack_endpoint=False,
            s3={
                "payload_signing_enabled": False,
                "us_east_1_regional_endpoint": "regional",
                "addressing_style": "path" if _endpoint_is_loopback() else "virtual",
            },
        ),
    )


def _endpoint_is_loopback() -> bool:
    """True for the endpoint of the local stack, whose host has no subdomain for a bucket."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    host = urlsplit(endpoint).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@contextmanager
def _storage_errors() -> Generator[None]:
    """Raises StorageUnavailable for failures of S3, and ObjectMissing for a missing object."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in MISSING_OR_CHANGED:
            raise ObjectMissing from error
        raise StorageUnavailable from error
    except BotoCoreError as error:
        raise StorageUnavailable from error
