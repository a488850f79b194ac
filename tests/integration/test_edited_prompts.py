"""A retry can change prompts. What was painted of the former prompt never completes the new one."""

from typing import Any
from uuid import UUID

import pytest
from werkzeug.test import TestResponse

from tests.support.databases import Urls, connected
from tests.support.engine import EACH, Engine, submit, used
from tests.support.handler import Api


@pytest.fixture
def engine(database: Urls):
    engine = Engine(database.worker)
    yield engine
    engine.close()


def failed(database: Urls, engine: Engine, codes: list[str | None], *, run: int = 0) -> UUID:
    """An ended execution whose images have these error codes; None is a finished one."""
    execution_id = submit(database.superuser, len(codes))
    engine.start(execution_id)
    for index, code in enumerate(codes):
        if code is None:
            engine.paint(engine.claim(execution_id, index), EACH)
    with connected(database.superuser) as connection:
        for index, code in enumerate(codes):
            connection.execute(
                "UPDATE public.workflow_batch_results SET status = 'failed', error_code = %s"
                " WHERE execution_id = %s AND batch_index = %s AND status = 'processing'",
                [code, execution_id, index],
            )
    engine.end(execution_id, run)
    return execution_id


def retry(api: Api, execution_id: UUID, **body: Any) -> TestResponse:
    return api.call("client_a", "POST", f"/v1/executions/{execution_id}/retry", json=body)


def shown(api: Api, execution_id: UUID) -> list[tuple[Any, ...]]:
    rows = api.call("client_a", "GET", f"/v1/executions/{execution_id}/results").json["items"]
    return [(row["status"], row["prompt_text"], row["original_prompt"]) for row in rows]


FAILED = ["prompt_blocked", None, "no_image", "prompt_blocked"]


@pytest.mark.parametrize(
    ("body", "reopened"),
    [
        ({}, {0, 2, 3}),
        ({"only_retryable": True}, {2}),
        ({"edits": [{"batch_index": 3}]}, {3}),
        ({"edits": [{"batch_index": 3}], "only_retryable": True}, {2, 3}),
    ],
)
def test_a_retry_reopens_what_its_fields_select(
    database: Urls, engine: Engine, api: Api, body: dict[str, Any], reopened: set[int]
) -> None:
    execution_id = failed(database, engine, FAILED)
    assert retry(api, execution_id, **body).status_code == 202
    statuses = [status for status, *_ in shown(api, execution_id)]
    assert {n for n, status in enumerate(statuses) if status == "processing"} == reopened
    # An edit without a prompt changes none.
    assert {prompt for _, *prompts in shown(api, execution_id) for prompt in prompts} == {"x", None}


def test_what_was_painted_of_the_former_prompt_does_not_count_for_the_new_one(
    database: Urls, engine: Engine, api: Api
) -> None:
    execution_id = submit(database.superuser, 2)
    engine.start(execution_id)
    late = engine.claim(execution_id, 0, lease=0)
    engine.paint(engine.claim(execution_id, 1), EACH)
    fail_first(database, execution_id)
    engine.end(execution_id)
    before = used(database.superuser)
    for run, prompt in ((1, "y"), (2, "z")):
        answer = retry(api, execution_id, edits=[{"batch_index": 0, "prompt": prompt}])
        assert answer.status_code == 202
        engine.start(execution_id, run)
        # The late image is charged, once, and completes nothing.
        assert not engine.paint(late, 700)
        claim = engine.claim(execution_id, 0, lease=0)
        assert claim.prompt == prompt
        assert claim.asked_digest != late.asked_digest
        assert int(claim.asked_at.timestamp()) > int(late.asked_at.timestamp())
        assert shown(api, execution_id)[0] == ("processing", prompt, "x")
        if run == 1:
            fail_first(database, execution_id)
            engine.end(execution_id, run)
    input_data = api.call("client_a", "GET", f"/v1/executions/{execution_id}").json["input_data"]
    assert input_data["prompts"] == ["x", "x"]
    assert engine.paint(engine.claim(execution_id, 0), EACH)
    engine.end(execution_id, 2)
    assert used(database.superuser) - before == 700 + EACH


def fail_first(database: Urls, execution_id: UUID) -> None:
    with connected(database.superuser) as connection:
        connection.execute(
            "UPDATE public.workflow_batch_results SET status = 'failed', error_code = 'x'"
            " WHERE execution_id = %s AND batch_index = 0",
            [execution_id],
        )


def test_a_wrong_edit_is_named(database: Urls, engine: Engine, api: Api) -> None:
    execution_id = failed(database, engine, FAILED)
    edits = [{"batch_index": index} for index in (0, 1, 9, 0)]
    answer = retry(api, execution_id, edits=edits)
    assert answer.status_code == 422
    assert [mistake["pointer"] for mistake in answer.json["errors"]] == [
        "/edits/1/batch_index",
        "/edits/2/batch_index",
        "/edits/3/batch_index",
    ]
    live = submit(database.superuser, 1)
    assert retry(api, live, edits=[{"batch_index": 0}]).status_code == 409
