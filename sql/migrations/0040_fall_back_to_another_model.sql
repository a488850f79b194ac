-- An execution whose image model is gone stops, or goes on with the fallback model of its settings.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.workflow_executions
    ADD COLUMN model_missed_at timestamptz NULL;
GRANT UPDATE (model_missed_at) ON public.workflow_executions TO masstock_worker;
COMMENT ON COLUMN public.workflow_executions.model_missed_at IS
    'When the present image model last answered 404.';
COMMENT ON COLUMN public.workflow_executions.settings IS
    'config of the workflow at submission. After a fallback, `model` is the former `fallback_model`. '
    'NULL for rows of earlier releases, which use the workflow''s present config.';

-- What is unfinished goes on with the fallback model. NULL if `p_model` is not the present model, if
-- there is no fallback, or if the execution was stopped: so a second call changes nothing.
CREATE FUNCTION app.fall_back(p_execution_id uuid, p_model text) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    UPDATE public.workflow_executions e
    SET settings = (e.settings - 'fallback_model')
            || jsonb_build_object('model', e.settings -> 'fallback_model'),
        model_missed_at = NULL
    WHERE e.id = p_execution_id AND e.status = 'processing' AND e.error_code IS NULL
      AND e.settings ->> 'model' = p_model
      AND jsonb_typeof(e.settings -> 'fallback_model') = 'string'
    RETURNING true
$$;
REVOKE EXECUTE ON FUNCTION app.fall_back(uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.fall_back(uuid, text) TO masstock_worker;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app FROM masstock_owner;
RESET ROLE;
