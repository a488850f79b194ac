"""The buckets of images and uploads. `archive_storage` has the keys of archives; no other module
makes object keys."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Self
from uuid import UUID

from masstock.errors import InvalidImage, ReferenceGone
from masstock.services import signed_urls
from masstock.services.s3_client import (
    REQUESTS,
    URL_SECONDS,
    ObjectMissing,
    checksum_of,
    remove_all,
    s3,
    storage_errors,
)

# The bucket's limit in the schema document, for painted images and reference images.
MAX_IMAGE_BYTES = 10 * 1024 * 1024
# Enough for 10,000 prompts of about 5,000 characters.
MAX_PROMPTS_BYTES = 50 * 1024 * 1024

# A key never gets other bytes after its row is complete.
CACHE_CONTROL = "private, max-age=31536000, immutable"

EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
# The key of a list of prompts ends with its format.
PROMPT_FILES = {"application/jsonl": "jsonl", "text/csv": "csv", "text/plain": "txt"}
DEFAULT_PROMPT_FILE = "application/jsonl"


MISSING_OR_CHANGED = {
    "NoSuchKey",
    "NoSuchUpload",
    "404",
    "InvalidRange",
    "416",
    "PreconditionFailed",
    "412",
}


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
    # Where its thumbnail is stored.
    thumbnail: str | None = None
    is_reused: bool = False


def sniff_image(content: bytes) -> str:
    """The MIME type by magic bytes. Raises InvalidImage if the content is not a PNG, JPEG or WebP
    of at most 10 MB."""
    if len(content) > MAX_IMAGE_BYTES:
        raise InvalidImage(f"The image has {len(content)} bytes; the limit is 10 MB.")
    mime_type = mime_type_of(content)
    if mime_type is None:
        raise InvalidImage
    return mime_type


def mime_type_of(content: bytes) -> str | None:
    """The MIME type by magic bytes: PNG, JPEG, WebP, or None."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return None


def image_key(execution_id: UUID, batch_index: int, asked_at: datetime, mime_type: str) -> str:
    """`{execution_id}/{batch_index}_{timestamp}.{ext}`. The timestamp is the creation of the row or
    the change of its prompt, so that two attempts of one prompt write the same object."""
    return f"{_key_prefix(execution_id, batch_index, asked_at)}{EXTENSIONS[mime_type]}"


def _key_prefix(execution_id: UUID, batch_index: int, asked_at: datetime) -> str:
    return f"{execution_id}/{batch_index}_{int(asked_at.timestamp())}."


def thumbnail_key(execution_id: UUID, batch_index: int, edited_at: datetime | None = None) -> str:
    """`{execution_id}/thumbnails/{batch_index}.webp`, or `…/{batch_index}_{timestamp}.webp` if the
    prompt was changed: a thumbnail of the former prompt may be stored later. `Results.find` does
    not take it for an image."""
    edition = "" if edited_at is None else f"_{int(edited_at.timestamp())}"
    return f"{execution_id}/thumbnails/{batch_index}{edition}.webp"


