"""Pauses an execution after its canary, or continues it."""

from typing import cast

from masstock.database.queries import canaries, webhook_deliveries
from masstock.database.queries.canaries import SettledCanary
from masstock.database.worker import Worker
from masstock.schemas.engine import ExecutionRun
from masstock.services.state_machine import StateMachine
from masstock.settings import FinalizeSettings
from masstock.telemetry import logger


def settle_canary(
    worker: Worker, run: ExecutionRun, settings: FinalizeSettings
) -> tuple[str, bool] | None:
    """None if the run has no canary to settle. Otherwise the execution's new state, `paused` or
    `processing`, and True if a webhook must be sent. Starts the next run if the execution goes on;
    if the start fails, the sweep starts it."""
    settled, _, deliveries = worker.fetch_together(
        [
            canaries.settle_canary(run),
            webhook_deliveries.announce_results(run.execution_id),
            webhook_deliveries.enqueue_delivery(run),
        ]
    )
    if not settled:
        return None
    [row] = cast(list[SettledCanary], settled)
    if row["paused"]:
        logger.info("paused after the canary")
        return "paused", bool(deliveries)
    logger.info("the canary passed", next_run=row["run"])
    StateMachine(settings.state_machine_arn).start(ExecutionRun(run.execution_id, row["run"]))
    return "processing", False
