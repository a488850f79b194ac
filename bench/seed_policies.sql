-- The seed schema's policies on the same tables, for a separate role. Its admin policy on `users`
-- reads `users`, and Postgres refuses that recursion. So a function that bypasses row security reads
-- the role instead. Nothing else is changed.
GRANT USAGE ON SCHEMA public, auth TO bench_seed_tenant;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO bench_seed_tenant;
-- The bench reports a longer statement as "over 10 s".
ALTER ROLE bench_seed_tenant SET statement_timeout = '10s';

CREATE FUNCTION public.is_admin() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT EXISTS (SELECT 1 FROM users WHERE users.id = auth.uid() AND users.role = 'admin')
$$;

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['clients', 'workflows', 'workflow_requests', 'workflow_executions',
        'workflow_batch_results', 'support_tickets']
    LOOP
        EXECUTE format(
            'CREATE POLICY "Admins can access all records" ON public.%I FOR ALL TO bench_seed_tenant
             USING (EXISTS (
                SELECT 1 FROM users WHERE users.id = auth.uid() AND users.role = ''admin''))', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['workflow_requests', 'workflow_executions', 'support_tickets']
    LOOP
        EXECUTE format(
            'CREATE POLICY "Clients can view their own data (seed)" ON public.%I FOR SELECT
             TO bench_seed_tenant
             USING (client_id IN (SELECT client_id FROM users WHERE users.id = auth.uid()))', t);
    END LOOP;
END $$;
CREATE POLICY "Admins can access all records" ON public.users FOR ALL TO bench_seed_tenant
    USING (public.is_admin());
CREATE POLICY "Users can view their own profile (seed)" ON public.users FOR SELECT
    TO bench_seed_tenant USING (id = auth.uid());
-- The seed schema describes this policy in prose only; it follows the pattern of the others.
CREATE POLICY "Clients can view their own data (seed)" ON public.clients FOR SELECT
    TO bench_seed_tenant
    USING (id IN (SELECT client_id FROM users WHERE users.id = auth.uid()));
CREATE POLICY "All authenticated users can view active workflows" ON public.workflows FOR SELECT
    TO bench_seed_tenant USING (status = 'active');
CREATE POLICY "Clients can access their results" ON public.workflow_batch_results FOR SELECT
    TO bench_seed_tenant
    USING (execution_id IN (
        SELECT id FROM workflow_executions
        WHERE client_id IN (SELECT client_id FROM users WHERE users.id = auth.uid())));

-- The owner's forms of the functions that read lists: they read tables instead of the views that hide rows.
DO $$
DECLARE
    reader regprocedure;
    plain text;
BEGIN
    FOREACH reader IN ARRAY ARRAY[
        'app.describe_executions(uuid[], text)',
        'app.newest_executions(timestamptz, uuid, integer, text)']::regprocedure[]
    LOOP
        plain := pg_get_functiondef(reader);
        plain := replace(plain, 'app.people', 'public.users');
        plain := replace(plain, 'app.workflow_names', 'public.workflows');
        plain := replace(plain, 'app.describe_executions', 'public.describe_executions');
        EXECUTE replace(plain, 'app.newest_executions', 'public.newest_executions');
    END LOOP;
END $$;
GRANT USAGE ON SCHEMA app TO bench_seed_tenant;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public, app TO bench_seed_tenant;
