"""Statements on economy_jobs. Only the function economy imports this module."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, TypedDict, cast
from uuid import UUID

from psycopg.types.json import Jsonb

from masstock.database.connection import Executor, Statement
from masstock.database.queries.claims import MAX_FAILURES
from masstock.database.worker import Worker
from masstock.schemas.engine import ExecutionRun

type State = Literal["planned", "running", "ended", "copied", "done"]
type Work = Literal["submit", "abandon", "look", "copy"]


@dataclass(slots=True)
class Job:
    """A claimed job: the right to work on one chunk until its lease ends. `attempts` is the fence
    of `keep_job`. The columns are described in the database."""

    id: UUID
    execution_id: UUID
    client_id: UUID
    number: int
    model: str
    prompts: int
    attempts: int
    state: State
    next_look_at: datetime
    tries: int
    refused_until: datetime | None
    # {"key etag": {name, uri, mime_type}}
    reference_files: dict[str, dict[str, str]]
    references_at: datetime | None
    input_file: str | None
    create_sent_at: datetime | None
    job_name: str | None
    submitted_at: datetime | None
    provider_state: str | None
    painted: int
    cancelled_at: datetime | None
    ended_at: datetime | None
    output_file: str | None
    copy_key: str | None
    collect_at: datetime | None
    error_code: str | None
    error_message: str | None
    provider_message: str | None


class Situation(TypedDict):
    """An execution of the economy tier. `late`: it is time to fall back. `unplanned`: unfinished
    prompts without a job."""

    client_id: UUID
    config: dict[str, Any]
    input_settings: dict[str, Any]
    on_economy_failure: Literal["standard", "fail"]
    stopped: bool
    overdue: bool
    late: bool
    unfinished: int
    unplanned: int
    since: datetime


class JobState(TypedDict):
    """What decides the next step. `collectable`: the prompts whose copied line is still to be
    collected. `due_seconds`: until somebody may work on the job."""

    id: UUID
    state: State
    has_output: bool
    due_seconds: float
    collectable: list[int]


def fetch_situation(tx: Worker, run: ExecutionRun) -> tuple[Situation, list[JobState]] | None:
    """The run's execution and its jobs. None if the execution has ended, has another run or does
    not wait for economy jobs."""
    executions, jobs = tx.fetch_together([_situation(run), _job_states(run.execution_id)])
    if not executions:
        return None
    return cast(Situation, executions[0]), cast(list[JobState], jobs)


def _situation(run: ExecutionRun) -> Statement:
    return (
        """
        SELECT e.client_id, coalesce(e.settings, w.config) AS config,
            e.input_settings,
            coalesce(e.on_economy_failure, 'standard') AS on_economy_failure,
            e.error_code IS NOT NULL AS stopped,
            coalesce(e.deadline_at < now(), false) AS overdue,
            coalesce(e.on_economy_failure, 'standard') = 'standard' AND now() > t.since
                + make_interval(secs => CASE
                    jsonb_typeof(e.input_settings -> 'fall_back_after_seconds') WHEN 'number'
                    THEN (e.input_settings ->> 'fall_back_after_seconds')::float8
                    ELSE 86400 END) AS late,
            r.unfinished, r.unplanned, t.since
        FROM public.workflow_executions e
        JOIN public.workflows w ON w.id = e.workflow_id
        CROSS JOIN LATERAL (
            SELECT coalesce(e.working_since, e.started_at, e.created_at) AS since) AS t
        CROSS JOIN LATERAL (
            SELECT count(*) AS unfinished,
                count(*) FILTER (WHERE r.economy_job_id IS NULL) AS unplanned
            FROM public.workflow_batch_results r
            WHERE r.execution_id = e.id AND r.status = 'processing') AS r
        WHERE e.id = %(id)s AND e.run = %(run)s AND e.status = 'processing'
          AND e.tier = 'economy' AND e.fell_back_at IS NULL
        """,
        {"id": run.execution_id, "run": run.run},
    )


def _job_states(execution_id: UUID) -> Statement:
    return (
        """
        SELECT j.id, j.state, j.output_file IS NOT NULL AS has_output,
            greatest(0, extract(epoch FROM greatest(j.next_look_at, j.claimed_until, (
                SELECT max(o.refused_until) FROM public.economy_jobs o
                WHERE j.state = 'planned' AND o.lane_id = j.lane_id AND o.state = 'planned'
                  AND (o.created_at, o.number, o.id) < (j.created_at, j.number, j.id)
            )) - now()))::float8 AS due_seconds,
            -- Without the prompts whose painters always die.
            CASE WHEN j.state = 'copied' THEN ARRAY(
                SELECT r.batch_index FROM public.workflow_batch_results r
                WHERE r.execution_id = j.execution_id AND r.economy_job_id = j.id
                  AND r.status = 'processing' AND r.economy_offset IS NOT NULL
                  AND r.failures < %(max_failures)s
                ORDER BY r.batch_index) ELSE '{}' END AS collectable
        FROM public.economy_jobs j
        WHERE j.execution_id = %(id)s AND j.state <> 'done' ORDER BY j.number
        """,
        {"id": execution_id, "max_failures": MAX_FAILURES},
    )


_MUTABLE = [each.name for each in fields(Job)][7:]


def claim_job(tx: Executor, execution_id: UUID, work: Work, lease_seconds: float) -> Job | None:
    """Claims the next job of the execution for this work, if one is due."""
    rows = tx.fetch_all(
        """
        WITH chosen AS (
            SELECT j.id FROM public.economy_jobs j
            WHERE j.execution_id = %(id)s AND j.next_look_at <= now()
              AND coalesce(j.claimed_until <= now(), true)
              AND CASE %(work)s
                -- Jobs of one lane are created in order while a limit refuses the first of them.
                WHEN 'submit' THEN j.state = 'planned' AND NOT EXISTS (
                    SELECT FROM public.economy_jobs o
                    WHERE o.lane_id = j.lane_id AND o.state = 'planned'
                      AND o.refused_until > now()
                      AND (o.created_at, o.number, o.id) < (j.created_at, j.number, j.id))
                WHEN 'abandon' THEN j.state = 'planned'
                WHEN 'look' THEN j.state = 'running'
                    OR j.state = 'ended' AND j.output_file IS NULL
                    OR j.state = 'copied' AND NOT EXISTS (
                        SELECT FROM public.workflow_batch_results r
                        WHERE r.execution_id = j.execution_id AND r.economy_job_id = j.id
                          AND r.status = 'processing' AND r.economy_offset IS NOT NULL
                          AND r.failures < %(max_failures)s)
                WHEN 'copy' THEN j.state = 'ended' AND j.output_file IS NOT NULL END
            ORDER BY j.number LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE public.economy_jobs j
        SET attempts = j.attempts + 1,
            claimed_until = now() + make_interval(secs => %(lease_seconds)s)
        FROM chosen WHERE j.id = chosen.id
        RETURNING j.id, j.execution_id, j.client_id, j.number, j.model, j.prompts, j.attempts,
            j.state, j.next_look_at, j.tries, j.refused_until, j.reference_files,
            j.references_at, j.input_file, j.create_sent_at, j.job_name, j.submitted_at,
            j.provider_state, j.painted, j.cancelled_at, j.ended_at, j.output_file, j.copy_key,
            j.collect_at, j.error_code, j.error_message, j.provider_message
        """,
        id=execution_id,
        work=work,
        lease_seconds=lease_seconds,
        max_failures=MAX_FAILURES,
    )
    return Job(**rows[0]) if rows else None


def keep_job(tx: Worker, job: Job, lease_seconds: float | None) -> bool:
    """Writes what the claim's holder changed. The lease begins anew, or ends if it is None. False
    if the fence is outdated: another invocation works on the job."""
    query, values = _kept(job, lease_seconds)
    return bool(tx.fetch_all(query, **values))


def _kept(job: Job, lease_seconds: float | None) -> Statement:
    return (
        """
        UPDATE public.economy_jobs
        SET claimed_until = now() + make_interval(secs => %(lease_seconds)s::float8),
            state = %(state)s, next_look_at = %(next_look_at)s, tries = %(tries)s,
            refused_until = %(refused_until)s, reference_files = %(reference_files)s,
            references_at = %(references_at)s, input_file = %(input_file)s,
            create_sent_at = %(create_sent_at)s, job_name = %(job_name)s,
            submitted_at = %(submitted_at)s, provider_state = %(provider_state)s,
            painted = %(painted)s, cancelled_at = %(cancelled_at)s, ended_at = %(ended_at)s,
            output_file = %(output_file)s, copy_key = %(copy_key)s, collect_at = %(collect_at)s,
            error_code = %(error_code)s, error_message = %(error_message)s,
            provider_message = %(provider_message)s
        WHERE id = %(id)s AND attempts = %(attempts)s
        RETURNING id
        """,
        {
            "id": job.id,
            "attempts": job.attempts,
            "lease_seconds": lease_seconds,
            **{name: getattr(job, name) for name in _MUTABLE},
            "reference_files": Jsonb(job.reference_files),
        },
    )


def keep_copied_job(tx: Worker, job: Job, lines: Mapping[int, tuple[int, int]]) -> bool:
    """Ends the claim of a job whose result is copied, and notes the place (offset, length) of each
    prompt's line. False if the fence is outdated."""
    indices = sorted(lines)
    kept, _ = tx.fetch_together(
        [
            _kept(job, None),
            (
                """
                UPDATE public.workflow_batch_results r
                SET economy_offset = line.at, economy_length = line.length
                FROM unnest(%(indices)s::integer[], %(offsets)s::bigint[], %(lengths)s::integer[])
                    AS line (batch_index, at, length)
                WHERE r.execution_id = %(execution_id)s AND r.batch_index = line.batch_index
                  AND r.economy_job_id = %(job_id)s AND r.status = 'processing'
                  AND EXISTS (SELECT FROM public.economy_jobs j
                              WHERE j.id = %(job_id)s AND j.attempts = %(attempts)s)
                """,
                {
                    "execution_id": job.execution_id,
                    "job_id": job.id,
                    "attempts": job.attempts,
                    "indices": indices,
                    "offsets": [lines[index][0] for index in indices],
                    "lengths": [lines[index][1] for index in indices],
                },
            ),
        ]
    )
    return bool(kept)


def note_collection(tx: Executor, job_id: UUID, pause_seconds: float) -> bool:
    """Notes that the Map collects a copied job now. False if it did so in the last
    `pause_seconds`."""
    return bool(
        tx.fetch_all(
            """
            UPDATE public.economy_jobs SET collect_at = now()
            WHERE id = %(id)s AND state = 'copied'
              AND coalesce(collect_at <= now() - make_interval(secs => %(pause_seconds)s), true)
            RETURNING id
            """,
            id=job_id,
            pause_seconds=pause_seconds,
        )
    )


class ChunkPrompt(TypedDict):
    """One prompt of a chunk."""

    batch_index: int
    prompt_text: str
    asked: dict[str, Any]
    seed: int | None


def list_chunk(tx: Executor, job: Job) -> Sequence[ChunkPrompt]:
    """The unfinished prompts of a job, in order."""
    rows = tx.fetch_all(
        """
        SELECT r.batch_index, r.prompt_text, coalesce(r.asked, e.input_settings) AS asked, r.seed
        FROM public.workflow_batch_results r
        JOIN public.workflow_executions e ON e.id = r.execution_id
        WHERE r.execution_id = %(execution_id)s AND r.economy_job_id = %(job_id)s
          AND r.status = 'processing'
        ORDER BY r.batch_index
        """,
        execution_id=job.execution_id,
        job_id=job.id,
    )
    return cast(list[ChunkPrompt], rows)


def fail_lines(tx: Executor, job: Job, indices: Sequence[int], code: str, message: str) -> None:
    """Marks prompts of the claimed job as failed: they have no line. Changes nothing if the fence
    is outdated."""
    tx.fetch_all(
        """
        UPDATE public.workflow_batch_results r
        SET status = 'failed', completed_at = now(), claimed_until = NULL,
            error_code = %(code)s, error_message = %(message)s
        FROM public.economy_jobs j
        WHERE j.id = %(job_id)s AND j.attempts = %(attempts)s
          AND r.execution_id = j.execution_id AND r.economy_job_id = j.id
          AND r.batch_index = ANY (%(indices)s::integer[]) AND r.status = 'processing'
        """,
        job_id=job.id,
        attempts=job.attempts,
        indices=list(indices),
        code=code,
        message=message,
    )


def fetch_references(tx: Executor, execution_id: UUID) -> tuple[dict[str, Any], datetime] | None:
    """The newest files of reference images that a job of the execution uploaded, with their
    time."""
    rows = tx.fetch_all(
        """
        SELECT reference_files, references_at FROM public.economy_jobs
        WHERE execution_id = %(id)s AND references_at IS NOT NULL
        ORDER BY references_at DESC LIMIT 1
        """,
        id=execution_id,
    )
    return (rows[0]["reference_files"], rows[0]["references_at"]) if rows else None


def list_used_references(tx: Executor, job: Job) -> set[str]:
    """Names of the files of reference images that other jobs of the execution use or may reuse.
    Those that are being tidied up use none."""
    rows = tx.fetch_all(
        """
        SELECT DISTINCT file.value ->> 'name' AS name
        FROM public.economy_jobs j CROSS JOIN LATERAL jsonb_each(j.reference_files) AS file
        WHERE j.execution_id = %(execution_id)s AND j.id <> %(id)s
          AND j.references_at IS NOT NULL
        """,
        execution_id=job.execution_id,
        id=job.id,
    )
    return {row["name"] for row in rows}


def fail_unpainted(tx: Executor, run: ExecutionRun, code: str, message: str) -> None:
    """Marks the unfinished prompts as failed, for the reason why their job did not paint them."""
    tx.fetch_all(
        """
        UPDATE public.workflow_batch_results r
        SET status = 'failed', completed_at = now(), claimed_until = NULL,
            error_code = coalesce(j.error_code, %(code)s),
            error_message = coalesce(j.error_message, %(message)s),
            provider_message = j.provider_message
        FROM public.workflow_executions e, public.economy_jobs j
        WHERE e.id = %(id)s AND e.run = %(run)s AND e.status = 'processing'
          AND r.execution_id = e.id AND r.status = 'processing' AND j.id = r.economy_job_id
        """,
        id=run.execution_id,
        run=run.run,
        code=code,
        message=message,
    )


def leave_to_standard(tx: Executor, run: ExecutionRun) -> None:
    """The unfinished prompts are painted directly from now on. A second call changes nothing."""
    tx.fetch_all(
        """
        UPDATE public.workflow_executions SET fell_back_at = now()
        WHERE id = %(id)s AND run = %(run)s AND status = 'processing' AND error_code IS NULL
          AND fell_back_at IS NULL
        """,
        id=run.execution_id,
        run=run.run,
    )
