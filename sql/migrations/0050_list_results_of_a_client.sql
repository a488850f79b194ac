-- no transaction
-- GET /v1/results lists all results of a client, newest first, and finds them by custom_id.
SET ROLE masstock_owner;
DROP INDEX CONCURRENTLY IF EXISTS public.idx_workflow_batch_results_client_created;
CREATE INDEX CONCURRENTLY idx_workflow_batch_results_client_created
    ON public.workflow_batch_results
    (client_id, created_at DESC, execution_id DESC, batch_index DESC);
DROP INDEX CONCURRENTLY IF EXISTS public.idx_workflow_batch_results_client_custom_id;
CREATE INDEX CONCURRENTLY idx_workflow_batch_results_client_custom_id
    ON public.workflow_batch_results (client_id, custom_id) WHERE custom_id IS NOT NULL;
RESET ROLE;
