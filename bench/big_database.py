"""A database with a long history (`big_database.sql`) and three ways to read it: as the api's
callers, as the table owner without row security, and as a tenant under the seed schema's policies.
"""

import hashlib
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString, cast
from unittest import mock
from uuid import UUID

import psycopg
from psycopg import sql

from bench.environment import SCRATCH
from local.database import create_database, prepare, with_login
from local.keys import Keys
from local.processes.postgres import PostgresServer
from masstock.database.connection import BEGIN_READ_ONLY, COMMIT, Database, Executor, Row, Statement
from masstock.database.tenants import TenantReader
from masstock.database.worker import Worker
from masstock.services.tokens import Principal

BENCH = Path(__file__).parent
BIGGEST_CLIENT, SMALL_CLIENT = 1, 900
OWNER, SEED_TENANT = "bench_owner", "bench_seed_tenant"
# The data fits into memory, so that the rows compare work and not disks.
SETTINGS = {
    "shared_buffers": "2GB",
    "maintenance_work_mem": "512MB",
    "max_wal_size": "8GB",
    # Postgres then writes no log for rows of a table truncated in the same transaction.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # The bench vacuums the tables itself, between rounds.
    "autovacuum": "off",
}


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a history. `of_the_biggest` is the biggest client's share of the executions."""

    executions: int
    of_the_biggest: float
    prompts_each: float

    def __str__(self) -> str:
        results = self.executions * self.prompts_each / 1e6
        return f"1,000 clients, {self.executions:,} executions, {results:.1f} M results"


QUICK = Size(200_000, 0.3, 7)
FULL = Size(1_000_000, 0.12, 10)


def named(name: str) -> UUID:
    """The id of the row with this name in `big_database.sql`."""
    return UUID(hashlib.md5(name.encode(), usedforsecurity=False).hexdigest())


def client(number: int) -> UUID:
    return named(f"client {number}")


def user_of(number: int) -> UUID:
    return named(f"user 1 of client {number}")


def execution_of(number: int, prompts: int) -> UUID:
    """The client's execution with so many prompts: 10, 1000 or 10000."""
    return named(f"{prompts} prompts of client {number}")


ADMINISTRATOR = named("administrator")


class BigDatabase:
    """One connection for each login, opened at its first use. `big_database` makes it."""

    def __init__(self, owner_url: str, urls: dict[str, str], identity_key: str) -> None:
        self._superuser_url = owner_url
        self._identity_key = identity_key
        self.api = Database(urls["api"])
        self.owner = Database(urls[OWNER])
        self.seed_tenant = Database(urls[SEED_TENANT])
        self.worker = Worker(Database(urls["worker"]))

    def reading(self, user_id: UUID) -> TenantReader:
        """Reads as the api reads for this user."""
        return TenantReader(self.api, Principal(user_id, 0), self._identity_key)

    def administer(self, statement: LiteralString, **values: object) -> list[tuple]:
        """Runs a statement as the superuser, outside of a transaction; returns its rows."""
        with psycopg.connect(self._superuser_url, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def run_script(self, name: str) -> None:
        """Runs a script of this directory as the superuser."""
        with psycopg.connect(self._superuser_url, autocommit=True) as connection:
            connection.execute(cast(LiteralString, (BENCH / name).read_text()))


@contextmanager
def big_database(size: Size) -> Iterator[BigDatabase]:
    """A separate server with a history of this size, deleted at the end of the block."""
    directory = SCRATCH / "postgres"
    # Without fsync and full-page writes the data is made in half the time. Reads are unaffected.
    server = PostgresServer(directory, fsync=False, settings=SETTINGS)
    server.destroy()
    # A function reads its database URL from a secret. Here the secret's name is the URL.
    with mock.patch("masstock.database.connection.read_secret", str):
        try:
            yield _made(server, size)
        finally:
            server.destroy()


def _made(server: PostgresServer, size: Size) -> BigDatabase:
    began = time.monotonic()
    url = create_database(server.start())
    keys = Keys(server.directory / "keys")
    ours = prepare(url, keys)
    urls = {"api": ours.api, "worker": ours.worker}
    with psycopg.connect(url, autocommit=True) as connection:
        for role in (OWNER, SEED_TENANT):
            password = keys.secret(role)
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), password)
            )
            urls[role] = with_login(url, role, password)
        # The usual login of an application: it owns the tables and bypasses all policies.
        connection.execute("ALTER ROLE bench_owner BYPASSRLS")
        connection.execute("GRANT masstock_owner TO bench_owner")
        for name, value in (
            ("bench.executions", size.executions),
            ("bench.of_the_biggest", size.of_the_biggest),
            ("bench.prompts_each", size.prompts_each),
        ):
            connection.execute("SELECT set_config(%s, %s, false)", [name, str(value)])
        connection.execute(cast(LiteralString, (BENCH / "big_database.sql").read_text()))
        connection.execute("VACUUM (ANALYZE)")
    database = BigDatabase(url, urls, keys.secret("identity-key"))
    database.run_script("seed_policies.sql")
    print(f"({size}, made in {time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
    return database


class WithoutRowSecurity(Executor):
    """Our statements as the table owner would write them without row security.

    Tables replace the views that hide rows, and the query names the client. One flight holds the
    same number of statements as ours. It also looks the user up, because a suspended user must see
    nothing from the next request on, with or without policies. `signs_in=False` omits that.
    """

    def __init__(
        self, database: Database, user_id: UUID, client_id: UUID | None, *, signs_in: bool = True
    ) -> None:
        self._database = database
        self._user_id = user_id
        self._client_id = client_id
        self._signs_in = signs_in

    def fetch_all(self, query: LiteralString, **values: object) -> list[Row]:
        """The rows of one statement, in its own READ ONLY transaction and one flight."""
        first = [self._sign_in()] if self._signs_in else []
        statement = self._statement(query, values)
        return self._database.flight([BEGIN_READ_ONLY, *first, statement, COMMIT])[-2]

    def _statement(self, query: LiteralString, values: dict[str, object]) -> Statement:
        plain = query.replace("app.people", "public.users")
        plain = plain.replace("app.workflow_names", "public.workflows")
        # seed_policies.sql makes these functions.
        plain = plain.replace("app.describe_executions", "public.describe_executions")
        plain = plain.replace("app.newest_executions", "public.newest_executions")
        if self._client_id is not None:
            plain = plain.replace("WHERE e.id =", "WHERE e.client_id = %(own_client)s AND e.id =")
        return plain, {**values, "own_client": self._client_id}

    def _sign_in(self) -> Statement:
        return (
            """
            SELECT u.role, u.client_id, u.last_login
            FROM public.users u LEFT JOIN public.clients c ON c.id = u.client_id
            WHERE u.id = %(id)s AND u.status = 'active'
              AND (u.role = 'admin' OR c.status = 'active')
            """,
            {"id": self._user_id},
        )


class UnderSeedPolicies(WithoutRowSecurity):
    """The same statements for a tenant under the seed schema's policies."""

    def _sign_in(self) -> Statement:
        claims = json.dumps({"sub": str(self._user_id), "role": "authenticated"})
        return (
            "SELECT set_config('request.jwt.claims', %(claims)s, true)",
            {"claims": claims},
        )
