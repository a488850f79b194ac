CREATE SCHEMA app;

ALTER SCHEMA app OWNER TO masstock_authz;

CREATE SCHEMA app_private;

ALTER SCHEMA app_private OWNER TO masstock_authz;

CREATE SCHEMA public;

ALTER SCHEMA public OWNER TO pg_database_owner;

COMMENT ON SCHEMA public IS 'standard public schema';

CREATE FUNCTION app.advance_webhook_secret(p_client_id uuid, p_leaked boolean) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
DECLARE
    current_version integer;
BEGIN
    UPDATE public.clients SET webhook_secret_version = webhook_secret_version + 1
    WHERE id = p_client_id AND (SELECT app.is_admin())
    RETURNING webhook_secret_version INTO current_version;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    DELETE FROM app_private.webhook_overlaps
    WHERE client_id = p_client_id AND (p_leaked OR until <= now());
    IF NOT p_leaked THEN
        INSERT INTO app_private.webhook_overlaps
        VALUES (p_client_id, current_version - 1, now() + interval '24 hours');
    END IF;
    RETURN current_version;
END $$;

ALTER FUNCTION app.advance_webhook_secret(p_client_id uuid, p_leaked boolean) OWNER TO masstock_owner;

CREATE FUNCTION app.announce_results(p_execution_id uuid) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
DECLARE
    e record;
    announced integer;
BEGIN
    SELECT x.id, x.client_id, x.workflow_id, x.webhook_url, x.webhook_secret_version,
        x.webhook_events
    INTO e FROM public.workflow_executions x
    WHERE x.id = p_execution_id AND x.webhook_url IS NOT NULL
      AND x.webhook_events && '{result.completed,result.failed}';
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    -- The row first, as the end of a run locks it. Of two calls at once, the second sees what the
    -- first has announced.
    PERFORM FROM public.workflow_executions x WHERE x.id = p_execution_id FOR KEY SHARE;
    PERFORM pg_advisory_xact_lock(hashtextextended('deliveries|' || p_execution_id, 0));
    WITH due AS MATERIALIZED (
        SELECT r.*, (row_number() OVER (PARTITION BY r.status ORDER BY r.batch_index) - 1) / 100
            AS chunk
        FROM public.workflow_batch_results r
        WHERE r.execution_id = p_execution_id AND r.status IN ('completed', 'failed')
          AND r.completed_at IS DISTINCT FROM r.announced_at
          AND 'result.' || r.status = ANY (e.webhook_events)
    ), marked AS (
        UPDATE public.workflow_batch_results r SET announced_at = r.completed_at
        FROM due WHERE r.id = due.id
    ), queued AS (
        INSERT INTO public.webhook_deliveries
            (execution_id, client_id, url, secret_version, payload)
        SELECT e.id, e.client_id, e.webhook_url, e.webhook_secret_version, json_build_object(
            'type', 'result.' || c.status,
            'timestamp', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            'data', json_build_object(
                'execution_id', e.id, 'workflow_id', e.workflow_id, 'client_id', e.client_id,
                'results', c.results))::text
        FROM (
            SELECT due.status, due.chunk, min(due.batch_index) AS first,
                json_agg(json_build_object(
                    'id', due.id, 'batch_index', due.batch_index,
                    'prompt_index', coalesce(due.prompt_index, due.batch_index),
                    'image_index', due.image_index, 'custom_id', due.custom_id,
                    'prompt_metadata', due.prompt_metadata, 'status', due.status, 'error_code', due.error_code,
                    'error_message', due.error_message, 'model', due.model,
                    'mime_type', due.mime_type, 'size_bytes', due.size_bytes,
                    'width', due.width, 'height', due.height, 'image_sha256', due.image_sha256,
                    'cost_microusd', due.cost_microusd, 'result_url', due.result_url,
                    'result_storage_path', due.result_storage_path,
                    'completed_at', due.completed_at) ORDER BY due.batch_index) AS results
            FROM due GROUP BY due.status, due.chunk
        ) c ORDER BY c.first
    )
    SELECT count(*) INTO announced FROM due;
    RETURN announced;
END $$;

ALTER FUNCTION app.announce_results(p_execution_id uuid) OWNER TO masstock_owner;

