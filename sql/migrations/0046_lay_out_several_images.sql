-- A prompt can have settings of its own and several images. Fan-out writes one row per image, with
-- what is asked of the model and with the row's part of the reservation.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.workflow_executions
    ADD COLUMN name text NULL,
    ADD COLUMN prices jsonb NULL,
    ADD COLUMN image_count integer NOT NULL DEFAULT 0;
GRANT INSERT (name, prices) ON public.workflow_executions TO masstock_api;
COMMENT ON COLUMN public.workflow_executions.prices IS
    'Prices of the model at submission in microusd, as app.image_price reads them. NULL: every image '
    'reserves the same part of the estimate.';
COMMENT ON COLUMN public.workflow_executions.image_count IS 'Number of images that were asked.';

ALTER TABLE public.workflow_batch_results
    ADD COLUMN prompt_index integer NULL,
    ADD COLUMN image_index integer NOT NULL DEFAULT 0,
    ADD COLUMN asked jsonb NULL,
    ADD COLUMN seed integer NULL,
    ADD COLUMN prompt_metadata jsonb NULL,
    ADD COLUMN reserved_microusd bigint NULL;
GRANT INSERT (prompt_index, image_index, asked, seed, prompt_metadata, reserved_microusd)
    ON public.workflow_batch_results TO masstock_worker;
COMMENT ON COLUMN public.workflow_batch_results.prompt_index IS
    'Position of the prompt in the submission. batch_index counts images.';
COMMENT ON COLUMN public.workflow_batch_results.image_index IS
    'Number of the image among those of its prompt, from 0.';
COMMENT ON COLUMN public.workflow_batch_results.asked IS
    'Ratio, size and reference images of a prompt that has own ones. NULL: those of the execution.';
COMMENT ON COLUMN public.workflow_batch_results.reserved_microusd IS
    'The row''s part of the reservation. NULL for rows of earlier releases: an equal part.';

-- Rows of earlier releases have one image per prompt.
UPDATE public.workflow_batch_results SET prompt_index = batch_index;
UPDATE public.workflow_executions SET image_count = prompt_count;

CREATE FUNCTION public.number_prompt() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.prompt_index := NEW.batch_index;
    RETURN NEW;
END $$;
-- For fan-outs of the previous release, while a deployment replaces them.
CREATE TRIGGER number_prompt BEFORE INSERT ON public.workflow_batch_results
    FOR EACH ROW WHEN (NEW.prompt_index IS NULL) EXECUTE FUNCTION public.number_prompt();
ALTER TABLE public.workflow_batch_results ALTER COLUMN prompt_index SET NOT NULL;

CREATE UNIQUE INDEX idx_workflow_batch_results_custom_id_image
    ON public.workflow_batch_results (execution_id, custom_id, image_index)
    WHERE custom_id IS NOT NULL;
DROP INDEX public.idx_workflow_batch_results_custom_id;

-- How many images an element of `prompts` asks for. `p_default` is the execution's own number. Without
-- a search path, so that the planner inlines it.
CREATE FUNCTION app.images_of(p_prompt jsonb, p_default jsonb) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN jsonb_typeof(p_prompt -> 'images') = 'number'
            THEN greatest(1, least(8, (p_prompt -> 'images')::numeric))::integer
        WHEN jsonb_typeof(p_default) = 'number'
            THEN greatest(1, least(8, p_default::numeric))::integer
        ELSE 1 END
$$;

-- The expected price of one image in microusd. NULL if there are no prices. Four characters of a
-- prompt are a token.
CREATE FUNCTION app.image_price(p_prices jsonb, p_size text, p_references jsonb, p_prompt text)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT CASE WHEN jsonb_typeof(p_prices) = 'object' THEN round(greatest(0,
        coalesce(CASE jsonb_typeof(p_prices -> 'sizes' -> p_size)
                 WHEN 'number' THEN (p_prices -> 'sizes' -> p_size)::numeric END,
                 CASE jsonb_typeof(p_prices -> 'other_size')
                 WHEN 'number' THEN (p_prices -> 'other_size')::numeric ELSE 0 END)
        + CASE jsonb_typeof(p_prices -> 'token') WHEN 'number'
          THEN (p_prices -> 'token')::numeric * ((char_length(p_prompt) + 3) / 4) ELSE 0 END
        + CASE WHEN jsonb_typeof(p_prices -> 'reference') = 'number'
                    AND jsonb_typeof(p_references) = 'array'
          THEN (p_prices -> 'reference')::numeric * jsonb_array_length(p_references)
          ELSE 0 END))
    END
$$;

