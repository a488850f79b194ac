"""What a workflow accepts as an execution, and the `input_data` that a submission becomes."""

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from masstock import crypto
from masstock.errors import FieldError, InvalidImage, ValidationFailed
from masstock.models.api import ExecutionCreate
from masstock.models.config import WorkflowConfig
from masstock.storage import ObjectMissing, Uploads

# Larger references are uploaded first and named by their key.
MAX_INLINE_REFERENCE_BYTES = 2 * 1024 * 1024
# Base64 has no hyphens: the two forms cannot be mistaken for each other.
UPLOAD_KEY = re.compile(r"[0-9a-f-]{36}/references/[0-9a-f-]{36,64}\.(png|jpg|webp)")


def check(submission: ExecutionCreate, config: WorkflowConfig) -> None:
    """Raises ValidationFailed naming everything that the workflow does not accept."""
    mistakes: list[FieldError] = []
    if (count := len(submission.prompts)) > config.max_prompts:
        detail = f"This workflow takes at most {config.max_prompts} prompts; there are {count}."
        mistakes.append(FieldError("/prompts", detail))
    if config.requires_api_key and submission.api_key is None:
        mistakes.append(FieldError("/api_key", "This workflow requires an api_key."))
    if submission.reference_images and not config.supports_reference_images:
        detail = "This workflow does not support reference images."
        mistakes.append(FieldError("/reference_images", detail))
    if mistakes:
        raise ValidationFailed(mistakes)


def input_data(
    submission: ExecutionCreate,
    *,
    client_id: UUID,
    execution_id: UUID,
    uploads: Uploads,
    sealing_keys: str,
) -> Mapping[str, Any]:
    """The execution's input as it is stored: reference images by key, the API key sealed. Raises
    ValidationFailed for reference images that are none."""
    stored: dict[str, Any] = {"prompts": list(submission.prompts)}
    if submission.reference_images:
        references = _store_references(submission.reference_images, client_id, uploads)
        stored["reference_images"] = [key for key, _ in references]
        stored["reference_etags"] = [etag for _, etag in references]
    if submission.api_key is not None:
        stored["api_key"] = crypto.seal(submission.api_key, client_id, execution_id, sealing_keys)
    return stored


def _store_references(
    images: Sequence[str], client_id: UUID, uploads: Uploads
) -> list[tuple[str, str]]:
    """(key, ETag) of each: an upload's key as it is, inline base64 stored first."""
    mistakes: list[FieldError] = []
    references: list[tuple[str, str]] = []
    inline_bytes = 0
    for position, text in enumerate(images):
        try:
            if UPLOAD_KEY.fullmatch(text):
                references.append((text, _own_upload(text, client_id, uploads)))
                continue
            content = b64decode(text, validate=True)
            inline_bytes += len(content)
            if inline_bytes > MAX_INLINE_REFERENCE_BYTES:
                detail = "Inline images have at most 2 MB together; upload larger ones."
                raise ValidationFailed([FieldError("/reference_images", detail)])
            references.append(uploads.put_reference(client_id, content))
        except (binascii.Error, ValueError, InvalidImage, ObjectMissing):
            detail = "Send base64 of a PNG, JPEG or WebP image, or the key of an upload of yours."
            mistakes.append(FieldError(f"/reference_images/{position}", detail))
    if mistakes:
        raise ValidationFailed(mistakes)
    return references


def _own_upload(key: str, client_id: UUID, uploads: Uploads) -> str:
    if not key.startswith(f"{client_id}/"):
        raise ObjectMissing
    return uploads.version_of(key)
