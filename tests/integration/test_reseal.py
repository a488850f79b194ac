"""The sealing key can change while the system runs."""

import json
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from masstock.errors import ApiKeyUnreadable
from masstock.services import sealing
from sql.tools import reseal
from tests.support.databases import Urls, connected
from tests.support.demo_data import ACME, GLOBEX, JOHN_OF_ACME, WORKFLOW

OLD = json.dumps({"current": "k1", "k1": "first"})
NEW = reseal.with_new_key(OLD)
ONLY_NEW = json.dumps({name: value for name, value in json.loads(NEW).items() if name != "k1"})


def store(url: str, api_key: object) -> UUID:
    execution_id = uuid4()
    with connected(url) as connection:
        connection.execute(
            "INSERT INTO public.workflow_executions"
            " (id, workflow_id, client_id, user_id, input_data) VALUES (%s, %s, %s, %s, %s)",
            [
                execution_id,
                WORKFLOW,
                ACME,
                JOHN_OF_ACME,
                Jsonb(
                    {
                        "prompts": ["x"],
                        "api_key": api_key(execution_id) if callable(api_key) else api_key,
                    }
                ),
            ],
        )
    return execution_id


def stored(url: str, execution_id: UUID) -> str:
    with connected(url) as connection:
        [row] = connection.execute(
            "SELECT input_data ->> 'api_key' FROM public.workflow_executions WHERE id = %s",
            [execution_id],
        ).fetchall()
    return row[0]


def test_a_new_key_becomes_the_current_one_and_the_old_ones_stay() -> None:
    keys = json.loads(NEW)
    assert keys["current"] == "k2"
    assert keys["k1"] == "first"
    assert len(keys["k2"]) >= 64
    assert json.loads(reseal.with_new_key(NEW))["current"] == "k3"


def test_resealed_keys_open_without_the_old_key(
    fresh_database: Urls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reseal, "BATCH", 3)
    ids = [
        store(fresh_database.superuser, lambda i: sealing.seal(f"key of {i}", ACME, i, OLD))
        for _ in range(8)
    ]
    # Run as the migrating login, not as a superuser.
    assert reseal.reseal(fresh_database.migrator, NEW) == (8, 0)
    for execution_id in ids:
        sealed = stored(fresh_database.superuser, execution_id)
        assert sealing.unseal(sealed, ACME, execution_id, ONLY_NEW) == f"key of {execution_id}"
        with pytest.raises(ApiKeyUnreadable):
            sealing.unseal(sealed, GLOBEX, execution_id, ONLY_NEW)
    assert reseal.reseal(fresh_database.migrator, NEW) == (0, 0)


def test_a_value_that_cannot_be_opened_is_counted_and_unchanged(fresh_database: Urls) -> None:
    altered = sealing.seal("secret", ACME, uuid4(), OLD)
    execution_id = store(fresh_database.superuser, altered)
    assert reseal.reseal(fresh_database.migrator, NEW) == (0, 1)
    assert stored(fresh_database.superuser, execution_id) == altered


def test_a_value_that_is_not_sealed_is_ignored(fresh_database: Urls) -> None:
    execution_id = store(fresh_database.superuser, "encrypted_api_key_here")
    assert reseal.reseal(fresh_database.migrator, NEW) == (0, 0)
    assert stored(fresh_database.superuser, execution_id) == "encrypted_api_key_here"
