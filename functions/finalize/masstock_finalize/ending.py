"""Ends a run: settles unfinished prompts, counts the results, writes the final status."""

from typing import cast

from masstock.database.queries import batch_results, executions, layout, webhook_deliveries
from masstock.database.queries.executions import EndedExecution
from masstock.database.worker import Worker
from masstock.errors import Outcome
from masstock.schemas.engine import ExecutionRun
from masstock.telemetry import logger, new_metrics


def end_run(worker: Worker, run: ExecutionRun, reason: Outcome) -> tuple[str, bool]:
    """Ends the run's execution. Its unfinished prompts fail for the reason that stopped the
    execution, or else for `reason`. Returns the execution's status, and True if a webhook must be
    sent. The status is "ended" if the execution has ended before or has another run."""
    *_, ended, [results], deliveries = worker.fetch_together(
        [
            executions.lock_execution(run),
            layout.lay_out_images(run.execution_id),
            batch_results.fail_unfinished(run.execution_id, run.run, reason),
            executions.end_execution(run),
            webhook_deliveries.announce_results(run.execution_id),
            webhook_deliveries.enqueue_delivery(run),
        ]
    )
    if not ended:
        logger.info("nothing to finalize: the execution has ended or has another run")
        return "ended", False
    [row] = cast(list[EndedExecution], ended)
    counts = row["output_data"]
    metrics = new_metrics()
    metrics.add_dimension("status", row["status"])
    metrics.add_metric("ExecutionsEnded", "Count", 1)
    metrics.add_metric("PromptsSucceeded", "Count", counts["successful"])
    metrics.add_metric("PromptsFailed", "Count", counts["failed"])
    metrics.add_metric("CostMicroUsd", "None", counts["cost_microusd"] or 0)
    metrics.flush_metrics()
    logger.info(
        "execution ended",
        status=row["status"],
        error_code=row["error_code"],
        client_id=str(row["client_id"]),
        duration_seconds=row["duration_seconds"],
        **counts,
    )
    return row["status"], bool(deliveries or results["announced"])
