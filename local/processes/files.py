"""Private files, and locks that show whether a process lives."""

import fcntl
import os
from pathlib import Path

from local.errors import StackError


def write_private(path: Path, text: str) -> None:
    """Replace the file atomically. Only its owner can read it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.replace(temporary, path)


def lock(path: Path) -> None:
    """Lock the file until this process ends, and write its pid into the file.

    Raises StackError if another process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The descriptor stays open. So the lock is free only after the process has ended.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StackError(f"Another stack runs in {path.parent}.") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def lock_holder(path: Path) -> int | None:
    """Return the pid of the process that holds the lock, 0 before it wrote its pid, or None."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(descriptor, 32, 0) or 0)
    finally:
        os.close(descriptor)
    return None
