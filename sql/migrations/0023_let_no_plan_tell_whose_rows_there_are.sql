-- What a caller of one tenant's could learn of another's without being shown a row.
--
-- PostgreSQL may run a filter of the caller's before a policy, where its operators are leakproof
-- (= and < on text, starts_with). It puts `client_id = (SELECT …)` last, being also the index's
-- condition, and the SELECT runs only if some row came so far: whoever sees whether it ran has
-- compared another tenant's text. Said once more in a form that is no index's condition, the policy
-- stands before every filter that costs as much. (`coalesce`: of `IS TRUE` the planner believes that it
-- selects once more as sharply, and no longer reads a big client's list along its index.)
SET LOCAL ROLE masstock_owner;

ALTER POLICY "Users can view their own profile" ON public.users
    USING (id = (SELECT app.uid()) AND coalesce(id = (SELECT app.uid()), false)
           AND (SELECT app.is_active()));
ALTER POLICY "Clients can view their own data" ON public.clients
    USING (id = (SELECT app.client_id()) AND coalesce(id = (SELECT app.client_id()), false));
ALTER POLICY "Clients can view their own requests" ON public.workflow_requests
    USING (client_id = (SELECT app.client_id()) AND coalesce(client_id = (SELECT app.client_id()), false));
ALTER POLICY "Clients can view their own executions" ON public.workflow_executions
    USING (client_id = (SELECT app.client_id()) AND coalesce(client_id = (SELECT app.client_id()), false));
ALTER POLICY "Clients can view their own results" ON public.workflow_batch_results
    USING (client_id = (SELECT app.client_id()) AND coalesce(client_id = (SELECT app.client_id()), false));
ALTER POLICY "Users can view tickets of their client" ON public.support_tickets
    USING (client_id = (SELECT app.client_id()) AND coalesce(client_id = (SELECT app.client_id()), false));
ALTER POLICY "Clients can view their own spending" ON public.spend_ledger
    USING (client_id = (SELECT app.client_id()) AND coalesce(client_id = (SELECT app.client_id()), false));
ALTER POLICY "Clients can view their own deliveries" ON public.webhook_deliveries
    USING (client_id = (SELECT app.client_id()) AND coalesce(client_id = (SELECT app.client_id()), false));
ALTER POLICY "Users can view their own keys" ON public.idempotency_keys
    USING (user_id = (SELECT app.uid()) AND coalesce(user_id = (SELECT app.uid()), false)
           AND (SELECT app.is_active()));

-- A foreign key tells that a hidden row exists; the policy is asked before it.
ALTER POLICY "Users can record their own keys" ON public.idempotency_keys
    WITH CHECK (user_id = (SELECT app.uid()) AND (SELECT app.is_active())
                AND client_id IS NOT DISTINCT FROM (SELECT app.client_id()));

-- An estimate of rows quotes the most common values, whosever they are, and Supabase's own API shows
-- estimates. No query of ours selects by these columns.
ALTER TABLE public.workflow_batch_results
    ALTER COLUMN prompt_text SET STATISTICS 0, ALTER COLUMN error_message SET STATISTICS 0;
ALTER TABLE public.workflow_executions
    ALTER COLUMN error_message SET STATISTICS 0, ALTER COLUMN webhook_url SET STATISTICS 0;
ALTER TABLE public.webhook_deliveries ALTER COLUMN url SET STATISTICS 0;
ALTER TABLE public.workflow_requests ALTER COLUMN notes SET STATISTICS 0;
ALTER TABLE public.support_tickets
    ALTER COLUMN subject SET STATISTICS 0, ALTER COLUMN description SET STATISTICS 0;
ALTER TABLE public.users ALTER COLUMN name SET STATISTICS 0, ALTER COLUMN email SET STATISTICS 0;
ALTER TABLE public.clients ALTER COLUMN name SET STATISTICS 0, ALTER COLUMN email SET STATISTICS 0;
-- The same type again rewrites nothing and forgets what was collected so far.
ALTER TABLE public.workflow_batch_results ALTER COLUMN prompt_text TYPE text;
ALTER TABLE public.workflow_requests ALTER COLUMN notes TYPE text;
ALTER TABLE public.support_tickets
    ALTER COLUMN subject TYPE text, ALTER COLUMN description TYPE text;

-- Whoever inserts past our API gets the usual deadline: one that never comes would keep the sweep
-- busy for good.
REVOKE INSERT (deadline_at) ON public.workflow_executions FROM authenticated;
ALTER TABLE public.workflow_executions ALTER COLUMN deadline_at SET DEFAULT now() + interval '6 hours';

RESET ROLE;
SET LOCAL ROLE masstock_authz;

-- As before, but claims that are not of our making are no error: an error would tell that the
-- question was asked. PostgREST's and the storage API's are theirs to get right. Every policy of a
-- statement asks, some twice: app_private.seal and mac stand here word for word, a third of a call.
CREATE OR REPLACE FUNCTION app.uid() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    claims text := nullif(current_setting('request.jwt.claims', true), '');
    claimed text;
BEGIN
    IF claims IS NULL THEN
        RETURN NULL;
    ELSIF session_user IN ('authenticator', 'supabase_storage_admin') THEN
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

-- As before, and a commit of this request is durable, whatever an earlier one told the session.
CREATE OR REPLACE FUNCTION app.enter(p_sub uuid, p_exp bigint, p_mac text)
RETURNS TABLE (role text, client_id uuid, last_login timestamptz)
LANGUAGE plpgsql VOLATILE AS $$
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

RESET ROLE;
