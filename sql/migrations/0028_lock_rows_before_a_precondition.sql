-- PATCH and DELETE compare If-Match with a row that no other request can change before the commit.
-- A client user may not lock every row that the user may delete: SELECT … FOR UPDATE needs the
-- privilege and the policy of UPDATE.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

CREATE FUNCTION app.lock_ticket(p_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    SELECT FROM public.support_tickets t
    WHERE t.id = p_id AND (t.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
    FOR UPDATE
$$;

CREATE FUNCTION app.lock_request(p_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    SELECT FROM public.workflow_requests r
    WHERE r.id = p_id AND (r.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
    FOR UPDATE
$$;

CREATE FUNCTION app.lock_execution(p_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    SELECT FROM public.workflow_executions e
    WHERE e.id = p_id AND (e.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
    FOR UPDATE
$$;

REVOKE EXECUTE ON FUNCTION
    app.lock_ticket(uuid), app.lock_request(uuid), app.lock_execution(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    app.lock_ticket(uuid), app.lock_request(uuid), app.lock_execution(uuid)
    TO masstock_api, masstock_admin;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app FROM masstock_owner;
RESET ROLE;
