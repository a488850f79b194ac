-- The ledger alone tells what a client used: it outlives executions and results.
SET LOCAL ROLE masstock_owner;

-- Rows of earlier releases stay as they are.
ALTER TABLE public.spend_ledger
    ADD COLUMN workflow_id uuid NULL,
    ADD COLUMN model text NULL,
    ADD COLUMN tier text NOT NULL DEFAULT 'standard' CHECK (tier IN ('standard', 'economy')),
    ADD COLUMN images smallint NULL;
GRANT INSERT (workflow_id, model, tier, images) ON public.spend_ledger TO masstock_worker;
COMMENT ON COLUMN public.spend_ledger.workflow_id IS
    'Workflow of a charge; NULL for reservations, for releases and for rows of earlier releases.';
COMMENT ON COLUMN public.spend_ledger.model IS
    'Image model of a charge; NULL as for `workflow_id`.';
COMMENT ON COLUMN public.spend_ledger.images IS
    'Images that the charge paid for and that were stored. NULL for rows of earlier releases, whose '
    'charges count as one image, and for reservations and releases.';

RESET ROLE;
