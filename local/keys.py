"""Keys and passwords of the stack, created once and kept under LOCAL_DIR, and its tokens."""

import json
import secrets
import string
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from local.processes.files import write_private

# A constant: a restart may change every port, and old tokens must stay valid.
ISSUER = "https://identity.masstock.local"
AUDIENCE = "authenticated"
KEY_ID = "local-1"
TOKEN_DAYS = 30
ALPHANUMERICS = string.ascii_letters + string.digits

# Users of sql/seed.sql.
USERS = {
    "admin": "ad000000-e89b-42d3-a456-426614174010",
    "client_a": "123e4567-e89b-12d3-a456-426614174000",
    "client_b": "b0b00000-e89b-42d3-a456-426614174012",
}


class Keys:
    """Every secret of the stack, each created at its first use."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def secret(self, name: str) -> str:
        """Return 64 random letters and digits, the same for the same name."""
        return self._kept(name, lambda: "".join(secrets.choice(ALPHANUMERICS) for _ in range(64)))

    def sealing_keys(self) -> str:
        """Return the sealing secret as Secrets Manager stores it."""
        first = json.dumps({"current": "k1", "k1": self.secret("sealing-k1")})
        return self._kept("sealing-keys", lambda: first)

    def keep_sealing_keys(self, keys: str) -> None:
        """Store the sealing secret, so that the next start uses it."""
        write_private(self._directory / "sealing-keys", keys)

    def key_set(self) -> dict[str, Any]:
        """Return the issuer's public key as a JWK set."""
        key = ECAlgorithm.to_jwk(self._signing_key().public_key(), as_dict=True)
        return {"keys": [{**key, "kid": KEY_ID, "alg": "ES256", "use": "sig"}]}

    def mint(self, user_id: str, **more: Any) -> str:
        """Return a bearer token for the user, as the identity provider would issue it. `more` are
        further claims."""
        now = int(time.time())
        claims = {
            "sub": user_id,
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + TOKEN_DAYS * 86400,
            **more,
        }
        return jwt.encode(claims, self._signing_key(), "ES256", headers={"kid": KEY_ID})

    def _signing_key(self) -> ec.EllipticCurvePrivateKey:
        pem = self._kept("jwt.pem", _new_signing_key)
        key = serialization.load_pem_private_key(pem.encode(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key

    def _kept(self, name: str, make: Any) -> str:
        path = self._directory / name
        if not path.exists():
            write_private(path, make())
        return path.read_text()


def _new_signing_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
