-- The rows of a list of executions. A function in PL/pgSQL keeps the plan of its statement in the session, also
-- behind a transaction pooler, where no client can prepare one. Row security applies to the caller.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

-- One JSON object a line, newest first, without input_data, which can be megabytes. The last member `cover` is
-- [id, batch_index, thumbnail_path] of the first thumbnail. NULL if there is no row.
CREATE FUNCTION app.describe_executions(p_ids uuid[], p_default_size text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    RETURN (
        -- MATERIALIZED: else the planner starts from the names, because the caller sees few of them. LATERAL
        -- with OFFSET 0: else it looks for the ids among all rows of the client.
        WITH page AS MATERIALIZED (
            SELECT e.* FROM unnest(p_ids) AS i (id) CROSS JOIN LATERAL (
                SELECT e.id, e.workflow_id, e.client_id, e.user_id, e.name, e.status, e.prompt_count,
                    e.image_count, e.paused_at, e.output_data, e.started_at, e.completed_at,
                    e.duration_seconds, e.error_code, e.error_message, e.created_at, e.expired_at,
                    e.deadline_at, e.estimate_microusd, e.cost_microusd, e.settings ->> 'model' AS model, e.tier,
                    coalesce(e.input_settings ->> 'image_size', p_default_size) AS image_size,
                    app.images_of(NULL, e.input_settings -> 'images_per_prompt') AS images_per_prompt
                FROM public.workflow_executions e WHERE e.id = i.id OFFSET 0
            ) e
        )
        SELECT string_agg(row_to_json(x)::text, chr(10)) FROM (
            SELECT e.*,
                -- Subqueries: a join with a view that is a security barrier reads the whole view.
                (SELECT w.name FROM app.workflow_names w WHERE w.id = e.workflow_id) AS workflow_name,
                (SELECT p.name FROM app.people p WHERE p.id = e.user_id) AS user_name,
                (SELECT c.name FROM public.clients c WHERE c.id = e.client_id) AS client_name,
                coalesce(app.ended_progress(e.status, e.output_data),
                    app.progress(e.id, e.status, e.image_count, e.output_data)) AS progress,
                (SELECT json_build_array(b.execution_id, b.batch_index, b.thumbnail_path)
                 FROM public.workflow_batch_results b
                 WHERE b.execution_id = e.id AND b.has_thumbnail ORDER BY b.batch_index LIMIT 1) AS cover
            FROM page e ORDER BY e.created_at DESC, e.id DESC
        ) x
    );
END $$;

-- The newest executions before a position. Pages with a filter are planned with its value instead.
CREATE FUNCTION app.newest_executions(
    p_before timestamptz, p_before_id uuid, p_limit integer, p_default_size text
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    RETURN app.describe_executions(ARRAY(
        SELECT e.id FROM public.workflow_executions e
        WHERE (e.created_at, e.id) < (p_before, p_before_id)
        -- A limit that the planner knows makes it sort the rows of a big client.
        ORDER BY e.created_at DESC, e.id DESC LIMIT (SELECT p_limit)
    ), p_default_size);
END $$;

REVOKE EXECUTE ON FUNCTION app.describe_executions(uuid[], text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION app.newest_executions(timestamptz, uuid, integer, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.describe_executions(uuid[], text) TO masstock_api, masstock_admin;
GRANT EXECUTE ON FUNCTION app.newest_executions(timestamptz, uuid, integer, text)
    TO masstock_api, masstock_admin;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app FROM masstock_owner;
RESET ROLE;
