"""A proxy before the local S3 that refuses PutObject while a test wants it to."""

import http.client
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

# S3's own answer when it asks for fewer requests.
SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)
# On the path of the functions of a stack that is started with these variables.
FAULTS = Path(__file__).parent / "storage_faults"
UPSTREAM_SECONDS = 20


class RefusingStorage:
    """`url` is the endpoint. `upstream` must be set before the first request."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.upstream = ""
        self.refusing = threading.Event()
        self._lock = threading.Lock()
        self.refused = 0
        self.gets = 0

    def count_get(self) -> None:
        with self._lock:
            self.gets += 1

    def refuse(self) -> None:
        with self._lock:
            self.refused += 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _forward(self) -> None:
        storage: RefusingStorage = self.server.storage  # pyright: ignore
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.command == "PUT" and storage.refusing.is_set():
            storage.refuse()
            self._answer(503, [("Content-Type", "application/xml")], SLOW_DOWN)
            return
        if self.command == "GET":
            storage.count_get()
        connection = http.client.HTTPConnection(
            urlsplit(storage.upstream).netloc, timeout=UPSTREAM_SECONDS
        )
        try:
            headers = {name: value for name, value in self.headers.items() if name != "Expect"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            self._answer(answer.status, answer.getheaders(), content)
        finally:
            connection.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _forward  # noqa: N815

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        has_length = False
        for name, value in headers:
            if name.lower() in ("transfer-encoding", "connection", "date", "server"):
                continue
            has_length |= name.lower() == "content-length"
            self.send_header(name, value)
        if not has_length:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def refusing_storage() -> Iterator[RefusingStorage]:
    """The proxy on a free port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        storage = RefusingStorage(f"http://127.0.0.1:{server.server_port}")
        server.storage = storage  # pyright: ignore
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield storage
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def variables_of_stack(storage: RefusingStorage, directory: Path) -> Iterator[None]:
    """The environment for starting a stack whose generate stores its images through the proxy."""
    (directory / "s3-endpoint").write_text(storage.url)
    given = {"FAULTS_DIR": str(FAULTS), "FAULTS_PLANS": str(directory)}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
