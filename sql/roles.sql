-- The roles of the whole server. Runs before every migration; the second run changes nothing.
-- A plain CREATEROLE login is enough (RDS, Supabase), on PostgreSQL 15 and later.
DO $$
DECLARE
    wanted record;
    grants text := CASE WHEN current_setting('server_version_num')::int >= 160000
                        THEN ' WITH INHERIT TRUE, SET TRUE' ELSE '' END;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('masstock_owner', 'NOLOGIN'),            -- owns the tables
            ('masstock_authz', 'NOLOGIN'),            -- owns the identity helpers
            ('masstock_admin', 'NOLOGIN'),            -- the role of administrators' requests
            ('masstock_api', 'LOGIN NOINHERIT'),      -- the api's login; the role of client users' requests
            ('masstock_worker', 'LOGIN'),             -- the login of fanout, generate and finalize
            -- Supabase has these three already. On other servers they have no login.
            ('anon', 'NOLOGIN'),
            ('authenticated', 'NOLOGIN'),
            ('service_role', 'NOLOGIN')
        ) AS r (name, options)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted.name) THEN
            EXECUTE format('CREATE ROLE %I %s', wanted.name, wanted.options);
        END IF;
    END LOOP;

    -- The migrating login acts as both owners. A superuser needs no membership for that.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT masstock_owner, masstock_authz TO %I', current_user) || grants;
    END IF;
    -- Because of NOINHERIT the membership has no effect until app.enter sets the role.
    IF NOT pg_has_role('masstock_api', 'masstock_admin', 'MEMBER') THEN
        GRANT masstock_admin TO masstock_api;
    END IF;

    -- Injected SQL can change its login's settings for later sessions. RESET ALL removes such
    -- changes. A pooled session returns to the values of the next lines.
    ALTER ROLE masstock_api RESET ALL;
    ALTER ROLE masstock_worker RESET ALL;
    ALTER ROLE masstock_api SET search_path = pg_catalog, public, pg_temp;
    ALTER ROLE masstock_worker SET search_path = pg_catalog, public, pg_temp;
    ALTER ROLE masstock_api SET statement_timeout = '25s';
    ALTER ROLE masstock_worker SET statement_timeout = '50s';
    ALTER ROLE masstock_api SET idle_in_transaction_session_timeout = '30s';
    ALTER ROLE masstock_worker SET idle_in_transaction_session_timeout = '60s';

    -- A temporary relation, or one in public, could hide a table from the next request.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    GRANT USAGE, CREATE ON SCHEMA public TO masstock_owner;
    GRANT USAGE ON SCHEMA public TO masstock_authz, masstock_api, masstock_admin, masstock_worker, authenticated;
    EXECUTE format('GRANT CREATE ON DATABASE %I TO masstock_authz', current_database());

    -- Large objects have no row security: injected SQL of one tenant could leave one for another.
    -- The statistics of tables count the rows of all tenants. Only a superuser can revoke these
    -- functions, so they stay open on RDS and Supabase (docs/security.md).
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        FOR wanted IN
            SELECT p.oid::regprocedure AS name, p.proname LIKE 'pg\_stat\_%' AS is_statistic
            FROM pg_catalog.pg_proc p
            WHERE p.pronamespace = 'pg_catalog'::regnamespace
              AND (p.proname ~ '^(lo_|loread$|lowrite$)'
                   OR p.proname ~ '^pg_stat_get_(xact_)?(numscans|tuples|live|dead|mod|ins|blocks)')
              AND has_function_privilege('public', p.oid, 'EXECUTE')
        LOOP
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', wanted.name);
            IF wanted.is_statistic THEN
                EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO pg_read_all_stats', wanted.name);
            END IF;
        END LOOP;
    END IF;
END $$;
