"""Verifies bearer tokens. The configuration decides the algorithm family; the token does not."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

import jwt

from masstock.errors import IdentityProviderUnavailable, Unauthenticated
from masstock.services.key_sets import VerificationKey, signing_key
from masstock.services.secret_store import SecretUnavailable, read_secret
from masstock.settings import ApiSettings

REQUIRED_CLAIMS = ["sub", "exp", "iss", "aud"]
# Real tokens have a few KB. Longer ones are refused before any work on them.
MAX_TOKEN_LENGTH = 16_384
# `iat` and `nbf` may be so many seconds in the future, because the issuer's clock and ours differ.
CLOCK_SKEW_SECONDS = 30
# A token is accepted for so long after its expiry.
EXPIRY_GRACE_SECONDS = 10
TOKENS_KEPT = 32


@dataclass(frozen=True, slots=True)
class Principal:
    """The user in a valid token. Role and client come from the database."""

    user_id: UUID
    # Unix seconds; 0 if the token has no `iat`.
    issued_at: int
    # The e-mail address, if the configuration says that the issuer has confirmed it.
    confirmed_email: str | None = None


def authenticate(authorization: str | None, settings: ApiSettings) -> Principal:
    """The principal of an Authorization header. Raises Unauthenticated with the reason, or
    IdentityProviderUnavailable."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("Send an Authorization header: Bearer <token>.")
    if len(token) > MAX_TOKEN_LENGTH:
        raise Unauthenticated("The token is too long.")
    claims = _verify(token.strip(), settings)
    try:
        return Principal(
            UUID(claims["sub"]), int(claims.get("iat", 0)), _confirmed_email(claims, settings)
        )
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise Unauthenticated("The token's sub is not a user id.") from error


def _confirmed_email(claims: Mapping[str, Any], settings: ApiSettings) -> str | None:
    """Only claims on the top level count: users can write others, such as Supabase's
    `user_metadata`."""
    email = claims.get("email")
    if not isinstance(email, str) or not email.isprintable() or "@" not in email:
        return None
    match settings.confirmed_emails:
        case "claim":
            return email if claims.get("email_verified") is True else None
        case "always":
            # The issuer knows better about this address.
            return None if claims.get("email_verified") in (False, "false") else email
        case _:
            return None


def _verify(token: str, settings: ApiSettings) -> dict[str, Any]:
    try:
        key = (
            signing_key(token, settings.jwt_jwks_url)
            if settings.jwt_jwks_url
            else read_secret(settings.jwt_secret_id)
        )
        claims = _decode(token, key, settings.jwt_issuer, settings.jwt_audience)
        if int(claims["exp"]) <= time.time() - EXPIRY_GRACE_SECONDS:
            raise jwt.ExpiredSignatureError
    except SecretUnavailable as error:
        raise IdentityProviderUnavailable from error
    except jwt.ExpiredSignatureError as error:
        raise Unauthenticated("The token has expired.") from error
    except (jwt.InvalidTokenError, jwt.InvalidKeyError, ValueError) as error:
        # The library's message would help an attacker.
        raise Unauthenticated("The token is not valid here.") from error
    return claims


# A polling caller sends the same token many times. A cached result stays correct, because the key
# is part of the cache key and `_verify` checks the expiry again.
@lru_cache(maxsize=TOKENS_KEPT)
def _decode(token: str, key: VerificationKey | str, issuer: str, audience: str) -> dict[str, Any]:
    is_shared = isinstance(key, str)
    return jwt.decode(
        token,
        key if is_shared else key.key,
        algorithms=["HS256"] if is_shared else key.algorithms,
        issuer=issuer,
        audience=audience,
        leeway=CLOCK_SKEW_SECONDS,
        options={"require": REQUIRED_CLAIMS},
    )
