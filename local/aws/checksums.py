"""Refuses requests to S3 whose bytes are not those that their checksums describe. moto stores them.

Verified are Content-MD5, x-amz-content-sha256 if it is a hash, and x-amz-checksum-* in a header, in
the query of a presigned URL, in the trailer of an aws-chunked body and in the fields of a form.
Codes and messages are S3's (API Reference, "Error responses"; User Guide, "Checking object
integrity").
"""

import base64
import binascii
import gc
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from botocore.httpchecksum import _CHECKSUM_CLS  # pyright: ignore[reportPrivateUsage]
from werkzeug.formparser import parse_form_data

PREFIX = "x-amz-checksum-"
# Names that begin like a checksum and hold none.
NO_CHECKSUMS = {PREFIX + name for name in ("algorithm", "mode", "type")}
ALGORITHMS = {*_CHECKSUM_CLS, "md5"}
CHUNKED = "STREAMING-"
# Fields of a form come before its file.
FIELDS_BYTES = 16384
# The memory of a request with a larger body is freed before the answer.
LARGE_BODY = 4 * 1024 * 1024


class Refusal(Exception):
    """S3's answer to a request: code, message and more elements of the error document."""

    def __init__(self, code: str, message: str, **more: str) -> None:
        super().__init__(message)
        elements = {"Code": code, "Message": message, **more}
        lines = (f"<{name}>{escape(value)}</{name}>" for name, value in elements.items())
        self.document = '<?xml version="1.0" encoding="UTF-8"?>\n<Error>' + "".join(lines)
        self.document += "</Error>"


def verifying(application: Callable) -> Callable:
    """Wrap the WSGI application of S3 so that it never sees bytes with a wrong checksum."""

    def wrapped(environ: dict[str, Any], start_response: Callable) -> Any:
        body = _read_body(environ)
        try:
            verify(environ, body)
        except Refusal as refusal:
            content = refusal.document.encode()
            headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(content)))]
            start_response("400 Bad Request", headers)
            return [content]
        # moto's objects of a request refer to each other, and live on for a while.
        with BytesIO(body) as stream:
            environ["wsgi.input"] = stream
            answer = application(environ, start_response)
        if len(body) > LARGE_BODY:
            gc.collect()
        return answer

    return wrapped


def verify(environ: Mapping[str, Any], body: bytes) -> None:
    """Raise Refusal if a checksum of the request is malformed or is not that of its bytes."""
    query = {
        name.lower(): value for name, value in parse_qsl(environ.get("QUERY_STRING", ""), True)
    }
    headers = query | _headers(environ)
    method = environ["REQUEST_METHOD"]
    _verify_hash(headers.get("x-amz-content-sha256"), body)
    trailers: dict[str, str] = {}
    payload = body
    if headers.get("x-amz-content-sha256", "").startswith(CHUNKED):
        payload, trailers = _decode(body)
        _require_trailers(headers.get("x-amz-trailer", ""), trailers)
    _verify_md5(headers.get("content-md5"), payload)
    if method == "POST" and "uploadid" in query:
        # The end of a multipart upload: its checksum is that of the object.
        return
    checksums = _checksums({**headers, **trailers})
    if method == "POST" and headers.get("content-type", "").startswith("multipart/form-data"):
        payload, checksums = _file_of_form(environ, body)
    if method == "POST" and "delete" in query and not (checksums or "content-md5" in headers):
        raise Refusal(
            "InvalidRequest",
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
        )
    _verify_checksum(checksums, payload, headers.get("x-amz-sdk-checksum-algorithm"))


def _read_body(environ: Mapping[str, Any]) -> bytes:
    stream = environ["wsgi.input"]
    if length := environ.get("CONTENT_LENGTH"):
        return stream.read(int(length))
    return stream.read() if environ.get("wsgi.input_terminated") else b""


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    return headers | {"content-type": environ.get("CONTENT_TYPE", "")}


def _checksums(members: Mapping[str, str]) -> dict[str, str]:
    """Return value by algorithm."""
    return {
        name.removeprefix(PREFIX): value
        for name, value in members.items()
        if name.startswith(PREFIX) and name not in NO_CHECKSUMS
    }


