-- A changed prompt has a thumbnail of its own: that of the former prompt may be stored later.
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.workflow_batch_results ADD COLUMN thumbnail_path text;
COMMENT ON COLUMN public.workflow_batch_results.thumbnail_path IS
    'The key of the thumbnail if the prompt was changed. NULL: the usual key; see has_thumbnail.';
COMMENT ON COLUMN public.workflow_batch_results.has_thumbnail IS
    'True if {execution_id}/thumbnails/{batch_index}.webp is stored, or the object thumbnail_path.';
GRANT UPDATE (thumbnail_path) ON public.workflow_batch_results TO masstock_worker;

RESET ROLE;
