"""EventBridge's scheduled rules: a function that is invoked at a fixed interval."""

import threading

from local.aws.event_queue import EventQueue
from local.aws.pool import FunctionPool


class Timer:
    """Sends an event at `start` and then every `seconds`.

    As on AWS, it does not wait for the function. Invokes longer than the interval overlap.
    """

    def __init__(self, events: EventQueue, pool: FunctionPool, event: str, seconds: float) -> None:
        self._events = events
        self._pool = pool
        self._event = event.encode()
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="timer", daemon=True)

    def start(self) -> None:
        """Start the thread that sends."""
        self._thread.start()

    def stop(self) -> None:
        """Send no further event."""
        self._stopping.set()

    def _run(self) -> None:
        while True:
            self._events.send(self._pool, self._event)
            if self._stopping.wait(self._seconds):
                return
