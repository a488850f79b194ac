-- Cluster-wide roles; run before every migration, changes nothing the second time.
-- Written for a plain CREATEROLE login (RDS, Supabase), on PostgreSQL 15 and later.
DO $$
DECLARE
    wanted record;
    grants text := CASE WHEN current_setting('server_version_num')::int >= 160000
                        THEN ' WITH INHERIT TRUE, SET TRUE' ELSE '' END;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('masstock_owner', 'NOLOGIN'),            -- owns tables
            ('masstock_authz', 'NOLOGIN'),            -- owns the identity helpers
            ('masstock_admin', 'NOLOGIN'),            -- persona of a sealed administrator
            ('masstock_api', 'LOGIN NOINHERIT'),      -- the api function; also the tenant persona
            ('masstock_worker', 'LOGIN'),             -- fanout, generate, finalize
            -- Supabase brings these three; elsewhere nobody can log in as them.
            ('anon', 'NOLOGIN'),
            ('authenticated', 'NOLOGIN'),
            ('service_role', 'NOLOGIN')
        ) AS r (name, options)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted.name) THEN
            EXECUTE format('CREATE ROLE %I %s', wanted.name, wanted.options);
        END IF;
    END LOOP;

    -- The migrator acts as the owners; superusers need no membership.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT masstock_owner, masstock_authz TO %I', current_user) || grants;
    END IF;
    -- NOINHERIT: membership alone gives the api nothing until app.enter takes the persona.
    IF NOT pg_has_role('masstock_api', 'masstock_admin', 'MEMBER') THEN
        GRANT masstock_admin TO masstock_api;
    END IF;

    -- A pooled session must not be steered by what an earlier request left in it, and no session by
    -- what one set for its login.
    ALTER ROLE masstock_api RESET ALL;
    ALTER ROLE masstock_worker RESET ALL;
    ALTER ROLE masstock_api SET search_path = pg_catalog, public, pg_temp;
    ALTER ROLE masstock_worker SET search_path = pg_catalog, public, pg_temp;
    ALTER ROLE masstock_api SET statement_timeout = '25s';
    ALTER ROLE masstock_worker SET statement_timeout = '50s';
    ALTER ROLE masstock_api SET idle_in_transaction_session_timeout = '30s';
    ALTER ROLE masstock_worker SET idle_in_transaction_session_timeout = '60s';

    -- Temporary relations and relations in public could shadow a table in the next request.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    GRANT USAGE, CREATE ON SCHEMA public TO masstock_owner;
    GRANT USAGE ON SCHEMA public TO masstock_authz, masstock_api, masstock_admin, masstock_worker, authenticated;
    EXECUTE format('GRANT CREATE ON DATABASE %I TO masstock_authz', current_database());
END $$;
