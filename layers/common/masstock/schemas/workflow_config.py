"""The `config` column of a workflow."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from masstock.limits import PROMPTS_LIMIT

DEFAULT_MAX_PROMPTS = 100


def _whole(value: object) -> object:
    # JSON has no integer type, and some languages write 2 as 2.0.
    return int(value) if isinstance(value, float) and value.is_integer() else value


# Annotated after the limits, so that pydantic checks and describes them as limits of an integer.
WHOLE = BeforeValidator(_whole)


class WorkflowConfig(BaseModel):
    """Settings of a workflow's executions. Unknown keys are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True, strict=True)

    workflow_type: Literal["nano_banana"]
    model: str = Field(min_length=1, max_length=200, examples=["gemini-2.5-flash-image"])
    requires_api_key: bool = False
    max_prompts: Annotated[int, Field(ge=1, le=PROMPTS_LIMIT), WHOLE] = DEFAULT_MAX_PROMPTS
    supports_reference_images: bool = False
    max_concurrency: Annotated[int, Field(ge=1), WHOLE] | None = None
    microusd_per_image: Annotated[int, Field(ge=0), WHOLE] | None = Field(
        None, description="Price of an image, for a model whose prices are not known here."
    )
