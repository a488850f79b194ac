"""Writes a ZIP file and passes it on in chunks meanwhile."""

import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO, cast

# ZIP stores no earlier year.
FIRST_TIME = (1980, 1, 1, 0, 0, 0)
PERMISSIONS = 0o644


class _Tail:
    """The end of a file whose beginning was passed on. zipfile goes back to the header of an entry
    when it knows the entry's size, so this buffer keeps an entry until it is complete. Therefore no
    entry needs a data descriptor, which some readers refuse in stored entries."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._begin = 0
        self._position = 0

    def tell(self) -> int:
        """The position in the whole file."""
        return self._position

    def seek(self, position: int) -> int:
        """Goes to a position that was not passed on yet."""
        if not self._begin <= position <= self._begin + len(self._buffer):
            raise ValueError("This part of the file has been handed on.")
        self._position = position
        return position

    def write(self, content: bytes | bytearray) -> int:
        """Writes at the position."""
        start = self._position - self._begin
        self._buffer[start : start + len(content)] = content
        self._position += len(content)
        return len(content)

    def flush(self) -> None:
        """Does nothing: zipfile calls it."""

    def take(self, size: int) -> bytes:
        """Removes at most `size` bytes from the beginning."""
        taken = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        self._begin += len(taken)
        return taken

    @property
    def size(self) -> int:
        """The number of bytes that have not been taken."""
        return len(self._buffer)


class ZipStream:
    """Writes stored entries. Each call of `send` gets the next `chunk_bytes` of the file; the last
    one gets the rest. At most one entry and one chunk are in memory."""

    def __init__(self, send: Callable[[bytes], None], chunk_bytes: int) -> None:
        self._send = send
        self._chunk_bytes = chunk_bytes
        self._tail = _Tail()
        file = cast(IO[bytes], self._tail)
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True)

    @property
    def entries(self) -> int:
        """The number of entries so far."""
        return len(self._zip.filelist)

    def add(self, name: str, content: bytes, modified: datetime) -> None:
        """Adds an entry."""
        time = modified.astimezone(UTC).timetuple()[:6]
        entry = zipfile.ZipInfo(name, max(time, FIRST_TIME))
        entry.external_attr = PERMISSIONS << 16
        self._zip.writestr(entry, content)
        while self._tail.size >= self._chunk_bytes:
            self._send(self._tail.take(self._chunk_bytes))

    def close(self) -> int:
        """Writes the directory. Returns the size of the file."""
        self._zip.close()
        while self._tail.size:
            self._send(self._tail.take(self._chunk_bytes))
        return self._tail.tell()
