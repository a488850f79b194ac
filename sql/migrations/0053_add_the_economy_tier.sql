-- The economy tier: prompts are painted by jobs of the provider's batch interface, at half the price.
-- A job paints one chunk of an execution's prompts. docs/decisions.md gives the reasons for the rules.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app, app_private TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.workflow_executions
    ADD COLUMN tier text NOT NULL DEFAULT 'standard' CHECK (tier IN ('standard', 'economy')),
    ADD COLUMN on_economy_failure text NULL CHECK (on_economy_failure IN ('standard', 'fail')),
    ADD COLUMN reserve_microusd bigint NULL CHECK (reserve_microusd >= 0),
    ADD COLUMN fell_back_at timestamptz NULL;
COMMENT ON COLUMN public.workflow_executions.on_economy_failure IS
    'What happens to prompts that no economy job painted: standard paints them directly.';
COMMENT ON COLUMN public.workflow_executions.reserve_microusd IS
    'What the submission reserves, if that is not its estimate: economy with a fall-back reserves the '
    'standard price.';
COMMENT ON COLUMN public.workflow_executions.fell_back_at IS
    'When the economy jobs had ended and the rest was left to the standard tier.';
GRANT INSERT (tier, on_economy_failure, reserve_microusd)
    ON public.workflow_executions TO masstock_api;
GRANT UPDATE (fell_back_at) ON public.workflow_executions TO masstock_worker;

ALTER TABLE public.workflow_batch_results
    ADD COLUMN tier text NULL CHECK (tier IN ('standard', 'economy')),
    ADD COLUMN economy_job_id uuid NULL,
    ADD COLUMN economy_offset bigint NULL,
    ADD COLUMN economy_length integer NULL;
COMMENT ON COLUMN public.workflow_batch_results.tier IS 'The tier that painted the image.';
COMMENT ON COLUMN public.workflow_batch_results.economy_job_id IS
    'The economy job that paints the prompt. A retry by the caller clears it.';
COMMENT ON COLUMN public.workflow_batch_results.economy_offset IS
    'Where the prompt''s line begins in the copied result of the job. NULL: there is no usable line.';
GRANT UPDATE (tier, economy_job_id, economy_offset, economy_length)
    ON public.workflow_batch_results TO masstock_worker;

-- The id is the job's name at the provider, so that a job whose creation was not answered is found.
CREATE TABLE public.economy_jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    execution_id uuid NOT NULL REFERENCES public.workflow_executions (id) ON DELETE CASCADE,
    client_id uuid NOT NULL REFERENCES public.clients (id),
    number integer NOT NULL,
    model text NOT NULL,
    lane_id uuid NOT NULL,
    prompts integer NOT NULL,
    state text NOT NULL DEFAULT 'planned'
        CHECK (state IN ('planned', 'running', 'ended', 'copied', 'done')),
    attempts integer NOT NULL DEFAULT 0,
    claimed_until timestamptz NULL,
    next_look_at timestamptz NOT NULL DEFAULT now(),
    tries integer NOT NULL DEFAULT 0,
    refused_until timestamptz NULL,
    reference_files jsonb NOT NULL DEFAULT '{}',
    references_at timestamptz NULL,
    input_file text NULL,
    create_sent_at timestamptz NULL,
    job_name text NULL,
    submitted_at timestamptz NULL,
    provider_state text NULL,
    painted integer NOT NULL DEFAULT 0,
    cancelled_at timestamptz NULL,
    ended_at timestamptz NULL,
    output_file text NULL,
    copy_key text NULL,
    collect_at timestamptz NULL,
    error_code text NULL,
    error_message text NULL,
    provider_message text NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (execution_id, number)
);
COMMENT ON TABLE public.economy_jobs IS
    'Jobs of the provider''s batch interface. Each paints one chunk of an execution''s prompts.';
COMMENT ON COLUMN public.economy_jobs.state IS
    'planned: no job is known at the provider. running: the provider has it. ended: it works no more. '
    'copied: its result is in the bucket of uploads. done: nothing is left to do.';
COMMENT ON COLUMN public.economy_jobs.attempts IS 'The fence of every write of a claim.';
COMMENT ON COLUMN public.economy_jobs.tries IS 'Calls in a row that failed or were refused.';
COMMENT ON COLUMN public.economy_jobs.refused_until IS
    'A limit refused the job''s creation. Later jobs of the lane wait behind it.';
COMMENT ON COLUMN public.economy_jobs.reference_files IS
    'The provider''s files of the reference images: {"key etag": {name, uri, mime_type}}.';
COMMENT ON COLUMN public.economy_jobs.create_sent_at IS
    'When the creation was sent last. Written before it is sent.';
COMMENT ON COLUMN public.economy_jobs.painted IS 'Lines that the provider reports as painted.';
CREATE INDEX idx_economy_jobs_planned ON public.economy_jobs (lane_id, created_at, number)
    WHERE state = 'planned';

