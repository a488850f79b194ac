"""Who is calling, and the database as they see it."""

from contextlib import AbstractContextManager
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from masstock.database.connection import Database
from masstock.database.queries import users
from masstock.database.tenants import Caller, TenantReader, TenantTransaction, tenant_transaction
from masstock.errors import (
    ADMINS_ONLY,
    BodyTooLarge,
    DatabaseUnavailable,
    Forbidden,
    InvalidCursor,
    MalformedJson,
    UnsupportedMediaType,
    ValidationFailed,
)
from masstock.services.secret_store import SecretUnavailable, read_secret
from masstock.services.tokens import Principal, authenticate
from masstock.settings import ApiSettings, read_settings
from masstock.telemetry import logger

# Of a request; the caller's own, and theirs to mend.
MISTAKES = (BodyTooLarge, InvalidCursor, MalformedJson, UnsupportedMediaType, ValidationFailed)

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
    """The secret shared with the database; signs identities and, for other uses of ours, values
    that only we must be able to make."""
    try:
        return read_secret(settings().identity_secret_id)
    except SecretUnavailable as error:
        raise DatabaseUnavailable from error


_identified: tuple[APIGatewayProxyEventV2, Principal] | None = None


def principal_of(event: APIGatewayProxyEventV2) -> Principal:
    """The request's principal; raises Unauthenticated. Asked again about the same event, it
    answers without another look at the token."""
    global _identified  # noqa: PLW0603 - never another event's
    if _identified is None or _identified[0] is not event:
        principal = authenticate(event.headers.get("authorization"), settings())
        logger.append_keys(user_id=str(principal.user_id))
        _identified = event, principal
    return _identified[1]


def reading(event: APIGatewayProxyEventV2) -> TenantReader:
    """The database, to read as the caller: one flight a query."""
    return TenantReader(database(), principal_of(event), signing_key())


def reading_as_admin(event: APIGatewayProxyEventV2) -> TenantReader:
    """The same, for administrators only: raises Forbidden instead of showing the caller's part."""
    return TenantReader(database(), principal_of(event), signing_key(), admins_only=True)


def writing(event: APIGatewayProxyEventV2) -> AbstractContextManager[TenantTransaction]:
    """The database, to write as the caller, in one transaction."""
    return tenant_transaction(database(), principal_of(event), signing_key())


def admins_first(app: APIGatewayHttpResolver, proceed: NextMiddleware) -> Response[Any]:
    """Middleware of routes for administrators: whoever is none is told that, and not what else is
    wrong with the request. A request without mistakes asks the database who it is anyway."""
    try:
        return proceed(app)  # pyright: ignore[reportUnknownVariableType]
    except MISTAKES:
        event = app.current_event
        users.fetch_profile(reading_as_admin(event), principal_of(event).user_id)
        raise


def require_admin(caller: Caller) -> None:
    """Raises Forbidden for client users. The database refuses them too; this says so before."""
    if not caller.is_admin:
        raise Forbidden(ADMINS_ONLY)
