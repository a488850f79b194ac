"""A name in a workflow's config that resembles a setting is refused, other names are kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masstock.errors import ValidationFailed
from masstock.schemas.workflow_config import WorkflowConfig
from masstock_api.setting_names import OTHER_NAMES, refuse_misspelt

REQUIRED = {"workflow_type": "nano_banana", "model": "x"}
MEANT = {
    "aspectRatio": "aspect_ratio",
    "aspect-ratio": "aspect_ratio",
    "Aspect Ratio": "aspect_ratio",
    "aspect_ration": "aspect_ratio",
    "ratio": "aspect_ratio",
    "imageSize": "image_size",
    "image_sizes": "image_size",
    "size": "image_size",
    "resolution": "image_size",
    "max_prompt": "max_prompts",
    "maxPrompts": "max_prompts",
    "max_promts": "max_prompts",
    "model_name": "model",
    "Model": "model",
    "models": "model",
    "modelId": "model",
    "fallback": "fallback_model",
    "fallbackModels": "fallback_model",
    "WORKFLOW_TYPE": "workflow_type",
    "require_api_key": "requires_api_key",
    "requires_apikey": "requires_api_key",
    "supports_reference_image": "supports_reference_images",
    "reference_images": "supports_reference_images",
    "maxConcurrency": "max_concurrency",
    "max_concurency": "max_concurrency",
    "microusd_per_images": "microusd_per_image",
}
OWN = ["mine", "notes", "team", "mode", "style", "prompt_prefix", "colour", "x", "", "模型", "_"]


def refused(**names: object) -> dict[str, str]:
    """Pointer and detail of each refused name."""
    try:
        refuse_misspelt(WorkflowConfig.model_validate(REQUIRED | names))
    except ValidationFailed as failed:
        return {mistake.pointer: mistake.detail for mistake in failed.errors}
    return {}


@pytest.mark.parametrize("name", MEANT)
def test_a_misspelt_setting_is_refused_and_the_setting_named(name: str) -> None:
    [(pointer, detail)] = refused(**{name: 1}).items()
    assert pointer == f"/config/{name}"
    assert detail.endswith(f" use {MEANT[name]}.")


@pytest.mark.parametrize("name", OWN)
def test_a_name_of_its_own_is_kept(name: str) -> None:
    assert refused(**{name: 1}) == {}


def test_settings_are_accepted() -> None:
    settings = {"image_size": "1K", "aspect_ratio": "1:1", "max_prompts": 5, "max_concurrency": 2}
    assert refused(**settings, supports_reference_images=True, microusd_per_image=5) == {}


def test_every_misspelt_name_is_reported() -> None:
    assert list(refused(maxPrompts=1, notes="", aspectRatio="1:1")) == [
        "/config/maxPrompts",
        "/config/aspectRatio",
    ]


def test_other_names_are_those_of_settings() -> None:
    assert set(OTHER_NAMES.values()) <= set(WorkflowConfig.model_fields)


@given(st.text(max_size=200))
def test_any_name_is_kept_or_refused(name: str) -> None:
    assert len(refused(**{name: 1})) <= 1
