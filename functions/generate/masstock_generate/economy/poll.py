"""Polls the jobs, cancels them when it is time, and deletes the files of jobs that are done."""

from collections.abc import Callable
from datetime import UTC, datetime

from masstock.database.queries import economy_jobs
from masstock.database.queries.economy_jobs import Job
from masstock.errors import Outcome, ProviderUnavailable
from masstock.services.result_copies import delete_copy
from masstock.telemetry import logger
from masstock_generate.economy.submit import (
    FAILED_CALL,
    find_unanswered,
    must_wait_for_list,
    note_created,
)
from masstock_generate.economy.work import CANCEL_SECONDS, EconomyRun
from masstock_generate.providers import ProviderJob


def poll(economy: EconomyRun) -> None:
    """Polls every job that is due."""
    if economy.is_stopping:
        for job in economy.claims("abandon"):
            _attempt(economy, job, _abandon)
    for job in economy.claims("look"):
        _attempt(economy, job, _look if job.state == "running" else _tidy)


def _attempt(economy: EconomyRun, job: Job, act: Callable[[EconomyRun, Job], None]) -> None:
    try:
        act(economy, job)
    except Outcome as outcome:
        failed = isinstance(outcome, FAILED_CALL)
        if _is_given_up(job) if failed else economy.is_refused(job, outcome):
            economy.give_up(job, outcome)
        else:
            economy.postpone(job, outcome)


def _abandon(economy: EconomyRun, job: Job) -> None:
    """Creates no job for the chunk. If an earlier creation was not answered, looks for its job, so
    that a later poll can cancel it."""
    if must_wait_for_list(economy, job):
        return
    found = find_unanswered(economy, job)
    if found is not None:
        note_created(economy, job, found)
        return
    economy.give_up(job, ProviderUnavailable("The provider's job was not created in time."))


def _look(economy: EconomyRun, job: Job) -> None:
    found = economy.provider_of(job).look(economy.api_key, job.job_name or "")
    if found is None:
        economy.give_up(job, ProviderUnavailable("The provider's job is gone."))
        return
    job.provider_state, job.painted, job.tries = found.state, found.painted, 0
    if found.has_ended:
        _end(economy, job, found)
        return
    if _is_given_up(job):
        economy.give_up(job, ProviderUnavailable("The provider's job did not end when cancelled."))
        return
    if economy.is_stopping:
        if job.cancelled_at is None:
            job.cancelled_at = datetime.now(UTC)
            economy.keep(job)
        # At each look: an earlier request may not have arrived.
        economy.provider_of(job).cancel(economy.api_key, found.name)
        economy.release(job, economy.settings.economy_poll_seconds)
        return
    economy.release(job, economy.pause())


def _is_given_up(job: Job) -> bool:
    if job.cancelled_at is None:
        return False
    return (datetime.now(UTC) - job.cancelled_at).total_seconds() > CANCEL_SECONDS


def _end(economy: EconomyRun, job: Job, found: ProviderJob) -> None:
    """A job that did not succeed can have a result too, which is then collected."""
    logger.info("an economy job ended", job_id=str(job.id), state=found.state)
    if found.output_file is None:
        economy.give_up(
            job,
            ProviderUnavailable(
                f"The provider's job ended without images ({found.state}).",
                provider_message=found.words,
            ),
        )
        return
    job.state, job.ended_at, job.output_file = "ended", datetime.now(UTC), found.output_file
    economy.release(job)


def _tidy(economy: EconomyRun, job: Job) -> None:
    """Deletes the files of a job that is done. Files that cannot be deleted expire: at the provider
    after two days, copies after seven."""
    for delete in (_delete_copy, _delete_files):
        try:
            delete(economy, job)
        except Exception:  # it must not keep the execution from its end
            logger.warning("files of an economy job were left", job_id=str(job.id), exc_info=True)
    job.state, job.reference_files = "done", {}
    economy.release(job)


def _delete_copy(economy: EconomyRun, job: Job) -> None:
    if job.copy_key is not None:
        delete_copy(economy.settings.uploads_bucket, job.copy_key)


def _delete_files(economy: EconomyRun, job: Job) -> None:
    """Deletes the files that the provider has for the job. Reference images that another chunk
    needs stay until its end. A file whose upload was not noted, because the process died, is found
    by its name."""
    # From now on, no chunk reuses the references of this one.
    job.references_at = None
    economy.keep(job)
    needed = economy_jobs.list_used_references(economy.worker, job)
    provider = economy.provider_of(job)
    names = [job.input_file, job.output_file]
    names += [file["name"] for file in job.reference_files.values()]
    provider.delete(economy.api_key, [name for name in names if name and name not in needed])
    left = provider.find_files(economy.api_key, str(job.id))
    provider.delete(economy.api_key, [name for name in left if name not in needed])
