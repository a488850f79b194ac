"""Encrypts clients' API keys with AES-256-GCM, bound to their client and execution.

A sealed value is `v1.{key id}.{nonce}.{ciphertext}`. Nonce and ciphertext are base64url without
padding. The sealing secret is JSON: `{"current": "k2", "k1": "…", "k2": "…"}`. `current` names the
key that seals new values. The other keys still decrypt the values that they sealed.
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
    """The sealed value of `plaintext`. `keys` is the text of the sealing secret."""
    key_id: str = json.loads(keys)["current"]
    nonce = os.urandom(NONCE_BYTES)
    ciphertext = _cipher(keys, key_id).encrypt(
        nonce, plaintext.encode(), _bound_to(key_id, client_id, execution_id)
    )
    return ".".join((VERSION, key_id, _encode(nonce), _encode(ciphertext)))


def unseal(sealed: str, client_id: UUID, execution_id: UUID, keys: str) -> str:
    """The plaintext of a sealed value. Raises ApiKeyUnreadable if the value was altered, moved to
    another client or execution, or sealed with a key that was removed."""
    try:
        version, key_id, nonce, ciphertext = sealed.split(".")
        if version != VERSION or key_id == "current":  # a member of the secret, but not a key
            raise ApiKeyUnreadable
        plaintext = _cipher(keys, key_id).decrypt(
            _decode(nonce), _decode(ciphertext), _bound_to(key_id, client_id, execution_id)
        )
        return plaintext.decode()
    except (InvalidTag, ValueError, KeyError) as error:
        raise ApiKeyUnreadable from error


@lru_cache(maxsize=8)
def _cipher(keys: str, key_id: str) -> AESGCM:
    # A key is 64 random characters. AES needs 32 bytes; the hash keeps the entropy of all 64.
    return AESGCM(hashlib.sha256(json.loads(keys)[key_id].encode()).digest())


def _bound_to(key_id: str, client_id: UUID, execution_id: UUID) -> bytes:
    return f"{VERSION}|{key_id}|{client_id}|{execution_id}".encode()


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # Several base64 texts decode to the same bytes. Only the text that `_encode` makes is valid.
    if _encode(raw) != text:
        raise ValueError
    return raw
