"""A clone submits prompts of an earlier execution again, with changes."""

import base64
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb
from werkzeug.test import TestResponse

from tests.support.databases import Urls, connected
from tests.support.demo_data import WORKFLOW
from tests.support.engine import Engine
from tests.support.handler import Api

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
PROMPTS: list[Any] = [
    "a",
    {"prompt": "b", "custom_id": "B", "images": 3, "seed": 7, "metadata": {"sku": 1}},
    {"prompt": "c", "aspect_ratio": "16:9", "reference_images": [PNG]},
]


@pytest.fixture
def engine(database: Urls):
    engine = Engine(database.worker)
    yield engine
    engine.close()


def created(answer: TestResponse) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    assert answer.json is not None
    return answer.json


@pytest.fixture
def source(api: Api, engine: Engine) -> str:
    """An execution whose rows are laid out: a, b 0, b 1, b 2, c."""
    body = {
        "workflow_id": str(WORKFLOW),
        "api_key": "a-key-of-mine",
        "prompts": PROMPTS,
        "name": "First",
        "lane": "my project",
        "aspect_ratio": "1:1",
        "webhook_url": "https://hooks.example/x",
    }
    execution = created(api.call("client_a", "POST", "/v1/executions", json=body))
    engine.start(UUID(execution["id"]))
    return execution["id"]


def clone(api: Api, source: str, *, who: str = "client_a", **body: Any) -> TestResponse:
    return api.call(who, "POST", f"/v1/executions/{source}/clone", json=body)


def prompts_of(execution: dict[str, Any]) -> list[Any]:
    prompts = execution["input_data"]["prompts"]
    for prompt in prompts:
        if isinstance(prompt, dict):
            prompt.pop("reference_etags", None)
    return prompts


def test_a_clone_is_the_same_submission(database: Urls, api: Api, source: str) -> None:
    first = api.call("client_a", "GET", f"/v1/executions/{source}").json
    for who in ("client_a", "admin"):
        copy = created(clone(api, source, who=who))
        assert copy["id"] != source
        assert prompts_of(copy) == [{"prompt": "a"}, *prompts_of(first)[1:]]
        for name in ("name", "image_count", "estimate_microusd", "webhook_url", "client_id"):
            assert copy[name] == first[name]
        assert copy["input_data"]["aspect_ratio"] == "1:1"
        with connected(database.superuser) as connection:
            rows = connection.execute(
                "SELECT lane_key, input_data ->> 'api_key' FROM public.workflow_executions"
                " WHERE id = ANY(%s)",
                [[source, copy["id"]]],
            ).fetchall()
        (lane, key), (other_lane, other_key) = rows
        assert lane == other_lane is not None
        # The same key, sealed for another execution.
        assert key[:6] == other_key[:6]
        assert key != other_key


def fail(database: Urls, source: str, *indices: int) -> None:
    with connected(database.superuser) as connection:
        connection.execute(
            "UPDATE public.workflow_batch_results SET status = 'failed' WHERE execution_id = %s"
            " AND batch_index = ANY(%s)",
            [source, list(indices)],
        )


def test_failed_images_are_cloned_one_by_one(database: Urls, api: Api, source: str) -> None:
    fail(database, source, 1, 3, 4)
    copy = created(clone(api, source, select="failed", name="Second"))
    one, other, last = prompts_of(copy)
    b = {"prompt": "b", "images": 1, "metadata": {"sku": 1}}
    assert one == {**b, "custom_id": "B", "seed": 7}
    assert other == {**b, "custom_id": "B-3", "seed": 9}
    assert last["prompt"] == "c"
    assert (copy["name"], copy["image_count"]) == ("Second", 3)


def test_images_can_be_selected_and_their_prompts_changed(api: Api, source: str) -> None:
    edits = [{"batch_index": 2, "prompt": "another b"}]
    copy = created(clone(api, source, indices=[0, 2, 1], edits=edits, image_size="1K", seed=3))
    assert [(p["prompt"], p.get("seed")) for p in prompts_of(copy)] == [
        ("a", None),
        ("b", 7),
        ("another b", 8),
    ]
    assert copy["input_data"]["seed"] == 3
    assert copy["image_size"] == "1K"


