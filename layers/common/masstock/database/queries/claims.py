"""The claim of one prompt, and the statements that end it. Only generate imports this module."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from typing import Any, Literal, LiteralString
from uuid import UUID

from masstock.database.connection import Executor, Row, Statement
from masstock.database.queries.asked import api_key_in, asked_in, text_of
from masstock.database.worker import Worker
from masstock.errors import Outcome
from masstock.services.storage import ImageDetails, StoredImage

# Painting stops earlier, after NotFinished.max_retries. The claims between the two only look for a
# stored image. The database alone enforces this limit, so it holds even if each claim is killed at
# once; finalize settles the prompt.
MAX_FAILURES = 6


@dataclass(frozen=True, slots=True)
class Line:
    """The line of an economy job's copied result that answers a prompt. `job_ms` is how long the
    job took. `falls_back`: without an image, the prompt is painted directly later."""

    key: str
    offset: int
    length: int
    job_ms: int
    falls_back: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to paint one prompt until the lease ends. `attempt` is the fence of its writes."""

    execution_id: UUID
    batch_index: int
    attempt: int
    failures: int
    throttles: int
    # When the prompt got its text, by the submission or by an edit, and a digest of what is asked.
    asked_at: datetime
    edited_at: datetime | None
    asked_digest: str
    client_id: UUID
    prompt: str
    # (key, ETag) of the reference images.
    references: list[tuple[str, str]]
    api_key: str | None
    aspect_ratio: str | None
    image_size: str | None
    seed: int | None
    # True if an earlier result's image is to be copied. None if that result is gone.
    reuses: bool
    reusable_key: str | None
    config: dict[str, Any]
    workflow_id: UUID
    # The month whose budget pays, and the reservation for this image.
    spend_month: date
    reserved_microusd: int
    # The lane that granted the call, when it did, and its successes at the prompt's last refusal.
    # None if nothing is to be painted, but a line collected.
    lane_id: UUID | None
    granted_at: datetime | None
    lane_successes: int | None
    # How often the prompt probed a closed lane without success.
    probes: int
    # Until the deadline that the caller gave. None if the caller gave none.
    seconds_left: float | None
    # What an economy job answered. None if the model is to be called.
    line: Line | None = None

    @property
    def tier(self) -> str:
        """The tier that the image is paid in."""
        return "standard" if self.line is None else "economy"


@dataclass(frozen=True, slots=True)
class ClaimedElsewhere:
    """Another invocation has the claim; its lease ends in `seconds`."""

    seconds: int


type Verdict = Literal["answered", "refused", "failed", "unreadable"]


@dataclass(frozen=True, slots=True)
class Left:
    """What the lane answers when a call has ended. `counts`: the call counts against its prompt.
    `was_probe`: the call asked whether a closed lane is open. `successes`: of the lane so far.
    `wait_seconds`: when to ask for the next call."""

    counts: bool
    was_probe: bool
    successes: int
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class MustWait:
    """The lane grants no call now; ask again in `seconds`. `gives_up`: no call of the lane has
    succeeded for so long that the execution should end. `model_down`: the model whose outage lasts
    so long that the execution should go on with its fallback model."""

    seconds: float
    limited_by: str
    gives_up: bool
    model_down: str | None


