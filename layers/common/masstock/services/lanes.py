"""Whose quota a submission uses: the key of its lane.

Submissions with one API key share its quota. A client can name a lane, because several keys of one
project share a quota too. The hash needs a secret, so nobody can test guesses of a key against it.
"""

import hmac
import json
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def lane_key(api_key: str | None, name: str | None, client_id: UUID, keys: str) -> UUID | None:
    """The lane key of a submission. None for the platform's quota, which no name reaches. Names are
    the client's own. `keys` is the text of the sealing secret; after its rotation new submissions
    get new lanes, which learn their limits anew."""
    if api_key is None:
        return None
    named = ["name", str(client_id), name] if name is not None else ["key", api_key]
    digest = hmac.digest(_subkey(keys), json.dumps(named).encode(), "sha256")
    return UUID(bytes=digest[:16])


def _subkey(keys: str) -> bytes:
    secrets: dict[str, str] = json.loads(keys)
    secret = secrets[secrets["current"]].encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"masstock lane").derive(secret)
