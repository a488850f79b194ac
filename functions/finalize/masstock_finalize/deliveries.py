"""Sends webhooks that are due and stores the receivers' answers."""

from uuid import UUID

from masstock.database.queries import webhook_deliveries
from masstock.database.queries.webhook_deliveries import DueDelivery
from masstock.database.worker import Worker
from masstock.services.secret_store import read_secret
from masstock.settings import FinalizeSettings
from masstock.telemetry import logger

# Seconds between one attempt and the next. This is the schedule of Standard Webhooks, except for
# the first delay, which must be longer than an attempt can take. The sweep, which runs once a
# minute, makes the attempt. The last attempt is made after about three days.
WEBHOOK_DELAYS = [15, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
WEBHOOKS_AT_ONCE = 20


def deliver_webhooks(
    worker: Worker, settings: FinalizeSettings, execution_id: UUID | None = None
) -> int:
    """Sends the deliveries that are due, or makes the first attempt for one execution. Returns the
    number of deliveries that receivers accepted. Other deliveries are due again later."""
    due = webhook_deliveries.claim_deliveries(
        worker, execution_id, WEBHOOKS_AT_ONCE, WEBHOOK_DELAYS
    )
    if not due:
        return 0
    # Imported here because most executions have no webhook.
    from concurrent.futures import ThreadPoolExecutor

    from masstock.services import webhooks

    master = read_secret(settings.webhook_secret_id)

    def send(row: DueDelivery) -> webhooks.Answer:
        return webhooks.send(
            row["url"],
            row["payload"],
            secret=webhooks.client_secret(master, row["client_id"], row["secret_version"]),
            message_id=f"msg_{row['id'].hex}",
            allow_private=settings.allow_private_webhooks,
        )

    delivered = 0
    # In parallel: a receiver that does not answer must not delay the others.
    with ThreadPoolExecutor(len(due)) as pool:
        for row, answer in zip(due, pool.map(send, due), strict=True):
            delivered += answer.delivered
            webhook_deliveries.record_attempt(worker, row["id"], answer)
            logger.info(
                "webhook sent",
                delivery_id=str(row["id"]),
                execution_id=str(row["execution_id"]),
                attempt=row["attempts"],
                status=answer.status,
                error=answer.error,
            )
    return delivered
