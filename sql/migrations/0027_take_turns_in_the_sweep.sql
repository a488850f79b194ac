-- The sweep looks at a limited number of rows. It remembers the last one of each kind and goes on
-- behind it, so that rows that need nothing, or that fail each time, never hide the others.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app, app_private TO masstock_owner;
ALTER TABLE app_private.deleted_executions ADD COLUMN looked_at timestamptz NULL;
CREATE INDEX idx_deleted_executions_looked_at
    ON app_private.deleted_executions (looked_at NULLS FIRST, deleted_at);
GRANT UPDATE (looked_at) ON app_private.deleted_executions TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

CREATE TABLE app_private.sweep_places (
    kind text PRIMARY KEY,
    at timestamptz NOT NULL,
    id uuid NOT NULL
);
COMMENT ON TABLE app_private.sweep_places IS
    'The execution of each kind that the sweep listed last, in the order of that kind.';

CREATE FUNCTION app.fetch_sweep_places() RETURNS TABLE (kind text, at timestamptz, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT p.kind, p.at, p.id FROM app_private.sweep_places p
$$;
CREATE FUNCTION app.keep_sweep_place(p_kind text, p_at timestamptz, p_id uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    INSERT INTO app_private.sweep_places (kind, at, id) VALUES (p_kind, p_at, p_id)
    ON CONFLICT (kind) DO UPDATE SET at = EXCLUDED.at, id = EXCLUDED.id
$$;

-- The executions that were listed longest ago come first.
CREATE OR REPLACE FUNCTION app.list_deleted_executions(p_limit integer) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    WITH next AS (
        SELECT execution_id FROM app_private.deleted_executions
        ORDER BY looked_at NULLS FIRST, deleted_at LIMIT p_limit FOR UPDATE SKIP LOCKED
    )
    UPDATE app_private.deleted_executions d SET looked_at = clock_timestamp()
    FROM next WHERE d.execution_id = next.execution_id
    RETURNING d.execution_id
$$;

REVOKE EXECUTE ON FUNCTION app.fetch_sweep_places(),
    app.keep_sweep_place(text, timestamptz, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.fetch_sweep_places(),
    app.keep_sweep_place(text, timestamptz, uuid) TO masstock_worker;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app, app_private FROM masstock_owner;
RESET ROLE;