def test_a_clone_can_have_prompts_and_a_workflow_of_its_own(
    database: Urls, api: Api, source: str
) -> None:
    workflow_id = str(uuid4())
    config = {"workflow_type": "nano_banana", "model": "gemini-3-pro-image"}
    with connected(database.superuser) as connection:
        connection.execute(
            "INSERT INTO public.workflows (id, name, config) VALUES (%s, 'x', %s)",
            [workflow_id, Jsonb(config)],
        )
    copy = created(clone(api, source, prompts=["z"], workflow_id=workflow_id, image_size="4K"))
    assert prompts_of(copy) == ["z"]
    assert (copy["model"], copy["image_size"], copy["prompt_count"]) == (config["model"], "4K", 1)
    # The checks are those of a submission.
    refused = clone(api, source, workflow_id=workflow_id)
    assert refused.status_code == 422
    assert refused.json["errors"][0]["pointer"] == "/prompts/2/reference_images"


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an index that is not there": ({"indices": [0, 5]}, "/indices/1"),
    "an image that has not failed": ({"select": "failed", "indices": [0]}, "/indices/0"),
    "no failed image": ({"select": "failed"}, "/select"),
    "an edit of another image": (
        {"indices": [0], "edits": [{"batch_index": 1}]},
        "/edits/0/batch_index",
    ),
    "prompts beside a selection": ({"prompts": ["x"], "indices": [0]}, "/indices"),
    "another client": ({"client_id": str(uuid4())}, "/client_id"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_clone_is_refused(api: Api, source: str, what: str) -> None:
    body, pointer = WRONG[what]
    answer = clone(api, source, **body)
    assert answer.status_code == 422, answer.text
    assert [mistake["pointer"] for mistake in answer.json["errors"]] == [pointer]


def test_a_clone_of_an_execution_whose_prompts_were_removed_is_refused(
    database: Urls, api: Api, source: str
) -> None:
    with connected(database.superuser) as connection:
        connection.execute(
            "UPDATE public.workflow_executions SET input_data = input_data #- '{prompts,2}'"
            " WHERE id = %s",
            [source],
        )
    answer = clone(api, source)
    assert answer.status_code == 422, answer.text
    [mistake] = answer.json["errors"]
    assert mistake == {
        "pointer": "/indices",
        "detail": "The prompt of image 4 was removed. Select other images.",
    }
    assert created(clone(api, source, indices=[0, 1, 2, 3]))["image_count"] == 4


def test_a_dry_run_of_a_clone_tells_its_cost_and_its_mistakes(
    database: Urls, api: Api, source: str
) -> None:
    path = f"/v1/executions/{source}/clone?dry_run=true"
    with connected(database.superuser) as connection:
        count = "SELECT count(*) FROM public.workflow_executions"
        before = connection.execute(count).fetchone()
        told = api.call("client_a", "POST", path, json={"indices": [0, 1, 2]}).json
        assert connection.execute(count).fetchone() == before
    copy = created(clone(api, source, indices=[0, 1, 2]))
    assert told["dry_run"] is True
    assert told["sample_prompts"] == ["a", "b"]
    assert (told["images"], told["estimate_microusd"]) == (3, copy["estimate_microusd"])
    wrong = {"indices": [9]}
    refused = api.call("client_a", "POST", path, json=wrong)
    assert (refused.status_code, refused.json["errors"]) == (
        422,
        clone(api, source, **wrong).json["errors"],
    )


def test_an_execution_without_rows_is_cloned_as_submitted(api: Api) -> None:
    body = {"workflow_id": str(WORKFLOW), "api_key": "a-key-of-mine", "prompts": PROMPTS}
    first = created(api.call("client_a", "POST", "/v1/executions", json=body))
    copy = created(clone(api, first["id"]))
    assert prompts_of(copy)[1] == PROMPTS[1]
    assert copy["image_count"] == first["image_count"] == 5


def test_a_new_seed_replaces_the_submissions_but_not_a_prompts_own(
    api: Api, engine: Engine
) -> None:
    body = {
        "workflow_id": str(WORKFLOW),
        "api_key": "a-key-of-mine",
        "prompts": [{"prompt": "a", "images": 3}, {"prompt": "b", "images": 2, "seed": 50}],
        "seed": 100,
    }
    execution = created(api.call("client_a", "POST", "/v1/executions", json=body))
    engine.start(UUID(execution["id"]))
    copy = created(clone(api, execution["id"], indices=[1, 4], seed=7))
    assert [prompt["seed"] for prompt in prompts_of(copy)] == [8, 51]
    copy = created(clone(api, execution["id"], indices=[1, 4]))
    assert [prompt["seed"] for prompt in prompts_of(copy)] == [101, 51]
