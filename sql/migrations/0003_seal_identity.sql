-- Who is calling. The api signs (sub, exp); the database checks the signature, looks the user up
-- and seals the user id to this backend and this transaction. Policies trust the seal, never the
-- claim, so that SQL injected into one request cannot speak for another tenant, then or later.

-- auth.uid() as Supabase has it, only where Supabase has not brought its own.
DO $$
BEGIN
    IF to_regprocedure('auth.uid()') IS NULL THEN
        CREATE SCHEMA IF NOT EXISTS auth;
        CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS
            -- nullif: a transaction-local setting reverts to '', not to NULL
            'SELECT (nullif(current_setting(''request.jwt.claims'', true), '''')::jsonb ->> ''sub'')::uuid';
        GRANT USAGE ON SCHEMA auth TO PUBLIC;
    END IF;
    GRANT USAGE ON SCHEMA auth TO masstock_authz;
EXCEPTION WHEN insufficient_privilege THEN
    NULL;  -- Supabase: the schema is its own, and open to every role
END $$;

GRANT SELECT (id, name, role, status, client_id, last_login), UPDATE (last_login)
    ON public.users TO masstock_authz;
GRANT SELECT (id, status) ON public.clients TO masstock_authz;
GRANT SELECT (id, name) ON public.workflows TO masstock_authz;

SET LOCAL ROLE masstock_authz;

CREATE SCHEMA app;
CREATE SCHEMA app_private;
GRANT USAGE ON SCHEMA app TO masstock_owner, masstock_api, masstock_admin, masstock_worker, authenticated;

-- 1: shared with the api, installed by `make identity-key`. 2: the database's own.
CREATE TABLE app_private.keys (
    id smallint PRIMARY KEY CHECK (id IN (1, 2)),
    ipad bytea NOT NULL,
    opad bytea NOT NULL
);

-- Stores a key ready for HMAC-SHA256 (RFC 2104): the padded blocks, computed once.
CREATE FUNCTION app_private.set_key(p_id integer, p_key bytea) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    i bytea := decode(repeat('36', 64), 'hex');
    o bytea := decode(repeat('5c', 64), 'hex');
BEGIN
    IF length(p_key) NOT BETWEEN 32 AND 64 THEN
        RAISE EXCEPTION 'the key must be 32 to 64 bytes';
    END IF;
    FOR n IN 0 .. length(p_key) - 1 LOOP
        i := set_byte(i, n, get_byte(i, n) # get_byte(p_key, n));
        o := set_byte(o, n, get_byte(o, n) # get_byte(p_key, n));
    END LOOP;
    INSERT INTO app_private.keys VALUES (p_id, i, o)
    ON CONFLICT (id) DO UPDATE SET ipad = excluded.ipad, opad = excluded.opad;
END $$;

CREATE FUNCTION app_private.mac(p_id integer, p_message text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = '' AS $$
DECLARE
    k record;
BEGIN
    SELECT ipad, opad INTO STRICT k FROM app_private.keys WHERE id = p_id;
    RETURN encode(sha256(k.opad || sha256(k.ipad || convert_to(p_message, 'UTF8'))), 'hex');
END $$;

SELECT app_private.set_key(2, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

CREATE FUNCTION app_private.seal(p_sub text) RETURNS text
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = '' AS $$
    SELECT app_private.mac(2, p_sub || '|' || pg_backend_pid() || '|' || extract(epoch FROM now()))
$$;

CREATE FUNCTION app.begin_request(p_sub uuid, p_exp bigint, p_mac text)
RETURNS TABLE (role text, client_id uuid, last_login timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    now_s bigint := extract(epoch FROM clock_timestamp());
BEGIN
    -- <> on two hashes of fixed length: what a timing tells is a prefix of a MAC that dies in 300 s
    IF p_sub IS NULL OR p_exp IS NULL OR p_mac IS NULL OR p_exp NOT BETWEEN now_s AND now_s + 300
       OR app_private.mac(1, p_sub || '|' || p_exp) <> p_mac THEN
        RAISE EXCEPTION 'the caller''s identity is not signed' USING ERRCODE = 'MS401';
    END IF;
    SELECT u.role, u.client_id, u.last_login INTO role, client_id, last_login
    FROM public.users u LEFT JOIN public.clients c ON c.id = u.client_id
    WHERE u.id = p_sub AND u.status = 'active' AND (u.role = 'admin' OR c.status = 'active');
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the account is not active' USING ERRCODE = 'MS403';
    END IF;
    PERFORM
        set_config('request.jwt.claims',
                   json_build_object('sub', p_sub, 'role', 'authenticated')::text, true),
        set_config('app.seal', app_private.seal(p_sub::text), true);
    RETURN NEXT;
END $$;

-- First statement of every request: identity and persona at once, both gone at COMMIT.
-- SECURITY INVOKER, since a role cannot be set from inside a definer function.
CREATE FUNCTION app.enter(p_sub uuid, p_exp bigint, p_mac text)
RETURNS TABLE (role text, client_id uuid, last_login timestamptz)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    -- A pooled session may have been told otherwise; then every query would fail.
    PERFORM pg_catalog.set_config('row_security', 'on', true);
    SELECT b.role, b.client_id, b.last_login INTO role, client_id, last_login
    FROM app.begin_request(p_sub, p_exp, p_mac) AS b;
    PERFORM pg_catalog.set_config(
        'role', CASE role WHEN 'admin' THEN 'masstock_admin' ELSE 'masstock_api' END, true);
    RETURN NEXT;
END $$;

-- The sealed caller, or NULL. On Supabase PostgREST sets the claims itself, as `authenticator`.
CREATE FUNCTION app.uid() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    claimed uuid := auth.uid();
BEGIN
    IF claimed IS NULL THEN
        RETURN NULL;
    ELSIF session_user = 'authenticator' THEN
        RETURN claimed;
    ELSIF coalesce(current_setting('app.seal', true), '') = app_private.seal(claimed::text) THEN
        RETURN claimed;
    END IF;
    RETURN NULL;
END $$;

-- The client of a live client user; NULL for everybody else.
CREATE FUNCTION app.client_id() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN (
        SELECT u.client_id FROM public.users u JOIN public.clients c ON c.id = u.client_id
        WHERE u.id = (SELECT app.uid())
          AND u.role = 'client' AND u.status = 'active' AND c.status = 'active');
END $$;

CREATE FUNCTION app.is_admin() RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM public.users u
        WHERE u.id = (SELECT app.uid()) AND u.role = 'admin' AND u.status = 'active');
END $$;

CREATE FUNCTION app.is_active() RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN (SELECT app.client_id()) IS NOT NULL OR (SELECT app.is_admin());
END $$;

CREATE FUNCTION app.record_login() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    UPDATE public.users SET last_login = now() WHERE id = (SELECT app.uid());
END $$;

-- Names that a client user may read though the rows behind them are not theirs to read:
-- colleagues, and workflows retired since.
CREATE VIEW app.people WITH (security_barrier) AS
    SELECT u.id, u.name FROM public.users u
    WHERE u.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin());
CREATE VIEW app.workflow_names WITH (security_barrier) AS
    SELECT w.id, w.name FROM public.workflows w WHERE (SELECT app.is_active());

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app, app_private FROM PUBLIC;
-- To the persona too: a session may have been left in it.
GRANT EXECUTE ON FUNCTION app.begin_request(uuid, bigint, text), app.enter(uuid, bigint, text)
    TO masstock_api, masstock_admin;
GRANT EXECUTE ON FUNCTION app.uid(), app.client_id(), app.is_admin(), app.is_active(), app.record_login()
    TO masstock_api, masstock_admin, authenticated;
GRANT SELECT ON app.people, app.workflow_names TO masstock_api, masstock_admin, authenticated;

RESET ROLE;
