-- A submission chooses the events of its webhook. The deliveries of one execution form a queue: each
-- has a number, and only the first that is not finished is due.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.workflow_executions
    ADD COLUMN webhook_events text[] NOT NULL DEFAULT '{execution.completed,execution.failed}';
GRANT INSERT (webhook_events) ON public.workflow_executions TO masstock_api;
CREATE INDEX idx_executions_announcing ON public.workflow_executions (id)
    WHERE status = 'processing' AND webhook_url IS NOT NULL
      AND webhook_events && '{result.completed,result.failed}';

ALTER TABLE public.workflow_batch_results ADD COLUMN announced_at timestamptz NULL;
COMMENT ON COLUMN public.workflow_batch_results.announced_at IS
    '`completed_at` of the outcome that a delivery announces. A retry gives the result another one.';

ALTER TABLE public.webhook_deliveries
    ALTER COLUMN run DROP NOT NULL,
    ADD COLUMN type text NULL,
    ADD COLUMN sequence integer NULL;
COMMENT ON COLUMN public.webhook_deliveries.run IS
    'The run whose end is told, once; NULL for other events.';
COMMENT ON COLUMN public.webhook_deliveries.type IS
    'The event; NULL for rows of earlier releases.';
COMMENT ON COLUMN public.webhook_deliveries.sequence IS
    'Place in the execution''s queue, from 0; NULL for rows of earlier releases, which come first.';
COMMENT ON COLUMN public.webhook_deliveries.next_attempt_at IS
    'NULL if no attempt follows. Infinity while an earlier delivery of the execution is not finished.';
CREATE UNIQUE INDEX idx_webhook_deliveries_sequence
    ON public.webhook_deliveries (execution_id, sequence);
CREATE INDEX idx_webhook_deliveries_pending
    ON public.webhook_deliveries (execution_id, sequence) WHERE next_attempt_at IS NOT NULL;

-- Of functions of the previous release too.
CREATE FUNCTION public.queue_delivery() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
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
REVOKE EXECUTE ON FUNCTION public.queue_delivery() FROM PUBLIC;
CREATE TRIGGER queue_delivery BEFORE INSERT ON public.webhook_deliveries
    FOR EACH ROW EXECUTE FUNCTION public.queue_delivery();

-- Queues deliveries of at most 100 results each for the outcomes that no delivery announces yet, if
-- the execution's webhook wants them. Returns the number of results.
CREATE FUNCTION app.announce_results(p_execution_id uuid) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
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
REVOKE EXECUTE ON FUNCTION app.announce_results(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.announce_results(uuid) TO masstock_worker;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app FROM masstock_owner;
RESET ROLE;
