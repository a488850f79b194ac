"""The sweep: recovers executions without a machine, starts builders of archives, removes deleted
images, sends webhooks."""

import time
from collections.abc import Iterator
from itertools import zip_longest
from uuid import UUID

from masstock.database.queries import (
    archives,
    canaries,
    executions,
    idempotency_keys,
    sweeps,
    webhook_deliveries,
)
from masstock.database.queries.sweeps import LiveExecution
from masstock.database.worker import Worker
from masstock.errors import DeadlineExceeded, NotFinished, StorageUnavailable
from masstock.schemas.engine import ExecutionRun
from masstock.services.archive_function import start_builder
from masstock.services.archive_storage import Archives
from masstock.services.state_machine import StateMachine
from masstock.services.storage import Results
from masstock.settings import FinalizeSettings
from masstock.telemetry import emit_counts, logger
from masstock_finalize.deliveries import deliver_due
from masstock_finalize.ending import end_run

# A submission starts its machine directly after its commit. The sweep starts it after this time.
START_GRACE_SECONDS = 30
LOOKS_LIMIT = 500
REMOVALS_AT_ONCE = 10
BUILDERS_AT_ONCE = 50
# Seconds of the sweep after which recovering and delivering begin nothing new. The function may run
# for 60 s, and an attempt of a webhook takes at most 10 s.
RECOVER_SECONDS = 20
DELIVER_SECONDS = 45
ANNOUNCE_SECONDS = 40
# Of writing words for the search. The last execution can take ten seconds longer.
INDEX_SECONDS = 5
# Of the removal of images alone. During an outage of S3 each removal waits for its timeouts.
REMOVE_SECONDS = 10
# Of marking images whose retention is over.
EXPIRE_SECONDS = 5


def sweep(worker: Worker, settings: FinalizeSettings) -> dict[str, int]:
    """Recovers live executions (see `recover`), restarts the builders of archives, writes the words
    of prompts for the search, removes the images of deleted and expired executions, stores the
    events of results, and sends the webhooks that are due. Webhooks come last, because receivers
    can be slow. If a part fails, the next parts still run, and the first error is raised at the
    end. Returns counts."""
    began = time.monotonic()
    names = (
        *("live", "recovered", "failed", "archive_builders", "webhooks_delivered"),
        *("expired", "removals_failed"),
    )
    counts: dict[str, int] = dict.fromkeys(names, 0)
    errors: list[Exception] = []

    def recover_executions() -> None:
        counts.update(_recover_all(worker, settings, until=began + RECOVER_SECONDS))

    def tidy() -> None:
        forgotten = [idempotency_keys.forget_expired_keys(), sweeps.forget_idle_lanes()]
        worker.fetch_together([*forgotten, sweeps.fold_counts(), canaries.end_long_pauses()])

    def build_archives() -> None:
        counts["archive_builders"] = _start_builders(
            worker, settings, until=began + RECOVER_SECONDS
        )

    def expire_images() -> None:
        counts["expired"] = _expire_images(worker)

    def remove_images() -> None:
        counts["removals_failed"] = _remove_deleted(worker, settings)

    def announce() -> None:
        _announce_results(worker, until=began + ANNOUNCE_SECONDS)

    def deliver() -> None:
        counts["webhooks_delivered"] = deliver_due(worker, settings, until=began + DELIVER_SECONDS)

    def index_prompts() -> None:
        _index_prompts(worker)

    parts = (
        *(recover_executions, tidy, build_archives, index_prompts),
        *(expire_images, remove_images, announce, deliver),
    )
    for part in parts:
        try:
            part()
        except Exception as error:
            errors.append(error)
            logger.exception("a part of the sweep failed", part=part.__name__)
    if errors:
        raise errors[0]
    return counts


def _recover_all(worker: Worker, settings: FinalizeSettings, *, until: float) -> dict[str, int]:
    listed = sweeps.list_live_executions(worker, LOOKS_LIMIT, START_GRACE_SECONDS)
    recovered = failed = failed_in_time = 0
    # One of each kind in turn: no kind uses the time of another.
    for kind, row in _take_turns(listed):
        if time.monotonic() > until:
            break
        # Before the look: a row that ends the function must not be the first one again.
        sweeps.keep_sweep_place(worker, kind, row)
        try:
            recovered += recover(worker, row, settings)
        except Exception:  # one failing execution must not block the others
            failed += 1
            failed_in_time += not row["overdue"]
            logger.exception("could not look after an execution", execution_id=str(row["id"]))
    live, overdue = sweeps.count_live_executions(worker)
    # An alarm also watches for missing data, which means that no sweep runs.
    closed = sweeps.count_closed_lanes(worker)
    emit_counts(LiveExecutions=live, StuckExecutions=overdue + failed_in_time, ClosedLanes=closed)
    return {"live": live, "recovered": recovered, "failed": failed}


