"""A client's web server, which keeps what it is sent, and one that answers too slowly."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """Answers every POST with `status`, or with what `status_of` returns for its path, and with
    `location` where that is given."""

    def __init__(self) -> None:
        self.status = 204
        self.status_of: Callable[[str], int] = lambda path: self.status
        self.location: str | None = None
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.received.append((self.path, dict(self.headers), body))
                self.send_response(receiver.status_of(self.path))
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}/hook"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def listening() -> Iterator[Receiver]:
    """A running receiver on a free port of this machine."""
    receiver = Receiver()
    threading.Thread(target=receiver.server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        receiver.close()


class SlowReceiver:
    """Accepts every connection, reads nothing and sends `answer`, a byte every `seconds`. Keeps
    each connection open until it is closed."""

    def __init__(self, answer: bytes, seconds: float) -> None:
        self.connections = 0
        self._answer = answer
        self._seconds = seconds
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.settimeout(0.2)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            self.connections += 1
            thread = threading.Thread(target=self._dribble, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _dribble(self, connection: socket.socket) -> None:
        with connection:
            for number in range(len(self._answer)):
                try:
                    connection.sendall(self._answer[number : number + 1])
                except OSError:
                    return
                if self._closing.wait(self._seconds):
                    return
            self._closing.wait()


@contextmanager
def dribbling(answer: bytes, seconds: float) -> Iterator[SlowReceiver]:
    """A slow receiver on a free port of this machine."""
    receiver = SlowReceiver(answer, seconds)
    try:
        yield receiver
    finally:
        receiver.close()