# FOR SHARE: a cancellation waits for claims that began before it. The lane is locked last, because
# all prompts of one quota need it, and it is not asked for a prompt that is not free.
_CLAIM: LiteralString = """
    WITH execution AS (
        SELECT e.id, e.client_id, e.workflow_id, e.input_settings, e.spend_month, e.lane_key,
            coalesce(e.settings, w.config) AS config,
            coalesce(e.reserve_microusd, e.estimate_microusd) / nullif(e.prompt_count, 0)
                AS equal_part,
            CASE WHEN e.deadline_is_fixed
                 THEN extract(epoch FROM e.deadline_at - now())::float8 END AS seconds_left
        FROM public.workflow_executions e, public.workflows w
        WHERE e.id = %(execution_id)s AND e.status = 'processing' AND e.error_code IS NULL
          AND e.paused_at IS NULL AND w.id = e.workflow_id
          -- A job may still paint what has not fallen back.
          AND (e.tier = 'standard' OR e.fell_back_at IS NOT NULL)
        FOR SHARE OF e
    ), free AS MATERIALIZED (
        SELECT e.*, app.lane_id(e.lane_key, e.config ->> 'model') AS lane_id
        FROM public.workflow_batch_results r, execution e
        WHERE r.execution_id = e.id AND r.batch_index = %(batch_index)s
          AND r.status = 'processing'
          AND (r.claimed_until IS NULL OR r.claimed_until <= now())
          AND r.failures < %(max_failures)s
        FOR NO KEY UPDATE OF r
    ), lane AS MATERIALIZED (
        SELECT entered.* FROM free f, LATERAL app.enter_lane(
            f.lane_id, NULL, f.config ->> 'model',
            CASE WHEN f.lane_key IS NOT NULL THEN f.client_id END,
            f.client_id, f.id, %(batch_index)s, %(minute_seconds)s) AS entered
    ), claimed AS (
        UPDATE public.workflow_batch_results r
        SET attempts = r.attempts + 1,
            -- A recorded outcome sets claimed_until to NULL.
            failures = r.failures + (r.claimed_until IS NOT NULL)::integer,
            claimed_until = now() + make_interval(secs => %(lease_seconds)s)
        FROM free e, lane
        WHERE r.execution_id = e.id AND r.batch_index = %(batch_index)s AND lane.granted
        RETURNING r.attempts, r.failures, r.throttles, r.prompt_text,
            coalesce(r.edited_at, r.created_at) AS asked_at, r.edited_at,
            coalesce(r.asked, e.input_settings) AS asked, r.seed, app.asked_digest(
                r.prompt_text, coalesce(r.asked, e.input_settings), r.seed) AS asked_digest,
            (SELECT s.result_storage_path FROM public.workflow_batch_results s
             WHERE s.id = r.reused_from AND s.client_id = e.client_id
               AND r.original_prompt IS NULL) AS reusable_key,
            r.reused_from IS NOT NULL AND r.original_prompt IS NULL AS reuses,
            coalesce(r.reserved_microusd, e.equal_part, 0) AS reserved_microusd,
            r.lane_successes, r.probes, lane.granted_at, e.client_id, e.workflow_id,
            e.input_settings, e.spend_month, e.config, e.lane_id, e.seconds_left
    )
    SELECT claimed.*, lane.wait_seconds, lane.limited_by, lane.gives_up, (
        SELECT f.config ->> 'model' FROM free f, LATERAL app.lane_state(f.lane_id) AS state
        WHERE lane.limited_by = 'outage' AND jsonb_typeof(f.config -> 'fallback_model') = 'string'
          AND state.closed_since < now() - make_interval(secs =>
              CASE jsonb_typeof(f.input_settings -> 'fall_back_after_seconds') WHEN 'number'
              THEN (f.input_settings ->> 'fall_back_after_seconds')::float8 END)
    ) AS model_down,
        ceil(extract(epoch FROM (
        SELECT r.claimed_until - now()
        FROM public.workflow_batch_results r, execution e
        WHERE r.execution_id = e.id AND r.batch_index = %(batch_index)s
          AND r.status = 'processing' AND r.claimed_until > now()
    )))::integer AS held_seconds
    FROM (SELECT) AS always LEFT JOIN claimed ON true LEFT JOIN lane ON true
"""


def claim_prompt(
    tx: Executor,
    execution_id: UUID,
    batch_index: int,
    lease_seconds: float,
    minute_seconds: float = 60,
) -> Claim | ClaimedElsewhere | MustWait | None:
    """Claims a prompt for `lease_seconds`, if its lane grants a call. None if the prompt is settled
    or has MAX_FAILURES, or if its execution has ended or was stopped. A claim that ended without an
    outcome counts as a failure: its invocation was killed, or could not reach the database.
    `minute_seconds` is the length of the lane's minute."""
    [row] = tx.fetch_all(
        _CLAIM,
        execution_id=execution_id,
        batch_index=batch_index,
        lease_seconds=lease_seconds,
        max_failures=MAX_FAILURES,
        minute_seconds=minute_seconds,
    )
    if row["attempts"] is not None:
        return claim_of(execution_id, batch_index, row)
    if row["wait_seconds"] is not None:
        return MustWait(row["wait_seconds"], row["limited_by"], row["gives_up"], row["model_down"])
    if row["held_seconds"] is None:
        return None
    return ClaimedElsewhere(max(1, row["held_seconds"]))


