"""Files of the stack's directory."""

import fcntl
import os
from pathlib import Path

from local.processes.children import StackError


def write_private(path: Path, text: str) -> None:
    """Replace the file at once, readable by nobody but us."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.replace(temporary, path)


def lock(path: Path) -> None:
    """Lock the file for the life of this process, however that ends, with our pid in it.

    Raises StackError if another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Never closed: who sees the lock free may rely on the process being gone.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StackError(f"Another stack runs in {path.parent}.") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def lock_holder(path: Path) -> int | None:
    """The pid of the process that holds the lock (0 until it wrote that), None if nobody does."""
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
