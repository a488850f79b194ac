"""Real databases for tests, migrated as on RDS or Supabase: by a login that owns its database and
can create roles, but is not a superuser."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
from psycopg import sql

from masstock.database.connection import Database
from masstock.database.tenants import TenantReader, TenantTransaction, tenant_transaction
from masstock.services.tokens import Principal
from sql.tools import migrate
from sql.tools.identity_key import install_identity_key

IDENTITY_KEY = "the tests' identity key, known to api and database"
PASSWORD = "password-of-the-test-roles"
MIGRATOR = "masstock_test_migrator"
OUR_ROLES = (
    "masstock_owner",
    "masstock_authz",
    "masstock_admin",
    "masstock_api",
    "masstock_worker",
    "anon",
    "authenticated",
    "service_role",
)


@dataclass(frozen=True, slots=True)
class Urls:
    """The URLs of one database, one for each login."""

    name: str
    superuser: str
    migrator: str
    api: str
    worker: str


class Server:
    """A PostgreSQL server on which tests create databases. `url` is a superuser's."""

    def __init__(self, url: str) -> None:
        self.url = url
        with self._connect() as connection:
            self.version = connection.info.server_version
            self._create_migrator(connection)
        self._template = self.create_empty_database()
        migrate.migrate(self._template.migrator)
        install_identity_key(self._template.migrator, IDENTITY_KEY)
        migrate.load_seed(self._template.migrator)
        self._set_passwords()

    def create_empty_database(self) -> Urls:
        """An unmigrated database that the migrator owns."""
        return self._create_database("template0")

    def create_database(self) -> Urls:
        """A migrated database with the seed's demo data."""
        urls = self._create_database(self._template.name)
        # A copied database lacks the database-level grants. A second migration run sets them.
        assert migrate.migrate(urls.migrator) == []
        return urls

    def drop(self, urls: Urls) -> None:
        with self._connect() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(urls.name))
            )

    def drop_template(self) -> None:
        self.drop(self._template)

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url, autocommit=True, connect_timeout=10)

    def _create_migrator(self, connection: psycopg.Connection) -> None:
        role = sql.Identifier(MIGRATOR)
        known = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [MIGRATOR]).rowcount
        if not known:
            connection.execute(sql.SQL("CREATE ROLE {}").format(role))
        connection.execute(
            sql.SQL("ALTER ROLE {} LOGIN CREATEROLE NOSUPERUSER PASSWORD {}").format(role, PASSWORD)
        )
        # On a server that was migrated before, the roles exist and another login made them.
        rows = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [list(OUR_ROLES)]
        ).fetchall()
        for (name,) in rows:
            connection.execute(
                sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(sql.Identifier(name), role)
            )

    def _set_passwords(self) -> None:
        with self._connect() as connection:
            for role in ("masstock_api", "masstock_worker"):
                connection.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), PASSWORD)
                )

    def _create_database(self, template: str) -> Urls:
        name = f"masstock_test_{secrets.token_hex(6)}"
        with self._connect() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(MIGRATOR), sql.Identifier(template)
                )
            )
        return Urls(
            name,
            self._url(name),
            self._url(name, MIGRATOR),
            self._url(name, "masstock_api"),
            self._url(name, "masstock_worker"),
        )

    def _url(self, database: str, user: str | None = None) -> str:
        parts = urlsplit(self.url)
        netloc = parts.netloc
        if user is not None:
            netloc = f"{user}:{PASSWORD}@{netloc.rpartition('@')[2]}"
        return parts._replace(netloc=netloc, path=f"/{database}").geturl()


class Callers:
    """Transactions of any user through one connection of the api."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def reading(self, user_id: UUID) -> TenantReader:
        return TenantReader(self.database, Principal(user_id, 0), IDENTITY_KEY)

    def writing(self, user_id: UUID) -> AbstractContextManager[TenantTransaction]:
        return tenant_transaction(self.database, Principal(user_id, 0), IDENTITY_KEY)


def signed_identity(
    user_id: UUID, *, seconds: int = 60, key: str = IDENTITY_KEY
) -> tuple[UUID, int, str]:
    """The arguments of app.enter for an identity that expires in `seconds`."""
    expires = int(time.time()) + seconds
    mac = hmac.new(key.encode(), f"{user_id}|{expires}".encode(), hashlib.sha256).hexdigest()
    return user_id, expires, mac


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection]:
    """An autocommit connection, closed at the end of the block in any state."""
    connection = psycopg.connect(url, autocommit=True, connect_timeout=10, prepare_threshold=None)
    try:
        yield connection
    finally:
        connection.close()
