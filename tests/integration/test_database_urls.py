"""Passwords inside connection URLs: what the guide says about them, and what a wrong URL does."""

import re
import secrets
import string
import subprocess
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from masstock.database.connection import Database
from masstock.errors import DatabaseUnavailable
from tests.support.databases import Urls, connected

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/deploy.md").read_text()
LOGIN = "login_with_a_password"
PASSWORD = string.punctuation + " é 100%"


@pytest.fixture
def login(fresh_database: Urls) -> Iterator[Urls]:
    with connected(fresh_database.superuser) as connection:
        statement = "CREATE ROLE {} LOGIN PASSWORD {}"
        connection.execute(
            sql.SQL(statement).format(sql.Identifier(LOGIN), sql.Literal(PASSWORD))  # pyright: ignore
        )
    yield fresh_database
    with connected(fresh_database.superuser) as connection:
        connection.execute(f"DROP ROLE {LOGIN}".encode())


def test_the_guides_command_makes_any_password_fit_into_a_url(
    login: Urls, vault: dict[str, str]
) -> None:
    [command] = re.findall(r"(?m)^python3 -c '(import urllib.*)'", GUIDE)
    encoded = subprocess.run(
        ["python3", "-c", command], input=PASSWORD, capture_output=True, text=True, check=True
    ).stdout.strip()
    parts = conninfo_to_dict(login.superuser)
    host, port = parts["host"], parts["port"]
    vault["url"] = f"postgresql://{LOGIN}:{encoded}@{host}:{port}/{login.name}"
    with closing(Database("url")) as database:
        assert database.flight([("SELECT current_user AS name", {})]) == [[{"name": LOGIN}]]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(vault["url"].replace(encoded, "wrong"))


@pytest.mark.parametrize("sign", ["@", "/", "%zz", " ", "%00"])
def test_a_url_with_a_bare_password_is_refused_and_not_told(
    vault: dict[str, str], sign: str
) -> None:
    parts = secrets.token_hex(8), secrets.token_hex(8)
    vault["url"] = f"postgresql://masstock_api:{sign.join(parts)}@127.0.0.1:1/masstock"
    with closing(Database("url")) as database, pytest.raises(DatabaseUnavailable) as raised:
        database.ping()
    told = "".join(traceback.format_exception(raised.value))
    assert "percent-encode" in told
    assert not [part for part in parts if part in told]
