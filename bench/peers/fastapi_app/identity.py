"""The caller of a request, and a transaction under the row security policies for this caller."""

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

# The client caches the keys across invocations.
jwks = jwt.PyJWKClient(os.environ["JWT_JWKS_URL"])
bearer = HTTPBearer()
_secrets: dict[str, str] = {}
_connection: psycopg.AsyncConnection[dict[str, Any]] | None = None


def secret(name: str) -> str:
    """Reads a secret from Lambda's Parameters and Secrets extension. Importing boto3 instead would
    cost more of the cold start than all other imports here."""
    if name not in _secrets:
        url = f"{os.environ['SECRETS_EXTENSION_URL']}/secretsmanager/get?secretId={quote(name, '')}"
        token = {"X-Aws-Parameters-Secrets-Token": os.environ.get("AWS_SESSION_TOKEN", "")}
        with urlopen(Request(url, headers=token), timeout=5) as response:
            _secrets[name] = json.load(response)["SecretString"]
    return _secrets[name]


class Principal(NamedTuple):
    """The user of a token."""

    user_id: UUID
    issued_at: int


# Async although it awaits nothing: FastAPI runs a plain function in a thread, which costs more.
async def principal(
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)],
) -> Principal:
    """Checks the token; 401 if our issuer did not sign it for us."""
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
    """The connection of this execution environment, which serves one request at a time."""
    global _connection  # noqa: PLW0603 - kept across invocations
    if _connection is None or _connection.closed:
        _connection = await psycopg.AsyncConnection[dict[str, Any]].connect(
            secret(os.environ["DATABASE_SECRET_ID"]),
            autocommit=True,
            row_factory=dict_row,
            # A pooler in transaction mode is in between, as for our api.
            prepare_threshold=None,
        )
    return _connection


class Tx:
    """A transaction as the caller."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """All rows of one statement."""
        return await (await self.connection.execute(query, values)).fetchall()


ENTER = "SELECT role, client_id, last_login FROM app.enter(%s, %s, %s)"


async def transaction(caller: Annotated[Principal, Depends(principal)]) -> AsyncIterator[Tx]:
    """Commits after the route function returns and before the response is sent."""
    connection = await connect()
    async with connection.transaction():
        entered = await _enter(connection, caller)
        yield Tx(connection)
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
