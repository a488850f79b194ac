"""Bearer token → Principal. The algorithm family is fixed by configuration, never by the token."""

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen
from uuid import UUID

import jwt

from masstock.config import ApiSettings
from masstock.errors import IdentityProviderUnavailable, Unauthenticated
from masstock.secrets import SecretUnavailable, read_secret
from masstock.telemetry import logger

ASYMMETRIC = frozenset({"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "EdDSA"})
REQUIRED_CLAIMS = ["sub", "exp", "iss", "aud"]
# Longer than any real token (a few KB); refusing early keeps garbage cheap.
MAX_TOKEN_LENGTH = 16_384
CLOCK_SKEW_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sent the request, as the token says. Role and client come from the database."""

    user_id: UUID
    # Unix seconds; 0 where the token does not say.
    issued_at: int


def authenticate(authorization: str | None, settings: ApiSettings) -> Principal:
    """The principal of an Authorization header; raises Unauthenticated saying what is wrong, or
    IdentityProviderUnavailable."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("Send an Authorization header: Bearer <token>.")
    if len(token) > MAX_TOKEN_LENGTH:
        raise Unauthenticated("The token is too long.")
    claims = _verify(token.strip(), settings)
    try:
        return Principal(UUID(claims["sub"]), int(claims.get("iat", 0)))
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise Unauthenticated("The token's sub is not a user id.") from error


def _verify(token: str, settings: ApiSettings) -> dict[str, Any]:
    try:
        if settings.jwt_jwks_url:
            key = _signing_key(token, settings.jwt_jwks_url)
            algorithms = [key.algorithm_name]
            secret: Any = key.key
        else:
            algorithms = ["HS256"]
            secret = read_secret(settings.jwt_secret_id)
        return jwt.decode(
            token,
            secret,
            algorithms=algorithms,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            leeway=CLOCK_SKEW_SECONDS,
            options={"require": REQUIRED_CLAIMS},
        )
    except SecretUnavailable as error:
        raise IdentityProviderUnavailable from error
    except jwt.ExpiredSignatureError as error:
        raise Unauthenticated("The token has expired.") from error
    except (jwt.InvalidTokenError, jwt.InvalidKeyError, ValueError) as error:
        # The library's message would tell a forger what to try next.
        raise Unauthenticated("The token is not valid here.") from error


# --- the issuer's keys, kept across invocations ----------------------------------------------

REFRESH_SECONDS = 60
FETCH_TIMEOUT_SECONDS = 5

_keys: dict[str, jwt.PyJWK] = {}
_fetched_at = float("-inf")


def _signing_key(token: str, jwks_url: str) -> jwt.PyJWK:
    """The key that the token names. An unknown name refreshes the set, at most once a minute, so
    that forged names cannot make us hammer the issuer; a failed refresh keeps the last good set."""
    global _fetched_at  # noqa: PLW0603 - the cache of one process
    key_id = jwt.get_unverified_header(token).get("kid")
    if not isinstance(key_id, str):
        raise jwt.InvalidTokenError("no kid")
    if key_id not in _keys and time.monotonic() - _fetched_at > REFRESH_SECONDS:
        try:
            fresh = _fetch_keys(jwks_url)
        except Exception as error:  # an issuer can fail in more ways than we could list
            logger.warning("the issuer's keys could not be fetched", exc_info=True)
            if not _keys:
                raise IdentityProviderUnavailable from error
        else:
            _keys.clear()
            _keys.update(fresh)
        _fetched_at = time.monotonic()
    if key_id not in _keys:
        raise jwt.InvalidTokenError("unknown kid")
    return _keys[key_id]


def _fetch_keys(jwks_url: str) -> dict[str, jwt.PyJWK]:
    """The issuer's public keys for signatures, by name; what else it publishes verifies nothing."""
    # The scheme is the operator's choice; plain http serves the stack on one machine.
    with urlopen(jwks_url, timeout=FETCH_TIMEOUT_SECONDS) as response:  # noqa: S310
        published: list[dict[str, Any]] = json.load(response)["keys"]
    keys: dict[str, jwt.PyJWK] = {}
    for jwk in published:
        # A key that we cannot read must not hide the others.
        with suppress(Exception):
            key = jwt.PyJWK(jwk)
            if key.algorithm_name in ASYMMETRIC and jwk.get("use", "sig") == "sig":
                keys[jwk["kid"]] = key
    if not keys:
        raise ValueError("no usable keys")
    return keys
