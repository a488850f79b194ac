"""First step of an execution: mark it processing and lay out one row per prompt."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from masstock import imports_done
from masstock.config import FanoutSettings, read_settings
from masstock.db import Database, Worker
from masstock.models.workflow import Batch, ExecutionRun
from masstock.queries import batch_results, executions
from masstock.steps import step
from masstock.telemetry import logger

NOTHING_TO_DO: Batch = {"indices": [], "max_concurrency": 1}

_database: Database | None = None


@logger.inject_lambda_context(clear_state=True)
@step
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> Batch:
    """{execution_id, run} → the indices still to paint and how many may be painted at once. Run
    twice, it changes nothing the second time; raises DatabaseUnavailable."""
    global _database  # noqa: PLW0603 - kept across invocations
    settings = read_settings(FanoutSettings)
    _database = _database or Database(settings.database_secret_id)
    run = ExecutionRun.from_event(event)
    logger.append_keys(execution_id=str(run.execution_id), run=run.run)
    return fan_out(Worker(_database), run, settings)


def fan_out(worker: Worker, run: ExecutionRun, settings: FanoutSettings) -> Batch:
    """See lambda_handler."""
    started = executions.start_execution(worker, run)
    if started is None:
        logger.warning("nothing to fan out: the execution ended or belongs to another run")
        return NOTHING_TO_DO
    _, unfinished = worker.fetch_together(
        [
            batch_results.lay_out_prompts(run.execution_id),
            batch_results.list_unfinished(run.execution_id),
        ]
    )
    if started["stopped"]:
        return NOTHING_TO_DO
    wanted = started["config"].get("max_concurrency") or settings.max_concurrency_default
    logger.info("fanned out", prompts=len(unfinished))
    return {
        "indices": [row["batch_index"] for row in unfinished],
        "max_concurrency": max(1, min(int(wanted), settings.max_concurrency_limit)),
    }


imports_done()
