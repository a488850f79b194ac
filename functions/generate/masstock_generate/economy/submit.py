"""Plans chunks, and creates a job for each at the provider.

The creation of a job is not idempotent, and a second job would be paid too. So the time of the
request is stored before the request. If the answer is lost, a later step lists all jobs at the
provider before it sends another request.
"""

from datetime import UTC, datetime, timedelta

from psycopg.types.json import Jsonb

from masstock.catalogue.image_models import MODELS, REFERENCE_TOKENS
from masstock.catalogue.image_sizes import DEFAULT_SIZE
from masstock.database.queries import economy_jobs, economy_plans
from masstock.database.queries.asked import asked_in
from masstock.database.queries.economy_jobs import ChunkPrompt, Job
from masstock.database.queries.economy_plans import ChunkLimits
from masstock.errors import (
    NotFinished,
    Outcome,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    ReferenceGone,
    StorageUnavailable,
)
from masstock.services.storage import Uploads
from masstock.telemetry import logger
from masstock_generate.economy.work import ClaimLost, EconomyRun
from masstock_generate.providers import CreateUnanswered, LineRequest, ProviderFile, ProviderJob

# The provider keeps files for 48 hours. A job can wait for hours before it reads them.
REFERENCES_HOURS = 12
MAX_INPUT_BYTES = 200 * 1024 * 1024
# A quarter of the tokens that the smallest tier of a provider's account may have enqueued.
MAX_TOKENS = 250_000
# Of a line beside its prompt, and of one reference in it.
LINE_BYTES, REFERENCE_BYTES, LINE_TOKENS = 400, 250, 10
# Expected bytes of a line of the result: base64 of an image, by size.
IMAGE_BYTES = {"512": 1_000_000, "1K": 2_800_000, "2K": 7_000_000, "4K": 16_000_000}
# A refusal without a delay is asked about again after two first pauses, doubled for each refusal.
LONGEST_REFUSAL_SECONDS = 900
CREATE_REFUSED = (ProviderThrottled, QuotaExhausted)
FAILED_CALL = (ProviderTimeout, ProviderUnavailable)


def submit(economy: EconomyRun) -> None:
    """Plans the chunks and creates the jobs that are due."""
    planned = economy_plans.plan_jobs(economy.worker, economy.run, _limits(economy))
    if planned:
        logger.info("planned economy jobs", jobs=planned)
    for job in economy.claims("submit"):
        try:
            create(economy, job)
        except ClaimLost:
            logger.warning("another invocation creates the economy job", job_id=str(job.id))
        except FAILED_CALL as outcome:
            economy.postpone(job, outcome)
        except StorageUnavailable:
            economy.postpone(job, NotFinished())
        except Outcome as outcome:
            economy.give_up(job, outcome)


def _limits(economy: EconomyRun) -> ChunkLimits:
    model = MODELS.get(str(economy.situation["config"].get("model")))
    return {
        "max_bytes": MAX_INPUT_BYTES,
        "max_tokens": MAX_TOKENS,
        "max_result_bytes": economy.settings.economy_result_bytes,
        "line_bytes": LINE_BYTES,
        "line_tokens": LINE_TOKENS,
        "reference_bytes": REFERENCE_BYTES,
        "reference_tokens": model.reference_tokens if model else REFERENCE_TOKENS,
        "image_bytes": Jsonb(IMAGE_BYTES),
        "other_image_bytes": IMAGE_BYTES[DEFAULT_SIZE],
    }


def create(economy: EconomyRun, job: Job) -> None:
    """Creates the job of a claimed chunk, or finds the one whose creation was not answered. Raises
    an Outcome if the provider refuses it, and ClaimLost."""
    if must_wait_for_list(economy, job):
        return
    found = find_unanswered(economy, job) or _created(economy, job)
    if found is not None:
        note_created(economy, job, found)


def must_wait_for_list(economy: EconomyRun, job: Job) -> bool:
    """True if the provider's list may not yet contain the job of an unanswered creation. Then ends
    the claim until the list must contain it."""
    if job.create_sent_at is None:
        return False
    age = (datetime.now(UTC) - job.create_sent_at).total_seconds()
    if age >= economy.settings.economy_list_seconds:
        return False
    economy.release(job, economy.settings.economy_list_seconds - age)
    return True


def find_unanswered(economy: EconomyRun, job: Job) -> ProviderJob | None:
    """The job that an earlier, unanswered creation made, if there is one. Raises an Outcome."""
    if job.create_sent_at is None:
        return None
    return economy.provider_of(job).find(economy.api_key, str(job.id))


