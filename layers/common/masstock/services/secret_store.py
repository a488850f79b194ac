"""Reads secrets from Secrets Manager without boto3. Every cold start reads a secret, and importing
boto3 takes longer than all other imports of a function together (docs/decisions.md)."""

import hashlib
import hmac
import json
import os
import time
from datetime import UTC, datetime
from http.client import HTTPException
from urllib.parse import urlsplit

from masstock.services.credentials import (
    CredentialsUnavailable,
    forget_credentials,
    read_credentials,
)
from masstock.services.https import connect_to

CACHE_SECONDS = 300
TIMEOUT_SECONDS = 5
# Partitions whose hosts do not end in amazonaws.com, by the beginning of their regions' names.
OTHER_DOMAINS = {
    "cn-": "amazonaws.com.cn",
    "eusc-": "amazonaws.eu",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "eu-isoe-": "cloud.adc-e.uk",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isof-": "csp.hci.ic.gov",
}

_cache: dict[str, tuple[float, str]] = {}


class SecretUnavailable(Exception):
    """A secret could not be read."""


def read_secret(secret_id: str) -> str:
    """The secret's string, at most 5 minutes old. Raises SecretUnavailable."""
    cached = _cache.get(secret_id)
    if cached and cached[0] > time.monotonic():
        return cached[1]
    value = _fetch_secret(secret_id)
    _cache[secret_id] = (time.monotonic() + CACHE_SECONDS, value)
    return value


def forget_secrets() -> None:
    """Empties the cache. Call this when a cached credential was refused."""
    _cache.clear()
    forget_credentials()


def _fetch_secret(secret_id: str) -> str:
    region = os.environ["AWS_REGION"]
    endpoint = os.environ.get(
        "AWS_ENDPOINT_URL_SECRETS_MANAGER", f"https://secretsmanager.{region}.{_domain(region)}"
    )
    url = urlsplit(endpoint)
    body = json.dumps({"SecretId": secret_id}).encode()
    connection = connect_to(url, TIMEOUT_SECONDS)
    try:
        connection.request("POST", "/", body, _sign(url.netloc, region, body, datetime.now(UTC)))
        response = connection.getresponse()
        answer: dict[str, str] = json.loads(response.read())
        if response.status == 200:
            return answer["SecretString"]
        reason = answer.get("__type", response.status)
    except CredentialsUnavailable as error:
        raise SecretUnavailable(f"{secret_id}: {error}") from error
    except (OSError, HTTPException, ValueError, LookupError, TypeError, AttributeError) as error:
        raise SecretUnavailable(f"{secret_id}: {type(error).__name__}") from error
    finally:
        connection.close()
    # The reason may be expired credentials, although their expiry says otherwise.
    forget_credentials()
    raise SecretUnavailable(f"{secret_id}: {reason}")


def _domain(region: str) -> str:
    return next(
        (domain for prefix, domain in OTHER_DOMAINS.items() if region.startswith(prefix)),
        "amazonaws.com",
    )


def _sign(host: str, region: str, body: bytes, now: datetime) -> dict[str, str]:
    """Headers of a GetSecretValue call with AWS Signature Version 4 (IAM User Guide, "Create a
    signed AWS API request"). Raises CredentialsUnavailable."""
    credentials = read_credentials()
    timestamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{timestamp[:8]}/{region}/secretsmanager/aws4_request"
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": host,
        "x-amz-date": timestamp,
        "x-amz-target": "secretsmanager.GetSecretValue",
    }
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    to_sign = "\n".join(
        ("AWS4-HMAC-SHA256", timestamp, scope, hashlib.sha256(canonical.encode()).hexdigest())
    )
    key = b"AWS4" + credentials.secret_key.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return headers
