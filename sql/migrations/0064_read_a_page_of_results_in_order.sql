-- The first results of an execution behind an index, in order. Row security applies to the caller. Below
-- the policy the planner expects few rows, so it read all results of an execution by the index of the
-- library and sorted them. These settings leave it the index of the execution.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

CREATE FUNCTION app.next_results(p_execution_id uuid, p_after integer, p_status text, p_limit integer)
RETURNS SETOF public.workflow_batch_results
LANGUAGE sql STABLE
SET search_path = '' SET enable_sort = off SET enable_bitmapscan = off AS $$
    SELECT * FROM public.workflow_batch_results r
    WHERE r.execution_id = p_execution_id AND r.batch_index > p_after
      AND (p_status IS NULL OR r.status = p_status)
    ORDER BY r.batch_index LIMIT p_limit
$$;
REVOKE EXECUTE ON FUNCTION app.next_results(uuid, integer, text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.next_results(uuid, integer, text, integer) TO masstock_api, masstock_admin;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app FROM masstock_owner;
RESET ROLE;
