"""Executions inserted through Supabase's API, where nothing validates their input. They still end,
and the platform's API key does not pay for them."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from masstock.database.connection import Database
from masstock.database.queries import executions
from masstock.database.queries.claims import Claim
from masstock.database.worker import Worker
from masstock.errors import InvalidApiKey, NotFinished, ReferenceGone
from masstock.schemas.engine import ExecutionRun
from masstock.settings import FanoutSettings, GenerateSettings
from masstock_fanout import fan_out as lay_out
from masstock_finalize.ending import end_run
from masstock_generate.lease import Lease
from masstock_generate.painting import settle
from tests.support.claims import claim_in_turn
from tests.support.databases import Callers, Urls, connected
from tests.support.demo_data import ACME, JOHN_OF_ACME, WORKFLOW

ENVIRONMENT = {
    "DATABASE_SECRET_ID": "worker",
    "MAX_CONCURRENCY_DEFAULT": "5",
    "MAX_CONCURRENCY_LIMIT": "5",
    "SEALING_SECRET_ID": "sealing",
    "RESULTS_BUCKET": "results",
    "UPLOADS_BUCKET": "uploads",
    "IMAGE_ACCESS": "signed",
    "MODEL_TIMEOUT_SECONDS": "1",
    "PLATFORM_API_KEY_SECRET_ID": "platform",
}
KEY = f"{ACME}/references/{UUID(int=38)}.png"


@pytest.fixture
def worker(
    database: Urls, vault: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Worker]:
    vault["worker"] = database.worker
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "MasStock")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "masstock-test")
    connection = Database("worker")
    yield Worker(connection)
    connection.close()


def insert(database: Urls, input_data: object, workflow_id: UUID = WORKFLOW) -> ExecutionRun:
    execution_id = uuid4()
    with connected(database.superuser) as connection:
        connection.execute(
            "INSERT INTO public.workflow_executions (id, workflow_id, client_id, user_id,"
            " input_data) VALUES (%s, %s, %s, %s, %s)",
            [execution_id, workflow_id, ACME, JOHN_OF_ACME, Jsonb(input_data)],
        )
    return ExecutionRun(execution_id, 0)


def fan_out(worker: Worker, run: ExecutionRun) -> list[int]:
    return lay_out.fan_out(worker, run, FanoutSettings(ENVIRONMENT))["indices"]


def claim_first(worker: Worker, run: ExecutionRun) -> Claim:
    assert fan_out(worker, run)[0] == 0
    claim = claim_in_turn(worker, run.execution_id, 0, 60)
    assert isinstance(claim, Claim)
    return claim


def rows(database: Urls, execution_id: UUID) -> list[dict[str, Any]]:
    with connected(database.superuser) as connection:
        return (
            connection.cursor(row_factory=dict_row)
            .execute(
                "SELECT batch_index, prompt_text, custom_id, status, error_code"
                " FROM public.workflow_batch_results WHERE execution_id = %s ORDER BY batch_index",
                [execution_id],
            )
            .fetchall()
        )


def ended(database: Urls, execution_id: UUID) -> tuple[Any, ...]:
    with connected(database.superuser) as connection:
        [row] = connection.execute(
            "SELECT status, error_code, error_message, output_data ->> 'total'"
            " FROM public.workflow_executions WHERE id = %s",
            [execution_id],
        ).fetchall()
    return row


@pytest.mark.parametrize("fanned_out", [True, False], ids=["fanned out", "lost before"])
@pytest.mark.parametrize(
    "input_data",
    [
        {},
        {"prompts": 5},
        {"prompts": None},
        {"prompts": "x"},
        {"prompts": {"0": "x"}},
        {"prompts": []},
        {"reference_images": ["x"]},
        [],
        ["prompts"],
        [{"prompts": ["x"]}],
    ],
    ids=str,
)
def test_without_a_list_of_prompts_no_row_is_inserted(
    database: Urls, worker: Worker, input_data: object, fanned_out: bool
) -> None:
    run = insert(database, input_data)
    if fanned_out:
        assert fan_out(worker, run) == []
    assert end_run(worker, run, NotFinished()) == ("failed", False)
    assert rows(database, run.execution_id) == []
    assert ended(database, run.execution_id) == (
        "failed",
        "invalid_request",
        "The execution has no prompts.",
        "0",
    )


@pytest.mark.parametrize(
    ("item", "prompt", "custom_id"),
    [
        (5, "5", None),
        (None, "null", None),
        (True, "true", None),
        ([], "[]", None),
        ([None, [None]], "[null, [null]]", None),
        (["prompt"], '["prompt"]', None),
        ({}, "{}", None),
        ({"custom_id": "a"}, '{"custom_id": "a"}', "a"),
        ({"prompt": None}, '{"prompt": null}', None),
        ({"prompt": {"prompt": "x"}}, '{"prompt": {"prompt": "x"}}', None),
        ({"prompt": "x", "custom_id": None}, "x", None),
        ({"prompt": "x", "custom_id": {"a": 1}}, "x", None),
        ({"prompt": "x", "custom_id": "".join(map(chr, range(0x4E00, 0x9000)))}, "x", ...),
        ("", "", None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_malformed_prompt_is_stored_and_fails(
    database: Urls, worker: Worker, item: object, prompt: str, custom_id: object
) -> None:
    run = insert(database, {"prompts": [item, "a fox"]})
    assert fan_out(worker, run) == [0, 1]
    first, second = rows(database, run.execution_id)
    assert first["prompt_text"] == prompt
    if custom_id is not ...:
        assert first["custom_id"] == custom_id
    assert second["prompt_text"] == "a fox"
    assert end_run(worker, run, NotFinished()) == ("failed", False)
    assert {row["error_code"] for row in rows(database, run.execution_id)} == {"not_finished"}


def test_a_repeated_custom_id_is_inserted_once(
    database: Urls, worker: Worker, callers: Callers
) -> None:
    same = {"prompt": "x", "custom_id": "same"}
    run = insert(database, {"prompts": [same, same, "y"]})
    assert fan_out(worker, run) == [0, 2]
    assert fan_out(worker, run) == [0, 2]
    assert end_run(worker, run, NotFinished()) == ("failed", False)
    assert ended(database, run.execution_id)[3] == "2"
    seen = executions.fetch_execution(callers.reading(JOHN_OF_ACME), run.execution_id).version
    assert '"processing" : 0' in seen


@pytest.mark.parametrize(
    ("settings", "references"),
    [
        ({"reference_images": [KEY]}, [(KEY, "")]),
        ({"reference_images": [KEY], "reference_etags": None}, [(KEY, "")]),
        ({"reference_images": [KEY, KEY], "reference_etags": ["e"]}, [(KEY, "e"), (KEY, "")]),
        ({"reference_images": [KEY], "reference_etags": ["e", "f"]}, [(KEY, "e")]),
        ({"reference_images": [5], "reference_etags": [{}]}, [("5", "{}")]),
        ({"reference_images": KEY, "reference_etags": "e"}, []),
        ({"reference_images": None}, []),
        ({"reference_etags": ["e"]}, []),
    ],
    ids=range(8),
)
def test_an_unvalidated_reference_has_no_etag(
    database: Urls, worker: Worker, settings: dict[str, Any], references: object
) -> None:
    run = insert(database, {"prompts": ["x"], **settings})
    assert claim_first(worker, run).references == references
    assert end_run(worker, run, NotFinished())[0] == "failed"


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({}, InvalidApiKey.code),
        ({"api_key": None}, InvalidApiKey.code),
        ({"api_key": 5}, "api_key_unreadable"),
        ({"api_key": {"a": None}}, "api_key_unreadable"),
        ({"reference_images": [KEY]}, ReferenceGone.code),
        ({"reference_images": [5], "reference_etags": [5]}, ReferenceGone.code),
    ],
    ids=str,
)
def test_an_unvalidated_execution_does_not_use_the_platforms_key(
    database: Urls,
    worker: Worker,
    vault: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    code: str,
) -> None:
    """The demo's workflow requires an API key of the caller."""
    vault["sealing"] = '{"current": "k1", "k1": "k"}'
    # The platform's key is not in the vault, so that reading it fails the test.
    monkeypatch.setattr("masstock_generate.api_keys.read_secret", vault.__getitem__)
    run = insert(database, {"prompts": ["x"], **settings})
    claim = claim_first(worker, run)
    assert settle(worker, claim, GenerateSettings(ENVIRONMENT), Lease(60)) == 0
    [row] = rows(database, run.execution_id)
    assert (row["status"], row["error_code"]) == ("failed", code)
    assert end_run(worker, run, NotFinished())[0] == "failed"
    assert ended(database, run.execution_id)[1] == code


