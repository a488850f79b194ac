"""The local stack changes no database that serves a deployment."""

from pathlib import Path

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