class Results:
    """The bucket of painted images and their thumbnails."""

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
        asked: str,
        details: ImageDetails,
        requests: int = REQUESTS,
    ) -> StoredImage:
        """Stores an image, with a digest of what was `asked`. If the function dies before it
        completes the row, the next attempt completes the row from the metadata. Sends at most
        `requests`, each of which ends after REQUEST_SECONDS."""
        digest = hashlib.sha256(content)
        metadata = {
            "sha256": digest.hexdigest(),
            "processing-time-ms": str(processing_time_ms),
            "attempt": str(attempt),
            "asked": asked,
            "details": details.as_metadata(),
        }
        if cost is not None:
            metadata["cost-microusd"] = str(cost)
        with storage_errors():
            client = s3() if requests == REQUESTS else s3(requests)
            client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=content,
                ContentType=mime_type,
                CacheControl=CACHE_CONTROL,
                ChecksumSHA256=checksum_of(digest.digest()),
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

    def reuse(
        self,
        source: str,
        execution_id: UUID,
        batch_index: int,
        asked_at: datetime,
        *,
        attempt: int,
        asked: str,
    ) -> StoredImage:
        """Copies an image of an earlier result, at no cost. Raises ObjectMissing, also for an
        object that is no painted image."""
        with storage_errors():
            head = s3().head_object(Bucket=self._bucket, Key=source)
            mime_type, found = head["ContentType"], head["Metadata"]
            if mime_type not in EXTENSIONS or "sha256" not in found:
                raise ObjectMissing
            key = image_key(execution_id, batch_index, asked_at, mime_type)
            metadata = {**found, "attempt": str(attempt), "asked": asked, "cost-microusd": "0"}
            metadata["reused"] = "1"
            s3().copy_object(
                Bucket=self._bucket,
                Key=key,
                CopySource={"Bucket": self._bucket, "Key": source},
                CopySourceIfMatch=head["ETag"],
                MetadataDirective="REPLACE",
                Metadata=metadata,
                ContentType=mime_type,
                CacheControl=CACHE_CONTROL,
            )
        return _described(key, mime_type, head["ContentLength"], metadata)

    def put_thumbnail(self, key: str, content: bytes, image_sha256: str) -> None:
        """Stores the thumbnail of an image, with one request."""
        with storage_errors():
            s3(1).put_object(
                Bucket=self._bucket,
                Key=key,
                Body=content,
                ContentType="image/webp",
                CacheControl=CACHE_CONTROL,
                ChecksumSHA256=checksum_of(hashlib.sha256(content).digest()),
                Metadata={"image-sha256": image_sha256},
            )

    def has_thumbnail(self, key: str, image_sha256: str) -> bool:
        """True if the thumbnail of this image is stored. A prompt that is painted again may have
        that of an earlier image."""
        try:
            with storage_errors():
                head = s3().head_object(Bucket=self._bucket, Key=key)
        except ObjectMissing:
            return False
        return head["Metadata"].get("image-sha256") == image_sha256

    def find(
        self, execution_id: UUID, batch_index: int, asked_at: datetime, asked: str
    ) -> StoredImage | None:
        """The image that an earlier attempt stored for a prompt, or None. Ignores an image for
        which something else was asked. Objects of earlier releases do not say what was asked."""
        prefix = _key_prefix(execution_id, batch_index, asked_at)
        with storage_errors():
            listed = s3().list_objects_v2(Bucket=self._bucket, Prefix=prefix)
            for found in listed.get("Contents", []):
                key = found.get("Key", "")
                head = s3().head_object(Bucket=self._bucket, Key=key)
                if head["Metadata"].get("asked", asked) == asked:
                    return _described(
                        key, head["ContentType"], head["ContentLength"], head["Metadata"]
                    )
        return None

    def read(self, key: str) -> bytes:
        """The bytes of an image. Raises ObjectMissing."""
        with storage_errors():
            return s3().get_object(Bucket=self._bucket, Key=key)["Body"].read()

    def remove_all(self, execution_id: UUID) -> int:
        """Deletes all images and thumbnails of an execution and returns the number of objects.
        Raises StorageUnavailable if S3 refuses one of them, after it tried all others."""
        return remove_all(self._bucket, f"{execution_id}/")

    def signed_url(self, key: str, file_name: str | None = None) -> str:
        """A URL of the image that needs no token, for at least 15 minutes; see `signed_urls`."""
        return signed_urls.signed_url(self._bucket, key, file_name)

    def public_url(self, key: str) -> str:
        """The permanent URL of an image in a public bucket."""
        return signed_urls.plain_url(self._bucket, key)


class Uploads:
    """The private bucket of callers' files. Keys begin with the client's id."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    def address(self) -> str:
        """The URL of the bucket, where forms upload to."""
        return s3().generate_presigned_post(self._bucket, "key")["url"]

    def put_reference(self, client_id: UUID, content: bytes) -> tuple[str, str]:
        """Stores a reference image under the hash of its content. Returns key and ETag."""
        mime_type = sniff_image(content)
        digest = hashlib.sha256(content)
        key = f"{client_id}/references/{digest.hexdigest()}.{EXTENSIONS[mime_type]}"
        with storage_errors():
            stored = s3().put_object(
                Bucket=self._bucket,
                Key=key,
                Body=content,
                ContentType=mime_type,
                ChecksumSHA256=checksum_of(digest.digest()),
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
        form = s3().generate_presigned_post(
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
        with storage_errors():
            found = s3().get_object(Bucket=self._bucket, Key=key, Range="bytes=0-15")
            beginning = found["Body"].read()
        size = int(found["ContentRange"].rpartition("/")[2])
        if size > MAX_IMAGE_BYTES:
            raise InvalidImage
        sniff_image(beginning)
        return found["ETag"].strip('"'), size

    def read_prompts(self, key: str) -> bytes:
        """An uploaded list of prompts. Raises ObjectMissing, also for a list that is longer than an
        upload may be, or StorageUnavailable for one that does not arrive whole."""
        with storage_errors():
            found = s3().get_object(Bucket=self._bucket, Key=key)
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
            with storage_errors():
                found = s3().get_object(Bucket=self._bucket, Key=key, IfMatch=f'"{version}"')
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
        is_reused="reused" in metadata,
    )
