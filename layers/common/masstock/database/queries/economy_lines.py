"""The claim of a prompt that an economy job painted. Only generate imports this module."""

from typing import LiteralString
from uuid import UUID

from masstock.database.connection import Executor
from masstock.database.queries.claims import MAX_FAILURES, Claim, ClaimedElsewhere, Line, claim_of

_CLAIM: LiteralString = """
    WITH execution AS (
        SELECT e.id, e.client_id, e.workflow_id, e.input_settings, e.spend_month,
            e.on_economy_failure,
            coalesce(e.settings, w.config) AS config,
            coalesce(e.reserve_microusd, e.estimate_microusd) / nullif(e.prompt_count, 0)
                AS equal_part
        FROM public.workflow_executions e, public.workflows w
        WHERE e.id = %(execution_id)s AND e.status = 'processing' AND w.id = e.workflow_id
        FOR SHARE OF e
    ), claimed AS (
        UPDATE public.workflow_batch_results r
        SET attempts = r.attempts + 1,
            -- A recorded outcome sets claimed_until to NULL.
            failures = r.failures + (r.claimed_until IS NOT NULL)::integer,
            claimed_until = now() + make_interval(secs => %(lease_seconds)s)
        FROM execution e, public.economy_jobs j
        WHERE r.execution_id = e.id AND r.batch_index = %(batch_index)s
          AND r.status = 'processing' AND r.economy_offset IS NOT NULL
          AND (r.claimed_until IS NULL OR r.claimed_until <= now())
          AND r.failures < %(max_failures)s
          AND j.id = r.economy_job_id AND j.copy_key IS NOT NULL
        RETURNING r.attempts, r.failures, r.throttles, r.prompt_text,
            coalesce(r.edited_at, r.created_at) AS asked_at, r.edited_at,
            r.lane_successes, r.probes, e.client_id, e.workflow_id, e.input_settings,
            e.spend_month,
            e.config, e.on_economy_failure,
            coalesce(r.asked, e.input_settings) AS asked, r.seed, app.asked_digest(
                r.prompt_text, coalesce(r.asked, e.input_settings), r.seed) AS asked_digest,
            coalesce(r.reserved_microusd, e.equal_part, 0) AS reserved_microusd,
            j.copy_key, r.economy_offset, r.economy_length,
            extract(epoch FROM j.ended_at - j.submitted_at)::float8 AS job_seconds
    )
    SELECT claimed.*, ceil(extract(epoch FROM (
        SELECT r.claimed_until - now() FROM public.workflow_batch_results r
        WHERE r.execution_id = %(execution_id)s AND r.batch_index = %(batch_index)s
          AND r.status = 'processing' AND r.economy_offset IS NOT NULL
          AND r.claimed_until > now()
    )))::integer AS held_seconds
    FROM (SELECT) AS always LEFT JOIN claimed ON true
"""


def claim_line(
    tx: Executor, execution_id: UUID, batch_index: int, lease_seconds: float
) -> Claim | ClaimedElsewhere | None:
    """Claims a prompt whose copied line is still to be collected. Collecting calls no model, so the
    claim asks no lane, and it is also possible in a stopped execution that has not ended. None if
    there is no such line."""
    [row] = tx.fetch_all(
        _CLAIM,
        execution_id=execution_id,
        batch_index=batch_index,
        lease_seconds=lease_seconds,
        max_failures=MAX_FAILURES,
    )
    if row["attempts"] is None:
        held = row["held_seconds"]
        return None if held is None else ClaimedElsewhere(max(1, held))
    line = Line(
        row["copy_key"],
        row["economy_offset"],
        row["economy_length"],
        round((row["job_seconds"] or 0) * 1000),
        falls_back=row["on_economy_failure"] != "fail",
    )
    return claim_of(execution_id, batch_index, row, line)


def release_line(tx: Executor, claim: Claim) -> None:
    """Ends the claim of a line without an image. The prompt is painted directly when all jobs have
    ended."""
    tx.fetch_all(
        """
        UPDATE public.workflow_batch_results
        SET claimed_until = NULL, economy_offset = NULL, economy_length = NULL
        WHERE execution_id = %(execution_id)s AND batch_index = %(batch_index)s
          AND attempts = %(attempt)s AND status = 'processing'
        """,
        execution_id=claim.execution_id,
        batch_index=claim.batch_index,
        attempt=claim.attempt,
    )
