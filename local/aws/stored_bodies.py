"""The bytes of objects in files. Large ones are read in pieces, wherever moto expects bytes."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredBody:
    """The bytes of an object, in a file that does not change."""

    path: Path
    size: int

    def value(self) -> "bytes | Content":
        """Return the bytes: in memory if they are few, from the file if they are many."""
        file = self.path.open("rb")
        if self.size > PIECE_BYTES:
            return Content(file, 0, self.size)
        with file:
            return file.read()


class Content:
    """A range of an open file. It outlives the file's deletion, and is read only as it is used.

    As bytes, it has a length and slices. Iteration gives pieces, as a WSGI server sends them, and
    hashes take it through the buffer protocol.
    """

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size = file, start, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, chosen: slice) -> "Content":
        start, stop, _ = chosen.indices(self._size)
        return Content(self._file, self._start + start, max(0, stop - start))

    def __iter__(self) -> Iterator[bytes]:
        at, end = self._start, self._start + self._size
        while at < end:
            self._file.seek(at)
            piece = self._file.read(min(PIECE_BYTES, end - at))
            at += len(piece)
            yield piece

    def __buffer__(self, flags: int) -> memoryview:
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return memoryview(mapped)[self._start : self._start + self._size]

    def close(self) -> None:
        """Close the file. The server calls it after the last piece."""
        self._file.close()
