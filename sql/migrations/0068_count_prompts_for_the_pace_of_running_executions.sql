-- The pace of an execution that does not run counted all its results: half of the time of reading an execution of
-- 10,000 prompts. It also counted the results of an execution that the caller does not see.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;
CREATE OR REPLACE FUNCTION app.pace(p_id uuid) RETURNS json
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    WITH execution AS (
        SELECT e.id, e.status, e.lane_key, e.settings, e.image_count, e.paused_at,
            e.tier = 'economy' AND e.fell_back_at IS NULL AS by_jobs,
            coalesce(e.working_since, e.started_at, e.created_at) AS since
        FROM public.workflow_executions e
        WHERE e.id = p_id AND (e.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
    ), prompts AS (
        SELECT count(*) FILTER (WHERE r.status = 'processing') AS unfinished,
            count(*) FILTER (WHERE r.claimed_until > now()) AS claimed,
            count(*) FILTER (WHERE r.status = 'completed'
                             AND r.completed_at > now() - interval '1 minute') AS painted,
            count(*) AS laid_out
        FROM public.workflow_batch_results r
        WHERE r.execution_id = (SELECT e.id FROM execution e WHERE e.status = 'processing')
    ), measured AS (
        SELECT e.status = 'processing' AS is_running, e.by_jobs OR e.paused_at IS NOT NULL AS has_no_end,
            CASE WHEN NOT e.by_jobs AND e.paused_at IS NULL THEN l.opens_at END AS opens_at,
            CASE WHEN e.paused_at IS NOT NULL THEN 'canary' WHEN e.by_jobs THEN 'economy_job'
                 WHEN l.limited_by = 'none' AND p.claimed >= nullif(CASE
                     jsonb_typeof(e.settings -> 'max_concurrency')
                     WHEN 'number' THEN (e.settings ->> 'max_concurrency')::numeric END, 0)
                 THEN 'concurrency' ELSE l.limited_by END AS reason,
            p.unfinished + greatest(0, e.image_count - p.laid_out) AS unfinished,
            coalesce(nullif(p.painted * 60.0 / greatest(1, least(60,
                         extract(epoch FROM now() - e.since))), 0),
                     CASE WHEN NOT e.by_jobs
                          THEN l.calls_per_minute / greatest(1, l.waiting_executions) END) AS rate
        FROM execution e, prompts p,
            LATERAL app.lane_state(app.lane_id(e.lane_key, e.settings ->> 'model'), now()) AS l
    )
    SELECT json_build_object(
        'limited_by', CASE WHEN is_running THEN reason ELSE 'none' END,
        'images_per_minute', CASE WHEN is_running THEN round(rate::numeric, 1) END,
        'opens_at', CASE WHEN is_running THEN opens_at END,
        'expected_end_at', CASE WHEN is_running AND unfinished > 0 AND rate > 0
                                AND NOT has_no_end THEN
            greatest(now(), opens_at) + make_interval(secs => unfinished * 60.0 / rate) END)
    FROM measured
$$;
RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app FROM masstock_owner;
RESET ROLE;
