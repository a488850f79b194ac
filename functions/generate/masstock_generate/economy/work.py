"""What the steps of the economy tier share: the execution that they work on, and what comes next.

Every step may run twice and may die anywhere. Its progress is in the rows of economy_jobs.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from masstock.catalogue.image_models import provider_of
from masstock.database.queries import batch_results, economy_jobs
from masstock.database.queries.asked import api_key_in
from masstock.database.queries.economy_jobs import Job, JobState, Situation, Work
from masstock.database.worker import Worker
from masstock.errors import DeadlineExceeded, Outcome, ProviderUnavailable
from masstock.schemas.engine import Batch, ExecutionRun, NextStep
from masstock.settings import EconomySettings
from masstock.telemetry import logger
from masstock_generate.api_keys import read_api_key
from masstock_generate.providers import BatchProvider, batch_provider

# A claim of a job lasts this long after each write. After a longer request to the provider, the
# fence refuses the next write if another invocation has the claim.
LEASE_SECONDS = 90
# The step begins nothing new after this time. Lambda's timeout is 900 s.
STEP_SECONDS = 240
# After this time a cancelled job that has not ended is given up. When the execution must end, so is
# a result that cannot be downloaded.
CANCEL_SECONDS = 600
# After so many refusals of a call for a job in a row, the next refusal is final.
MAX_REFUSALS = 5
# The pause between two looks at a job grows with the time that it takes.
LONGEST_PAUSE_SECONDS = 300
PAUSE_SHARE = 0.1


class ClaimLost(Exception):
    """Another invocation works on the job: this one was too slow."""


@dataclass
class EconomyRun:
    """One step's work on one execution."""

    worker: Worker
    run: ExecutionRun
    settings: EconomySettings
    situation: Situation

    def __post_init__(self) -> None:
        self._until = time.monotonic() + STEP_SECONDS

    @property
    def is_stopping(self) -> bool:
        """True if the jobs must end: the execution was stopped, or it is time to fall back."""
        return self.situation["stopped"] or self.situation["overdue"] or self.situation["late"]

    @cached_property
    def api_key(self) -> str:
        """Raises InvalidApiKey or ApiKeyUnreadable."""
        return read_api_key(
            api_key_in(self.situation["input_settings"]),
            self.situation["client_id"],
            self.run.execution_id,
            self.situation["config"],
            self.settings,
        )

    def provider_of(self, job: Job) -> BatchProvider:
        """The batch interface that paints the job."""
        return batch_provider(provider_of(job.model))

    def claims(self, work: Work) -> Iterator[Job]:
        """Claims the jobs that are due for this work, one after the other, while there is time."""
        while time.monotonic() < self._until:
            job = economy_jobs.claim_job(self.worker, self.run.execution_id, work, LEASE_SECONDS)
            if job is None:
                return
            yield job

    def keep(self, job: Job) -> None:
        """Writes the job and begins its lease anew. Raises ClaimLost."""
        if not economy_jobs.keep_job(self.worker, job, LEASE_SECONDS):
            raise ClaimLost

    def release(self, job: Job, seconds: float = 0) -> None:
        """Writes the job and ends the claim. The next look at it is due in `seconds`."""
        job.next_look_at = datetime.now(UTC) + timedelta(seconds=seconds)
        economy_jobs.keep_job(self.worker, job, None)

    def pause(self) -> float:
        """Seconds between two looks at a job."""
        age = (datetime.now(UTC) - self.situation["since"]).total_seconds()
        longest = max(LONGEST_PAUSE_SECONDS, self.settings.economy_poll_seconds)
        return min(longest, max(self.settings.economy_poll_seconds, PAUSE_SHARE * age))

    def postpone(self, job: Job, outcome: Outcome) -> None:
        """Ends the claim after a call that failed. Each failure in a row doubles the pause."""
        job.tries += 1
        logger.warning(
            "a call for an economy job failed",
            job_id=str(job.id),
            error_code=outcome.code,
            tries=job.tries,
        )
        first = self.settings.economy_poll_seconds
        self.release(job, min(LONGEST_PAUSE_SECONDS, first * 2 ** min(job.tries - 1, 10)))

    def is_refused(self, job: Job, outcome: Outcome) -> bool:
        """True if the provider will not accept this call for the job. A key that is refused may be
        accepted again, and the images of its jobs are paid."""
        return not outcome.retryable and job.tries >= MAX_REFUSALS

    def give_up(self, job: Job, outcome: Outcome) -> None:
        """The job paints nothing more. Its prompts have this outcome unless they fall back."""
        logger.warning("an economy job failed", job_id=str(job.id), error_code=outcome.code)
        job.state = "ended"
        job.ended_at = datetime.now(UTC)
        job.output_file = None
        job.error_code, job.error_message = outcome.code, outcome.detail
        job.provider_message = outcome.provider_message
        self.release(job)


def what_next(
    worker: Worker, run: ExecutionRun, settings: EconomySettings, max_concurrency: int
) -> Batch:
    """Decides from the rows what the machine does next. When all jobs are done, moves the remaining
    prompts to the standard tier, or ends them."""
    found = economy_jobs.fetch_situation(worker, run)
    if found is None:
        # The execution has ended, has another run or has fallen back: fanout finds out which.
        return _step("fanout", max_concurrency)
    situation, jobs = found
    economy = EconomyRun(worker, run, settings, situation)
    for job in jobs:
        # A pause for a collection that fails at once.
        if job["collectable"] and economy_jobs.note_collection(
            worker, job["id"], settings.economy_poll_seconds
        ):
            return _step("paint", max_concurrency, indices=job["collectable"])
    due = [job for job in jobs if job["due_seconds"] <= 0]
    if any(job["state"] == "ended" and job["has_output"] for job in due):
        return _step("copy", max_concurrency)
    may_submit = not economy.is_stopping
    if may_submit and (situation["unplanned"] or any(job["state"] == "planned" for job in due)):
        return _step("submit", max_concurrency)
    if jobs:
        return _step("wait", max_concurrency, wait_seconds=_wait_seconds(jobs, economy))
    return _step(_end(economy), max_concurrency)


def _wait_seconds(jobs: list[JobState], economy: EconomyRun) -> int:
    first = economy.settings.economy_poll_seconds
    due = min(first if job["collectable"] else job["due_seconds"] for job in jobs)
    return max(1, math.ceil(min(due, economy.pause())))


def _end(economy: EconomyRun) -> NextStep:
    """Every job is done. Decides about the prompts without an image."""
    worker, run, situation = economy.worker, economy.run, economy.situation
    if not situation["unfinished"] or situation["stopped"]:
        return "end"
    if situation["overdue"]:
        late = batch_results.fail_unfinished(run.execution_id, run.run, DeadlineExceeded())
        worker.fetch_together([late])
        return "end"
    if situation["on_economy_failure"] == "fail":
        unpainted = ProviderUnavailable("The provider's job ended without this image.")
        economy_jobs.fail_unpainted(worker, run, unpainted.code, unpainted.detail)
        return "end"
    logger.warning("the rest falls back to the standard tier", prompts=situation["unfinished"])
    economy_jobs.leave_to_standard(worker, run)
    return "fanout"


def _step(
    following: NextStep,
    max_concurrency: int,
    *,
    indices: list[int] | None = None,
    wait_seconds: int = 1,
) -> Batch:
    return {
        "next": following,
        "tier": "economy",
        "indices": indices or [],
        "max_concurrency": max_concurrency,
        "wait_seconds": wait_seconds,
    }
