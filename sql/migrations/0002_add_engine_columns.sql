-- What the engine adds to the seed: all nullable or defaulted, so that a front end written
-- against the seed keeps working.
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.workflow_executions
    ADD COLUMN error_code text NULL,
    ADD COLUMN run integer NOT NULL DEFAULT 0,
    ADD COLUMN deadline_at timestamptz NULL,
    ADD CONSTRAINT workflow_executions_id_client_id_key UNIQUE (id, client_id);

COMMENT ON COLUMN public.workflow_executions.error_code IS
    'Why the execution was stopped; set while it is processing, it also stops every further claim.';
COMMENT ON COLUMN public.workflow_executions.run IS
    'Number of the machine that may work on this execution: 0, 1, … one per machine started.';

ALTER TABLE public.workflow_batch_results
    ADD COLUMN client_id uuid NULL,
    ADD COLUMN custom_id text NULL,
    ADD COLUMN error_code text NULL,
    ADD COLUMN attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN failures integer NOT NULL DEFAULT 0,
    ADD COLUMN throttles integer NOT NULL DEFAULT 0,
    ADD COLUMN claimed_until timestamptz NULL,
    ADD COLUMN mime_type text NULL,
    ADD COLUMN size_bytes integer NULL,
    ADD COLUMN cost_microusd bigint NULL,
    ADD COLUMN image_sha256 text NULL;

COMMENT ON COLUMN public.workflow_batch_results.client_id IS
    'Copied from the execution: lets row security use an index instead of a subquery per row.';
COMMENT ON COLUMN public.workflow_batch_results.attempts IS
    'Claims so far; the number of the latest is the fence that its completion must carry.';
COMMENT ON COLUMN public.workflow_batch_results.failures IS
    'Retryable provider failures of this run, throttles aside.';

UPDATE public.workflow_batch_results r
SET client_id = e.client_id
FROM public.workflow_executions e
WHERE e.id = r.execution_id;

CREATE FUNCTION public.copy_execution_client() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    SELECT e.client_id INTO NEW.client_id
    FROM public.workflow_executions e WHERE e.id = NEW.execution_id;
    RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION public.copy_execution_client() FROM PUBLIC;

CREATE TRIGGER copy_execution_client BEFORE INSERT ON public.workflow_batch_results
    FOR EACH ROW WHEN (NEW.client_id IS NULL) EXECUTE FUNCTION public.copy_execution_client();

ALTER TABLE public.workflow_batch_results
    ALTER COLUMN client_id SET NOT NULL,
    ADD CONSTRAINT workflow_batch_results_execution_id_client_id_fkey
        FOREIGN KEY (execution_id, client_id) REFERENCES public.workflow_executions (id, client_id),
    -- Claims and completions rewrite a row a few times: room on the page keeps them HOT.
    SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE public.workflow_executions
    SET (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02);

CREATE UNIQUE INDEX idx_workflow_batch_results_custom_id
    ON public.workflow_batch_results (execution_id, custom_id) WHERE custom_id IS NOT NULL;

-- Keyset pages, one index per ordering that the API offers.
CREATE INDEX idx_workflow_executions_client_created_id
    ON public.workflow_executions (client_id, created_at DESC, id DESC);
CREATE INDEX idx_workflow_executions_created_id
    ON public.workflow_executions (created_at DESC, id DESC);
CREATE INDEX idx_workflow_requests_client_created_id
    ON public.workflow_requests (client_id, created_at DESC, id DESC);
CREATE INDEX idx_support_tickets_client_created_id
    ON public.support_tickets (client_id, created_at DESC, id DESC);
-- What the sweep looks at.
CREATE INDEX idx_workflow_executions_live
    ON public.workflow_executions (created_at) WHERE status IN ('pending', 'processing');

CREATE TABLE public.idempotency_keys (
    client_id uuid NULL REFERENCES public.clients (id),
    user_id uuid NOT NULL REFERENCES public.users (id),
    route text NOT NULL,
    key text NOT NULL,
    request_hmac text NOT NULL,
    response_ref uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '24 hours',
    PRIMARY KEY (user_id, route, key)
);
CREATE INDEX idx_idempotency_keys_client_id ON public.idempotency_keys (client_id);
CREATE INDEX idx_idempotency_keys_expires_at ON public.idempotency_keys (expires_at);

CREATE FUNCTION public.touch_updated_at() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION public.touch_updated_at() FROM PUBLIC;

-- A login is no change of the profile: last_login alone leaves updated_at as it is.
CREATE TRIGGER touch_updated_at BEFORE UPDATE OF id, email, name, role, status, client_id
    ON public.users FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE
    ON public.clients FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE
    ON public.workflows FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE
    ON public.workflow_requests FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE
    ON public.support_tickets FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

RESET ROLE;
