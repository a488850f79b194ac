"""Verifies bearer tokens. The configuration decides the algorithm family; the token does not."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import jwt

from masstock.errors import IdentityProviderUnavailable, Unauthenticated
from masstock.services.https import connect_to
from masstock.services.secret_store import SecretUnavailable, read_secret
from masstock.settings import ApiSettings
from masstock.telemetry import logger

ASYMMETRIC = frozenset({"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "EdDSA"})
REQUIRED_CLAIMS = ["sub", "exp", "iss", "aud"]
# Real tokens have a few KB. Longer ones are refused before any work on them.
MAX_TOKEN_LENGTH = 16_384
# `iat` and `nbf` may be so far in the future: the issuer's clock and ours differ.
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
            return email
        case _:
            return None


def _verify(token: str, settings: ApiSettings) -> dict[str, Any]:
    try:
        key = (
            _signing_key(token, settings.jwt_jwks_url)
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
def _decode(token: str, key: jwt.PyJWK | str, issuer: str, audience: str) -> dict[str, Any]:
    is_shared = isinstance(key, str)
    return jwt.decode(
        token,
        key if is_shared else key.key,
        algorithms=["HS256" if is_shared else key.algorithm_name],
        issuer=issuer,
        audience=audience,
        leeway=CLOCK_SKEW_SECONDS,
        options={"require": REQUIRED_CLAIMS},
    )


# --- the issuer's keys, cached across invocations --------------------------------------------

REFRESH_SECONDS = 60
FETCH_TIMEOUT_SECONDS = 5

_keys: dict[str, jwt.PyJWK] = {}
_fetched_at = float("-inf")


def _signing_key(token: str, jwks_url: str) -> jwt.PyJWK:
    """The key that the token names. An unknown name refreshes the keys, at most once a minute, so
    that forged tokens do not cause more requests. A failed refresh keeps the last keys."""
    global _fetched_at  # noqa: PLW0603 - the cache of one process
    key_id = _key_id(token)
    if key_id not in _keys and time.monotonic() - _fetched_at > REFRESH_SECONDS:
        try:
            fresh = _fetch_keys(jwks_url)
        except Exception as error:  # an issuer can fail in many ways
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


@lru_cache(maxsize=TOKENS_KEPT)
def _key_id(token: str) -> str:
    key_id = jwt.get_unverified_header(token).get("kid")
    if not isinstance(key_id, str):
        raise jwt.InvalidTokenError("no kid")
    return key_id


def _fetch_keys(jwks_url: str) -> dict[str, jwt.PyJWK]:
    """The issuer's public signature keys by name. Other published keys are ignored."""
    url = urlsplit(jwks_url)
    connection = connect_to(url, FETCH_TIMEOUT_SECONDS)
    try:
        connection.request("GET", f"{url.path or '/'}?{url.query}".rstrip("?"))
        response = connection.getresponse()
        if response.status != 200:
            raise ValueError(f"status {response.status}")
        published: list[dict[str, Any]] = json.load(response)["keys"]
    finally:
        connection.close()
    keys: dict[str, jwt.PyJWK] = {}
    for jwk in published:
        # One unreadable key must not make the others unusable.
        with suppress(Exception):
            key = jwt.PyJWK(jwk)
            if key.algorithm_name in ASYMMETRIC and jwk.get("use", "sig") == "sig":
                keys[jwk["kid"]] = key
    if not keys:
        raise ValueError("no usable keys")
    return keys
