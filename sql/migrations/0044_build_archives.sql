-- Archives: the images of an execution as ZIP files, in parts of at most 1,000 images. An execution
-- has one archive, its latest. The set of images is fixed when the archive is asked for.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app TO masstock_owner;
ALTER TABLE app_private.deleted_executions ADD COLUMN client_id uuid NULL;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

CREATE TABLE public.archives (
    execution_id uuid PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    client_id uuid NOT NULL,
    images integer NOT NULL,
    content_digest text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '7 days',
    FOREIGN KEY (execution_id, client_id)
        REFERENCES public.workflow_executions (id, client_id) ON DELETE CASCADE
);
COMMENT ON TABLE public.archives IS 'The latest archive of each execution.';
COMMENT ON COLUMN public.archives.content_digest IS
    'Hash of the images, so that the same images are not packed again.';

CREATE TABLE public.archive_parts (
    archive_id uuid NOT NULL REFERENCES public.archives (id) ON DELETE CASCADE,
    part integer NOT NULL,
    client_id uuid NOT NULL,
    batch_indices integer[] NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now() + interval '30 seconds',
    storage_path text NULL,
    size_bytes bigint NULL,
    completed_at timestamptz NULL,
    failed_at timestamptz NULL,
    PRIMARY KEY (archive_id, part)
);
COMMENT ON TABLE public.archive_parts IS 'The ZIP files of the archives.';
COMMENT ON COLUMN public.archive_parts.attempts IS
    'Claims so far. The number is the fence of the builder''s writes, and part of the object''s key.';
COMMENT ON COLUMN public.archive_parts.due_at IS
    'When the sweep starts a builder: after the first invocation should have begun, or after the '
    'lease of the latest claim.';
CREATE INDEX idx_archive_parts_due ON public.archive_parts (due_at)
    WHERE completed_at IS NULL AND failed_at IS NULL;

ALTER TABLE public.archives ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.archives FORCE ROW LEVEL SECURITY;
ALTER TABLE public.archive_parts ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.archive_parts FORCE ROW LEVEL SECURITY;
REVOKE ALL ON public.archives, public.archive_parts FROM PUBLIC, anon, authenticated;
CREATE POLICY "Maintenance by the owner" ON public.archives TO masstock_owner
    USING (true) WITH CHECK (true);
CREATE POLICY "Maintenance by the owner" ON public.archive_parts TO masstock_owner
    USING (true) WITH CHECK (true);
CREATE POLICY "Clients can view their own archives" ON public.archives
    FOR SELECT TO masstock_api USING (client_id = (SELECT app.client_id()));
CREATE POLICY "Clients can view their own archive parts" ON public.archive_parts
    FOR SELECT TO masstock_api USING (client_id = (SELECT app.client_id()));
CREATE POLICY "Admins can view all archives" ON public.archives
    FOR SELECT TO masstock_admin USING ((SELECT app.is_admin()));
CREATE POLICY "Admins can view all archive parts" ON public.archive_parts
    FOR SELECT TO masstock_admin USING ((SELECT app.is_admin()));
CREATE POLICY "Workers read archives" ON public.archives
    FOR SELECT TO masstock_worker USING (true);
CREATE POLICY "Workers read archive parts" ON public.archive_parts
    FOR SELECT TO masstock_worker USING (true);
CREATE POLICY "Workers build unfinished archive parts" ON public.archive_parts
    FOR UPDATE TO masstock_worker USING (completed_at IS NULL) WITH CHECK (true);
GRANT SELECT ON public.archives, public.archive_parts
    TO masstock_api, masstock_admin, masstock_worker;
GRANT UPDATE (attempts, due_at, storage_path, size_bytes, completed_at, failed_at)
    ON public.archive_parts TO masstock_worker;

-- The state of an archive: building, ready, failed or expired. NULL if the caller does not see it.
CREATE FUNCTION app.archive_state(p_id uuid) RETURNS text
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT CASE WHEN count(*) = 0 THEN NULL
                WHEN (SELECT a.expires_at FROM public.archives a WHERE a.id = p_id) <= now()
                     THEN 'expired'
                WHEN bool_or(p.failed_at IS NOT NULL) THEN 'failed'
                WHEN bool_and(p.completed_at IS NOT NULL) THEN 'ready'
                ELSE 'building' END
    FROM public.archive_parts p WHERE p.archive_id = p_id
$$;

