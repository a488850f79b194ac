-- Every policy of a statement asks once who is calling, five or six times for one execution with its
-- names: a third less each. A function in SQL is set up anew by every call, and so is every
-- subselect in a query of plpgsql; what is asked and answered stays as it was.
SET LOCAL ROLE masstock_authz;

CREATE OR REPLACE FUNCTION app_private.seal(p_sub text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = '' AS $$
BEGIN
    RETURN app_private.mac(2, p_sub || '|' || pg_backend_pid() || '|' || extract(epoch FROM now()));
END $$;

CREATE OR REPLACE FUNCTION app.client_id() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    caller uuid := app.uid();
BEGIN
    RETURN (
        SELECT u.client_id FROM public.users u JOIN public.clients c ON c.id = u.client_id
        WHERE u.id = caller
          AND u.role = 'client' AND u.status = 'active' AND c.status = 'active');
END $$;

CREATE OR REPLACE FUNCTION app.is_admin() RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    caller uuid := app.uid();
BEGIN
    RETURN EXISTS (
        SELECT FROM public.users u
        WHERE u.id = caller AND u.role = 'admin' AND u.status = 'active');
END $$;

CREATE OR REPLACE FUNCTION app.is_active() RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    caller uuid := app.uid();
BEGIN
    RETURN EXISTS (
        SELECT FROM public.users u LEFT JOIN public.clients c ON c.id = u.client_id
        WHERE u.id = caller AND u.status = 'active' AND (u.role = 'admin' OR c.status = 'active'));
END $$;

RESET ROLE;