def _verify_hash(given: str | None, body: bytes) -> None:
    if given is None or given == "UNSIGNED-PAYLOAD" or given.startswith(CHUNKED):
        return
    if not re.fullmatch("[0-9a-f]{64}", given):
        raise Refusal(
            "InvalidArgument",
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, "
            "or a valid sha256 value.",
            ArgumentName="x-amz-content-sha256",
            ArgumentValue=given,
        )
    computed = hashlib.sha256(body).hexdigest()
    if not hmac.compare_digest(given, computed):
        raise Refusal(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ClientComputedContentSHA256=given,
            S3ComputedContentSHA256=computed,
        )


def _verify_md5(given: str | None, payload: bytes) -> None:
    if given is None:
        return
    expected = _decoded(given)
    if expected is None or len(expected) != 16:
        raise Refusal("InvalidDigest", "The Content-MD5 you specified was invalid.")
    computed = _digest("md5", payload)
    if expected != computed:
        raise Refusal(
            "BadDigest",
            "The Content-MD5 you specified did not match what we received.",
            ExpectedDigest=expected.hex(),
            CalculatedDigest=base64.b64encode(computed).decode(),
        )


def _verify_checksum(checksums: Mapping[str, str], payload: bytes, announced: str | None) -> None:
    if len(checksums) > 1:
        raise Refusal(
            "InvalidRequest",
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        )
    if not checksums:
        if announced:
            raise Refusal(
                "InvalidRequest",
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or "
                "x-amz-trailer headers were found.",
            )
        return
    [(algorithm, given)] = checksums.items()
    if algorithm not in ALGORITHMS:
        raise Refusal(
            "InvalidRequest",
            "The algorithm type you specified in x-amz-checksum- header is invalid.",
        )
    expected, computed = _decoded(given), _digest(algorithm, payload)
    if expected is None or len(expected) != len(computed):
        raise Refusal("InvalidRequest", f"Value for {PREFIX}{algorithm} header is invalid.")
    if expected != computed or (announced or algorithm).lower() != algorithm:
        raise Refusal(
            "BadDigest",
            f"The {algorithm.upper()} you specified did not match the calculated checksum.",
        )


def _digest(algorithm: str, payload: bytes) -> bytes:
    if algorithm == "md5":
        return hashlib.md5(payload, usedforsecurity=False).digest()
    checksum: Any = _CHECKSUM_CLS[algorithm]()
    checksum.update(payload)
    return checksum.digest()


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _decode(body: bytes) -> tuple[bytes, dict[str, str]]:
    """Return the bytes inside an aws-chunked body, and its trailers."""
    stream = BytesIO(body)
    payload = bytearray()
    while True:
        size_line = stream.readline()
        found = re.match(rb"([0-9a-fA-F]+)(?:;[^\r\n]*)?\r?\n", size_line)
        if found is None:
            raise Refusal("IncompleteBody", "The request body terminated unexpectedly.")
        size = int(found[1], 16)
        if size == 0:
            break
        chunk = stream.read(size)
        payload += chunk
        if len(chunk) < size or not stream.readline().endswith(b"\n"):
            raise Refusal("IncompleteBody", "The request body terminated unexpectedly.")
    lines = stream.read().decode("latin-1").split("\n")
    pairs = (line.strip().partition(":") for line in lines if ":" in line)
    return bytes(payload), {name.strip().lower(): value.strip() for name, _, value in pairs}


def _require_trailers(announced: str, trailers: Mapping[str, str]) -> None:
    names = {name.strip().lower() for name in announced.split(",") if name.strip()}
    if not names <= trailers.keys():
        raise Refusal(
            "MalformedTrailerError",
            "The request contained trailing data that was not well-formed or did not conform to "
            "our published schema.",
        )


def _file_of_form(environ: Mapping[str, Any], body: bytes) -> tuple[bytes, dict[str, str]]:
    """Return the file of a form and the checksums among the fields before it."""
    if PREFIX.encode() not in body[:FIELDS_BYTES].lower():
        return b"", {}
    copy = {**environ, "wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    _, fields, files = parse_form_data(copy)
    file = files.get("file")
    content = file.read() if file is not None else fields.get("file", "").encode()
    return content, _checksums({name.lower(): value for name, value in fields.items()})
