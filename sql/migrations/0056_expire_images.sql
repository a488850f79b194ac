-- A client can have its images removed some days after the end of their execution. Rows, ledger and
-- counts stay.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app TO masstock_owner;
GRANT UPDATE ON app_private.deleted_executions TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.clients
    ADD COLUMN retention_days integer NULL CHECK (retention_days BETWEEN 1 AND 3650);
COMMENT ON COLUMN public.clients.retention_days IS
    'Days from the end of an execution until its images are removed. NULL: they are kept.';
ALTER TABLE public.workflow_executions ADD COLUMN expired_at timestamptz NULL;
COMMENT ON COLUMN public.workflow_executions.expired_at IS 'When its images were given up.';
ALTER TABLE public.workflow_batch_results ADD COLUMN expired_at timestamptz NULL;
COMMENT ON COLUMN public.workflow_batch_results.expired_at IS
    'When its image was given up, for the retention of the client. The object may live a little '
    'longer.';

-- Gives up the images of one execution whose time is over, and notes that its objects are to be
-- removed. False if there is none.
CREATE FUNCTION app.expire_images() RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    WITH due AS (
        SELECT e.id FROM public.clients c, LATERAL (
            SELECT x.id FROM public.workflow_executions x
            WHERE x.client_id = c.id AND x.expired_at IS NULL
              AND x.status IN ('completed', 'failed')
              AND x.completed_at < now() - make_interval(days => c.retention_days)
            ORDER BY x.completed_at LIMIT 1
            FOR UPDATE SKIP LOCKED
        ) AS e
        WHERE c.retention_days IS NOT NULL
        LIMIT 1
    ), expired AS (
        UPDATE public.workflow_executions e SET expired_at = now()
        FROM due WHERE e.id = due.id
        RETURNING e.id, e.client_id
    ), results AS (
        UPDATE public.workflow_batch_results r
        SET expired_at = now(), has_thumbnail = false, result_url = NULL
        FROM expired e WHERE r.execution_id = e.id AND r.status = 'completed'
    ), archived AS (
        UPDATE public.archives a SET expires_at = least(a.expires_at, now())
        FROM expired e WHERE a.execution_id = e.id
    ), noted AS (
        INSERT INTO app_private.deleted_executions AS d (execution_id, client_id)
        SELECT e.id, e.client_id FROM expired e
        ON CONFLICT (execution_id) DO UPDATE SET deleted_at = now()
    )
    SELECT EXISTS (SELECT FROM expired)
$$;

-- Objects of an expired execution are removed by their prefix, so nothing new may come below it.
CREATE FUNCTION public.refuse_expired() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    RAISE EXCEPTION 'The images of this execution have expired.' USING ERRCODE = 'MS409';
END $$;
CREATE TRIGGER refuse_to_reopen_expired BEFORE UPDATE OF status ON public.workflow_executions
    FOR EACH ROW
    WHEN (OLD.expired_at IS NOT NULL AND NEW.status IN ('pending', 'processing'))
    EXECUTE FUNCTION public.refuse_expired();

CREATE FUNCTION public.refuse_archive_of_expired() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    -- The lock waits for a sweep that is giving up the images, or lets it wait.
    IF (SELECT e.expired_at IS NOT NULL FROM public.workflow_executions e
        WHERE e.id = NEW.execution_id FOR SHARE) THEN
        RAISE EXCEPTION 'The images of this execution have expired.' USING ERRCODE = 'MS409';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_archive_of_expired BEFORE INSERT ON public.archives
    FOR EACH ROW EXECUTE FUNCTION public.refuse_archive_of_expired();

REVOKE EXECUTE ON FUNCTION app.expire_images(), public.refuse_expired(),
    public.refuse_archive_of_expired() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.expire_images() TO masstock_worker;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app FROM masstock_owner;
RESET ROLE;
