"""Handlers of two functions. One ends runs, recovers executions without a machine, sends webhooks
and runs the sweep. The other one builds archives."""

from masstock.coldstart import imports_done  # first: imports run without the garbage collector

# isort: split

from typing import Any
from uuid import UUID

from aws_lambda_powertools.utilities.typing import LambdaContext

from masstock.database.queries import sweeps
from masstock.database.worker import worker_of
from masstock.engine_step import step
from masstock.errors import NotFinished
from masstock.schemas.engine import ExecutionRun
from masstock.settings import ArchiveSettings, FinalizeSettings, read_settings
from masstock.telemetry import logger
from masstock_finalize.canary import settle_canary
from masstock_finalize.deliveries import deliver_first
from masstock_finalize.ending import end_run
from masstock_finalize.sweep import recover, sweep


@logger.inject_lambda_context(clear_state=True)
@step
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Handles four kinds of events. {execution_id, run, cause?} ends a run. {notify: execution id}
    sends the execution's webhook. An EventBridge event names a machine, whose run is recovered.
    {sweep: true} starts the sweep. Each event may arrive twice or late."""
    settings = read_settings(FinalizeSettings)
    worker = worker_of(settings.database_secret_id)
    if event.get("sweep"):
        return sweep(worker, settings)
    if "notify" in event:
        return {"delivered": deliver_first(worker, settings, UUID(event["notify"]))}
    if "detail" in event:
        run = ExecutionRun.from_machine_name(event["detail"]["name"])
        logger.append_keys(execution_id=str(run.execution_id), run=run.run)
        row = sweeps.fetch_live_execution(worker, run)
        return {"recovered": int(row is not None and recover(worker, row, settings))}
    run = ExecutionRun.from_event(event)
    logger.append_keys(execution_id=str(run.execution_id), run=run.run)
    if cause := event.get("cause"):
        # Only the name is logged: the cause may contain a prompt or a key.
        logger.error("the machine gave up", error=cause.get("Error"))
    settled = settle_canary(worker, run, settings)
    status, must_notify = settled or end_run(worker, run, NotFinished())
    return {"status": status, "must_notify": must_notify}


@logger.inject_lambda_context(clear_state=True)
@step
def archive_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Builds one part of an archive: {archive_id, part}. An event may arrive twice or late."""
    # Imported here because the other handler needs none of it.
    from masstock_finalize.archiving import build_part

    settings = read_settings(ArchiveSettings)
    worker = worker_of(settings.database_secret_id)
    archive_id, part = UUID(event["archive_id"]), int(event["part"])
    logger.append_keys(archive_id=str(archive_id), part=part)
    return {"built": build_part(worker, settings, archive_id, part)}


imports_done()
