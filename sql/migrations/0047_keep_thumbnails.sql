-- Generate stores a thumbnail beside each image, under a key that follows from the row.
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.workflow_batch_results
    ADD COLUMN has_thumbnail boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN public.workflow_batch_results.has_thumbnail IS
    'True if {execution_id}/thumbnails/{batch_index}.webp is stored.';
GRANT UPDATE (has_thumbnail) ON public.workflow_batch_results TO masstock_worker;

RESET ROLE;