@pytest.mark.parametrize("workflow_type", ["upscale", "", None, 5, ["nano_banana"], {}], ids=str)
def test_a_workflow_of_unknown_type_fails_without_a_call_to_a_model(
    database: Urls, worker: Worker, monkeypatch: pytest.MonkeyPatch, workflow_type: object
) -> None:
    providers: list[str] = []
    monkeypatch.setattr("masstock_generate.painting.provider", providers.append)
    workflow_id = uuid4()
    config = {"workflow_type": workflow_type, "model": "gemini-2.5-flash-image"}
    with connected(database.superuser) as connection:
        connection.execute(
            "INSERT INTO public.workflows (id, name, status, config)"
            " VALUES (%s, 'of unknown type', 'active', %s)",
            [workflow_id, Jsonb(config)],
        )
    run = insert(database, {"prompts": ["a fox", "a whale", "a tree"]}, workflow_id)
    claim = claim_first(worker, run)
    assert settle(worker, claim, GenerateSettings(ENVIRONMENT), Lease(60)) == 0
    assert claim_in_turn(worker, run.execution_id, 1, 60) is None
    assert end_run(worker, run, NotFinished()) == ("failed", False)
    assert ended(database, run.execution_id)[:2] == ("failed", "unknown_workflow_type")
    results = {(row["status"], row["error_code"]) for row in rows(database, run.execution_id)}
    assert results == {("failed", "unknown_workflow_type")}
    assert providers == []
