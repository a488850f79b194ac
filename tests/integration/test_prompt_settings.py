"""What the api accepts and stores of names, settings per prompt and several images."""

import base64
import json
from typing import Any
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb
from werkzeug.test import TestResponse

from masstock.catalogue.image_models import MODELS
from tests.support.databases import Urls, connected
from tests.support.demo_data import WORKFLOW
from tests.support.handler import Api

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
BODY = {"workflow_id": str(WORKFLOW), "api_key": "a-key-of-mine"}
RATIOS = "gemini-2.5-flash-image supports 1:1, 2:3"


def send(api: Api, *, dry: bool = False, **members: Any) -> TestResponse:
    query = "?dry_run=true" if dry else ""
    return api.call("client_a", "POST", f"/v1/executions{query}", json=BODY | members)


def mistakes(answer: TestResponse) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    assert answer.json is not None
    return {mistake["pointer"]: mistake["detail"] for mistake in answer.json["errors"]}


def test_each_prompt_is_checked_against_the_catalogue_by_itself(api: Api) -> None:
    found = mistakes(
        send(
            api,
            prompts=[
                "fine",
                {"prompt": "x", "aspect_ratio": "1:8"},
                {"prompt": "x", "aspect_ratio": "16:9", "image_size": "2K"},
                {"prompt": "x", "reference_images": [PNG] * 4},
            ],
        )
    )
    assert found.pop("/prompts/1/aspect_ratio").startswith(RATIOS)
    assert found == {
        "/prompts/2/image_size": "gemini-2.5-flash-image supports 1K.",
        "/prompts/3/reference_images": "gemini-2.5-flash-image takes at most 3 reference images.",
    }


@pytest.mark.parametrize(
    ("member", "value", "place"),
    [
        ("images", 0, "/prompts/0/images"),
        ("images", 9, "/prompts/0/images"),
        ("images", "2", "/prompts/0/images"),
        ("seed", -1, "/prompts/0/seed"),
        ("seed", 2**31, "/prompts/0/seed"),
        ("metadata", [], "/prompts/0/metadata"),
        ("metadata", {"x": "y" * 4100}, "/prompts/0/metadata"),
        ("metadata", {"x": "\0"}, "/prompts/0/metadata/x"),
        ("reference_images", ["no base64!"], "/prompts/0/reference_images/0"),
        ("reference_images", [PNG[:-4] + "A" * 2_800_000], "/prompts/0/reference_images"),
        ("size", "1K", "/prompts/0/size"),
    ],
)
def test_a_value_that_a_prompt_cannot_have_is_named(
    api: Api, member: str, value: Any, place: str
) -> None:
    prompts = [{"prompt": "x", member: value}]
    assert list(mistakes(send(api, prompts=prompts))) == [place]
    assert list(mistakes(send(api, prompts=prompts, dry=True))) == [place]


def test_a_workflow_without_references_takes_none_of_a_prompt(database: Urls, api: Api) -> None:
    workflow_id = workflow(database, {"model": "gemini-2.5-flash-image"})
    prompts = [{"prompt": "x", "reference_images": [PNG]}, {"prompt": "y", "reference_images": []}]
    found = mistakes(send(api, workflow_id=workflow_id, prompts=prompts))
    assert list(found) == ["/prompts/0/reference_images"]


def workflow(database: Urls, config: dict[str, Any]) -> str:
    workflow_id = str(uuid4())
    with connected(database.superuser) as connection:
        connection.execute(
            "INSERT INTO public.workflows (id, name, config) VALUES (%s, 'x', %s)",
            [workflow_id, Jsonb({"workflow_type": "nano_banana"} | config)],
        )
    return workflow_id


def test_the_images_of_an_execution_are_counted_together(database: Urls, api: Api) -> None:
    workflow_id = workflow(database, {"model": "gemini-2.5-flash-image", "max_prompts": 10_000})
    found = mistakes(
        send(api, workflow_id=workflow_id, prompts=["x"] * 1251, images_per_prompt=8, dry=True)
    )
    detail = "An execution has at most 10000 images; these prompts make 10008."
    assert found == {"/prompts": detail}
    assert (
        send(
            api, workflow_id=workflow_id, prompts=["x"] * 1250, images_per_prompt=8, dry=True
        ).json.items()
        >= {"prompts": 1250, "images": 10_000}.items()
    )


def test_the_estimate_follows_the_settings_of_each_prompt(database: Urls, api: Api) -> None:
    model = MODELS["gemini-3-pro-image"]
    workflow_id = workflow(
        database, {"model": "gemini-3-pro-image", "supports_reference_images": True}
    )
    prompts = [
        {"prompt": "x" * 8, "image_size": "4K", "images": 3},
        {"prompt": "x" * 8, "reference_images": []},
        "x" * 8,
    ]
    body = {"workflow_id": workflow_id, "prompts": prompts, "reference_images": [PNG]}
    # Two tokens of a prompt cost four microusd.
    expected = (
        3 * (model.cost_of(model.usual("4K", 1)) + 4)
        + (model.cost_of(model.usual("1K")) + 4)
        + (model.cost_of(model.usual("1K", 1)) + 4)
    )
    answer = send(api, **body, dry=True).json
    assert (answer["images"], answer["estimates"]["standard"]) == (5, expected)
    assert send(api, **body).json["estimate_microusd"] == expected


def test_the_submission_is_stored_and_shown_as_asked(database: Urls, api: Api) -> None:
    prompts = [
        "a",
        {"prompt": "b", "seed": 3, "images": 2, "metadata": {"sku": "007"}},
        {"prompt": "c", "reference_images": [PNG], "aspect_ratio": "16:9"},
    ]
    answer = send(
        api, name="Spring", prompts=prompts, images_per_prompt=1.0, seed=9, reference_images=[]
    )
    assert answer.status_code == 202, answer.text
    shown = answer.json
    stored = shown["input_data"].pop("prompts")
    key = stored[2].pop("reference_images")
    assert len(stored[2].pop("reference_etags")) == len(key) == 1
    assert stored == [*prompts[:2], {"prompt": "c", "aspect_ratio": "16:9"}]
    assert shown["input_data"] == {"images_per_prompt": 1, "seed": 9}
    assert (shown["name"], shown["image_count"], shown["images_per_prompt"]) == ("Spring", 4, 1)
    listed = api.call("client_a", "GET", "/v1/executions?limit=1").json["items"][0]
    assert listed["name"] == "Spring"
    assert listed["progress"] == shown["progress"]
    assert json.dumps(listed["progress"], sort_keys=True) == json.dumps(
        {
            "failed": 0,
            "painted_by_provider": 0,
            "paused": 0,
            "processing": 4,
            "submitted": 0,
            "successful": 0,
            "total": 4,
            "waiting": 4,
        }
    )


def test_a_reference_that_many_prompts_have_is_stored_once(api: Api) -> None:
    prompts = [{"prompt": f"{n}", "reference_images": [PNG, PNG]} for n in range(50)]
    stored = send(api, prompts=prompts).json["input_data"]["prompts"]
    assert len({key for prompt in stored for key in prompt["reference_images"]}) == 1
