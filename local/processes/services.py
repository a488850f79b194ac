"""A child process that listens on a port and can be started again when it dies."""

import logging
import signal
import subprocess
import sys
from pathlib import Path

from local.errors import StackError
from local.processes import children

logger = logging.getLogger(__name__)

START_SECONDS = 60


class Service:
    """`python -m <module> <arguments>`, on a port that it keeps over restarts.

    `stdin` is the text that the process reads from its standard input at each start.
    """

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
        """Start the process without waiting for its port."""
        process = children.spawn(
            self._command, log=self._log, cwd=self._root, stdin=subprocess.PIPE
        )
        self._process = process
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write(self._stdin.encode())

    def wait_until_ready(self) -> None:
        """Wait until the port accepts connections; StackError after 60 s or if the process ends."""
        assert self._process is not None
        if not children.wait_for_listener(self.port, self._process, START_SECONDS):
            raise StackError(f"{self._module} did not start; see {self._log}")

    def revive(self) -> None:
        """Start the process again if it died."""
        if self._process is not None and self._process.poll() is not None:
            logger.error("%s died; starting it again", self._module)
            self.start()

    def stop(self) -> None:
        """Kill the process. It loses nothing: it writes to disk before it answers."""
        if self._process is not None:
            children.end(self._process, signal.SIGKILL, 5)
