-- The history of a thousand clients, with a realistic skew: one client has a tenth or more of it,
-- and many have a few dozen executions. The settings `bench.executions`, `bench.of_the_biggest` and
-- `bench.prompts_each` give the size. Ids are hashes of names, so that the bench can compute them.
BEGIN;
SELECT setseed(0.5);
-- The rows are consistent by construction, so triggers and foreign keys are off. Postgres writes no
-- log for rows of a table truncated in the same transaction.
SET LOCAL session_replication_role = replica;
TRUNCATE public.clients, public.users, public.workflows, public.workflow_executions,
    public.workflow_batch_results, app_private.execution_counts,
    app_private.executions_by_client, app_private.executions_by_workflow CASCADE;

CREATE TEMPORARY TABLE taken_indexes ON COMMIT DROP AS
    SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition
    FROM pg_index i
    WHERE i.indrelid IN ('public.workflow_executions'::regclass,
                         'public.workflow_batch_results'::regclass)
      AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid);
DO $$
DECLARE
    taken record;
BEGIN
    FOR taken IN SELECT name FROM taken_indexes LOOP
        EXECUTE format('DROP INDEX %s', taken.name);
    END LOOP;
END $$;

INSERT INTO public.clients (id, name, email)
SELECT md5('client ' || n)::uuid, 'Client ' || n, 'contact@client' || n || '.example'
FROM generate_series(1, 1000) n;

INSERT INTO public.users (id, email, name, role, client_id, last_login)
SELECT md5('user ' || u || ' of client ' || n)::uuid, u || '@client' || n || '.example',
    'User ' || u || ' of Client ' || n, 'client', md5('client ' || n)::uuid, now()
FROM generate_series(1, 1000) n, generate_series(1, 5) u
UNION ALL SELECT md5('administrator')::uuid, 'admin@example.com', 'Administrator', 'admin', NULL, now();

INSERT INTO public.workflows (id, name, config)
SELECT md5('workflow ' || n)::uuid, 'Workflow ' || n,
    '{"workflow_type": "nano_banana", "model": "gemini-2.5-flash-image", "requires_api_key": true}'
FROM generate_series(1, 20) n;

INSERT INTO public.workflow_executions (id, workflow_id, client_id, user_id, status, input_data,
    output_data, started_at, completed_at, duration_seconds, error_code, created_at)
SELECT md5('execution ' || n)::uuid, md5('workflow ' || workflow)::uuid,
    md5('client ' || client)::uuid, md5('user ' || colleague || ' of client ' || client)::uuid,
    status,
    jsonb_build_object('api_key', repeat('k', 120), 'prompts', (
        SELECT jsonb_agg('a cat wearing sunglasses, sitting on skyline number ' || i + n
            || CASE WHEN (i + n) % 100 = 0 THEN ' in watercolor' ELSE '' END
            || CASE WHEN n < total / 2 AND n % 2 = 0 THEN ' at dusk' ELSE '' END)
        FROM generate_series(1, prompts) i)),
    CASE WHEN ended THEN jsonb_build_object('total', prompts, 'failed', 0, 'successful', prompts) END,
    created_at + interval '1 second',
    CASE WHEN ended THEN created_at + make_interval(secs => seconds) END,
    CASE WHEN ended THEN seconds END,
    CASE WHEN status = 'failed' THEN 'quota_exceeded' END,
    created_at
FROM (
    SELECT n, total, now() - interval '300 days' * (1 - n::float8 / total) AS created_at,
        CASE WHEN n > total - total / 1000 THEN 'processing'
             WHEN random() < 0.05 THEN 'failed' ELSE 'completed' END AS status,
        n <= total - total / 1000 AS ended,
        CASE WHEN random() < of_the_biggest THEN 1
             ELSE 2 + floor(999 * random() ^ 2)::integer END AS client,
        1 + floor(5 * random())::integer AS colleague,
        1 + floor(20 * random() ^ 2)::integer AS workflow,
        least(500, 1 + floor(-ln(1 - random()) * (prompts_each - 0.5)))::integer AS prompts,
        10 + floor(600 * random() ^ 3)::integer AS seconds
    FROM (SELECT current_setting('bench.executions')::integer AS total,
                 current_setting('bench.of_the_biggest')::float8 AS of_the_biggest,
                 current_setting('bench.prompts_each')::float8 AS prompts_each) size,
        LATERAL generate_series(1, total) n
) drawn
UNION ALL
-- Executions of a known length, of the biggest client and of a small one.
SELECT md5(prompts || ' prompts of client ' || client)::uuid, md5('workflow 1')::uuid,
    md5('client ' || client)::uuid, md5('user 1 of client ' || client)::uuid, 'completed',
    jsonb_build_object('api_key', repeat('k', 120), 'prompts', (
        SELECT jsonb_agg('a dog in a spaceship, orbiting planet number ' || i)
        FROM generate_series(1, prompts) i)),
    jsonb_build_object('total', prompts, 'failed', 0, 'successful', prompts),
    at, at + interval '10 minutes', 600, NULL, at
FROM (VALUES (1), (900)) c (client), (VALUES (10), (1000), (10000)) p (prompts),
    LATERAL (SELECT now() - interval '100 days') t (at);

INSERT INTO public.workflow_batch_results (execution_id, client_id, batch_index, prompt_index, prompt_text,
    status, result_storage_path, error_code, error_message, processing_time_ms, attempts, mime_type,
    size_bytes, cost_microusd, image_sha256, created_at, completed_at)
SELECT execution_id, client_id, batch_index, batch_index, prompt_text, status,
    CASE WHEN done THEN client_id || '/' || execution_id || '/' || batch_index || '.png' END,
    CASE WHEN status = 'failed' THEN 'content_blocked' END,
    CASE WHEN status = 'failed' THEN 'The model refused the prompt.' END,
    CASE WHEN done THEN 3500 END, 1, CASE WHEN done THEN 'image/png' END,
    CASE WHEN done THEN 1048576 END, CASE WHEN done THEN 39000 END,
    CASE WHEN done THEN md5(prompt_text) || md5(execution_id::text) END,
    created_at, CASE WHEN status <> 'processing' THEN created_at + interval '5 seconds' END
FROM (
    SELECT *, status = 'completed' AS done
    FROM (
        SELECT e.id AS execution_id, e.client_id, p.position - 1 AS batch_index,
            p.prompt AS prompt_text, e.created_at,
            CASE WHEN e.status = 'failed' OR random() < 0.04 THEN 'failed'
                 WHEN e.status = 'processing' AND random() < 0.4 THEN 'processing'
                 ELSE 'completed' END AS status
        FROM public.workflow_executions e,
            jsonb_array_elements_text(e.input_data -> 'prompts') WITH ORDINALITY p (prompt, position)
    ) drawn
) results;

-- The rows that the disabled trigger would have appended. The bench folds them as the sweep does.
INSERT INTO app_private.execution_counts
SELECT client_id, workflow_id, status, count(*), count(duration_seconds),
    coalesce(sum(duration_seconds), 0)
FROM public.workflow_executions GROUP BY client_id, workflow_id, status;

DO $$
DECLARE
    taken record;
BEGIN
    FOR taken IN SELECT definition FROM taken_indexes LOOP
        EXECUTE taken.definition;
    END LOOP;
END $$;
COMMIT;
