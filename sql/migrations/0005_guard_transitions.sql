-- State changes that column grants cannot express: narrow functions that check seal and tenancy
-- themselves, and triggers that hold whoever writes.
SET LOCAL ROLE masstock_authz;

GRANT EXECUTE ON FUNCTION app.client_id(), app.is_admin() TO masstock_owner;
GRANT USAGE ON SCHEMA app_private TO masstock_owner;

-- Executions whose objects are still to be removed; the sweep forgets them when they are gone.
CREATE TABLE app_private.deleted_executions (
    execution_id uuid PRIMARY KEY,
    deleted_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, DELETE ON app_private.deleted_executions TO masstock_owner;
GRANT CREATE ON SCHEMA app TO masstock_owner;

RESET ROLE;
SET LOCAL ROLE masstock_owner;

-- 'cancelled', 'already stopped' or 'ended'; NULL where the caller has no such execution.
-- The update waits for claims in flight (they hold FOR SHARE), and keeps later ones out.
CREATE FUNCTION app.cancel_execution(p_id uuid, p_message text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    execution record;
BEGIN
    SELECT e.status, e.error_code INTO execution FROM public.workflow_executions e
    WHERE e.id = p_id AND (e.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    ELSIF execution.status IN ('completed', 'failed') THEN
        RETURN 'ended';
    ELSIF execution.error_code IS NOT NULL THEN
        RETURN 'already stopped';
    END IF;
    UPDATE public.workflow_executions
    SET error_code = 'cancelled', error_message = p_message WHERE id = p_id;
    RETURN 'cancelled';
END $$;

-- Re-opens failed results (all, or those with the given codes) of an ended execution under its next
-- run; returns that run. NULL where the caller has no such execution; 'MS409' where it has not ended
-- or nothing would be re-opened.
CREATE FUNCTION app.reopen_failed(p_id uuid, p_codes text[], p_deadline_seconds integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    current_status text;
    next_run integer;
BEGIN
    SELECT e.status INTO current_status FROM public.workflow_executions e
    WHERE e.id = p_id AND (e.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    ELSIF current_status NOT IN ('completed', 'failed') THEN
        RAISE EXCEPTION 'The execution has not ended.' USING ERRCODE = 'MS409';
    END IF;
    UPDATE public.workflow_batch_results
    SET status = 'processing', error_code = NULL, error_message = NULL, completed_at = NULL,
        failures = 0, throttles = 0, claimed_until = NULL
    WHERE execution_id = p_id AND status = 'failed'
      AND (p_codes IS NULL OR error_code = ANY (p_codes));
    IF NOT FOUND THEN
        RAISE EXCEPTION 'No result of this execution can be retried.' USING ERRCODE = 'MS409';
    END IF;
    UPDATE public.workflow_executions
    SET status = 'pending', run = run + 1, error_code = NULL, error_message = NULL,
        output_data = NULL, completed_at = NULL, duration_seconds = NULL,
        deadline_at = now() + make_interval(secs => p_deadline_seconds)
    WHERE id = p_id RETURNING run INTO next_run;
    RETURN next_run;
END $$;

-- Deleting an execution takes its results with it and notes that objects are to be removed.
ALTER TABLE public.workflow_batch_results
    DROP CONSTRAINT workflow_batch_results_execution_id_fkey,
    DROP CONSTRAINT workflow_batch_results_execution_id_client_id_fkey,
    ADD CONSTRAINT workflow_batch_results_execution_id_fkey
        FOREIGN KEY (execution_id) REFERENCES public.workflow_executions (id) ON DELETE CASCADE,
    ADD CONSTRAINT workflow_batch_results_execution_id_client_id_fkey
        FOREIGN KEY (execution_id, client_id)
        REFERENCES public.workflow_executions (id, client_id) ON DELETE CASCADE;

CREATE FUNCTION app.note_deleted_execution() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO app_private.deleted_executions (execution_id) VALUES (OLD.id)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER note_deleted_execution AFTER DELETE ON public.workflow_executions
    FOR EACH ROW EXECUTE FUNCTION app.note_deleted_execution();

CREATE FUNCTION app.list_deleted_executions(p_limit integer) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT execution_id FROM app_private.deleted_executions ORDER BY deleted_at LIMIT p_limit
$$;
-- Kept for a while: an invocation that outlived the execution may still store its image.
CREATE FUNCTION app.forget_deleted_execution(p_id uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    DELETE FROM app_private.deleted_executions
    WHERE execution_id = p_id AND deleted_at < now() - interval '10 minutes'
$$;

-- Somebody must be left to administer. The lock makes two admins who demote each other take turns.
CREATE FUNCTION app.keep_an_admin() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('app.keep_an_admin'));
    IF NOT EXISTS (SELECT FROM public.users u
                   WHERE u.id <> OLD.id AND u.role = 'admin' AND u.status = 'active') THEN
        RAISE EXCEPTION 'The last active administrator cannot be demoted, suspended or deleted.'
            USING ERRCODE = 'MS409';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_an_admin BEFORE UPDATE ON public.users
    FOR EACH ROW
    WHEN (OLD.role = 'admin' AND OLD.status = 'active'
          AND (NEW.role <> 'admin' OR NEW.status <> 'active'))
    EXECUTE FUNCTION app.keep_an_admin();

REVOKE EXECUTE ON FUNCTION app.cancel_execution(uuid, text), app.reopen_failed(uuid, text[], integer),
    app.note_deleted_execution(), app.list_deleted_executions(integer),
    app.forget_deleted_execution(uuid), app.keep_an_admin() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.cancel_execution(uuid, text), app.reopen_failed(uuid, text[], integer)
    TO masstock_api, masstock_admin;
GRANT EXECUTE ON FUNCTION app.list_deleted_executions(integer), app.forget_deleted_execution(uuid)
    TO masstock_worker;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app FROM masstock_owner;
RESET ROLE;
