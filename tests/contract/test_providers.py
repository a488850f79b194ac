"""The api, the catalogue and generate name the same workflow types and providers."""

from typing import get_args

import pytest

from masstock.catalogue.image_models import DEFAULT_PROVIDER, MODELS, provider_of
from masstock.schemas.workflow_config import WorkflowConfig
from masstock_generate.painting import WORKFLOW_TYPES
from masstock_generate.providers import PROVIDERS, provider


def test_the_api_accepts_the_workflow_types_that_generate_paints() -> None:
    accepted = get_args(WorkflowConfig.model_fields["workflow_type"].annotation)
    assert set(accepted) == WORKFLOW_TYPES.keys()


def test_every_provider_of_the_catalogue_is_registered() -> None:
    named = {model.provider for model in MODELS.values()} | {DEFAULT_PROVIDER}
    assert named <= PROVIDERS.keys()


def test_a_model_that_is_not_listed_has_the_default_provider() -> None:
    assert provider_of("a model that is not listed") == DEFAULT_PROVIDER


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_provider_can_be_imported_and_paints(name: str) -> None:
    assert callable(provider(name).paint)
