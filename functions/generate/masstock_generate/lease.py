"""The time of one invocation: how long it may paint, and how long it may store an image."""

import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from masstock.database.queries import batch_results
from masstock.database.queries.batch_results import Claim
from masstock.database.worker import Worker
from masstock.errors import DatabaseUnavailable
from masstock.telemetry import logger

# For the work before and after the call of the model.
BESIDE_MODEL_SECONDS = 15
# The lease ends this long after the painting must have ended: clocks differ, and a kill takes time.
MARGIN_SECONDS = 2
# Before Lambda's timeout, to record what became of the prompt.
RECORD_SECONDS = 5


class Lease:
    """The lease is short while the model paints, so that the prompt of a dead invocation does not
    wait long. The watchdog keeps the promise that the lease is longer than the painting. Once there
    is an image to store, the lease is extended to Lambda's timeout."""

    def __init__(self, remaining_seconds: float, model_timeout_seconds: float) -> None:
        """`remaining_seconds` is the time until Lambda's timeout."""
        now = time.monotonic()
        painting = min(remaining_seconds, model_timeout_seconds + BESIDE_MODEL_SECONDS)
        self.seconds = painting + MARGIN_SECONDS
        self._painting_ends = now + painting
        self._ends = now + remaining_seconds
        self._watchdog = threading.Timer(painting, _end_process)
        self._watchdog.daemon = True

    @contextmanager
    def watched(self) -> Generator[None]:
        """Ends the process if the block still paints when the lease is about to end."""
        self._watchdog.start()
        try:
            yield
        finally:
            self._watchdog.cancel()

    def painted(self) -> None:
        """Stops the watchdog: there is an image, and it must not be lost."""
        self._watchdog.cancel()

    def cover(self, worker: Worker, claim: Claim, seconds: float) -> None:
        """Extends the lease to Lambda's timeout if it ends within `seconds`. If the database cannot
        be reached, the lease stays: a second painting is possible, but the image is stored."""
        now = time.monotonic()
        if now + seconds < self._painting_ends:
            return
        try:
            batch_results.extend_lease(worker, claim, self._ends - now + MARGIN_SECONDS)
            self._painting_ends = self._ends
        except DatabaseUnavailable:
            logger.warning("the lease was not extended", exc_info=True)

    def has_time_for(self, seconds: float) -> bool:
        """True if work of this length ends before the outcome must be recorded."""
        return time.monotonic() + seconds < self._ends - RECORD_SECONDS


def _end_process() -> None:
    logger.error("the invocation ends itself: the model took longer than its timeout")
    os._exit(1)
