"""The sweep: recovers executions without a machine, sends webhooks, removes deleted images."""

from masstock.database.queries import executions, idempotency_keys
from masstock.database.queries.executions import LiveExecution
from masstock.database.worker import Worker
from masstock.errors import DeadlineExceeded
from masstock.schemas.engine import ExecutionRun
from masstock.services.state_machine import StateMachine
from masstock.services.storage import Results
from masstock.settings import FinalizeSettings
from masstock.telemetry import emit_counts, logger
from masstock_finalize.deliveries import deliver_webhooks
from masstock_finalize.ending import end_run

# A submission starts its machine directly after its commit. The sweep starts it after this time.
START_GRACE_SECONDS = 30
SWEEP_LIMIT = 500


def sweep(worker: Worker, settings: FinalizeSettings) -> dict[str, int]:
    """Recovers live executions (see `recover`), sends the webhooks that are due, deletes expired
    idempotency keys, updates the sums of the reports and removes the images of deleted executions.
    Returns counts."""
    rows = executions.list_live_executions(worker, SWEEP_LIMIT)
    recovered = failed = stuck = 0
    for row in rows:
        stuck += row["overdue"]
        try:
            recovered += recover(worker, row, settings)
        except Exception:  # one failing execution must not block the others
            failed += 1
            stuck += not row["overdue"]
            logger.exception("could not look after an execution", execution_id=str(row["id"]))
    delivered = deliver_webhooks(worker, settings)
    worker.fetch_together([idempotency_keys.forget_expired_keys(), executions.fold_counts()])
    for execution_id in executions.list_deleted_executions(worker, SWEEP_LIMIT):
        Results(settings.results_bucket).remove_all(execution_id)
        executions.forget_deleted_execution(worker, execution_id)
    # An alarm also watches for missing data, which means that no sweep runs.
    emit_counts(LiveExecutions=len(rows), StuckExecutions=stuck)
    return {
        "live": len(rows),
        "recovered": recovered,
        "failed": failed,
        "webhooks_delivered": delivered,
    }


def recover(worker: Worker, row: LiveExecution, settings: FinalizeSettings) -> bool:
    """Starts the machine of an execution that has none. Past the deadline it stops a running
    machine, or else ends the execution if no prompt is being painted. False if it changed
    nothing."""
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
        # A claim may still store its image. The next sweep ends the execution.
        if row["painting"]:
            return False
        status, _ = end_run(worker, run, DeadlineExceeded())
        return status != "ended"
    if machine == "RUNNING":
        return False
    # A run never gets a second machine, even if its first one ended. The next run gets one.
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