def _take_turns(
    listed: dict[str, list[LiveExecution]],
) -> Iterator[tuple[str, LiveExecution]]:
    for rows in zip_longest(*listed.values()):
        for kind, row in zip(listed, rows, strict=True):
            if row is not None:
                yield kind, row


def _start_builders(worker: Worker, settings: FinalizeSettings, *, until: float) -> int:
    """Starts a builder for each part that is due, and marks parts as failed if all their attempts
    failed. Returns the number of builders."""
    if failed := archives.fail_hopeless_parts(worker):
        emit_counts(FailedArchiveParts=failed)
    started = 0
    for row in archives.list_due_parts(worker, BUILDERS_AT_ONCE):
        if time.monotonic() > until:
            break
        logger.warning("starting a builder", archive_id=str(row["archive_id"]), part=row["part"])
        start_builder(settings.archive_function_arn, row["archive_id"], row["part"])
        started += 1
    return started


def _announce_results(worker: Worker, *, until: float) -> None:
    for execution_id in webhook_deliveries.list_announcing(worker):
        if time.monotonic() > until:
            logger.warning("the remaining results are left to the next sweep")
            return
        try:
            worker.fetch_together([webhook_deliveries.announce_results(execution_id)])
        except Exception:  # one failing execution must not keep the results of the others
            logger.exception("could not announce results", execution_id=str(execution_id))


def _index_prompts(worker: Worker) -> None:
    until = time.monotonic() + INDEX_SECONDS
    while time.monotonic() < until and sweeps.index_prompts(worker):
        pass


def _expire_images(worker: Worker) -> int:
    """Marks the images whose retention is over as expired. Returns the number of their
    executions."""
    until = time.monotonic() + EXPIRE_SECONDS
    expired = 0
    while time.monotonic() < until and sweeps.expire_images(worker):
        expired += 1
    return expired


def _remove_deleted(worker: Worker, settings: FinalizeSettings) -> int:
    """Removes the images and archives of deleted executions. An execution with an object that S3
    did not delete stays listed, so a later sweep tries again. Returns the number of these
    executions. After REMOVE_SECONDS the rest is left to the next sweep."""
    until = time.monotonic() + REMOVE_SECONDS
    failed = 0
    unexpected: list[Exception] = []
    seen: set[UUID] = set()
    while True:
        listed = sweeps.list_removals(worker, REMOVALS_AT_ONCE)
        # The list begins again after its last execution.
        if seen.issuperset(row["execution_id"] for row in listed):
            if unexpected:
                raise unexpected[0]
            return failed
        for row in listed:
            execution_id = row["execution_id"]
            if time.monotonic() > until:
                logger.warning("the remaining images are left to the next sweep")
                return failed
            try:
                Results(settings.results_bucket).remove_all(execution_id)
                if row["client_id"] is not None:
                    store = Archives(settings.uploads_bucket)
                    store.remove_all(row["client_id"], execution_id)
            except StorageUnavailable:  # one refused image must not keep the images of the others
                failed += 1
                logger.exception(
                    "images are left to the next sweep", execution_id=str(execution_id)
                )
            except Exception as error:  # raised when the others have been tried
                unexpected.append(error)
            else:
                sweeps.forget_deleted_execution(worker, execution_id)
        seen.update(row["execution_id"] for row in listed)


def recover(worker: Worker, row: LiveExecution, settings: FinalizeSettings) -> bool:
    """Starts the machine of an execution that has none. Past the deadline, or if the execution was
    stopped and no prompt is being painted, it stops a running machine, or else ends the execution.
    Extends a deadline while the lane paints. False if it changed nothing."""
    run = ExecutionRun(row["id"], row["run"])
    never_started = row["status"] == "pending"
    if never_started and row["age_seconds"] < START_GRACE_SECONDS and not row["overdue"]:
        return False
    state_machine = StateMachine(settings.state_machine_arn)
    machine = state_machine.status(run)
    if row["overdue"] and not row["stopped"]:
        idle_seconds = settings.execution_deadline_seconds
        if sweeps.extend_deadline(worker, run.execution_id, idle_seconds):
            logger.info("extended the deadline", execution_id=str(run.execution_id))
            return True
    if row["stopped"] and machine == "RUNNING" and not row["painting"]:
        # The machine's children may sleep for minutes before they look again.
        state_machine.stop(run, error="Stopped")
        machine = "ABORTED"
    if row["stopped"] and machine != "RUNNING" and not row["painting"]:
        status, _ = end_run(worker, run, NotFinished())
        return status != "ended"
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
