-- Telling a client that an execution has ended. The delivery is written in the transaction that ends
-- the execution, so that neither can be lost without the other.
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.clients
    ADD COLUMN webhook_url text NULL,
    ADD COLUMN webhook_secret_version integer NOT NULL DEFAULT 1 CHECK (webhook_secret_version >= 1);
-- Copied from the client at submission: the engine reads no clients.
ALTER TABLE public.workflow_executions
    ADD COLUMN webhook_url text NULL,
    ADD COLUMN webhook_secret_version integer NOT NULL DEFAULT 1;
GRANT INSERT (webhook_url, webhook_secret_version) ON public.workflow_executions TO masstock_api;

CREATE TABLE public.webhook_deliveries (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    execution_id uuid NOT NULL,
    client_id uuid NOT NULL,
    run integer NOT NULL,
    url text NOT NULL,
    secret_version integer NOT NULL,
    payload text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    -- NULL when there will be no further attempt.
    next_attempt_at timestamptz NULL DEFAULT now(),
    delivered_at timestamptz NULL,
    response_status integer NULL,
    error_message text NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (execution_id, run),
    FOREIGN KEY (execution_id, client_id)
        REFERENCES public.workflow_executions (id, client_id) ON DELETE CASCADE
);
COMMENT ON COLUMN public.webhook_deliveries.payload IS
    'The body as it is signed and sent: every attempt sends the same bytes.';
CREATE INDEX idx_webhook_deliveries_client_created_id
    ON public.webhook_deliveries (client_id, created_at DESC, id DESC);
CREATE INDEX idx_webhook_deliveries_due
    ON public.webhook_deliveries (next_attempt_at) WHERE next_attempt_at IS NOT NULL;

ALTER TABLE public.webhook_deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.webhook_deliveries FORCE ROW LEVEL SECURITY;
REVOKE ALL ON public.webhook_deliveries FROM PUBLIC, anon, authenticated;
CREATE POLICY "Maintenance by the owner" ON public.webhook_deliveries TO masstock_owner
    USING (true) WITH CHECK (true);
CREATE POLICY "Clients can view their own deliveries" ON public.webhook_deliveries
    FOR SELECT TO masstock_api, authenticated USING (client_id = (SELECT app.client_id()));
CREATE POLICY "Admins can view all deliveries" ON public.webhook_deliveries
    FOR SELECT TO masstock_admin, authenticated USING ((SELECT app.is_admin()));
CREATE POLICY "Workers read deliveries" ON public.webhook_deliveries
    FOR SELECT TO masstock_worker USING (true);
CREATE POLICY "Workers write deliveries" ON public.webhook_deliveries
    FOR INSERT TO masstock_worker WITH CHECK (true);
CREATE POLICY "Workers advance pending deliveries" ON public.webhook_deliveries
    FOR UPDATE TO masstock_worker USING (delivered_at IS NULL) WITH CHECK (true);
GRANT SELECT ON public.webhook_deliveries TO masstock_api, masstock_admin, authenticated;
GRANT SELECT,
      INSERT (execution_id, client_id, run, url, secret_version, payload, next_attempt_at),
      UPDATE (attempts, next_attempt_at, delivered_at, response_status, error_message)
    ON public.webhook_deliveries TO masstock_worker;

RESET ROLE;
