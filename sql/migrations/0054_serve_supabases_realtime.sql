-- Supabase's Realtime asks the policies which subscriber may see a changed row: as its own login,
-- with the claims of the subscriber's token, as PostgREST does.
SET LOCAL ROLE masstock_authz;

CREATE OR REPLACE FUNCTION app.uid() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = '' AS $$
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

RESET ROLE;
