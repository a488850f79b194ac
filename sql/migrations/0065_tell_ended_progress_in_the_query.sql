-- The progress of an ended execution from its counts. Without a search path, so that the planner puts it
-- into the query: a call of app.progress for each of fifty rows took longer than the rest of a list.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

-- NULL if the execution has not ended or has no counts.
CREATE FUNCTION app.ended_progress(p_status text, p_output_data jsonb) RETURNS json
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN p_status IN ('completed', 'failed')
                 AND jsonb_typeof(p_output_data -> 'successful') = 'number'
                 AND jsonb_typeof(p_output_data -> 'failed') = 'number'
        THEN json_build_object(
            'total', (p_output_data -> 'successful')::numeric + (p_output_data -> 'failed')::numeric,
            'successful', p_output_data -> 'successful', 'failed', p_output_data -> 'failed',
            'processing', 0, 'waiting', 0, 'submitted', 0, 'painted_by_provider', 0, 'paused', 0)
        END
$$;
REVOKE EXECUTE ON FUNCTION app.ended_progress(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.ended_progress(text, jsonb) TO masstock_api, masstock_admin;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app FROM masstock_owner;
RESET ROLE;
