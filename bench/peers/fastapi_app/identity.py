"""Who calls, and the transaction that sees what they may see."""

import hmac
import json
import os
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote
from urllib.request import Request, urlopen
from uuid import UUID

import jwt
import psycopg
from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from psycopg.rows import dict_row

# Keys are cached by the client across invocations.
jwks = jwt.PyJWKClient(os.environ["JWT_JWKS_URL"])
bearer = HTTPBearer()
_secrets: dict[str, str] = {}
_connection: psycopg.AsyncConnection[dict[str, Any]] | None = None


def secret(name: str) -> str:
    """A secret, by way of Lambda's Parameters and Secrets extension: without boto3, which would
    cost the cold start more than everything else here."""
    if name not in _secrets:
        url = f"{os.environ['SECRETS_EXTENSION_URL']}/secretsmanager/get?secretId={quote(name, '')}"
        token = {"X-Aws-Parameters-Secrets-Token": os.environ.get("AWS_SESSION_TOKEN", "")}
        with urlopen(Request(url, headers=token), timeout=5) as response:
            _secrets[name] = json.load(response)["SecretString"]
    return _secrets[name]


class Principal(NamedTuple):
    """Who the token speaks of."""

    user_id: UUID
    issued_at: int


# Not async without need: it awaits nothing, and a thread would cost more than it does.
async def principal(
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)],
) -> Principal:
    """401 where the token is none of our issuer's."""
    try:
        claims = jwt.decode(
            credentials.credentials,
            jwks.get_signing_key_from_jwt(credentials.credentials).key,
            algorithms=["ES256"],
            audience=os.environ["JWT_AUDIENCE"],
            issuer=os.environ["JWT_ISSUER"],
            leeway=10,
            options={"require": ["sub", "exp", "iss", "aud"]},
        )
        return Principal(UUID(claims["sub"]), int(claims.get("iat", 0)))
    except (jwt.PyJWTError, ValueError) as error:
        raise HTTPException(401, "The token is not valid here.") from error


async def connect() -> psycopg.AsyncConnection[dict[str, Any]]:
    """The connection of this execution environment: one request at a time needs no pool."""
    global _connection  # noqa: PLW0603 - kept across invocations
    if _connection is None or _connection.closed:
        _connection = await psycopg.AsyncConnection[dict[str, Any]].connect(
            secret(os.environ["DATABASE_SECRET_ID"]),
            autocommit=True,
            row_factory=dict_row,
            # A transaction-mode pooler stands between, as for us.
            prepare_threshold=None,
        )
    return _connection


class Tx:
    """A transaction as the caller."""

    def __init__(self, connection: Any, user_id: UUID, entered: dict[str, Any]) -> None:
        self.connection = connection
        self.user_id = user_id
        self.is_admin = entered["role"] == "admin"
        self.client_id: UUID | None = entered["client_id"]

    async def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """All rows."""
        return await (await self.connection.execute(query, values)).fetchall()

    async def row(self, query: str, **values: Any) -> dict[str, Any]:
        """The one row; 404 where there is none."""
        row = await (await self.connection.execute(query, values)).fetchone()
        if row is None:
            raise HTTPException(404, "There is no such resource, or it is not yours.")
        return row

    async def run(self, query: str, **values: Any) -> int:
        """How many rows a statement without an answer touched."""
        return (await self.connection.execute(query, values)).rowcount

    def for_admins(self) -> None:
        """403 for everybody else."""
        if not self.is_admin:
            raise HTTPException(403, "Only administrators may do this.")

    def client_named(self, named: UUID | None) -> UUID:
        """The caller's own client, or the one that an administrator names."""
        if self.client_id is not None and named is None:
            return self.client_id
        self.for_admins()
        if named is None:
            raise HTTPException(422, "Administrators must name the client.")
        return named


ENTER = "SELECT role, client_id, last_login FROM app.enter(%s, %s, %s)"


async def transaction(caller: Annotated[Principal, Depends(principal)]) -> AsyncIterator[Tx]:
    """Committed when the route has returned, before the answer leaves."""
    connection = await connect()
    async with connection.transaction():
        entered = await _enter(connection, caller)
        yield Tx(connection, caller.user_id, entered)
    if entered["last_login"] is None or entered["last_login"].timestamp() < caller.issued_at:
        async with connection.transaction():
            await _enter(connection, caller)
            await connection.execute("SELECT app.record_login()")


async def _enter(connection: Any, caller: Principal) -> dict[str, Any]:
    expires = int(time.time()) + 120
    key = secret(os.environ["IDENTITY_SECRET_ID"]).encode()
    mac = hmac.digest(key, f"{caller.user_id}|{expires}".encode(), "sha256").hex()
    return await (await connection.execute(ENTER, [caller.user_id, expires, mac])).fetchone()


Transaction = Annotated[Tx, Depends(transaction, scope="function")]
