"""The client of S3, and its errors."""

import base64
import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache, lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from masstock.errors import StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# How often a call of S3 is sent, and how long it can wait each time.
REQUESTS = 3
CONNECT_SECONDS = 3
READ_SECONDS = 20
REQUEST_SECONDS = CONNECT_SECONDS + READ_SECONDS
# A presigned URL also expires with the credentials that signed it. They live for an hour or more.
URL_SECONDS = 900

MISSING_OR_CHANGED = {
    *("NoSuchKey", "NoSuchUpload", "404", "InvalidRange", "416", "PreconditionFailed", "412"),
}


# The partitions aws, aws-cn and aws-us-gov. A test compares their addresses with boto3's.
USUAL_REGION = re.compile(r"(?:af|ap|ca|cn|eu|il|me|mx|sa|us)-(?:gov-)?[a-z]+-[0-9]+")
# A bucket with a dot has an address of another form.
USUAL_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


class ObjectMissing(Exception):
    """There is no object under the key, or not the requested version of it."""


def checksum_of(sha256: bytes) -> str:
    """The value of S3's checksum header."""
    return base64.b64encode(sha256).decode()


def remove_all(bucket: str, prefix: str) -> int:
    """Deletes all objects under a prefix and returns their number. Raises StorageUnavailable if S3
    refuses one of them, after it tried all others."""
    removed = 0
    refused: list[str] = []
    with storage_errors():
        pages = s3().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix):
            keys = [found.get("Key", "") for found in page.get("Contents", [])]
            if keys:
                answer = s3().delete_objects(
                    Bucket=bucket,
                    Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
                )
                # The status is 200 even if S3 refuses each key.
                errors = [error.get("Code", "") for error in answer.get("Errors", [])]
                refused += errors
                removed += len(keys) - len(errors)
    if refused:
        codes = ", ".join(sorted(set(refused)))
        raise StorageUnavailable(f"S3 did not delete {len(refused)} objects: {codes}")
    return removed


@cache
def s3(requests: int = REQUESTS) -> "S3Client":
    """The client that sends a call at most `requests` times."""
    # Imported here because boto3 doubles a cold start; most requests do not need S3.
    import boto3
    from botocore.config import Config

    return boto3.client(  # pyright: ignore[reportUnknownMemberType]
        "s3",
        # Lambda sets both variables of the region. boto3 reads only AWS_DEFAULT_REGION.
        region_name=os.environ.get("AWS_REGION"),
        config=Config(
            signature_version="s3v4",
            retries={"mode": "standard", "max_attempts": requests},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            # boto3 would build a user agent twice per call, an eighth of the call's CPU.
            user_agent="masstock",
            # Hash each body once. `put_object` sends the checksum that we compute anyway. S3
            # verifies it, and the request's signature covers it.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            # URLs name the region's own host, over IPv4 only (docs/decisions.md). The signature
            # covers the host, so a redirect does not help.
            use_dualstack_endpoint=False,
            s3={
                "payload_signing_enabled": False,
                "us_east_1_regional_endpoint": "regional",
                "addressing_style": "path" if _endpoint_is_loopback() else "virtual",
            },
        ),
    )


def bucket_address(bucket: str) -> str:
    """The URL of the bucket's objects, with a slash at its end. It is boto3's, but in the usual
    cases without boto3: a list of executions needs no other part of S3."""
    endpoint, region = _endpoint(), os.environ.get("AWS_REGION") or ""
    if _endpoint_is_loopback():
        return f"{endpoint.rstrip('/')}/{bucket}/"
    if (
        not endpoint
        and USUAL_REGION.fullmatch(region)
        and USUAL_BUCKET.fullmatch(bucket)
        and not os.environ.get("AWS_USE_FIPS_ENDPOINT")
    ):
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        return f"https://{bucket}.s3.{region}.{suffix}/"
    return _address(s3(), bucket)


@lru_cache(maxsize=8)
def _address(client: "S3Client", bucket: str) -> str:
    url = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "x"})
    return url.partition("?")[0].removesuffix("x")


def region_name() -> str:
    """The region of the buckets."""
    return os.environ.get("AWS_REGION") or s3().meta.region_name


def _endpoint() -> str:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _endpoint_is_loopback() -> bool:
    """True for the endpoint of the local stack, whose host has no subdomain for a bucket."""
    host = urlsplit(_endpoint()).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@contextmanager
def storage_errors() -> Generator[None]:
    """Raises StorageUnavailable for failures of S3, and ObjectMissing for a missing object."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in MISSING_OR_CHANGED:
            raise ObjectMissing from error
        raise StorageUnavailable from error
    except BotoCoreError as error:
        raise StorageUnavailable from error