REVOKE EXECUTE ON FUNCTION public.number_prompt(), app.images_of(jsonb, jsonb),
    app.image_price(jsonb, text, jsonb, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.image_price(jsonb, text, jsonb, text) TO masstock_worker;
GRANT EXECUTE ON FUNCTION app.images_of(jsonb, jsonb)
    TO masstock_worker, masstock_api, masstock_admin;

-- Fan-out inserts at most as many rows.
CREATE FUNCTION public.count_images() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    NEW.image_count := (
        SELECT least(10000, coalesce(sum(app.images_of(p.item, NEW.input_data -> 'images_per_prompt')), 0))
        FROM jsonb_array_elements(
            CASE jsonb_typeof(NEW.input_data -> 'prompts')
                WHEN 'array' THEN NEW.input_data -> 'prompts' ELSE '[]' END) AS p (item));
    RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION public.count_images() FROM PUBLIC;
CREATE TRIGGER count_images BEFORE INSERT ON public.workflow_executions
    FOR EACH ROW EXECUTE FUNCTION public.count_images();

-- Numbers of images of an execution. An ended one has them in output_data: counting the rows would make
-- lists slow. Fewer rows than images can be inserted. Row security applies to the caller.
CREATE FUNCTION app.progress(
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
        'waiting', CASE WHEN is_live THEN total - successful - failed - claimed ELSE 0 END,
        'submitted', 0, 'painted_by_provider', 0, 'paused', 0)
    FROM totals
$$;
REVOKE EXECUTE ON FUNCTION app.progress(uuid, text, integer, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.progress(uuid, text, integer, jsonb) TO masstock_api, masstock_admin;

-- As in 0033, but each reopened row reserves its own price at `p_prices`.
CREATE FUNCTION app.reopen_failed(
    p_id uuid, p_codes text[], p_deadline_seconds integer, p_prices jsonb)
RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    execution record;
    reserved numeric;
    estimate numeric;
    this_month date := date_trunc('month', now() AT TIME ZONE 'UTC');
BEGIN
    SELECT e.status, e.client_id, e.run, e.input_settings INTO execution
    FROM public.workflow_executions e
    WHERE e.id = p_id AND (e.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    ELSIF execution.status NOT IN ('completed', 'failed') THEN
        RAISE EXCEPTION 'The execution has not ended.' USING ERRCODE = 'MS409';
    END IF;
    WITH priced AS (
        SELECT r.batch_index,
            r.status = 'failed' AND (p_codes IS NULL OR r.error_code = ANY (p_codes)) AS reopens,
            app.image_price(p_prices, coalesce(s.asked ->> 'image_size', '1K'),
                            s.asked -> 'reference_images', r.prompt_text) AS price
        FROM public.workflow_batch_results r,
            LATERAL (SELECT coalesce(r.asked, execution.input_settings) AS asked) AS s
        WHERE r.execution_id = p_id
    ), reopened AS (
        UPDATE public.workflow_batch_results r
        SET status = 'processing', error_code = NULL, error_message = NULL, completed_at = NULL,
            failures = 0, throttles = 0, claimed_until = NULL,
            lane_successes = NULL, probes = 0, reserved_microusd = coalesce(p.price, 0)
        FROM priced p
        WHERE r.execution_id = p_id AND r.batch_index = p.batch_index AND p.reopens
        RETURNING 1
    )
    SELECT sum(p.price) FILTER (WHERE p.reopens), sum(p.price)
    INTO reserved, estimate
    FROM priced p HAVING EXISTS (SELECT FROM reopened);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'No result of this execution can be retried.' USING ERRCODE = 'MS409';
    END IF;
    PERFORM app_private.reserve_spend(execution.client_id, p_id, this_month, reserved::bigint);
    UPDATE public.workflow_executions
    SET status = 'pending', run = run + 1, error_code = NULL, error_message = NULL,
        output_data = NULL, completed_at = NULL,
        earlier_seconds = coalesce(duration_seconds, 0), working_since = now(),
        duration_seconds = NULL,
        spend_month = this_month, estimate_microusd = estimate::bigint,
        deadline_at = now() + make_interval(secs => p_deadline_seconds), deadline_is_fixed = false
    WHERE id = p_id;
    RETURN execution.run + 1;
END $$;
REVOKE EXECUTE ON FUNCTION app.reopen_failed(uuid, text[], integer, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.reopen_failed(uuid, text[], integer, jsonb)
    TO masstock_api, masstock_admin;

-- For functions of the previous release, while a deployment replaces them.
CREATE OR REPLACE FUNCTION app.reopen_failed(
    p_id uuid, p_codes text[], p_deadline_seconds integer, p_microusd_per_image bigint)
RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    SELECT app.reopen_failed(p_id, p_codes, p_deadline_seconds,
        CASE WHEN p_microusd_per_image IS NOT NULL
             THEN jsonb_build_object('other_size', p_microusd_per_image) END)
$$;

-- As in 0033, but of images.
CREATE OR REPLACE FUNCTION app.pace(p_id uuid) RETURNS json
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    WITH execution AS (
        SELECT e.status, e.lane_key, e.settings, e.image_count,
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
            p.unfinished + greatest(0, e.image_count - p.laid_out) AS unfinished,
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

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app FROM masstock_owner;
RESET ROLE;
