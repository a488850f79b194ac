"""What callers send. Unknown fields are refused: a misspelt option must not be ignored in silence.

Loaded only by the routes that read a body; what callers get is built by Postgres and described in
`masstock.models.resources`.
"""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

PROMPT_LENGTH = 10_000

Prompt = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=PROMPT_LENGTH)
]
ApiKey = Annotated[str, StringConstraints(min_length=8, max_length=512, pattern=r"^[\x20-\x7e]+$")]


class RequestBody(BaseModel):
    """A JSON object."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class ExecutionCreate(RequestBody):
    """Submits prompts to a workflow."""

    workflow_id: UUID
    client_id: UUID | None = Field(
        None, description="Administrators name the client; client users leave it out."
    )
    prompts: list[Prompt] = Field(
        min_length=1, description="At most `max_prompts` of the workflow's config."
    )
    reference_images: list[str] = Field(
        default_factory=list,
        max_length=14,
        description="Base64 of PNG, JPEG or WebP images; where the workflow supports them.",
    )
    api_key: ApiKey | None = Field(
        None, description="The image model's key; kept sealed and never returned."
    )
