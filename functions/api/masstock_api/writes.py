"""Rules that creating routes share: the Idempotency-Key and the client of the new resource."""

from uuid import UUID, uuid4

from masstock.database.connection import Row
from masstock.database.queries import clients, idempotency_keys
from masstock.database.tenants import Caller, TenantTransaction
from masstock.errors import FieldError, Forbidden, ValidationFailed
from masstock_api.request import Request


def claim_id(
    tx: TenantTransaction, request: Request, wanted: UUID | None = None
) -> tuple[UUID, bool]:
    """The id of the resource that the request creates, and True if this request must create it.
    It is False if an earlier request with the same Idempotency-Key and body has created it. Raises
    IdempotencyKeyReused."""
    fresh_id = wanted or uuid4()
    key = request.idempotency_key
    if key is None:
        return fresh_id, True
    return idempotency_keys.claim_key(
        tx,
        client_id=tx.caller.client_id,
        user_id=tx.caller.user_id,
        route=f"{request.event.request_context.http.method} {request.event.path}",
        key=key,
        request_hmac=request.body_digest(),
        response_ref=fresh_id,
    )


def client_named_by(caller: Caller, named: UUID | None) -> UUID:
    """The client of a new resource: a client user's own client, or the client that an administrator
    names. Raises Forbidden or ValidationFailed."""
    if caller.client_id is not None:
        if named is not None:
            raise Forbidden("Only administrators may name a client_id.")
        return caller.client_id
    if named is None:
        raise ValidationFailed([FieldError("/client_id", "Administrators must name the client.")])
    return named


def active_client(tx: TenantTransaction, client_id: UUID) -> Row:
    """The active client with this id. Raises ValidationFailed if the caller sees no such client.
    Without this query, the error of the foreign key would show if a hidden client exists."""
    client = clients.fetch_active_client(tx, client_id)
    if client is None:
        raise ValidationFailed([FieldError("/client_id", "There is no such client.")])
    return client
