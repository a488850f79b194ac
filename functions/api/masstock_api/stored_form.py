"""The stored form of a submission: `input_data` of its execution."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from masstock.errors import FieldError
from masstock.schemas.prompts import PromptWithId
from masstock.schemas.requests import ExecutionCreate
from masstock.services import sealing
from masstock.services.storage import Uploads
from masstock_api.prompt_lists.places import PromptList
from masstock_api.references import ReferenceList, store_references


def input_data(
    submission: ExecutionCreate,
    listed: PromptList,
    *,
    client_id: UUID,
    execution_id: UUID,
    uploads: Uploads,
    sealing_keys: str,
    aspect_ratio: str | None = None,
    image_size: str | None = None,
    dry_run: bool = False,
) -> Mapping[str, Any]:
    """Reference images become keys, and the API key is sealed. Raises ValidationFailed for an
    invalid reference image."""
    own, *of_prompts = store_references(
        _reference_lists(submission, listed), client_id, uploads, dry_run=dry_run
    )
    of_next = iter(of_prompts)
    stored: dict[str, Any] = {"prompts": [_prompt(prompt, of_next) for prompt in listed.prompts]}
    if own:
        stored |= _stored(own)
    settings = {
        "aspect_ratio": aspect_ratio,
        "image_size": image_size,
        "images_per_prompt": submission.images_per_prompt,
        "seed": submission.seed,
        "reuse": submission.reuse if submission.reuse == "identical" else None,
        "canary": submission.canary and submission.canary.model_dump(exclude_none=True),
        "fall_back_after_seconds": submission.fall_back_after_seconds,
    }
    stored |= {name: value for name, value in settings.items() if value is not None}
    if submission.api_key is not None:
        stored["api_key"] = sealing.seal(submission.api_key, client_id, execution_id, sealing_keys)
    return stored


def _prompt(
    prompt: str | PromptWithId, references: Iterator[Sequence[tuple[str, str]]]
) -> str | dict[str, Any]:
    """`references` are those of the prompts that have own ones."""
    if isinstance(prompt, str):
        return prompt
    stored = prompt.model_dump(exclude_none=True)
    return stored | _stored(next(references)) if prompt.reference_images is not None else stored


def _reference_lists(submission: ExecutionCreate, listed: PromptList) -> list[ReferenceList]:
    """The list of the submission, and that of each prompt that has one."""

    def of_submission(position: int | None, detail: str) -> FieldError:
        place = "/reference_images" if position is None else f"/reference_images/{position}"
        return FieldError(place, detail)

    def of_prompt(index: int, position: int | None, detail: str) -> FieldError:
        found = listed.places.mistake(index, "reference_images", detail)
        has_pointer = found.pointer.endswith("/reference_images")
        if position is None or not has_pointer:
            return found
        return FieldError(f"{found.pointer}/{position}", detail)

    lists = [ReferenceList(submission.reference_images or (), of_submission)]
    lists += (
        ReferenceList(prompt.reference_images, partial(of_prompt, index))
        for index, prompt in enumerate(listed.prompts)
        if isinstance(prompt, PromptWithId) and prompt.reference_images is not None
    )
    return lists


def _stored(references: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    return {
        "reference_images": [key for key, _ in references],
        "reference_etags": [etag for _, etag in references],
    }
