"""Successful responses."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.event_handler import Response

from masstock.database.connection import Versioned

JSON = "application/json"
REFUSED = re.compile(r"q=0(\.0{0,3})?")


def json_answer(
    body: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response[str]:
    """A response with the given JSON text."""
    return Response(status, JSON, body, dict(headers or {}))


def created(body: str, location: str) -> Response[str]:
    """A 201 with the new resource."""
    return Response(201, JSON, body, {"Location": location, "ETag": etag_of(body)})


def etag_of(body: str) -> str:
    """The ETag of a resource: a hash of its JSON text."""
    return f'W/"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'


def cacheable_answer(
    resource: str | Versioned,
    if_none_match: str | None,
    headers: Mapping[str, str] | None = None,
) -> Response[str]:
    """JSON with an ETag, or a 304 without a body if `if_none_match` has the same ETag."""
    body, version = resource if isinstance(resource, Versioned) else (resource, resource)
    etag = etag_of(version)
    known = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    headers = {**(headers or {}), "ETag": etag, "Cache-Control": "private, no-cache"}
    if etag.removeprefix("W/") in known or known == ["*"]:
        return Response(304, None, None, dict(headers))
    return Response(200, JSON, body, dict(headers))


def page_answer(body: str) -> Response[str]:
    """A 200 that no cache may store."""
    return Response(200, JSON, body, {"Cache-Control": "private, no-store"})


def compress(response: Response[Any], accept_encoding: str) -> None:
    """Have Powertools compress the body, if the caller's Accept-Encoding allows gzip (RFC 9110,
    12.5.3). Powertools alone also compresses for `gzip;q=0`, which refuses gzip."""
    codings = (each.replace(" ", "").lower().partition(";") for each in accept_encoding.split(","))
    weights = [weight for coding, _, weight in codings if coding == "gzip"]
    response.compress = any(not REFUSED.fullmatch(weight) for weight in weights)
    response.headers["Vary"] = "Accept-Encoding"


def as_json(value: object) -> str:
    """Compact JSON; dates and UUIDs in their usual text form."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_plain)


def _plain(value: object) -> str:
    isoformat = getattr(value, "isoformat", None)
    return isoformat() if isoformat else str(value)
