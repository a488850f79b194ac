"""`workflows.config`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from masstock.limits import PROMPTS_LIMIT

DEFAULT_MAX_PROMPTS = 100


class WorkflowConfig(BaseModel):
    """How a workflow runs. Keys that we do not know are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True, strict=True)

    workflow_type: Literal["nano_banana"]
    model: str = Field(min_length=1, max_length=200, examples=["gemini-2.5-flash-image"])
    requires_api_key: bool = False
    max_prompts: int = Field(DEFAULT_MAX_PROMPTS, ge=1, le=PROMPTS_LIMIT)
    supports_reference_images: bool = False
    max_concurrency: int | None = Field(None, ge=1)
    microusd_per_image: int | None = Field(
        None, ge=0, description="Price of an image, for a model whose prices are not known here."
    )
