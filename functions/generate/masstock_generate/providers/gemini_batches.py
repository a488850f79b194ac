"""The batch interface of Gemini: files, jobs, and the lines of their results.

Requests are sent without google-genai. Its types lose the reason of a failed job and an output
under `response`, its list stops at an empty page, and its upload drops the key of a call
(docs/decisions.md). gemini_lines.py makes and reads the lines of a job.
"""

import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import islice
from typing import Any
from urllib.parse import quote

import httpx2

from masstock.errors import ModelUnavailable, Outcome, ProviderTimeout, ProviderUnavailable
from masstock_generate.providers import (
    CreateUnanswered,
    ProviderFile,
    ProviderJob,
    ResultGone,
)
from masstock_generate.providers.gemini_answers import (
    Json,
    json_object,
    json_objects,
    name_in,
    read_json,
    refusal,
    words_of,
)
from masstock_generate.providers.gemini_lines import key_of, line_of, read_line

__all__ = [
    "cancel",
    "create",
    "delete",
    "download",
    "find",
    "find_files",
    "job_of",
    "key_of",
    "line_of",
    "look",
    "read_line",
    "upload",
]

GOOGLE = "https://generativelanguage.googleapis.com"
VERSION = "v1beta"
# Connecting, and each read or write of the socket.
CONNECT_SECONDS = 5
READ_SECONDS = 30
PAGE_SIZE = 100
# Of the files of an account: they may be many, and ours expire anyway.
MAX_FILE_PAGES = 20
ENDED = {"SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED"}
PIECE_BYTES = 1024 * 1024


def upload(api_key: str, content: bytes, mime_type: str, name: str) -> ProviderFile:
    """Implements masstock_generate.providers.BatchProvider."""
    start = _send(
        api_key,
        "POST",
        f"/upload/{VERSION}/files",
        json={"file": {"displayName": name}},
        headers={
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": str(len(content)),
            "X-Goog-Upload-Header-Content-Type": mime_type,
        },
    )
    answer = _send(
        api_key,
        "POST",
        start.headers.get("x-goog-upload-url", ""),
        content=content,
        headers={"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": "0"},
    )
    file = json_object(_json(answer).get("file"))
    if not file.get("name"):
        raise ProviderUnavailable("The provider stored no file.")
    return ProviderFile(str(file["name"]), str(file.get("uri")))


def create(api_key: str, model: str, input_file: str, name: str) -> ProviderJob:
    """Implements masstock_generate.providers.BatchProvider."""
    batch = {"displayName": name, "inputConfig": {"fileName": input_file}}
    path = f"/{VERSION}/models/{quote(model, safe='')}:batchGenerateContent"
    try:
        job = job_of(_json(_send(api_key, "POST", path, json={"batch": batch})))
    except (ProviderTimeout, ProviderUnavailable) as error:
        raise CreateUnanswered from error
    if not job.name:
        raise CreateUnanswered
    return job


def find(api_key: str, name: str) -> ProviderJob | None:
    """Implements masstock_generate.providers.BatchProvider."""
    for page in _pages(api_key, "batches"):
        for job in json_objects(page.get("operations")):
            if json_object(job.get("metadata")).get("displayName") == name:
                return job_of(job)
    return None


def find_files(api_key: str, name: str) -> list[str]:
    """Implements masstock_generate.providers.BatchProvider."""
    return [
        str(file.get("name"))
        for page in islice(_pages(api_key, "files"), MAX_FILE_PAGES)
        for file in json_objects(page.get("files"))
        if file.get("displayName") == name
    ]


def _pages(api_key: str, what: str) -> Iterator[Json]:
    """Every page of a list. A page can be empty although others follow. Raises ProviderUnavailable
    if the pages do not end."""
    token = ""
    seen: set[str] = set()
    while token not in seen:
        seen.add(token)
        query = {"pageSize": str(PAGE_SIZE), **({"pageToken": token} if token else {})}
        page = _json(_send(api_key, "GET", f"/{VERSION}/{what}", params=query))
        yield page
        token = str(page.get("nextPageToken") or "")
        if not token:
            return
    raise ProviderUnavailable("The provider's list does not end.")


def look(api_key: str, job_name: str) -> ProviderJob | None:
    """Implements masstock_generate.providers.BatchProvider."""
    try:
        return job_of(_json(_send(api_key, "GET", f"/{VERSION}/{_path(job_name)}")))
    except ModelUnavailable:
        return None


