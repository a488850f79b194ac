"""What every write shares: creating once per Idempotency-Key, and preconditions."""

import hmac
from collections.abc import Callable
from uuid import UUID, uuid4

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from masstock.database.connection import Row
from masstock.database.queries import clients, idempotency_keys
from masstock.database.tenants import Caller, TenantTransaction
from masstock.errors import FieldError, Forbidden, PreconditionFailed, ValidationFailed
from masstock_api import session
from masstock_api.request import idempotency_key, raw_body
from masstock_api.responses import etag_of


def create_once(
    tx: TenantTransaction,
    event: APIGatewayProxyEventV2,
    create: Callable[[UUID], None],
    new_id: UUID | None = None,
) -> tuple[UUID, bool]:
    """The id of the resource that the request creates, and whether this request is the one that
    created it: of several with one Idempotency-Key and body, one is. Raises
    IdempotencyKeyReused."""
    resource_id = fresh_id = new_id or uuid4()
    key = idempotency_key(event)
    if key is not None:
        resource_id = idempotency_keys.claim_key(
            tx,
            client_id=tx.caller.client_id,
            user_id=tx.caller.user_id,
            route=f"{event.request_context.http.method} {event.path}",
            key=key,
            request_hmac=_digest(event),
            response_ref=fresh_id,
        )
    is_new = resource_id == fresh_id
    if is_new:
        create(fresh_id)
    return resource_id, is_new


def _digest(event: APIGatewayProxyEventV2) -> str:
    # Keyed: a body may hold an API key, and a plain hash of it could be guessed at.
    message = b"request|" + raw_body(event)
    return hmac.digest(session.signing_key().encode(), message, "sha256").hex()


def check_precondition(event: APIGatewayProxyEventV2, current: str) -> None:
    """Raises PreconditionFailed where If-Match names another version than the current JSON."""
    wanted = event.headers.get("if-match")
    if wanted is None or wanted.strip() == "*":
        return
    # Weak tags compare here too: one version of a row has one JSON text.
    tags = {tag.strip().removeprefix("W/") for tag in wanted.split(",")}
    if etag_of(current).removeprefix("W/") not in tags:
        raise PreconditionFailed


def client_named_by(caller: Caller, named: UUID | None) -> UUID:
    """The client that a new resource belongs to: the caller's own, or the one that an
    administrator names."""
    if caller.client_id is not None:
        if named is not None:
            raise Forbidden("Only administrators may name a client_id.")
        return caller.client_id
    if named is None:
        raise ValidationFailed([FieldError("/client_id", "Administrators must name the client.")])
    return named


def active_client(tx: TenantTransaction, client_id: UUID) -> Row:
    """The client of that id, for whom something may be created; raises ValidationFailed. Asked
    through the policies, before a foreign key could tell that a hidden row exists."""
    client = clients.fetch_active_client(tx, client_id)
    if client is None:
        raise ValidationFailed([FieldError("/client_id", "There is no such client.")])
    return client
