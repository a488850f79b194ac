"""A TCP proxy before PostgreSQL that counts network flights, can be as slow and as narrow as a
network, and can lose a connection on cue."""

import contextlib
import select
import socket
import threading
import time
from collections import deque
from types import TracebackType
from urllib.parse import urlsplit

# The longest wait for the end of a thread.
PATIENCE_SECONDS = 20

# A narrow wire is read in pieces of a packet or so, and buffers little.
NARROW_READ_BYTES = 16 * 1024

# ReadyForQuery, but for its last byte: the transaction's status.
READY = b"Z\x00\x00\x00\x05"


class Wire:
    """A flight is what a client sends before it waits for the server; connecting is one. Whatever
    is sent arrives `delay_seconds` later. With `bytes_per_second`, the client sends no faster."""

    def __init__(
        self, url: str, *, delay_seconds: float = 0, bytes_per_second: float | None = None
    ) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._server = (parts.hostname, parts.port or 5432)
        self._delay = delay_seconds
        self._rate = bytes_per_second
        self._listener = socket.create_server(("127.0.0.1", 0))
        if self._rate is not None:
            # Connections inherit it. Else the kernel would take megabytes at once.
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW_READ_BYTES)
        credentials = parts.netloc.rpartition("@")[0]
        port = self._listener.getsockname()[1]
        self.url = parts._replace(netloc=f"{credentials}@127.0.0.1:{port}").geturl()
        self.flights = 0
        self.client_bytes = 0
        self.connections = 0
        self._cue: bytes | None = None
        self._deliver = False
        self._cuts_left = 0
        self._stopping = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def cut_before(self, cue: bytes, *, times: int = 1) -> None:
        """Cuts the connection when the client sends `cue`. The server does not receive it."""
        self._cue, self._deliver, self._cuts_left = cue, False, times

    def cut_after(self, cue: bytes) -> None:
        """Cuts the connection after the server has executed `cue`, before the client gets the
        answer."""
        self._cue, self._deliver, self._cuts_left = cue, True, 1

    def __enter__(self) -> "Wire":
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping = True
        with contextlib.suppress(OSError):
            # Wakes the thread that accepts connections.
            socket.create_connection(self._listener.getsockname(), timeout=1).close()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopping:
            client, _ = self._listener.accept()
            if self._stopping:
                client.close()
                return
            self.connections += 1
            thread = threading.Thread(target=self._carry, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _carry(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            client,
            socket.create_connection(self._server, timeout=5) as server,
        ):
            # Without this, Nagle's algorithm would delay the proxy's small packets.
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answered, doomed, tail = True, False, b""
            opens_at = 0.0
            travelling: deque[tuple[float, socket.socket, bytes]] = deque()
            while not self._stopping:
                now = time.monotonic()
                patience = min([0.1, *(arrival - now for arrival, _, _ in travelling)])
                sources = [client, server]
                if now < opens_at:
                    sources, patience = [server], min(patience, opens_at - now)
                readable, _, _ = select.select(sources, [], [], max(0, patience))
                for source in readable:
                    content = source.recv(NARROW_READ_BYTES if self._rate else 65536)
                    if not content or (source is server and doomed):
                        return
                    arrival = time.monotonic() + self._delay
                    if source is server:
                        travelling.append((arrival, client, content))
                        tail = (tail + content)[-len(READY) - 1 :]
                        # Only ReadyForQuery ends a flight. A long answer begins to arrive while the
                        # client is still sending.
                        answered = tail.startswith(READY)
                        continue
                    if self._rate is not None:
                        opens_at = max(opens_at, now) + len(content) / self._rate
                    self.client_bytes += len(content)
                    self.flights += answered
                    answered = False
                    if self._is_cue(content):
                        if not self._deliver:
                            return
                        doomed = True
                    travelling.append((arrival, server, content))
                while travelling and travelling[0][0] <= time.monotonic():
                    _, end, content = travelling.popleft()
                    end.sendall(content)

    def _is_cue(self, content: bytes) -> bool:
        if self._cue is None or self._cuts_left == 0 or self._cue not in content:
            return False
        self._cuts_left -= 1
        return True
