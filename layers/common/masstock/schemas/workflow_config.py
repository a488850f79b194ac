"""The `config` column of a workflow."""

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from masstock.catalogue.image_models import provider_of
from masstock.limits import PROMPTS_LIMIT
from masstock.schemas.patterns import MODEL_NAME, RATIO

type ImageSize = Literal["512", "1K", "2K", "4K"]
type Tier = Literal["standard", "economy"]

DEFAULT_MAX_PROMPTS = 100
# Step Functions runs at most 10,000 children of a Distributed Map at once.
MAX_CONCURRENCY = 10_000
# 1,000 US dollars. Times PROMPTS_LIMIT it stays far below the limit of a bigint.
MAX_MICROUSD_PER_IMAGE = 10**9
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=MODEL_NAME)]


def _whole(value: object) -> object:
    # JSON has no integer type, and some languages write 2 as 2.0.
    return int(value) if isinstance(value, float) and value.is_integer() else value


# In Annotated, WHOLE must follow the limits. Otherwise pydantic does not apply them as limits of an
# integer.
WHOLE = BeforeValidator(_whole)
Concurrency = Annotated[int, Field(ge=1, le=MAX_CONCURRENCY), WHOLE]
ImagePrice = Annotated[int, Field(ge=0, le=MAX_MICROUSD_PER_IMAGE), WHOLE]


class WorkflowConfig(BaseModel):
    """Settings of a workflow. Other names are stored too and have no effect. A request with a name
    that resembles a setting, such as `aspectRatio`, is refused."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True, strict=True)

    workflow_type: Literal["nano_banana"]
    model: ModelName = Field(examples=["gemini-2.5-flash-image"])
    fallback_model: ModelName | None = Field(
        None,
        description="Paints the unfinished prompts if `model` is gone: after its second 404 "
        "without an image in between. A submission must suit both models. It reserves the price of "
        "the more expensive one.",
    )
    requires_api_key: bool = Field(False, description="True if a submission needs an `api_key`.")
    max_prompts: Annotated[int, Field(ge=1, le=PROMPTS_LIMIT), WHOLE] = Field(
        DEFAULT_MAX_PROMPTS, description="The most prompts of one execution."
    )
    supports_reference_images: bool = False
    aspect_ratio: str | None = Field(
        None, pattern=RATIO, description="Ratio of submissions that name none."
    )
    image_size: ImageSize | None = Field(None, description="Size of submissions that name none.")
    max_concurrency: Concurrency | None = Field(
        None, description="The most prompts of one execution that are painted at once."
    )
    microusd_per_image: ImagePrice | None = Field(
        None, description="Millionths of a US dollar per image, for a model without a known price."
    )

    tiers: list[Tier] | None = Field(
        None,
        min_length=1,
        max_length=2,
        description="The tiers that a submission may have, `standard` and `economy` if omitted. "
        "The first is the default.",
    )

    @field_validator("tiers")
    @classmethod
    def _each_once(cls, value: list[Tier] | None) -> list[Tier] | None:
        if value is not None and len(set(value)) < len(value):
            raise PydanticCustomError("same_tier", "Name each tier once.")
        return value

    @field_validator("fallback_model")
    @classmethod
    def _another_model_for_the_same_key(cls, value: str | None, info: ValidationInfo) -> str | None:
        model = info.data.get("model")
        if value is not None and model is not None:
            if value == model:
                raise PydanticCustomError("same_model", "Name another model than `model`.")
            if provider_of(value) != provider_of(model):
                raise PydanticCustomError("other_provider", "Name a model of the same provider.")
        return value

    @property
    def allowed_tiers(self) -> list[Tier]:
        """The tiers that a submission may have, the default first."""
        return self.tiers or ["standard", "economy"]

    @property
    def models(self) -> list[str]:
        """The model, and the fallback model if there is one."""
        return [self.model] if self.fallback_model is None else [self.model, self.fallback_model]
