-- The row security, triggers and grants of the schema document, built exactly as it describes them.
CREATE FUNCTION public.set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = now();
    RETURN NEW;
END $$;

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['users', 'clients', 'workflows', 'workflow_requests',
        'workflow_executions', 'workflow_batch_results', 'support_tickets']
    LOOP
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format(
            'CREATE POLICY "Admins can access all records" ON public.%I FOR ALL USING (
                EXISTS (SELECT 1 FROM users WHERE users.id = auth.uid() AND users.role = ''admin''))', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['workflow_requests', 'workflow_executions', 'support_tickets']
    LOOP
        EXECUTE format(
            'CREATE POLICY "Clients can view their own data" ON public.%I FOR SELECT USING (
                client_id IN (SELECT client_id FROM users WHERE users.id = auth.uid()))', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['users', 'clients', 'workflows', 'workflow_requests', 'support_tickets']
    LOOP
        EXECUTE format('CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.%I
                        FOR EACH ROW EXECUTE FUNCTION public.set_updated_at()', t);
    END LOOP;
END $$;

CREATE POLICY "Users can view their own profile" ON public.users FOR SELECT USING (id = auth.uid());

CREATE POLICY "Admins can access all files" ON storage.objects FOR SELECT
    USING (bucket_id = 'workflow-results' AND EXISTS (
        SELECT 1 FROM users WHERE id = auth.uid() AND role = 'admin'));
CREATE POLICY "Clients can access their results" ON storage.objects FOR SELECT
    USING (bucket_id = 'workflow-results' AND (storage.foldername(name))[1] IN (
        SELECT id::text FROM workflow_executions
        WHERE client_id IN (SELECT client_id FROM users WHERE id = auth.uid())));
