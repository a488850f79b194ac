"""A web server that answers as badly as a test needs."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    """A received request."""

    path: str
    headers: dict[str, str]
    body: bytes


class Web:
    """Records the requests. The method called last determines the answers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[Request] = []
        self.released = threading.Event()
        self.answer({})

    def answer(self, body: Any, status: int = 200, length: int | None = None) -> None:
        """Answers with JSON, or with bytes unchanged. A `length` above the real one makes the body
        incomplete."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            request.send_header("Content-Length", str(len(raw) if length is None else length))
            request.end_headers()
            request.wfile.write(raw)

        self.behave: Callable[[BaseHTTPRequestHandler], object] = answer

    def stall(self) -> None:
        """Does not answer until the test ends or sets `released`."""
        self.behave = lambda _: self.released.wait()

    def hang_up(self) -> None:
        """Closes the connection without an answer."""
        self.behave = lambda _: None

    def babble(self) -> None:
        """Answers with bytes that are not HTTP."""
        self.behave = lambda request: request.wfile.write(b"no HTTP at all\r\n\r\n")


class Handler(BaseHTTPRequestHandler):
    """Passes every request to the server's `web`."""

    def do_POST(self) -> None:
        web: Web = self.server.web  # pyright: ignore
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        web.requests.append(Request(self.path, dict(self.headers), body))
        web.behave(self)

    do_GET = do_PUT = do_POST  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def listening() -> Iterator[Any]:
    """A running server on a free port. The caller must set its `web`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
