-- A retry can change prompts. An image of the former prompt that is stored late does not become the
-- image of the new one.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.workflow_batch_results
    ADD COLUMN original_prompt text NULL,
    ADD COLUMN edited_at timestamptz NULL;
ALTER TABLE public.workflow_batch_results ALTER COLUMN original_prompt SET STATISTICS 0;
COMMENT ON COLUMN public.workflow_batch_results.original_prompt IS
    'The prompt as submitted. NULL: prompt_text is.';
COMMENT ON COLUMN public.workflow_batch_results.edited_at IS
    'When prompt_text was last changed; replaces created_at in the key of the image.';

-- What an image is asked to be, except by which model. Equal reference images have equal ETags.
CREATE FUNCTION app.asked_digest(p_prompt text, p_asked jsonb, p_seed integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT encode(sha256(convert_to(jsonb_build_array(
        p_prompt, p_asked -> 'aspect_ratio', p_asked -> 'image_size', p_asked -> 'reference_etags',
        p_seed)::text, 'UTF8')), 'hex')
$$;
REVOKE EXECUTE ON FUNCTION app.asked_digest(text, jsonb, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.asked_digest(text, jsonb, integer) TO masstock_worker;

-- As in 0046, but `p_edits`, [{batch_index, prompt?}], names rows and their new prompts. Reopened are the
-- failed rows that it names, and those with `p_codes`; all failed rows if both are NULL.
DROP FUNCTION app.reopen_failed(uuid, text[], integer, jsonb);
CREATE FUNCTION app.reopen_failed(
    p_id uuid, p_codes text[], p_deadline_seconds integer, p_prices jsonb, p_edits jsonb)
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
    WITH edit AS (
        SELECT * FROM jsonb_to_recordset(p_edits) AS x (batch_index integer, prompt text)
    ), priced AS (
        SELECT r.batch_index, coalesce(x.prompt, r.prompt_text) AS prompt_text,
            x.prompt IS NOT NULL AND x.prompt <> r.prompt_text AS is_edited,
            r.status = 'failed' AND (x.batch_index IS NOT NULL OR CASE
                WHEN p_codes IS NULL THEN p_edits IS NULL
                ELSE r.error_code = ANY (p_codes) END) AS reopens,
            app.image_price(p_prices, coalesce(s.asked ->> 'image_size', '1K'),
                            s.asked -> 'reference_images',
                            coalesce(x.prompt, r.prompt_text)) AS price
        FROM public.workflow_batch_results r LEFT JOIN edit x ON x.batch_index = r.batch_index,
            LATERAL (SELECT coalesce(r.asked, execution.input_settings) AS asked) AS s
        WHERE r.execution_id = p_id
    ), reopened AS (
        UPDATE public.workflow_batch_results r
        SET status = 'processing', error_code = NULL, error_message = NULL, completed_at = NULL,
            failures = 0, throttles = 0, claimed_until = NULL,
            lane_successes = NULL, probes = 0, reserved_microusd = coalesce(p.price, 0),
            prompt_text = p.prompt_text,
            original_prompt = CASE WHEN p.is_edited THEN coalesce(r.original_prompt, r.prompt_text)
                                   ELSE r.original_prompt END,
            -- The key of an image has whole seconds.
            edited_at = CASE WHEN p.is_edited THEN greatest(
                now(), coalesce(r.edited_at, r.created_at) + interval '1 second')
                ELSE r.edited_at END,
            -- The fence: what still paints the former prompt cannot complete the row.
            attempts = r.attempts + p.is_edited::integer
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
REVOKE EXECUTE ON FUNCTION app.reopen_failed(uuid, text[], integer, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.reopen_failed(uuid, text[], integer, jsonb, jsonb)
    TO masstock_api, masstock_admin;

-- For functions of the previous release, while a deployment replaces them.
CREATE OR REPLACE FUNCTION app.reopen_failed(
    p_id uuid, p_codes text[], p_deadline_seconds integer, p_microusd_per_image bigint)
RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    SELECT app.reopen_failed(p_id, p_codes, p_deadline_seconds,
        CASE WHEN p_microusd_per_image IS NOT NULL
             THEN jsonb_build_object('other_size', p_microusd_per_image) END, NULL::jsonb)
$$;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app FROM masstock_owner;
RESET ROLE;
