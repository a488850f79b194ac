"""An execution keeps the settings of its workflow as they were at its submission."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb
from werkzeug.test import TestResponse

from masstock.catalogue.image_models import MODELS
from masstock.database.connection import Database
from masstock.database.queries import claims
from masstock.database.queries.claims import Claim
from masstock.database.worker import Worker
from masstock.errors import NoImage, NotFinished
from masstock.schemas.engine import ExecutionRun
from masstock.services.storage import ImageDetails, StoredImage
from masstock.settings import FanoutSettings
from masstock_fanout.fan_out import fan_out
from masstock_finalize.ending import end_run
from tests.support.claims import claim_in_turn
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, DEMO_EXECUTION, JOHN_OF_ACME
from tests.support.handler import Api

EXAMPLES = Path(__file__).parents[2] / "examples"
OLD, NEW, LITE = "gemini-2.5-flash-image", "gemini-3-pro-image", "gemini-3.1-flash-lite-image"
SETTINGS = FanoutSettings(
    {
        "DATABASE_SECRET_ID": "worker",
        "MAX_CONCURRENCY_DEFAULT": "5",
        "MAX_CONCURRENCY_LIMIT": "9",
    }
)


@pytest.fixture(autouse=True)
def _database_urls(fresh_database: Urls, vault: dict[str, str]) -> None:
    vault["worker"] = fresh_database.worker
    # The id that tests.support.handler gives to the api's login.
    vault[f"database {fresh_database.name}"] = fresh_database.api


@pytest.fixture
def worker(_database_urls: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "MasStock")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "masstock-test")
    connection = Database("worker")
    yield Worker(connection)
    connection.close()


def new_workflow(api: Api, model: str = OLD, **config: Any) -> str:
    body = {
        "name": "for a test",
        "status": "active",
        "config": {
            "workflow_type": "nano_banana",
            "model": model,
            "requires_api_key": True,
            "supports_reference_images": True,
            **config,
        },
    }
    return created(api.call("admin", "POST", "/v1/workflows", json=body), 201)


def set_model(api: Api, workflow_id: str, model: str, **config: Any) -> None:
    config = {"workflow_type": "nano_banana", "model": model, "requires_api_key": True, **config}
    path = f"/v1/workflows/{workflow_id}"
    answer = api.call("admin", "PATCH", path, json={"config": config})
    assert answer.status_code == 200, answer.text


def submit(api: Api, workflow_id: str, query: str = "", **more: Any) -> TestResponse:
    body = {"workflow_id": workflow_id, "prompts": ["x", "y"], "api_key": "a-key-of-mine", **more}
    return api.call("client_a", "POST", f"/v1/executions{query}", json=body)


def created(answer: TestResponse, status: int = 202) -> str:
    assert answer.status_code == status, answer.text
    return json.loads(answer.text)["id"]


def claim(worker: Worker, run: ExecutionRun, index: int) -> Claim:
    claimed = claim_in_turn(worker, run.execution_id, index, 60)
    assert isinstance(claimed, Claim)
    return claimed


def retry(api: Api, run: ExecutionRun, **body: Any) -> TestResponse:
    return api.call("client_a", "POST", f"/v1/executions/{run.execution_id}/retry", json=body)


def fail_all(worker: Worker, run: ExecutionRun) -> None:
    for index in fan_out(worker, run, SETTINGS)["indices"]:
        claims.fail_prompt(worker, claim(worker, run, index), NoImage())
    end_run(worker, run, NotFinished())


def estimate(answer: TestResponse) -> int:
    assert answer.status_code == 202, answer.text
    return json.loads(answer.text)["estimate_microusd"]


def pointers(answer: TestResponse) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [error["pointer"] for error in json.loads(answer.text)["errors"]]


def test_a_change_of_the_workflow_changes_nothing_of_a_run(fresh_api: Api, worker: Worker) -> None:
    workflow_id = new_workflow(fresh_api, max_concurrency=3, image_size="1K", aspect_ratio="16:9")
    run = ExecutionRun(UUID(created(submit(fresh_api, workflow_id))), 0)
    set_model(fresh_api, workflow_id, NEW, max_concurrency=7, image_size="4K")
    plan = fan_out(worker, run, SETTINGS)
    assert plan["max_concurrency"] == 3
    first = claim(worker, run, 0)
    set_model(fresh_api, workflow_id, LITE)
    second = claim(worker, run, 1)
    for claimed in (first, second):
        assert claimed.config["model"] == OLD
        assert (claimed.image_size, claimed.aspect_ratio) == ("1K", "16:9")
    seen = json.loads(fresh_api.call("client_a", "GET", f"/v1/executions/{run.execution_id}").text)
    assert (seen["model"], seen["image_size"]) == (OLD, "1K")
    assert json.loads(submit(fresh_api, workflow_id).text)["model"] == LITE


def test_a_retry_uses_the_settings_of_the_submission(fresh_api: Api, worker: Worker) -> None:
    workflow_id = new_workflow(fresh_api)
    run = ExecutionRun(UUID(created(submit(fresh_api, workflow_id))), 0)
    fail_all(worker, run)
    set_model(fresh_api, workflow_id, NEW)
    assert estimate(retry(fresh_api, run)) == 2 * 38_700
    again = ExecutionRun(run.execution_id, 1)
    fan_out(worker, again, SETTINGS)
    assert claim(worker, again, 0).config["model"] == OLD


def test_a_retry_uses_the_present_settings_if_asked(fresh_api: Api, worker: Worker) -> None:
    workflow_id = new_workflow(fresh_api)
    run = ExecutionRun(UUID(created(submit(fresh_api, workflow_id))), 0)
    fail_all(worker, run)
    set_model(fresh_api, workflow_id, NEW)
    pro = MODELS[NEW]
    answer = retry(fresh_api, run, current_settings=True)
    # Each prompt has one token of two microusd.
    assert estimate(answer) == 2 * (pro.cost_of(pro.usual("1K")) + 2)
    assert json.loads(answer.text)["model"] == NEW
    again = ExecutionRun(run.execution_id, 1)
    fail_all(worker, again)
    # They stay: the next change of the workflow does not count.
    set_model(fresh_api, workflow_id, LITE)
    retry(fresh_api, run)
    last = ExecutionRun(run.execution_id, 2)
    fan_out(worker, last, SETTINGS)
    assert claim(worker, last, 0).config["model"] == NEW


def test_present_settings_must_suit_the_submission(fresh_api: Api, worker: Worker) -> None:
    workflow_id = new_workflow(fresh_api, "gemini-nano-banana-2.1")
    sent = submit(fresh_api, workflow_id, image_size="4K", aspect_ratio="8:1")
    run = ExecutionRun(UUID(created(sent)), 0)
    fail_all(worker, run)
    set_model(fresh_api, workflow_id, LITE)
    refused = retry(fresh_api, run, current_settings=True)
    assert pointers(refused) == ["/aspect_ratio", "/image_size"]
    seen = json.loads(fresh_api.call("client_a", "GET", f"/v1/executions/{run.execution_id}").text)
    assert (seen["model"], seen["status"]) == ("gemini-nano-banana-2.1", "failed")
    assert retry(fresh_api, run).status_code == 202


def test_a_retired_model_can_be_replaced_for_a_retry(
    fresh_database: Urls, fresh_api: Api, worker: Worker
) -> None:
    workflow_id = new_workflow(fresh_api)
    run = ExecutionRun(UUID(created(submit(fresh_api, workflow_id))), 0)
    fail_all(worker, run)
    change_settings(fresh_database, run, {"model": "gemini-3-pro-image-preview"})
    refused = retry(fresh_api, run)
    assert pointers(refused) == ["/workflow_id"]
    assert "Then retry with current_settings." in refused.text
    assert retry(fresh_api, run, current_settings=True).status_code == 202


def change_settings(database: Urls, run: ExecutionRun, settings: dict[str, str] | None) -> None:
    with connected(database.superuser) as connection:
        connection.execute(
            "UPDATE public.workflow_executions SET settings = settings || %s WHERE id = %s",
            [None if settings is None else Jsonb(settings), run.execution_id],
        )


def test_a_row_of_an_earlier_release_uses_the_present_settings(
    fresh_database: Urls, fresh_api: Api, worker: Worker
) -> None:
    workflow_id = new_workflow(fresh_api)
    run = ExecutionRun(UUID(created(submit(fresh_api, workflow_id))), 0)
    change_settings(fresh_database, run, None)
    set_model(fresh_api, workflow_id, NEW)
    fail_all(worker, run)
    assert retry(fresh_api, run).status_code == 202
    again = ExecutionRun(run.execution_id, 1)
    fan_out(worker, again, SETTINGS)
    assert claim(worker, again, 0).config["model"] == NEW


def test_a_row_inserted_past_the_api_cannot_choose_its_settings(
    fresh_database: Urls, fresh_api: Api
) -> None:
    workflow_id, execution_id = new_workflow(fresh_api), uuid4()
    with connected(fresh_database.superuser) as connection:
        connection.execute(
            "INSERT INTO public.workflow_executions (id, workflow_id, client_id, user_id,"
            " input_data, settings) VALUES (%s, %s, %s, %s, %s, %s)",
            [
                execution_id,
                workflow_id,
                ACME,
                JOHN_OF_ACME,
                Jsonb({"prompts": ["x"]}),
                Jsonb({"model": NEW}),
            ],
        )
        [row] = connection.execute(
            "SELECT settings ->> 'model' FROM public.workflow_executions WHERE id = %s",
            [execution_id],
        ).fetchall()
    assert row == (OLD,)


# --- the size of images ------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "size"), [(OLD, "2K"), (OLD, "512"), (LITE, "4K"), (NEW, "512")])
def test_a_size_that_the_model_lacks_is_refused(fresh_api: Api, model: str, size: str) -> None:
    workflow_id = new_workflow(fresh_api, model)
    for query in ("", "?dry_run=true"):
        refused = submit(fresh_api, workflow_id, query, image_size=size)
        assert pointers(refused) == ["/image_size"]
        assert ", ".join(MODELS[model].image_tokens) in refused.text
    assert pointers(submit(fresh_api, workflow_id, image_size="8K")) == ["/image_size"]
    for allowed in MODELS[model].image_tokens:
        assert created(submit(fresh_api, workflow_id, image_size=allowed))


def test_a_model_that_is_not_listed_gets_every_size(fresh_api: Api) -> None:
    workflow_id = new_workflow(fresh_api, "a-model-of-tomorrow", microusd_per_image=5)
    answer = json.loads(submit(fresh_api, workflow_id, "?dry_run=true", image_size="4K").text)
    assert answer["estimates"] == {"standard": 10, "economy": None}
    assert answer["image_size"] == "4K"


def test_a_larger_image_is_estimated_at_its_price(fresh_api: Api) -> None:
    workflow_id = new_workflow(fresh_api, NEW)
    answer = json.loads(submit(fresh_api, workflow_id, "?dry_run=true", image_size="4K").text)
    # Each: one token of input, 350 of thinking and 2,000 of the image.
    assert answer["estimate_parts"] == {
        "input_microusd": 2 * 2,
        "text_microusd": 2 * 350 * 12,
        "image_microusd": 2 * 2_000 * 120,
    }
    assert answer["estimate_microusd"] == sum(answer["estimate_parts"].values())
    assert answer["estimates"]["economy"] * 2 == answer["estimates"]["standard"]


# --- results -----------------------------------------------------------------------------------


def test_results_and_executions_say_what_the_model_answered(fresh_api: Api, worker: Worker) -> None:
    workflow_id = new_workflow(fresh_api)
    run = ExecutionRun(UUID(created(submit(fresh_api, workflow_id))), 0)
    fan_out(worker, run, SETTINGS)
    details = ImageDetails("gemini-2.5-flash-image-001", 1376, 768, False, 2, True)
    image = StoredImage("k/0_1.png", "image/png", 1, "0", 1, 5, 1, details)
    assert claims.complete_prompt(worker, claim(worker, run, 0), image, None)
    refusal = NoImage(provider_message="I would rather not.")
    claims.fail_prompt(worker, claim(worker, run, 1), refusal)
    path = f"/v1/executions/{run.execution_id}/results"
    first, second = json.loads(fresh_api.call("client_a", "GET", path).text)["items"]
    expected = {
        "model": "gemini-2.5-flash-image-001",
        "width": 1376,
        "height": 768,
        "as_asked": False,
        "images_in_answer": 2,
        "has_provenance": True,
        "provider_message": None,
    }
    assert {name: first[name] for name in expected} == expected
    assert (second["provider_message"], second["width"]) == ("I would rather not.", None)
    assert second["error_message"].endswith("I would rather not.")


def test_a_result_of_an_earlier_release_has_no_measures(fresh_api: Api) -> None:
    path = f"/v1/executions/{DEMO_EXECUTION}/results"
    results = json.loads(fresh_api.call("client_a", "GET", path).text)["items"]
    measures = ("width", "height", "as_asked", "images_in_answer", "has_provenance")
    assert results
    assert {result[name] for result in results for name in measures} == {None}


# --- the catalogue -----------------------------------------------------------------------------


def test_the_catalogue_lists_every_model_with_its_prices(fresh_api: Api) -> None:
    answer = fresh_api.call("client_a", "GET", "/v1/models")
    models = {each["model"]: each for each in json.loads(answer.text)["items"]}
    assert list(models) == list(MODELS)
    pro = models[NEW]
    assert pro["sizes"][2] == {"size": "4K", "microusd": 244_200, "economy_microusd": 122_100}
    assert pro["image_microusd_per_million_tokens"] == 120_000_000
    assert models["gemini-3-pro-image-preview"]["retired_on"] == "2026-06-25"
    unchanged = {"If-None-Match": answer.headers["ETag"]}
    again = fresh_api.call("client_b", "GET", "/v1/models", headers=unchanged)
    assert again.status_code == 304


def test_a_suspended_account_gets_no_catalogue(fresh_database: Urls, fresh_api: Api) -> None:
    with connected(fresh_database.superuser) as connection:
        connection.execute(
            "UPDATE public.users SET status = 'suspended' WHERE id = %s", [JOHN_OF_ACME]
        )
    assert fresh_api.call("client_a", "GET", "/v1/models").status_code in (401, 403)
    assert fresh_api.call(None, "GET", "/v1/models").status_code == 401


def test_the_example_of_an_estimate_is_an_answer(fresh_api: Api) -> None:
    """The answer to the example of a submission."""
    body = json.loads((EXAMPLES / "requests.json").read_text())["ExecutionCreate"]["two prompts"]
    answer = fresh_api.call("client_a", "POST", "/v1/executions?dry_run=true", json=body)
    expected = json.loads((EXAMPLES / "responses.json").read_text())["Estimate"]
    assert json.loads(answer.text) == expected