-- Makes `p_id` the archive of an execution and returns it: the finished images, or those of them in
-- `p_indices`. Returns the present archive instead if it is being built, or if it has the same images
-- and at least a day left. NULL if the caller has no such execution; MS409 if no image is finished.
CREATE FUNCTION app.create_archive(p_id uuid, p_execution_id uuid, p_indices integer[]) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    tenant uuid;
    present record;
    content record;
BEGIN
    SELECT e.client_id INTO tenant FROM public.workflow_executions e
    WHERE e.id = p_execution_id
      AND (e.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()));
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('archive of ' || p_execution_id, 0));
    SELECT a.id, a.content_digest, a.expires_at, app.archive_state(a.id) AS state INTO present
    FROM public.archives a WHERE a.execution_id = p_execution_id;
    IF present.state = 'building' THEN
        RETURN present.id;
    END IF;
    SELECT count(*) AS images,
        md5(string_agg(r.batch_index || ' ' || coalesce(r.image_sha256, ''), ','
                       ORDER BY r.batch_index)) AS digest
    INTO content
    FROM public.workflow_batch_results r
    WHERE r.execution_id = p_execution_id AND r.status = 'completed'
      AND r.result_storage_path IS NOT NULL
      AND (p_indices IS NULL OR r.batch_index = ANY (p_indices));
    IF content.images = 0 THEN
        RAISE EXCEPTION 'No image is finished yet.' USING ERRCODE = 'MS409';
    ELSIF present.state = 'ready' AND present.content_digest = content.digest
          AND present.expires_at > now() + interval '1 day' THEN
        RETURN present.id;
    END IF;
    DELETE FROM public.archives WHERE execution_id = p_execution_id;
    INSERT INTO public.archives (execution_id, id, client_id, images, content_digest)
    VALUES (p_execution_id, p_id, tenant, content.images, content.digest);
    -- Each limit divides the list at its multiples. 16 GB take a builder less than its 15 minutes,
    -- and it holds the prompts of its part in memory.
    INSERT INTO public.archive_parts (archive_id, part, client_id, batch_indices)
    SELECT p_id, row_number() OVER (ORDER BY min(n.batch_index)), tenant,
        array_agg(n.batch_index ORDER BY n.batch_index)
    FROM (
        SELECT r.batch_index,
            (row_number() OVER in_order - 1) / 1000 AS by_images,
            (sum(r.size_bytes) OVER in_order)::bigint / (16 * 1024 ^ 3)::bigint AS by_bytes,
            (sum(octet_length(r.prompt_text)) OVER in_order)::bigint / (8 * 1024 * 1024) AS by_prompts
        FROM public.workflow_batch_results r
        WHERE r.execution_id = p_execution_id AND r.status = 'completed'
          AND r.result_storage_path IS NOT NULL
          AND (p_indices IS NULL OR r.batch_index = ANY (p_indices))
        WINDOW in_order AS (ORDER BY r.batch_index)
    ) n
    GROUP BY n.by_images, n.by_bytes, n.by_prompts;
    RETURN p_id;
END $$;

-- The archives of a deleted execution are removed too. Their keys begin with the client.
CREATE OR REPLACE FUNCTION app.note_deleted_execution() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO app_private.deleted_executions (execution_id, client_id)
    VALUES (OLD.id, OLD.client_id)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

-- Longer than a builder of an archive can run: it may store its part after the deletion.
CREATE OR REPLACE FUNCTION app.forget_deleted_execution(p_id uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    DELETE FROM app_private.deleted_executions
    WHERE execution_id = p_id AND deleted_at < now() - interval '20 minutes'
$$;

-- As app.list_deleted_executions, which functions of the previous release call, with the client. It
-- is NULL for executions that were deleted before this release; they had no archive.
CREATE FUNCTION app.list_removals(p_limit integer) RETURNS TABLE (execution_id uuid, client_id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    SELECT d.execution_id, d.client_id
    FROM app.list_deleted_executions(p_limit) AS l (execution_id)
    JOIN app_private.deleted_executions d ON d.execution_id = l.execution_id
$$;

REVOKE EXECUTE ON FUNCTION app.archive_state(uuid), app.create_archive(uuid, uuid, integer[]),
    app.list_removals(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.archive_state(uuid), app.create_archive(uuid, uuid, integer[])
    TO masstock_api, masstock_admin;
GRANT EXECUTE ON FUNCTION app.list_removals(integer) TO masstock_worker;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app FROM masstock_owner;
RESET ROLE;
