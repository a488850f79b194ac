"""The sweep: looks after executions whose machine was lost, sends webhooks, removes images."""

from masstock.database.connection import Row
from masstock.database.queries import executions, idempotency_keys
from masstock.database.worker import Worker
from masstock.errors import DeadlineExceeded
from masstock.schemas.engine import ExecutionRun
from masstock.services.state_machine import StateMachine
from masstock.services.storage import Results
from masstock.settings import FinalizeSettings
from masstock.telemetry import logger, new_metrics
from masstock_finalize.deliveries import deliver_webhooks
from masstock_finalize.ending import end_run

# A submission starts its machine right after its commit; later than this, it never will.
START_GRACE_SECONDS = 30
SWEEP_LIMIT = 500


def sweep(worker: Worker, settings: FinalizeSettings) -> dict[str, int]:
    """Looks at every live execution: starts what was committed but never started, resumes what
    lost its machine, ends what is past its deadline. Sends the webhooks that are due, and removes
    the images of deleted executions."""
    rows = executions.list_live_executions(worker, SWEEP_LIMIT)
    recovered = failed = stuck = 0
    for row in rows:
        stuck += row["overdue"]
        try:
            recovered += recover(worker, row, settings)
        except Exception:  # one that cannot be helped must not keep the others waiting
            failed += 1
            stuck += not row["overdue"]
            logger.exception("could not look after an execution", execution_id=str(row["id"]))
    delivered = deliver_webhooks(worker, settings)
    worker.fetch_together([idempotency_keys.forget_expired_keys(), executions.fold_counts()])
    for execution_id in executions.list_deleted_executions(worker, SWEEP_LIMIT):
        Results(settings.results_bucket).remove_all(execution_id)
        executions.forget_deleted_execution(worker, execution_id)
    # An alarm listens, to its absence too: it says that somebody still looks.
    metrics = new_metrics()
    metrics.add_metric("LiveExecutions", "Count", len(rows))
    metrics.add_metric("StuckExecutions", "Count", stuck)
    metrics.flush_metrics()
    return {
        "live": len(rows),
        "recovered": recovered,
        "failed": failed,
        "webhooks_delivered": delivered,
    }


def recover(worker: Worker, row: Row, settings: FinalizeSettings) -> bool:
    """Does for one live execution what `sweep` says; False where it is in good hands."""
    run = ExecutionRun(row["id"], row["run"])
    never_started = row["status"] == "pending"
    if never_started and row["age_seconds"] < START_GRACE_SECONDS and not row["overdue"]:
        return False
    state_machine = StateMachine(settings.state_machine_arn)
    machine = state_machine.status(run)
    if row["overdue"]:
        if machine == "RUNNING":
            logger.error("stopping a machine past its deadline", execution_id=str(run.execution_id))
            state_machine.stop(run, error="DeadlineExceeded")
            return True
        # A claim still alive may be about to store its image: the next sweep comes soon enough.
        if row["painting"]:
            return False
        status, _ = end_run(worker, run, DeadlineExceeded())
        return status != "ended"
    if machine == "RUNNING":
        return False
    # A run that has a machine, even one that ended, never gets another: the next run does.
    next_run = run if machine is None and never_started else executions.advance_run(worker, run)
    if next_run is None:
        return False
    logger.warning(
        "resuming an execution without a machine",
        execution_id=str(run.execution_id),
        run=next_run.run,
        machine=machine,
    )
    state_machine.start(next_run)
    return True
