-- The seed's "RLS by Table" matrix. Row policies say whose rows and in which state; column grants
-- say which columns. Helpers are wrapped in (SELECT …) so that they run once per statement.
SET LOCAL ROLE masstock_owner;

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['users', 'clients', 'workflows', 'workflow_requests',
        'workflow_executions', 'workflow_batch_results', 'support_tickets', 'idempotency_keys']
    LOOP
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC, anon, authenticated', t);
        -- FORCE binds the owner too; without this, data migrations would silently change nothing.
        EXECUTE format('CREATE POLICY "Maintenance by the owner" ON public.%I TO masstock_owner
                        USING (true) WITH CHECK (true)', t);
    END LOOP;
END $$;

-- users -------------------------------------------------------------------------------------
CREATE POLICY "Users can view their own profile" ON public.users
    FOR SELECT TO masstock_api, authenticated
    USING (id = (SELECT app.uid()) AND (SELECT app.is_active()));
CREATE POLICY "Admins have full access" ON public.users
    FOR ALL TO masstock_admin, authenticated
    USING ((SELECT app.is_admin())) WITH CHECK ((SELECT app.is_admin()));
CREATE POLICY "Identity helpers read users" ON public.users
    FOR SELECT TO masstock_authz USING (true);
CREATE POLICY "Identity helpers record logins" ON public.users
    FOR UPDATE TO masstock_authz USING (true) WITH CHECK (true);
GRANT SELECT ON public.users TO masstock_api, authenticated;
-- No DELETE on users, clients and workflows: they are ended by their status.
GRANT SELECT, INSERT, UPDATE ON public.users TO masstock_admin;

-- clients -----------------------------------------------------------------------------------
CREATE POLICY "Clients can view their own data" ON public.clients
    FOR SELECT TO masstock_api, authenticated USING (id = (SELECT app.client_id()));
CREATE POLICY "Admins have full access" ON public.clients
    FOR ALL TO masstock_admin, authenticated
    USING ((SELECT app.is_admin())) WITH CHECK ((SELECT app.is_admin()));
CREATE POLICY "Identity helpers read clients" ON public.clients
    FOR SELECT TO masstock_authz USING (true);
GRANT SELECT ON public.clients TO masstock_api, authenticated;
GRANT SELECT, INSERT, UPDATE ON public.clients TO masstock_admin;

-- workflows ---------------------------------------------------------------------------------
CREATE POLICY "Everybody signed in can view active workflows" ON public.workflows
    FOR SELECT TO masstock_api, authenticated
    USING (status = 'active' AND (SELECT app.is_active()));
CREATE POLICY "Admins have full access" ON public.workflows
    FOR ALL TO masstock_admin, authenticated
    USING ((SELECT app.is_admin())) WITH CHECK ((SELECT app.is_admin()));
CREATE POLICY "Identity helpers read workflow names" ON public.workflows
    FOR SELECT TO masstock_authz USING (true);
CREATE POLICY "Workers read workflows" ON public.workflows
    FOR SELECT TO masstock_worker USING (true);
GRANT SELECT ON public.workflows TO masstock_api, authenticated;
GRANT SELECT, INSERT, UPDATE ON public.workflows TO masstock_admin;
GRANT SELECT (id, config) ON public.workflows TO masstock_worker;

-- workflow_requests -------------------------------------------------------------------------
CREATE POLICY "Clients can view their own requests" ON public.workflow_requests
    FOR SELECT TO masstock_api, authenticated USING (client_id = (SELECT app.client_id()));
CREATE POLICY "Clients can create requests for visible workflows" ON public.workflow_requests
    FOR INSERT TO masstock_api, authenticated
    WITH CHECK (client_id = (SELECT app.client_id()) AND status = 'pending'
                AND EXISTS (SELECT FROM public.workflows w WHERE w.id = workflow_id));
CREATE POLICY "Clients can edit their pending requests" ON public.workflow_requests
    FOR UPDATE TO masstock_api, authenticated
    USING (client_id = (SELECT app.client_id()) AND status = 'pending')
    WITH CHECK (client_id = (SELECT app.client_id()) AND status = 'pending');
CREATE POLICY "Clients can withdraw their pending requests" ON public.workflow_requests
    FOR DELETE TO masstock_api, authenticated
    USING (client_id = (SELECT app.client_id()) AND status = 'pending');
CREATE POLICY "Admins have full access" ON public.workflow_requests
    FOR ALL TO masstock_admin, authenticated
    USING ((SELECT app.is_admin())) WITH CHECK ((SELECT app.is_admin()));
GRANT SELECT, DELETE ON public.workflow_requests TO masstock_api, authenticated;
GRANT INSERT (id, client_id, workflow_id, notes), UPDATE (notes)
    ON public.workflow_requests TO masstock_api, authenticated;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.workflow_requests TO masstock_admin;

-- workflow_executions -----------------------------------------------------------------------
CREATE POLICY "Clients can view their own executions" ON public.workflow_executions
    FOR SELECT TO masstock_api, authenticated USING (client_id = (SELECT app.client_id()));
CREATE POLICY "Users can start visible workflows for their client" ON public.workflow_executions
    FOR INSERT TO masstock_api, authenticated
    WITH CHECK (client_id = (SELECT app.client_id()) AND user_id = (SELECT app.uid())
                AND status = 'pending'
                AND EXISTS (SELECT FROM public.workflows w WHERE w.id = workflow_id));
CREATE POLICY "Clients can delete their ended executions" ON public.workflow_executions
    FOR DELETE TO masstock_api, authenticated
    USING (client_id = (SELECT app.client_id()) AND status IN ('completed', 'failed'));
CREATE POLICY "Admins have full access" ON public.workflow_executions
    FOR ALL TO masstock_admin, authenticated
    USING ((SELECT app.is_admin())) WITH CHECK ((SELECT app.is_admin()));
CREATE POLICY "Workers read executions" ON public.workflow_executions
    FOR SELECT TO masstock_worker USING (true);
CREATE POLICY "Workers advance live executions" ON public.workflow_executions
    FOR UPDATE TO masstock_worker
    USING (status IN ('pending', 'processing'))
    WITH CHECK (status IN ('pending', 'processing', 'completed', 'failed'));
GRANT SELECT, DELETE ON public.workflow_executions TO masstock_api, authenticated;
GRANT INSERT (id, workflow_id, client_id, user_id, input_data, deadline_at)
    ON public.workflow_executions TO masstock_api, authenticated;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.workflow_executions TO masstock_admin;
GRANT SELECT ON public.workflow_executions TO masstock_worker;
GRANT UPDATE (status, output_data, started_at, completed_at, duration_seconds, error_message,
              error_code, run)
    ON public.workflow_executions TO masstock_worker;

-- workflow_batch_results --------------------------------------------------------------------
CREATE POLICY "Clients can view their own results" ON public.workflow_batch_results
    FOR SELECT TO masstock_api, authenticated USING (client_id = (SELECT app.client_id()));
CREATE POLICY "Admins have full access" ON public.workflow_batch_results
    FOR ALL TO masstock_admin, authenticated
    USING ((SELECT app.is_admin())) WITH CHECK ((SELECT app.is_admin()));
CREATE POLICY "Workers read results" ON public.workflow_batch_results
    FOR SELECT TO masstock_worker USING (true);
CREATE POLICY "Workers lay out results" ON public.workflow_batch_results
    FOR INSERT TO masstock_worker WITH CHECK (status = 'processing');
CREATE POLICY "Workers advance unfinished results" ON public.workflow_batch_results
    FOR UPDATE TO masstock_worker USING (status = 'processing') WITH CHECK (true);
GRANT SELECT ON public.workflow_batch_results TO masstock_api, authenticated;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.workflow_batch_results TO masstock_admin;
GRANT SELECT ON public.workflow_batch_results TO masstock_worker;
GRANT INSERT (execution_id, client_id, batch_index, prompt_text, custom_id)
    ON public.workflow_batch_results TO masstock_worker;
GRANT UPDATE (status, result_url, result_storage_path, error_message, processing_time_ms,
              completed_at, error_code, attempts, failures, throttles, claimed_until, mime_type,
              size_bytes, cost_microusd, image_sha256)
    ON public.workflow_batch_results TO masstock_worker;

-- support_tickets ---------------------------------------------------------------------------
CREATE POLICY "Users can view tickets of their client" ON public.support_tickets
    FOR SELECT TO masstock_api, authenticated USING (client_id = (SELECT app.client_id()));
CREATE POLICY "Users can create tickets for their client" ON public.support_tickets
    FOR INSERT TO masstock_api, authenticated
    WITH CHECK (client_id = (SELECT app.client_id()) AND user_id = (SELECT app.uid())
                AND status = 'open');
CREATE POLICY "Users can edit open tickets of their client" ON public.support_tickets
    FOR UPDATE TO masstock_api, authenticated
    USING (client_id = (SELECT app.client_id()) AND status = 'open')
    WITH CHECK (client_id = (SELECT app.client_id()) AND status = 'open');
CREATE POLICY "Users can delete tickets of their client" ON public.support_tickets
    FOR DELETE TO masstock_api, authenticated USING (client_id = (SELECT app.client_id()));
CREATE POLICY "Admins have full access" ON public.support_tickets
    FOR ALL TO masstock_admin, authenticated
    USING ((SELECT app.is_admin())) WITH CHECK ((SELECT app.is_admin()));
GRANT SELECT, DELETE ON public.support_tickets TO masstock_api, authenticated;
GRANT INSERT (id, client_id, user_id, subject, description, priority),
      UPDATE (subject, description, priority)
    ON public.support_tickets TO masstock_api, authenticated;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.support_tickets TO masstock_admin;

-- idempotency_keys --------------------------------------------------------------------------
CREATE POLICY "Users can view their own keys" ON public.idempotency_keys
    FOR SELECT TO masstock_api, masstock_admin
    USING (user_id = (SELECT app.uid()) AND (SELECT app.is_active()));
CREATE POLICY "Users can record their own keys" ON public.idempotency_keys
    FOR INSERT TO masstock_api, masstock_admin
    WITH CHECK (user_id = (SELECT app.uid()) AND (SELECT app.is_active()));
CREATE POLICY "Workers forget expired keys" ON public.idempotency_keys
    FOR ALL TO masstock_worker USING (expires_at < now());
GRANT SELECT, INSERT ON public.idempotency_keys TO masstock_api, masstock_admin;
GRANT SELECT (expires_at), DELETE ON public.idempotency_keys TO masstock_worker;

RESET ROLE;
