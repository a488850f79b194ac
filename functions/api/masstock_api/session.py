"""Settings, connection and secrets, which the process keeps between requests."""

from masstock.database.connection import Database
from masstock.errors import DatabaseUnavailable
from masstock.services.secret_store import SecretUnavailable, read_secret
from masstock.settings import ApiSettings, read_settings

_database: Database | None = None


def settings() -> ApiSettings:
    """This function's environment."""
    return read_settings(ApiSettings)


def database() -> Database:
    """The process's connection."""
    global _database  # noqa: PLW0603 - kept across invocations
    _database = _database or Database(settings().database_secret_id)
    return _database


def signing_key() -> str:
    """The secret that the api shares with the database. It signs identities and, with other
    prefixes, cursors and digests. Raises DatabaseUnavailable."""
    try:
        return read_secret(settings().identity_secret_id)
    except SecretUnavailable as error:
        raise DatabaseUnavailable from error
