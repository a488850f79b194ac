"""docs/deploy.md, "Backups": a dump by the migrating login can be restored as a working database on
an empty server."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from local.processes.postgres import PostgresServer
from masstock.database.connection import Database
from masstock.database.tenants import TenantReader
from masstock.database.worker import Worker
from masstock.services.tokens import Principal
from sql.tools import migrate
from tests.support.databases import IDENTITY_KEY, MIGRATOR, PASSWORD, Urls, connected
from tests.support.demo_data import JOHN_OF_ACME

ROOT = Path(__file__).parents[2]
LOGINS = ("masstock_api", "masstock_worker")
COUNT = "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t"
# Only a superuser can give a function to an owner who lacks CREATE on its schema.
PREPARE = """
    CREATE SCHEMA app AUTHORIZATION masstock_authz;
    CREATE SCHEMA app_private AUTHORIZATION masstock_authz;
    SET LOCAL ROLE masstock_authz;
    GRANT CREATE ON SCHEMA app, app_private TO masstock_owner;
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[tuple[PostgresServer, str]]:
    """Another server that has only a login with CREATEROLE, and this login's database."""
    postgres = PostgresServer(tmp_path / "elsewhere", fsync=False)
    try:
        url = postgres.start()
        with connected(url) as connection:
            connection.execute(f"CREATE ROLE {MIGRATOR} LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
            connection.execute(f"CREATE DATABASE restored OWNER {MIGRATOR}")
        yield postgres, url
    finally:
        postgres.destroy()


def login(url: str, name: str) -> str:
    parts = urlsplit(url)
    netloc = f"{name}:{PASSWORD}@{parts.netloc.rpartition('@')[2]}"
    return parts._replace(netloc=netloc, path="/restored").geturl()


def contents(url: str) -> dict[str, tuple]:
    """Maps each table to its number of rows and a hash of all rows."""
    with connected(url) as connection:
        tables = [
            name
            for (name,) in connection.execute(
                "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND"
                " relnamespace::regnamespace::text IN ('public', 'app_private', 'app_migrations')"
            )
        ]
        return {
            table: connection.execute(COUNT.format(table=table).encode()).fetchall()[0]
            for table in tables
        }


@pytest.mark.parametrize("migrated_by", ["a login that may create roles", "a superuser"])
def test_a_dump_is_restored_on_another_server(
    fresh_database: Urls,
    elsewhere: tuple[PostgresServer, str],
    tmp_path: Path,
    vault: dict[str, str],
    migrated_by: str,
) -> None:
    server, url = elsewhere
    if migrated_by == "a superuser":
        # It revokes functions of the catalogue, which no other login may do in the restored one.
        migrate.migrate(fresh_database.superuser)
    before = contents(fresh_database.superuser)
    assert before["workflow_batch_results"][0] == 2
    assert before["app_private.keys"][0] == 2
    dump = tmp_path / "masstock.dump"
    # Row security binds this login too. As a member of the owner it sees every row.
    run(
        server,
        "pg_dump",
        "--format=custom",
        "--enable-row-security",
        f"--file={dump}",
        fresh_database.migrator,
    )

    target = login(url, MIGRATOR)
    with psycopg.connect(target) as connection:
        connection.execute((ROOT / "sql/roles.sql").read_bytes())
        connection.execute(PREPARE)
    entries = run(server, "pg_restore", "--list", str(dump)).splitlines(keepends=True)
    chosen = tmp_path / "entries"
    left_out = re.compile(r" SCHEMA - app(_private)? | ACL pg_catalog ")
    chosen.write_text("".join(entry for entry in entries if not left_out.search(entry)))
    run(
        server,
        "pg_restore",
        "--exit-on-error",
        "--single-transaction",
        f"--use-list={chosen}",
        f"--dbname={target}",
        str(dump),
    )
    with psycopg.connect(target) as connection:
        connection.execute("REVOKE CREATE ON SCHEMA app, app_private FROM masstock_owner")
    assert migrate.migrate(target) == []
    with connected(url) as connection:
        for name in LOGINS:
            connection.execute(f"ALTER ROLE {name} PASSWORD '{PASSWORD}'".encode())

    assert contents(urlsplit(url)._replace(path="/restored").geturl()) == before
    vault["restored api"], vault["restored worker"] = (login(url, name) for name in LOGINS)
    with closing(Database("restored api")) as database:
        reader = TenantReader(database, Principal(JOHN_OF_ACME, 0), IDENTITY_KEY)
        [ticket] = reader.fetch_all("SELECT subject FROM public.support_tickets")
        assert ticket["subject"] == "Unable to upload reference images"
    with closing(Database("restored worker")) as database:
        rows = Worker(database).fetch_all("SELECT id FROM public.workflow_executions")
        assert len(rows) == 1


def run(server: PostgresServer, program: str, *arguments: str) -> str:
    done = subprocess.run(
        [server.binaries / program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
