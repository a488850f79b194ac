"""The database connection, and the only place that tells Postgres who is calling.

A read travels in one network flight: BEGIN, identity, query and COMMIT are pipelined. No session
state is used, so that a transaction-mode pooler may stand between.
"""

import hmac
import select
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString, Protocol
from uuid import UUID

import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from masstock.authorities import authority_of, is_on_this_machine
from masstock.errors import ADMINS_ONLY, DatabaseUnavailable, Forbidden, NotFound, OutcomeUnknown
from masstock.secrets import SecretUnavailable, forget_secrets, read_secret
from masstock.telemetry import logger

if TYPE_CHECKING:
    # The engine's own steps know no tokens: what reads them is a fifth of a cold start.
    from masstock.auth import Principal

type Row = dict[str, Any]
type Connection = psycopg.Connection[Row]
type Statement = tuple[LiteralString, Mapping[str, object]]

# SQLSTATE of app.begin_request where the database does not trust who signed.
IDENTITY_REFUSED = "MS401"
# Signed identities live this long: enough for a slow commit, short for one that leaks.
IDENTITY_SECONDS = 120
# Spelled out: a pooled session may have been left with other defaults.
BEGIN: Statement = ("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", {})
BEGIN_READ_ONLY: Statement = ("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY", {})
COMMIT: Statement = ("COMMIT", {})
RECORD_LOGIN: Statement = ("SELECT app.record_login()", {})


class Executor(Protocol):
    """Whatever runs a query for the functions in masstock.queries."""

    def fetch_all(self, query: LiteralString, **values: object) -> list[Row]:
        """The rows of one statement; none where it returns no rows."""
        ...


def only(rows: list[Row]) -> Row:
    """The one row of a result; raises NotFound where there is none."""
    if not rows:
        raise NotFound
    return rows[0]


