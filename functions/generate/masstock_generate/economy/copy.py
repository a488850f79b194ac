"""Copies the result of a job into the uploads bucket, and records the place of each prompt's line.

The result is copied while it arrives, so the memory depends on its longest line, not on its size.
Only the key of a line says to which prompt it belongs.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from masstock.database.queries import economy_jobs
from masstock.database.queries.economy_jobs import Job
from masstock.errors import Outcome, ProviderUnavailable, StorageUnavailable
from masstock.services.result_copies import CopyWriter, copy_key
from masstock.telemetry import logger
from masstock_generate.economy.work import CANCEL_SECONDS, LEASE_SECONDS, ClaimLost, EconomyRun
from masstock_generate.providers import BatchProvider, ResultGone

# A longer line is skipped: its image could not be stored, and it would fill the memory.
MAX_LINE_BYTES = 100 * 1024 * 1024
# After so many incomplete downloads, the result counts as complete: the provider has no more.
MAX_CUTS = 5


def copy(economy: EconomyRun) -> None:
    """Copies the result of one job that has ended."""
    for job in economy.claims("copy"):
        try:
            _copy(economy, job)
        except ResultGone:
            economy.give_up(job, ProviderUnavailable("The result of the provider's job is gone."))
        except ClaimLost:
            logger.warning("another invocation copies the result", job_id=str(job.id))
        except StorageUnavailable as failed:
            economy.postpone(job, ProviderUnavailable(str(failed)))
        except Outcome as outcome:
            if economy.is_refused(job, outcome) or _is_too_late(economy, job):
                economy.give_up(job, outcome)
            else:
                economy.postpone(job, outcome)
        return


def _is_too_late(economy: EconomyRun, job: Job) -> bool:
    """True if the execution must end, and the result could not be downloaded for some time."""
    if not economy.is_stopping or job.ended_at is None:
        return False
    return (datetime.now(UTC) - job.ended_at).total_seconds() > CANCEL_SECONDS


def _copy(economy: EconomyRun, job: Job) -> None:
    provider = economy.provider_of(job)
    key = copy_key(job.client_id, job.id)
    prompts = economy_jobs.list_chunk(economy.worker, job)
    places = _Places(provider, {str(row["batch_index"]) for row in prompts})
    renewed = time.monotonic()
    with (
        provider.download(economy.api_key, job.output_file or "") as pieces,
        CopyWriter(economy.settings.uploads_bucket, key) as writer,
    ):
        for piece in places.watch(pieces, may_end_anywhere=job.tries >= MAX_CUTS):
            writer.write(piece)
            if time.monotonic() - renewed > LEASE_SECONDS / 3:
                economy.keep(job)
                renewed = time.monotonic()
        writer.finish()
    job.state, job.copy_key, job.tries = "copied", key, 0
    if not economy_jobs.keep_copied_job(economy.worker, job, places.lines):
        raise ClaimLost
    logger.info(
        "copied the result of an economy job",
        job_id=str(job.id),
        lines=len(places.lines),
        prompts=job.prompts,
        foreign=places.foreign,
        doubled=places.doubled,
    )


class _Places:
    """Finds the line of each prompt in a stream: its offset and length."""

    def __init__(self, provider: BatchProvider, wanted: set[str]) -> None:
        self._provider = provider
        self._wanted = wanted
        self._answered: set[int] = set()
        self.lines: dict[int, tuple[int, int]] = {}
        self.foreign = self.doubled = 0

    def watch(self, pieces: Iterator[bytes], *, may_end_anywhere: bool) -> Iterator[bytes]:
        """Yields the pieces unchanged. Raises ProviderUnavailable if the stream is cut short."""
        line = bytearray()
        begin = length = 0
        for piece in pieces:
            yield piece
            start = 0
            while (end := piece.find(b"\n", start)) >= 0:
                if length <= MAX_LINE_BYTES:
                    line += piece[start:end]
                self._note(line, begin)
                begin, length = begin + length + end - start + 1, 0
                line.clear()
                start = end + 1
            length += len(piece) - start
            if length <= MAX_LINE_BYTES:
                line += piece[start:]
            else:
                line.clear()
        if line and not self._note(line, begin) and not may_end_anywhere:
            raise ProviderUnavailable("The result of the provider's job was cut short.")

    def _note(self, line: bytearray, begin: int) -> bool:
        """False if the line cannot be read."""
        if not line:
            return True
        found = self._provider.key_of(bytes(line))
        if found is None:
            return False
        key, has_answer = found
        if key not in self._wanted:
            self.foreign += 1
            return True
        index = int(key)
        if index in self.lines:
            self.doubled += 1
            if index in self._answered or not has_answer:
                return True
        self.lines[index] = (begin, len(line))
        if has_answer:
            self._answered.add(index)
        return True
