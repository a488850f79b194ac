-- Supabase's own API and storage, where they are: the same policies, the same rows.

SET LOCAL ROLE masstock_authz;

-- The sealed caller, or NULL. PostgREST and the storage API verify tokens themselves and set the
-- claims as logins of their own, which no tenant can use. The claims are read here, not by
-- auth.uid(): Supabase opens its schema auth to its own roles only.
CREATE OR REPLACE FUNCTION app.uid() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    claimed uuid :=
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid;
BEGIN
    IF claimed IS NULL THEN
        RETURN NULL;
    ELSIF session_user IN ('authenticator', 'supabase_storage_admin') THEN
        RETURN claimed;
    ELSIF coalesce(current_setting('app.seal', true), '') = app_private.seal(claimed::text) THEN
        RETURN claimed;
    END IF;
    RETURN NULL;
END $$;

RESET ROLE;

-- The schema document's two policies on the bucket workflow-results. Theirs may be there already,
-- asking public.users, which row security now closes to them.
DO $$
BEGIN
    IF to_regclass('storage.objects') IS NULL THEN
        RETURN;
    END IF;
    DROP POLICY IF EXISTS "Admins can access all files" ON storage.objects;
    CREATE POLICY "Admins can access all files" ON storage.objects FOR SELECT TO authenticated
        USING (bucket_id = 'workflow-results' AND (SELECT app.is_admin()));
    DROP POLICY IF EXISTS "Clients can access their results" ON storage.objects;
    CREATE POLICY "Clients can access their results" ON storage.objects FOR SELECT TO authenticated
        USING (bucket_id = 'workflow-results' AND (storage.foldername(name))[1] IN (
            SELECT e.id::text FROM public.workflow_executions e
            WHERE e.client_id = (SELECT app.client_id())));
END $$;
