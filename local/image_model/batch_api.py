"""The routes of Gemini's Files API and Batch API, as google-genai and plain HTTP call them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler
from io import BufferedIOBase
from urllib.parse import parse_qs, unquote, urlsplit

from local.image_model.errors import GoogleError, invalid_argument, unavailable
from local.image_model.files import PIECE_BYTES, File, Files, display_name_of
from local.image_model.jobs import Jobs, full
from local.image_model.replies import Answer, json_answer

UPLOAD = re.compile(r"/upload/v1(?:beta)?/files")
CREATE = re.compile(r"/v1(?:beta)?/models/([^/:]+):batchGenerateContent")
FILES = re.compile(r"/v1(?:beta)?/files")
FILE = re.compile(r"/v1(?:beta)?/(files/[a-z0-9-]+)(:download)?")
BATCHES = re.compile(r"/v1(?:beta)?/batches")
BATCH = re.compile(r"/v1(?:beta)?/(batches/[a-z0-9]+)(:cancel)?")


@dataclass(frozen=True, slots=True)
class Request:
    """A request of the two APIs. `body` holds `length` bytes that are not read yet."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Message
    key_sha256: str
    base_url: str
    body: BufferedIOBase
    length: int

    @classmethod
    def of(cls, handler: BaseHTTPRequestHandler, key_sha256: str) -> "Request":
        """The request that a handler is about to answer."""
        parts = urlsplit(handler.path)
        length = handler.headers.get("Content-Length", "0")
        return cls(
            handler.command,
            parts.path,
            {name: values[0] for name, values in parse_qs(parts.query).items()},
            handler.headers,
            key_sha256,
            f"http://{handler.headers.get('Host', '')}",
            handler.rfile,
            int(length) if length.isdecimal() else 0,
        )

    def pieces(self) -> Iterator[bytes]:
        """The body in pieces."""
        left = self.length
        while left > 0 and (piece := self.body.read(min(left, PIECE_BYTES))):
            left -= len(piece)
            yield piece

    def content(self) -> bytes:
        """The whole body."""
        return b"".join(self.pieces())


@dataclass(frozen=True, slots=True)
class Download:
    """The content of a file. `is_cut` ends the connection in the middle of it."""

    file: File
    is_cut: bool


class Lost(Exception):
    """The connection closes without an answer."""


class BatchApi:
    """Answers requests to /upload/…/files, /files and /batches."""

    def __init__(self, files: Files, jobs: Jobs) -> None:
        self._files, self._jobs = files, jobs
        self._uploads: dict[str, File] = {}

    @staticmethod
    def serves(path: str) -> bool:
        """True for the paths of the two APIs."""
        routes = (UPLOAD, CREATE, FILES, FILE, BATCHES, BATCH)
        return any(route.fullmatch(path) for route in routes)

    def answer(self, request: Request) -> Answer | Download:
        """Answer a request; GoogleError for an error, Lost for no answer at all."""
        path, method = request.path, request.method
        if UPLOAD.fullmatch(path) and method == "POST":
            return self._upload(request)
        if (create := CREATE.fullmatch(path)) and method == "POST":
            return self._create(unquote(create[1]), request)
        size, token = request.query.get("pageSize", ""), request.query.get("pageToken", "")
        if FILES.fullmatch(path) and method == "GET":
            return json_answer(self._files.page(request.key_sha256, size, token, request.base_url))
        if BATCHES.fullmatch(path) and method == "GET":
            return json_answer(self._jobs.page(request.key_sha256, size, token))
        if batch := BATCH.fullmatch(path):
            return self._batch(batch[1], bool(batch[2]), request)
        if file := FILE.fullmatch(path):
            return self._file(file[1], bool(file[2]), request)
        raise GoogleError(404, "NOT_FOUND", "Requested entity was not found.")

    def _upload(self, request: Request) -> Answer:
        """A resumable upload: `start` first, then the bytes. The last request finalizes it."""
        commands = request.headers.get("X-Goog-Upload-Command", "")
        if commands == "start":
            kind = request.headers.get("X-Goog-Upload-Header-Content-Type", "")
            name = display_name_of(request.content())
            file = self._files.start(request.key_sha256, kind or "application/octet-stream", name)
            self._uploads[file.name] = file
            place = f"{request.base_url}{request.path}?upload_id={file.name}"
            return Answer(
                b"", headers={"X-Goog-Upload-URL": place, "X-Goog-Upload-Status": "active"}
            )
        file = self._uploads.get(request.query.get("upload_id", ""))
        offset = request.headers.get("X-Goog-Upload-Offset", "")
        if file is None or "upload" not in commands or not offset.isdecimal():
            raise invalid_argument("The upload request is not valid.")
        self._files.append(file, request.pieces(), int(offset))
        if "finalize" not in commands:
            return Answer(b"", headers={"X-Goog-Upload-Status": "active"})
        file.is_complete = True
        del self._uploads[file.name]
        described = json_answer({"file": file.described(request.base_url)})
        return Answer(described.body, headers={"X-Goog-Upload-Status": "final"})

    def _create(self, model: str, request: Request) -> Answer:
        body = request.content()
        if self._jobs.spend("create_429"):
            raise full()
        job = self._jobs.create(model, body, request.key_sha256)
        if self._jobs.spend("lose_create_answer"):
            raise Lost
        return json_answer(job.described())

    def _batch(self, name: str, cancels: bool, request: Request) -> Answer:
        request.content()
        if cancels and request.method == "POST":
            self._jobs.cancel(name, request.key_sha256)
            return json_answer({})
        if not cancels and request.method == "DELETE":
            self._jobs.delete(name, request.key_sha256)
            return json_answer({})
        return json_answer(self._jobs.find(name, request.key_sha256).described())

    def _file(self, name: str, downloads: bool, request: Request) -> Answer | Download:
        if request.method == "DELETE":
            self._files.delete(name, request.key_sha256)
            return json_answer({})
        file = self._files.find(name, request.key_sha256)
        if not downloads:
            return json_answer(file.described(request.base_url))
        if self._jobs.spend("download_503"):
            raise unavailable()
        return Download(file, self._jobs.spend("cut_download"))
