"""Statements on idempotency_keys."""

from uuid import UUID

from masstock.database.connection import Executor, Statement
from masstock.errors import IdempotencyKeyReused


def claim_key(
    tx: Executor,
    *,
    client_id: UUID | None,
    user_id: UUID,
    route: str,
    key: str,
    request_hmac: str,
    response_ref: UUID,
) -> tuple[UUID, bool]:
    """Returns the id of the resource that belongs to the key, and True for the first request with
    the key. The first request must create the resource `response_ref` in this transaction. Later
    requests wait until it commits, and get the same id. Raises IdempotencyKeyReused if the key was
    used with another body."""
    while True:
        created = tx.fetch_all(
            """
            INSERT INTO public.idempotency_keys
                (client_id, user_id, route, key, request_hmac, response_ref)
            VALUES
                (%(client_id)s, %(user_id)s, %(route)s, %(key)s, %(request_hmac)s, %(response_ref)s)
            ON CONFLICT DO NOTHING RETURNING response_ref
            """,
            client_id=client_id,
            user_id=user_id,
            route=route,
            key=key,
            request_hmac=request_hmac,
            response_ref=response_ref,
        )
        if created:
            return response_ref, True
        known = tx.fetch_all(
            """
            SELECT request_hmac, response_ref FROM public.idempotency_keys
            WHERE user_id = %(user_id)s AND route = %(route)s AND key = %(key)s
            """,
            user_id=user_id,
            route=route,
            key=key,
        )
        # No row: the key had expired, and the sweep deleted it between the two statements.
        if known:
            break
    if known[0]["request_hmac"] != request_hmac:
        raise IdempotencyKeyReused
    return known[0]["response_ref"], False


def forget_expired_keys() -> Statement:
    """Deletes keys that are older than 24 hours."""
    return ("DELETE FROM public.idempotency_keys WHERE expires_at < now()", {})
