"""Sealing of tenants' API keys: AES-256-GCM, bound to the client and the execution they belong to.

A sealed value is `v1.{key id}.{nonce}.{ciphertext}`, the last two in unpadded base64url. The keys
come as the JSON secret `{"current": "k2", "k1": "…", "k2": "…"}`: new values are sealed with the
current one, the others still open what they sealed.
"""

import base64
import hashlib
import json
import os
from functools import lru_cache
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from masstock.errors import ApiKeyUnreadable

VERSION = "v1"
NONCE_BYTES = 12


def seal(plaintext: str, client_id: UUID, execution_id: UUID, keys: str) -> str:
    """The sealed value of `plaintext`; `keys` is the text of the sealing secret."""
    key_id: str = json.loads(keys)["current"]
    nonce = os.urandom(NONCE_BYTES)
    ciphertext = _cipher(keys, key_id).encrypt(
        nonce, plaintext.encode(), _bound_to(key_id, client_id, execution_id)
    )
    return ".".join((VERSION, key_id, _encode(nonce), _encode(ciphertext)))


def unseal(sealed: str, client_id: UUID, execution_id: UUID, keys: str) -> str:
    """What `seal` was given; raises ApiKeyUnreadable if the value was altered, moved to another
    client or execution, or sealed with a key that is gone."""
    try:
        version, key_id, nonce, ciphertext = sealed.split(".")
        if version != VERSION or key_id == "current":  # a label beside the keys, itself no key
            raise ApiKeyUnreadable
        plaintext = _cipher(keys, key_id).decrypt(
            _decode(nonce), _decode(ciphertext), _bound_to(key_id, client_id, execution_id)
        )
        return plaintext.decode()
    except (InvalidTag, ValueError, KeyError) as error:
        raise ApiKeyUnreadable from error


@lru_cache(maxsize=8)
def _cipher(keys: str, key_id: str) -> AESGCM:
    # A secret is 64 random characters, not 32 bytes: hashed, all of its entropy counts.
    return AESGCM(hashlib.sha256(json.loads(keys)[key_id].encode()).digest())


def _bound_to(key_id: str, client_id: UUID, execution_id: UUID) -> bytes:
    return f"{VERSION}|{key_id}|{client_id}|{execution_id}".encode()


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # Base64 spells the same bytes in several ways; an altered value must be none of them.
    if _encode(raw) != text:
        raise ValueError
    return raw
