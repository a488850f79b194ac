SELECT page.*, w.name AS workflow_name, u.name AS user_name, c.name AS client_name,
    coalesce(app.ended_progress(page.status, page.output_data),
        app.progress(page.id, page.status, page.image_count, page.output_data)) AS progress,
    (SELECT coalesce(b.thumbnail_path, b.execution_id || '/thumbnails/' || b.batch_index || '.webp')
     FROM public.workflow_batch_results b
     WHERE b.execution_id = page.id AND b.has_thumbnail
     ORDER BY b.batch_index LIMIT 1) AS cover_url
FROM (
    SELECT e.id, e.workflow_id, e.client_id, e.user_id, e.name, e.status, e.prompt_count,
        e.image_count, e.paused_at, e.output_data, e.started_at, e.completed_at,
        e.duration_seconds, e.error_code, e.error_message, e.created_at, e.expired_at,
        e.deadline_at, e.estimate_microusd, e.cost_microusd, e.settings ->> 'model' AS model,
        e.tier, coalesce(e.input_settings ->> 'image_size', '1K') AS image_size,
        app.images_of(NULL, e.input_settings -> 'images_per_prompt') AS images_per_prompt
    FROM public.workflow_executions e
    WHERE (%(status)s::text IS NULL OR e.status = %(status)s)
      AND (%(workflow_id)s::uuid IS NULL OR e.workflow_id = %(workflow_id)s)
      AND (%(client_id)s::uuid IS NULL OR e.client_id = %(client_id)s)
      AND (%(user_id)s::uuid IS NULL OR e.user_id = %(user_id)s)
      AND (%(created_from)s::timestamptz IS NULL OR e.created_at >= %(created_from)s)
      AND (%(created_to)s::timestamptz IS NULL OR e.created_at < %(created_to)s)
      AND (e.created_at, e.id) < (%(before_created_at)s, %(before_id)s)
    ORDER BY e.created_at DESC, e.id DESC
    LIMIT %(limit)s
) page
LEFT JOIN app.workflow_names w ON w.id = page.workflow_id
LEFT JOIN app.people u ON u.id = page.user_id
LEFT JOIN public.clients c ON c.id = page.client_id
ORDER BY page.created_at DESC, page.id DESC
