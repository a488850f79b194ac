-- The two reports at any size: counts by client, workflow and status, kept by a trigger that only
-- appends what changed (no hot row), and folded by the sweep.
SET LOCAL ROLE masstock_authz;
GRANT USAGE, CREATE ON SCHEMA app, app_private TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

CREATE TABLE app_private.execution_counts (
    client_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    status text NOT NULL,
    executions bigint NOT NULL,
    durations bigint NOT NULL,
    duration_seconds bigint NOT NULL
);

CREATE FUNCTION app_private.count_executions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        INSERT INTO app_private.execution_counts VALUES
            (OLD.client_id, OLD.workflow_id, OLD.status, -1,
             -(OLD.duration_seconds IS NOT NULL)::integer, -coalesce(OLD.duration_seconds, 0));
    END IF;
    IF TG_OP IN ('UPDATE', 'INSERT') THEN
        INSERT INTO app_private.execution_counts VALUES
            (NEW.client_id, NEW.workflow_id, NEW.status, 1,
             (NEW.duration_seconds IS NOT NULL)::integer, coalesce(NEW.duration_seconds, 0));
    END IF;
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION app_private.count_executions() FROM PUBLIC;

CREATE TRIGGER count_new_executions AFTER INSERT OR DELETE ON public.workflow_executions
    FOR EACH ROW EXECUTE FUNCTION app_private.count_executions();
CREATE TRIGGER count_changed_executions AFTER UPDATE ON public.workflow_executions
    FOR EACH ROW
    WHEN ((OLD.client_id, OLD.workflow_id, OLD.status, OLD.duration_seconds)
          IS DISTINCT FROM (NEW.client_id, NEW.workflow_id, NEW.status, NEW.duration_seconds))
    EXECUTE FUNCTION app_private.count_executions();

-- The trigger's lock on the table holds until this migration commits: nothing is missed or doubled.
INSERT INTO app_private.execution_counts
SELECT client_id, workflow_id, status, count(*), count(duration_seconds),
       coalesce(sum(duration_seconds), 0)
FROM public.workflow_executions GROUP BY client_id, workflow_id, status;

-- Replaces what has been appended by its sums. Readers see the one or the other, never both.
CREATE FUNCTION app.fold_execution_counts() RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    WITH taken AS (DELETE FROM app_private.execution_counts RETURNING *)
    INSERT INTO app_private.execution_counts
    SELECT client_id, workflow_id, status, sum(executions), sum(durations), sum(duration_seconds)
    FROM taken GROUP BY client_id, workflow_id, status
    HAVING sum(executions) <> 0
$$;
CREATE VIEW app.execution_counts WITH (security_barrier) AS
    SELECT * FROM app_private.execution_counts WHERE (SELECT app.is_admin());

REVOKE EXECUTE ON FUNCTION app.fold_execution_counts() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.fold_execution_counts() TO masstock_worker;
GRANT SELECT ON app.execution_counts TO masstock_admin;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app, app_private FROM masstock_owner;
RESET ROLE;
