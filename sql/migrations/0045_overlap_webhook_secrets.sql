-- A replaced webhook secret signs for another 24 hours beside the new one, unless it leaked. Which
-- secrets sign is looked up when a delivery is sent, so a change reaches running executions too.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app, app_private TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

CREATE TABLE app_private.webhook_overlaps (
    client_id uuid NOT NULL REFERENCES public.clients (id),
    version integer NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (client_id, version)
);
COMMENT ON TABLE app_private.webhook_overlaps IS
    'Replaced webhook secrets that still sign deliveries.';
COMMENT ON COLUMN public.workflow_executions.webhook_secret_version IS
    'For functions of the previous release. Deliveries are signed with app.webhook_versions.';
COMMENT ON COLUMN public.webhook_deliveries.secret_version IS
    'As workflow_executions.webhook_secret_version.';

-- Returns no row if the caller is not an administrator or if there is no such client.
CREATE FUNCTION app.advance_webhook_secret(p_client_id uuid, p_leaked boolean) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    current_version integer;
BEGIN
    UPDATE public.clients SET webhook_secret_version = webhook_secret_version + 1
    WHERE id = p_client_id AND (SELECT app.is_admin())
    RETURNING webhook_secret_version INTO current_version;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    DELETE FROM app_private.webhook_overlaps
    WHERE client_id = p_client_id AND (p_leaked OR until <= now());
    IF NOT p_leaked THEN
        INSERT INTO app_private.webhook_overlaps
        VALUES (p_client_id, current_version - 1, now() + interval '24 hours');
    END IF;
    RETURN current_version;
END $$;

-- The secrets that sign a delivery of the client now, the newest first.
CREATE FUNCTION app.webhook_versions(p_client_id uuid) RETURNS integer[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT c.webhook_secret_version || ARRAY(
        SELECT o.version FROM app_private.webhook_overlaps o
        WHERE o.client_id = c.id AND o.until > now() ORDER BY o.version DESC)
    FROM public.clients c WHERE c.id = p_client_id
$$;

-- Until when the replaced secret signs too; NULL if only the newest secret signs.
CREATE FUNCTION app.webhook_overlap_until(p_client_id uuid) RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT max(o.until) FROM app_private.webhook_overlaps o
    WHERE o.client_id = p_client_id AND o.until > now()
      AND (o.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
$$;

REVOKE EXECUTE ON FUNCTION app.advance_webhook_secret(uuid, boolean), app.webhook_versions(uuid),
    app.webhook_overlap_until(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.advance_webhook_secret(uuid, boolean) TO masstock_admin;
GRANT EXECUTE ON FUNCTION app.webhook_versions(uuid) TO masstock_worker;
GRANT EXECUTE ON FUNCTION app.webhook_overlap_until(uuid) TO masstock_api, masstock_admin;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app, app_private FROM masstock_owner;
RESET ROLE;