class Database:
    """One connection, opened at first use, kept across invocations and replaced when it died."""

    def __init__(self, secret_id: str) -> None:
        self._secret_id = secret_id
        self._connection: Connection | None = None

    def flight(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Sends the statements at once and returns the rows of each; raises DatabaseUnavailable
        when nothing was sent, psycopg.OperationalError when the connection was lost meanwhile.
        After an error inside a transaction, that transaction is rolled back."""
        connection = self._live_connection()
        try:
            with connection.pipeline():
                cursors = [connection.execute(query, values) for query, values in statements]
        except psycopg.Error as error:
            self.roll_back()
            if error.sqlstate == IDENTITY_REFUSED:
                # Signed with a key that was replaced since we cached it.
                forget_secrets()
            raise
        return [cursor.fetchall() if cursor.description is not None else [] for cursor in cursors]

    def roll_back(self) -> None:
        """Ends whatever transaction is open; a connection that cannot is dropped."""
        connection = self._connection
        if connection is None or connection.closed:
            self.close()
        elif connection.info.transaction_status != pq.TransactionStatus.IDLE:
            try:
                connection.execute("ROLLBACK")
            except psycopg.Error:
                self.close()

    def close(self) -> None:
        """Drops the connection; the next flight opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _live_connection(self) -> Connection:
        # Inside a transaction the connection is not replaced: its loss is the transaction's loss.
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
                # Rotated since we cached it.
                forget_secrets()
                return _connect(read_secret(self._secret_id))
        except (psycopg.OperationalError, SecretUnavailable) as error:
            raise DatabaseUnavailable from error


class _Pipeline(psycopg.Pipeline):
    """Ends with a Sync and nothing behind it. psycopg asks for a Flush as well, which at times
    travels alone: a transaction pooler then leases it a session, and takes that back only with an
    answer, which a Flush has none of. A pool of ten would be idle and empty after a while."""

    def _exit_gen(self) -> PQGen[None]:
        try:
            self._enqueue_sync()
            yield from self._communicate_gen()
        finally:
            # What a lost connection left is an error without a name that would hide the first one.
            if self.pgconn.status == pq.ConnStatus.OK:
                yield from self._fetch_gen(flush=False)


class _Connection(psycopg.Connection[Row]):
    @contextmanager
    def pipeline(self) -> Generator[psycopg.Pipeline]:
        self._pipeline = _Pipeline(self)
        with super().pipeline() as pipeline:
            yield pipeline


def _connect(url: str) -> Connection:
    return _Connection.connect(
        _encrypted(url),
        autocommit=True,  # transactions are explicit statements, so that they share the flight
        row_factory=dict_row,
        prepare_threshold=None,  # a transaction pooler may hand the next flight to another backend
        connect_timeout=5,
        keepalives=1,
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=3,
        tcp_user_timeout=30_000,
    )


def _encrypted(url: str) -> str:
    """The URL so that libpq checks who answers, where it does not say otherwise itself."""
    given = conninfo_to_dict(url)
    hosts = str(given.get("host") or given.get("hostaddr") or "").split(",")
    if given.get("sslmode", "verify-full") != "verify-full" or all(map(is_on_this_machine, hosts)):
        return url
    authority = given.get("sslrootcert") or authority_of(hosts[0])
    return make_conninfo(url, sslmode="verify-full", sslrootcert=authority)


def _died_while_idle(connection: Connection) -> bool:
    """Whether the connection was closed from the other side since its last flight: an idle socket
    that is readable holds an EOF or a farewell, and Lambda may have frozen us for hours."""
    if connection.closed:
        return True
    if connection.info.transaction_status != pq.TransactionStatus.IDLE:
        return False
    readable, _, _ = select.select([connection.fileno()], [], [], 0)
    return bool(readable)


# --- tenants -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Caller:
    """The live user behind a principal, as the database knows it."""

    user_id: UUID
    is_admin: bool
    # None for administrators.
    client_id: UUID | None


class TenantReader:
    """Each query runs in a READ ONLY transaction of its own, as the principal, in one flight; it
    is sent once more if the connection died meanwhile. `caller` is known after the first query."""

    caller: Caller

    def __init__(
        self,
        database: Database,
        principal: "Principal",
        identity_key: str,
        *,
        admins_only: bool = False,
    ) -> None:
        self._database = database
        self._admins_only = admins_only
        self.principal = principal
        self._identity_key = identity_key

    def fetch_all(self, query: LiteralString, **values: object) -> list[Row]:
        """The rows of one query; raises DatabaseUnavailable, and Forbidden where it is for
        administrators only and the caller is none."""
        enter = _enter(self.principal, self._identity_key)
        statement: Statement = (query, values)
        statements = [BEGIN_READ_ONLY, enter, statement, COMMIT]
        try:
            _, entered, rows, _ = self._database.flight(statements)
        except psycopg.OperationalError as lost:
            if not _lost_connection(lost):
                raise
            try:
                _, entered, rows, _ = self._database.flight(statements)
            except psycopg.OperationalError as error:
                raise DatabaseUnavailable from error
        self.caller = _caller(self.principal, entered[0])
        _record_login(self._database, self.principal, self._identity_key, entered[0])
        if self._admins_only and not self.caller.is_admin:
            raise Forbidden(ADMINS_ONLY)
        return rows


class TenantTransaction:
    """A READ WRITE transaction as the principal; made by `tenant_transaction`."""

    def __init__(self, database: Database, caller: Caller) -> None:
        self._database = database
        self.caller = caller

    def fetch_all(self, query: LiteralString, **values: object) -> list[Row]:
        """The rows of one statement."""
        return self._database.flight([(query, values)])[0]


@contextmanager
def tenant_transaction(
    database: Database, principal: "Principal", identity_key: str
) -> Generator[TenantTransaction]:
    """Committed when the block ends, rolled back when it raises. A connection lost before the
    commit raises DatabaseUnavailable (nothing happened); lost while committing, OutcomeUnknown."""
    try:
        _, entered = database.flight([BEGIN, _enter(principal, identity_key)])
        yield TenantTransaction(database, _caller(principal, entered[0]))
    except psycopg.OperationalError as error:
        database.roll_back()
        if not _lost_connection(error):
            raise
        raise DatabaseUnavailable from error
    except BaseException:
        database.roll_back()
        raise
    try:
        database.flight([COMMIT])
    except psycopg.OperationalError as error:
        raise OutcomeUnknown from error
    _record_login(database, principal, identity_key, entered[0])


def _enter(principal: "Principal", identity_key: str) -> Statement:
    expires = int(time.time()) + IDENTITY_SECONDS
    message = f"{principal.user_id}|{expires}".encode()
    mac = hmac.digest(identity_key.encode(), message, "sha256").hex()
    return (
        "SELECT role, client_id, last_login FROM app.enter(%(sub)s, %(exp)s, %(mac)s)",
        {"sub": principal.user_id, "exp": expires, "mac": mac},
    )


def _caller(principal: "Principal", entered: Row) -> Caller:
    logger.append_keys(client_id=entered["client_id"] and str(entered["client_id"]))
    return Caller(principal.user_id, entered["role"] == "admin", entered["client_id"])


def _record_login(
    database: Database, principal: "Principal", identity_key: str, entered: Row
) -> None:
    """Once per token: a read stays one flight from its second request on."""
    last_login = entered["last_login"]
    if last_login is not None and last_login.timestamp() >= principal.issued_at:
        return
    try:
        database.flight([BEGIN, _enter(principal, identity_key), RECORD_LOGIN, COMMIT])
    except (psycopg.Error, DatabaseUnavailable):
        logger.warning("last_login was not recorded", exc_info=True)


def _lost_connection(error: psycopg.OperationalError) -> bool:
    # The server's own refusals (timeouts, locks, resources) carry a SQLSTATE; a dead socket does
    # not, and class 57P is the server telling us that it is going away.
    return error.sqlstate is None or error.sqlstate.startswith(("57P", "08"))


# --- the engine's own steps ----------------------------------------------------------------------


class Worker:
    """The database as fanout, generate and finalize see it: no tenant, few tables, few columns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def fetch_all(self, query: LiteralString, **values: object) -> list[Row]:
        """The rows of one statement, committed by itself; raises DatabaseUnavailable."""
        return self.fetch_together([(query, values)])[0]

    def fetch_together(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """The rows of each statement of one transaction, in one flight; raises
        DatabaseUnavailable, after which it may or may not have been committed: every step of the
        engine may run twice."""
        try:
            return self._database.flight([BEGIN, *statements, COMMIT])[1:-1]
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable from error
