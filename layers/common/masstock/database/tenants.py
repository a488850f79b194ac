"""Transactions with the rights of a caller. No other module sends a caller's identity to
Postgres."""

import hmac
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString
from uuid import UUID

import psycopg

from masstock.database.connection import (
    BEGIN,
    BEGIN_READ_ONLY,
    COMMIT,
    Database,
    Executor,
    Row,
    Statement,
)
from masstock.errors import (
    ADMINS_ONLY,
    DatabaseUnavailable,
    Forbidden,
    NotProvisioned,
    OutcomeUnknown,
)
from masstock.telemetry import logger

if TYPE_CHECKING:
    # For the type only: importing PyJWT takes a fifth of a cold start.
    from masstock.services.tokens import Principal

# How long a signed identity is valid: long enough for a slow commit, short in case it leaks.
IDENTITY_SECONDS = 120
RECORD_LOGIN: Statement = ("SELECT app.record_login()", {})


@dataclass(frozen=True, slots=True)
class Caller:
    """The active user of a principal, as stored in the database."""

    user_id: UUID
    is_admin: bool
    # None for administrators.
    client_id: UUID | None


class TenantReader(Executor):
    """Runs each query as the principal. Each query has its own READ ONLY transaction and takes one
    flight. If the connection is lost, the flight is sent once more. The first query sets
    `caller`."""

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
        """The rows of one query. Raises DatabaseUnavailable; with `admins_only`, raises Forbidden
        if the caller is not an administrator."""
        enter = _enter(self.principal, self._identity_key)
        statement: Statement = (query, values)
        statements = [BEGIN_READ_ONLY, enter, statement, COMMIT]
        try:
            _, entered, rows, _ = self._flight(statements)
        except psycopg.OperationalError as lost:
            if not _lost_connection(lost):
                raise
            try:
                _, entered, rows, _ = self._flight(statements)
            except psycopg.OperationalError as error:
                raise DatabaseUnavailable from error
        self.caller = _caller(self.principal, entered[0])
        _record_login(self._database, self.principal, self._identity_key, entered[0])
        if self._admins_only and not self.caller.is_admin:
            raise Forbidden(ADMINS_ONLY)
        return rows

    def _flight(self, statements: Sequence[Statement]) -> list[list[Row]]:
        return _flight(self._database, self.principal, self._identity_key, statements)


class TenantTransaction(Executor):
    """A READ WRITE transaction as the principal. `tenant_transaction` makes it."""

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
    """Commits at the end of the block, rolls back if the block raises. If the connection is lost
    before the commit, raises DatabaseUnavailable (nothing was changed); if it is lost during the
    commit, raises OutcomeUnknown."""
    try:
        enter = _enter(principal, identity_key)
        _, entered = _flight(database, principal, identity_key, [BEGIN, enter])
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


def _flight(
    database: Database, principal: "Principal", identity_key: str, statements: Sequence[Statement]
) -> list[list[Row]]:
    """The rows of a flight that enters as the principal. If there is no such user, claims the
    invitation of the principal's confirmed e-mail address and sends the flight again."""
    try:
        return database.flight(statements)
    except psycopg.Error as error:
        is_unknown = error.diag.constraint_name == NotProvisioned.code
        if principal.confirmed_email is None or not is_unknown:
            raise
    _, [answer], _ = database.flight([BEGIN, _claim(principal, identity_key), COMMIT])
    if answer["claimed"]:
        logger.info("an invitation was claimed")
    # Also if the claim failed: another request of this user may have claimed it.
    return database.flight(statements)


def _enter(principal: "Principal", identity_key: str) -> Statement:
    expires = int(time.time()) + IDENTITY_SECONDS
    return (
        "SELECT role, client_id, last_login FROM app.enter(%(sub)s, %(exp)s, %(mac)s)",
        {
            "sub": principal.user_id,
            "exp": expires,
            "mac": _mac(identity_key, f"{principal.user_id}|{expires}"),
        },
    )


def _claim(principal: "Principal", identity_key: str) -> Statement:
    expires = int(time.time()) + IDENTITY_SECONDS
    email = principal.confirmed_email
    return (
        "SELECT app.claim_invitation(%(sub)s, %(exp)s, %(email)s, %(mac)s) AS claimed",
        {
            "sub": principal.user_id,
            "exp": expires,
            "email": email,
            "mac": _mac(identity_key, f"claim|{principal.user_id}|{expires}|{email}"),
        },
    )


def _mac(identity_key: str, message: str) -> str:
    return hmac.digest(identity_key.encode(), message.encode(), "sha256").hex()


def _caller(principal: "Principal", entered: Row) -> Caller:
    logger.append_keys(client_id=entered["client_id"] and str(entered["client_id"]))
    return Caller(principal.user_id, entered["role"] == "admin", entered["client_id"])


def _record_login(
    database: Database, principal: "Principal", identity_key: str, entered: Row
) -> None:
    """Stores the first use of a token in `last_login`. Later requests with the token need no
    further flight."""
    last_login = entered["last_login"]
    if last_login is not None and last_login.timestamp() >= principal.issued_at:
        return
    try:
        database.flight([BEGIN, _enter(principal, identity_key), RECORD_LOGIN, COMMIT])
    except (psycopg.Error, DatabaseUnavailable):
        logger.warning("last_login was not recorded", exc_info=True)


def _lost_connection(error: psycopg.OperationalError) -> bool:
    # Errors of a server that stays up (timeouts, locks, resources) have other SQLSTATEs. A dead
    # socket has none, 57P is a server that shuts down, 08 is a connection error.
    return error.sqlstate is None or error.sqlstate.startswith(("57P", "08"))
