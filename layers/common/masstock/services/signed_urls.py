"""URLs of objects that need no token, the same for every read in a period of 15 minutes, so that
a browser downloads each image once, and goes on with a download that was interrupted.

boto3 signs with the present second, so each of its URLs differs. These are signed with the
beginning of the period, with AWS Signature Version 4 (Amazon S3 API Reference, "Authenticating
Requests: Using Query Parameters").
"""

import hashlib
import hmac
import time
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, urlsplit

from masstock.services.credentials import read_credentials
from masstock.services.s3_client import URL_SECONDS, bucket_address, region_name

# A new URL is valid for this time and the rest of its period.
PERIOD_SECONDS = URL_SECONDS
VALID_SECONDS = PERIOD_SECONDS + URL_SECONDS


def period() -> int:
    """The number of the present period."""
    return int(time.time() // PERIOD_SECONDS)


def expiry() -> datetime:
    """When the URLs of the present period stop working."""
    return datetime.fromtimestamp(period() * PERIOD_SECONDS + VALID_SECONDS, UTC)


def plain_url(bucket: str, key: str) -> str:
    """The URL of an object without a signature."""
    return bucket_address(bucket) + quote(key, safe="/~")


def signed_url(bucket: str, key: str, file_name: str | None = None, *, shown: bool = True) -> str:
    """The signed URL of an object. Browsers save the object as `file_name`; with `shown`, they show
    it first. Raises CredentialsUnavailable."""
    url = plain_url(bucket, key)
    credentials = read_credentials()
    began = datetime.fromtimestamp(period() * PERIOD_SECONDS, UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{began[:8]}/{region_name()}/s3/aws4_request"
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": began,
        "X-Amz-Expires": str(VALID_SECONDS),
    }
    if credentials.token:
        query["X-Amz-Security-Token"] = credentials.token
    query["X-Amz-SignedHeaders"] = "host"
    if file_name is not None:
        query["response-content-disposition"] = _disposition(file_name, shown=shown)
    # In the order of their names, as the signature needs them.
    pairs = "&".join(f"{name}={quote(value, safe='~')}" for name, value in query.items())
    parts = urlsplit(url)
    canonical = f"GET\n{parts.path}\n{pairs}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{began}\n{scope}\n{digest}"
    signature = hmac.digest(_key(credentials.secret_key, scope), to_sign.encode(), "sha256").hex()
    return f"{url}?{pairs}&X-Amz-Signature={signature}"


def _disposition(file_name: str, *, shown: bool) -> str:
    """What a browser does with the object, and the name under which it saves it (RFC 6266)."""
    kind = "inline" if shown else "attachment"
    plain = "".join(c if " " <= c < "\x7f" and c not in '"\\%' else "_" for c in file_name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"


@lru_cache(maxsize=4)
def _key(secret_key: str, scope: str) -> bytes:
    key = b"AWS4" + secret_key.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
