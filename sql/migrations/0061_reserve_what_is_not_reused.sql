-- A submission that reuses images reserves only those that are to be painted. It finds the others when
-- it is stored; fan-out takes what was found.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.workflow_executions ADD COLUMN reused_images jsonb NULL;
COMMENT ON COLUMN public.workflow_executions.reused_images IS
    'The result whose image each batch_index takes, found at submission. NULL: fan-out looks them up.';

-- The images that a submission asks for, in order: the one place that decides what is asked of the
-- model. Without a search path, so that the planner inlines it.
CREATE FUNCTION app.asked_images(p_prompts jsonb, p_defaults jsonb, p_prices jsonb, p_model text)
RETURNS TABLE (batch_index bigint, prompt_index bigint, image_index integer, prompt_text text,
               custom_id text, metadata jsonb, seed integer, own jsonb, price numeric, reuse_key uuid)
LANGUAGE sql STABLE AS $$
    SELECT row_number() OVER (ORDER BY p.prompt_index, k.image_index) - 1, p.prompt_index,
        k.image_index, p.prompt_text, p.custom_id, p.metadata, p.seed + k.image_index, p.own,
        coalesce(app.image_price(p_prices, coalesce(s.asked ->> 'image_size', '1K'),
                                 s.asked -> 'reference_images', p.prompt_text), 1),
        app.reuse_key(p.prompt_text, s.asked, p.seed + k.image_index, p_model, k.image_index)
    FROM (
        SELECT e.position - 1 AS prompt_index,
            app.images_of(e.item, p_defaults -> 'images_per_prompt') AS images,
            CASE
                WHEN jsonb_typeof(e.item) = 'string' THEN e.item #>> '{}'
                WHEN jsonb_typeof(e.item -> 'prompt') = 'string' THEN e.item ->> 'prompt'
                ELSE e.item::text END AS prompt_text,
            -- custom_id has an index, whose entries have at most about 2,700 bytes.
            CASE WHEN jsonb_typeof(e.item -> 'custom_id') = 'string'
                 THEN left(e.item ->> 'custom_id', 200) END AS custom_id,
            CASE WHEN jsonb_typeof(e.item -> 'metadata') = 'object'
                  AND octet_length((e.item -> 'metadata')::text) <= 16384
                 THEN e.item -> 'metadata' END AS metadata,
            CASE WHEN jsonb_typeof(coalesce(e.item -> 'seed', p_defaults -> 'seed')) = 'number'
                 THEN least(2147483640, greatest(0,
                     coalesce(e.item -> 'seed', p_defaults -> 'seed')::numeric))::integer
                 END AS seed,
            CASE WHEN coalesce(e.item -> 'aspect_ratio', e.item -> 'image_size',
                               e.item -> 'reference_images') IS NOT NULL
                 THEN jsonb_strip_nulls(jsonb_build_object(
                     'aspect_ratio', coalesce(e.item -> 'aspect_ratio',
                                              p_defaults -> 'aspect_ratio'),
                     'image_size', coalesce(e.item -> 'image_size', p_defaults -> 'image_size'),
                     'reference_images', coalesce(e.item -> 'reference_images',
                                                  p_defaults -> 'reference_images'),
                     'reference_etags', CASE WHEN e.item -> 'reference_images' IS NULL
                         THEN p_defaults -> 'reference_etags'
                         ELSE e.item -> 'reference_etags' END)) END AS own
        FROM jsonb_array_elements(CASE jsonb_typeof(p_prompts) WHEN 'array' THEN p_prompts ELSE '[]' END)
            WITH ORDINALITY AS e (item, position)
    ) p, generate_series(0, p.images - 1) AS k (image_index),
        LATERAL (SELECT coalesce(p.own, p_defaults) AS asked) AS s
    ORDER BY p.prompt_index, k.image_index
    LIMIT 10000
$$;

-- Lowers the estimate by the images that the caller's client has. For another client it finds nothing.
CREATE FUNCTION public.find_reused_images() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    defaults jsonb := NEW.input_data - 'prompts';
    model text := NEW.settings ->> 'model';
    part numeric;
BEGIN
    IF (NEW.client_id = app.client_id() OR app.is_admin()) IS NOT TRUE THEN
        RETURN NEW;
    END IF;
    SELECT coalesce(jsonb_object_agg(i.batch_index, i.found) FILTER (WHERE i.found IS NOT NULL), '{}'),
        sum(i.price) FILTER (WHERE i.found IS NULL) / nullif(sum(i.price), 0)
    INTO NEW.reused_images, part
    FROM (
        SELECT a.batch_index, a.price,
            app.find_reusable(NEW.client_id, a.reuse_key, model) AS found
        FROM app.asked_images(NEW.input_data -> 'prompts', defaults, NEW.prices, model) a
    ) i;
    NEW.estimate_microusd := round(NEW.estimate_microusd * coalesce(part, 0));
    RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION public.find_reused_images() FROM PUBLIC;
-- After copy_workflow_settings, by its name.
CREATE TRIGGER find_reused_images BEFORE INSERT ON public.workflow_executions
    FOR EACH ROW WHEN (NEW.status = 'pending' AND NEW.tier = 'standard'
                       AND NEW.input_data -> 'reuse' = '"identical"')
    EXECUTE FUNCTION public.find_reused_images();

-- Reserves the price of an image that was to be reused, because its source is gone. False if it does
-- not fit into the budget. A second call reserves nothing more.
CREATE FUNCTION app.reserve_image(p_execution_id uuid, p_batch_index integer, p_attempt integer)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    image record;
BEGIN
    SELECT e.client_id, e.spend_month, r.reserved_microusd AS reserved,
        greatest(r.reserved_microusd, app.image_price(
            e.prices, coalesce(s.asked ->> 'image_size', '1K'), s.asked -> 'reference_images',
            r.prompt_text)::bigint) AS needed
    INTO image
    FROM public.workflow_batch_results r
    JOIN public.workflow_executions e ON e.id = r.execution_id,
        LATERAL (SELECT coalesce(r.asked, e.input_settings) AS asked) AS s
    WHERE r.execution_id = p_execution_id AND r.batch_index = p_batch_index
      AND r.attempts = p_attempt AND r.status = 'processing' AND r.reused_from IS NOT NULL
      -- The end of the execution releases what is reserved.
      AND e.status = 'processing'
    FOR SHARE OF e FOR NO KEY UPDATE OF r;
    IF NOT FOUND THEN
        RETURN true;
    END IF;
    -- Rows of earlier releases have no part of their own, but the execution reserved all images.
    IF image.needed > image.reserved THEN
        PERFORM app_private.reserve_spend(
            image.client_id, p_execution_id, image.spend_month, image.needed - image.reserved);
    END IF;
    UPDATE public.workflow_batch_results
    SET reused_from = NULL, reserved_microusd = image.needed
    WHERE execution_id = p_execution_id AND batch_index = p_batch_index;
    RETURN true;
EXCEPTION WHEN SQLSTATE 'MS402' THEN
    RETURN false;
END $$;

REVOKE EXECUTE ON FUNCTION app.asked_images(jsonb, jsonb, jsonb, text),
    app.reserve_image(uuid, integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.asked_images(jsonb, jsonb, jsonb, text),
    app.reserve_image(uuid, integer, integer) TO masstock_worker;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app FROM masstock_owner;
RESET ROLE;
