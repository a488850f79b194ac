-- Each report needs the counts of one dimension. Folded by both, they grow with clients × workflows;
-- by each, with the one plus the other. And what did not change is no longer written anew each minute.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app, app_private TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

COMMENT ON TABLE app_private.execution_counts IS 'What the trigger has appended since the last fold.';

-- A minute's changes stay on their pages.
CREATE TABLE app_private.executions_by_client (
    client_id uuid NOT NULL,
    status text NOT NULL,
    executions bigint NOT NULL,
    PRIMARY KEY (client_id, status)
) WITH (fillfactor = 70);
CREATE TABLE app_private.executions_by_workflow (
    workflow_id uuid NOT NULL,
    status text NOT NULL,
    executions bigint NOT NULL,
    durations bigint NOT NULL,
    duration_seconds bigint NOT NULL,
    PRIMARY KEY (workflow_id, status)
) WITH (fillfactor = 70);

-- Adds what has been appended to the sums. Readers see it here or there, never twice; of two folds
-- at once, the second takes what the first has left. In order, so that they do not deadlock.
CREATE OR REPLACE FUNCTION app.fold_execution_counts() RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    WITH taken AS (DELETE FROM app_private.execution_counts RETURNING *), by_client AS (
        INSERT INTO app_private.executions_by_client AS kept
        SELECT client_id, status, sum(executions) FROM taken
        GROUP BY client_id, status HAVING sum(executions) <> 0 ORDER BY client_id, status
        ON CONFLICT (client_id, status)
        DO UPDATE SET executions = kept.executions + excluded.executions
    )
    INSERT INTO app_private.executions_by_workflow AS kept
    SELECT workflow_id, status, sum(executions), sum(durations), sum(duration_seconds) FROM taken
    GROUP BY workflow_id, status ORDER BY workflow_id, status
    ON CONFLICT (workflow_id, status)
    DO UPDATE SET executions = kept.executions + excluded.executions,
        durations = kept.durations + excluded.durations,
        duration_seconds = kept.duration_seconds + excluded.duration_seconds
$$;

-- Sums by client or by workflow are those of before; a row that is folded has only one of the two.
CREATE OR REPLACE VIEW app.execution_counts WITH (security_barrier) AS
    SELECT client_id, workflow_id, status, executions, durations, duration_seconds
    FROM app_private.execution_counts WHERE (SELECT app.is_admin())
    UNION ALL
    SELECT client_id, NULL::uuid, status, executions, 0::bigint, 0::bigint
    FROM app_private.executions_by_client WHERE (SELECT app.is_admin())
    UNION ALL
    SELECT NULL::uuid, workflow_id, status, executions, durations, duration_seconds
    FROM app_private.executions_by_workflow WHERE (SELECT app.is_admin());

SELECT app.fold_execution_counts();

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app, app_private FROM masstock_owner;
RESET ROLE;
