"""One Postgres connection that is kept between invocations.

All statements of a call are pipelined, so they take one network flight. No statement uses session
state, so a transaction pooler may sit between the function and Postgres.
"""

import select
from collections.abc import Mapping, Sequence
from typing import Any, LiteralString, NamedTuple, Protocol

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from masstock.database.authorities import authority_of, is_on_this_machine
from masstock.database.pipeline import PipelineConnection
from masstock.errors import DatabaseUnavailable, NotFound
from masstock.services.secret_store import SecretUnavailable, forget_secrets, read_secret

type Row = dict[str, Any]
type Connection = psycopg.Connection[Row]
type Statement = tuple[LiteralString, Mapping[str, object]]


class Versioned(NamedTuple):
    """The JSON text of a resource, and the part of it that its ETag covers: a resource whose other
    parts change all the time."""

    body: str
    version: str


# SQLSTATE if the database refuses the signature of an identity.
IDENTITY_REFUSED = "MS401"
# Explicit, because a pooled session may have other defaults.
BEGIN: Statement = ("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", {})
BEGIN_READ_ONLY: Statement = ("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY", {})
COMMIT: Statement = ("COMMIT", {})


class Executor(Protocol):
    """Runs a query for the functions in masstock.database.queries."""

    def fetch_all(self, query: LiteralString, **values: object) -> list[Row]:
        """The rows of one statement; an empty list if it returns no rows."""
        ...

    def fetch_one(self, query: LiteralString, **values: object) -> Row:
        """The first row of one statement. Raises NotFound if it returns no rows."""
        rows = self.fetch_all(query, **values)
        if not rows:
            raise NotFound
        return rows[0]


class Database:
    """One connection: opened at first use, kept across invocations, replaced if it is lost."""

    def __init__(self, secret_id: str) -> None:
        self._secret_id = secret_id
        self._connection: Connection | None = None

    def flight(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Sends all statements at once and returns the rows of each. Raises DatabaseUnavailable if
        no connection could be made, psycopg.OperationalError if the connection was lost later.
        An error inside a transaction rolls that transaction back."""
        connection = self._live_connection()
        try:
            with connection.pipeline():
                cursors = [connection.execute(query, values) for query, values in statements]
        except psycopg.Error as error:
            self.roll_back()
            if error.sqlstate == IDENTITY_REFUSED:
                # The identity key may have been replaced after it was cached.
                forget_secrets()
            raise
        return [cursor.fetchall() if cursor.description is not None else [] for cursor in cursors]

    def ping(self) -> None:
        """Makes one round trip. Raises DatabaseUnavailable."""
        try:
            self.flight([("SELECT 1", {})])
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable from error

    def roll_back(self) -> None:
        """Rolls back an open transaction. Drops the connection if that fails."""
        connection = self._connection
        if connection is None or connection.closed:
            self.close()
        elif connection.info.transaction_status != pq.TransactionStatus.IDLE:
            try:
                connection.execute("ROLLBACK")
            except psycopg.Error:
                self.close()

    def close(self) -> None:
        """Drops the connection. The next flight opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _live_connection(self) -> Connection:
        # A connection with an open transaction is not replaced: the new connection would run the
        # later statements without the transaction.
        if self._connection is not None and _died_while_idle(self._connection):
            self.close()
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> Connection:
        try:
            try:
                return _connect(read_secret(self._secret_id))
            except psycopg.OperationalError as error:
                if not any(code in str(error) for code in ("authentication", "password")):
                    raise
                # The password may have been rotated after it was cached.
                forget_secrets()
                return _connect(read_secret(self._secret_id))
        except (psycopg.OperationalError, SecretUnavailable) as error:
            raise DatabaseUnavailable from error


def _connect(url: str) -> Connection:
    return PipelineConnection.connect(
        _encrypted(url),
        autocommit=True,  # BEGIN and COMMIT are statements of the flight
        row_factory=dict_row,
        prepare_threshold=None,  # a transaction pooler may give the next flight another backend
        connect_timeout=5,
        keepalives=1,
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=3,
        tcp_user_timeout=30_000,
    )


def _encrypted(url: str) -> str:
    """The URL with verification of the server's certificate, unless it sets another sslmode. Raises
    SecretUnavailable for a URL that cannot be read."""
    given = _parsed(url)
    hosts = str(given.get("host") or given.get("hostaddr") or "").split(",")
    if given.get("sslmode", "verify-full") != "verify-full" or all(map(is_on_this_machine, hosts)):
        return url
    authority = given.get("sslrootcert") or authority_of(hosts[0])
    return make_conninfo(url, sslmode="verify-full", sslrootcert=authority)


def _parsed(url: str) -> Mapping[str, Any]:
    """The parts of the URL. libpq ends the password at a bare `@` or `/`, and its messages contain
    the rest of the password. So this function refuses such URLs."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        parts = {"port": "unreadable"}
    host, port = str(parts.get("host") or ""), str(parts.get("port") or "")
    if "@" in host[1:] or (not port.replace(",", "").isdecimal() and port):
        # No cause: its message contains a part of the password.
        raise SecretUnavailable("not a connection URL; percent-encode its password")
    return parts


def _died_while_idle(connection: Connection) -> bool:
    """True if the server closed the connection after the last flight, for example while Lambda had
    frozen this process for hours. The idle socket is then readable."""
    if connection.closed:
        return True
    if connection.info.transaction_status != pq.TransactionStatus.IDLE:
        return False
    readable, _, _ = select.select([connection.fileno()], [], [], 0)
    return bool(readable)
