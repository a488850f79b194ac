-- Every execution names the quota that it uses, and each claim asks the lane of that quota first
-- (0031). The deadline of an execution moves while its lane still paints.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app, app_private TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

-- Rows inserted past the api cannot set these columns, so they use the platform's lane.
ALTER TABLE public.workflow_executions
    ADD COLUMN lane_key uuid NULL,
    ADD COLUMN deadline_is_fixed boolean NOT NULL DEFAULT false,
    ADD COLUMN stopped_at timestamptz NULL;
GRANT INSERT (lane_key, deadline_is_fixed) ON public.workflow_executions TO masstock_api;
COMMENT ON COLUMN public.workflow_executions.lane_key IS
    'Whose quota the execution uses: a keyed hash of its API key, or of its client and the name of '
    'its lane. NULL: the platform''s. With the model it makes the id of the lane.';
COMMENT ON COLUMN public.workflow_executions.deadline_is_fixed IS
    'True if the caller gave the deadline. Otherwise the sweep extends it while the lane paints.';
COMMENT ON COLUMN public.workflow_executions.stopped_at IS
    'When the execution was cancelled or stopped, so that no prompt is claimed any more.';

CREATE FUNCTION public.note_stop() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.stopped_at := CASE WHEN NEW.error_code IS NOT NULL THEN now() END;
    RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION public.note_stop() FROM PUBLIC;
CREATE TRIGGER note_stop BEFORE UPDATE OF error_code ON public.workflow_executions
    FOR EACH ROW WHEN (OLD.error_code IS DISTINCT FROM NEW.error_code)
    EXECUTE FUNCTION public.note_stop();

ALTER TABLE public.workflow_batch_results
    ADD COLUMN lane_successes bigint NULL,
    ADD COLUMN probes integer NOT NULL DEFAULT 0;
GRANT UPDATE (lane_successes, probes) ON public.workflow_batch_results TO masstock_worker;
COMMENT ON COLUMN public.workflow_batch_results.lane_successes IS
    'How many calls of the lane had succeeded at the prompt''s last refusal.';
COMMENT ON COLUMN public.workflow_batch_results.probes IS
    'How often the prompt asked in vain whether a closed lane is open again.';