def note_created(economy: EconomyRun, job: Job, found: ProviderJob) -> None:
    """Ends the claim of a job that the provider has."""
    job.state, job.job_name, job.provider_state = "running", found.name, found.state
    job.submitted_at = datetime.now(UTC)
    job.tries, job.refused_until = 0, None
    economy.release(job, economy.settings.economy_poll_seconds)
    logger.info("created an economy job", job_id=str(job.id), prompts=job.prompts)


def _created(economy: EconomyRun, job: Job) -> ProviderJob | None:
    """The new job. None if it waits: for a limit, or because the answer was lost."""
    provider = economy.provider_of(job)
    if job.input_file is None:
        lines = _lines(economy, job)
        if not lines:
            # Nothing to paint. What was uploaded is tidied up.
            job.state, job.ended_at = "ended", datetime.now(UTC)
            economy.release(job)
            return None
        content = b"".join(line + b"\n" for line in lines)
        file = provider.upload(economy.api_key, content, "application/jsonl", str(job.id))
        job.input_file = file.name
    job.create_sent_at = datetime.now(UTC)
    economy.keep(job)
    try:
        return provider.create(economy.api_key, job.model, job.input_file, str(job.id))
    except CreateUnanswered:
        logger.warning("the creation of an economy job was not answered", job_id=str(job.id))
        economy.release(job, economy.settings.economy_list_seconds)
    except CREATE_REFUSED as refused:
        job.create_sent_at = None
        _wait_for_limit(economy, job, refused)
    return None


def _wait_for_limit(economy: EconomyRun, job: Job, refused: Outcome) -> None:
    job.tries += 1
    usual = economy.settings.economy_poll_seconds * 2 ** min(job.tries, 10)
    delay = refused.retry_after if isinstance(refused, ProviderThrottled) else None
    seconds = min(LONGEST_REFUSAL_SECONDS, usual if delay is None else max(1, delay))
    job.refused_until = datetime.now(UTC) + timedelta(seconds=seconds)
    logger.warning("a limit refused an economy job", job_id=str(job.id), tries=job.tries)
    economy.release(job, seconds)


def _lines(economy: EconomyRun, job: Job) -> list[bytes]:
    """The lines of the chunk's prompts. A prompt whose reference image is gone has its outcome
    now, and no line."""
    prompts = economy_jobs.list_chunk(economy.worker, job)
    provider = economy.provider_of(job)
    lines: list[bytes] = []
    incomplete: list[int] = []
    gone: set[str] = set()
    for prompt in prompts:
        references = _references(economy, job, prompt, gone)
        if references is None:
            incomplete.append(prompt["batch_index"])
            continue
        asked = asked_in(prompt["asked"])
        line = LineRequest(
            key=str(prompt["batch_index"]),
            prompt=prompt["prompt_text"],
            references=references,
            aspect_ratio=asked.aspect_ratio,
            image_size=asked.image_size,
            seed=prompt["seed"],
        )
        lines.append(provider.line_of(line))
    if incomplete:
        outcome = ReferenceGone()
        logger.warning("reference images are gone", job_id=str(job.id), prompts=len(incomplete))
        economy_jobs.fail_lines(economy.worker, job, incomplete, outcome.code, outcome.detail)
    return lines


def _references(
    economy: EconomyRun, job: Job, prompt: ChunkPrompt, gone: set[str]
) -> list[tuple[ProviderFile, str]] | None:
    """The provider's files of a prompt's reference images. Uploads those that an earlier chunk did
    not upload lately. None if one is gone; adds it to `gone`. Raises StorageUnavailable."""
    found: list[tuple[ProviderFile, str]] = []
    for key, etag in asked_in(prompt["asked"]).references:
        if job.references_at is None:
            _reuse_references(economy, job)
        name = f"{key} {etag}"
        if name in gone:
            return None
        if name not in job.reference_files:
            uploads = Uploads(economy.settings.uploads_bucket)
            try:
                content, mime_type = uploads.read_reference(job.client_id, key, etag)
            except ReferenceGone:
                gone.add(name)
                return None
            file = economy.provider_of(job).upload(economy.api_key, content, mime_type, str(job.id))
            job.reference_files[name] = {
                "name": file.name,
                "uri": file.uri,
                "mime_type": mime_type,
            }
            economy.keep(job)
        file = job.reference_files[name]
        found.append((ProviderFile(file["name"], file["uri"]), file["mime_type"]))
    return found


def _reuse_references(economy: EconomyRun, job: Job) -> None:
    earlier = economy_jobs.fetch_references(economy.worker, job.execution_id)
    now = datetime.now(UTC)
    if earlier is not None and now - earlier[1] < timedelta(hours=REFERENCES_HOURS):
        job.reference_files, job.references_at = earlier
    else:
        job.reference_files, job.references_at = {}, now
