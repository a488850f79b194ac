"""Marks an execution as processing and inserts one row per image."""

from typing import cast

from masstock.database.queries import batch_results, executions, layout
from masstock.database.queries.batch_results import Unfinished
from masstock.database.worker import Worker
from masstock.schemas.engine import Batch, ExecutionRun
from masstock.settings import FanoutSettings
from masstock.telemetry import logger

NOTHING_TO_DO: Batch = {
    "next": "end",
    "tier": "standard",
    "indices": [],
    "max_concurrency": 1,
    "wait_seconds": 1,
}


def fan_out(worker: Worker, run: ExecutionRun, settings: FanoutSettings) -> Batch:
    """Returns what comes next: the Map, with the indices of the prompts still to be painted, or the
    economy steps. Returns NOTHING_TO_DO if the execution has ended, was stopped or has another
    run."""
    started = executions.start_execution(worker, run)
    if started is None:
        logger.warning("nothing to fan out: the execution has ended or has another run")
        return NOTHING_TO_DO
    _, rows = worker.fetch_together(
        [
            layout.lay_out_images(run.execution_id),
            batch_results.list_unfinished(run.execution_id),
        ]
    )
    wanted = started["config"].get("max_concurrency") or settings.max_concurrency_default
    batch = NOTHING_TO_DO.copy()
    batch["max_concurrency"] = max(1, min(int(wanted), settings.max_concurrency_limit))
    if started["by_economy_jobs"]:
        # Also if it was stopped: its jobs are cancelled, and what they painted is collected.
        batch["next"] = "poll" if started["stopped"] else "submit"
        return batch
    if started["stopped"]:
        return NOTHING_TO_DO
    unfinished = cast(list[Unfinished], rows)
    logger.info("fanned out", prompts=len(unfinished))
    batch["next"] = "paint"
    batch["indices"] = [row["batch_index"] for row in unfinished]
    return batch
