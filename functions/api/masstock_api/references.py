"""Checks and stores the reference images of a submission."""

import binascii
import re
from base64 import b64decode
from collections.abc import Sequence
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
            content = b64decode(text, validate=True)
            inline_bytes += len(content)
            total_bytes += len(content)
            if inline_bytes > MAX_INLINE_REFERENCE_BYTES:
                detail = "Inline images may have 2 MB in total; upload larger images."
                raise ValidationFailed([FieldError("/reference_images", detail)])
            if dry_run:
                sniff_image(content)
            else:
                references.append(uploads.put_reference(client_id, content))
        except (binascii.Error, ValueError, InvalidImage, ObjectMissing):
            detail = "Send base64 of a PNG, JPEG or WebP image, or the key of your upload."
            mistakes.append(FieldError(f"/reference_images/{position}", detail))
    if total_bytes > MAX_REFERENCES_BYTES:
        detail = "The reference images of a prompt may have 15 MB in total."
        mistakes.append(FieldError("/reference_images", detail))
    if mistakes:
        raise ValidationFailed(mistakes)
    return references


def _own_upload(key: str, client_id: UUID, uploads: Uploads) -> tuple[str, int]:
    if not key.startswith(f"{client_id}/"):
        raise ObjectMissing
    return uploads.version_of(key)
