"""Statements on workflow_batch_results."""

from typing import TypedDict
from uuid import UUID

from masstock.database.connection import Executor, Row, Statement
from masstock.errors import Outcome

# --- as a tenant -------------------------------------------------------------------------------


def list_results(
    tx: Executor,
    execution_id: UUID,
    *,
    after: int,
    limit: int,
    status: str | None,
    retryable_codes: list[str],
    max_bytes: int,
) -> list[Row]:
    """Results after index `after`, in order: at most `limit`, with about `max_bytes` of prompts.
    `more_follow` is true in every row if more results follow. If no result matches, one row with
    `id` None is returned. If the caller sees no such execution, no row is returned."""
    return tx.fetch_all(
        """
        WITH candidates AS (
            SELECT c.*, row_number() OVER in_order AS position,
                sum(octet_length(to_json(c.prompt_text)::text)) OVER in_order AS bytes_so_far
            FROM (
                SELECT * FROM public.workflow_batch_results r
                WHERE r.execution_id = %(execution_id)s AND r.batch_index > %(after)s
                  AND (%(status)s::text IS NULL OR r.status = %(status)s)
                ORDER BY r.batch_index LIMIT %(limit)s + 1
            ) c
            WINDOW in_order AS (ORDER BY c.batch_index)
        ), page AS (
            SELECT * FROM candidates
            WHERE position = 1 OR (position <= %(limit)s AND bytes_so_far <= %(max_bytes)s)
        )
        SELECT (SELECT count(*) FROM candidates) > (SELECT count(*) FROM page) AS more_follow,
            p.id, p.execution_id, p.client_id, p.batch_index, p.prompt_text, p.custom_id,
            p.status, p.result_url, p.result_storage_path, p.error_code, p.error_message,
            CASE WHEN p.status = 'failed'
                 THEN coalesce(p.error_code = ANY(%(retryable_codes)s), false) END AS retryable,
            p.processing_time_ms, p.mime_type, p.size_bytes, p.image_sha256, p.attempts,
            p.cost_microusd, p.model, p.width, p.height, p.as_asked, p.images_in_answer,
            p.has_provenance, p.provider_message, p.created_at, p.completed_at
        FROM public.workflow_executions e LEFT JOIN page p ON true
        WHERE e.id = %(execution_id)s
        ORDER BY p.batch_index
        """,
        execution_id=execution_id,
        after=after,
        limit=limit,
        status=status,
        retryable_codes=retryable_codes,
        max_bytes=max_bytes,
    )


def fetch_storage_path(tx: Executor, execution_id: UUID, batch_index: int) -> Row:
    """Where the image of one prompt is: {status, result_storage_path, error_message}; raises
    NotFound."""
    return tx.fetch_one(
        """
        SELECT status, result_storage_path, error_message
        FROM public.workflow_batch_results
        WHERE execution_id = %(execution_id)s AND batch_index = %(batch_index)s
        """,
        execution_id=execution_id,
        batch_index=batch_index,
    )


# --- as the engine -----------------------------------------------------------------------------


def lay_out_prompts(execution_id: UUID) -> Statement:
    """Inserts one row per prompt of a live execution. Existing rows stay unchanged. Accepts any
    JSON, so that an execution that was inserted without the api also ends. Malformed items are
    stored as their JSON text. A value that is not a list yields no rows. A repeated custom_id is
    inserted once."""
    return (
        """
        INSERT INTO public.workflow_batch_results
            (execution_id, client_id, batch_index, prompt_text, custom_id)
        SELECT e.id, e.client_id, p.position - 1,
            CASE
                WHEN jsonb_typeof(p.item) = 'string' THEN p.item #>> '{}'
                WHEN jsonb_typeof(p.item -> 'prompt') = 'string' THEN p.item ->> 'prompt'
                ELSE p.item::text END,
            -- custom_id has an index, whose entries have at most about 2,700 bytes.
            CASE WHEN jsonb_typeof(p.item -> 'custom_id') = 'string'
                 THEN left(p.item ->> 'custom_id', 200) END
        FROM public.workflow_executions e,
            jsonb_array_elements(
                CASE jsonb_typeof(e.input_data -> 'prompts')
                    WHEN 'array' THEN e.input_data -> 'prompts' ELSE '[]' END
            ) WITH ORDINALITY AS p (item, position)
        WHERE e.id = %(id)s AND e.status IN ('pending', 'processing')
        ON CONFLICT DO NOTHING
        """,
        {"id": execution_id},
    )


class Unfinished(TypedDict):
    """A row of `list_unfinished`."""

    batch_index: int


def list_unfinished(execution_id: UUID) -> Statement:
    """The prompts that are still to be painted, in order, as Unfinished."""
    return (
        """
        SELECT batch_index FROM public.workflow_batch_results
        WHERE execution_id = %(id)s AND status = 'processing' ORDER BY batch_index
        """,
        {"id": execution_id},
    )


def fail_unfinished(execution_id: UUID, run: int, outcome: Outcome) -> Statement:
    """Marks all unfinished prompts as failed: for the reason that stopped the execution, else for
    `outcome`."""
    return (
        """
        UPDATE public.workflow_batch_results r
        SET status = 'failed', completed_at = now(), claimed_until = NULL,
            error_code = coalesce(e.error_code, %(code)s),
            error_message = coalesce(e.error_message, %(message)s)
        FROM public.workflow_executions e
        WHERE e.id = %(execution_id)s AND e.run = %(run)s
          AND e.status IN ('pending', 'processing')
          AND r.execution_id = e.id AND r.status = 'processing'
        """,
        {
            "execution_id": execution_id,
            "run": run,
            "code": outcome.code,
            "message": outcome.detail,
        },
    )
