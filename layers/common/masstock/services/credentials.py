"""The AWS credentials of a function, without boto3 (decision 15 in docs/decisions.md).

Lambda sets key variables. With SnapStart it sets the address of a credentials endpoint instead,
because keys inside a snapshot would expire before a restore. The order is botocore's, so requests
signed here and by boto3 have the same signer.
"""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from masstock.services.https import connect_to

TIMEOUT_SECONDS = 2
# A presigned URL lives no longer than its signer: the URLs of images live for up to 30 minutes
# (signed_urls). botocore refreshes 15 minutes before the expiry.
REFRESH_BEFORE = timedelta(minutes=30)
# Hosts of the container endpoints of ECS and EKS, besides this machine's own addresses.
PLAIN_HTTP_HOSTS = ("localhost", "169.254.170.2", "169.254.170.23", "fd00:ec2::23")


class CredentialsUnavailable(Exception):
    """There are no credentials. The message never contains a key or a token."""


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Keys that sign requests. `token` is None for keys of a user, which do not expire."""

    access_key: str
    secret_key: str
    token: str | None


# Endpoint → credentials and their expiry. The expiry is wall-clock time, which is right after a
# restore; a monotonic clock stands still while a snapshot is stored.
_cache: dict[str, tuple[datetime, Credentials]] = {}


def read_credentials() -> Credentials:
    """The key variables, or the credentials of the endpoint, which are refreshed 30 minutes before
    they expire. A failed refresh keeps credentials that are still valid. Raises
    CredentialsUnavailable."""
    if access_key := os.environ.get("AWS_ACCESS_KEY_ID"):
        secret_key = os.environ.get("AWS_SECRET_ACCESS_KEY")
        if not secret_key:
            raise CredentialsUnavailable("AWS_SECRET_ACCESS_KEY is missing")
        return Credentials(access_key, secret_key, os.environ.get("AWS_SESSION_TOKEN") or None)
    endpoint = os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if not endpoint:
        raise CredentialsUnavailable("no credentials")
    expires_at, cached = _cache.get(endpoint, (datetime.min.replace(tzinfo=UTC), None))
    now = datetime.now(UTC)
    if cached is not None and now < expires_at - REFRESH_BEFORE:
        return cached
    try:
        expires_at, fresh = _fetch(endpoint)
    except CredentialsUnavailable:
        if cached is not None and now < expires_at:
            return cached
        raise
    _cache[endpoint] = (expires_at, fresh)
    return fresh


def forget_credentials() -> None:
    """Empties the cache. Callers do so when a signature is refused."""
    _cache.clear()


def _fetch(endpoint: str) -> tuple[datetime, Credentials]:
    try:
        url = urlsplit(endpoint)
        _refuse_plain_http_to_others(url)
        headers = {"Accept": "application/json", **_authorization()}
        connection = connect_to(url, TIMEOUT_SECONDS)
        try:
            connection.request("GET", f"{url.path or '/'}?{url.query}".rstrip("?"), None, headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise CredentialsUnavailable(f"credentials endpoint: {response.status}")
        answer: dict[str, Any] = json.loads(content)
        expires_at = datetime.fromisoformat(answer["Expiration"])
        if expires_at.tzinfo is None:
            expires_at = expires_at.replace(tzinfo=UTC)
        found = Credentials(answer["AccessKeyId"], answer["SecretAccessKey"], answer["Token"])
    except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
        raise CredentialsUnavailable(f"credentials endpoint: {type(error).__name__}") from error
    return expires_at, found


def _authorization() -> dict[str, str]:
    """The token of the endpoint. A file wins, because AWS replaces its content."""
    if path := os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        token = Path(path).read_text().rstrip("\r\n")
    else:
        token = os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    if not token:
        return {}
    if not token.isprintable() or not token.isascii():
        # http.client would refuse the token too, with its value in the message.
        raise CredentialsUnavailable("the authorization token is not a header value")
    return {"Authorization": token}


def _refuse_plain_http_to_others(url: SplitResult) -> None:
    """The token must not cross a network in plain text."""
    host = url.hostname or ""
    try:
        is_local = host in PLAIN_HTTP_HOSTS or ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if url.scheme != "https" and not (url.scheme == "http" and is_local):
        raise CredentialsUnavailable("the credentials endpoint is neither local nor https")
