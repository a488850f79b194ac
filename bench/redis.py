"""A Redis server for the peers, without persistence."""

import contextlib
import signal
from collections.abc import Iterator

from bench.environment import SCRATCH
from bench.measure import CannotRun
from local.processes import children
from tests.support import debian

PACKAGES = ("redis-server", "redis-tools")
LIBRARIES = ("libjemalloc2", "liblzf1", "libatomic1")


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Runs Redis during the block and yields its URL. Raises CannotRun if Redis is unavailable."""
    try:
        program = debian.find_program("redis-server", PACKAGES, LIBRARIES)
    except debian.ProgramUnavailable as error:
        raise CannotRun(str(error)) from error
    port = children.free_port()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    options = ("--port", str(port), "--bind", children.HOST, "--save", "", "--appendonly", "no")
    process = children.spawn(
        [str(program.path), *options],
        log=SCRATCH / "redis.log",
        env=program.variables,
        cwd=SCRATCH,
    )
    try:
        if not children.wait_for_listener(port, process, 15):
            raise CannotRun(f"Redis did not start; see {SCRATCH}/redis.log")
        yield f"redis://{children.HOST}:{port}/0"
    finally:
        children.end(process, signal.SIGTERM, 5)
        children.release_port(port)
