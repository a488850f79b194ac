"""The rows of a new execution. `app.asked_images` decides what is asked of the model for each
image. Here each image gets its share of the reservation. A retry changes both in
`app.reopen_failed`."""

from typing import LiteralString
from uuid import UUID

from masstock.database.connection import Statement

_LAY_OUT: LiteralString = """
    WITH execution AS (
        SELECT e.id, e.client_id, e.input_data, e.input_settings, e.prices, e.reused_images,
            coalesce(e.reserve_microusd, e.estimate_microusd) AS reserve,
            e.settings ->> 'model' AS model,
            e.input_settings -> 'reuse' = '"identical"' AND e.reused_images IS NULL AS looks_up
        FROM public.workflow_executions e
        WHERE e.id = %(id)s AND e.status IN ('pending', 'processing')
    ), found AS MATERIALIZED (
        SELECT key::integer AS batch_index, value::uuid AS id
        FROM execution e, jsonb_each_text(e.reused_images)
    ), image AS (
        SELECT e.id AS execution_id, e.client_id, e.reserve, i.*,
            CASE WHEN e.looks_up THEN app.find_reusable(e.client_id, i.reuse_key, e.model)
                 ELSE f.id END AS reused_from
        FROM execution e
        CROSS JOIN LATERAL app.asked_images(
            e.input_data -> 'prompts', e.input_settings, e.prices, e.model) AS i
        LEFT JOIN found f ON f.batch_index = i.batch_index
    )
    INSERT INTO public.workflow_batch_results
        (execution_id, client_id, batch_index, prompt_index, image_index, prompt_text,
         custom_id, asked, seed, prompt_metadata, reserved_microusd, reuse_key, reused_from)
    SELECT i.execution_id, i.client_id, i.batch_index, i.prompt_index, i.image_index,
        i.prompt_text, i.custom_id, i.own, i.seed, i.metadata,
        CASE WHEN i.reused_from IS NOT NULL THEN 0 ELSE coalesce(floor(
            i.reserve * i.price
            / nullif(sum(i.price) FILTER (WHERE i.reused_from IS NULL) OVER (), 0)), 0) END,
        i.reuse_key, i.reused_from
    FROM image i
    ORDER BY i.batch_index
    ON CONFLICT DO NOTHING
"""


def lay_out_images(execution_id: UUID) -> Statement:
    """Inserts one row per image of a live execution: what is asked of the model, and its part of
    the reservation, by its price; an image that is reused reserves nothing. Existing rows stay
    unchanged. Inserts at most 10,000 rows, and eight for one prompt. Accepts any JSON, so that an
    execution that was inserted without the api also ends. Malformed items are stored as their JSON
    text. A value that is not a list yields no rows. Of a repeated custom_id, only the images of the
    first prompt are inserted."""
    return (_LAY_OUT, {"id": execution_id})
