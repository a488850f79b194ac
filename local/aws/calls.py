"""A log of the functions' AWS calls: one JSON line for each permission that IAM would check.

A line is {caller, action, resource}. Each function has its own access key. The caller of a
presigned URL or form is its signer. As in AWS, reading a missing object also needs s3:ListBucket.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

CALLER_PREFIX = "local-"
_CREDENTIAL = re.compile(rf"(?:Credential=|X-Amz-Credential=)({CALLER_PREFIX}[a-z]+)(?:/|%2F)")
_CREDENTIAL_IN_FORM = re.compile(
    rf'name="x-amz-credential"\s+({CALLER_PREFIX}[a-z]+)/'.encode(), re.IGNORECASE
)
_SERVICES = {"AWSStepFunctions": "states", "secretsmanager": "secretsmanager"}
# POST begins or ends a multipart upload.
_OF_OBJECT = {
    **dict.fromkeys(("GET", "HEAD"), "s3:GetObject"),
    **dict.fromkeys(("PUT", "POST"), "s3:PutObject"),
    "DELETE": "s3:DeleteObject",
    "ABORT": "s3:AbortMultipartUpload",
}
_INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
_RESOURCE_MEMBERS = ("stateMachineArn", "executionArn", "SecretId")


def caller_key(function: str) -> str:
    """Return the access key id of a function, which identifies its calls."""
    return f"{CALLER_PREFIX}{function}"


def recording(path: Path, application: Callable) -> Callable:
    """Wrap a WSGI application so that calls of functions are appended to `path`."""
    lock = threading.Lock()
    path.parent.mkdir(parents=True, exist_ok=True)

    def wrapped(environ: dict[str, Any], start_response: Callable) -> Any:
        body = b""
        if environ["REQUEST_METHOD"] == "POST" and environ.get("CONTENT_LENGTH"):
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            environ["wsgi.input"] = BytesIO(body)
        status = ""

        def note_status(line: str, *rest: Any) -> Any:
            nonlocal status
            status = line
            return start_response(line, *rest)

        answer = application(environ, note_status)
        if caller := _caller(environ, body):
            lines = [
                json.dumps({"caller": caller, "action": action, "resource": resource}) + "\n"
                for action, resource in _permissions(environ, body, status)
            ]
            with lock, path.open("a") as log:
                log.writelines(lines)
        return answer

    return wrapped


def _caller(environ: dict[str, Any], body: bytes) -> str | None:
    signed = environ.get("HTTP_AUTHORIZATION", "") or environ.get("QUERY_STRING", "")
    if found := _CREDENTIAL.search(signed):
        return found[1].removeprefix(CALLER_PREFIX)
    if found := _CREDENTIAL_IN_FORM.search(body[:16384]):
        return found[1].decode().removeprefix(CALLER_PREFIX)
    return None


def _permissions(environ: dict[str, Any], body: bytes, status: str) -> Iterator[tuple[str, str]]:
    """Yield action and resource of each permission that the call needs."""
    service, _, operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")
    if service:
        members = json.loads(body)
        named = next((members[name] for name in _RESOURCE_MEMBERS if name in members), "?")
        yield f"{_SERVICES[service]}:{operation}", named
        return
    if invoked := _INVOKE.fullmatch(unquote(environ["PATH_INFO"])):
        yield "lambda:InvokeFunction", invoked[1]
        return
    bucket, _, key = unquote(environ["PATH_INFO"]).strip("/").partition("/")
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    method = environ["REQUEST_METHOD"]
    if key:
        if method == "DELETE" and "uploadId" in query:
            method = "ABORT"
        yield _OF_OBJECT.get(method, f"s3:{method}"), f"{bucket}/{key}"
        if status.startswith("404") and method in ("GET", "HEAD"):
            yield "s3:ListBucket", bucket
        if "HTTP_X_AMZ_TAGGING" in environ:
            yield "s3:PutObjectTagging", f"{bucket}/{key}"
        return
    match method:
        case "GET" if "list-type" in query:
            yield "s3:ListBucket", bucket
        case "GET" if "uploads" in query:
            yield "s3:ListBucketMultipartUploads", bucket
        case "POST" if "delete" in query:
            for name in re.findall(rb"<Key>(.*?)</Key>", body):
                yield "s3:DeleteObject", f"{bucket}/{name.decode()}"
        case "POST":
            yield "s3:PutObject", f"{bucket}/"
        case _:
            yield f"s3:{method}?{environ.get('QUERY_STRING', '')}", bucket
