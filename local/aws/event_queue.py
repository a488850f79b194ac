"""Lambda's queue of asynchronous invokes: retries, and the destination of events that failed.

Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

import json
import logging
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.aws.execution_environment import InvokeResult
from local.aws.pool import FunctionPool, PayloadTooLarge, PoolClosed, TooManyRequests

logger = logging.getLogger(__name__)

# Lambda waits one minute before the first retry and two before the second.
RETRY_SECONDS = 60
FIRST_THROTTLE_SECONDS = 1
LONGEST_THROTTLE_SECONDS = 300


class EventQueue:
    """Invokes functions asynchronously, several events at a time.

    A failed invoke is repeated as often as the template says, after `retry_seconds` and twice that.
    A throttled invoke is repeated until the event is too old, and costs no retry. An event that
    failed becomes one line of the file `dead_letters`, as Lambda sends it to the queue. The events
    are kept in memory: those that wait for a retry are lost when the stack stops.
    """

    def __init__(self, dead_letters: Path, retry_seconds: float = RETRY_SECONDS) -> None:
        self._dead_letters = dead_letters
        self._retry_seconds = retry_seconds
        self._stopping = threading.Event()
        self._lock = threading.Lock()

    def send(self, pool: FunctionPool, event: bytes) -> None:
        """Accept an event for the function of `pool`."""
        threading.Thread(
            target=self._handle, args=(pool, event), name="asynchronous-invoke", daemon=True
        ).start()

    def stop(self) -> None:
        """Start no further retry. A running invoke continues."""
        self._stopping.set()

    def _handle(self, pool: FunctionPool, event: bytes) -> None:
        function = pool.function
        accepted = time.monotonic()
        count = 0
        throttle_pause = FIRST_THROTTLE_SECONDS
        while True:
            try:
                result = pool.invoke(event)
            except PoolClosed:
                return
            except PayloadTooLarge:
                logger.exception("An event of %s is over Lambda's limit", function.name)
                return
            except TooManyRequests:
                result, pause = None, throttle_pause
                throttle_pause = min(2 * throttle_pause, LONGEST_THROTTLE_SECONDS)
            else:
                if not result.failed:
                    return
                count += 1
                logger.error("%s failed: %s", function.name, result.payload.decode())
                if count > function.event_retries:
                    self._keep(pool, event, result, count, "RetriesExhausted")
                    return
                pause = count * self._retry_seconds
            if time.monotonic() + pause > accepted + function.event_age_seconds:
                self._keep(pool, event, result, count, "EventAgeExceeded")
                return
            if self._stopping.wait(pause):
                return

    def _keep(
        self,
        pool: FunctionPool,
        event: bytes,
        result: InvokeResult | None,
        count: int,
        condition: str,
    ) -> None:
        record: dict[str, Any] = {
            "version": "1.0",
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "requestContext": {
                "requestId": str(uuid.uuid4()),
                "functionArn": f"{pool.function.arn}:$LATEST",
                "condition": condition,
                "approximateInvokeCount": count,
            },
            "requestPayload": json.loads(event),
        }
        if result is not None:
            record["responseContext"] = {
                "statusCode": 200,
                "executedVersion": "$LATEST",
                "functionError": "Unhandled",
            }
            record["responsePayload"] = json.loads(result.payload)
        logger.error("%s: an event is given up: %s", pool.function.name, condition)
        with self._lock, self._dead_letters.open("a") as file:
            file.write(json.dumps(record) + "\n")