def claim_of(execution_id: UUID, batch_index: int, row: Row, line: Line | None = None) -> Claim:
    """The claim of a claiming statement's row."""
    asked = asked_in(row["asked"])
    return Claim(
        execution_id=execution_id,
        batch_index=batch_index,
        attempt=row["attempts"],
        failures=row["failures"],
        throttles=row["throttles"],
        asked_at=row["asked_at"],
        edited_at=row["edited_at"],
        asked_digest=row["asked_digest"],
        client_id=row["client_id"],
        prompt=row["prompt_text"],
        references=asked.references,
        api_key=api_key_in(row["input_settings"]),
        aspect_ratio=asked.aspect_ratio,
        image_size=asked.image_size,
        seed=row["seed"],
        reuses=row.get("reuses", False),
        reusable_key=row.get("reusable_key"),
        config=row["config"],
        workflow_id=row["workflow_id"],
        spend_month=row["spend_month"],
        reserved_microusd=row["reserved_microusd"],
        lane_id=row.get("lane_id"),
        granted_at=row.get("granted_at"),
        lane_successes=row["lane_successes"],
        probes=row["probes"],
        seconds_left=row.get("seconds_left"),
        line=line,
    )


def complete_prompt(
    tx: Worker,
    claim: Claim,
    image: StoredImage,
    result_url: str | None,
    minute_seconds: float = 60,
) -> bool:
    """Records the image and charges its cost instead of the reservation. If the fence is
    outdated or the prompt is settled, records nothing, still charges the cost and returns False.
    An attempt is charged at most once. Tells the lane, last, that the call succeeded."""
    # An image of an earlier attempt says nothing about the lane now.
    is_new = image.attempt == claim.attempt and not image.is_reused
    verdict = "answered" if is_new else "unreadable"
    statements = [_complete(claim, image, result_url)]
    if claim.lane_id is not None:
        statements.append(_leave_lane(claim, verdict, minute_seconds, None, None))
    return bool(tx.fetch_together(statements)[0])


def leave_lane(
    tx: Executor,
    claim: Claim,
    verdict: Verdict,
    minute_seconds: float,
    *,
    retry_after: float | None,
    quota_value: int | None,
) -> Left:
    """Tells the lane how a call ended. `answered`: the provider processed it. `refused`: a rate
    limit that time heals; `retry_after` in seconds and `quota_value` in calls per minute are what
    the provider said. `failed`: the provider is down. `unreadable`: anything else. A line that was
    collected was no call."""
    if claim.lane_id is None:
        return Left(counts=True, was_probe=False, successes=0, wait_seconds=0)
    query, values = _leave_lane(claim, verdict, minute_seconds, retry_after, quota_value)
    [row] = tx.fetch_all(query, **values)
    return Left(**row)


def _leave_lane(
    claim: Claim,
    verdict: Verdict,
    minute_seconds: float,
    retry_after: float | None,
    quota_value: int | None,
) -> Statement:
    return (
        """
        SELECT counts, was_probe, successes, wait_seconds FROM app.leave_lane(
            %(lane_id)s, %(execution_id)s, %(batch_index)s, %(granted_at)s, %(verdict)s,
            %(retry_after)s, %(quota_value)s, %(successes)s, %(minute_seconds)s)
        """,
        {
            "lane_id": claim.lane_id,
            "execution_id": claim.execution_id,
            "batch_index": claim.batch_index,
            "granted_at": claim.granted_at,
            "verdict": verdict,
            "retry_after": retry_after,
            "quota_value": quota_value,
            "successes": claim.lane_successes,
            "minute_seconds": minute_seconds,
        },
    )


def _complete(claim: Claim, image: StoredImage, result_url: str | None) -> Statement:
    return (
        """
        WITH completed AS (
        UPDATE public.workflow_batch_results
        SET status = 'completed', completed_at = now(), claimed_until = NULL,
            result_storage_path = %(key)s, result_url = %(result_url)s,
            mime_type = %(mime_type)s, size_bytes = %(size_bytes)s, image_sha256 = %(sha256)s,
            processing_time_ms = %(processing_time_ms)s, cost_microusd = %(cost)s,
            tier = %(tier)s,
            model = %(model)s, width = %(width)s, height = %(height)s, as_asked = %(as_asked)s,
            images_in_answer = %(images_in_answer)s, has_provenance = %(has_provenance)s,
            has_thumbnail = %(thumbnail)s::text IS NOT NULL,
            thumbnail_path = CASE WHEN edited_at IS NOT NULL THEN %(thumbnail)s END,
            reused_from = CASE WHEN %(is_reused)s THEN reused_from END,
            error_code = NULL, error_message = NULL, provider_message = NULL
        WHERE execution_id = %(execution_id)s AND batch_index = %(batch_index)s
          AND attempts = %(attempt)s AND status = 'processing'
        RETURNING batch_index, reserved_microusd
        ), charged AS (
            INSERT INTO public.spend_ledger (client_id, execution_id, batch_index, attempt, month,
                workflow_id, model, tier, images, charged_microusd, reserved_microusd)
            SELECT %(client_id)s, %(execution_id)s, %(batch_index)s, %(paid_attempt)s,
                %(spend_month)s, %(workflow_id)s, %(paid_model)s, %(tier)s,
                CASE WHEN %(is_reused)s THEN 0 ELSE 1 END,
                -- An unknown cost charges nothing; the image counts.
                coalesce(%(cost)s::bigint, 0),
                coalesce((SELECT -coalesce(reserved_microusd, %(reserved)s::bigint)
                          FROM completed), 0)
            ON CONFLICT DO NOTHING
        )
        SELECT batch_index FROM completed
        """,
        {
            "client_id": claim.client_id,
            "workflow_id": claim.workflow_id,
            "paid_model": image.details.model if image.details else claim.config.get("model"),
            "spend_month": claim.spend_month,
            "reserved": claim.reserved_microusd,
            "paid_attempt": image.attempt,
            "key": image.key,
            "result_url": result_url,
            "mime_type": image.mime_type,
            "size_bytes": image.size_bytes,
            "sha256": image.sha256,
            "processing_time_ms": image.processing_time_ms,
            "cost": image.cost_microusd,
            "tier": claim.tier,
            **_details(image),
            "thumbnail": image.thumbnail,
            "is_reused": image.is_reused,
            "execution_id": claim.execution_id,
            "batch_index": claim.batch_index,
            "attempt": claim.attempt,
        },
    )


