-- An execution with a canary paints its first images, then pauses until the caller resumes it. While it
-- is paused, its status is `processing`, no machine runs and the sweep leaves it alone.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.workflow_executions
    ADD COLUMN paused_at timestamptz NULL,
    ADD COLUMN canary_passed_at timestamptz NULL;
GRANT UPDATE (paused_at, canary_passed_at) ON public.workflow_executions TO masstock_worker;
COMMENT ON COLUMN public.workflow_executions.paused_at IS
    'Since when the execution waits for the caller. NULL: it does not.';
COMMENT ON COLUMN public.workflow_executions.canary_passed_at IS
    'When the images after the canary were allowed.';
CREATE INDEX idx_workflow_executions_paused ON public.workflow_executions (paused_at)
    WHERE paused_at IS NOT NULL;

-- How many images are the canary. NULL: there is none.
CREATE FUNCTION app.canary_images(p_settings jsonb) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN jsonb_typeof(p_settings -> 'canary' -> 'images') = 'number'
        THEN greatest(1, least(10000, (p_settings -> 'canary' -> 'images')::numeric))::integer END
$$;
REVOKE EXECUTE ON FUNCTION app.canary_images(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.canary_images(jsonb) TO masstock_worker;

-- Allows the images after the canary. Returns the run to start; NULL if the caller has no such
-- execution. The time of the pause counts neither for the deadline nor as working time.
CREATE FUNCTION app.resume_execution(p_id uuid) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    execution record;
BEGIN
    SELECT e.status, e.paused_at, e.run INTO execution
    FROM public.workflow_executions e
    WHERE e.id = p_id AND (e.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    ELSIF execution.paused_at IS NULL OR execution.status <> 'processing' THEN
        RAISE EXCEPTION 'The execution is not paused.' USING ERRCODE = 'MS409';
    END IF;
    UPDATE public.workflow_executions e
    SET paused_at = NULL, canary_passed_at = now(), run = e.run + 1,
        deadline_at = e.deadline_at + (now() - e.paused_at),
        earlier_seconds = e.earlier_seconds + greatest(0, round(extract(epoch FROM
            e.paused_at - coalesce(e.working_since, e.started_at, e.created_at))))::integer,
        working_since = now()
    WHERE e.id = p_id;
    RETURN execution.run + 1;
END $$;
REVOKE EXECUTE ON FUNCTION app.resume_execution(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.resume_execution(uuid) TO masstock_api, masstock_admin;

-- What stops an execution also ends its pause, so that the sweep ends it. A retry needs no canary.
CREATE FUNCTION public.end_pause() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.paused_at := NULL;
    IF NEW.status = 'pending' THEN
        NEW.canary_passed_at := now();
    END IF;
    RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION public.end_pause() FROM PUBLIC;
CREATE TRIGGER end_pause BEFORE UPDATE ON public.workflow_executions
    FOR EACH ROW WHEN (NEW.paused_at IS NOT NULL AND NEW.error_code IS NOT NULL
                       OR OLD.status IN ('completed', 'failed') AND NEW.status = 'pending')
    EXECUTE FUNCTION public.end_pause();

-- As in 0053, with images that wait for the caller.
CREATE OR REPLACE FUNCTION app.progress(
    p_id uuid, p_status text, p_image_count integer, p_output_data jsonb) RETURNS json
LANGUAGE sql STABLE SET search_path = '' AS $$
    WITH execution AS (
        SELECT p_status IN ('pending', 'processing') AS is_live,
            (jsonb_typeof(p_output_data -> 'successful') = 'number'
             AND jsonb_typeof(p_output_data -> 'failed') = 'number') IS TRUE AS is_counted
    ), counts AS (
        SELECT (p_output_data -> 'successful')::numeric AS successful,
            (p_output_data -> 'failed')::numeric AS failed, 0 AS claimed,
            (p_output_data -> 'successful')::numeric + (p_output_data -> 'failed')::numeric AS rows
        FROM execution WHERE is_counted
        UNION ALL
        SELECT count(*) FILTER (WHERE r.status = 'completed'),
            count(*) FILTER (WHERE r.status = 'failed'),
            count(*) FILTER (WHERE r.status = 'processing' AND r.claimed_until > now()),
            count(*)
        FROM public.workflow_batch_results r
        WHERE r.execution_id = p_id AND NOT (SELECT is_counted FROM execution)
        HAVING NOT (SELECT is_counted FROM execution)
    ), totals AS (
        SELECT CASE WHEN e.is_live THEN greatest(p_image_count, c.rows) ELSE c.rows END AS total,
            c.successful, c.failed, c.claimed, e.is_live, e.is_live AND EXISTS (
                SELECT FROM public.workflow_executions x
                WHERE x.id = p_id AND x.paused_at IS NOT NULL) AS is_paused
        FROM counts c, execution e
    )
    SELECT json_build_object(
        'total', total, 'successful', successful, 'failed', failed,
        'processing', total - successful - failed,
        'waiting', CASE WHEN is_live AND NOT is_paused
            THEN greatest(0, total - successful - failed - claimed - coalesce(j.submitted, 0))
            ELSE 0 END,
        'submitted', coalesce(j.submitted, 0),
        'painted_by_provider', coalesce(j.painted_by_provider, 0), 'paused',
        CASE WHEN is_paused THEN total - successful - failed ELSE 0 END)
    FROM totals t
    LEFT JOIN LATERAL app.economy_progress(CASE WHEN t.is_live THEN p_id END) AS j ON true
$$;

-- As in 0053, with the pause.
CREATE OR REPLACE FUNCTION app.pace(p_id uuid) RETURNS json
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    WITH execution AS (
        SELECT e.status, e.lane_key, e.settings, e.image_count, e.paused_at,
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
        FROM public.workflow_batch_results r WHERE r.execution_id = p_id
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
