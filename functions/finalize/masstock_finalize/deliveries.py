"""Webhooks: sends those that are due and records the receivers' answers."""

from uuid import UUID

from masstock.database.connection import Row
from masstock.database.queries import webhook_deliveries
from masstock.database.worker import Worker
from masstock.services.secret_store import read_secret
from masstock.settings import FinalizeSettings
from masstock.telemetry import logger

# Seconds to the attempt after the first, the second, …: the specification's schedule, but that the
# first is longer than an attempt may take. The sweep keeps it to the minute; the last attempt comes
# after some three days.
WEBHOOK_DELAYS = [15, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
WEBHOOKS_AT_ONCE = 20


def deliver_webhooks(
    worker: Worker, settings: FinalizeSettings, execution_id: UUID | None = None
) -> int:
    """Sends what is due, or makes the first attempt of one execution; returns how many were taken.
    The others are due again later."""
    due = webhook_deliveries.claim_deliveries(
        worker, execution_id, WEBHOOKS_AT_ONCE, WEBHOOK_DELAYS
    )
    if not due:
        return 0
    # Here, not at the top: most ends have nobody to tell.
    from concurrent.futures import ThreadPoolExecutor

    from masstock.services import webhooks

    master = read_secret(settings.webhook_secret_id)

    def send(row: Row) -> webhooks.Answer:
        return webhooks.send(
            row["url"],
            row["payload"],
            secret=webhooks.client_secret(master, row["client_id"], row["secret_version"]),
            message_id=f"msg_{row['id'].hex}",
            allow_private=settings.allow_private_webhooks,
        )

    delivered = 0
    # At once: one receiver that never answers must not keep the others waiting.
    with ThreadPoolExecutor(len(due)) as pool:
        for row, answer in zip(due, pool.map(send, due), strict=True):
            delivered += answer.delivered
            webhook_deliveries.record_attempt(
                worker,
                row["id"],
                delivered=answer.delivered,
                final=answer.final,
                status=answer.status,
                error=answer.error,
            )
            logger.info(
                "webhook sent",
                delivery_id=str(row["id"]),
                execution_id=str(row["execution_id"]),
                attempt=row["attempts"],
                status=answer.status,
                error=answer.error,
            )
    return delivered
