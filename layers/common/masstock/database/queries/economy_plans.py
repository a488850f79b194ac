"""The statement that plans the jobs of an execution of the economy tier. Only the function economy
imports this module."""

from typing import TypedDict

from psycopg.types.json import Jsonb

from masstock.database.queries.executions import lock_execution
from masstock.database.worker import Worker
from masstock.schemas.engine import ExecutionRun


class ChunkLimits(TypedDict):
    """The limits of one job: bytes of its input, its tokens, and expected bytes of its result.
    Further the size of a line without its prompt, the size that each reference adds, and the
    expected bytes of an image by its size."""

    max_bytes: int
    max_tokens: int
    max_result_bytes: int
    line_bytes: int
    line_tokens: int
    reference_bytes: int
    reference_tokens: int
    image_bytes: Jsonb
    other_image_bytes: int


def plan_jobs(tx: Worker, run: ExecutionRun, limits: ChunkLimits) -> int:
    """Gives a job to every unfinished prompt without one. Returns how many jobs it planned. A
    second call plans nothing."""
    # The lock comes first, in a statement of its own: the next statement sees what another planner
    # committed meanwhile.
    _, planned = tx.fetch_together(
        [
            lock_execution(run),
            (
                """
        WITH weighed AS (
            -- A prompt's largest share of a limit. So the sum of a chunk's shares bounds them all.
            SELECT e.id AS execution_id, e.client_id, m.model, r.batch_index,
                app.lane_id(e.lane_key, m.model) AS lane_id,
                greatest(
                    (octet_length(r.prompt_text) * 2 + %(line_bytes)s
                     + a.references * %(reference_bytes)s) / %(max_bytes)s::float8,
                    (octet_length(r.prompt_text) / 3 + %(line_tokens)s
                     + a.references * %(reference_tokens)s) / %(max_tokens)s::float8,
                    coalesce((%(image_bytes)s::jsonb ->> a.size)::float8, %(other_image_bytes)s)
                    / %(max_result_bytes)s) AS share
            FROM public.workflow_executions e
            JOIN public.workflows w ON w.id = e.workflow_id
            CROSS JOIN LATERAL (
                SELECT coalesce(e.settings, w.config) ->> 'model' AS model) AS m
            JOIN public.workflow_batch_results r
                ON r.execution_id = e.id AND r.status = 'processing' AND r.economy_job_id IS NULL
            CROSS JOIN LATERAL (SELECT coalesce(r.asked, e.input_settings) AS settings) AS asked
            CROSS JOIN LATERAL (
                SELECT asked.settings ->> 'image_size' AS size,
                    CASE jsonb_typeof(asked.settings -> 'reference_images') WHEN 'array'
                    THEN jsonb_array_length(asked.settings -> 'reference_images')
                    ELSE 0 END AS references) AS a
            WHERE e.id = %(id)s AND e.run = %(run)s AND e.status = 'processing'
              AND e.error_code IS NULL AND e.tier = 'economy' AND e.fell_back_at IS NULL
        ), chunks AS (
            SELECT w.*, floor(sum(w.share) OVER (ORDER BY w.batch_index) - w.share)::integer
                + (SELECT coalesce(max(j.number) + 1, 0) FROM public.economy_jobs j
                   WHERE j.execution_id = %(id)s) AS number
            FROM weighed w
        ), jobs AS (
            INSERT INTO public.economy_jobs
                (execution_id, client_id, number, model, lane_id, prompts)
            SELECT execution_id, client_id, number, model, lane_id, count(*) FROM chunks
            GROUP BY 1, 2, 3, 4, 5
            RETURNING id, number
        ), given AS (
            UPDATE public.workflow_batch_results r SET economy_job_id = jobs.id
            FROM chunks JOIN jobs USING (number)
            WHERE r.execution_id = %(id)s AND r.batch_index = chunks.batch_index
        )
        SELECT id FROM jobs
        """,
                {"id": run.execution_id, "run": run.run, **limits},
            ),
        ]
    )
    return len(planned)
