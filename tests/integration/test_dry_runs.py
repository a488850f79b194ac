"""A dry run answers exactly as the submission would, and changes nothing. A retry passes the same
gates as a submission."""

import base64
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
from psycopg.types.json import Jsonb
from werkzeug.test import TestResponse

from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, JOHN_OF_ACME, WORKFLOW
from tests.support.handler import REGION, UPLOADS_BUCKET, Api

EACH = 38_700
# A prompt of one token and a reference of 258, at 0.3 microusd.
A_REFERENCE = 78
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
BODY = {"workflow_id": str(WORKFLOW), "prompts": ["x", "y"], "api_key": "a-key-of-mine"}


@pytest.fixture(autouse=True)
def _as_before(database: Urls) -> Iterator[None]:
    """What a test changes of client and workflow ends with it."""
    yield
    with connected(database.superuser) as connection:
        connection.execute(
            "UPDATE public.clients SET status = 'active', monthly_budget_microusd = NULL"
        )
        connection.execute("UPDATE public.workflows SET status = 'active'")


def change(database: Urls, statement: Any, *values: object) -> None:
    with connected(database.superuser) as connection:
        connection.execute(statement, values)


def set_budget(database: Urls, microusd: int) -> None:
    """What is left of the client's budget."""
    change(
        database,
        "UPDATE public.clients SET monthly_budget_microusd = %s + (SELECT"
        " coalesce(sum(charged_microusd + reserved_microusd), 0) FROM public.spend_ledger"
        " WHERE client_id = %s) WHERE id = %s",
        microusd,
        ACME,
        ACME,
    )


def tables(database: Urls) -> tuple[Any, ...]:
    """The number of rows that a submission adds to, and of uploaded references."""
    with connected(database.superuser) as connection:
        [row] = connection.execute(
            "SELECT (SELECT count(*) FROM public.workflow_executions),"
            " (SELECT count(*) FROM public.spend_ledger),"
            " (SELECT count(*) FROM public.idempotency_keys)"
        ).fetchall()
    return row


def uploaded() -> int:
    s3 = boto3.client("s3", region_name=REGION)
    return s3.list_objects_v2(Bucket=UPLOADS_BUCKET).get("KeyCount", 0)


def send(api: Api, body: Any, *, dry: bool, who: str = "client_a", key: str = "") -> TestResponse:
    query = "?dry_run=true" if dry else ""
    headers = {"Idempotency-Key": key} if key else {}
    return api.call(who, "POST", f"/v1/executions{query}", json=body, headers=headers)


def told(answer: TestResponse) -> tuple[int, Any]:
    """The status and the problem, without what differs by request."""
    problem = answer.json or {}
    return answer.status_code, {
        name: problem.get(name) for name in ("code", "title", "detail", "errors")
    }


