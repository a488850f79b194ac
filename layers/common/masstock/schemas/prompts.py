"""Prompts of a submission: a text, or an object with settings."""

import json
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, field_validator
from pydantic_core import PydanticCustomError

from masstock.schemas.fields import (
    MAX_REFERENCES,
    METADATA_BYTES,
    AspectRatio,
    CustomId,
    ImagesPerPrompt,
    Prompt,
    Seed,
)
from masstock.schemas.request_body import RequestBody
from masstock.schemas.workflow_config import ImageSize


class PromptWithId(RequestBody):
    """A prompt with settings of its own. The execution's settings are the defaults."""

    prompt: Prompt
    custom_id: CustomId | None = Field(
        default=None,
        description="Your own name for the prompt, unique in the execution. Its results have it.",
    )
    aspect_ratio: AspectRatio | None = None
    image_size: ImageSize | None = None
    reference_images: list[str] | None = Field(
        default=None,
        max_length=MAX_REFERENCES,
        description="Replaces the execution's reference images; an empty list means none.",
    )
    images: ImagesPerPrompt | None = Field(
        default=None, description="How many images to paint of this prompt."
    )
    seed: Seed | None = Field(default=None, description="Image k is painted with seed + k.")
    metadata: dict[str, Any] | None = Field(
        default=None,
        description="Data of your own, at most 4 KB of JSON. The results have it as "
        "`prompt_metadata`.",
    )

    @field_validator("metadata")
    @classmethod
    def _small(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None and len(json.dumps(value, separators=(",", ":"))) > METADATA_BYTES:
            # ASCII escapes are longer than UTF-8.
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            if len(text.encode(errors="replace")) > METADATA_BYTES:
                raise PydanticCustomError("too_long", "Send at most 4 KB of metadata.")
        return value


def _form_of_prompt(value: object) -> str:
    return OBJECT_FORM if isinstance(value, dict | PromptWithId) else TEXT_FORM


# Names of the two forms. masstock_api.request omits names in angle brackets from JSON pointers.
TEXT_FORM = "<text>"
OBJECT_FORM = "<object>"
SubmittedPrompt = Annotated[
    Annotated[Prompt, Tag(TEXT_FORM)] | Annotated[PromptWithId, Tag(OBJECT_FORM)],
    Discriminator(_form_of_prompt),
]
