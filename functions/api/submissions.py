"""What a workflow accepts as an execution, and the `input_data` that a submission becomes."""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from masstock import crypto
from masstock.errors import FieldError, InvalidImage, ValidationFailed
from masstock.models.api import ExecutionCreate
from masstock.models.config import WorkflowConfig
from masstock.storage import Uploads, sniff_image

# Larger references are uploaded first and named by their key.
MAX_INLINE_REFERENCE_BYTES = 2 * 1024 * 1024


def check(submission: ExecutionCreate, config: WorkflowConfig) -> list[bytes]:
    """Raises ValidationFailed naming everything the workflow does not accept; returns the decoded
    reference images."""
    mistakes: list[FieldError] = []
    if len(submission.prompts) > config.max_prompts:
        count = len(submission.prompts)
        mistakes.append(
            FieldError(
                "/prompts",
                f"This workflow takes at most {config.max_prompts} prompts; there are {count}.",
            )
        )
    if config.requires_api_key and submission.api_key is None:
        mistakes.append(FieldError("/api_key", "This workflow requires an api_key."))
    if submission.reference_images and not config.supports_reference_images:
        mistakes.append(
            FieldError("/reference_images", "This workflow does not support reference images.")
        )
    references: list[bytes] = []
    for position, text in enumerate(submission.reference_images):
        try:
            content = b64decode(text, validate=True)
            sniff_image(content)
            references.append(content)
        except (binascii.Error, ValueError, InvalidImage):
            pointer = f"/reference_images/{position}"
            mistakes.append(FieldError(pointer, "Send base64 of a PNG, JPEG or WebP image."))
    if sum(map(len, references)) > MAX_INLINE_REFERENCE_BYTES:
        mistakes.append(
            FieldError("/reference_images", "Inline reference images have at most 2 MB together.")
        )
    if mistakes:
        raise ValidationFailed(mistakes)
    return references


def input_data(
    submission: ExecutionCreate,
    references: list[bytes],
    *,
    client_id: UUID,
    execution_id: UUID,
    uploads: Uploads,
    sealing_keys: str,
) -> Mapping[str, Any]:
    """The execution's input as it is stored: reference images by key, the API key sealed."""
    stored: dict[str, Any] = {"prompts": list(submission.prompts)}
    if references:
        stored["reference_images"] = [uploads.put_reference(client_id, r) for r in references]
    if submission.api_key is not None:
        stored["api_key"] = crypto.seal(submission.api_key, client_id, execution_id, sealing_keys)
    return stored
