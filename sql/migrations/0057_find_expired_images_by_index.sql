-- no transaction
-- Ended executions of one client whose images are kept, oldest first.
SET ROLE masstock_owner;
DROP INDEX CONCURRENTLY IF EXISTS public.idx_workflow_executions_kept;
CREATE INDEX CONCURRENTLY idx_workflow_executions_kept
    ON public.workflow_executions (client_id, completed_at)
    WHERE expired_at IS NULL AND status IN ('completed', 'failed');
RESET ROLE;
