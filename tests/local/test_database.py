"""What the local stack does to a database before it serves it."""

from pathlib import Path

import psycopg
import pytest

from local import database
from local.errors import StackError
from local.keys import Keys
from sql.tools.identity_key import trusts_another_key
from tests.support.databases import IDENTITY_KEY, Server, Urls


def test_a_deployments_database_on_another_machine_stays_unchanged(
    fresh_database: Urls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert not database._is_elsewhere(fresh_database.migrator)
    monkeypatch.setattr(database, "_is_elsewhere", lambda url: True)
    with pytest.raises(StackError, match="another identity key"):
        database.prepare(fresh_database.migrator, Keys(tmp_path))
    assert not trusts_another_key(fresh_database.migrator, IDENTITY_KEY)


def test_an_empty_database_may_be_used(server: Server) -> None:
    urls = server.create_empty_database()
    try:
        assert not trusts_another_key(urls.migrator, IDENTITY_KEY)
    finally:
        server.drop(urls)


def test_the_claims_of_a_dead_stack_end(fresh_database: Urls) -> None:
    database.load_seed(fresh_database.superuser)
    with psycopg.connect(fresh_database.superuser) as connection:
        before = connection.execute(
            "UPDATE public.workflow_batch_results SET status = 'processing', completed_at = NULL,"
            " claimed_until = now() + interval '1 hour' WHERE (execution_id, batch_index) IN"
            " (SELECT execution_id, batch_index FROM public.workflow_batch_results LIMIT 1)"
            " RETURNING execution_id, batch_index, attempts, failures"
        ).fetchone()
    database.end_claims(fresh_database.superuser)
    with psycopg.connect(fresh_database.superuser) as connection:
        rows = connection.execute(
            "SELECT execution_id, batch_index, attempts, failures, claimed_until <= now()"
            " FROM public.workflow_batch_results WHERE status = 'processing'"
        ).fetchall()
    assert before is not None
    # The next claim counts a failure, as after the death of one invocation.
    assert rows == [(*before, True)]
