"""Checks and stores the reference images of a submission."""

import re
from base64 import b64decode
from collections.abc import Sequence
from urllib.parse import unquote
from uuid import UUID

from masstock.errors import FieldError, InvalidImage, ValidationFailed
from masstock.services.storage import ObjectMissing, Uploads, sniff_image

# Larger reference images must be uploaded first.
MAX_INLINE_REFERENCE_BYTES = 2 * 1024 * 1024
# Of one prompt. In base64 they have 20 MB, the limit of a request to Gemini with inline data:
# https://ai.google.dev/gemini-api/docs/image-understanding
MAX_REFERENCES_BYTES = 15 * 1024 * 1024
# Base64 has no hyphens, so no key is valid base64.
REFERENCE_KEY = re.compile(r"[0-9a-f-]{36}/references/[0-9a-f-]{36,64}\.(png|jpg|webp)")

DATA_URL = re.compile(r"data:([^,]*),(.*)", re.IGNORECASE | re.DOTALL)
ASCII_SPACES = str.maketrans("", "", " \t\r\n\f")

NO_UPLOAD = "There is no such upload of yours. An upload is kept for 30 days."
NO_IMAGE = "This is not a PNG, JPEG or WebP image of at most 10 MB."
NO_BASE64 = "Send base64 of an image, a data URL, or the key of your upload; this is none of them."
NO_FETCH = "Addresses are not fetched. Send the image as base64, or upload it and send the key."
NO_BASE64_DATA = "A data URL must have its image in base64: data:image/png;base64,…"


class _Refused(ValueError):
    """A reference that is not an image in base64. The message is for the caller."""


def store_references(
    images: Sequence[str], client_id: UUID, uploads: Uploads, *, dry_run: bool
) -> list[tuple[str, str]]:
    """(key, ETag) of each image. Stores inline images first; a dry run only checks them. Raises
    ValidationFailed."""
    mistakes: list[FieldError] = []
    references: list[tuple[str, str]] = []
    inline_bytes = total_bytes = 0
    for position, text in enumerate(images):
        try:
            if REFERENCE_KEY.fullmatch(text):
                version, size = _own_upload(text, client_id, uploads)
                total_bytes += size
                references.append((text, version))
                continue
            content = _inline_image(text)
            inline_bytes += len(content)
            total_bytes += len(content)
            if inline_bytes > MAX_INLINE_REFERENCE_BYTES:
                detail = "Inline images may have 2 MB in total; upload larger images."
                raise ValidationFailed([FieldError("/reference_images", detail)])
            if dry_run:
                sniff_image(content)
            else:
                references.append(uploads.put_reference(client_id, content))
        except _Refused as error:
            mistakes.append(FieldError(f"/reference_images/{position}", str(error)))
        except ObjectMissing:
            mistakes.append(FieldError(f"/reference_images/{position}", NO_UPLOAD))
        except InvalidImage:
            mistakes.append(FieldError(f"/reference_images/{position}", NO_IMAGE))
    if total_bytes > MAX_REFERENCES_BYTES:
        detail = "The reference images of a prompt may have 15 MB in total."
        mistakes.append(FieldError("/reference_images", detail))
    if mistakes:
        raise ValidationFailed(mistakes)
    return references


def _inline_image(text: str) -> bytes:
    """The bytes of base64, which may be wrapped in lines, or of a data URL (RFC 2397). The URL's
    media type is ignored: the content decides. Raises _Refused."""
    if re.match(r"https?://", text, re.IGNORECASE):
        raise _Refused(NO_FETCH)
    url = DATA_URL.fullmatch(text)
    if url is not None:
        media_type, text = url.groups()
        if media_type.lower().rpartition(";")[2].strip() != "base64":
            raise _Refused(NO_BASE64_DATA)
        text = unquote(text)
    try:
        return b64decode(text.translate(ASCII_SPACES), validate=True)
    except ValueError as error:
        raise _Refused(NO_BASE64) from error


def _own_upload(key: str, client_id: UUID, uploads: Uploads) -> tuple[str, int]:
    if not key.startswith(f"{client_id}/"):
        raise ObjectMissing
    return uploads.version_of(key)
