"""Last step of an execution: settle what is left, count, write the terminal state, tell the client.
Also looks after executions whose machine was lost: by the event of its end, and by a sweep every
minute."""

import json
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from aws_lambda_powertools.utilities.typing import LambdaContext

from masstock import imports_done
from masstock.config import FinalizeSettings, read_settings
from masstock.db import Database, Row, Worker
from masstock.errors import DeadlineExceeded, NotFinished, Outcome
from masstock.models.workflow import ExecutionRun
from masstock.queries import batch_results, executions, idempotency_keys, webhook_deliveries
from masstock.secrets import read_secret
from masstock.steps import step
from masstock.storage import Results
from masstock.telemetry import logger, new_metrics

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

# A submission starts its machine right after its commit; later than this, it never will.
START_GRACE_SECONDS = 30
SWEEP_LIMIT = 500

_database: Database | None = None


@logger.inject_lambda_context(clear_state=True)
@step
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Ends the run named by {execution_id, run, cause?}, tells the client of {notify: execution
    id}, recovers the machine named by an EventBridge event, or sweeps for {sweep: true}.
    Everything here may run twice, and late."""
    global _database  # noqa: PLW0603 - kept across invocations
    settings = read_settings(FinalizeSettings)
    _database = _database or Database(settings.database_secret_id)
    worker = Worker(_database)
    if event.get("sweep"):
        return sweep(worker, settings)
    if "notify" in event:
        return {"delivered": deliver_webhooks(worker, settings, UUID(event["notify"]))}
    if "detail" in event:
        run = ExecutionRun.from_machine_name(event["detail"]["name"])
        logger.append_keys(execution_id=str(run.execution_id), run=run.run)
        row = executions.fetch_live_execution(worker, run)
        return {"recovered": int(row is not None and recover(worker, row, settings))}
    run = ExecutionRun.from_event(event)
    logger.append_keys(execution_id=str(run.execution_id), run=run.run)
    if cause := event.get("cause"):
        # The name alone: a cause may quote what must not be logged.
        logger.error("the machine gave up", error=cause.get("Error"))
    status, must_notify = finalize(worker, run, NotFinished())
    return {"status": status, "must_notify": must_notify}


def finalize(worker: Worker, run: ExecutionRun, reason: Outcome) -> tuple[str, bool]:
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
    machine = _machine_status(run, settings)
    if row["overdue"]:
        if machine == "RUNNING":
            _stop_machine(run, settings)
            return True
        # A claim still alive may be about to store its image: the next sweep comes soon enough.
        if row["painting"]:
            return False
        status, _ = finalize(worker, run, DeadlineExceeded())
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
    _start_machine(next_run, settings)
    return True


# --- webhooks ------------------------------------------------------------------------------------

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

    from masstock import webhooks

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


# --- the machine ---------------------------------------------------------------------------------


def _machine_status(run: ExecutionRun, settings: FinalizeSettings) -> str | None:
    client = _step_functions()
    try:
        return client.describe_execution(executionArn=_execution_arn(run, settings))["status"]
    except client.exceptions.ExecutionDoesNotExist:
        return None


def _start_machine(run: ExecutionRun, settings: FinalizeSettings) -> None:
    _step_functions().start_execution(
        stateMachineArn=settings.state_machine_arn,
        name=run.machine_name,
        input=json.dumps(run.as_input()),
    )


def _stop_machine(run: ExecutionRun, settings: FinalizeSettings) -> None:
    logger.error("stopping a machine past its deadline", execution_id=str(run.execution_id))
    _step_functions().stop_execution(
        executionArn=_execution_arn(run, settings), error="DeadlineExceeded"
    )


def _execution_arn(run: ExecutionRun, settings: FinalizeSettings) -> str:
    machine = settings.state_machine_arn.replace(":stateMachine:", ":execution:")
    return f"{machine}:{run.machine_name}"


@cache
def _step_functions() -> "SFNClient":
    # Here, not at the top: the ordinary end of an execution needs no boto3.
    import boto3

    return boto3.client("stepfunctions")  # pyright: ignore[reportUnknownMemberType]


imports_done()
