"""The issuer's public keys (RFC 7517), cached across invocations."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import jwt
from jwt.algorithms import OKPAlgorithm

from masstock.errors import IdentityProviderUnavailable
from masstock.services.https import connect_to
from masstock.telemetry import logger

# A key that the issuer withdraws is refused after five minutes at the latest. The keys are fetched
# again a minute earlier, so that a failed fetch can be repeated once in time.
REFRESH_SECONDS = 240
# So long keys stay in use while the issuer fails.
KEPT_SECONDS = 3600
# Between two fetches: neither a failing issuer nor forged tokens cause more. The second while there
# are no keys, so that no caller can sign in.
RETRY_SECONDS = 60
RETRY_WITHOUT_KEYS_SECONDS = 1
FETCH_TIMEOUT_SECONDS = 5
KEY_IDS_KEPT = 32

# RFC 9864 calls EdDSA with this curve by the curve's name. PyJWT knows only the older name.
ED25519 = ("EdDSA", "Ed25519")
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
ASYMMETRIC = frozenset({"ES256", "ES384", "ES512", *RSA, *ED25519})
with suppress(ValueError):  # a later PyJWT may know it
    jwt.register_algorithm("Ed25519", OKPAlgorithm())


@dataclass(frozen=True, slots=True, eq=False)
class VerificationKey:
    """A public key, and the algorithms of the tokens that it may verify."""

    key: Any
    algorithms: tuple[str, ...]


class _NoUsableKeys(Exception):
    pass


_keys: dict[str, VerificationKey] = {}
_fetched_at = _tried_at = float("-inf")


def signing_key(token: str, jwks_url: str) -> VerificationKey:
    """The key that the token names. Fetches the keys if they are old, or if the name is unknown, at
    most once in RETRY_SECONDS. A failed fetch keeps the last keys for KEPT_SECONDS. Raises
    jwt.InvalidTokenError, or IdentityProviderUnavailable if there are no keys."""
    key_id = _key_id(token)
    now = time.monotonic()
    is_old = now - _fetched_at > REFRESH_SECONDS
    may_fetch = now - _tried_at > (RETRY_SECONDS if _keys else RETRY_WITHOUT_KEYS_SECONDS)
    if may_fetch and (is_old or key_id not in _keys):
        _refresh(jwks_url, now)
    if not _keys:
        raise IdentityProviderUnavailable
    if key_id not in _keys:
        raise jwt.InvalidTokenError("unknown kid")
    return _keys[key_id]


def _refresh(jwks_url: str, now: float) -> None:
    global _fetched_at, _tried_at  # noqa: PLW0603 - the cache of one process
    _tried_at = now
    try:
        fresh = _fetch_keys(jwks_url)
    except _NoUsableKeys:
        # What the issuer has withdrawn ends, even if nothing replaces it.
        logger.exception("the issuer's key set has no usable key")
        fresh = {}
    except Exception:  # an issuer can fail in many ways
        logger.warning("the issuer's keys could not be fetched", exc_info=True)
        if now - _fetched_at <= KEPT_SECONDS:
            return
        fresh = {}
    else:
        _fetched_at = now
    _keys.clear()
    _keys.update(fresh)


@lru_cache(maxsize=KEY_IDS_KEPT)
def _key_id(token: str) -> str:
    key_id = jwt.get_unverified_header(token).get("kid")
    if not isinstance(key_id, str):
        raise jwt.InvalidTokenError("no kid")
    return key_id


def _fetch_keys(jwks_url: str) -> dict[str, VerificationKey]:
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
    if not isinstance(published, list):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError("keys is not a list")
    keys: dict[str, VerificationKey] = {}
    for jwk in published:
        # One unreadable key must not make the others unusable.
        with suppress(Exception):
            if isinstance(jwk["kid"], str) and jwk.get("use", "sig") == "sig":
                keys[jwk["kid"]] = _read(jwk)
    if not keys:
        raise _NoUsableKeys(f"published keys: {len(published)}")
    return keys


def _read(jwk: Mapping[str, Any]) -> VerificationKey:
    """The key with its own algorithm. An RSA key without `alg` may verify each RSA algorithm, as
    the standard says. Raises an exception for keys that verify no signature."""
    named = jwk.get("alg")
    if named in ED25519 and jwk.get("crv") == "Ed25519":
        named = "EdDSA"
    read = jwt.PyJWK(dict(jwk), algorithm=named)
    if read.algorithm_name not in ASYMMETRIC:
        raise ValueError(f"unusable algorithm {read.algorithm_name}")
    algorithms = (read.algorithm_name,)
    if named is None and jwk["kty"] == "RSA":
        algorithms = RSA
    elif jwk.get("crv") == "Ed25519":
        algorithms = ED25519
    return VerificationKey(read.key, algorithms)
