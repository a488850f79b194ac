"""The rows of a new execution: what is asked of the model for each image, and its part of the
reservation. A retry changes both in `app.reopen_failed`."""

from typing import LiteralString
from uuid import UUID

from masstock.catalogue.image_sizes import DEFAULT_SIZE
from masstock.database.connection import Statement

_LAY_OUT: LiteralString = """
    WITH execution AS (
        SELECT e.id, e.client_id, e.input_data, e.input_settings AS defaults, e.prices,
            coalesce(e.reserve_microusd, e.estimate_microusd) AS reserve,
            e.settings ->> 'model' AS model, e.input_settings -> 'reuse' = '"identical"' AS reuses
        FROM public.workflow_executions e
        WHERE e.id = %(id)s AND e.status IN ('pending', 'processing')
    ), prompt AS (
        SELECT e.id, e.client_id, e.prices, e.reserve, e.model, e.reuses,
            p.position - 1 AS prompt_index,
            app.images_of(p.item, e.defaults -> 'images_per_prompt') AS images,
            CASE
                WHEN jsonb_typeof(p.item) = 'string' THEN p.item #>> '{}'
                WHEN jsonb_typeof(p.item -> 'prompt') = 'string' THEN p.item ->> 'prompt'
                ELSE p.item::text END AS prompt_text,
            -- custom_id has an index, whose entries have at most about 2,700 bytes.
            CASE WHEN jsonb_typeof(p.item -> 'custom_id') = 'string'
                 THEN left(p.item ->> 'custom_id', 200) END AS custom_id,
            CASE WHEN jsonb_typeof(p.item -> 'metadata') = 'object'
                  AND octet_length((p.item -> 'metadata')::text) <= 16384
                 THEN p.item -> 'metadata' END AS metadata,
            CASE WHEN jsonb_typeof(coalesce(p.item -> 'seed', e.defaults -> 'seed'))
                      = 'number'
                 THEN least(2147483640, greatest(0,
                     coalesce(p.item -> 'seed', e.defaults -> 'seed')::numeric))::integer
                 END AS seed,
            CASE WHEN coalesce(p.item -> 'aspect_ratio', p.item -> 'image_size',
                               p.item -> 'reference_images') IS NOT NULL
                 THEN jsonb_strip_nulls(jsonb_build_object(
                     'aspect_ratio', coalesce(p.item -> 'aspect_ratio',
                                              e.defaults -> 'aspect_ratio'),
                     'image_size', coalesce(p.item -> 'image_size',
                                            e.defaults -> 'image_size'),
                     'reference_images', coalesce(p.item -> 'reference_images',
                                                  e.defaults -> 'reference_images'),
                     'reference_etags', CASE WHEN p.item -> 'reference_images' IS NULL
                         THEN e.defaults -> 'reference_etags'
                         ELSE p.item -> 'reference_etags' END)) END AS own,
            e.defaults
        FROM execution e, jsonb_array_elements(
                CASE jsonb_typeof(e.input_data -> 'prompts')
                    WHEN 'array' THEN e.input_data -> 'prompts' ELSE '[]' END
            ) WITH ORDINALITY AS p (item, position)
    ), image AS (
        SELECT p.*, image_index,
            row_number() OVER (ORDER BY p.prompt_index, image_index) - 1 AS batch_index,
            coalesce(app.image_price(
                p.prices, coalesce(s.asked ->> 'image_size', %(default_size)s),
                s.asked -> 'reference_images', p.prompt_text), 1) AS price,
            app.reuse_key(p.prompt_text, s.asked, p.seed + image_index, p.model, image_index)
                AS reuse_key
        FROM prompt p, generate_series(0, p.images - 1) AS image_index,
            LATERAL (SELECT coalesce(p.own, p.defaults) AS asked) AS s
        ORDER BY p.prompt_index, image_index
        LIMIT 10000
    )
    INSERT INTO public.workflow_batch_results
        (execution_id, client_id, batch_index, prompt_index, image_index, prompt_text,
         custom_id, asked, seed, prompt_metadata, reserved_microusd, reuse_key, reused_from)
    SELECT i.id, i.client_id, i.batch_index, i.prompt_index, i.image_index, i.prompt_text,
        i.custom_id, i.own, i.seed + i.image_index, i.metadata,
        coalesce(floor(i.reserve * i.price / nullif(sum(i.price) OVER (), 0)), 0), i.reuse_key,
        CASE WHEN i.reuses THEN app.find_reusable(i.client_id, i.reuse_key, i.model) END
    FROM image i
    ON CONFLICT DO NOTHING
"""


def lay_out_images(execution_id: UUID) -> Statement:
    """Inserts one row per image of a live execution: what is asked of the model, and its part of
    the reservation, by its price. Existing rows stay unchanged. Inserts at most 10,000 rows, and
    eight for one prompt. Accepts any JSON, so that an execution that was inserted without the api
    also ends. Malformed items are stored as their JSON text. A value that is not a list yields no
    rows. Of a repeated custom_id, only the images of the first prompt are inserted."""
    return (_LAY_OUT, {"id": execution_id, "default_size": DEFAULT_SIZE})