def _details(image: StoredImage) -> Mapping[str, object]:
    """The columns of ImageDetails; NULL for an image of an earlier release."""
    if image.details is None:
        return dict.fromkeys(field.name for field in fields(ImageDetails))
    return asdict(image.details)


def fail_prompt(tx: Executor, claim: Claim, outcome: Outcome) -> None:
    """Marks the prompt as failed for the reason `outcome`."""
    tx.fetch_all(
        """
        UPDATE public.workflow_batch_results
        SET status = 'failed', completed_at = now(), claimed_until = NULL,
            error_code = %(code)s, error_message = %(message)s,
            provider_message = %(provider_message)s
        WHERE execution_id = %(execution_id)s AND batch_index = %(batch_index)s
          AND attempts = %(attempt)s AND status = 'processing'
        """,
        code=outcome.code,
        message=outcome.detail,
        provider_message=outcome.provider_message,
        execution_id=claim.execution_id,
        batch_index=claim.batch_index,
        attempt=claim.attempt,
    )


def release_prompt(
    tx: Executor,
    claim: Claim,
    *,
    counts_as: Literal["failure", "throttle"] | None,
    refused: Left | None = None,
) -> None:
    """Ends the claim early so that another attempt can follow, and counts why. `refused` is what
    the lane said to a call that it refused or that failed."""
    tx.fetch_all(
        """
        UPDATE public.workflow_batch_results
        SET claimed_until = NULL,
            throttles = throttles + %(throttle)s::boolean::integer,
            failures = failures + %(failure)s::boolean::integer,
            lane_successes = coalesce(%(lane_successes)s::bigint, lane_successes),
            probes = probes + %(probe)s::boolean::integer
        WHERE execution_id = %(execution_id)s AND batch_index = %(batch_index)s
          AND attempts = %(attempt)s AND status = 'processing'
        """,
        throttle=counts_as == "throttle",
        failure=counts_as == "failure",
        lane_successes=refused and refused.successes,
        probe=refused is not None and refused.was_probe,
        execution_id=claim.execution_id,
        batch_index=claim.batch_index,
        attempt=claim.attempt,
    )


def charge_lost_image(tx: Executor, claim: Claim, attempt: int, cost_microusd: int | None) -> None:
    """Charges an image that `attempt` paid for and that no row will have. The reservation stays
    until the execution ends. A second call changes nothing."""
    tx.fetch_all(
        """
        INSERT INTO public.spend_ledger
            (client_id, execution_id, batch_index, attempt, month, workflow_id, model, tier,
            images, charged_microusd)
        SELECT %(client_id)s, %(execution_id)s, %(batch_index)s, %(attempt)s, %(spend_month)s,
            %(workflow_id)s, %(model)s, %(tier)s, 0, %(cost)s
        WHERE %(cost)s::bigint IS NOT NULL
        ON CONFLICT DO NOTHING
        """,
        client_id=claim.client_id,
        execution_id=claim.execution_id,
        batch_index=claim.batch_index,
        attempt=attempt,
        spend_month=claim.spend_month,
        workflow_id=claim.workflow_id,
        model=text_of(claim.config.get("model")),
        tier=claim.tier,
        cost=cost_microusd,
    )