ALTER TABLE public.economy_jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.economy_jobs FORCE ROW LEVEL SECURITY;
REVOKE ALL ON public.economy_jobs FROM PUBLIC, anon, authenticated;
CREATE POLICY "Maintenance by the owner" ON public.economy_jobs TO masstock_owner
    USING (true) WITH CHECK (true);
CREATE POLICY "Workers manage economy jobs" ON public.economy_jobs TO masstock_worker
    USING (true) WITH CHECK (true);
GRANT SELECT,
    INSERT (execution_id, client_id, number, model, lane_id, prompts),
    UPDATE (state, attempts, claimed_until, next_look_at, tries, refused_until, reference_files,
            references_at, input_file, create_sent_at, job_name, submitted_at, provider_state,
            painted, cancelled_at, ended_at, output_file, copy_key, collect_at, error_code,
            error_message, provider_message)
    ON public.economy_jobs TO masstock_worker;

-- A retry by the caller plans new jobs for what it reopens.
CREATE FUNCTION public.forget_economy_job() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.economy_job_id := NULL;
    NEW.economy_offset := NULL;
    NEW.economy_length := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER forget_economy_job BEFORE UPDATE OF status ON public.workflow_batch_results
    FOR EACH ROW WHEN (OLD.status = 'failed' AND NEW.status = 'processing')
    EXECUTE FUNCTION public.forget_economy_job();

-- `app.reopen_failed` writes what it reserves as the estimate.
CREATE FUNCTION public.reopen_economy() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.fell_back_at := NULL;
    IF NEW.on_economy_failure = 'standard' THEN
        NEW.reserve_microusd := NEW.estimate_microusd;
        NEW.estimate_microusd := (NEW.estimate_microusd + 1) / 2;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER reopen_economy BEFORE UPDATE OF status ON public.workflow_executions
    FOR EACH ROW WHEN (NEW.tier = 'economy' AND OLD.status IN ('completed', 'failed')
                       AND NEW.status = 'pending')
    EXECUTE FUNCTION public.reopen_economy();
REVOKE EXECUTE ON FUNCTION public.forget_economy_job(), public.reopen_economy() FROM PUBLIC;

CREATE OR REPLACE FUNCTION app_private.reserve_for_execution() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM app_private.reserve_spend(NEW.client_id, NEW.id, NEW.spend_month,
                                      coalesce(NEW.reserve_microusd, NEW.estimate_microusd));
    RETURN NULL;
END $$;

-- What the provider's jobs did so far, of the prompts that are still in progress. No row if the caller
-- has no such execution of this tier.
CREATE FUNCTION app.economy_progress(
    p_id uuid, OUT submitted bigint, OUT painted_by_provider bigint)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT coalesce(sum(open.prompts), 0)::bigint,
        coalesce(sum(least(j.painted, open.prompts)), 0)::bigint
    FROM public.workflow_executions e
    LEFT JOIN public.economy_jobs j
        ON j.execution_id = e.id AND j.job_name IS NOT NULL AND j.state <> 'done'
    LEFT JOIN LATERAL (
        SELECT count(*) AS prompts FROM public.workflow_batch_results r
        WHERE r.execution_id = e.id AND r.economy_job_id = j.id AND r.status = 'processing'
    ) AS open ON true
    WHERE e.id = p_id AND e.tier = 'economy'
      AND (e.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
    GROUP BY e.id
$$;
REVOKE EXECUTE ON FUNCTION app.economy_progress(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.economy_progress(uuid) TO masstock_api, masstock_admin;

-- As in 0046, with what jobs of the provider have.
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
            c.successful, c.failed, c.claimed, e.is_live
        FROM counts c, execution e
    )
    SELECT json_build_object(
        'total', total, 'successful', successful, 'failed', failed,
        'processing', total - successful - failed,
        'waiting', CASE WHEN is_live
            THEN greatest(0, total - successful - failed - claimed - coalesce(j.submitted, 0))
            ELSE 0 END,
        'submitted', coalesce(j.submitted, 0),
        'painted_by_provider', coalesce(j.painted_by_provider, 0), 'paused', 0)
    FROM totals t
    LEFT JOIN LATERAL app.economy_progress(CASE WHEN t.is_live THEN p_id END) AS j ON true
$$;

-- As in 0046. When a provider's job ends is not known before.
CREATE OR REPLACE FUNCTION app.pace(p_id uuid) RETURNS json
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    WITH execution AS (
        SELECT e.status, e.lane_key, e.settings, e.image_count,
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
        SELECT e.status = 'processing' AS is_running, e.by_jobs,
            CASE WHEN NOT e.by_jobs THEN l.opens_at END AS opens_at,
            CASE WHEN e.by_jobs THEN 'economy_job'
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
                                AND NOT by_jobs THEN
            greatest(now(), opens_at) + make_interval(secs => unfinished * 60.0 / rate) END)
    FROM measured
$$;


RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app, app_private FROM masstock_owner;
RESET ROLE;
