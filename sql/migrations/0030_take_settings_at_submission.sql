-- An execution keeps the settings of its workflow as they were at its submission: changing a workflow
-- changes nothing of the executions that run. Results record what the image model answered.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.workflow_executions
    ADD COLUMN settings jsonb NULL;
COMMENT ON COLUMN public.workflow_executions.settings IS
    'config of the workflow at submission. NULL for rows of earlier releases, which use the '
    'workflow''s present config.';

ALTER TABLE public.workflow_batch_results
    ADD COLUMN model text NULL,
    ADD COLUMN width integer NULL,
    ADD COLUMN height integer NULL,
    ADD COLUMN as_asked boolean NULL,
    ADD COLUMN images_in_answer integer NULL,
    ADD COLUMN has_provenance boolean NULL,
    ADD COLUMN provider_message text NULL;
COMMENT ON COLUMN public.workflow_batch_results.model IS 'The model that answered.';
COMMENT ON COLUMN public.workflow_batch_results.as_asked IS
    'False if the image has another ratio or size than asked. NULL if none was asked.';
COMMENT ON COLUMN public.workflow_batch_results.has_provenance IS
    'True if the file carries a C2PA manifest.';
COMMENT ON COLUMN public.workflow_batch_results.provider_message IS
    'The provider''s own words about an answer without an image.';

GRANT UPDATE (model, width, height, as_asked, images_in_answer, has_provenance, provider_message)
    ON public.workflow_batch_results TO masstock_worker;

-- Runs with its owner's rights: rows inserted past the api get their settings too, and no caller can
-- choose them.
CREATE FUNCTION public.copy_workflow_settings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    NEW.settings := (SELECT w.config FROM public.workflows w WHERE w.id = NEW.workflow_id);
    RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION public.copy_workflow_settings() FROM PUBLIC;
CREATE TRIGGER copy_workflow_settings BEFORE INSERT ON public.workflow_executions
    FOR EACH ROW EXECUTE FUNCTION public.copy_workflow_settings();

-- For a retry whose caller asks for it.
CREATE FUNCTION app.refresh_settings(p_id uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    UPDATE public.workflow_executions e SET settings = w.config
    FROM public.workflows w
    WHERE e.id = p_id AND w.id = e.workflow_id AND e.status IN ('completed', 'failed')
      AND (e.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
$$;
REVOKE EXECUTE ON FUNCTION app.refresh_settings(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.refresh_settings(uuid) TO masstock_api, masstock_admin;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app FROM masstock_owner;
RESET ROLE;
