"""Child processes that are started again when they die, and functions that run on a schedule."""

import logging
import signal
import subprocess
import sys
import threading
from pathlib import Path

from local.aws.pool import FunctionPool
from local.processes import children
from local.processes.children import StackError
from local.processes.servers import run_in_background

logger = logging.getLogger(__name__)

START_SECONDS = 60


class Service:
    """`python -m <module> <arguments>`, listening on a port that it keeps over restarts."""

    def __init__(
        self,
        module: str,
        arguments: list[str],
        *,
        port: int,
        root: Path,
        log: Path,
        stdin: str = "",
    ) -> None:
        self.url = f"http://{children.HOST}:{port}"
        self.port = port
        self._module = module
        self._command = [sys.executable, "-m", module, *arguments]
        self._root = root
        self._log = log
        self._stdin = stdin
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start without waiting."""
        process = children.spawn(
            self._command, log=self._log, cwd=self._root, stdin=subprocess.PIPE
        )
        self._process = process
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write(self._stdin.encode())

    def wait_until_ready(self) -> None:
        """Raises StackError when it does not come up."""
        assert self._process is not None
        if not children.wait_for_listener(self.port, self._process, START_SECONDS):
            raise StackError(f"{self._module} did not start; see {self._log}")

    def revive(self) -> None:
        """Start again if it died."""
        if self._process is not None and self._process.poll() is not None:
            logger.error("%s died; starting it again", self._module)
            self.start()

    def stop(self) -> None:
        """Kill it: what it keeps is on disk before it answers."""
        if self._process is not None:
            children.end(self._process, signal.SIGKILL, 5)


class Timer:
    """Invokes a function right away and then every `seconds`, one at a time."""

    def __init__(self, pool: FunctionPool, event: str, seconds: float) -> None:
        self._pool = pool
        self._event = event.encode()
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="timer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """No further invoke."""
        self._stopping.set()

    def _run(self) -> None:
        while True:
            run_in_background(self._pool, self._event)
            if self._stopping.wait(self._seconds):
                return
