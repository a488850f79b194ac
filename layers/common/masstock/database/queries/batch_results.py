"""Statements on workflow_batch_results."""

from typing import LiteralString, TypedDict, cast
from uuid import UUID

from masstock.database.connection import Executor, Row, Statement
from masstock.errors import Outcome

# True if the prompt of a result `p` has several images. They follow each other.
SEVERAL: LiteralString = """
    p.image_index > 0 OR (
        SELECT next.image_index > 0 FROM public.workflow_batch_results next
        WHERE next.execution_id = p.execution_id AND next.batch_index = p.batch_index + 1
    ) IS TRUE AS several
"""

# --- as a tenant -------------------------------------------------------------------------------

# A result `p` as callers see it, and what its URLs are made of.
RESULT_COLUMNS: LiteralString = (
    """
    p.id, p.execution_id, p.client_id, p.batch_index, p.prompt_index, p.image_index, p.prompt_text,
    p.original_prompt, p.custom_id, p.prompt_metadata, p.seed, p.status, p.result_url,
    p.result_storage_path, p.error_code, p.error_message,
    CASE WHEN p.status = 'failed'
         THEN coalesce(p.error_code = ANY(%(retryable_codes)s), false) END AS retryable,
    p.processing_time_ms, p.mime_type, p.size_bytes, p.image_sha256, p.attempts, p.cost_microusd,
    coalesce(p.tier, CASE WHEN p.status = 'completed' THEN 'standard' END) AS tier,
    p.model, p.width, p.height, p.as_asked, p.images_in_answer, p.has_provenance, p.has_thumbnail,
    p.thumbnail_path, p.provider_message, p.created_at, p.completed_at, p.expired_at,
    CASE WHEN p.status = 'completed' THEN p.reused_from END AS reused_from,
"""
    + SEVERAL
)
_CANDIDATES: LiteralString = """
    WITH candidates AS (
        SELECT c.*, row_number() OVER in_order AS position,
            -- As JSON inside the string of Lambda's answer, which escapes once more.
            sum(octet_length(to_json(to_json(c.prompt_text)::text)::text)
                + coalesce(octet_length(to_json(to_json(c.original_prompt)::text)::text), 0)
                + coalesce(octet_length(to_json(c.prompt_metadata::text)::text), 0)
            ) OVER in_order AS bytes_so_far
        FROM app.next_results(
            %(execution_id)s, %(after)s, %(status)s, %(limit)s + 1
        ) AS c
        WINDOW in_order AS (ORDER BY c.batch_index)
    ), page AS (
        SELECT * FROM candidates
        WHERE position = 1 OR (position <= %(limit)s AND bytes_so_far <= %(max_bytes)s)
    )
    SELECT (SELECT count(*) FROM candidates) > (SELECT count(*) FROM page) AS more_follow,
"""
_OF_EXECUTION: LiteralString = """
    FROM public.workflow_executions e LEFT JOIN page p ON true
    WHERE e.id = %(execution_id)s
    ORDER BY p.batch_index
"""


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
        _CANDIDATES + RESULT_COLUMNS + _OF_EXECUTION,
        execution_id=execution_id,
        after=after,
        limit=limit,
        status=status,
        retryable_codes=retryable_codes,
        max_bytes=max_bytes,
    )


_PLACE: LiteralString = """
    SELECT p.execution_id, p.batch_index, p.prompt_index, p.image_index, p.custom_id, p.status,
        p.result_storage_path, p.has_thumbnail, p.thumbnail_path, p.expired_at, p.error_message,
"""
_OF_INDEX: LiteralString = """
    FROM public.workflow_batch_results p
    WHERE p.execution_id = %(execution_id)s AND p.batch_index = %(batch_index)s
"""


def fetch_image_place(tx: Executor, execution_id: UUID, batch_index: int) -> Row:
    """Where the image of one prompt is, and what its file name is made of: {execution_id,
    batch_index, prompt_index, image_index, custom_id, several, status, result_storage_path,
    has_thumbnail, thumbnail_path, expired_at, error_message}; raises NotFound."""
    return tx.fetch_one(
        _PLACE + SEVERAL + _OF_INDEX, execution_id=execution_id, batch_index=batch_index
    )


class OwnSettings(TypedDict):
    """Settings of an image that differ from its execution's."""

    batch_index: int
    aspect_ratio: str | None
    image_size: str | None
    references: int


def list_own_settings(tx: Executor, execution_id: UUID) -> list[OwnSettings]:
    """The different settings that failed prompts have of their own, each with its first image."""
    rows = tx.fetch_all(
        """
        SELECT min(r.batch_index) AS batch_index, s.aspect_ratio, s.image_size, s."references"
        FROM public.workflow_batch_results r, LATERAL (
            SELECT r.asked ->> 'aspect_ratio' AS aspect_ratio,
                r.asked ->> 'image_size' AS image_size,
                CASE jsonb_typeof(r.asked -> 'reference_images')
                    WHEN 'array' THEN jsonb_array_length(r.asked -> 'reference_images')
                    ELSE 0 END AS "references") AS s
        WHERE r.execution_id = %(execution_id)s AND r.status = 'failed' AND r.asked IS NOT NULL
        GROUP BY s.aspect_ratio, s.image_size, s."references"
        """,
        execution_id=execution_id,
    )
    return cast(list[OwnSettings], rows)


def list_failed(tx: Executor, execution_id: UUID, indices: list[int]) -> set[int]:
    """Those of the indices whose images have failed."""
    rows = tx.fetch_all(
        """
        SELECT batch_index FROM public.workflow_batch_results
        WHERE execution_id = %(execution_id)s AND batch_index = ANY (%(indices)s)
          AND status = 'failed'
        """,
        execution_id=execution_id,
        indices=indices,
    )
    return {row["batch_index"] for row in rows}


# --- as the engine -----------------------------------------------------------------------------


class Unfinished(TypedDict):
    """A row of `list_unfinished`."""

    batch_index: int


def list_unfinished(execution_id: UUID) -> Statement:
    """The images that are to be painted now, in order, as Unfinished: first those of the canary."""
    return (
        """
        SELECT r.batch_index
        FROM public.workflow_batch_results r, public.workflow_executions e
        WHERE e.id = %(id)s AND r.execution_id = e.id AND r.status = 'processing'
          AND (e.canary_passed_at IS NOT NULL
               OR coalesce(r.batch_index < app.canary_images(e.input_settings), true))
        ORDER BY r.batch_index
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
          AND e.status IN ('pending', 'processing') AND e.paused_at IS NULL
          AND r.execution_id = e.id AND r.status = 'processing'
        """,
        {
            "execution_id": execution_id,
            "run": run,
            "code": outcome.code,
            "message": outcome.detail,
        },
    )
