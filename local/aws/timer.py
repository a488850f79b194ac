"""EventBridge's scheduled rules: a function that is invoked at a fixed interval."""

import threading

from local.aws.lambda_api import run_in_background
from local.aws.pool import FunctionPool


class Timer:
    """Invokes a function at `start` and then every `seconds`, one invoke at a time."""

    def __init__(self, pool: FunctionPool, event: str, seconds: float) -> None:
        self._pool = pool
        self._event = event.encode()
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="timer", daemon=True)

    def start(self) -> None:
        """Start the thread that invokes."""
        self._thread.start()

    def stop(self) -> None:
        """Start no further invoke. A running one continues."""
        self._stopping.set()

    def _run(self) -> None:
        while True:
            run_in_background(self._pool, self._event)
            if self._stopping.wait(self._seconds):
                return