CREATE FUNCTION app.archive_state(p_id uuid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    SELECT CASE WHEN count(*) = 0 THEN NULL
                WHEN (SELECT a.expires_at FROM public.archives a WHERE a.id = p_id) <= now()
                     THEN 'expired'
                WHEN bool_or(p.failed_at IS NOT NULL) THEN 'failed'
                WHEN bool_and(p.completed_at IS NOT NULL) THEN 'ready'
                ELSE 'building' END
    FROM public.archive_parts p WHERE p.archive_id = p_id
$$;

ALTER FUNCTION app.archive_state(p_id uuid) OWNER TO masstock_owner;

CREATE FUNCTION app.asked_digest(p_prompt text, p_asked jsonb, p_seed integer) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
    SELECT encode(sha256(convert_to(jsonb_build_array(
        p_prompt, p_asked -> 'aspect_ratio', p_asked -> 'image_size', p_asked -> 'reference_etags',
        p_seed)::text, 'UTF8')), 'hex')
$$;

ALTER FUNCTION app.asked_digest(p_prompt text, p_asked jsonb, p_seed integer) OWNER TO masstock_owner;

CREATE FUNCTION app.asked_images(p_prompts jsonb, p_defaults jsonb, p_prices jsonb, p_model text) RETURNS TABLE(batch_index bigint, prompt_index bigint, image_index integer, prompt_text text, custom_id text, metadata jsonb, seed integer, own jsonb, price numeric, reuse_key uuid)
    LANGUAGE sql STABLE
    AS $$
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

ALTER FUNCTION app.asked_images(p_prompts jsonb, p_defaults jsonb, p_prices jsonb, p_model text) OWNER TO masstock_owner;

CREATE FUNCTION app.begin_request(p_sub uuid, p_exp bigint, p_mac text) RETURNS TABLE(role text, client_id uuid, last_login timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    IF app_private.is_signed(p_sub || '|' || p_exp, p_exp, p_mac) IS NOT TRUE THEN
        RAISE EXCEPTION 'the caller''s identity is not signed' USING ERRCODE = 'MS401';
    END IF;
    SELECT u.role, u.client_id, u.last_login INTO role, client_id, last_login
    FROM public.users u LEFT JOIN public.clients c ON c.id = u.client_id
    WHERE u.id = p_sub AND u.status = 'active' AND (u.role = 'admin' OR c.status = 'active');
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the account is not active' USING ERRCODE = 'MS403', CONSTRAINT =
            CASE WHEN EXISTS (SELECT FROM public.users u WHERE u.id = p_sub)
                 THEN '' ELSE 'not_provisioned' END;
    END IF;
    PERFORM
        set_config('request.jwt.claims',
                   json_build_object('sub', p_sub, 'role', 'authenticated')::text, true),
        set_config('app.seal', app_private.seal(p_sub::text), true);
    RETURN NEXT;
END $$;

ALTER FUNCTION app.begin_request(p_sub uuid, p_exp bigint, p_mac text) OWNER TO masstock_authz;

CREATE FUNCTION app.canary_images(p_settings jsonb) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT CASE WHEN jsonb_typeof(p_settings -> 'canary' -> 'images') = 'number'
        THEN greatest(1, least(10000, (p_settings -> 'canary' -> 'images')::numeric))::integer END
$$;

ALTER FUNCTION app.canary_images(p_settings jsonb) OWNER TO masstock_owner;

CREATE FUNCTION app.cancel_execution(p_id uuid, p_message text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
DECLARE
    execution record;
BEGIN
    SELECT e.status, e.error_code INTO execution FROM public.workflow_executions e
    WHERE e.id = p_id AND (e.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    ELSIF execution.status IN ('completed', 'failed') THEN
        RETURN 'ended';
    ELSIF execution.error_code IS NOT NULL THEN
        RETURN 'already stopped';
    END IF;
    UPDATE public.workflow_executions
    SET error_code = 'cancelled', error_message = p_message WHERE id = p_id;
    RETURN 'cancelled';
END $$;

ALTER FUNCTION app.cancel_execution(p_id uuid, p_message text) OWNER TO masstock_owner;

CREATE FUNCTION app.claim_invitation(p_sub uuid, p_exp bigint, p_email text, p_mac text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
DECLARE
    found record;
BEGIN
    IF app_private.is_signed('claim|' || p_sub || '|' || p_exp || '|' || p_email, p_exp, p_mac)
       IS NOT TRUE THEN
        RAISE EXCEPTION 'the claim is not signed' USING ERRCODE = 'MS401';
    END IF;
    -- Locked before it is judged: of two claims, the second sees what the first has done.
    PERFORM FROM public.users u
    WHERE lower(normalize(u.email, NFC)) = lower(normalize(p_email, NFC)) FOR UPDATE;
    SELECT count(*) AS users, min(u.id::text)::uuid AS id, bool_and(
            u.invited_until > now() AND u.last_login IS NULL AND u.status = 'active'
            AND (u.role = 'admin' OR c.status = 'active')
            -- Only A to Z have two cases here. In Unicode, other letters resemble them.
            AND lower(u.email COLLATE "C") = lower(p_email COLLATE "C")) AS open
    INTO found
    FROM public.users u LEFT JOIN public.clients c ON c.id = u.client_id
    WHERE lower(normalize(u.email, NFC)) = lower(normalize(p_email, NFC));
    IF found.users <> 1 OR found.open IS NOT TRUE THEN
        RETURN false;
    END IF;
    UPDATE public.users SET id = p_sub, invited_until = NULL WHERE id = found.id;
    RETURN true;
EXCEPTION WHEN unique_violation OR foreign_key_violation THEN
    -- `p_sub` has an account, or rows refer to the invited user.
    RETURN false;
END $$;

ALTER FUNCTION app.claim_invitation(p_sub uuid, p_exp bigint, p_email text, p_mac text) OWNER TO masstock_authz;

CREATE FUNCTION app.client_id() RETURNS uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path TO ''
    AS $$
DECLARE
    caller uuid := app.uid();
BEGIN
    RETURN (
        SELECT u.client_id FROM public.users u JOIN public.clients c ON c.id = u.client_id
        WHERE u.id = caller
          AND u.role = 'client' AND u.status = 'active' AND c.status = 'active');
END $$;

ALTER FUNCTION app.client_id() OWNER TO masstock_authz;

CREATE FUNCTION app.count_closed_lanes() RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    SELECT count(*) FROM app_private.lanes_shown v
    WHERE v.closed_since < now() - interval '10 minutes' AND v.waiting_executions > 0
$$;

ALTER FUNCTION app.count_closed_lanes() OWNER TO masstock_owner;

CREATE FUNCTION app.create_archive(p_id uuid, p_execution_id uuid, p_indices integer[]) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
DECLARE
    tenant uuid;
    present record;
    content record;
BEGIN
    SELECT e.client_id INTO tenant FROM public.workflow_executions e
    WHERE e.id = p_execution_id
      AND (e.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()));
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('archive of ' || p_execution_id, 0));
    SELECT a.id, a.content_digest, a.expires_at, app.archive_state(a.id) AS state INTO present
    FROM public.archives a WHERE a.execution_id = p_execution_id;
    IF present.state = 'building' THEN
        RETURN present.id;
    END IF;
    SELECT count(*) AS images,
        md5(string_agg(r.batch_index || ' ' || coalesce(r.image_sha256, ''), ','
                       ORDER BY r.batch_index)) AS digest
    INTO content
    FROM public.workflow_batch_results r
    WHERE r.execution_id = p_execution_id AND r.status = 'completed'
      AND r.result_storage_path IS NOT NULL
      AND (p_indices IS NULL OR r.batch_index = ANY (p_indices));
    IF content.images = 0 THEN
        RAISE EXCEPTION 'No image is finished yet.' USING ERRCODE = 'MS409';
    ELSIF present.state = 'ready' AND present.content_digest = content.digest
          AND present.expires_at > now() + interval '1 day' THEN
        RETURN present.id;
    END IF;
    DELETE FROM public.archives WHERE execution_id = p_execution_id;
    INSERT INTO public.archives (execution_id, id, client_id, images, content_digest)
    VALUES (p_execution_id, p_id, tenant, content.images, content.digest);
    -- Each limit divides the list at its multiples. 16 GB take a builder less than its 15 minutes,
    -- and it holds the prompts of its part in memory.
    INSERT INTO public.archive_parts (archive_id, part, client_id, batch_indices)
    SELECT p_id, row_number() OVER (ORDER BY min(n.batch_index)), tenant,
        array_agg(n.batch_index ORDER BY n.batch_index)
    FROM (
        SELECT r.batch_index,
            (row_number() OVER in_order - 1) / 1000 AS by_images,
            (sum(r.size_bytes) OVER in_order)::bigint / (16 * 1024 ^ 3)::bigint AS by_bytes,
            (sum(octet_length(r.prompt_text)) OVER in_order)::bigint / (8 * 1024 * 1024) AS by_prompts
        FROM public.workflow_batch_results r
        WHERE r.execution_id = p_execution_id AND r.status = 'completed'
          AND r.result_storage_path IS NOT NULL
          AND (p_indices IS NULL OR r.batch_index = ANY (p_indices))
        WINDOW in_order AS (ORDER BY r.batch_index)
    ) n
    GROUP BY n.by_images, n.by_bytes, n.by_prompts;
    RETURN p_id;
END $$;

ALTER FUNCTION app.create_archive(p_id uuid, p_execution_id uuid, p_indices integer[]) OWNER TO masstock_owner;

CREATE FUNCTION app.describe_executions(p_ids uuid[], p_default_size text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION app.describe_executions(p_ids uuid[], p_default_size text) OWNER TO masstock_owner;

CREATE FUNCTION app.economy_progress(p_id uuid, OUT submitted bigint, OUT painted_by_provider bigint) RETURNS SETOF record
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION app.economy_progress(p_id uuid, OUT submitted bigint, OUT painted_by_provider bigint) OWNER TO masstock_owner;

CREATE FUNCTION app.ended_progress(p_status text, p_output_data jsonb) RETURNS json
    LANGUAGE sql STABLE
    AS $$
    SELECT CASE WHEN p_status IN ('completed', 'failed')
                 AND jsonb_typeof(p_output_data -> 'successful') = 'number'
                 AND jsonb_typeof(p_output_data -> 'failed') = 'number'
        THEN json_build_object(
            'total', (p_output_data -> 'successful')::numeric + (p_output_data -> 'failed')::numeric,
            'successful', p_output_data -> 'successful', 'failed', p_output_data -> 'failed',
            'processing', 0, 'waiting', 0, 'submitted', 0, 'painted_by_provider', 0, 'paused', 0)
        END
$$;

ALTER FUNCTION app.ended_progress(p_status text, p_output_data jsonb) OWNER TO masstock_owner;

CREATE FUNCTION app.enter(p_sub uuid, p_exp bigint, p_mac text) RETURNS TABLE(role text, client_id uuid, last_login timestamp with time zone)
    LANGUAGE plpgsql
    AS $$
BEGIN
    -- A pooled session may have been told otherwise; then every query would fail.
    PERFORM pg_catalog.set_config('row_security', 'on', true),
            pg_catalog.set_config('synchronous_commit',
                CASE WHEN pg_catalog.current_setting('synchronous_commit') IN ('off', 'local')
                     THEN 'on' ELSE pg_catalog.current_setting('synchronous_commit') END, true);
    SELECT b.role, b.client_id, b.last_login INTO role, client_id, last_login
    FROM app.begin_request(p_sub, p_exp, p_mac) AS b;
    PERFORM pg_catalog.set_config(
        'role', CASE role WHEN 'admin' THEN 'masstock_admin' ELSE 'masstock_api' END, true);
    RETURN NEXT;
END $$;

ALTER FUNCTION app.enter(p_sub uuid, p_exp bigint, p_mac text) OWNER TO masstock_authz;

CREATE FUNCTION app.enter_lane(p_lane uuid, p_provider text, p_model text, p_owner uuid, p_client uuid, p_execution uuid, p_prompt integer, p_minute double precision DEFAULT 60, p_now timestamp with time zone DEFAULT clock_timestamp(), OUT granted boolean, OUT wait_seconds double precision, OUT limited_by text, OUT gives_up boolean, OUT granted_at timestamp with time zone) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
DECLARE
    l app_private.lanes;
    step double precision;
    prompt text := p_execution || ' ' || p_prompt;
    closed_until timestamptz;
    is_probe boolean := false;
    turn record;
BEGIN
    granted := true;
    granted_at := p_now;
    wait_seconds := 0;
    limited_by := 'none';
    gives_up := false;
    IF app_private.start_on_open_lane(p_lane, p_minute, p_now) THEN
        RETURN;
    END IF;
    l := app_private.believe_accepted(app_private.lock_lane(
        p_lane, p_provider, p_model, p_owner, p_minute, p_now), p_now);
    step := app_private.lane_step(l, p_now);
    IF l.closed_by IS NOT NULL OR step IS NOT NULL THEN
        IF l.closed_by IS NOT NULL THEN
            step := coalesce(step, 0.25);
            closed_until := app_private.ask_for_probe(l, prompt, p_now);
            is_probe := closed_until IS NULL;
            l.due_at := CASE WHEN is_probe THEN '-infinity' ELSE l.due_at END;
        END IF;
        SELECT * INTO turn FROM app_private.take_turn(
            l, step, closed_until, p_owner, p_client, p_execution, p_prompt, p_now);
        IF NOT turn.granted THEN
            IF l.closed_by = 'outage' AND l.closed_until <= p_now AND l.probe_at IS NULL THEN
                UPDATE app_private.lanes SET probe_prompt = NULL WHERE id = p_lane;
            END IF;
            granted := false;
            granted_at := NULL;
            limited_by := app_private.lane_limited_by(l);
            gives_up := limited_by = 'provider_limit'
                AND greatest(turn.waits_since, l.last_success_at, l.told_until)
                    <= p_now - interval '30 minutes';
            wait_seconds := least(extract(epoch FROM turn.return_at - p_now), CASE
                WHEN l.closed_by IS NOT NULL OR l.due_at > p_now + interval '60 seconds' THEN 300
                -- A lane without a success opens with its first one.
                WHEN limited_by = 'none' THEN 0.2 ELSE 60 END);
            RETURN;
        END IF;
        l.due_at := turn.slot + make_interval(secs => step);
        IF is_probe THEN
            l.probe_at := p_now;
            l.probe_prompt := prompt;
        ELSIF l.suspicion > 0 AND coalesce(l.limit_per_minute, l.learned_per_minute) IS NULL THEN
            l.doubtful := l.doubtful || p_now;
        END IF;
    END IF;
    PERFORM app_private.keep_lane(app_private.count_start(l, p_now, 1));
END $$;

ALTER FUNCTION app.enter_lane(p_lane uuid, p_provider text, p_model text, p_owner uuid, p_client uuid, p_execution uuid, p_prompt integer, p_minute double precision, p_now timestamp with time zone, OUT granted boolean, OUT wait_seconds double precision, OUT limited_by text, OUT gives_up boolean, OUT granted_at timestamp with time zone) OWNER TO masstock_owner;

CREATE FUNCTION app.expire_images() RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    WITH due AS (
        SELECT e.id FROM public.clients c, LATERAL (
            SELECT x.id FROM public.workflow_executions x
            WHERE x.client_id = c.id AND x.expired_at IS NULL
              AND x.status IN ('completed', 'failed')
              AND x.completed_at < now() - make_interval(days => c.retention_days)
            ORDER BY x.completed_at LIMIT 1
            FOR UPDATE SKIP LOCKED
        ) AS e
        WHERE c.retention_days IS NOT NULL
        LIMIT 1
    ), expired AS (
        UPDATE public.workflow_executions e SET expired_at = now()
        FROM due WHERE e.id = due.id
        RETURNING e.id, e.client_id
    ), results AS (
        UPDATE public.workflow_batch_results r
        SET expired_at = now(), has_thumbnail = false, result_url = NULL
        FROM expired e WHERE r.execution_id = e.id AND r.status = 'completed'
    ), archived AS (
        UPDATE public.archives a SET expires_at = least(a.expires_at, now())
        FROM expired e WHERE a.execution_id = e.id
    ), noted AS (
        INSERT INTO app_private.deleted_executions AS d (execution_id, client_id)
        SELECT e.id, e.client_id FROM expired e
        ON CONFLICT (execution_id) DO UPDATE SET deleted_at = now()
    )
    SELECT EXISTS (SELECT FROM expired)
$$;

ALTER FUNCTION app.expire_images() OWNER TO masstock_owner;

CREATE FUNCTION app.extend_deadline(p_id uuid, p_idle_seconds double precision) RETURNS timestamp with time zone
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION app.extend_deadline(p_id uuid, p_idle_seconds double precision) OWNER TO masstock_owner;

CREATE FUNCTION app.fall_back(p_execution_id uuid, p_model text) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    UPDATE public.workflow_executions e
    SET settings = (e.settings - 'fallback_model')
            || jsonb_build_object('model', e.settings -> 'fallback_model'),
        model_missed_at = NULL
    WHERE e.id = p_execution_id AND e.status = 'processing' AND e.error_code IS NULL
      AND e.settings ->> 'model' = p_model
      AND jsonb_typeof(e.settings -> 'fallback_model') = 'string'
    RETURNING true
$$;

ALTER FUNCTION app.fall_back(p_execution_id uuid, p_model text) OWNER TO masstock_owner;

CREATE FUNCTION app.fetch_budget(p_client_id uuid) RETURNS TABLE(monthly_budget_microusd bigint, spent_microusd bigint, reserved_microusd bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    SELECT c.monthly_budget_microusd, coalesce(s.charged, 0), coalesce(s.reserved, 0)
    FROM public.clients c
    CROSS JOIN LATERAL (
        SELECT sum(l.charged_microusd)::bigint AS charged, sum(l.reserved_microusd)::bigint AS reserved
        FROM public.spend_ledger l
        WHERE l.client_id = c.id AND l.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date) s
    WHERE c.id = p_client_id AND (c.id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
$$;

ALTER FUNCTION app.fetch_budget(p_client_id uuid) OWNER TO masstock_owner;

CREATE FUNCTION app.lane_state(p_lane uuid, p_now timestamp with time zone DEFAULT clock_timestamp(), OUT limited_by text, OUT calls_per_minute double precision, OUT opens_at timestamp with time zone, OUT last_success_at timestamp with time zone, OUT closed_since timestamp with time zone, OUT waiting_executions integer, OUT learned_per_minute double precision, OUT limit_per_minute integer, OUT successes bigint) RETURNS record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
DECLARE
    l app_private.lanes;
BEGIN
    SELECT * INTO l FROM app_private.lanes WHERE id = p_lane;
    l := app_private.believe_accepted(app_private.read_lane(l, l.minute_seconds, p_now), p_now);
    SELECT count(*) INTO waiting_executions
    FROM app_private.lane_turns t
    WHERE t.lane_id = p_lane AND t.waits_until
          BETWEEN p_now - interval '5 seconds' AND p_now + interval '1 hour';
    limited_by := app_private.lane_limited_by(l);
    IF l.closed_by IS NULL AND waiting_executions = 0 THEN
        limited_by := 'none';
    END IF;
    limit_per_minute := l.limit_per_minute;
    learned_per_minute := l.learned_per_minute;
    IF coalesce(l.limit_per_minute, l.learned_per_minute) IS NOT NULL THEN
        calls_per_minute := 60 / app_private.lane_step(l, p_now);
        opens_at := CASE WHEN l.due_at > p_now + interval '1 second' THEN l.due_at END;
    END IF;
    IF l.closed_by IS NOT NULL THEN
        closed_since := l.closed_since;
        opens_at := greatest(l.closed_until, p_now,
            CASE WHEN l.closed_by = 'provider_limit' THEN l.told_until END);
    END IF;
    last_success_at := l.last_success_at;
    successes := l.successes;
END $$;

ALTER FUNCTION app.lane_state(p_lane uuid, p_now timestamp with time zone, OUT limited_by text, OUT calls_per_minute double precision, OUT opens_at timestamp with time zone, OUT last_success_at timestamp with time zone, OUT closed_since timestamp with time zone, OUT waiting_executions integer, OUT learned_per_minute double precision, OUT limit_per_minute integer, OUT successes bigint) OWNER TO masstock_owner;

CREATE TABLE app_private.lanes (
    id uuid NOT NULL,
    provider text,
    model text,
    client_id uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    minute_seconds double precision,
    limit_per_minute integer,
    learned_per_minute double precision,
    refused_per_minute double precision,
    learned_at timestamp with time zone,
    due_at timestamp with time zone,
    starts integer[],
    last_start bigint,
    suspicion integer,
    doubtful timestamp with time zone[],
    refusal_seconds double precision,
    closed_by text,
    closed_since timestamp with time zone,
    closed_until timestamp with time zone,
    told_until timestamp with time zone,
    probe_at timestamp with time zone,
    probe_prompt text,
    failed_prompts text[],
    failed_at timestamp with time zone,
    successes bigint,
    last_success_at timestamp with time zone
)
WITH (fillfactor='50', autovacuum_vacuum_threshold='500', autovacuum_vacuum_scale_factor='0');

ALTER TABLE app_private.lanes OWNER TO masstock_owner;

COMMENT ON TABLE app_private.lanes IS 'The pace of each quota of a provider.';

COMMENT ON COLUMN app_private.lanes.client_id IS 'The client whose key or name the lane is for. NULL: the platform''s lane.';

COMMENT ON COLUMN app_private.lanes.minute_seconds IS 'The length of a minute. Only tests shorten it.';

COMMENT ON COLUMN app_private.lanes.limit_per_minute IS 'Calls per minute that an administrator knows to be allowed. It wins over what is learned.';

COMMENT ON COLUMN app_private.lanes.learned_per_minute IS 'Calls per minute that refusals taught. NULL if the lane knows no limit and is open.';

COMMENT ON COLUMN app_private.lanes.refused_per_minute IS 'The learned limit at the latest refusal. The lane does not grow beyond it for five minutes.';

COMMENT ON COLUMN app_private.lanes.learned_at IS 'When a refusal taught the lane last. Refusals of calls that were granted before teach nothing.';

COMMENT ON COLUMN app_private.lanes.starts IS 'Accepted calls by sixtieth of a minute. The sixtieth n since 1970 has the subscript n % 60 + 1.';

COMMENT ON COLUMN app_private.lanes.suspicion IS 'Evidence of a limit, or of a lower limit: up by each refusal, down by each accepted call.';

COMMENT ON COLUMN app_private.lanes.doubtful IS 'Calls of a suspected lane that were granted and may still be refused.';

COMMENT ON COLUMN app_private.lanes.refusal_seconds IS 'How long a call takes until it is refused. A call that lasts much longer was accepted.';

COMMENT ON COLUMN app_private.lanes.closed_by IS 'provider_limit or outage: only one probe at a time is granted after closed_until.';

COMMENT ON COLUMN app_private.lanes.told_until IS 'When the provider accepts calls again, if it named more than five minutes. Nobody gives up before.';

COMMENT ON COLUMN app_private.lanes.failed_prompts IS 'Up to three prompts that failed without a success. failed_at: the first grant of these calls.';

CREATE VIEW app_private.lanes_shown AS
 SELECT l.id,
    l.model,
    l.client_id,
    s.limited_by,
    s.calls_per_minute,
    l.limit_per_minute,
    s.opens_at,
    s.closed_since,
    s.last_success_at,
    s.waiting_executions,
    l.created_at
   FROM app_private.lanes l,
    LATERAL app.lane_state(l.id, clock_timestamp()) s(limited_by, calls_per_minute, opens_at, last_success_at, closed_since, waiting_executions, learned_per_minute, limit_per_minute, successes);

ALTER VIEW app_private.lanes_shown OWNER TO masstock_owner;

CREATE FUNCTION app.fetch_lane(p_id uuid, p_for_update boolean) RETURNS SETOF app_private.lanes_shown
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    IF NOT app.is_admin() THEN
        RETURN;
    ELSIF p_for_update THEN
        PERFORM FROM app_private.lanes WHERE id = p_id FOR UPDATE;
    END IF;
    RETURN QUERY SELECT * FROM app_private.lanes_shown v WHERE v.id = p_id;
END $$;

ALTER FUNCTION app.fetch_lane(p_id uuid, p_for_update boolean) OWNER TO masstock_owner;

CREATE FUNCTION app.fetch_sweep_places() RETURNS TABLE(kind text, at timestamp with time zone, id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    SELECT p.kind, p.at, p.id FROM app_private.sweep_places p
$$;

ALTER FUNCTION app.fetch_sweep_places() OWNER TO masstock_owner;

CREATE FUNCTION app.find_reusable(p_client_id uuid, p_key uuid, p_model text) RETURNS uuid
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    SELECT s.id
    FROM public.workflow_batch_results s
    JOIN public.workflow_executions e ON e.id = s.execution_id
    WHERE s.client_id = p_client_id AND s.reuse_key = p_key AND s.status = 'completed'
      AND s.result_storage_path IS NOT NULL AND s.original_prompt IS NULL
      AND s.expired_at IS NULL
      AND e.settings ->> 'model' = p_model
    ORDER BY s.completed_at DESC LIMIT 1
$$;

ALTER FUNCTION app.find_reusable(p_client_id uuid, p_key uuid, p_model text) OWNER TO masstock_owner;

CREATE FUNCTION app.fold_execution_counts() RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    WITH taken AS (DELETE FROM app_private.execution_counts RETURNING *), by_client AS (
        INSERT INTO app_private.executions_by_client AS kept
        SELECT client_id, status, sum(executions) FROM taken
        GROUP BY client_id, status HAVING sum(executions) <> 0 ORDER BY client_id, status
        ON CONFLICT (client_id, status)
        DO UPDATE SET executions = kept.executions + excluded.executions
    )
    INSERT INTO app_private.executions_by_workflow AS kept
    SELECT workflow_id, status, sum(executions), sum(durations), sum(duration_seconds) FROM taken
    GROUP BY workflow_id, status ORDER BY workflow_id, status
    ON CONFLICT (workflow_id, status)
    DO UPDATE SET executions = kept.executions + excluded.executions,
        durations = kept.durations + excluded.durations,
        duration_seconds = kept.duration_seconds + excluded.duration_seconds
$$;

ALTER FUNCTION app.fold_execution_counts() OWNER TO masstock_owner;

CREATE FUNCTION app.forget_deleted_execution(p_id uuid) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    DELETE FROM app_private.deleted_executions
    WHERE execution_id = p_id AND deleted_at < now() - interval '20 minutes'
$$;

ALTER FUNCTION app.forget_deleted_execution(p_id uuid) OWNER TO masstock_owner;

CREATE FUNCTION app.forget_idle_lanes() RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    DELETE FROM app_private.lane_turns t
    WHERE coalesce(t.asked_at < now() - interval '1 day', true);
    DELETE FROM app_private.lanes l
    WHERE l.limit_per_minute IS NULL AND l.created_at < now() - interval '1 week'
      AND coalesce(l.last_success_at < now() - interval '1 week', true)
$$;

ALTER FUNCTION app.forget_idle_lanes() OWNER TO masstock_owner;

CREATE FUNCTION app.image_price(p_prices jsonb, p_size text, p_references jsonb, p_prompt text) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION app.image_price(p_prices jsonb, p_size text, p_references jsonb, p_prompt text) OWNER TO masstock_owner;

CREATE FUNCTION app.images_of(p_prompt jsonb, p_default jsonb) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT CASE
        WHEN jsonb_typeof(p_prompt -> 'images') = 'number'
            THEN greatest(1, least(8, (p_prompt -> 'images')::numeric))::integer
        WHEN jsonb_typeof(p_default) = 'number'
            THEN greatest(1, least(8, p_default::numeric))::integer
        ELSE 1 END
$$;

ALTER FUNCTION app.images_of(p_prompt jsonb, p_default jsonb) OWNER TO masstock_owner;

CREATE FUNCTION app.index_new_prompts() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    IF (SELECT sum(char_length(a.prompt_text)) FROM added a) > 1000000 THEN
        INSERT INTO app_private.unindexed_executions (execution_id)
        SELECT DISTINCT a.execution_id FROM added a ON CONFLICT DO NOTHING;
        RETURN NULL;
    END IF;
    INSERT INTO app_private.prompt_words AS p (client_id, word, created_at, execution_id, batch_indices)
    SELECT a.client_id, w.word, a.created_at, a.execution_id, array_agg(a.batch_index)
    FROM added a CROSS JOIN app.words(a.prompt_text) AS w (word)
    GROUP BY a.client_id, w.word, a.created_at, a.execution_id
    ON CONFLICT (client_id, word, created_at, execution_id)
    DO UPDATE SET batch_indices = p.batch_indices || EXCLUDED.batch_indices;
    RETURN NULL;
END $$;

ALTER FUNCTION app.index_new_prompts() OWNER TO masstock_owner;

CREATE FUNCTION app.index_prompts() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
DECLARE
    noted uuid;
BEGIN
    SELECT u.execution_id INTO noted FROM app_private.unindexed_executions u
    ORDER BY u.noted_at DESC LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM app_private.unindexed_executions WHERE execution_id = noted;
    PERFORM app_private.index_prompts(noted);
    RETURN true;
END $$;

ALTER FUNCTION app.index_prompts() OWNER TO masstock_owner;

CREATE FUNCTION app.is_active() RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path TO ''
    AS $$
DECLARE
    caller uuid := app.uid();
BEGIN
    RETURN EXISTS (
        SELECT FROM public.users u LEFT JOIN public.clients c ON c.id = u.client_id
        WHERE u.id = caller AND u.status = 'active' AND (u.role = 'admin' OR c.status = 'active'));
END $$;

ALTER FUNCTION app.is_active() OWNER TO masstock_authz;

CREATE FUNCTION app.is_admin() RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path TO ''
    AS $$
DECLARE
    caller uuid := app.uid();
BEGIN
    RETURN EXISTS (
        SELECT FROM public.users u
        WHERE u.id = caller AND u.role = 'admin' AND u.status = 'active');
END $$;

ALTER FUNCTION app.is_admin() OWNER TO masstock_authz;

CREATE FUNCTION app.keep_an_admin() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('app.keep_an_admin'));
    IF NOT EXISTS (SELECT FROM public.users u
                   WHERE u.id <> OLD.id AND u.role = 'admin' AND u.status = 'active') THEN
        RAISE EXCEPTION 'The last active administrator cannot be demoted, suspended or deleted.'
            USING ERRCODE = 'MS409';
    END IF;
    RETURN NEW;
END $$;

ALTER FUNCTION app.keep_an_admin() OWNER TO masstock_owner;

CREATE FUNCTION app.keep_emails_apart() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
DECLARE
    compared text := lower(normalize(NEW.email, NFC));
BEGIN
    -- Of two transactions with one address, the second sees the row of the first.
    PERFORM pg_advisory_xact_lock(hashtextextended('email|' || compared, 0));
    IF EXISTS (SELECT FROM public.users u
               WHERE u.id <> NEW.id AND lower(normalize(u.email, NFC)) = compared) THEN
        RAISE EXCEPTION 'another user has this e-mail address'
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'users_email_compared';
    END IF;
    RETURN NEW;
END $$;

ALTER FUNCTION app.keep_emails_apart() OWNER TO masstock_owner;

CREATE FUNCTION app.keep_sweep_place(p_kind text, p_at timestamp with time zone, p_id uuid) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    INSERT INTO app_private.sweep_places (kind, at, id) VALUES (p_kind, p_at, p_id)
    ON CONFLICT (kind) DO UPDATE SET at = EXCLUDED.at, id = EXCLUDED.id
$$;

ALTER FUNCTION app.keep_sweep_place(p_kind text, p_at timestamp with time zone, p_id uuid) OWNER TO masstock_owner;

CREATE FUNCTION app.lane_id(p_lane_key uuid, p_model text) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
    SELECT pg_catalog.md5(coalesce(p_lane_key::text, 'platform') || '|' || coalesce(p_model, ''))::uuid
$$;

ALTER FUNCTION app.lane_id(p_lane_key uuid, p_model text) OWNER TO masstock_owner;

CREATE FUNCTION app.leave_lane(p_lane uuid, p_execution uuid, p_prompt integer, p_granted_at timestamp with time zone, p_verdict text, p_retry_after double precision, p_quota_value integer, p_successes_seen bigint, p_minute double precision DEFAULT 60, p_now timestamp with time zone DEFAULT clock_timestamp(), OUT counts boolean, OUT successes bigint, OUT wait_seconds double precision, OUT was_probe boolean) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
DECLARE
    l app_private.lanes;
    prompt text := p_execution || ' ' || p_prompt;
    is_probe boolean;
BEGIN
    counts := p_verdict IN ('failed', 'unreadable');
    was_probe := false;
    wait_seconds := CASE p_verdict WHEN 'answered' THEN 0 ELSE 1 END;
    IF p_verdict = 'answered' THEN
        successes := app_private.succeed_on_open_lane(p_lane, p_now);
        IF successes IS NOT NULL THEN
            RETURN;
        END IF;
    END IF;
    SELECT * INTO l FROM app_private.lanes WHERE id = p_lane FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        successes := 0;
        RETURN;
    END IF;
    l := app_private.read_lane(l, p_minute, p_now);
    is_probe := coalesce(
        l.closed_by IS NOT NULL AND l.probe_prompt = prompt AND l.probe_at = p_granted_at, false);
    was_probe := is_probe AND l.closed_by = 'outage';
    CASE p_verdict
    WHEN 'answered' THEN
        l := app_private.learn_success(l, is_probe, p_granted_at, p_now);
    WHEN 'refused' THEN
        counts := coalesce(l.successes - p_successes_seen >= 3, false);
        l := app_private.learn_refusal(l, is_probe, p_granted_at,
            CASE WHEN p_retry_after >= 0 THEN p_retry_after END,
            CASE WHEN p_quota_value > 0 THEN p_quota_value END, p_now);
    WHEN 'failed' THEN
        l := app_private.learn_failure(l, is_probe, prompt, p_granted_at, p_now);
        counts := NOT is_probe AND l.closed_by IS DISTINCT FROM 'outage';
    ELSE
        IF is_probe THEN
            l.probe_at := NULL;
            l.closed_until := p_now + interval '1 second';
        END IF;
    END CASE;
    PERFORM app_private.keep_lane(l);
    successes := l.successes;
    IF p_verdict <> 'answered' THEN
        wait_seconds := least(300, greatest(1, extract(epoch FROM CASE
            WHEN l.closed_by IS NULL THEN l.due_at ELSE l.closed_until END - p_now),
            -- An open lane leaves the delay to the prompt.
            CASE WHEN p_verdict = 'refused' THEN p_retry_after END));
    END IF;
END $$;

ALTER FUNCTION app.leave_lane(p_lane uuid, p_execution uuid, p_prompt integer, p_granted_at timestamp with time zone, p_verdict text, p_retry_after double precision, p_quota_value integer, p_successes_seen bigint, p_minute double precision, p_now timestamp with time zone, OUT counts boolean, OUT successes bigint, OUT wait_seconds double precision, OUT was_probe boolean) OWNER TO masstock_owner;

CREATE FUNCTION app.list_deleted_executions(p_limit integer) RETURNS SETOF uuid
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    WITH next AS (
        SELECT execution_id FROM app_private.deleted_executions
        ORDER BY looked_at NULLS FIRST, deleted_at LIMIT p_limit FOR UPDATE SKIP LOCKED
    )
    UPDATE app_private.deleted_executions d SET looked_at = clock_timestamp()
    FROM next WHERE d.execution_id = next.execution_id
    RETURNING d.execution_id
$$;

ALTER FUNCTION app.list_deleted_executions(p_limit integer) OWNER TO masstock_owner;

CREATE FUNCTION app.list_lanes(p_from timestamp with time zone, p_to timestamp with time zone, p_before_created_at timestamp with time zone, p_before_id uuid, p_limit integer) RETURNS SETOF app_private.lanes_shown
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    SELECT shown.* FROM (
        SELECT l.id, l.created_at FROM app_private.lanes l
        WHERE (SELECT app.is_admin())
          AND (p_from IS NULL OR l.created_at >= p_from) AND (p_to IS NULL OR l.created_at < p_to)
          AND (l.created_at, l.id) < (p_before_created_at, p_before_id)
        ORDER BY l.created_at DESC, l.id DESC LIMIT p_limit
    ) AS page, LATERAL (SELECT * FROM app_private.lanes_shown v WHERE v.id = page.id) AS shown
    ORDER BY page.created_at DESC, page.id DESC
$$;

ALTER FUNCTION app.list_lanes(p_from timestamp with time zone, p_to timestamp with time zone, p_before_created_at timestamp with time zone, p_before_id uuid, p_limit integer) OWNER TO masstock_owner;

CREATE FUNCTION app.list_removals(p_limit integer) RETURNS TABLE(execution_id uuid, client_id uuid)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    SELECT d.execution_id, d.client_id
    FROM app.list_deleted_executions(p_limit) AS l (execution_id)
    JOIN app_private.deleted_executions d ON d.execution_id = l.execution_id
$$;

ALTER FUNCTION app.list_removals(p_limit integer) OWNER TO masstock_owner;

CREATE FUNCTION app.lock_execution(p_id uuid) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    SELECT FROM public.workflow_executions e
    WHERE e.id = p_id AND (e.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
    FOR UPDATE
$$;

ALTER FUNCTION app.lock_execution(p_id uuid) OWNER TO masstock_owner;

CREATE FUNCTION app.lock_request(p_id uuid) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    SELECT FROM public.workflow_requests r
    WHERE r.id = p_id AND (r.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
    FOR UPDATE
$$;

ALTER FUNCTION app.lock_request(p_id uuid) OWNER TO masstock_owner;

CREATE FUNCTION app.lock_ticket(p_id uuid) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    SELECT FROM public.support_tickets t
    WHERE t.id = p_id AND (t.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
    FOR UPDATE
$$;

ALTER FUNCTION app.lock_ticket(p_id uuid) OWNER TO masstock_owner;

CREATE FUNCTION app.newest_executions(p_before timestamp with time zone, p_before_id uuid, p_limit integer, p_default_size text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
BEGIN
    RETURN app.describe_executions(ARRAY(
        SELECT e.id FROM public.workflow_executions e
        WHERE (e.created_at, e.id) < (p_before, p_before_id)
        -- A limit that the planner knows makes it sort the rows of a big client.
        ORDER BY e.created_at DESC, e.id DESC LIMIT (SELECT p_limit)
    ), p_default_size);
END $$;

ALTER FUNCTION app.newest_executions(p_before timestamp with time zone, p_before_id uuid, p_limit integer, p_default_size text) OWNER TO masstock_owner;

CREATE TABLE public.workflow_batch_results (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    execution_id uuid NOT NULL,
    batch_index integer NOT NULL,
    prompt_text text NOT NULL,
    status text DEFAULT 'processing'::text NOT NULL,
    result_url text,
    result_storage_path text,
    error_message text,
    processing_time_ms integer,
    created_at timestamp with time zone DEFAULT now(),
    completed_at timestamp with time zone,
    client_id uuid NOT NULL,
    custom_id text,
    error_code text,
    attempts integer DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    throttles integer DEFAULT 0 NOT NULL,
    claimed_until timestamp with time zone,
    mime_type text,
    size_bytes integer,
    cost_microusd bigint,
    image_sha256 text,
    model text,
    width integer,
    height integer,
    as_asked boolean,
    images_in_answer integer,
    has_provenance boolean,
    provider_message text,
    lane_successes bigint,
    probes integer DEFAULT 0 NOT NULL,
    prompt_index integer NOT NULL,
    image_index integer DEFAULT 0 NOT NULL,
    asked jsonb,
    seed integer,
    prompt_metadata jsonb,
    reserved_microusd bigint,
    has_thumbnail boolean DEFAULT false NOT NULL,
    announced_at timestamp with time zone,
    original_prompt text,
    edited_at timestamp with time zone,
    tier text,
    economy_job_id uuid,
    economy_offset bigint,
    economy_length integer,
    expired_at timestamp with time zone,
    reuse_key uuid,
    reused_from uuid,
    thumbnail_path text,
    CONSTRAINT workflow_batch_results_cost_microusd_check CHECK (((cost_microusd >= 0) AND (cost_microusd <= '1000000000000'::bigint))),
    CONSTRAINT workflow_batch_results_status_check CHECK ((status = ANY (ARRAY['processing'::text, 'completed'::text, 'failed'::text]))),
    CONSTRAINT workflow_batch_results_tier_check CHECK ((tier = ANY (ARRAY['standard'::text, 'economy'::text])))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.02', autovacuum_analyze_scale_factor='0.02');
ALTER TABLE ONLY public.workflow_batch_results ALTER COLUMN prompt_text SET STATISTICS 0;
ALTER TABLE ONLY public.workflow_batch_results ALTER COLUMN error_message SET STATISTICS 0;
ALTER TABLE ONLY public.workflow_batch_results ALTER COLUMN original_prompt SET STATISTICS 0;

ALTER TABLE ONLY public.workflow_batch_results FORCE ROW LEVEL SECURITY;

ALTER TABLE public.workflow_batch_results OWNER TO masstock_owner;

COMMENT ON COLUMN public.workflow_batch_results.client_id IS 'Copied from the execution: lets row security use an index instead of a subquery per row.';

COMMENT ON COLUMN public.workflow_batch_results.attempts IS 'Claims so far; the number of the latest is the fence that its completion must carry.';

COMMENT ON COLUMN public.workflow_batch_results.failures IS 'Failures since the submission or the latest retry, without throttles: outcomes that are retried, and claims that ended without an outcome.';

COMMENT ON COLUMN public.workflow_batch_results.model IS 'The model that answered.';

COMMENT ON COLUMN public.workflow_batch_results.as_asked IS 'False if the image has another ratio or size than asked. NULL if none was asked.';

COMMENT ON COLUMN public.workflow_batch_results.has_provenance IS 'True if the file carries a C2PA manifest.';

COMMENT ON COLUMN public.workflow_batch_results.provider_message IS 'The provider''s own words about an answer without an image.';

COMMENT ON COLUMN public.workflow_batch_results.lane_successes IS 'How many calls of the lane had succeeded at the prompt''s last refusal.';

COMMENT ON COLUMN public.workflow_batch_results.probes IS 'How often the prompt asked in vain whether a closed lane is open again.';

COMMENT ON COLUMN public.workflow_batch_results.prompt_index IS 'Position of the prompt in the submission. batch_index counts images.';

COMMENT ON COLUMN public.workflow_batch_results.image_index IS 'Number of the image among those of its prompt, from 0.';

COMMENT ON COLUMN public.workflow_batch_results.asked IS 'Ratio, size and reference images of a prompt that has own ones. NULL: those of the execution.';

COMMENT ON COLUMN public.workflow_batch_results.reserved_microusd IS 'The row''s part of the reservation. NULL for rows of earlier releases: an equal part.';

COMMENT ON COLUMN public.workflow_batch_results.has_thumbnail IS 'True if {execution_id}/thumbnails/{batch_index}.webp is stored, or the object thumbnail_path.';

COMMENT ON COLUMN public.workflow_batch_results.announced_at IS '`completed_at` of the outcome that a delivery announces. A retry gives the result another one.';

COMMENT ON COLUMN public.workflow_batch_results.original_prompt IS 'The prompt as submitted. NULL: prompt_text is.';

COMMENT ON COLUMN public.workflow_batch_results.edited_at IS 'When prompt_text was last changed; replaces created_at in the key of the image.';

COMMENT ON COLUMN public.workflow_batch_results.tier IS 'The tier that painted the image.';

COMMENT ON COLUMN public.workflow_batch_results.economy_job_id IS 'The economy job that paints the prompt. A retry by the caller clears it.';

COMMENT ON COLUMN public.workflow_batch_results.economy_offset IS 'Where the prompt''s line begins in the copied result of the job. NULL: there is no usable line.';

COMMENT ON COLUMN public.workflow_batch_results.expired_at IS 'When its image was given up, for the retention of the client. The object may live a little longer.';

COMMENT ON COLUMN public.workflow_batch_results.reuse_key IS 'A hash of what was asked, of the model and of image_index. NULL for rows of earlier releases.';

COMMENT ON COLUMN public.workflow_batch_results.reused_from IS 'The result whose image this one has; before the end, the one to copy.';

COMMENT ON COLUMN public.workflow_batch_results.thumbnail_path IS 'The key of the thumbnail if the prompt was changed. NULL: the usual key; see has_thumbnail.';

CREATE FUNCTION app.next_results(p_execution_id uuid, p_after integer, p_status text, p_limit integer) RETURNS SETOF public.workflow_batch_results
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET enable_sort TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
    SELECT * FROM public.workflow_batch_results r
    WHERE r.execution_id = p_execution_id AND r.batch_index > p_after
      AND (p_status IS NULL OR r.status = p_status)
    ORDER BY r.batch_index LIMIT p_limit
$$;

ALTER FUNCTION app.next_results(p_execution_id uuid, p_after integer, p_status text, p_limit integer) OWNER TO masstock_owner;

CREATE FUNCTION app.note_deleted_execution() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    INSERT INTO app_private.deleted_executions (execution_id, client_id)
    VALUES (OLD.id, OLD.client_id)
    ON CONFLICT DO NOTHING;
    DELETE FROM app_private.prompt_words WHERE execution_id = OLD.id;
    RETURN NULL;
END $$;

ALTER FUNCTION app.note_deleted_execution() OWNER TO masstock_owner;

CREATE FUNCTION app.note_edited_prompt() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    INSERT INTO app_private.unindexed_executions (execution_id) VALUES (NEW.execution_id)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

ALTER FUNCTION app.note_edited_prompt() OWNER TO masstock_owner;

CREATE FUNCTION app.pace(p_id uuid) RETURNS json
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION app.pace(p_id uuid) OWNER TO masstock_owner;

CREATE FUNCTION app.progress(p_id uuid, p_status text, p_image_count integer, p_output_data jsonb) RETURNS json
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION app.progress(p_id uuid, p_status text, p_image_count integer, p_output_data jsonb) OWNER TO masstock_owner;

CREATE FUNCTION app.record_login() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    UPDATE public.users SET last_login = now() WHERE id = (SELECT app.uid());
END $$;

ALTER FUNCTION app.record_login() OWNER TO masstock_authz;

CREATE FUNCTION app.refresh_settings(p_id uuid) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    UPDATE public.workflow_executions e SET settings = w.config
    FROM public.workflows w
    WHERE e.id = p_id AND w.id = e.workflow_id AND e.status IN ('completed', 'failed')
      AND (e.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
$$;

ALTER FUNCTION app.refresh_settings(p_id uuid) OWNER TO masstock_owner;

CREATE FUNCTION app.reopen_failed(p_id uuid, p_codes text[], p_deadline_seconds integer) RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    SELECT app.reopen_failed(p_id, p_codes, p_deadline_seconds, (
        SELECT e.estimate_microusd / greatest(e.prompt_count, 1)
        FROM public.workflow_executions e WHERE e.id = p_id))
$$;

ALTER FUNCTION app.reopen_failed(p_id uuid, p_codes text[], p_deadline_seconds integer) OWNER TO masstock_owner;

CREATE FUNCTION app.reopen_failed(p_id uuid, p_codes text[], p_deadline_seconds integer, p_microusd_per_image bigint) RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    SELECT app.reopen_failed(p_id, p_codes, p_deadline_seconds,
        CASE WHEN p_microusd_per_image IS NOT NULL
             THEN jsonb_build_object('other_size', p_microusd_per_image) END, NULL::jsonb)
$$;

ALTER FUNCTION app.reopen_failed(p_id uuid, p_codes text[], p_deadline_seconds integer, p_microusd_per_image bigint) OWNER TO masstock_owner;

CREATE FUNCTION app.reopen_failed(p_id uuid, p_codes text[], p_deadline_seconds integer, p_prices jsonb, p_edits jsonb) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION app.reopen_failed(p_id uuid, p_codes text[], p_deadline_seconds integer, p_prices jsonb, p_edits jsonb) OWNER TO masstock_owner;

CREATE FUNCTION app.reserve_image(p_execution_id uuid, p_batch_index integer, p_attempt integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION app.reserve_image(p_execution_id uuid, p_batch_index integer, p_attempt integer) OWNER TO masstock_owner;

CREATE FUNCTION app.resume_execution(p_id uuid) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION app.resume_execution(p_id uuid) OWNER TO masstock_owner;

CREATE FUNCTION app.reuse_key(p_prompt text, p_asked jsonb, p_seed integer, p_model text, p_image_index integer) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
    SELECT md5(app.asked_digest(p_prompt, p_asked, p_seed) || '|' || coalesce(p_model, '') || '|'
               || p_image_index)::uuid
$$;

ALTER FUNCTION app.reuse_key(p_prompt text, p_asked jsonb, p_seed integer, p_model text, p_image_index integer) OWNER TO masstock_owner;

CREATE FUNCTION app.search_prompts(p_client_id uuid, p_words text[], p_before_created_at timestamp with time zone, p_before_execution_id uuid, p_before_index integer, p_limit integer, p_status text, p_model text, p_workflow_id uuid, p_execution_id uuid, p_custom_id text, p_created_from timestamp with time zone, p_created_to timestamp with time zone) RETURNS TABLE(created_at timestamp with time zone, execution_id uuid, batch_index integer)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    SET enable_sort TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_seqscan TO 'off'
    AS $$
#variable_conflict use_column
DECLARE
    own uuid := app.client_id();
    searched uuid;
    rarest text := p_words[1];
    others text[];
    found_all integer;
BEGIN
    searched := coalesce(p_client_id, own);
    IF searched IS DISTINCT FROM own AND NOT app.is_admin() OR searched IS NULL THEN
        RETURN;
    END IF;
    IF cardinality(p_words) > 1 THEN
        -- The word whose 200th row is the oldest, or that has no 200 rows.
        SELECT w.word INTO rarest FROM unnest(p_words) AS w (word)
        ORDER BY (SELECT p.created_at FROM app_private.prompt_words p
            WHERE p.client_id = searched AND p.word = w.word
              AND (p.created_at, p.execution_id) <= (p_before_created_at, p_before_execution_id)
            ORDER BY p.created_at DESC, p.execution_id DESC OFFSET 199 LIMIT 1) NULLS FIRST LIMIT 1;
        others := array_remove(p_words, rarest);
    END IF;
    RETURN QUERY
    SELECT place.created_at, place.execution_id, r.batch_index
    FROM (
        SELECT p.created_at, p.execution_id, p.batch_indices FROM app_private.prompt_words p
        WHERE p.client_id = searched AND p.word = rarest
          AND (p.created_at, p.execution_id) <= (p_before_created_at, p_before_execution_id)
          AND p.created_at >= coalesce(p_created_from, '-infinity')
          AND p.created_at < coalesce(p_created_to, 'infinity')
          AND (p_execution_id IS NULL OR p.execution_id = p_execution_id)
        ORDER BY p.created_at DESC, p.execution_id DESC LIMIT 20000
    ) place
    CROSS JOIN LATERAL (
        SELECT r.batch_index
        FROM public.workflow_batch_results r
        WHERE r.execution_id = place.execution_id
          AND r.batch_index = ANY (CASE WHEN others IS NULL THEN place.batch_indices ELSE ARRAY(
              SELECT u.i FROM unnest(place.batch_indices) AS u (i)
              INTERSECT
              SELECT i.i FROM app_private.prompt_words p CROSS JOIN unnest(p.batch_indices) AS i (i)
              WHERE p.client_id = searched AND p.word = ANY (others)
                AND p.created_at = place.created_at AND p.execution_id = place.execution_id
              GROUP BY i.i HAVING count(DISTINCT p.word) = cardinality(others)) END)
          AND r.created_at = place.created_at AND r.client_id = searched
          AND (r.created_at, r.execution_id, r.batch_index)
              < (p_before_created_at, p_before_execution_id, p_before_index)
          AND (p_status IS NULL OR r.status = p_status)
          AND (p_model IS NULL OR r.model = p_model)
          AND (p_custom_id IS NULL OR r.custom_id = p_custom_id)
          AND (p_workflow_id IS NULL OR EXISTS (
              SELECT FROM public.workflow_executions e
              WHERE e.id = r.execution_id AND e.workflow_id = p_workflow_id))
        ORDER BY r.batch_index DESC LIMIT p_limit
    ) r
    ORDER BY place.created_at DESC, place.execution_id DESC, r.batch_index DESC LIMIT p_limit;
    GET DIAGNOSTICS found_all = ROW_COUNT;
    IF found_all < p_limit THEN
        RETURN QUERY SELECT p.created_at, p.execution_id, NULL::integer FROM app_private.prompt_words p
        WHERE p.client_id = searched AND p.word = rarest
          AND (p.created_at, p.execution_id) <= (p_before_created_at, p_before_execution_id)
          AND p.created_at >= coalesce(p_created_from, '-infinity')
          AND p.created_at < coalesce(p_created_to, 'infinity')
          AND (p_execution_id IS NULL OR p.execution_id = p_execution_id)
        ORDER BY p.created_at DESC, p.execution_id DESC OFFSET 19999 LIMIT 1;
    END IF;
END $$;

ALTER FUNCTION app.search_prompts(p_client_id uuid, p_words text[], p_before_created_at timestamp with time zone, p_before_execution_id uuid, p_before_index integer, p_limit integer, p_status text, p_model text, p_workflow_id uuid, p_execution_id uuid, p_custom_id text, p_created_from timestamp with time zone, p_created_to timestamp with time zone) OWNER TO masstock_owner;

CREATE FUNCTION app.set_lane_limit(p_id uuid, p_limit integer) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    UPDATE app_private.lanes SET limit_per_minute = p_limit
    WHERE id = p_id AND (SELECT app.is_admin())
$$;

ALTER FUNCTION app.set_lane_limit(p_id uuid, p_limit integer) OWNER TO masstock_owner;

CREATE FUNCTION app.uid() RETURNS uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path TO ''
    AS $$
DECLARE
    claims text := nullif(current_setting('request.jwt.claims', true), '');
    claimed text;
BEGIN
    IF claims IS NULL THEN
        RETURN NULL;
    ELSIF session_user IN ('authenticator', 'supabase_storage_admin', 'supabase_admin') THEN
        RETURN (claims::jsonb ->> 'sub')::uuid;
    END IF;
    -- As app.begin_request writes them: what is sealed is a uuid.
    claimed := substr(claims, 11, 36);
    IF coalesce(current_setting('app.seal', true), '') = (
        SELECT encode(sha256(k.opad || sha256(k.ipad || convert_to(
            claimed || '|' || pg_backend_pid() || '|' || extract(epoch FROM now()), 'UTF8'))), 'hex')
        FROM app_private.keys k WHERE k.id = 2)
    THEN
        RETURN claimed::uuid;
    END IF;
    RETURN NULL;
END $$;

ALTER FUNCTION app.uid() OWNER TO masstock_authz;

CREATE FUNCTION app.webhook_overlap_until(p_client_id uuid) RETURNS timestamp with time zone
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    SELECT max(o.until) FROM app_private.webhook_overlaps o
    WHERE o.client_id = p_client_id AND o.until > now()
      AND (o.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
$$;

ALTER FUNCTION app.webhook_overlap_until(p_client_id uuid) OWNER TO masstock_owner;

CREATE FUNCTION app.webhook_versions(p_client_id uuid) RETURNS integer[]
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    SELECT c.webhook_secret_version || ARRAY(
        SELECT o.version FROM app_private.webhook_overlaps o
        WHERE o.client_id = c.id AND o.until > now() ORDER BY o.version DESC)
    FROM public.clients c WHERE c.id = p_client_id
$$;

ALTER FUNCTION app.webhook_versions(p_client_id uuid) OWNER TO masstock_owner;

CREATE FUNCTION app.words(p_text text) RETURNS SETOF text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    AS $$
    SELECT left(w.word, 100)
    FROM regexp_split_to_table(
        CASE WHEN octet_length(p_text) = char_length(p_text) THEN lower(p_text)
             ELSE regexp_replace(
                 normalize(regexp_replace(normalize(lower(p_text), NFKD), '[\u0300-\u036f]+', '', 'g'), NFC),
                 '([\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])', ' \1 ', 'g')
        END,
        '[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf'
        '\u2000-\u206f\u20a0-\u20cf\u2190-\u2bff\u3000-\u3004\u3008-\u3020\u30fb\ufe00-\ufe6f'
        '\U0001f000-\U0001faff]+') AS w (word)
    WHERE w.word <> ''
$$;

ALTER FUNCTION app.words(p_text text) OWNER TO masstock_owner;

CREATE FUNCTION app_private.accepted_calls(l app_private.lanes, p_now timestamp with time zone) RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    SELECT coalesce(sum(greatest(0, l.starts[s % 60 + 1])), 0)
    FROM generate_series(floor(extract(epoch FROM p_now) * 60 / l.minute_seconds)::bigint - 59,
                         l.last_start) AS s
$$;

ALTER FUNCTION app_private.accepted_calls(l app_private.lanes, p_now timestamp with time zone) OWNER TO masstock_owner;

CREATE FUNCTION app_private.accepted_since(l app_private.lanes, p_since timestamp with time zone) RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    SELECT coalesce(sum(greatest(0, l.starts[s % 60 + 1])), 0)
    FROM generate_series(greatest(
        floor(extract(epoch FROM p_since) * 60 / l.minute_seconds)::bigint + 1, l.last_start - 59),
        l.last_start) AS s
$$;

ALTER FUNCTION app_private.accepted_since(l app_private.lanes, p_since timestamp with time zone) OWNER TO masstock_owner;

CREATE FUNCTION app_private.ask_for_probe(l app_private.lanes, p_prompt text, p_now timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    SELECT CASE
        WHEN l.closed_until > p_now THEN l.closed_until
        WHEN l.closed_by = 'provider_limit' AND l.probe_at IS NOT NULL
        THEN p_now + interval '0.2 seconds'
        -- The longer the probe takes, the later it is worth asking again.
        WHEN l.closed_by = 'outage' AND l.probe_at > p_now - interval '240 seconds'
        THEN p_now + greatest(interval '1 second', least(interval '30 seconds', p_now - l.probe_at))
        WHEN l.closed_by = 'outage' AND l.probe_at IS NULL AND l.probe_prompt = p_prompt
        THEN p_now + interval '1.5 seconds'
    END
$$;

ALTER FUNCTION app_private.ask_for_probe(l app_private.lanes, p_prompt text, p_now timestamp with time zone) OWNER TO masstock_owner;

CREATE FUNCTION app_private.believe_accepted(l app_private.lanes, p_now timestamp with time zone) RETURNS app_private.lanes
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
DECLARE
    before timestamptz := p_now - make_interval(secs => 2 * l.refusal_seconds + 0.1);
    undecided timestamptz[];
BEGIN
    IF l.closed_by = 'provider_limit' AND l.probe_at <= before THEN
        l.closed_by := NULL;
        l.due_at := l.probe_at + make_interval(secs => app_private.lane_step(l, p_now));
        l.probe_at := NULL;
    END IF;
    IF l.suspicion > 0 THEN
        undecided := ARRAY(SELECT at FROM unnest(l.doubtful) AS at WHERE at > before);
        l.suspicion := greatest(0, l.suspicion - (cardinality(l.doubtful) - cardinality(undecided)));
        l.doubtful := CASE WHEN l.suspicion > 0 THEN undecided ELSE '{}' END;
    END IF;
    RETURN l;
END $$;

ALTER FUNCTION app_private.believe_accepted(l app_private.lanes, p_now timestamp with time zone) OWNER TO masstock_owner;

CREATE FUNCTION app_private.compare_turns(p_lane uuid, p_owner uuid, p_client uuid, p_execution uuid, p_now timestamp with time zone, OUT is_its_turn boolean, OUT shares double precision, OUT turns double precision, OUT client_turns double precision) RETURNS record
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    WITH minute AS (
        SELECT make_interval(secs => coalesce((
            SELECT l.minute_seconds FROM app_private.lanes l
            WHERE l.id = p_lane AND l.minute_seconds BETWEEN 1 AND 3600), 60)) AS length
    ), lately AS (
        SELECT t.turns, t.client_turns, t.client_id, t.execution_id = p_execution AS is_own, t.waits_since,
            p_owner IS NOT NULL OR t.client_id IS NOT DISTINCT FROM p_client AS is_same_client,
            t.waits_until > p_now - interval '5 seconds' AS waits
        FROM app_private.lane_turns t
        WHERE t.lane_id = p_lane AND t.asked_at <= p_now
          AND greatest(t.asked_at, t.waits_until)
              BETWEEN p_now - interval '5 seconds' AND p_now + interval '1 hour'
    ), others AS (
        SELECT count(*) FILTER (WHERE is_same_client) AS executions,
            count(DISTINCT client_id) FILTER (WHERE NOT is_same_client) AS clients,
            min(l.turns) FILTER (WHERE is_same_client) AS turns,
            min(l.waits_since) FILTER (WHERE is_same_client) AS waits_since,
            min(l.turns) FILTER (WHERE is_same_client AND waits) AS waiting_turns,
            min(l.client_turns) FILTER (WHERE NOT is_same_client) AS client_turns,
            min(l.client_turns) FILTER (WHERE NOT is_same_client AND waits) AS waiting_client_turns
        FROM lately l WHERE NOT is_own
    ), started AS (
        SELECT count(*) AS turns
        FROM public.workflow_batch_results r, minute
        WHERE r.execution_id = p_execution AND NOT EXISTS (SELECT FROM lately WHERE is_own)
          AND (r.claimed_until > p_now OR r.completed_at > p_now - minute.length)
    ), own AS (
        SELECT CASE
                WHEN EXISTS (SELECT FROM lately WHERE is_own) THEN
                    greatest((SELECT l.turns FROM lately l WHERE is_own), behind.turns)
                WHEN started.turns > 0 THEN greatest(started.turns, behind.turns)
                ELSE others.turns - 3 END AS turns,
            greatest((SELECT max(l.client_turns) FROM lately l WHERE is_same_client),
                     others.client_turns - 3) AS client_turns
        FROM others, started, minute, LATERAL (SELECT CASE
            WHEN others.waits_since <= p_now - minute.length THEN others.turns - 3 END AS turns
        ) AS behind
    )
    SELECT coalesce(own.client_turns <= waiting_client_turns, true)
            AND coalesce(own.turns <= waiting_turns, true),
        (1 + clients) * (1 + executions)::double precision,
        coalesce(own.turns, 0), coalesce(own.client_turns, 0)
    FROM others, own
$$;

ALTER FUNCTION app_private.compare_turns(p_lane uuid, p_owner uuid, p_client uuid, p_execution uuid, p_now timestamp with time zone, OUT is_its_turn boolean, OUT shares double precision, OUT turns double precision, OUT client_turns double precision) OWNER TO masstock_owner;

CREATE FUNCTION app_private.count_executions() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        INSERT INTO app_private.execution_counts VALUES
            (OLD.client_id, OLD.workflow_id, OLD.status, -1,
             -(OLD.duration_seconds IS NOT NULL)::integer, -coalesce(OLD.duration_seconds, 0));
    END IF;
    IF TG_OP IN ('UPDATE', 'INSERT') THEN
        INSERT INTO app_private.execution_counts VALUES
            (NEW.client_id, NEW.workflow_id, NEW.status, 1,
             (NEW.duration_seconds IS NOT NULL)::integer, coalesce(NEW.duration_seconds, 0));
    END IF;
    RETURN NULL;
END $$;

ALTER FUNCTION app_private.count_executions() OWNER TO masstock_owner;

CREATE FUNCTION app_private.count_start(l app_private.lanes, p_at timestamp with time zone, p_calls integer) RETURNS app_private.lanes
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
DECLARE
    this_start bigint := floor(extract(epoch FROM p_at) * 60 / l.minute_seconds);
BEGIN
    FOR ago IN 0 .. least(60, this_start - l.last_start)::integer - 1 LOOP
        l.starts[(this_start - ago) % 60 + 1] := 0;
    END LOOP;
    l.last_start := greatest(l.last_start, this_start);
    IF this_start > l.last_start - 60 THEN
        l.starts[this_start % 60 + 1] := greatest(0, l.starts[this_start % 60 + 1] + p_calls);
    END IF;
    RETURN l;
END $$;

ALTER FUNCTION app_private.count_start(l app_private.lanes, p_at timestamp with time zone, p_calls integer) OWNER TO masstock_owner;

CREATE FUNCTION app_private.first_gap(p_taken timestamp with time zone[], p_from timestamp with time zone, p_spacing double precision) RETURNS timestamp with time zone
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
DECLARE
    spacing interval := make_interval(secs => p_spacing);
    almost interval := make_interval(secs => p_spacing * 0.99);
    taken timestamptz;
BEGIN
    FOR taken IN SELECT t FROM unnest(p_taken) AS t ORDER BY t LOOP
        EXIT WHEN taken >= p_from + almost;
        IF taken > p_from - almost THEN
            p_from := taken + spacing;
        END IF;
    END LOOP;
    RETURN p_from;
END $$;

ALTER FUNCTION app_private.first_gap(p_taken timestamp with time zone[], p_from timestamp with time zone, p_spacing double precision) OWNER TO masstock_owner;

CREATE FUNCTION app_private.index_prompts(p_execution_id uuid) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
    -- The execution cannot be deleted meanwhile.
    SELECT FROM public.workflow_executions WHERE id = p_execution_id FOR KEY SHARE;
    DELETE FROM app_private.prompt_words WHERE execution_id = p_execution_id;
    INSERT INTO app_private.prompt_words (client_id, word, created_at, execution_id, batch_indices)
    SELECT r.client_id, w.word, r.created_at, r.execution_id, array_agg(r.batch_index)
    FROM public.workflow_batch_results r CROSS JOIN app.words(r.prompt_text) AS w (word)
    WHERE r.execution_id = p_execution_id
    GROUP BY r.client_id, w.word, r.created_at, r.execution_id
    ON CONFLICT (client_id, word, created_at, execution_id)
    DO UPDATE SET batch_indices = EXCLUDED.batch_indices
$$;

ALTER FUNCTION app_private.index_prompts(p_execution_id uuid) OWNER TO masstock_owner;

CREATE FUNCTION app_private.is_signed(p_message text, p_exp bigint, p_mac text) RETURNS boolean
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
DECLARE
    now_s bigint := extract(epoch FROM clock_timestamp());
    signed boolean;
BEGIN
    -- = on two hashes of fixed length: what a timing tells is a prefix of a MAC that dies in 300 s
    signed := app_private.mac(1, p_message) = p_mac;
    IF NOT signed AND EXISTS (SELECT FROM app_private.keys WHERE id = 3) THEN
        signed := app_private.mac(3, p_message) = p_mac;
    END IF;
    RETURN signed IS TRUE AND p_exp BETWEEN now_s AND now_s + 300;
END $$;

ALTER FUNCTION app_private.is_signed(p_message text, p_exp bigint, p_mac text) OWNER TO masstock_authz;

CREATE FUNCTION app_private.keep_lane(l app_private.lanes) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    UPDATE app_private.lanes SET
        minute_seconds = l.minute_seconds, learned_per_minute = l.learned_per_minute,
        refused_per_minute = l.refused_per_minute, learned_at = l.learned_at, due_at = l.due_at,
        starts = l.starts, last_start = l.last_start, suspicion = l.suspicion,
        doubtful = l.doubtful, refusal_seconds = l.refusal_seconds, closed_by = l.closed_by,
        closed_since = l.closed_since, closed_until = l.closed_until, told_until = l.told_until,
        probe_at = l.probe_at, probe_prompt = l.probe_prompt, failed_prompts = l.failed_prompts,
        failed_at = l.failed_at, successes = l.successes, last_success_at = l.last_success_at
    WHERE id = l.id;
END $$;

ALTER FUNCTION app_private.keep_lane(l app_private.lanes) OWNER TO masstock_owner;

CREATE FUNCTION app_private.lane_limited_by(l app_private.lanes) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    SELECT CASE
        WHEN l.closed_by IS NOT NULL THEN l.closed_by
        WHEN l.limit_per_minute IS NOT NULL OR l.learned_per_minute IS NOT NULL OR l.suspicion > 0
        THEN 'provider_limit' ELSE 'none' END
$$;

ALTER FUNCTION app_private.lane_limited_by(l app_private.lanes) OWNER TO masstock_owner;

CREATE FUNCTION app_private.lane_step(l app_private.lanes, p_now timestamp with time zone) RETURNS double precision
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    SELECT CASE
        WHEN coalesce(l.limit_per_minute, l.learned_per_minute) IS NOT NULL
        THEN least(l.minute_seconds,
                   l.minute_seconds / (0.97 * coalesce(l.limit_per_minute, l.learned_per_minute)))
        WHEN l.suspicion > 0 THEN least(1, greatest(0.1, l.refusal_seconds))
        WHEN l.last_success_at >= p_now - make_interval(secs => l.minute_seconds) THEN NULL
        ELSE 0.05 END
$$;

ALTER FUNCTION app_private.lane_step(l app_private.lanes, p_now timestamp with time zone) OWNER TO masstock_owner;

CREATE FUNCTION app_private.learn_failure(l app_private.lanes, p_is_probe boolean, p_prompt text, p_granted_at timestamp with time zone, p_now timestamp with time zone) RETURNS app_private.lanes
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
BEGIN
    IF cardinality(l.failed_prompts) < 3 AND array_position(l.failed_prompts, p_prompt) IS NULL THEN
        l.failed_prompts := l.failed_prompts || p_prompt;
        l.failed_at := least(l.failed_at, p_granted_at);
    END IF;
    IF cardinality(l.failed_prompts) >= 3 AND l.closed_by IS DISTINCT FROM 'outage' THEN
        l.closed_by := 'outage';
        l.closed_since := p_now;
        l.closed_until := p_now + interval '5 seconds';
        l.probe_at := NULL;
        l.probe_prompt := p_prompt;
    ELSIF p_is_probe THEN
        l.closed_until := p_now + greatest(interval '5 seconds',
            least(interval '300 seconds', p_now - l.closed_since));
        l.probe_at := NULL;
    END IF;
    RETURN l;
END $$;

ALTER FUNCTION app_private.learn_failure(l app_private.lanes, p_is_probe boolean, p_prompt text, p_granted_at timestamp with time zone, p_now timestamp with time zone) OWNER TO masstock_owner;

CREATE FUNCTION app_private.learn_refusal(l app_private.lanes, p_is_probe boolean, p_granted_at timestamp with time zone, p_delay double precision, p_quota_value integer, p_now timestamp with time zone) RETURNS app_private.lanes
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
DECLARE
    accepted double precision;
    pause double precision;
BEGIN
    l.refusal_seconds := greatest(0.9 * l.refusal_seconds,
        least(2, extract(epoch FROM p_now - p_granted_at)));
    l := app_private.count_start(l, p_granted_at, -1);
    accepted := app_private.accepted_calls(l, p_now);
    IF p_granted_at <= l.learned_at AND NOT p_is_probe THEN
        RETURN l;
    ELSIF p_delay > 300 THEN
        l.learned_at := p_now;
        l.closed_since := CASE WHEN l.closed_by IS NULL THEN p_now ELSE l.closed_since END;
        l.closed_by := 'provider_limit';
        l.closed_until := p_now + interval '300 seconds';
        -- The first word since the last success counts: a provider that names the same delay at each
        -- refusal would hold the prompts for ever.
        l.told_until := coalesce(l.told_until, p_now + make_interval(secs => least(p_delay, 259200)));
        l.probe_at := NULL;
        RETURN l;
    ELSIF l.learned_per_minute IS NULL AND l.limit_per_minute IS NULL THEN
        -- A short delay can be one call's own, so it is no better evidence than none.
        IF p_quota_value IS NULL AND coalesce(p_delay < l.minute_seconds / 12, true) THEN
            l.doubtful := array_remove(l.doubtful, p_granted_at);
            l.suspicion := l.suspicion + 1;
            IF l.suspicion < 10 THEN
                RETURN l;
            END IF;
        END IF;
        l.suspicion := 0;
        l.doubtful := '{}';
        IF p_quota_value IS NULL AND NOT p_is_probe
           AND accepted < 10 AND p_delay >= l.minute_seconds / 12
           AND coalesce(l.learned_at < p_now - make_interval(secs => 3 * l.minute_seconds)
                        OR app_private.accepted_since(l, l.learned_at) >= 10, true) THEN
            -- Few calls say little about a limit. Only the delay is obeyed, and a probe follows.
            -- There is a limit if the next refusal comes soon.
            l.suspicion := 2;
            l.learned_at := p_now;
            l.closed_by := 'provider_limit';
            l.closed_since := p_now;
            l.closed_until := p_now + make_interval(secs => least(p_delay, 300));
            l.probe_at := NULL;
            RETURN l;
        END IF;
        -- The delay of a token bucket is the time between two calls.
        l.learned_per_minute := coalesce(p_quota_value, greatest(1, accepted,
            CASE WHEN p_delay IS NOT NULL THEN l.minute_seconds / greatest(1, p_delay) END));
        l.refused_per_minute := l.learned_per_minute;
    ELSIF p_quota_value < l.learned_per_minute OR p_quota_value > l.refused_per_minute THEN
        l.learned_per_minute := p_quota_value;
        l.refused_per_minute := p_quota_value;
    ELSE
        l := app_private.lower_pace(l, p_is_probe, p_delay IS NOT NULL, p_now);
    END IF;
    l.learned_at := p_now;
    l.probe_at := NULL;
    IF p_delay IS NOT NULL THEN
        l.closed_by := NULL;
        l.due_at := p_now + make_interval(secs => least(p_delay, 300));
    ELSE
        l.closed_since := CASE WHEN l.closed_by IS NULL THEN p_now ELSE l.closed_since END;
        l.closed_by := 'provider_limit';
        pause := extract(epoch FROM p_now - l.closed_since);
        l.closed_until := p_now + make_interval(secs => least(300, greatest(
            app_private.lane_step(l, p_now),
            least(pause, greatest(l.minute_seconds, pause) / 4))));
    END IF;
    RETURN l;
END $$;

ALTER FUNCTION app_private.learn_refusal(l app_private.lanes, p_is_probe boolean, p_granted_at timestamp with time zone, p_delay double precision, p_quota_value integer, p_now timestamp with time zone) OWNER TO masstock_owner;

CREATE FUNCTION app_private.learn_success(l app_private.lanes, p_is_probe boolean, p_granted_at timestamp with time zone, p_now timestamp with time zone) RETURNS app_private.lanes
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
BEGIN
    l.successes := l.successes + 1;
    l.last_success_at := p_now;
    l.told_until := NULL;
    IF coalesce(p_granted_at >= l.failed_at, true) THEN
        IF l.closed_by = 'outage' THEN
            p_is_probe := true;
        END IF;
        l.failed_prompts := '{}';
        l.failed_at := NULL;
    END IF;
    IF p_is_probe THEN
        l.closed_by := NULL;
        l.probe_at := NULL;
        l.due_at := greatest(l.due_at, p_granted_at);
    END IF;
    IF p_granted_at = ANY (l.doubtful) THEN
        l.doubtful := array_remove(l.doubtful, p_granted_at);
        l.suspicion := greatest(0, l.suspicion - 1);
    ELSIF l.learned_per_minute IS NOT NULL THEN
        l.suspicion := greatest(0, l.suspicion - 2);
    END IF;
    IF coalesce(p_granted_at > l.learned_at, true)
       AND app_private.accepted_calls(l, p_now) >= 0.7 * l.learned_per_minute THEN
        l.learned_per_minute := l.learned_per_minute * CASE
            WHEN coalesce(l.learned_at < p_now - make_interval(secs => 5 * l.minute_seconds), true)
            THEN 1 + least(0.25, greatest(0.005, 0.3 / l.learned_per_minute))
            WHEN l.learned_per_minute < l.refused_per_minute THEN 1 + least(0.03, greatest(0.0005, 0.03 / l.learned_per_minute))
            ELSE 1 END;
    END IF;
    RETURN l;
END $$;

ALTER FUNCTION app_private.learn_success(l app_private.lanes, p_is_probe boolean, p_granted_at timestamp with time zone, p_now timestamp with time zone) OWNER TO masstock_owner;

CREATE FUNCTION app_private.lock_lane(p_lane uuid, p_provider text, p_model text, p_owner uuid, p_minute double precision, p_now timestamp with time zone) RETURNS app_private.lanes
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
DECLARE
    l app_private.lanes;
BEGIN
    LOOP
        SELECT * INTO l FROM app_private.lanes WHERE id = p_lane FOR NO KEY UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO app_private.lanes (id, provider, model, client_id)
        VALUES (p_lane, p_provider, p_model, p_owner) ON CONFLICT DO NOTHING;
    END LOOP;
    RETURN app_private.read_lane(l, p_minute, p_now);
END $$;

ALTER FUNCTION app_private.lock_lane(p_lane uuid, p_provider text, p_model text, p_owner uuid, p_minute double precision, p_now timestamp with time zone) OWNER TO masstock_owner;

CREATE FUNCTION app_private.lower_pace(l app_private.lanes, p_is_probe boolean, p_has_delay boolean, p_now timestamp with time zone) RETURNS app_private.lanes
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
DECLARE
    closed double precision := extract(epoch FROM p_now - l.closed_since);
    enough double precision := least(7 * app_private.lane_step(l, p_now), l.minute_seconds / 4);
BEGIN
    l.refused_per_minute := greatest(l.refused_per_minute, l.learned_per_minute);
    l.suspicion := l.suspicion + 3;
    IF l.suspicion > 30 THEN
        l.suspicion := 0;
        l.learned_per_minute := least(l.learned_per_minute, greatest(
            0.7 * l.learned_per_minute, app_private.accepted_calls(l, p_now)));
        l.refused_per_minute := greatest(l.learned_per_minute, 0.85 * l.refused_per_minute);
    ELSIF p_has_delay AND l.learned_at > p_now - make_interval(secs => l.minute_seconds / 6)
          -- Slower calls than the learned pace were not refused because of it.
          AND app_private.accepted_calls(l, p_now) >= 0.7 * l.learned_per_minute THEN
        l.refused_per_minute := l.learned_per_minute;
        l.learned_per_minute := 0.97 * l.learned_per_minute;
    ELSIF NOT p_is_probe THEN
        l.learned_per_minute := greatest(0.97 * l.learned_per_minute,
            least(l.learned_per_minute, 0.85 * l.refused_per_minute));
    ELSIF closed BETWEEN enough AND l.minute_seconds / 2
          AND l.learned_at < l.closed_since + make_interval(secs => enough) THEN
        l.learned_per_minute := least(l.learned_per_minute, greatest(l.learned_per_minute / 2,
            app_private.accepted_calls(l, p_now) / (1 - closed / l.minute_seconds)));
        l.refused_per_minute := l.learned_per_minute;
    END IF;
    RETURN l;
END $$;

ALTER FUNCTION app_private.lower_pace(l app_private.lanes, p_is_probe boolean, p_has_delay boolean, p_now timestamp with time zone) OWNER TO masstock_owner;

CREATE FUNCTION app_private.mac(p_id integer, p_message text) RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
DECLARE
    k record;
BEGIN
    SELECT ipad, opad INTO STRICT k FROM app_private.keys WHERE id = p_id;
    RETURN encode(sha256(k.opad || sha256(k.ipad || convert_to(p_message, 'UTF8'))), 'hex');
END $$;

ALTER FUNCTION app_private.mac(p_id integer, p_message text) OWNER TO masstock_authz;

CREATE FUNCTION app_private.read_lane(l app_private.lanes, p_minute double precision, p_now timestamp with time zone) RETURNS app_private.lanes
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
DECLARE
    this_start bigint;
BEGIN
    p_minute := CASE WHEN p_minute BETWEEN 1 AND 3600 THEN p_minute ELSE 60 END;
    this_start := floor(extract(epoch FROM p_now) * 60 / p_minute);
    IF l.minute_seconds IS DISTINCT FROM p_minute OR (l.last_start BETWEEN 0 AND this_start) IS NOT TRUE
       OR array_dims(l.starts) IS DISTINCT FROM '[1:60]'
       OR (0 <= ALL (l.starts) AND 1000000 >= ALL (l.starts)) IS NOT TRUE THEN
        l.starts := array_fill(0, ARRAY[60]);
        l.last_start := this_start;
    END IF;
    l.minute_seconds := p_minute;
    l.limit_per_minute := CASE WHEN l.limit_per_minute > 0 THEN l.limit_per_minute END;
    -- NaN is greater than every number.
    l.learned_per_minute := CASE WHEN l.learned_per_minute > 0 AND l.learned_per_minute <= 1000000
                                 THEN greatest(l.learned_per_minute, 0.5) END;
    l.refused_per_minute := CASE WHEN l.refused_per_minute > 0 AND l.refused_per_minute <= 1000000
                                 THEN l.refused_per_minute END;
    l.learned_at := CASE WHEN l.learned_at <= p_now THEN l.learned_at END;
    l.due_at := CASE WHEN l.due_at <= p_now + interval '300 seconds'
                     THEN greatest(l.due_at, p_now - interval '1 hour') ELSE p_now END;
    l.suspicion := CASE WHEN l.suspicion BETWEEN 0 AND 30 THEN l.suspicion ELSE 0 END;
    l.doubtful := CASE WHEN l.suspicion > 0 AND cardinality(l.doubtful) BETWEEN 1 AND 100
                       THEN l.doubtful ELSE '{}' END;
    l.refusal_seconds := CASE WHEN l.refusal_seconds BETWEEN 0.01 AND 2 THEN l.refusal_seconds
                              ELSE 0.1 END;
    l.closed_by := CASE WHEN l.closed_by IN ('provider_limit', 'outage') THEN l.closed_by END;
    l.closed_since := CASE WHEN l.closed_since <= p_now
                           THEN greatest(l.closed_since, p_now - interval '1 day') ELSE p_now END;
    l.closed_until := CASE WHEN l.closed_until <= p_now + interval '300 seconds'
                           THEN greatest(l.closed_until, p_now - interval '1 day') ELSE p_now END;
    l.told_until := CASE WHEN l.told_until <= p_now + interval '3 days' THEN l.told_until END;
    l.probe_at := CASE WHEN l.probe_at BETWEEN p_now - interval '1 day' AND p_now THEN l.probe_at END;
    l.failed_prompts := CASE WHEN cardinality(l.failed_prompts) <= 3 THEN l.failed_prompts
                             ELSE '{}' END;
    l.failed_at := CASE WHEN l.failed_at <= p_now THEN l.failed_at END;
    l.successes := CASE WHEN l.successes BETWEEN 0 AND 1000000000000000 THEN l.successes ELSE 0 END;
    l.last_success_at := CASE WHEN l.last_success_at <= p_now THEN l.last_success_at END;
    RETURN l;
END $$;

ALTER FUNCTION app_private.read_lane(l app_private.lanes, p_minute double precision, p_now timestamp with time zone) OWNER TO masstock_owner;

CREATE FUNCTION app_private.release_for_execution() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    PERFORM app_private.release_spend(OLD.id);
    RETURN NULL;
END $$;

ALTER FUNCTION app_private.release_for_execution() OWNER TO masstock_owner;

CREATE FUNCTION app_private.release_spend(p_execution_id uuid) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    INSERT INTO public.spend_ledger (client_id, execution_id, month, reserved_microusd)
    SELECT l.client_id, l.execution_id, l.month, -sum(l.reserved_microusd)
    FROM public.spend_ledger l WHERE l.execution_id = p_execution_id
    GROUP BY l.client_id, l.execution_id, l.month HAVING sum(l.reserved_microusd) <> 0
$$;

ALTER FUNCTION app_private.release_spend(p_execution_id uuid) OWNER TO masstock_owner;

CREATE FUNCTION app_private.reserve_for_execution() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    PERFORM app_private.reserve_spend(NEW.client_id, NEW.id, NEW.spend_month,
                                      coalesce(NEW.reserve_microusd, NEW.estimate_microusd));
    RETURN NULL;
END $$;

ALTER FUNCTION app_private.reserve_for_execution() OWNER TO masstock_owner;

CREATE FUNCTION app_private.reserve_spend(p_client_id uuid, p_execution_id uuid, p_month date, p_microusd bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
DECLARE
    budget bigint;
    used bigint;
BEGIN
    SELECT c.monthly_budget_microusd INTO budget FROM public.clients c WHERE c.id = p_client_id;
    IF budget IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('spend|' || p_client_id, 0));
        SELECT coalesce(sum(l.charged_microusd + l.reserved_microusd), 0) INTO used
        FROM public.spend_ledger l WHERE l.client_id = p_client_id AND l.month = p_month;
        IF p_microusd IS NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'MS402', MESSAGE = 'The client has a monthly budget, and '
                'the price of the workflow''s model is not known; set config.microusd_per_image.';
        ELSIF used + p_microusd > budget THEN
            RAISE EXCEPTION USING ERRCODE = 'MS402', MESSAGE = format(
                'The estimate of %s USD does not fit into what is left of the monthly budget: '
                '%s of %s USD.', round(p_microusd / 1e6, 4),
                round(greatest(budget - used, 0) / 1e6, 4), round(budget / 1e6, 4));
        END IF;
    END IF;
    IF p_microusd > 0 THEN
        INSERT INTO public.spend_ledger (client_id, execution_id, month, reserved_microusd)
        VALUES (p_client_id, p_execution_id, p_month, p_microusd);
    END IF;
END $$;

ALTER FUNCTION app_private.reserve_spend(p_client_id uuid, p_execution_id uuid, p_month date, p_microusd bigint) OWNER TO masstock_owner;

CREATE FUNCTION app_private.seal(p_sub text) RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
    SET search_path TO ''
    AS $$
BEGIN
    RETURN app_private.mac(2, p_sub || '|' || pg_backend_pid() || '|' || extract(epoch FROM now()));
END $$;

ALTER FUNCTION app_private.seal(p_sub text) OWNER TO masstock_authz;

CREATE FUNCTION app_private.set_key(p_id integer, p_key bytea) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
DECLARE
    i bytea := decode(repeat('36', 64), 'hex');
    o bytea := decode(repeat('5c', 64), 'hex');
BEGIN
    IF length(p_key) NOT BETWEEN 32 AND 64 THEN
        RAISE EXCEPTION 'the key must be 32 to 64 bytes';
    END IF;
    FOR n IN 0 .. length(p_key) - 1 LOOP
        i := set_byte(i, n, get_byte(i, n) # get_byte(p_key, n));
        o := set_byte(o, n, get_byte(o, n) # get_byte(p_key, n));
    END LOOP;
    INSERT INTO app_private.keys VALUES (p_id, i, o)
    ON CONFLICT (id) DO UPDATE SET ipad = excluded.ipad, opad = excluded.opad;
END $$;

ALTER FUNCTION app_private.set_key(p_id integer, p_key bytea) OWNER TO masstock_authz;

CREATE FUNCTION app_private.start_on_open_lane(p_lane uuid, p_minute double precision, p_now timestamp with time zone) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
DECLARE
    this_start bigint := floor(extract(epoch FROM p_now) * 60 / CASE
        WHEN p_minute BETWEEN 1 AND 3600 THEN p_minute ELSE 60 END);
    place integer := this_start % 60 + 1;
BEGIN
    UPDATE app_private.lanes l SET starts[place] = l.starts[place] + 1
    WHERE id = p_lane AND limit_per_minute IS NULL AND learned_per_minute IS NULL
      AND closed_by IS NULL AND suspicion = 0 AND minute_seconds = p_minute
      AND last_success_at BETWEEN p_now - make_interval(secs => p_minute) AND p_now
      AND last_start = this_start AND starts[place] BETWEEN 0 AND 999999;
    RETURN FOUND;
END $$;

ALTER FUNCTION app_private.start_on_open_lane(p_lane uuid, p_minute double precision, p_now timestamp with time zone) OWNER TO masstock_owner;

CREATE FUNCTION app_private.succeed_on_open_lane(p_lane uuid, p_now timestamp with time zone) RETURNS bigint
    LANGUAGE sql
    SET search_path TO ''
    AS $$
    UPDATE app_private.lanes l SET successes = l.successes + 1, last_success_at = p_now
    WHERE id = p_lane AND limit_per_minute IS NULL AND learned_per_minute IS NULL
      AND closed_by IS NULL AND suspicion = 0 AND failed_prompts = '{}'
      AND successes BETWEEN 0 AND 1000000000000000
    RETURNING l.successes
$$;

ALTER FUNCTION app_private.succeed_on_open_lane(p_lane uuid, p_now timestamp with time zone) OWNER TO masstock_owner;

CREATE FUNCTION app_private.take_turn(l app_private.lanes, p_step double precision, p_closed_until timestamp with time zone, p_owner uuid, p_client uuid, p_execution uuid, p_prompt integer, p_now timestamp with time zone, OUT granted boolean, OUT return_at timestamp with time zone, OUT waits_since timestamp with time zone, OUT slot timestamp with time zone) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
DECLARE
    step interval := make_interval(secs => p_step);
    mine record;
    own app_private.lane_turns;
    waiting integer[];
    places timestamptz[];
BEGIN
    SELECT * INTO mine
    FROM app_private.compare_turns(l.id, p_owner, p_client, p_execution, p_now);
    SELECT * INTO own FROM app_private.lane_turns t
    WHERE t.lane_id = l.id AND t.execution_id = p_execution;
    waits_since := CASE
        WHEN greatest(own.asked_at, own.waits_until)
             BETWEEN p_now - interval '10 minutes' AND p_now + interval '1 hour'
             AND own.waits_since <= p_now THEN own.waits_since ELSE p_now END;
    SELECT coalesce(array_agg(w.prompt), '{}'), coalesce(array_agg(w.at), '{}') INTO waiting, places
    FROM unnest(own.prompts, own.return_at) AS w (prompt, at)
    WHERE w.prompt <> p_prompt
      AND w.at BETWEEN p_now - interval '5 seconds' AND p_now + interval '1 hour';
    slot := greatest(l.due_at, p_now - 2 * step);
    granted := p_closed_until IS NULL AND slot <= p_now
        AND (mine.is_its_turn OR slot + step <= p_now);
    IF granted THEN
        mine.turns := mine.turns + 1;
        mine.client_turns := mine.client_turns + 1;
        UPDATE app_private.lane_turns t SET client_turns = mine.client_turns
        WHERE t.lane_id = l.id AND t.client_id = p_client AND t.execution_id <> p_execution
          AND p_owner IS NULL;
    ELSE
        return_at := greatest(p_closed_until, slot, p_now + interval '20 milliseconds');
        IF p_closed_until IS NULL AND NOT mine.is_its_turn THEN
            return_at := greatest(return_at, slot + step);
        END IF;
        return_at := app_private.first_gap(places, return_at, p_step * mine.shares / 2);
        waiting := waiting || p_prompt;
        places := places || least(return_at, p_now + interval '1 hour');
    END IF;
    INSERT INTO app_private.lane_turns AS t
    VALUES (l.id, p_execution, p_client, mine.turns, mine.client_turns, waiting, places, p_now,
            (SELECT max(at) FROM unnest(places) AS at), waits_since)
    ON CONFLICT (lane_id, execution_id) DO UPDATE
    SET client_id = excluded.client_id, turns = excluded.turns,
        client_turns = excluded.client_turns, prompts = excluded.prompts,
        return_at = excluded.return_at, asked_at = excluded.asked_at,
        waits_until = excluded.waits_until, waits_since = excluded.waits_since;
    IF own.lane_id IS NULL THEN
        DELETE FROM app_private.lane_turns t
        WHERE t.lane_id = l.id AND t.asked_at < p_now - interval '2 hours'
          AND coalesce(t.waits_until < p_now - interval '10 minutes', true);
    END IF;
END $$;

ALTER FUNCTION app_private.take_turn(l app_private.lanes, p_step double precision, p_closed_until timestamp with time zone, p_owner uuid, p_client uuid, p_execution uuid, p_prompt integer, p_now timestamp with time zone, OUT granted boolean, OUT return_at timestamp with time zone, OUT waits_since timestamp with time zone, OUT slot timestamp with time zone) OWNER TO masstock_owner;

CREATE FUNCTION public.bound_deadline() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    NEW.deadline_at := least(coalesce(NEW.deadline_at, now() + interval '6 hours'),
                             now() + interval '72 hours');
    RETURN NEW;
END $$;

ALTER FUNCTION public.bound_deadline() OWNER TO masstock_owner;

CREATE FUNCTION public.copy_execution_client() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    SELECT e.client_id INTO NEW.client_id
    FROM public.workflow_executions e WHERE e.id = NEW.execution_id;
    RETURN NEW;
END $$;

ALTER FUNCTION public.copy_execution_client() OWNER TO masstock_owner;

CREATE FUNCTION public.copy_workflow_settings() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    NEW.settings := (SELECT w.config FROM public.workflows w WHERE w.id = NEW.workflow_id);
    RETURN NEW;
END $$;

ALTER FUNCTION public.copy_workflow_settings() OWNER TO masstock_owner;

CREATE FUNCTION public.count_images() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $_$
DECLARE
    prompts jsonb := NEW.input_data -> 'prompts';
    usual jsonb := NEW.input_data -> 'images_per_prompt';
    total integer;
BEGIN
    IF jsonb_typeof(prompts) IS DISTINCT FROM 'array' THEN
        total := 0;
    ELSIF prompts @? '$[*].images' THEN
        total := (SELECT sum(app.images_of(p.item, usual)) FROM jsonb_array_elements(prompts) AS p (item));
    ELSE
        total := jsonb_array_length(prompts) * app.images_of(NULL, usual);
    END IF;
    NEW.image_count := least(10000, total);
    RETURN NEW;
END $_$;

ALTER FUNCTION public.count_images() OWNER TO masstock_owner;

CREATE FUNCTION public.end_pause() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    NEW.paused_at := NULL;
    IF NEW.status = 'pending' THEN
        NEW.canary_passed_at := now();
    END IF;
    RETURN NEW;
END $$;

ALTER FUNCTION public.end_pause() OWNER TO masstock_owner;

CREATE FUNCTION public.find_reused_images() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

ALTER FUNCTION public.find_reused_images() OWNER TO masstock_owner;

CREATE FUNCTION public.forget_economy_job() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    NEW.economy_job_id := NULL;
    NEW.economy_offset := NULL;
    NEW.economy_length := NULL;
    RETURN NEW;
END $$;

ALTER FUNCTION public.forget_economy_job() OWNER TO masstock_owner;

CREATE FUNCTION public.note_stop() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    NEW.stopped_at := CASE WHEN NEW.error_code IS NOT NULL THEN now() END;
    RETURN NEW;
END $$;

ALTER FUNCTION public.note_stop() OWNER TO masstock_owner;

CREATE FUNCTION public.number_prompt() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    NEW.prompt_index := NEW.batch_index;
    RETURN NEW;
END $$;

ALTER FUNCTION public.number_prompt() OWNER TO masstock_owner;

CREATE FUNCTION public.queue_delivery() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('deliveries|' || NEW.execution_id, 0));
    NEW.type := NEW.payload::json ->> 'type';
    NEW.sequence := (
        SELECT coalesce(max(d.sequence) + 1, 0) FROM public.webhook_deliveries d
        WHERE d.execution_id = NEW.execution_id);
    IF EXISTS (SELECT FROM public.webhook_deliveries d
               WHERE d.execution_id = NEW.execution_id AND d.next_attempt_at IS NOT NULL) THEN
        NEW.next_attempt_at := 'infinity';
    END IF;
    RETURN NEW;
END $$;

ALTER FUNCTION public.queue_delivery() OWNER TO masstock_owner;

CREATE FUNCTION public.refuse_archive_of_expired() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
BEGIN
    -- The lock waits for a sweep that is giving up the images, or lets it wait.
    IF (SELECT e.expired_at IS NOT NULL FROM public.workflow_executions e
        WHERE e.id = NEW.execution_id FOR SHARE) THEN
        RAISE EXCEPTION 'The images of this execution have expired.' USING ERRCODE = 'MS409';
    END IF;
    RETURN NEW;
END $$;

ALTER FUNCTION public.refuse_archive_of_expired() OWNER TO masstock_owner;

CREATE FUNCTION public.refuse_expired() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    RAISE EXCEPTION 'The images of this execution have expired.' USING ERRCODE = 'MS409';
END $$;

ALTER FUNCTION public.refuse_expired() OWNER TO masstock_owner;

CREATE FUNCTION public.reopen_economy() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    NEW.fell_back_at := NULL;
    IF NEW.on_economy_failure = 'standard' THEN
        NEW.reserve_microusd := NEW.estimate_microusd;
        NEW.estimate_microusd := (NEW.estimate_microusd + 1) / 2;
    END IF;
    RETURN NEW;
END $$;

ALTER FUNCTION public.reopen_economy() OWNER TO masstock_owner;

CREATE FUNCTION public.touch_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;

ALTER FUNCTION public.touch_updated_at() OWNER TO masstock_owner;

CREATE TABLE app_private.execution_counts (
    client_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    status text NOT NULL,
    executions bigint NOT NULL,
    durations bigint NOT NULL,
    duration_seconds bigint NOT NULL
);

ALTER TABLE app_private.execution_counts OWNER TO masstock_owner;

COMMENT ON TABLE app_private.execution_counts IS 'What the trigger has appended since the last fold.';

CREATE TABLE app_private.executions_by_client (
    client_id uuid NOT NULL,
    status text NOT NULL,
    executions bigint NOT NULL
)
WITH (fillfactor='70');

ALTER TABLE app_private.executions_by_client OWNER TO masstock_owner;

CREATE TABLE app_private.executions_by_workflow (
    workflow_id uuid NOT NULL,
    status text NOT NULL,
    executions bigint NOT NULL,
    durations bigint NOT NULL,
    duration_seconds bigint NOT NULL
)
WITH (fillfactor='70');

ALTER TABLE app_private.executions_by_workflow OWNER TO masstock_owner;

CREATE VIEW app.execution_counts WITH (security_barrier='true') AS
 SELECT execution_counts.client_id,
    execution_counts.workflow_id,
    execution_counts.status,
    execution_counts.executions,
    execution_counts.durations,
    execution_counts.duration_seconds
   FROM app_private.execution_counts
  WHERE ( SELECT app.is_admin() AS is_admin)
UNION ALL
 SELECT executions_by_client.client_id,
    NULL::uuid AS workflow_id,
    executions_by_client.status,
    executions_by_client.executions,
    (0)::bigint AS durations,
    (0)::bigint AS duration_seconds
   FROM app_private.executions_by_client
  WHERE ( SELECT app.is_admin() AS is_admin)
UNION ALL
 SELECT NULL::uuid AS client_id,
    executions_by_workflow.workflow_id,
    executions_by_workflow.status,
    executions_by_workflow.executions,
    executions_by_workflow.durations,
    executions_by_workflow.duration_seconds
   FROM app_private.executions_by_workflow
  WHERE ( SELECT app.is_admin() AS is_admin);

ALTER VIEW app.execution_counts OWNER TO masstock_owner;

CREATE TABLE public.users (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    email text NOT NULL,
    name text NOT NULL,
    role text NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    client_id uuid,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    last_login timestamp with time zone,
    invited_until timestamp with time zone,
    CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['admin'::text, 'client'::text]))),
    CONSTRAINT users_status_check CHECK ((status = ANY (ARRAY['active'::text, 'suspended'::text, 'deleted'::text])))
);
ALTER TABLE ONLY public.users ALTER COLUMN email SET STATISTICS 0;
ALTER TABLE ONLY public.users ALTER COLUMN name SET STATISTICS 0;

ALTER TABLE ONLY public.users FORCE ROW LEVEL SECURITY;

ALTER TABLE public.users OWNER TO masstock_owner;

COMMENT ON COLUMN public.users.invited_until IS 'Until when the invitation can be claimed. NULL for other users, and after the claim.';

CREATE VIEW app.people WITH (security_barrier='true') AS
 SELECT id,
    name
   FROM public.users u
  WHERE ((client_id = ( SELECT app.client_id() AS client_id)) OR ( SELECT app.is_admin() AS is_admin));

ALTER VIEW app.people OWNER TO masstock_authz;

CREATE TABLE public.workflows (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    name text NOT NULL,
    description text,
    status text DEFAULT 'active'::text NOT NULL,
    config jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    CONSTRAINT workflows_status_check CHECK ((status = ANY (ARRAY['active'::text, 'inactive'::text])))
);

ALTER TABLE ONLY public.workflows FORCE ROW LEVEL SECURITY;

ALTER TABLE public.workflows OWNER TO masstock_owner;

CREATE VIEW app.workflow_names WITH (security_barrier='true') AS
 SELECT id,
    name
   FROM public.workflows w
  WHERE ( SELECT app.is_active() AS is_active);

ALTER VIEW app.workflow_names OWNER TO masstock_authz;

CREATE TABLE app_private.deleted_executions (
    execution_id uuid NOT NULL,
    deleted_at timestamp with time zone DEFAULT now() NOT NULL,
    looked_at timestamp with time zone,
    client_id uuid
);

ALTER TABLE app_private.deleted_executions OWNER TO masstock_authz;

CREATE TABLE app_private.keys (
    id smallint NOT NULL,
    ipad bytea NOT NULL,
    opad bytea NOT NULL,
    CONSTRAINT keys_id_check CHECK ((id = ANY (ARRAY[1, 2, 3])))
);

ALTER TABLE app_private.keys OWNER TO masstock_authz;

CREATE TABLE app_private.lane_turns (
    lane_id uuid NOT NULL,
    execution_id uuid NOT NULL,
    client_id uuid,
    turns double precision,
    client_turns double precision,
    prompts integer[],
    return_at timestamp with time zone[],
    asked_at timestamp with time zone,
    waits_until timestamp with time zone,
    waits_since timestamp with time zone
)
WITH (fillfactor='50', autovacuum_vacuum_threshold='500', autovacuum_vacuum_scale_factor='0');

ALTER TABLE app_private.lane_turns OWNER TO masstock_owner;

COMMENT ON TABLE app_private.lane_turns IS 'Whose turn it is on a paced lane.';

COMMENT ON COLUMN app_private.lane_turns.turns IS 'Calls granted to the execution, and to its client. Newcomers begin with the others'' number.';

COMMENT ON COLUMN app_private.lane_turns.return_at IS 'When each of the waiting prompts was told to ask again.';

COMMENT ON COLUMN app_private.lane_turns.waits_until IS 'The last of these times. A cancelled execution no longer counts soon after it.';

COMMENT ON COLUMN app_private.lane_turns.waits_since IS 'When the execution began to wait.';

CREATE TABLE app_private.prompt_words (
    client_id uuid NOT NULL,
    word text NOT NULL COLLATE pg_catalog."C",
    created_at timestamp with time zone NOT NULL,
    execution_id uuid NOT NULL,
    batch_indices integer[] NOT NULL
);
ALTER TABLE ONLY app_private.prompt_words ALTER COLUMN client_id SET STATISTICS 0;
ALTER TABLE ONLY app_private.prompt_words ALTER COLUMN word SET STATISTICS 0;
ALTER TABLE ONLY app_private.prompt_words ALTER COLUMN execution_id SET STATISTICS 0;
ALTER TABLE ONLY app_private.prompt_words ALTER COLUMN batch_indices SET STATISTICS 0;

ALTER TABLE app_private.prompt_words OWNER TO masstock_owner;

COMMENT ON TABLE app_private.prompt_words IS 'The results whose prompts contain a word. A row is one word of the results of an execution that were inserted at the same time.';

COMMENT ON COLUMN app_private.prompt_words.batch_indices IS 'In no order. An index can be there twice.';

CREATE TABLE app_private.sweep_places (
    kind text NOT NULL,
    at timestamp with time zone NOT NULL,
    id uuid NOT NULL
);

ALTER TABLE app_private.sweep_places OWNER TO masstock_owner;

COMMENT ON TABLE app_private.sweep_places IS 'The execution of each kind that the sweep listed last, in the order of that kind.';

CREATE TABLE app_private.unindexed_executions (
    execution_id uuid NOT NULL,
    noted_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE app_private.unindexed_executions OWNER TO masstock_owner;

COMMENT ON TABLE app_private.unindexed_executions IS 'Executions whose words the sweep writes to prompt_words.';

CREATE TABLE app_private.webhook_overlaps (
    client_id uuid NOT NULL,
    version integer NOT NULL,
    until timestamp with time zone NOT NULL
);

ALTER TABLE app_private.webhook_overlaps OWNER TO masstock_owner;

COMMENT ON TABLE app_private.webhook_overlaps IS 'Replaced webhook secrets that still sign deliveries.';

CREATE TABLE public.archive_parts (
    archive_id uuid NOT NULL,
    part integer NOT NULL,
    client_id uuid NOT NULL,
    batch_indices integer[] NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    due_at timestamp with time zone DEFAULT (now() + '00:00:30'::interval) NOT NULL,
    storage_path text,
    size_bytes bigint,
    completed_at timestamp with time zone,
    failed_at timestamp with time zone
);

ALTER TABLE ONLY public.archive_parts FORCE ROW LEVEL SECURITY;

ALTER TABLE public.archive_parts OWNER TO masstock_owner;

COMMENT ON TABLE public.archive_parts IS 'The ZIP files of the archives.';

COMMENT ON COLUMN public.archive_parts.attempts IS 'Claims so far. The number is the fence of the builder''s writes, and part of the object''s key.';

COMMENT ON COLUMN public.archive_parts.due_at IS 'When the sweep starts a builder: after the first invocation should have begun, or after the lease of the latest claim.';

CREATE TABLE public.archives (
    execution_id uuid NOT NULL,
    id uuid NOT NULL,
    client_id uuid NOT NULL,
    images integer NOT NULL,
    content_digest text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone DEFAULT (now() + '7 days'::interval) NOT NULL
);

ALTER TABLE ONLY public.archives FORCE ROW LEVEL SECURITY;

ALTER TABLE public.archives OWNER TO masstock_owner;

COMMENT ON TABLE public.archives IS 'The latest archive of each execution.';

COMMENT ON COLUMN public.archives.content_digest IS 'Hash of the images, so that the same images are not packed again.';

CREATE TABLE public.clients (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    name text NOT NULL,
    email text NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    monthly_budget_microusd bigint,
    webhook_url text,
    webhook_secret_version integer DEFAULT 1 NOT NULL,
    retention_days integer,
    CONSTRAINT clients_monthly_budget_microusd_check CHECK ((monthly_budget_microusd >= 0)),
    CONSTRAINT clients_retention_days_check CHECK (((retention_days >= 1) AND (retention_days <= 3650))),
    CONSTRAINT clients_status_check CHECK ((status = ANY (ARRAY['active'::text, 'suspended'::text, 'deleted'::text]))),
    CONSTRAINT clients_webhook_secret_version_check CHECK ((webhook_secret_version >= 1))
);
ALTER TABLE ONLY public.clients ALTER COLUMN name SET STATISTICS 0;
ALTER TABLE ONLY public.clients ALTER COLUMN email SET STATISTICS 0;

ALTER TABLE ONLY public.clients FORCE ROW LEVEL SECURITY;

ALTER TABLE public.clients OWNER TO masstock_owner;

COMMENT ON COLUMN public.clients.retention_days IS 'Days from the end of an execution until its images are removed. NULL: they are kept.';

CREATE TABLE public.economy_jobs (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    execution_id uuid NOT NULL,
    client_id uuid NOT NULL,
    number integer NOT NULL,
    model text NOT NULL,
    lane_id uuid NOT NULL,
    prompts integer NOT NULL,
    state text DEFAULT 'planned'::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    claimed_until timestamp with time zone,
    next_look_at timestamp with time zone DEFAULT now() NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    refused_until timestamp with time zone,
    reference_files jsonb DEFAULT '{}'::jsonb NOT NULL,
    references_at timestamp with time zone,
    input_file text,
    create_sent_at timestamp with time zone,
    job_name text,
    submitted_at timestamp with time zone,
    provider_state text,
    painted integer DEFAULT 0 NOT NULL,
    cancelled_at timestamp with time zone,
    ended_at timestamp with time zone,
    output_file text,
    copy_key text,
    collect_at timestamp with time zone,
    error_code text,
    error_message text,
    provider_message text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT economy_jobs_state_check CHECK ((state = ANY (ARRAY['planned'::text, 'running'::text, 'ended'::text, 'copied'::text, 'done'::text])))
);

ALTER TABLE ONLY public.economy_jobs FORCE ROW LEVEL SECURITY;

ALTER TABLE public.economy_jobs OWNER TO masstock_owner;

COMMENT ON TABLE public.economy_jobs IS 'Jobs of the provider''s batch interface. Each paints one chunk of an execution''s prompts.';

COMMENT ON COLUMN public.economy_jobs.state IS 'planned: no job is known at the provider. running: the provider has it. ended: it works no more. copied: its result is in the bucket of uploads. done: nothing is left to do.';

COMMENT ON COLUMN public.economy_jobs.attempts IS 'The fence of every write of a claim.';

COMMENT ON COLUMN public.economy_jobs.tries IS 'Calls in a row that failed or were refused.';

COMMENT ON COLUMN public.economy_jobs.refused_until IS 'A limit refused the job''s creation. Later jobs of the lane wait behind it.';

COMMENT ON COLUMN public.economy_jobs.reference_files IS 'The provider''s files of the reference images: {"key etag": {name, uri, mime_type}}.';

COMMENT ON COLUMN public.economy_jobs.create_sent_at IS 'When the creation was sent last. Written before it is sent.';

COMMENT ON COLUMN public.economy_jobs.painted IS 'Lines that the provider reports as painted.';

CREATE TABLE public.idempotency_keys (
    client_id uuid,
    user_id uuid NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    request_hmac text NOT NULL,
    response_ref uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone DEFAULT (now() + '24:00:00'::interval) NOT NULL
);

ALTER TABLE ONLY public.idempotency_keys FORCE ROW LEVEL SECURITY;

ALTER TABLE public.idempotency_keys OWNER TO masstock_owner;

CREATE TABLE public.spend_ledger (
    id bigint NOT NULL,
    client_id uuid NOT NULL,
    execution_id uuid NOT NULL,
    batch_index integer,
    attempt integer,
    month date NOT NULL,
    charged_microusd bigint DEFAULT 0 NOT NULL,
    reserved_microusd bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    workflow_id uuid,
    model text,
    tier text DEFAULT 'standard'::text NOT NULL,
    images smallint,
    CONSTRAINT spend_ledger_charged_microusd_check CHECK (((charged_microusd >= 0) AND (charged_microusd <= '1000000000000'::bigint))),
    CONSTRAINT spend_ledger_reserved_microusd_check CHECK (((reserved_microusd >= '-100000000000000000'::bigint) AND (reserved_microusd <= '100000000000000000'::bigint))),
    CONSTRAINT spend_ledger_tier_check CHECK ((tier = ANY (ARRAY['standard'::text, 'economy'::text])))
);

ALTER TABLE ONLY public.spend_ledger FORCE ROW LEVEL SECURITY;

ALTER TABLE public.spend_ledger OWNER TO masstock_owner;

COMMENT ON COLUMN public.spend_ledger.workflow_id IS 'Workflow of a charge; NULL for reservations, for releases and for rows of earlier releases.';

COMMENT ON COLUMN public.spend_ledger.model IS 'Image model of a charge; NULL as for `workflow_id`.';

COMMENT ON COLUMN public.spend_ledger.images IS 'Images that the charge paid for and that were stored. NULL for rows of earlier releases, whose charges count as one image, and for reservations and releases.';

ALTER TABLE public.spend_ledger ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.spend_ledger_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.support_tickets (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    client_id uuid NOT NULL,
    user_id uuid NOT NULL,
    subject text NOT NULL,
    description text NOT NULL,
    status text DEFAULT 'open'::text NOT NULL,
    priority text DEFAULT 'medium'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    CONSTRAINT support_tickets_priority_check CHECK ((priority = ANY (ARRAY['low'::text, 'medium'::text, 'high'::text, 'urgent'::text]))),
    CONSTRAINT support_tickets_status_check CHECK ((status = ANY (ARRAY['open'::text, 'in_progress'::text, 'resolved'::text, 'closed'::text])))
);
ALTER TABLE ONLY public.support_tickets ALTER COLUMN subject SET STATISTICS 0;
ALTER TABLE ONLY public.support_tickets ALTER COLUMN description SET STATISTICS 0;

ALTER TABLE ONLY public.support_tickets FORCE ROW LEVEL SECURITY;

ALTER TABLE public.support_tickets OWNER TO masstock_owner;

CREATE TABLE public.webhook_deliveries (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    execution_id uuid NOT NULL,
    client_id uuid NOT NULL,
    run integer,
    url text NOT NULL,
    secret_version integer NOT NULL,
    payload text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_attempt_at timestamp with time zone DEFAULT now(),
    delivered_at timestamp with time zone,
    response_status integer,
    error_message text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    type text,
    sequence integer
);
ALTER TABLE ONLY public.webhook_deliveries ALTER COLUMN url SET STATISTICS 0;

ALTER TABLE ONLY public.webhook_deliveries FORCE ROW LEVEL SECURITY;

ALTER TABLE public.webhook_deliveries OWNER TO masstock_owner;

COMMENT ON COLUMN public.webhook_deliveries.run IS 'The run whose end is told, once; NULL for other events.';

COMMENT ON COLUMN public.webhook_deliveries.secret_version IS 'As workflow_executions.webhook_secret_version.';

COMMENT ON COLUMN public.webhook_deliveries.payload IS 'The body as it is signed and sent: every attempt sends the same bytes.';

COMMENT ON COLUMN public.webhook_deliveries.next_attempt_at IS 'NULL if no attempt follows. Infinity while an earlier delivery of the execution is not finished.';

COMMENT ON COLUMN public.webhook_deliveries.type IS 'The event; NULL for rows of earlier releases.';

COMMENT ON COLUMN public.webhook_deliveries.sequence IS 'Place in the execution''s queue, from 0; NULL for rows of earlier releases, which come first.';

CREATE TABLE public.workflow_executions (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    workflow_id uuid NOT NULL,
    client_id uuid NOT NULL,
    user_id uuid NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    input_data jsonb NOT NULL,
    output_data jsonb,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    duration_seconds integer,
    error_message text,
    created_at timestamp with time zone DEFAULT now(),
    error_code text,
    run integer DEFAULT 0 NOT NULL,
    deadline_at timestamp with time zone DEFAULT (now() + '06:00:00'::interval),
    prompt_count integer GENERATED ALWAYS AS (
CASE jsonb_typeof((input_data -> 'prompts'::text))
    WHEN 'array'::text THEN jsonb_array_length((input_data -> 'prompts'::text))
    ELSE 0
END) STORED,
    input_bytes integer GENERATED ALWAYS AS (octet_length((input_data)::text)) STORED,
    input_settings jsonb GENERATED ALWAYS AS ((input_data - 'prompts'::text)) STORED,
    estimate_microusd bigint,
    cost_microusd bigint,
    spend_month date DEFAULT (date_trunc('month'::text, (now() AT TIME ZONE 'UTC'::text)))::date NOT NULL,
    webhook_url text,
    webhook_secret_version integer DEFAULT 1 NOT NULL,
    working_since timestamp with time zone,
    earlier_seconds integer DEFAULT 0 NOT NULL,
    settings jsonb,
    lane_key uuid,
    deadline_is_fixed boolean DEFAULT false NOT NULL,
    stopped_at timestamp with time zone,
    model_missed_at timestamp with time zone,
    name text,
    prices jsonb,
    image_count integer DEFAULT 0 NOT NULL,
    webhook_events text[] DEFAULT '{execution.completed,execution.failed}'::text[] NOT NULL,
    tier text DEFAULT 'standard'::text NOT NULL,
    on_economy_failure text,
    reserve_microusd bigint,
    fell_back_at timestamp with time zone,
    paused_at timestamp with time zone,
    canary_passed_at timestamp with time zone,
    expired_at timestamp with time zone,
    reused_images jsonb,
    CONSTRAINT workflow_executions_estimate_microusd_check CHECK ((estimate_microusd >= 0)),
    CONSTRAINT workflow_executions_on_economy_failure_check CHECK ((on_economy_failure = ANY (ARRAY['standard'::text, 'fail'::text]))),
    CONSTRAINT workflow_executions_reserve_microusd_check CHECK ((reserve_microusd >= 0)),
    CONSTRAINT workflow_executions_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'processing'::text, 'completed'::text, 'failed'::text]))),
    CONSTRAINT workflow_executions_tier_check CHECK ((tier = ANY (ARRAY['standard'::text, 'economy'::text])))
)
WITH (fillfactor='85', autovacuum_vacuum_scale_factor='0.02');
ALTER TABLE ONLY public.workflow_executions ALTER COLUMN error_message SET STATISTICS 0;
ALTER TABLE ONLY public.workflow_executions ALTER COLUMN webhook_url SET STATISTICS 0;

ALTER TABLE ONLY public.workflow_executions FORCE ROW LEVEL SECURITY;

ALTER TABLE public.workflow_executions OWNER TO masstock_owner;

COMMENT ON COLUMN public.workflow_executions.error_code IS 'Why the execution was stopped; set while it is processing, it also stops every further claim.';

COMMENT ON COLUMN public.workflow_executions.run IS 'Number of the machine that may work on this execution: 0, 1, … one per machine started.';

COMMENT ON COLUMN public.workflow_executions.input_settings IS 'input_data without its prompts; holds the sealed API key, as input_data does.';

COMMENT ON COLUMN public.workflow_executions.estimate_microusd IS 'Expected price of all prompts, in millionths of a US dollar; NULL where the model''s is unknown.';

COMMENT ON COLUMN public.workflow_executions.spend_month IS 'Month (UTC) whose budget pays: that of the submission, or of the latest retry.';

COMMENT ON COLUMN public.workflow_executions.webhook_secret_version IS 'For functions of the previous release. Deliveries are signed with app.webhook_versions.';

COMMENT ON COLUMN public.workflow_executions.working_since IS 'When the work since the submission or the latest retry began. A resumed run does not change it.';

COMMENT ON COLUMN public.workflow_executions.earlier_seconds IS 'Working time before the latest retry.';

COMMENT ON COLUMN public.workflow_executions.settings IS 'config of the workflow at submission. After a fallback, `model` is the former `fallback_model`. NULL for rows of earlier releases, which use the workflow''s present config.';

COMMENT ON COLUMN public.workflow_executions.lane_key IS 'Whose quota the execution uses: a keyed hash of its API key, or of its client and the name of its lane. NULL: the platform''s. With the model it makes the id of the lane.';

COMMENT ON COLUMN public.workflow_executions.deadline_is_fixed IS 'True if the caller gave the deadline. Otherwise the sweep extends it while the lane paints.';

COMMENT ON COLUMN public.workflow_executions.stopped_at IS 'When the execution was cancelled or stopped, so that no prompt is claimed any more.';

COMMENT ON COLUMN public.workflow_executions.model_missed_at IS 'When the present image model last answered 404.';

COMMENT ON COLUMN public.workflow_executions.prices IS 'Prices of the model at submission in microusd, as app.image_price reads them. NULL: every image reserves the same part of the estimate.';

COMMENT ON COLUMN public.workflow_executions.image_count IS 'Number of images that were asked.';

COMMENT ON COLUMN public.workflow_executions.on_economy_failure IS 'What happens to prompts that no economy job painted: standard paints them directly.';

COMMENT ON COLUMN public.workflow_executions.reserve_microusd IS 'What the submission reserves, if that is not its estimate: economy with a fall-back reserves the standard price.';

COMMENT ON COLUMN public.workflow_executions.fell_back_at IS 'When the economy jobs had ended and the rest was left to the standard tier.';

COMMENT ON COLUMN public.workflow_executions.paused_at IS 'Since when the execution waits for the caller. NULL: it does not.';

COMMENT ON COLUMN public.workflow_executions.canary_passed_at IS 'When the images after the canary were allowed.';

COMMENT ON COLUMN public.workflow_executions.expired_at IS 'When its images were given up.';

COMMENT ON COLUMN public.workflow_executions.reused_images IS 'The result whose image each batch_index takes, found at submission. NULL: fan-out looks them up.';

CREATE TABLE public.workflow_requests (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    client_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    notes text,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    CONSTRAINT workflow_requests_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'approved'::text, 'rejected'::text])))
);
ALTER TABLE ONLY public.workflow_requests ALTER COLUMN notes SET STATISTICS 0;

ALTER TABLE ONLY public.workflow_requests FORCE ROW LEVEL SECURITY;

ALTER TABLE public.workflow_requests OWNER TO masstock_owner;

ALTER TABLE ONLY app_private.deleted_executions
    ADD CONSTRAINT deleted_executions_pkey PRIMARY KEY (execution_id);

ALTER TABLE ONLY app_private.executions_by_client
    ADD CONSTRAINT executions_by_client_pkey PRIMARY KEY (client_id, status);

ALTER TABLE ONLY app_private.executions_by_workflow
    ADD CONSTRAINT executions_by_workflow_pkey PRIMARY KEY (workflow_id, status);

ALTER TABLE ONLY app_private.keys
    ADD CONSTRAINT keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY app_private.lane_turns
    ADD CONSTRAINT lane_turns_pkey PRIMARY KEY (lane_id, execution_id);

ALTER TABLE ONLY app_private.lanes
    ADD CONSTRAINT lanes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY app_private.prompt_words
    ADD CONSTRAINT prompt_words_pkey PRIMARY KEY (client_id, word, created_at, execution_id);

ALTER TABLE ONLY app_private.sweep_places
    ADD CONSTRAINT sweep_places_pkey PRIMARY KEY (kind);

ALTER TABLE ONLY app_private.unindexed_executions
    ADD CONSTRAINT unindexed_executions_pkey PRIMARY KEY (execution_id);

ALTER TABLE ONLY app_private.webhook_overlaps
    ADD CONSTRAINT webhook_overlaps_pkey PRIMARY KEY (client_id, version);

ALTER TABLE ONLY public.archive_parts
    ADD CONSTRAINT archive_parts_pkey PRIMARY KEY (archive_id, part);

ALTER TABLE ONLY public.archives
    ADD CONSTRAINT archives_id_key UNIQUE (id);

ALTER TABLE ONLY public.archives
    ADD CONSTRAINT archives_pkey PRIMARY KEY (execution_id);

ALTER TABLE ONLY public.clients
    ADD CONSTRAINT clients_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.economy_jobs
    ADD CONSTRAINT economy_jobs_execution_id_number_key UNIQUE (execution_id, number);

ALTER TABLE ONLY public.economy_jobs
    ADD CONSTRAINT economy_jobs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, route, key);

ALTER TABLE ONLY public.spend_ledger
    ADD CONSTRAINT spend_ledger_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.support_tickets
    ADD CONSTRAINT support_tickets_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_email_key UNIQUE (email);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_execution_id_run_key UNIQUE (execution_id, run);

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.workflow_batch_results
    ADD CONSTRAINT workflow_batch_results_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.workflow_executions
    ADD CONSTRAINT workflow_executions_id_client_id_key UNIQUE (id, client_id);

ALTER TABLE ONLY public.workflow_executions
    ADD CONSTRAINT workflow_executions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.workflow_requests
    ADD CONSTRAINT workflow_requests_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.workflows
    ADD CONSTRAINT workflows_pkey PRIMARY KEY (id);

CREATE INDEX idx_deleted_executions_looked_at ON app_private.deleted_executions USING btree (looked_at NULLS FIRST, deleted_at);

CREATE INDEX idx_prompt_words_execution ON app_private.prompt_words USING btree (execution_id);

CREATE INDEX idx_unindexed_executions_noted_at ON app_private.unindexed_executions USING btree (noted_at DESC);

CREATE INDEX idx_archive_parts_due ON public.archive_parts USING btree (due_at) WHERE ((completed_at IS NULL) AND (failed_at IS NULL));

CREATE INDEX idx_clients_email ON public.clients USING btree (email);

CREATE INDEX idx_clients_status ON public.clients USING btree (status);

CREATE INDEX idx_clients_updated_at ON public.clients USING btree (updated_at DESC);

CREATE INDEX idx_economy_jobs_planned ON public.economy_jobs USING btree (lane_id, created_at, number) WHERE (state = 'planned'::text);

CREATE INDEX idx_executions_announcing ON public.workflow_executions USING btree (id) WHERE ((status = 'processing'::text) AND (webhook_url IS NOT NULL) AND (webhook_events && '{result.completed,result.failed}'::text[]));

CREATE INDEX idx_idempotency_keys_client_id ON public.idempotency_keys USING btree (client_id);

CREATE INDEX idx_idempotency_keys_expires_at ON public.idempotency_keys USING btree (expires_at);

CREATE UNIQUE INDEX idx_spend_ledger_attempt ON public.spend_ledger USING btree (execution_id, batch_index, attempt);

CREATE INDEX idx_spend_ledger_client_month ON public.spend_ledger USING btree (client_id, month) INCLUDE (charged_microusd, reserved_microusd);

CREATE INDEX idx_support_tickets_client_created_id ON public.support_tickets USING btree (client_id, created_at DESC, id DESC);

CREATE INDEX idx_support_tickets_client_id ON public.support_tickets USING btree (client_id);

CREATE INDEX idx_support_tickets_priority ON public.support_tickets USING btree (priority);

CREATE INDEX idx_support_tickets_status ON public.support_tickets USING btree (status);

CREATE INDEX idx_support_tickets_updated_at ON public.support_tickets USING btree (updated_at DESC);

CREATE INDEX idx_support_tickets_user_id ON public.support_tickets USING btree (user_id);

CREATE INDEX idx_users_client_id ON public.users USING btree (client_id);

CREATE INDEX idx_users_email ON public.users USING btree (email);

CREATE INDEX idx_users_email_compared ON public.users USING btree (lower(NORMALIZE(email, NFC)));

CREATE INDEX idx_users_role ON public.users USING btree (role);

CREATE INDEX idx_users_status ON public.users USING btree (status);

CREATE INDEX idx_users_updated_at ON public.users USING btree (updated_at DESC);

CREATE INDEX idx_webhook_deliveries_client_created_id ON public.webhook_deliveries USING btree (client_id, created_at DESC, id DESC);

CREATE INDEX idx_webhook_deliveries_client_due ON public.webhook_deliveries USING btree (client_id, next_attempt_at) WHERE (next_attempt_at IS NOT NULL);

CREATE INDEX idx_webhook_deliveries_due ON public.webhook_deliveries USING btree (next_attempt_at) WHERE (next_attempt_at IS NOT NULL);

CREATE INDEX idx_webhook_deliveries_pending ON public.webhook_deliveries USING btree (execution_id, sequence) WHERE (next_attempt_at IS NOT NULL);

CREATE UNIQUE INDEX idx_webhook_deliveries_sequence ON public.webhook_deliveries USING btree (execution_id, sequence);

CREATE INDEX idx_workflow_batch_results_client_created ON public.workflow_batch_results USING btree (client_id, created_at DESC, execution_id DESC, batch_index DESC);

CREATE INDEX idx_workflow_batch_results_client_custom_id ON public.workflow_batch_results USING btree (client_id, custom_id) WHERE (custom_id IS NOT NULL);

CREATE INDEX idx_workflow_batch_results_cover ON public.workflow_batch_results USING btree (execution_id, batch_index) WHERE has_thumbnail;

CREATE UNIQUE INDEX idx_workflow_batch_results_custom_id_image ON public.workflow_batch_results USING btree (execution_id, custom_id, image_index) WHERE (custom_id IS NOT NULL);

CREATE UNIQUE INDEX idx_workflow_batch_results_execution_batch ON public.workflow_batch_results USING btree (execution_id, batch_index);

CREATE INDEX idx_workflow_batch_results_execution_id ON public.workflow_batch_results USING btree (execution_id);

CREATE INDEX idx_workflow_batch_results_reuse ON public.workflow_batch_results USING btree (client_id, reuse_key) WHERE ((status = 'completed'::text) AND (reuse_key IS NOT NULL));

CREATE INDEX idx_workflow_batch_results_status ON public.workflow_batch_results USING btree (status);

CREATE INDEX idx_workflow_executions_client_created_id ON public.workflow_executions USING btree (client_id, created_at DESC, id DESC);

CREATE INDEX idx_workflow_executions_client_id ON public.workflow_executions USING btree (client_id);

CREATE INDEX idx_workflow_executions_created_at ON public.workflow_executions USING btree (created_at DESC);

CREATE INDEX idx_workflow_executions_created_id ON public.workflow_executions USING btree (created_at DESC, id DESC);

CREATE INDEX idx_workflow_executions_deadline ON public.workflow_executions USING btree (deadline_at, id) WHERE (status = ANY (ARRAY['pending'::text, 'processing'::text]));

CREATE INDEX idx_workflow_executions_kept ON public.workflow_executions USING btree (client_id, completed_at) WHERE ((expired_at IS NULL) AND (status = ANY (ARRAY['completed'::text, 'failed'::text])));

CREATE INDEX idx_workflow_executions_live ON public.workflow_executions USING btree (created_at) WHERE (status = ANY (ARRAY['pending'::text, 'processing'::text]));

CREATE INDEX idx_workflow_executions_paused ON public.workflow_executions USING btree (paused_at) WHERE (paused_at IS NOT NULL);

CREATE INDEX idx_workflow_executions_pending ON public.workflow_executions USING btree (created_at, id) WHERE (status = 'pending'::text);

CREATE INDEX idx_workflow_executions_processing ON public.workflow_executions USING btree (created_at, id) WHERE (status = 'processing'::text);

CREATE INDEX idx_workflow_executions_status ON public.workflow_executions USING btree (status);

CREATE INDEX idx_workflow_executions_user_id ON public.workflow_executions USING btree (user_id);

CREATE INDEX idx_workflow_executions_workflow_id ON public.workflow_executions USING btree (workflow_id);

CREATE INDEX idx_workflow_requests_client_created_id ON public.workflow_requests USING btree (client_id, created_at DESC, id DESC);

CREATE INDEX idx_workflow_requests_client_id ON public.workflow_requests USING btree (client_id);

CREATE INDEX idx_workflow_requests_status ON public.workflow_requests USING btree (status);

CREATE INDEX idx_workflow_requests_updated_at ON public.workflow_requests USING btree (updated_at DESC);

CREATE INDEX idx_workflow_requests_workflow_id ON public.workflow_requests USING btree (workflow_id);

CREATE INDEX idx_workflows_status ON public.workflows USING btree (status);

CREATE INDEX idx_workflows_updated_at ON public.workflows USING btree (updated_at DESC);

CREATE TRIGGER bound_deadline BEFORE INSERT ON public.workflow_executions FOR EACH ROW WHEN ((new.status = ANY (ARRAY['pending'::text, 'processing'::text]))) EXECUTE FUNCTION public.bound_deadline();

CREATE TRIGGER copy_execution_client BEFORE INSERT ON public.workflow_batch_results FOR EACH ROW WHEN ((new.client_id IS NULL)) EXECUTE FUNCTION public.copy_execution_client();

CREATE TRIGGER copy_workflow_settings BEFORE INSERT ON public.workflow_executions FOR EACH ROW EXECUTE FUNCTION public.copy_workflow_settings();

CREATE TRIGGER count_changed_executions AFTER UPDATE ON public.workflow_executions FOR EACH ROW WHEN (((((old.client_id IS DISTINCT FROM new.client_id) OR (old.workflow_id IS DISTINCT FROM new.workflow_id)) OR (old.status IS DISTINCT FROM new.status)) OR (old.duration_seconds IS DISTINCT FROM new.duration_seconds))) EXECUTE FUNCTION app_private.count_executions();

CREATE TRIGGER count_images BEFORE INSERT ON public.workflow_executions FOR EACH ROW EXECUTE FUNCTION public.count_images();

CREATE TRIGGER count_new_executions AFTER INSERT OR DELETE ON public.workflow_executions FOR EACH ROW EXECUTE FUNCTION app_private.count_executions();

CREATE TRIGGER end_pause BEFORE UPDATE ON public.workflow_executions FOR EACH ROW WHEN ((((new.paused_at IS NOT NULL) AND (new.error_code IS NOT NULL)) OR ((old.status = ANY (ARRAY['completed'::text, 'failed'::text])) AND (new.status = 'pending'::text)))) EXECUTE FUNCTION public.end_pause();

CREATE TRIGGER find_reused_images BEFORE INSERT ON public.workflow_executions FOR EACH ROW WHEN (((new.status = 'pending'::text) AND (new.tier = 'standard'::text) AND ((new.input_data -> 'reuse'::text) = '"identical"'::jsonb))) EXECUTE FUNCTION public.find_reused_images();

CREATE TRIGGER forget_economy_job BEFORE UPDATE OF status ON public.workflow_batch_results FOR EACH ROW WHEN (((old.status = 'failed'::text) AND (new.status = 'processing'::text))) EXECUTE FUNCTION public.forget_economy_job();

CREATE TRIGGER index_new_prompts AFTER INSERT ON public.workflow_batch_results REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION app.index_new_prompts();

CREATE TRIGGER keep_an_admin BEFORE UPDATE ON public.users FOR EACH ROW WHEN (((old.role = 'admin'::text) AND (old.status = 'active'::text) AND ((new.role <> 'admin'::text) OR (new.status <> 'active'::text)))) EXECUTE FUNCTION app.keep_an_admin();

CREATE TRIGGER keep_changed_emails_apart BEFORE UPDATE OF email ON public.users FOR EACH ROW WHEN ((old.email IS DISTINCT FROM new.email)) EXECUTE FUNCTION app.keep_emails_apart();

CREATE TRIGGER keep_emails_apart BEFORE INSERT ON public.users FOR EACH ROW EXECUTE FUNCTION app.keep_emails_apart();

CREATE TRIGGER note_deleted_execution AFTER DELETE ON public.workflow_executions FOR EACH ROW EXECUTE FUNCTION app.note_deleted_execution();

CREATE TRIGGER note_edited_prompt AFTER UPDATE OF prompt_text ON public.workflow_batch_results FOR EACH ROW WHEN ((old.prompt_text IS DISTINCT FROM new.prompt_text)) EXECUTE FUNCTION app.note_edited_prompt();

CREATE TRIGGER note_stop BEFORE UPDATE OF error_code ON public.workflow_executions FOR EACH ROW WHEN ((old.error_code IS DISTINCT FROM new.error_code)) EXECUTE FUNCTION public.note_stop();

CREATE TRIGGER number_prompt BEFORE INSERT ON public.workflow_batch_results FOR EACH ROW WHEN ((new.prompt_index IS NULL)) EXECUTE FUNCTION public.number_prompt();

CREATE TRIGGER queue_delivery BEFORE INSERT ON public.webhook_deliveries FOR EACH ROW EXECUTE FUNCTION public.queue_delivery();

CREATE TRIGGER refuse_archive_of_expired BEFORE INSERT ON public.archives FOR EACH ROW EXECUTE FUNCTION public.refuse_archive_of_expired();

CREATE TRIGGER refuse_to_reopen_expired BEFORE UPDATE OF status ON public.workflow_executions FOR EACH ROW WHEN (((old.expired_at IS NOT NULL) AND (new.status = ANY (ARRAY['pending'::text, 'processing'::text])))) EXECUTE FUNCTION public.refuse_expired();

CREATE TRIGGER release_for_deleted_execution AFTER DELETE ON public.workflow_executions FOR EACH ROW WHEN ((old.status = ANY (ARRAY['pending'::text, 'processing'::text]))) EXECUTE FUNCTION app_private.release_for_execution();

CREATE TRIGGER release_for_ended_execution AFTER UPDATE OF status ON public.workflow_executions FOR EACH ROW WHEN (((old.status = ANY (ARRAY['pending'::text, 'processing'::text])) AND (new.status = ANY (ARRAY['completed'::text, 'failed'::text])))) EXECUTE FUNCTION app_private.release_for_execution();

CREATE TRIGGER reopen_economy BEFORE UPDATE OF status ON public.workflow_executions FOR EACH ROW WHEN (((new.tier = 'economy'::text) AND (old.status = ANY (ARRAY['completed'::text, 'failed'::text])) AND (new.status = 'pending'::text))) EXECUTE FUNCTION public.reopen_economy();

CREATE TRIGGER reserve_for_execution AFTER INSERT ON public.workflow_executions FOR EACH ROW WHEN ((new.status = ANY (ARRAY['pending'::text, 'processing'::text]))) EXECUTE FUNCTION app_private.reserve_for_execution();

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.clients FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.support_tickets FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER touch_updated_at BEFORE UPDATE OF id, email, name, role, status, client_id ON public.users FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.workflow_requests FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.workflows FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

ALTER TABLE ONLY app_private.unindexed_executions
    ADD CONSTRAINT unindexed_executions_execution_id_fkey FOREIGN KEY (execution_id) REFERENCES public.workflow_executions(id) ON DELETE CASCADE;

ALTER TABLE ONLY app_private.webhook_overlaps
    ADD CONSTRAINT webhook_overlaps_client_id_fkey FOREIGN KEY (client_id) REFERENCES public.clients(id);

ALTER TABLE ONLY public.archive_parts
    ADD CONSTRAINT archive_parts_archive_id_fkey FOREIGN KEY (archive_id) REFERENCES public.archives(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.archives
    ADD CONSTRAINT archives_execution_id_client_id_fkey FOREIGN KEY (execution_id, client_id) REFERENCES public.workflow_executions(id, client_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.economy_jobs
    ADD CONSTRAINT economy_jobs_client_id_fkey FOREIGN KEY (client_id) REFERENCES public.clients(id);

ALTER TABLE ONLY public.economy_jobs
    ADD CONSTRAINT economy_jobs_execution_id_fkey FOREIGN KEY (execution_id) REFERENCES public.workflow_executions(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_client_id_fkey FOREIGN KEY (client_id) REFERENCES public.clients(id);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.spend_ledger
    ADD CONSTRAINT spend_ledger_client_id_fkey FOREIGN KEY (client_id) REFERENCES public.clients(id);

ALTER TABLE ONLY public.support_tickets
    ADD CONSTRAINT support_tickets_client_id_fkey FOREIGN KEY (client_id) REFERENCES public.clients(id);

ALTER TABLE ONLY public.support_tickets
    ADD CONSTRAINT support_tickets_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_client_id_fkey FOREIGN KEY (client_id) REFERENCES public.clients(id);

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_execution_id_client_id_fkey FOREIGN KEY (execution_id, client_id) REFERENCES public.workflow_executions(id, client_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.workflow_batch_results
    ADD CONSTRAINT workflow_batch_results_execution_id_client_id_fkey FOREIGN KEY (execution_id, client_id) REFERENCES public.workflow_executions(id, client_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.workflow_batch_results
    ADD CONSTRAINT workflow_batch_results_execution_id_fkey FOREIGN KEY (execution_id) REFERENCES public.workflow_executions(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.workflow_executions
    ADD CONSTRAINT workflow_executions_client_id_fkey FOREIGN KEY (client_id) REFERENCES public.clients(id);

ALTER TABLE ONLY public.workflow_executions
    ADD CONSTRAINT workflow_executions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);

ALTER TABLE ONLY public.workflow_executions
    ADD CONSTRAINT workflow_executions_workflow_id_fkey FOREIGN KEY (workflow_id) REFERENCES public.workflows(id);

ALTER TABLE ONLY public.workflow_requests
    ADD CONSTRAINT workflow_requests_client_id_fkey FOREIGN KEY (client_id) REFERENCES public.clients(id);

ALTER TABLE ONLY public.workflow_requests
    ADD CONSTRAINT workflow_requests_workflow_id_fkey FOREIGN KEY (workflow_id) REFERENCES public.workflows(id);

CREATE POLICY "Admins can view all archive parts" ON public.archive_parts FOR SELECT TO masstock_admin USING (( SELECT app.is_admin() AS is_admin));

CREATE POLICY "Admins can view all archives" ON public.archives FOR SELECT TO masstock_admin USING (( SELECT app.is_admin() AS is_admin));

CREATE POLICY "Admins can view all deliveries" ON public.webhook_deliveries FOR SELECT TO masstock_admin, authenticated USING (( SELECT app.is_admin() AS is_admin));

CREATE POLICY "Admins can view all spending" ON public.spend_ledger FOR SELECT TO masstock_admin, authenticated USING (( SELECT app.is_admin() AS is_admin));

CREATE POLICY "Admins have full access" ON public.clients TO masstock_admin, authenticated USING (( SELECT app.is_admin() AS is_admin)) WITH CHECK (( SELECT app.is_admin() AS is_admin));

CREATE POLICY "Admins have full access" ON public.support_tickets TO masstock_admin, authenticated USING (( SELECT app.is_admin() AS is_admin)) WITH CHECK (( SELECT app.is_admin() AS is_admin));

CREATE POLICY "Admins have full access" ON public.users TO masstock_admin, authenticated USING (( SELECT app.is_admin() AS is_admin)) WITH CHECK (( SELECT app.is_admin() AS is_admin));

CREATE POLICY "Admins have full access" ON public.workflow_batch_results TO masstock_admin, authenticated USING (( SELECT app.is_admin() AS is_admin)) WITH CHECK (( SELECT app.is_admin() AS is_admin));

CREATE POLICY "Admins have full access" ON public.workflow_executions TO masstock_admin, authenticated USING (( SELECT app.is_admin() AS is_admin)) WITH CHECK (( SELECT app.is_admin() AS is_admin));

CREATE POLICY "Admins have full access" ON public.workflow_requests TO masstock_admin, authenticated USING (( SELECT app.is_admin() AS is_admin)) WITH CHECK (( SELECT app.is_admin() AS is_admin));

CREATE POLICY "Admins have full access" ON public.workflows TO masstock_admin, authenticated USING (( SELECT app.is_admin() AS is_admin)) WITH CHECK (( SELECT app.is_admin() AS is_admin));

CREATE POLICY "Clients can create requests for visible workflows" ON public.workflow_requests FOR INSERT TO masstock_api, authenticated WITH CHECK (((client_id = ( SELECT app.client_id() AS client_id)) AND (status = 'pending'::text) AND (EXISTS ( SELECT
   FROM public.workflows w
  WHERE (w.id = workflow_requests.workflow_id)))));

CREATE POLICY "Clients can delete their ended executions" ON public.workflow_executions FOR DELETE TO masstock_api, authenticated USING (((client_id = ( SELECT app.client_id() AS client_id)) AND (status = ANY (ARRAY['completed'::text, 'failed'::text]))));

CREATE POLICY "Clients can edit their pending requests" ON public.workflow_requests FOR UPDATE TO masstock_api, authenticated USING (((client_id = ( SELECT app.client_id() AS client_id)) AND (status = 'pending'::text))) WITH CHECK (((client_id = ( SELECT app.client_id() AS client_id)) AND (status = 'pending'::text)));

CREATE POLICY "Clients can view their own archive parts" ON public.archive_parts FOR SELECT TO masstock_api USING ((client_id = ( SELECT app.client_id() AS client_id)));

CREATE POLICY "Clients can view their own archives" ON public.archives FOR SELECT TO masstock_api USING ((client_id = ( SELECT app.client_id() AS client_id)));

CREATE POLICY "Clients can view their own data" ON public.clients FOR SELECT TO masstock_api, authenticated USING (((id = ( SELECT app.client_id() AS client_id)) AND COALESCE((id = ( SELECT app.client_id() AS client_id)), false)));

CREATE POLICY "Clients can view their own deliveries" ON public.webhook_deliveries FOR SELECT TO masstock_api, authenticated USING (((client_id = ( SELECT app.client_id() AS client_id)) AND COALESCE((client_id = ( SELECT app.client_id() AS client_id)), false)));

CREATE POLICY "Clients can view their own executions" ON public.workflow_executions FOR SELECT TO masstock_api, authenticated USING (((client_id = ( SELECT app.client_id() AS client_id)) AND COALESCE((client_id = ( SELECT app.client_id() AS client_id)), false)));

CREATE POLICY "Clients can view their own requests" ON public.workflow_requests FOR SELECT TO masstock_api, authenticated USING (((client_id = ( SELECT app.client_id() AS client_id)) AND COALESCE((client_id = ( SELECT app.client_id() AS client_id)), false)));

CREATE POLICY "Clients can view their own results" ON public.workflow_batch_results FOR SELECT TO masstock_api, authenticated USING (COALESCE((client_id = ( SELECT app.client_id() AS client_id)), false));

CREATE POLICY "Clients can view their own spending" ON public.spend_ledger FOR SELECT TO masstock_api, authenticated USING (((client_id = ( SELECT app.client_id() AS client_id)) AND COALESCE((client_id = ( SELECT app.client_id() AS client_id)), false)));

CREATE POLICY "Clients can withdraw their pending requests" ON public.workflow_requests FOR DELETE TO masstock_api, authenticated USING (((client_id = ( SELECT app.client_id() AS client_id)) AND (status = 'pending'::text)));

CREATE POLICY "Everybody signed in can view active workflows" ON public.workflows FOR SELECT TO masstock_api, authenticated USING (((status = 'active'::text) AND ( SELECT app.is_active() AS is_active)));

CREATE POLICY "Identity helpers read clients" ON public.clients FOR SELECT TO masstock_authz USING (true);

CREATE POLICY "Identity helpers read users" ON public.users FOR SELECT TO masstock_authz USING (true);

CREATE POLICY "Identity helpers read workflow names" ON public.workflows FOR SELECT TO masstock_authz USING (true);

CREATE POLICY "Identity helpers record logins" ON public.users FOR UPDATE TO masstock_authz USING (true) WITH CHECK (true);

CREATE POLICY "Maintenance by the owner" ON public.archive_parts TO masstock_owner USING (true) WITH CHECK (true);

CREATE POLICY "Maintenance by the owner" ON public.archives TO masstock_owner USING (true) WITH CHECK (true);

CREATE POLICY "Maintenance by the owner" ON public.clients TO masstock_owner USING (true) WITH CHECK (true);

CREATE POLICY "Maintenance by the owner" ON public.economy_jobs TO masstock_owner USING (true) WITH CHECK (true);

CREATE POLICY "Maintenance by the owner" ON public.idempotency_keys TO masstock_owner USING (true) WITH CHECK (true);

CREATE POLICY "Maintenance by the owner" ON public.spend_ledger TO masstock_owner USING (true) WITH CHECK (true);

CREATE POLICY "Maintenance by the owner" ON public.support_tickets TO masstock_owner USING (true) WITH CHECK (true);

CREATE POLICY "Maintenance by the owner" ON public.users TO masstock_owner USING (true) WITH CHECK (true);

CREATE POLICY "Maintenance by the owner" ON public.webhook_deliveries TO masstock_owner USING (true) WITH CHECK (true);

CREATE POLICY "Maintenance by the owner" ON public.workflow_batch_results TO masstock_owner USING (true) WITH CHECK (true);

CREATE POLICY "Maintenance by the owner" ON public.workflow_executions TO masstock_owner USING (true) WITH CHECK (true);

CREATE POLICY "Maintenance by the owner" ON public.workflow_requests TO masstock_owner USING (true) WITH CHECK (true);

CREATE POLICY "Maintenance by the owner" ON public.workflows TO masstock_owner USING (true) WITH CHECK (true);

CREATE POLICY "Users can create tickets for their client" ON public.support_tickets FOR INSERT TO masstock_api, authenticated WITH CHECK (((client_id = ( SELECT app.client_id() AS client_id)) AND (user_id = ( SELECT app.uid() AS uid)) AND (status = 'open'::text)));

CREATE POLICY "Users can delete tickets of their client" ON public.support_tickets FOR DELETE TO masstock_api, authenticated USING ((client_id = ( SELECT app.client_id() AS client_id)));

CREATE POLICY "Users can edit open tickets of their client" ON public.support_tickets FOR UPDATE TO masstock_api, authenticated USING (((client_id = ( SELECT app.client_id() AS client_id)) AND (status = 'open'::text))) WITH CHECK (((client_id = ( SELECT app.client_id() AS client_id)) AND (status = 'open'::text)));

CREATE POLICY "Users can record their own keys" ON public.idempotency_keys FOR INSERT TO masstock_admin, masstock_api WITH CHECK (((user_id = ( SELECT app.uid() AS uid)) AND ( SELECT app.is_active() AS is_active) AND (NOT (client_id IS DISTINCT FROM ( SELECT app.client_id() AS client_id)))));

CREATE POLICY "Users can start visible workflows for their client" ON public.workflow_executions FOR INSERT TO masstock_api, authenticated WITH CHECK (((client_id = ( SELECT app.client_id() AS client_id)) AND (user_id = ( SELECT app.uid() AS uid)) AND (status = 'pending'::text) AND (EXISTS ( SELECT
   FROM public.workflows w
  WHERE (w.id = workflow_executions.workflow_id)))));

CREATE POLICY "Users can view their own keys" ON public.idempotency_keys FOR SELECT TO masstock_admin, masstock_api USING (((user_id = ( SELECT app.uid() AS uid)) AND COALESCE((user_id = ( SELECT app.uid() AS uid)), false) AND ( SELECT app.is_active() AS is_active)));

CREATE POLICY "Users can view their own profile" ON public.users FOR SELECT TO masstock_api, authenticated USING (((id = ( SELECT app.uid() AS uid)) AND COALESCE((id = ( SELECT app.uid() AS uid)), false) AND ( SELECT app.is_active() AS is_active)));

CREATE POLICY "Users can view tickets of their client" ON public.support_tickets FOR SELECT TO masstock_api, authenticated USING (((client_id = ( SELECT app.client_id() AS client_id)) AND COALESCE((client_id = ( SELECT app.client_id() AS client_id)), false)));

CREATE POLICY "Workers advance live executions" ON public.workflow_executions FOR UPDATE TO masstock_worker USING ((status = ANY (ARRAY['pending'::text, 'processing'::text]))) WITH CHECK ((status = ANY (ARRAY['pending'::text, 'processing'::text, 'completed'::text, 'failed'::text])));

CREATE POLICY "Workers advance pending deliveries" ON public.webhook_deliveries FOR UPDATE TO masstock_worker USING ((delivered_at IS NULL)) WITH CHECK (true);

CREATE POLICY "Workers advance unfinished results" ON public.workflow_batch_results FOR UPDATE TO masstock_worker USING ((status = 'processing'::text)) WITH CHECK (true);

CREATE POLICY "Workers append charges and releases" ON public.spend_ledger FOR INSERT TO masstock_worker WITH CHECK (((charged_microusd >= 0) AND (reserved_microusd <= 0)));

CREATE POLICY "Workers build unfinished archive parts" ON public.archive_parts FOR UPDATE TO masstock_worker USING ((completed_at IS NULL)) WITH CHECK (true);

CREATE POLICY "Workers forget expired keys" ON public.idempotency_keys TO masstock_worker USING ((expires_at < now()));

CREATE POLICY "Workers lay out results" ON public.workflow_batch_results FOR INSERT TO masstock_worker WITH CHECK ((status = 'processing'::text));

CREATE POLICY "Workers manage economy jobs" ON public.economy_jobs TO masstock_worker USING (true) WITH CHECK (true);

CREATE POLICY "Workers read archive parts" ON public.archive_parts FOR SELECT TO masstock_worker USING (true);

CREATE POLICY "Workers read archives" ON public.archives FOR SELECT TO masstock_worker USING (true);

CREATE POLICY "Workers read deliveries" ON public.webhook_deliveries FOR SELECT TO masstock_worker USING (true);

CREATE POLICY "Workers read executions" ON public.workflow_executions FOR SELECT TO masstock_worker USING (true);

CREATE POLICY "Workers read results" ON public.workflow_batch_results FOR SELECT TO masstock_worker USING (true);

CREATE POLICY "Workers read the ledger" ON public.spend_ledger FOR SELECT TO masstock_worker USING (true);

CREATE POLICY "Workers read workflows" ON public.workflows FOR SELECT TO masstock_worker USING (true);

CREATE POLICY "Workers write deliveries" ON public.webhook_deliveries FOR INSERT TO masstock_worker WITH CHECK (true);

ALTER TABLE public.archive_parts ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.archives ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.clients ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.economy_jobs ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.idempotency_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.spend_ledger ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.support_tickets ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.users ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.webhook_deliveries ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.workflow_batch_results ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.workflow_executions ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.workflow_requests ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.workflows ENABLE ROW LEVEL SECURITY;

GRANT USAGE ON SCHEMA app TO masstock_owner;
GRANT USAGE ON SCHEMA app TO masstock_api;
GRANT USAGE ON SCHEMA app TO masstock_admin;
GRANT USAGE ON SCHEMA app TO masstock_worker;
GRANT USAGE ON SCHEMA app TO authenticated;

GRANT USAGE ON SCHEMA app_private TO masstock_owner;

GRANT ALL ON SCHEMA public TO masstock_owner;
GRANT USAGE ON SCHEMA public TO masstock_authz;
GRANT USAGE ON SCHEMA public TO masstock_api;
GRANT USAGE ON SCHEMA public TO masstock_admin;
GRANT USAGE ON SCHEMA public TO masstock_worker;
GRANT USAGE ON SCHEMA public TO authenticated;

REVOKE ALL ON FUNCTION app.advance_webhook_secret(p_client_id uuid, p_leaked boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION app.advance_webhook_secret(p_client_id uuid, p_leaked boolean) TO masstock_admin;

REVOKE ALL ON FUNCTION app.announce_results(p_execution_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION app.announce_results(p_execution_id uuid) TO masstock_worker;

REVOKE ALL ON FUNCTION app.archive_state(p_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION app.archive_state(p_id uuid) TO masstock_api;
GRANT ALL ON FUNCTION app.archive_state(p_id uuid) TO masstock_admin;

REVOKE ALL ON FUNCTION app.asked_digest(p_prompt text, p_asked jsonb, p_seed integer) FROM PUBLIC;
GRANT ALL ON FUNCTION app.asked_digest(p_prompt text, p_asked jsonb, p_seed integer) TO masstock_worker;

REVOKE ALL ON FUNCTION app.asked_images(p_prompts jsonb, p_defaults jsonb, p_prices jsonb, p_model text) FROM PUBLIC;
GRANT ALL ON FUNCTION app.asked_images(p_prompts jsonb, p_defaults jsonb, p_prices jsonb, p_model text) TO masstock_worker;

REVOKE ALL ON FUNCTION app.begin_request(p_sub uuid, p_exp bigint, p_mac text) FROM PUBLIC;
GRANT ALL ON FUNCTION app.begin_request(p_sub uuid, p_exp bigint, p_mac text) TO masstock_api;
GRANT ALL ON FUNCTION app.begin_request(p_sub uuid, p_exp bigint, p_mac text) TO masstock_admin;

REVOKE ALL ON FUNCTION app.canary_images(p_settings jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION app.canary_images(p_settings jsonb) TO masstock_worker;

REVOKE ALL ON FUNCTION app.cancel_execution(p_id uuid, p_message text) FROM PUBLIC;
GRANT ALL ON FUNCTION app.cancel_execution(p_id uuid, p_message text) TO masstock_api;
GRANT ALL ON FUNCTION app.cancel_execution(p_id uuid, p_message text) TO masstock_admin;

REVOKE ALL ON FUNCTION app.claim_invitation(p_sub uuid, p_exp bigint, p_email text, p_mac text) FROM PUBLIC;
GRANT ALL ON FUNCTION app.claim_invitation(p_sub uuid, p_exp bigint, p_email text, p_mac text) TO masstock_api;
GRANT ALL ON FUNCTION app.claim_invitation(p_sub uuid, p_exp bigint, p_email text, p_mac text) TO masstock_admin;

REVOKE ALL ON FUNCTION app.client_id() FROM PUBLIC;
GRANT ALL ON FUNCTION app.client_id() TO masstock_api;
GRANT ALL ON FUNCTION app.client_id() TO masstock_admin;
GRANT ALL ON FUNCTION app.client_id() TO authenticated;
GRANT ALL ON FUNCTION app.client_id() TO masstock_owner;

REVOKE ALL ON FUNCTION app.count_closed_lanes() FROM PUBLIC;
GRANT ALL ON FUNCTION app.count_closed_lanes() TO masstock_worker;

REVOKE ALL ON FUNCTION app.create_archive(p_id uuid, p_execution_id uuid, p_indices integer[]) FROM PUBLIC;
GRANT ALL ON FUNCTION app.create_archive(p_id uuid, p_execution_id uuid, p_indices integer[]) TO masstock_api;
GRANT ALL ON FUNCTION app.create_archive(p_id uuid, p_execution_id uuid, p_indices integer[]) TO masstock_admin;

REVOKE ALL ON FUNCTION app.describe_executions(p_ids uuid[], p_default_size text) FROM PUBLIC;
GRANT ALL ON FUNCTION app.describe_executions(p_ids uuid[], p_default_size text) TO masstock_api;
GRANT ALL ON FUNCTION app.describe_executions(p_ids uuid[], p_default_size text) TO masstock_admin;

REVOKE ALL ON FUNCTION app.economy_progress(p_id uuid, OUT submitted bigint, OUT painted_by_provider bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION app.economy_progress(p_id uuid, OUT submitted bigint, OUT painted_by_provider bigint) TO masstock_api;
GRANT ALL ON FUNCTION app.economy_progress(p_id uuid, OUT submitted bigint, OUT painted_by_provider bigint) TO masstock_admin;

REVOKE ALL ON FUNCTION app.ended_progress(p_status text, p_output_data jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION app.ended_progress(p_status text, p_output_data jsonb) TO masstock_api;
GRANT ALL ON FUNCTION app.ended_progress(p_status text, p_output_data jsonb) TO masstock_admin;

REVOKE ALL ON FUNCTION app.enter(p_sub uuid, p_exp bigint, p_mac text) FROM PUBLIC;
GRANT ALL ON FUNCTION app.enter(p_sub uuid, p_exp bigint, p_mac text) TO masstock_api;
GRANT ALL ON FUNCTION app.enter(p_sub uuid, p_exp bigint, p_mac text) TO masstock_admin;

REVOKE ALL ON FUNCTION app.enter_lane(p_lane uuid, p_provider text, p_model text, p_owner uuid, p_client uuid, p_execution uuid, p_prompt integer, p_minute double precision, p_now timestamp with time zone, OUT granted boolean, OUT wait_seconds double precision, OUT limited_by text, OUT gives_up boolean, OUT granted_at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION app.enter_lane(p_lane uuid, p_provider text, p_model text, p_owner uuid, p_client uuid, p_execution uuid, p_prompt integer, p_minute double precision, p_now timestamp with time zone, OUT granted boolean, OUT wait_seconds double precision, OUT limited_by text, OUT gives_up boolean, OUT granted_at timestamp with time zone) TO masstock_worker;

REVOKE ALL ON FUNCTION app.expire_images() FROM PUBLIC;
GRANT ALL ON FUNCTION app.expire_images() TO masstock_worker;

REVOKE ALL ON FUNCTION app.extend_deadline(p_id uuid, p_idle_seconds double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION app.extend_deadline(p_id uuid, p_idle_seconds double precision) TO masstock_worker;

REVOKE ALL ON FUNCTION app.fall_back(p_execution_id uuid, p_model text) FROM PUBLIC;
GRANT ALL ON FUNCTION app.fall_back(p_execution_id uuid, p_model text) TO masstock_worker;

REVOKE ALL ON FUNCTION app.fetch_budget(p_client_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION app.fetch_budget(p_client_id uuid) TO masstock_api;
GRANT ALL ON FUNCTION app.fetch_budget(p_client_id uuid) TO masstock_admin;

REVOKE ALL ON FUNCTION app.lane_state(p_lane uuid, p_now timestamp with time zone, OUT limited_by text, OUT calls_per_minute double precision, OUT opens_at timestamp with time zone, OUT last_success_at timestamp with time zone, OUT closed_since timestamp with time zone, OUT waiting_executions integer, OUT learned_per_minute double precision, OUT limit_per_minute integer, OUT successes bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION app.lane_state(p_lane uuid, p_now timestamp with time zone, OUT limited_by text, OUT calls_per_minute double precision, OUT opens_at timestamp with time zone, OUT last_success_at timestamp with time zone, OUT closed_since timestamp with time zone, OUT waiting_executions integer, OUT learned_per_minute double precision, OUT limit_per_minute integer, OUT successes bigint) TO masstock_worker;

REVOKE ALL ON FUNCTION app.fetch_lane(p_id uuid, p_for_update boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION app.fetch_lane(p_id uuid, p_for_update boolean) TO masstock_admin;

REVOKE ALL ON FUNCTION app.fetch_sweep_places() FROM PUBLIC;
GRANT ALL ON FUNCTION app.fetch_sweep_places() TO masstock_worker;

REVOKE ALL ON FUNCTION app.find_reusable(p_client_id uuid, p_key uuid, p_model text) FROM PUBLIC;
GRANT ALL ON FUNCTION app.find_reusable(p_client_id uuid, p_key uuid, p_model text) TO masstock_worker;

REVOKE ALL ON FUNCTION app.fold_execution_counts() FROM PUBLIC;
GRANT ALL ON FUNCTION app.fold_execution_counts() TO masstock_worker;

REVOKE ALL ON FUNCTION app.forget_deleted_execution(p_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION app.forget_deleted_execution(p_id uuid) TO masstock_worker;

REVOKE ALL ON FUNCTION app.forget_idle_lanes() FROM PUBLIC;
GRANT ALL ON FUNCTION app.forget_idle_lanes() TO masstock_worker;

REVOKE ALL ON FUNCTION app.image_price(p_prices jsonb, p_size text, p_references jsonb, p_prompt text) FROM PUBLIC;
GRANT ALL ON FUNCTION app.image_price(p_prices jsonb, p_size text, p_references jsonb, p_prompt text) TO masstock_worker;

REVOKE ALL ON FUNCTION app.images_of(p_prompt jsonb, p_default jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION app.images_of(p_prompt jsonb, p_default jsonb) TO masstock_worker;
GRANT ALL ON FUNCTION app.images_of(p_prompt jsonb, p_default jsonb) TO masstock_api;
GRANT ALL ON FUNCTION app.images_of(p_prompt jsonb, p_default jsonb) TO masstock_admin;

REVOKE ALL ON FUNCTION app.index_new_prompts() FROM PUBLIC;

REVOKE ALL ON FUNCTION app.index_prompts() FROM PUBLIC;
GRANT ALL ON FUNCTION app.index_prompts() TO masstock_worker;

REVOKE ALL ON FUNCTION app.is_active() FROM PUBLIC;
GRANT ALL ON FUNCTION app.is_active() TO masstock_api;
GRANT ALL ON FUNCTION app.is_active() TO masstock_admin;
GRANT ALL ON FUNCTION app.is_active() TO authenticated;

REVOKE ALL ON FUNCTION app.is_admin() FROM PUBLIC;
GRANT ALL ON FUNCTION app.is_admin() TO masstock_api;
GRANT ALL ON FUNCTION app.is_admin() TO masstock_admin;
GRANT ALL ON FUNCTION app.is_admin() TO authenticated;
GRANT ALL ON FUNCTION app.is_admin() TO masstock_owner;

REVOKE ALL ON FUNCTION app.keep_an_admin() FROM PUBLIC;

REVOKE ALL ON FUNCTION app.keep_emails_apart() FROM PUBLIC;

REVOKE ALL ON FUNCTION app.keep_sweep_place(p_kind text, p_at timestamp with time zone, p_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION app.keep_sweep_place(p_kind text, p_at timestamp with time zone, p_id uuid) TO masstock_worker;

REVOKE ALL ON FUNCTION app.lane_id(p_lane_key uuid, p_model text) FROM PUBLIC;
GRANT ALL ON FUNCTION app.lane_id(p_lane_key uuid, p_model text) TO masstock_worker;

REVOKE ALL ON FUNCTION app.leave_lane(p_lane uuid, p_execution uuid, p_prompt integer, p_granted_at timestamp with time zone, p_verdict text, p_retry_after double precision, p_quota_value integer, p_successes_seen bigint, p_minute double precision, p_now timestamp with time zone, OUT counts boolean, OUT successes bigint, OUT wait_seconds double precision, OUT was_probe boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION app.leave_lane(p_lane uuid, p_execution uuid, p_prompt integer, p_granted_at timestamp with time zone, p_verdict text, p_retry_after double precision, p_quota_value integer, p_successes_seen bigint, p_minute double precision, p_now timestamp with time zone, OUT counts boolean, OUT successes bigint, OUT wait_seconds double precision, OUT was_probe boolean) TO masstock_worker;

REVOKE ALL ON FUNCTION app.list_deleted_executions(p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION app.list_deleted_executions(p_limit integer) TO masstock_worker;

REVOKE ALL ON FUNCTION app.list_lanes(p_from timestamp with time zone, p_to timestamp with time zone, p_before_created_at timestamp with time zone, p_before_id uuid, p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION app.list_lanes(p_from timestamp with time zone, p_to timestamp with time zone, p_before_created_at timestamp with time zone, p_before_id uuid, p_limit integer) TO masstock_admin;

REVOKE ALL ON FUNCTION app.list_removals(p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION app.list_removals(p_limit integer) TO masstock_worker;

REVOKE ALL ON FUNCTION app.lock_execution(p_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION app.lock_execution(p_id uuid) TO masstock_api;
GRANT ALL ON FUNCTION app.lock_execution(p_id uuid) TO masstock_admin;

REVOKE ALL ON FUNCTION app.lock_request(p_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION app.lock_request(p_id uuid) TO masstock_api;
GRANT ALL ON FUNCTION app.lock_request(p_id uuid) TO masstock_admin;

REVOKE ALL ON FUNCTION app.lock_ticket(p_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION app.lock_ticket(p_id uuid) TO masstock_api;
GRANT ALL ON FUNCTION app.lock_ticket(p_id uuid) TO masstock_admin;

REVOKE ALL ON FUNCTION app.newest_executions(p_before timestamp with time zone, p_before_id uuid, p_limit integer, p_default_size text) FROM PUBLIC;
GRANT ALL ON FUNCTION app.newest_executions(p_before timestamp with time zone, p_before_id uuid, p_limit integer, p_default_size text) TO masstock_api;
GRANT ALL ON FUNCTION app.newest_executions(p_before timestamp with time zone, p_before_id uuid, p_limit integer, p_default_size text) TO masstock_admin;

GRANT SELECT ON TABLE public.workflow_batch_results TO masstock_api;
GRANT SELECT ON TABLE public.workflow_batch_results TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.workflow_batch_results TO masstock_admin;
GRANT SELECT ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT INSERT(execution_id) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT INSERT(batch_index) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT INSERT(prompt_text) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(status) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(result_url) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(result_storage_path) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(error_message) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(processing_time_ms) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(completed_at) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT INSERT(client_id) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT INSERT(custom_id) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(error_code) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(attempts) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(failures) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(throttles) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(claimed_until) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(mime_type) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(size_bytes) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(cost_microusd) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(image_sha256) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(model) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(width) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(height) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(as_asked) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(images_in_answer) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(has_provenance) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(provider_message) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(lane_successes) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(probes) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT INSERT(prompt_index) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT INSERT(image_index) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT INSERT(asked) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT INSERT(seed) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT INSERT(prompt_metadata) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT INSERT(reserved_microusd) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(has_thumbnail) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(tier) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(economy_job_id) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(economy_offset) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(economy_length) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT INSERT(reuse_key) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT INSERT(reused_from),UPDATE(reused_from) ON TABLE public.workflow_batch_results TO masstock_worker;

GRANT UPDATE(thumbnail_path) ON TABLE public.workflow_batch_results TO masstock_worker;

REVOKE ALL ON FUNCTION app.next_results(p_execution_id uuid, p_after integer, p_status text, p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION app.next_results(p_execution_id uuid, p_after integer, p_status text, p_limit integer) TO masstock_api;
GRANT ALL ON FUNCTION app.next_results(p_execution_id uuid, p_after integer, p_status text, p_limit integer) TO masstock_admin;

REVOKE ALL ON FUNCTION app.note_deleted_execution() FROM PUBLIC;

REVOKE ALL ON FUNCTION app.note_edited_prompt() FROM PUBLIC;

REVOKE ALL ON FUNCTION app.pace(p_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION app.pace(p_id uuid) TO masstock_api;
GRANT ALL ON FUNCTION app.pace(p_id uuid) TO masstock_admin;

REVOKE ALL ON FUNCTION app.progress(p_id uuid, p_status text, p_image_count integer, p_output_data jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION app.progress(p_id uuid, p_status text, p_image_count integer, p_output_data jsonb) TO masstock_api;
GRANT ALL ON FUNCTION app.progress(p_id uuid, p_status text, p_image_count integer, p_output_data jsonb) TO masstock_admin;

REVOKE ALL ON FUNCTION app.record_login() FROM PUBLIC;
GRANT ALL ON FUNCTION app.record_login() TO masstock_api;
GRANT ALL ON FUNCTION app.record_login() TO masstock_admin;
GRANT ALL ON FUNCTION app.record_login() TO authenticated;

REVOKE ALL ON FUNCTION app.refresh_settings(p_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION app.refresh_settings(p_id uuid) TO masstock_api;
GRANT ALL ON FUNCTION app.refresh_settings(p_id uuid) TO masstock_admin;

REVOKE ALL ON FUNCTION app.reopen_failed(p_id uuid, p_codes text[], p_deadline_seconds integer) FROM PUBLIC;
GRANT ALL ON FUNCTION app.reopen_failed(p_id uuid, p_codes text[], p_deadline_seconds integer) TO masstock_api;
GRANT ALL ON FUNCTION app.reopen_failed(p_id uuid, p_codes text[], p_deadline_seconds integer) TO masstock_admin;

REVOKE ALL ON FUNCTION app.reopen_failed(p_id uuid, p_codes text[], p_deadline_seconds integer, p_microusd_per_image bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION app.reopen_failed(p_id uuid, p_codes text[], p_deadline_seconds integer, p_microusd_per_image bigint) TO masstock_api;
GRANT ALL ON FUNCTION app.reopen_failed(p_id uuid, p_codes text[], p_deadline_seconds integer, p_microusd_per_image bigint) TO masstock_admin;

REVOKE ALL ON FUNCTION app.reopen_failed(p_id uuid, p_codes text[], p_deadline_seconds integer, p_prices jsonb, p_edits jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION app.reopen_failed(p_id uuid, p_codes text[], p_deadline_seconds integer, p_prices jsonb, p_edits jsonb) TO masstock_api;
GRANT ALL ON FUNCTION app.reopen_failed(p_id uuid, p_codes text[], p_deadline_seconds integer, p_prices jsonb, p_edits jsonb) TO masstock_admin;

REVOKE ALL ON FUNCTION app.reserve_image(p_execution_id uuid, p_batch_index integer, p_attempt integer) FROM PUBLIC;
GRANT ALL ON FUNCTION app.reserve_image(p_execution_id uuid, p_batch_index integer, p_attempt integer) TO masstock_worker;

REVOKE ALL ON FUNCTION app.resume_execution(p_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION app.resume_execution(p_id uuid) TO masstock_api;
GRANT ALL ON FUNCTION app.resume_execution(p_id uuid) TO masstock_admin;

REVOKE ALL ON FUNCTION app.reuse_key(p_prompt text, p_asked jsonb, p_seed integer, p_model text, p_image_index integer) FROM PUBLIC;
GRANT ALL ON FUNCTION app.reuse_key(p_prompt text, p_asked jsonb, p_seed integer, p_model text, p_image_index integer) TO masstock_worker;

REVOKE ALL ON FUNCTION app.search_prompts(p_client_id uuid, p_words text[], p_before_created_at timestamp with time zone, p_before_execution_id uuid, p_before_index integer, p_limit integer, p_status text, p_model text, p_workflow_id uuid, p_execution_id uuid, p_custom_id text, p_created_from timestamp with time zone, p_created_to timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION app.search_prompts(p_client_id uuid, p_words text[], p_before_created_at timestamp with time zone, p_before_execution_id uuid, p_before_index integer, p_limit integer, p_status text, p_model text, p_workflow_id uuid, p_execution_id uuid, p_custom_id text, p_created_from timestamp with time zone, p_created_to timestamp with time zone) TO masstock_api;
GRANT ALL ON FUNCTION app.search_prompts(p_client_id uuid, p_words text[], p_before_created_at timestamp with time zone, p_before_execution_id uuid, p_before_index integer, p_limit integer, p_status text, p_model text, p_workflow_id uuid, p_execution_id uuid, p_custom_id text, p_created_from timestamp with time zone, p_created_to timestamp with time zone) TO masstock_admin;

REVOKE ALL ON FUNCTION app.set_lane_limit(p_id uuid, p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION app.set_lane_limit(p_id uuid, p_limit integer) TO masstock_admin;

REVOKE ALL ON FUNCTION app.uid() FROM PUBLIC;
GRANT ALL ON FUNCTION app.uid() TO masstock_api;
GRANT ALL ON FUNCTION app.uid() TO masstock_admin;
GRANT ALL ON FUNCTION app.uid() TO authenticated;

REVOKE ALL ON FUNCTION app.webhook_overlap_until(p_client_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION app.webhook_overlap_until(p_client_id uuid) TO masstock_api;
GRANT ALL ON FUNCTION app.webhook_overlap_until(p_client_id uuid) TO masstock_admin;

REVOKE ALL ON FUNCTION app.webhook_versions(p_client_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION app.webhook_versions(p_client_id uuid) TO masstock_worker;

REVOKE ALL ON FUNCTION app.words(p_text text) FROM PUBLIC;
GRANT ALL ON FUNCTION app.words(p_text text) TO masstock_api;
GRANT ALL ON FUNCTION app.words(p_text text) TO masstock_admin;

REVOKE ALL ON FUNCTION app_private.accepted_calls(l app_private.lanes, p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.accepted_since(l app_private.lanes, p_since timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.ask_for_probe(l app_private.lanes, p_prompt text, p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.believe_accepted(l app_private.lanes, p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.compare_turns(p_lane uuid, p_owner uuid, p_client uuid, p_execution uuid, p_now timestamp with time zone, OUT is_its_turn boolean, OUT shares double precision, OUT turns double precision, OUT client_turns double precision) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.count_executions() FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.count_start(l app_private.lanes, p_at timestamp with time zone, p_calls integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.first_gap(p_taken timestamp with time zone[], p_from timestamp with time zone, p_spacing double precision) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.index_prompts(p_execution_id uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.is_signed(p_message text, p_exp bigint, p_mac text) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.keep_lane(l app_private.lanes) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.lane_limited_by(l app_private.lanes) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.lane_step(l app_private.lanes, p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.learn_failure(l app_private.lanes, p_is_probe boolean, p_prompt text, p_granted_at timestamp with time zone, p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.learn_refusal(l app_private.lanes, p_is_probe boolean, p_granted_at timestamp with time zone, p_delay double precision, p_quota_value integer, p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.learn_success(l app_private.lanes, p_is_probe boolean, p_granted_at timestamp with time zone, p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.lock_lane(p_lane uuid, p_provider text, p_model text, p_owner uuid, p_minute double precision, p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.lower_pace(l app_private.lanes, p_is_probe boolean, p_has_delay boolean, p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.mac(p_id integer, p_message text) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.read_lane(l app_private.lanes, p_minute double precision, p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.release_for_execution() FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.release_spend(p_execution_id uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.reserve_for_execution() FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.reserve_spend(p_client_id uuid, p_execution_id uuid, p_month date, p_microusd bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.seal(p_sub text) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.set_key(p_id integer, p_key bytea) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.start_on_open_lane(p_lane uuid, p_minute double precision, p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.succeed_on_open_lane(p_lane uuid, p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION app_private.take_turn(l app_private.lanes, p_step double precision, p_closed_until timestamp with time zone, p_owner uuid, p_client uuid, p_execution uuid, p_prompt integer, p_now timestamp with time zone, OUT granted boolean, OUT return_at timestamp with time zone, OUT waits_since timestamp with time zone, OUT slot timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION public.bound_deadline() FROM PUBLIC;

REVOKE ALL ON FUNCTION public.copy_execution_client() FROM PUBLIC;

REVOKE ALL ON FUNCTION public.copy_workflow_settings() FROM PUBLIC;

REVOKE ALL ON FUNCTION public.count_images() FROM PUBLIC;

REVOKE ALL ON FUNCTION public.end_pause() FROM PUBLIC;

REVOKE ALL ON FUNCTION public.find_reused_images() FROM PUBLIC;

REVOKE ALL ON FUNCTION public.forget_economy_job() FROM PUBLIC;

REVOKE ALL ON FUNCTION public.note_stop() FROM PUBLIC;

REVOKE ALL ON FUNCTION public.number_prompt() FROM PUBLIC;

REVOKE ALL ON FUNCTION public.queue_delivery() FROM PUBLIC;

REVOKE ALL ON FUNCTION public.refuse_archive_of_expired() FROM PUBLIC;

REVOKE ALL ON FUNCTION public.refuse_expired() FROM PUBLIC;

REVOKE ALL ON FUNCTION public.reopen_economy() FROM PUBLIC;

REVOKE ALL ON FUNCTION public.touch_updated_at() FROM PUBLIC;

GRANT SELECT ON TABLE app.execution_counts TO masstock_admin;

GRANT SELECT ON TABLE public.users TO masstock_api;
GRANT SELECT ON TABLE public.users TO authenticated;
GRANT SELECT,INSERT,UPDATE ON TABLE public.users TO masstock_admin;

GRANT SELECT(id),UPDATE(id) ON TABLE public.users TO masstock_authz;

GRANT SELECT(email) ON TABLE public.users TO masstock_authz;

GRANT SELECT(name) ON TABLE public.users TO masstock_authz;

GRANT SELECT(role) ON TABLE public.users TO masstock_authz;

GRANT SELECT(status) ON TABLE public.users TO masstock_authz;

GRANT SELECT(client_id) ON TABLE public.users TO masstock_authz;

GRANT SELECT(last_login),UPDATE(last_login) ON TABLE public.users TO masstock_authz;

GRANT SELECT(invited_until),UPDATE(invited_until) ON TABLE public.users TO masstock_authz;

GRANT SELECT ON TABLE app.people TO masstock_api;
GRANT SELECT ON TABLE app.people TO masstock_admin;
GRANT SELECT ON TABLE app.people TO authenticated;

GRANT SELECT ON TABLE public.workflows TO masstock_api;
GRANT SELECT ON TABLE public.workflows TO authenticated;
GRANT SELECT,INSERT,UPDATE ON TABLE public.workflows TO masstock_admin;

GRANT SELECT(id) ON TABLE public.workflows TO masstock_authz;
GRANT SELECT(id) ON TABLE public.workflows TO masstock_worker;

GRANT SELECT(name) ON TABLE public.workflows TO masstock_authz;

GRANT SELECT(config) ON TABLE public.workflows TO masstock_worker;

GRANT SELECT ON TABLE app.workflow_names TO masstock_api;
GRANT SELECT ON TABLE app.workflow_names TO masstock_admin;
GRANT SELECT ON TABLE app.workflow_names TO authenticated;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE app_private.deleted_executions TO masstock_owner;

GRANT UPDATE(looked_at) ON TABLE app_private.deleted_executions TO masstock_owner;

GRANT SELECT ON TABLE public.archive_parts TO masstock_api;
GRANT SELECT ON TABLE public.archive_parts TO masstock_admin;
GRANT SELECT ON TABLE public.archive_parts TO masstock_worker;

GRANT UPDATE(attempts) ON TABLE public.archive_parts TO masstock_worker;

GRANT UPDATE(due_at) ON TABLE public.archive_parts TO masstock_worker;

GRANT UPDATE(storage_path) ON TABLE public.archive_parts TO masstock_worker;

GRANT UPDATE(size_bytes) ON TABLE public.archive_parts TO masstock_worker;

GRANT UPDATE(completed_at) ON TABLE public.archive_parts TO masstock_worker;

GRANT UPDATE(failed_at) ON TABLE public.archive_parts TO masstock_worker;

GRANT SELECT ON TABLE public.archives TO masstock_api;
GRANT SELECT ON TABLE public.archives TO masstock_admin;
GRANT SELECT ON TABLE public.archives TO masstock_worker;

GRANT SELECT ON TABLE public.clients TO masstock_api;
GRANT SELECT ON TABLE public.clients TO authenticated;
GRANT SELECT,INSERT,UPDATE ON TABLE public.clients TO masstock_admin;

GRANT SELECT(id) ON TABLE public.clients TO masstock_authz;

GRANT SELECT(status) ON TABLE public.clients TO masstock_authz;

GRANT SELECT ON TABLE public.economy_jobs TO masstock_worker;

GRANT INSERT(execution_id) ON TABLE public.economy_jobs TO masstock_worker;

GRANT INSERT(client_id) ON TABLE public.economy_jobs TO masstock_worker;

GRANT INSERT(number) ON TABLE public.economy_jobs TO masstock_worker;

GRANT INSERT(model) ON TABLE public.economy_jobs TO masstock_worker;

GRANT INSERT(lane_id) ON TABLE public.economy_jobs TO masstock_worker;

GRANT INSERT(prompts) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(state) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(attempts) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(claimed_until) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(next_look_at) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(tries) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(refused_until) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(reference_files) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(references_at) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(input_file) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(create_sent_at) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(job_name) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(submitted_at) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(provider_state) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(painted) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(cancelled_at) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(ended_at) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(output_file) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(copy_key) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(collect_at) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(error_code) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(error_message) ON TABLE public.economy_jobs TO masstock_worker;

GRANT UPDATE(provider_message) ON TABLE public.economy_jobs TO masstock_worker;

GRANT SELECT,INSERT ON TABLE public.idempotency_keys TO masstock_api;
GRANT SELECT,INSERT ON TABLE public.idempotency_keys TO masstock_admin;
GRANT DELETE ON TABLE public.idempotency_keys TO masstock_worker;

GRANT SELECT(expires_at) ON TABLE public.idempotency_keys TO masstock_worker;

GRANT SELECT ON TABLE public.spend_ledger TO masstock_api;
GRANT SELECT ON TABLE public.spend_ledger TO masstock_admin;
GRANT SELECT ON TABLE public.spend_ledger TO authenticated;
GRANT SELECT ON TABLE public.spend_ledger TO masstock_worker;

GRANT INSERT(client_id) ON TABLE public.spend_ledger TO masstock_worker;

GRANT INSERT(execution_id) ON TABLE public.spend_ledger TO masstock_worker;

GRANT INSERT(batch_index) ON TABLE public.spend_ledger TO masstock_worker;

GRANT INSERT(attempt) ON TABLE public.spend_ledger TO masstock_worker;

GRANT INSERT(month) ON TABLE public.spend_ledger TO masstock_worker;

GRANT INSERT(charged_microusd) ON TABLE public.spend_ledger TO masstock_worker;

GRANT INSERT(reserved_microusd) ON TABLE public.spend_ledger TO masstock_worker;

GRANT INSERT(workflow_id) ON TABLE public.spend_ledger TO masstock_worker;

GRANT INSERT(model) ON TABLE public.spend_ledger TO masstock_worker;

GRANT INSERT(tier) ON TABLE public.spend_ledger TO masstock_worker;

GRANT INSERT(images) ON TABLE public.spend_ledger TO masstock_worker;

GRANT SELECT,DELETE ON TABLE public.support_tickets TO masstock_api;
GRANT SELECT,DELETE ON TABLE public.support_tickets TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.support_tickets TO masstock_admin;

GRANT INSERT(id) ON TABLE public.support_tickets TO masstock_api;
GRANT INSERT(id) ON TABLE public.support_tickets TO authenticated;

GRANT INSERT(client_id) ON TABLE public.support_tickets TO masstock_api;
GRANT INSERT(client_id) ON TABLE public.support_tickets TO authenticated;

GRANT INSERT(user_id) ON TABLE public.support_tickets TO masstock_api;
GRANT INSERT(user_id) ON TABLE public.support_tickets TO authenticated;

GRANT INSERT(subject),UPDATE(subject) ON TABLE public.support_tickets TO masstock_api;
GRANT INSERT(subject),UPDATE(subject) ON TABLE public.support_tickets TO authenticated;

GRANT INSERT(description),UPDATE(description) ON TABLE public.support_tickets TO masstock_api;
GRANT INSERT(description),UPDATE(description) ON TABLE public.support_tickets TO authenticated;

GRANT INSERT(priority),UPDATE(priority) ON TABLE public.support_tickets TO masstock_api;
GRANT INSERT(priority),UPDATE(priority) ON TABLE public.support_tickets TO authenticated;

GRANT SELECT ON TABLE public.webhook_deliveries TO masstock_api;
GRANT SELECT ON TABLE public.webhook_deliveries TO masstock_admin;
GRANT SELECT ON TABLE public.webhook_deliveries TO authenticated;
GRANT SELECT ON TABLE public.webhook_deliveries TO masstock_worker;

GRANT INSERT(execution_id) ON TABLE public.webhook_deliveries TO masstock_worker;

GRANT INSERT(client_id) ON TABLE public.webhook_deliveries TO masstock_worker;

GRANT INSERT(run) ON TABLE public.webhook_deliveries TO masstock_worker;

GRANT INSERT(url) ON TABLE public.webhook_deliveries TO masstock_worker;

GRANT INSERT(secret_version) ON TABLE public.webhook_deliveries TO masstock_worker;

GRANT INSERT(payload) ON TABLE public.webhook_deliveries TO masstock_worker;

GRANT UPDATE(attempts) ON TABLE public.webhook_deliveries TO masstock_worker;

GRANT INSERT(next_attempt_at),UPDATE(next_attempt_at) ON TABLE public.webhook_deliveries TO masstock_worker;

GRANT UPDATE(delivered_at) ON TABLE public.webhook_deliveries TO masstock_worker;

GRANT UPDATE(response_status) ON TABLE public.webhook_deliveries TO masstock_worker;

GRANT UPDATE(error_message) ON TABLE public.webhook_deliveries TO masstock_worker;

GRANT SELECT,DELETE ON TABLE public.workflow_executions TO masstock_api;
GRANT SELECT,DELETE ON TABLE public.workflow_executions TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.workflow_executions TO masstock_admin;
GRANT SELECT ON TABLE public.workflow_executions TO masstock_worker;

GRANT INSERT(id) ON TABLE public.workflow_executions TO masstock_api;
GRANT INSERT(id) ON TABLE public.workflow_executions TO authenticated;

GRANT INSERT(workflow_id) ON TABLE public.workflow_executions TO masstock_api;
GRANT INSERT(workflow_id) ON TABLE public.workflow_executions TO authenticated;

GRANT INSERT(client_id) ON TABLE public.workflow_executions TO masstock_api;
GRANT INSERT(client_id) ON TABLE public.workflow_executions TO authenticated;

GRANT INSERT(user_id) ON TABLE public.workflow_executions TO masstock_api;
GRANT INSERT(user_id) ON TABLE public.workflow_executions TO authenticated;

GRANT UPDATE(status) ON TABLE public.workflow_executions TO masstock_worker;

GRANT INSERT(input_data) ON TABLE public.workflow_executions TO masstock_api;
GRANT INSERT(input_data) ON TABLE public.workflow_executions TO authenticated;

GRANT UPDATE(output_data) ON TABLE public.workflow_executions TO masstock_worker;

GRANT UPDATE(started_at) ON TABLE public.workflow_executions TO masstock_worker;

GRANT UPDATE(completed_at) ON TABLE public.workflow_executions TO masstock_worker;

GRANT UPDATE(duration_seconds) ON TABLE public.workflow_executions TO masstock_worker;

GRANT UPDATE(error_message) ON TABLE public.workflow_executions TO masstock_worker;

GRANT UPDATE(error_code) ON TABLE public.workflow_executions TO masstock_worker;

GRANT UPDATE(run) ON TABLE public.workflow_executions TO masstock_worker;

GRANT INSERT(deadline_at) ON TABLE public.workflow_executions TO masstock_api;

GRANT INSERT(estimate_microusd) ON TABLE public.workflow_executions TO masstock_api;

GRANT UPDATE(cost_microusd) ON TABLE public.workflow_executions TO masstock_worker;

GRANT INSERT(webhook_url) ON TABLE public.workflow_executions TO masstock_api;

GRANT INSERT(webhook_secret_version) ON TABLE public.workflow_executions TO masstock_api;

GRANT UPDATE(working_since) ON TABLE public.workflow_executions TO masstock_worker;

GRANT INSERT(lane_key) ON TABLE public.workflow_executions TO masstock_api;

GRANT INSERT(deadline_is_fixed) ON TABLE public.workflow_executions TO masstock_api;

GRANT UPDATE(model_missed_at) ON TABLE public.workflow_executions TO masstock_worker;

GRANT INSERT(name) ON TABLE public.workflow_executions TO masstock_api;

GRANT INSERT(prices) ON TABLE public.workflow_executions TO masstock_api;

GRANT INSERT(webhook_events) ON TABLE public.workflow_executions TO masstock_api;

GRANT INSERT(tier) ON TABLE public.workflow_executions TO masstock_api;

GRANT INSERT(on_economy_failure) ON TABLE public.workflow_executions TO masstock_api;

GRANT INSERT(reserve_microusd) ON TABLE public.workflow_executions TO masstock_api;

GRANT UPDATE(fell_back_at) ON TABLE public.workflow_executions TO masstock_worker;

GRANT UPDATE(paused_at) ON TABLE public.workflow_executions TO masstock_worker;

GRANT UPDATE(canary_passed_at) ON TABLE public.workflow_executions TO masstock_worker;

GRANT SELECT,DELETE ON TABLE public.workflow_requests TO masstock_api;
GRANT SELECT,DELETE ON TABLE public.workflow_requests TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.workflow_requests TO masstock_admin;

GRANT INSERT(id) ON TABLE public.workflow_requests TO masstock_api;
GRANT INSERT(id) ON TABLE public.workflow_requests TO authenticated;

GRANT INSERT(client_id) ON TABLE public.workflow_requests TO masstock_api;
GRANT INSERT(client_id) ON TABLE public.workflow_requests TO authenticated;

GRANT INSERT(workflow_id) ON TABLE public.workflow_requests TO masstock_api;
GRANT INSERT(workflow_id) ON TABLE public.workflow_requests TO authenticated;

GRANT INSERT(notes),UPDATE(notes) ON TABLE public.workflow_requests TO masstock_api;
GRANT INSERT(notes),UPDATE(notes) ON TABLE public.workflow_requests TO authenticated;
