-- A submission can take images that the client already has for the same prompt.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.workflow_batch_results
    ADD COLUMN reuse_key uuid NULL,
    ADD COLUMN reused_from uuid NULL;
GRANT INSERT (reuse_key, reused_from), UPDATE (reused_from)
    ON public.workflow_batch_results TO masstock_worker;
COMMENT ON COLUMN public.workflow_batch_results.reuse_key IS
    'A hash of what was asked, of the model and of image_index. NULL for rows of earlier releases.';
COMMENT ON COLUMN public.workflow_batch_results.reused_from IS
    'The result whose image this one has; before the end, the one to copy.';
CREATE INDEX idx_workflow_batch_results_reuse ON public.workflow_batch_results (client_id, reuse_key)
    WHERE status = 'completed' AND reuse_key IS NOT NULL;

CREATE FUNCTION app.reuse_key(
    p_prompt text, p_asked jsonb, p_seed integer, p_model text, p_image_index integer) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT md5(app.asked_digest(p_prompt, p_asked, p_seed) || '|' || coalesce(p_model, '') || '|'
               || p_image_index)::uuid
$$;

-- The client's latest image for the key. NULL if there is none, or if the settings of its execution
-- have changed since, for example by a fallback to another model.
CREATE FUNCTION app.find_reusable(p_client_id uuid, p_key uuid, p_model text) RETURNS uuid
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT s.id
    FROM public.workflow_batch_results s
    JOIN public.workflow_executions e ON e.id = s.execution_id
    WHERE s.client_id = p_client_id AND s.reuse_key = p_key AND s.status = 'completed'
      AND s.result_storage_path IS NOT NULL AND s.original_prompt IS NULL
      AND s.expired_at IS NULL
      AND e.settings ->> 'model' = p_model
    ORDER BY s.completed_at DESC LIMIT 1
$$;
REVOKE EXECUTE ON FUNCTION app.reuse_key(text, jsonb, integer, text, integer),
    app.find_reusable(uuid, uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.reuse_key(text, jsonb, integer, text, integer),
    app.find_reusable(uuid, uuid, text) TO masstock_worker;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app FROM masstock_owner;
RESET ROLE;
