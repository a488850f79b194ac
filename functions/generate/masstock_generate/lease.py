"""The time of one invocation: the lease of its claim, and the end that it sets itself."""

import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from masstock.telemetry import logger

# The rule of generate's times; template.yaml, docs and tests refer to it. In seconds after the
# start of the invocation, for a model timeout of M:
#   M + 100  the invocation ends itself; until then it stores a paid image again
#   M + 105  the lease ends, and another invocation may paint the prompt
#   420      Lambda's timeout, for every M up to 300
# The time beside the model's is for preparing the call, and about a minute for storing the image.
BESIDE_MODEL_SECONDS = 105
# The lease ends this long after the invocation: clocks differ, and a kill takes time.
MARGIN_SECONDS = 5
# Before the invocation's end, to record the outcome of the prompt.
RECORD_SECONDS = 5


def lease_seconds(model_timeout_seconds: float) -> float:
    """How long a claim lasts."""
    return model_timeout_seconds + BESIDE_MODEL_SECONDS


class Lease:
    """No second invocation paints a prompt during the lease. A watchdog ends this invocation before
    the end of its lease, even if it hangs."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = time.monotonic() + seconds - MARGIN_SECONDS

    @contextmanager
    def watched(self) -> Generator[None]:
        """Ends the process if the block still runs shortly before the end of the lease."""
        watchdog = threading.Timer(self._ends - time.monotonic(), _end_process)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()

    def has_time_for(self, seconds: float) -> bool:
        """True if work of this length ends before the outcome must be recorded."""
        return time.monotonic() + seconds < self._ends - RECORD_SECONDS


def _end_process() -> None:
    logger.error("the invocation ends itself before its lease ends")
    os._exit(1)