CREATE FUNCTION app.lane_id(p_lane_key uuid, p_model text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT pg_catalog.md5(coalesce(p_lane_key::text, 'platform') || '|' || coalesce(p_model, ''))::uuid
$$;
REVOKE EXECUTE ON FUNCTION app.lane_id(uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.lane_id(uuid, text) TO masstock_worker, masstock_owner;

-- The deadline of a live row is at most 72 hours after its submission.
CREATE FUNCTION public.bound_deadline() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.deadline_at := least(coalesce(NEW.deadline_at, now() + interval '6 hours'),
                             now() + interval '72 hours');
    RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION public.bound_deadline() FROM PUBLIC;
CREATE TRIGGER bound_deadline BEFORE INSERT ON public.workflow_executions
    FOR EACH ROW WHEN (NEW.status IN ('pending', 'processing'))
    EXECUTE FUNCTION public.bound_deadline();

-- For the sweep: moves the deadline of an execution to `p_idle_seconds` after the last success of its
-- lane, but not beyond 72 hours after its submission or latest retry. Returns the deadline if it is
-- in the future, else NULL.
CREATE FUNCTION app.extend_deadline(p_id uuid, p_idle_seconds double precision) RETURNS timestamptz
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    UPDATE public.workflow_executions e
    SET deadline_at = least(
        coalesce(e.working_since, e.created_at) + interval '72 hours',
        l.last_success_at + make_interval(secs => p_idle_seconds))
    FROM app_private.lanes l
    WHERE e.id = p_id AND NOT e.deadline_is_fixed AND e.status IN ('pending', 'processing')
      AND l.last_success_at IS NOT NULL
      AND l.id = app.lane_id(e.lane_key, e.settings ->> 'model')
      AND least(coalesce(e.working_since, e.created_at) + interval '72 hours',
                l.last_success_at + make_interval(secs => p_idle_seconds)) > now()
    RETURNING e.deadline_at
$$;
REVOKE EXECUTE ON FUNCTION app.extend_deadline(uuid, double precision) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.extend_deadline(uuid, double precision) TO masstock_worker;

-- As in 0025. A retry also forgets what its prompts met on their lane.
CREATE OR REPLACE FUNCTION app.reopen_failed(
    p_id uuid, p_codes text[], p_deadline_seconds integer, p_microusd_per_image bigint)
RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    execution record;
    reopened integer;
    this_month date := date_trunc('month', now() AT TIME ZONE 'UTC');
BEGIN
    SELECT e.status, e.client_id, e.run INTO execution
    FROM public.workflow_executions e
    WHERE e.id = p_id AND (e.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    ELSIF execution.status NOT IN ('completed', 'failed') THEN
        RAISE EXCEPTION 'The execution has not ended.' USING ERRCODE = 'MS409';
    END IF;
    UPDATE public.workflow_batch_results
    SET status = 'processing', error_code = NULL, error_message = NULL, completed_at = NULL,
        failures = 0, throttles = 0, claimed_until = NULL,
        lane_successes = NULL, probes = 0
    WHERE execution_id = p_id AND status = 'failed'
      AND (p_codes IS NULL OR error_code = ANY (p_codes));
    GET DIAGNOSTICS reopened = ROW_COUNT;
    IF reopened = 0 THEN
        RAISE EXCEPTION 'No result of this execution can be retried.' USING ERRCODE = 'MS409';
    END IF;
    PERFORM app_private.reserve_spend(
        execution.client_id, p_id, this_month, p_microusd_per_image * reopened);
    -- A claim turns `estimate_microusd / prompt_count` of the reservation into its cost.
    UPDATE public.workflow_executions
    SET status = 'pending', run = run + 1, error_code = NULL, error_message = NULL,
        output_data = NULL, completed_at = NULL,
        earlier_seconds = coalesce(duration_seconds, 0), working_since = now(),
        duration_seconds = NULL,
        spend_month = this_month, estimate_microusd = p_microusd_per_image * prompt_count,
        deadline_at = now() + make_interval(secs => p_deadline_seconds), deadline_is_fixed = false
    WHERE id = p_id;
    RETURN execution.run + 1;
END $$;

-- How fast an execution paints, and why not faster. NULL if the caller has no such execution.
CREATE FUNCTION app.pace(p_id uuid) RETURNS json
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    WITH execution AS (
        SELECT e.status, e.lane_key, e.settings, e.prompt_count,
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
        SELECT e.status = 'processing' AS is_running, l.limited_by, l.opens_at,
            CASE WHEN l.limited_by = 'none' AND p.claimed >= nullif(CASE
                     jsonb_typeof(e.settings -> 'max_concurrency')
                     WHEN 'number' THEN (e.settings ->> 'max_concurrency')::numeric END, 0)
                 THEN 'concurrency' ELSE l.limited_by END AS reason,
            p.unfinished + greatest(0, e.prompt_count - p.laid_out) AS unfinished,
            coalesce(nullif(p.painted * 60.0 / greatest(1, least(60,
                         extract(epoch FROM now() - e.since))), 0),
                     l.calls_per_minute / greatest(1, l.waiting_executions)) AS rate
        FROM execution e, prompts p,
            LATERAL app.lane_state(app.lane_id(e.lane_key, e.settings ->> 'model'), now()) AS l
    )
    SELECT json_build_object(
        'limited_by', CASE WHEN is_running THEN reason ELSE 'none' END,
        'images_per_minute', CASE WHEN is_running THEN round(rate::numeric, 1) END,
        'opens_at', CASE WHEN is_running THEN opens_at END,
        'expected_end_at', CASE WHEN is_running AND unfinished > 0 AND rate > 0 THEN
            greatest(now(), opens_at) + make_interval(secs => unfinished * 60.0 / rate) END)
    FROM measured
$$;
REVOKE EXECUTE ON FUNCTION app.pace(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.pace(uuid) TO masstock_api, masstock_admin;

-- Lanes for administrators. They show no key: an id is a keyed hash.
CREATE VIEW app_private.lanes_shown AS
    SELECT l.id, l.model, l.client_id, s.limited_by, s.calls_per_minute, l.limit_per_minute,
        s.opens_at, s.closed_since, s.last_success_at, s.waiting_executions, l.created_at
    FROM app_private.lanes l, LATERAL app.lane_state(l.id, clock_timestamp()) AS s;

CREATE FUNCTION app.list_lanes(
    p_from timestamptz, p_to timestamptz, p_before_created_at timestamptz, p_before_id uuid,
    p_limit integer)
RETURNS SETOF app_private.lanes_shown
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT shown.* FROM (
        SELECT l.id, l.created_at FROM app_private.lanes l
        WHERE (SELECT app.is_admin())
          AND (p_from IS NULL OR l.created_at >= p_from) AND (p_to IS NULL OR l.created_at < p_to)
          AND (l.created_at, l.id) < (p_before_created_at, p_before_id)
        ORDER BY l.created_at DESC, l.id DESC LIMIT p_limit
    ) AS page, LATERAL (SELECT * FROM app_private.lanes_shown v WHERE v.id = page.id) AS shown
    ORDER BY page.created_at DESC, page.id DESC
$$;

CREATE FUNCTION app.fetch_lane(p_id uuid, p_for_update boolean)
RETURNS SETOF app_private.lanes_shown
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF NOT app.is_admin() THEN
        RETURN;
    ELSIF p_for_update THEN
        PERFORM FROM app_private.lanes WHERE id = p_id FOR UPDATE;
    END IF;
    RETURN QUERY SELECT * FROM app_private.lanes_shown v WHERE v.id = p_id;
END $$;

CREATE FUNCTION app.set_lane_limit(p_id uuid, p_limit integer) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    UPDATE app_private.lanes SET limit_per_minute = p_limit
    WHERE id = p_id AND (SELECT app.is_admin())
$$;

-- For the sweep's metric: lanes that are closed for 10 minutes while executions wait.
CREATE FUNCTION app.count_closed_lanes() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT count(*) FROM app_private.lanes_shown v
    WHERE v.closed_since < now() - interval '10 minutes' AND v.waiting_executions > 0
$$;

-- Lanes and turns that nobody used for a week. A lane that is used again begins as an open one.
CREATE FUNCTION app.forget_idle_lanes() RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    DELETE FROM app_private.lane_turns t
    WHERE coalesce(t.asked_at < now() - interval '1 day', true);
    DELETE FROM app_private.lanes l
    WHERE l.limit_per_minute IS NULL AND l.created_at < now() - interval '1 week'
      AND coalesce(l.last_success_at < now() - interval '1 week', true)
$$;

REVOKE EXECUTE ON FUNCTION
    app.list_lanes(timestamptz, timestamptz, timestamptz, uuid, integer),
    app.fetch_lane(uuid, boolean), app.set_lane_limit(uuid, integer),
    app.count_closed_lanes(), app.forget_idle_lanes() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    app.list_lanes(timestamptz, timestamptz, timestamptz, uuid, integer),
    app.fetch_lane(uuid, boolean), app.set_lane_limit(uuid, integer) TO masstock_admin;
GRANT EXECUTE ON FUNCTION app.count_closed_lanes(), app.forget_idle_lanes() TO masstock_worker;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app, app_private FROM masstock_owner;
RESET ROLE;
