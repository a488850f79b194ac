"""A web server that answers as badly as a test needs it to."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    """What a client sent."""

    path: str
    headers: dict[str, str]
    body: bytes


class Web:
    """Keeps the requests; the last call of a method decides what they are answered."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[Request] = []
        self.released = threading.Event()
        self.answer({})

    def answer(self, body: Any, status: int = 200, length: int | None = None) -> None:
        """JSON, or bytes as they are; a `length` that is too great cuts them short."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            request.send_header("Content-Length", str(len(raw) if length is None else length))
            request.end_headers()
            request.wfile.write(raw)

        self.behave: Callable[[BaseHTTPRequestHandler], object] = answer

    def stall(self) -> None:
        """Nothing, until the test ends or sets `released`."""
        self.behave = lambda _: self.released.wait()

    def hang_up(self) -> None:
        """An end without an answer."""
        self.behave = lambda _: None

    def babble(self) -> None:
        """Bytes that are no HTTP."""
        self.behave = lambda request: request.wfile.write(b"no HTTP at all\r\n\r\n")


class Handler(BaseHTTPRequestHandler):
    """Has the server's `web` answer."""

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
    """A server on a free port; whoever uses it sets its `web`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
