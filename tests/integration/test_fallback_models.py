"""A workflow's fallback model: what its submissions must suit, and what they reserve."""

import json
from typing import Any

import pytest

from masstock.catalogue.image_models import MODELS
from masstock.schemas import workflow_config
from tests.integration.test_settings_of_submission import created, new_workflow, pointers, submit
from tests.support.databases import Urls
from tests.support.handler import Api

CHEAP, DEAR, WIDE = "gemini-2.5-flash-image", "gemini-3-pro-image", "gemini-nano-banana-2.1"
UNLISTED = "a-model-of-tomorrow"
# Two prompts of one token each, with the thinking of DEAR.
ESTIMATE = {CHEAP: 2 * 38_700, DEAR: 2 * (134_400 + 4_200 + 2)}


@pytest.fixture(autouse=True)
def _database_urls(fresh_database: Urls, vault: dict[str, str]) -> None:
    vault[f"database {fresh_database.name}"] = fresh_database.api


def estimate(api: Api, workflow_id: str, **more: Any) -> dict[str, Any]:
    answer = submit(api, workflow_id, "?dry_run=true", **more)
    assert answer.status_code == 200, answer.text
    return json.loads(answer.text)


@pytest.mark.parametrize(("model", "fallback"), [(CHEAP, DEAR), (DEAR, CHEAP)])
def test_the_price_of_the_dearer_model_is_reserved(
    fresh_api: Api, model: str, fallback: str
) -> None:
    workflow_id = new_workflow(fresh_api, model, fallback_model=fallback)
    told = estimate(fresh_api, workflow_id)
    assert (told["model"], told["fallback_model"]) == (model, fallback)
    assert told["estimate_microusd"] == ESTIMATE[DEAR]
    assert told["estimates"]["standard"] == sum(told["estimate_parts"].values()) == ESTIMATE[DEAR]
    answer = json.loads(submit(fresh_api, workflow_id).text)
    assert (answer["model"], answer["estimate_microusd"]) == (model, ESTIMATE[DEAR])


def test_without_a_fallback_nothing_changes(fresh_api: Api) -> None:
    told = estimate(fresh_api, new_workflow(fresh_api, CHEAP))
    assert (told["fallback_model"], told["estimate_microusd"]) == (None, ESTIMATE[CHEAP])
    null = new_workflow(fresh_api, CHEAP, fallback_model=None)
    assert estimate(fresh_api, null)["estimate_microusd"] == ESTIMATE[CHEAP]


def test_a_fallback_without_a_price_has_no_estimate(fresh_api: Api) -> None:
    unknown = new_workflow(fresh_api, CHEAP, fallback_model=UNLISTED)
    assert estimate(fresh_api, unknown)["estimate_microusd"] is None
    known = new_workflow(fresh_api, CHEAP, fallback_model=UNLISTED, microusd_per_image=10**6)
    assert estimate(fresh_api, known)["estimate_microusd"] == 2 * 10**6


@pytest.mark.parametrize(("model", "fallback"), [(WIDE, CHEAP), (CHEAP, WIDE), (UNLISTED, CHEAP)])
def test_a_submission_must_suit_both_models(fresh_api: Api, model: str, fallback: str) -> None:
    workflow_id = new_workflow(fresh_api, model, fallback_model=fallback)
    refused = submit(fresh_api, workflow_id, image_size="4K", aspect_ratio="8:1")
    assert pointers(refused) == ["/aspect_ratio", "/image_size"]
    assert f"{CHEAP} supports {', '.join(MODELS[CHEAP].image_tokens)}." in refused.text
    assert created(submit(fresh_api, workflow_id, image_size="1K", aspect_ratio="16:9"))


def test_a_retired_fallback_is_refused(fresh_api: Api) -> None:
    workflow_id = new_workflow(fresh_api, CHEAP, fallback_model=f"{DEAR}-preview")
    refused = submit(fresh_api, workflow_id)
    assert pointers(refused) == ["/workflow_id"]
    assert f"replace it by {DEAR}." in refused.text


@pytest.mark.parametrize("fallback", [CHEAP, "", "a/../b", "m?x", 5, ["x"], "x" * 201])
def test_a_fallback_is_the_name_of_another_model(fresh_api: Api, fallback: Any) -> None:
    config = {"workflow_type": "nano_banana", "model": CHEAP, "fallback_model": fallback}
    body = {"name": "x", "config": config}
    refused = fresh_api.call("admin", "POST", "/v1/workflows", json=body)
    assert pointers(refused) == ["/config/fallback_model"]


def test_a_fallback_uses_the_same_providers_key(
    fresh_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        workflow_config, "provider_of", {CHEAP: "gemini", "theirs": "other"}.__getitem__
    )
    config = {"workflow_type": "nano_banana", "model": CHEAP, "fallback_model": "theirs"}
    body = {"name": "x", "config": config}
    refused = fresh_api.call("admin", "POST", "/v1/workflows", json=body)
    assert pointers(refused) == ["/config/fallback_model"]
    assert "Name a model of the same provider." in refused.text
