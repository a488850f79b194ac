-- no transaction
-- The first thumbnail of an execution, however many results have none.
SET ROLE masstock_owner;
DROP INDEX CONCURRENTLY IF EXISTS public.idx_workflow_batch_results_cover;
CREATE INDEX CONCURRENTLY idx_workflow_batch_results_cover
    ON public.workflow_batch_results (execution_id, batch_index) WHERE has_thumbnail;
RESET ROLE;
