"""The end of a run: settles unfinished prompts, counts, writes the terminal status."""

from masstock.database.queries import batch_results, executions, webhook_deliveries
from masstock.database.worker import Worker
from masstock.errors import Outcome
from masstock.schemas.engine import ExecutionRun
from masstock.telemetry import logger, new_metrics


def end_run(worker: Worker, run: ExecutionRun, reason: Outcome) -> tuple[str, bool]:
    """Ends an execution: prompts still unfinished fail for `reason` unless it was stopped for
    another. Returns its status ("ended" where there was nothing to end), and whether somebody
    wants to be told."""
    *_, ended, deliveries = worker.fetch_together(
        [
            executions.lock_execution(run),
            batch_results.lay_out_prompts(run.execution_id),
            batch_results.fail_unfinished(run.execution_id, run.run, reason),
            executions.end_execution(run),
            webhook_deliveries.enqueue_delivery(run),
        ]
    )
    if not ended:
        logger.info("nothing to finalize: the execution ended or belongs to another run")
        return "ended", False
    [row] = ended
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
    return row["status"], bool(deliveries)
