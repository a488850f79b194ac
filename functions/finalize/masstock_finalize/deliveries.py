"""Sends webhooks that are due and stores the receivers' answers."""

import time
from typing import TYPE_CHECKING
from uuid import UUID

from masstock.database.queries import webhook_deliveries
from masstock.database.queries.webhook_deliveries import DueDelivery
from masstock.database.worker import Worker
from masstock.services.secret_store import read_secret
from masstock.settings import FinalizeSettings
from masstock.telemetry import logger

if TYPE_CHECKING:
    from concurrent.futures import Future

    from masstock.services.webhooks import Answer

# Seconds from the first attempt to the second, from the second to the third, and so on: the
# specification's schedule, except that the first delay is longer than an attempt may take. The
# sweep runs once a minute. The last attempt follows after about three days.
WEBHOOK_DELAYS = [15, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
# Attempts at the same time. One client's receivers cannot use more than their share.
WEBHOOKS_AT_ONCE = 20
WEBHOOKS_PER_CLIENT = 5
# The function may run for 60 s, and an attempt takes at most 10 s.
FIRST_SECONDS = 40
# The longest time from a delivery's due time to its attempt, if its client has a free slot.
LOOK_SECONDS = 1


def deliver_first(worker: Worker, settings: FinalizeSettings, execution_id: UUID) -> int:
    """Makes the first attempts of an ended execution's deliveries, in their order, until the
    receiver refuses one or FIRST_SECONDS have passed. Returns how many it accepted. The sweep sends
    the others."""
    until = time.monotonic() + FIRST_SECONDS
    delivered = 0
    while time.monotonic() < until:
        due = webhook_deliveries.claim_first_delivery(worker, execution_id, WEBHOOK_DELAYS)
        if not due or not _record(worker, due[0], _send(due[0], settings)):
            break
        delivered += 1
    return delivered


def deliver_due(worker: Worker, settings: FinalizeSettings, *, until: float) -> int:
    """Makes attempts until none is due, or until the time `until` (of `time.monotonic`). Ends at
    most one attempt's time later. Returns how many deliveries the receivers accepted. The others
    become due again."""
    sending: dict[Future[Answer], DueDelivery] = {}

    def claim() -> list[DueDelivery]:
        return webhook_deliveries.claim_deliveries(
            worker,
            limit=WEBHOOKS_AT_ONCE - len(sending),
            per_client=WEBHOOKS_PER_CLIENT,
            busy=[row["client_id"] for row in sending.values()],
            delays=WEBHOOK_DELAYS,
        )

    webhook_deliveries.free_queues(worker)
    due = claim()
    if not due:
        return 0
    # Imported here because most sweeps have no webhook to send.
    from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

    delivered = 0
    with ThreadPoolExecutor(WEBHOOKS_AT_ONCE) as pool:
        while due or sending:
            sending |= {pool.submit(_send, row, settings): row for row in due}
            answered, _ = wait(sending, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
            for future in answered:
                row = sending.pop(future)
                # Recorded at once: a slow receiver must not delay another receiver's result.
                delivered += _record(worker, row, future.result())
            may_claim = time.monotonic() < until and len(sending) < WEBHOOKS_AT_ONCE
            due = claim() if may_claim else []
    return delivered


def _send(row: DueDelivery, settings: FinalizeSettings) -> "Answer":
    # Imported here because most executions have no webhook.
    from masstock.services import webhooks

    master = read_secret(settings.webhook_secret_id)
    return webhooks.send(
        row["url"],
        row["payload"],
        secrets=[
            webhooks.client_secret(master, row["client_id"], version)
            for version in row["secret_versions"]
        ],
        message_id=f"msg_{row['id'].hex}",
        allow_private=settings.allow_private_webhooks,
    )


def _record(worker: Worker, row: DueDelivery, answer: "Answer") -> bool:
    """True if the receiver accepted the delivery."""
    webhook_deliveries.record_attempt(worker, row["id"], answer)
    logger.info(
        "webhook sent",
        delivery_id=str(row["id"]),
        execution_id=str(row["execution_id"]),
        attempt=row["attempts"],
        status=answer.status,
        error=answer.error,
    )
    return answer.delivered
