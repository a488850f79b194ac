"""Prepares a database for the functions: schema, runtime logins, demo data."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from local.errors import StackError
from local.keys import Keys
from sql.tools.identity_key import install_identity_key, trusts_another_key
from sql.tools.migrate import load_seed, migrate

DATABASE = "masstock"
API_ROLE = "masstock_api"
WORKER_ROLE = "masstock_worker"


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """libpq URLs of one database, one for each login."""

    owner: str
    api: str
    worker: str


def create_database(server_url: str) -> str:
    """Create the database `masstock` unless it exists, and return its URL."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        query = "SELECT 1 FROM pg_database WHERE datname = %s"
        if connection.execute(query, [DATABASE]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    return with_login(server_url, database=DATABASE)


def prepare(owner_url: str, keys: Keys) -> DatabaseUrls:
    """Migrate, install the identity key and set the passwords of the runtime logins.

    Raises StackError before any change if the database is on another machine and trusts another
    identity key. Such a database belongs to a deployment, which could not use it with the new key.
    """
    identity_key = keys.secret("identity-key")
    if _is_elsewhere(owner_url) and trusts_another_key(owner_url, identity_key):
        raise StackError(
            "The database in DATABASE_URL is on another machine and trusts another identity key, "
            "so it serves a deployment. Unset DATABASE_URL or name another database."
        )
    migrate(owner_url)
    install_identity_key(owner_url, identity_key)
    passwords = {role: keys.secret(f"{role}-password") for role in (API_ROLE, WORKER_ROLE)}
    with psycopg.connect(owner_url, autocommit=True) as connection:
        for role, password in passwords.items():
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), password)
            )
    return DatabaseUrls(
        owner=with_login(owner_url),
        api=with_login(owner_url, API_ROLE, passwords[API_ROLE]),
        worker=with_login(owner_url, WORKER_ROLE, passwords[WORKER_ROLE]),
    )


def _is_elsewhere(url: str) -> bool:
    with psycopg.connect(url, connect_timeout=10) as connection:
        # Empty for a Unix socket.
        address = connection.info.hostaddr
    return bool(address) and not ip_address(address).is_loopback


def seed(owner_url: str, *, embedded: bool) -> bool:
    """Load the demo data and return True.

    Returns False for a database that is not `embedded` and has users.
    """
    with psycopg.connect(owner_url) as connection:
        populated = connection.execute("SELECT 1 FROM public.users LIMIT 1").fetchone()
    if populated and not embedded:
        return False
    load_seed(owner_url)
    return True


def end_claims(owner_url: str) -> None:
    """End the claims of a stack that was stopped or killed.

    Its invocations died with it, and a lease lasts minutes. The database must serve this stack
    only.
    """
    with psycopg.connect(owner_url) as connection:
        connection.execute(
            "UPDATE public.workflow_batch_results SET claimed_until = now()"
            " WHERE status = 'processing' AND claimed_until > now()"
        )


def completed_images(owner_url: str) -> Iterator[tuple[str, str]]:
    """Yield object key and prompt of every completed result."""
    with psycopg.connect(owner_url) as connection:
        yield from connection.execute(
            "SELECT result_storage_path, prompt_text FROM public.workflow_batch_results"
            " WHERE status = 'completed' AND result_storage_path IS NOT NULL"
        )


def find_user(owner_url: str, email: str) -> tuple[str, bool] | None:
    """Return the id of the user with this e-mail address, and True if it is an invitation."""
    with psycopg.connect(owner_url) as connection:
        return connection.execute(
            "SELECT id::text, invited_until IS NOT NULL FROM public.users"
            " WHERE lower(email) = lower(%s)",
            [email],
        ).fetchone()


def first_workflow(owner_url: str) -> str | None:
    """Return the id of the oldest active workflow, or None."""
    with psycopg.connect(owner_url) as connection:
        row = connection.execute(
            "SELECT id::text FROM public.workflows WHERE status = 'active'"
            " ORDER BY created_at, id LIMIT 1"
        ).fetchone()
    return row[0] if row else None


def with_login(
    conninfo: str,
    user: str | None = None,
    password: str | None = None,
    *,
    database: str | None = None,
) -> str:
    """Return `conninfo` (URL or key=value) as a complete URL, with another login or database."""
    parts = {name: str(value) for name, value in conninfo_to_dict(conninfo).items() if value}
    user = user or parts.pop("user", "postgres")
    password = password or parts.pop("password", "")
    parts.pop("user", None)
    parts.pop("password", None)
    host = parts.pop("host", "127.0.0.1")
    port = parts.pop("port", "5432")
    name = database or parts.pop("dbname", "postgres")
    parts.pop("dbname", None)
    url = f"postgresql://{quote(user, '')}:{quote(password, '')}@{host}:{port}/{quote(name, '')}"
    return f"{url}?{urlencode(parts)}" if parts else url