REFUSED = {
    "a budget without room": {},
    "a repeated custom_id": {
        "prompts": [{"prompt": "x", "custom_id": "1"}, {"prompt": "y", "custom_id": "1"}]
    },
    "a reference that is not base64": {"reference_images": ["no base64!"]},
    "a reference that is no image": {"reference_images": ["aGVsbG8="]},
    "an upload that is missing": {"reference_images": [f"{ACME}/references/{uuid4()}.png"]},
    "an upload of another client": {"reference_images": [f"{uuid4()}/references/{uuid4()}.png"]},
    "references that are too large": {"reference_images": [PNG[:-4] + "A" * 2_800_000]},
    "a list that is missing": {"prompts": None, "prompts_key": f"{ACME}/prompts/{uuid4()}.jsonl"},
    "an aspect ratio of another model": {"aspect_ratio": "7:3"},
    "no key": {"api_key": None},
    "a private webhook": {"webhook_url": "https://10.0.0.1/"},
    "an unknown workflow": {"workflow_id": str(uuid4())},
    "somebody's client": {"client_id": str(ACME)},
    "a NUL": {"prompts": ["x\0"]},
    "too many prompts": {"prompts": ["x"] * 101},
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_dry_run_is_refused_as_the_submission(database: Urls, api: Api, what: str) -> None:
    if what == "a budget without room":
        set_budget(database, 2 * EACH - 1)
    body = {name: value for name, value in {**BODY, **REFUSED[what]}.items() if value is not None}
    before = tables(database), uploaded()
    dry = told(send(api, body, dry=True))
    assert (tables(database), uploaded()) == before
    assert dry == told(send(api, body, dry=False))
    assert dry[0] in (402, 403, 422)


def test_an_unknown_price_is_refused_by_a_dry_run_too(database: Urls, api: Api) -> None:
    workflow_id = uuid4()
    config = {"workflow_type": "nano_banana", "model": "somebodys-own-model"}
    change(
        database,
        "INSERT INTO public.workflows (id, name, status, config) VALUES (%s, 'x', 'active', %s)",
        workflow_id,
        Jsonb(config),
    )
    body = BODY | {"workflow_id": str(workflow_id)}
    assert send(api, body, dry=True).status_code == 200
    set_budget(database, 10**9)
    dry = told(send(api, body, dry=True))
    assert dry == told(send(api, body, dry=False))
    assert dry[0] == 402


def test_an_inactive_client_or_workflow_is_refused_by_both(database: Urls, api: Api) -> None:
    body = BODY | {"client_id": str(ACME)}
    for table, status in (("clients", "suspended"), ("workflows", "inactive")):
        change(database, f"UPDATE public.{table} SET status = '{status}'")
        dry = told(send(api, body, dry=True, who="admin"))
        assert dry == told(send(api, body, dry=False, who="admin"))
        assert dry[0] == 422
        change(database, f"UPDATE public.{table} SET status = 'active'")


def test_a_dry_run_within_budget_stores_nothing(database: Urls, api: Api) -> None:
    both = 2 * (EACH + A_REFERENCE)
    set_budget(database, both)
    before = tables(database), uploaded()
    body = BODY | {"reference_images": [PNG]}
    for _ in range(3):
        answer = send(api, body, dry=True, key=f"a key {uuid4()}")
        assert answer.status_code == 200, answer.text
        assert answer.json is not None
        assert answer.json["estimate_microusd"] == both
        assert (answer.json["budget_left_microusd"], answer.json["fits_budget"]) == (both, True)
    assert (tables(database), uploaded()) == before
    assert send(api, body, dry=False).status_code == 202


def test_a_key_of_another_body_is_refused_by_a_dry_run_too(api: Api) -> None:
    key = f"a key {uuid4()}"
    # A dry run does not use the key up.
    assert send(api, BODY | {"prompts": ["z"]}, dry=True, key=key).status_code == 200
    assert send(api, BODY, dry=False, key=key).status_code == 202
    dry = told(send(api, BODY | {"prompts": ["z"]}, dry=True, key=key))
    assert dry == told(send(api, BODY | {"prompts": ["z"]}, dry=False, key=key))
    assert dry[1]["code"] == "idempotency_key_reused"
    assert send(api, BODY, dry=True, key=key).status_code == 200


# --- retry -------------------------------------------------------------------------------------


def failed_execution(database: Urls, config: dict[str, Any], prompts: int = 4) -> tuple[str, str]:
    """(workflow, execution) whose prompts have all failed, at an estimate of one micro-dollar."""
    workflow_id, execution_id = uuid4(), uuid4()
    change(
        database,
        "INSERT INTO public.workflows (id, name, status, config) VALUES (%s, 'x', 'active', %s)",
        workflow_id,
        Jsonb({"workflow_type": "nano_banana", **config}),
    )
    change(
        database,
        "INSERT INTO public.workflow_executions (id, workflow_id, client_id, user_id, input_data,"
        " status, estimate_microusd) VALUES (%s, %s, %s, %s, %s, 'failed', %s)",
        execution_id,
        workflow_id,
        ACME,
        JOHN_OF_ACME,
        Jsonb({"prompts": ["x"] * prompts}),
        prompts,
    )
    change(
        database,
        "INSERT INTO public.workflow_batch_results (execution_id, client_id, batch_index,"
        " prompt_text, status, error_code) SELECT %s, %s, n, 'x', 'failed', 'no_image'"
        " FROM generate_series(0, %s) n",
        execution_id,
        ACME,
        prompts - 1,
    )
    return str(workflow_id), str(execution_id)


def retry(api: Api, execution_id: str, who: str = "client_a") -> TestResponse:
    return api.call(who, "POST", f"/v1/executions/{execution_id}/retry")


KNOWN = {"model": "gemini-2.5-flash-image"}


def test_a_retry_over_budget_is_refused_at_todays_price(database: Urls, api: Api) -> None:
    _, execution_id = failed_execution(database, KNOWN)
    set_budget(database, 40_000)
    refused = retry(api, execution_id)
    assert (refused.status_code, told(refused)[1]["code"]) == (402, "budget_exceeded")
    set_budget(database, 4 * EACH)
    accepted = retry(api, execution_id)
    assert accepted.status_code == 202, accepted.text
    assert json.loads(accepted.text)["estimate_microusd"] == 4 * EACH


def test_a_retry_of_an_inactive_workflow_is_refused(database: Urls, api: Api) -> None:
    workflow_id, execution_id = failed_execution(database, KNOWN)
    change(database, "UPDATE public.workflows SET status = 'inactive' WHERE id = %s", workflow_id)
    refused = retry(api, execution_id)
    assert refused.status_code == 422, refused.text
    assert told(refused)[1]["errors"][0]["pointer"] == "/workflow_id"


def test_a_retry_for_an_inactive_client_is_refused(database: Urls, api: Api) -> None:
    _, execution_id = failed_execution(database, KNOWN)
    change(database, "UPDATE public.clients SET status = 'suspended' WHERE id = %s", ACME)
    refused = retry(api, execution_id, who="admin")
    assert refused.status_code == 422, refused.text
    assert told(refused)[1]["errors"][0]["pointer"] == "/client_id"


def test_a_retry_with_a_retired_model_is_refused(database: Urls, api: Api) -> None:
    _, execution_id = failed_execution(database, {"model": "gemini-2.5-flash-image-preview"})
    refused = retry(api, execution_id)
    assert refused.status_code == 422, refused.text
    assert "was retired" in told(refused)[1]["errors"][0]["detail"]


def test_a_retry_at_an_unknown_price_is_refused_where_there_is_a_budget(
    database: Urls, api: Api
) -> None:
    _, execution_id = failed_execution(database, {"model": "somebodys-own-model"})
    set_budget(database, 10**9)
    assert retry(api, execution_id).status_code == 402
    change(database, "UPDATE public.clients SET monthly_budget_microusd = NULL")
    accepted = retry(api, execution_id)
    assert accepted.status_code == 202, accepted.text
    assert json.loads(accepted.text)["estimate_microusd"] is None
