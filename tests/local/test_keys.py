"""Keys stay the same, and only their owner can read them."""

import os
import stat
from pathlib import Path

import jwt

from local.keys import AUDIENCE, ISSUER, KEY_ID, USERS, Keys


def test_keys_are_private_and_stay_the_same(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys")
    token = keys.mint(USERS["admin"])
    secret = keys.secret("identity-key")
    again = Keys(tmp_path / "keys")
    assert again.secret("identity-key") == secret
    assert len(secret) == 64
    assert secret.isalnum()
    (key,) = again.key_set()["keys"]
    assert key["kid"] == jwt.get_unverified_header(token)["kid"] == KEY_ID
    assert "d" not in key
    claims = jwt.decode(
        token, jwt.PyJWK(key), algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER
    )
    assert claims["sub"] == USERS["admin"]
    assert claims["exp"] - claims["iat"] >= 7 * 86400
    for path in (tmp_path / "keys").iterdir():
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