def cancel(api_key: str, job_name: str) -> None:
    """Implements masstock_generate.providers.BatchProvider."""
    _send(api_key, "POST", f"/{VERSION}/{_path(job_name)}:cancel", json={})


@contextmanager
def download(api_key: str, file: str) -> Generator[Iterator[bytes]]:
    """Implements masstock_generate.providers.BatchProvider."""
    path = f"{_base_url()}/{VERSION}/{_path(file)}:download"
    with (
        _connection_errors(),
        _client().stream("GET", path, params={"alt": "media"}, headers=_key(api_key)) as answer,
    ):
        if answer.status_code != 200:
            answer.read()
            outcome = _refused(answer, api_key)
            raise ResultGone if isinstance(outcome, ModelUnavailable) else outcome
        yield answer.iter_bytes(PIECE_BYTES)


def delete(api_key: str, names: Iterable[str]) -> None:
    """Implements masstock_generate.providers.BatchProvider."""
    for name in names:
        try:
            _send(api_key, "DELETE", f"/{VERSION}/{_path(name)}")
        except ModelUnavailable:
            continue


# --- requests ------------------------------------------------------------------------------------


def _send(api_key: str, method: str, path: str, **request: Any) -> httpx2.Response:
    """The answer of a request that succeeded. Raises an Outcome."""
    headers = _key(api_key) | request.pop("headers", {})
    url = path if path.startswith("http") else _base_url() + path
    with _connection_errors():
        answer = _client().request(method, url, headers=headers, **request)
    if answer.status_code >= 300:
        raise _refused(answer, api_key)
    return answer


def _key(api_key: str) -> dict[str, str]:
    return {"x-goog-api-key": api_key.strip()}


def _path(name: str) -> str:
    """The name of a file or job as a part of a path. The provider made it."""
    return quote(name, safe="/")


def _base_url() -> str:
    return (os.environ.get("GOOGLE_GEMINI_BASE_URL") or GOOGLE).rstrip("/")


@contextmanager
def _connection_errors() -> Generator[None]:
    try:
        yield
    except httpx2.TimeoutException as error:
        raise ProviderTimeout from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise ProviderUnavailable("The connection to the provider failed.") from error


def _refused(answer: httpx2.Response, api_key: str) -> Outcome:
    error = json_object(json_object(read_json(answer.content)).get("error"))
    words = words_of(error.get("message"), api_key)
    if answer.status_code < 400:
        return ProviderUnavailable(f"The provider answered with status {answer.status_code}.")
    return refusal(answer.status_code, error, answer.headers, words)


def _json(answer: httpx2.Response) -> Json:
    """The JSON object of an answer. Raises ProviderUnavailable."""
    parsed = json_object(read_json(answer.content))
    if not parsed:
        raise ProviderUnavailable("The answer of the provider could not be read.")
    return parsed


def job_of(operation: Mapping[str, object]) -> ProviderJob:
    """A job of its raw JSON. The result's place is in `response` or in `metadata`. The reason of a
    failure is in `error` alone."""
    metadata = json_object(operation.get("metadata"))
    state = name_in(metadata.get("state") or "UNKNOWN")
    word = state.removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_")
    outputs = [json_object(operation.get("response")), json_object(metadata.get("output"))]
    outputs += [json_object(metadata.get("dest")), json_object(outputs[0].get("output"))]
    files = [output.get("responsesFile") or output.get("fileName") for output in outputs]
    return ProviderJob(
        str(operation.get("name") or ""),
        state,
        word in ENDED or operation.get("done") is True,
        _painted(json_object(metadata.get("batchStats"))),
        next((file for file in files if isinstance(file, str) and file), None),
        words_of(json_object(operation.get("error")).get("message"), ""),
    )


def _painted(stats: Json) -> int:
    """Lines that succeeded. Google sends int64 as text."""
    count = str(stats.get("successfulRequestCount", "0"))
    return int(count) if count.isdecimal() and len(count) < 9 else 0


@cache
def _client() -> httpx2.Client:
    return httpx2.Client(
        verify=httpx2.create_ssl_context(),
        # A redirect would carry the key to another host.
        follow_redirects=False,
        timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
    )
