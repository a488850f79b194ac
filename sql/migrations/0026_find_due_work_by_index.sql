-- no transaction
-- Due deliveries of one client, so that one client's many due deliveries do not hide another's.
-- Executions that never started, and executions past their deadline, however many others live.
SET ROLE masstock_owner;
DROP INDEX CONCURRENTLY IF EXISTS public.idx_webhook_deliveries_client_due;
CREATE INDEX CONCURRENTLY idx_webhook_deliveries_client_due
    ON public.webhook_deliveries (client_id, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS public.idx_workflow_executions_pending;
CREATE INDEX CONCURRENTLY idx_workflow_executions_pending
    ON public.workflow_executions (created_at, id) WHERE status = 'pending';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_workflow_executions_processing;
CREATE INDEX CONCURRENTLY idx_workflow_executions_processing
    ON public.workflow_executions (created_at, id) WHERE status = 'processing';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_workflow_executions_deadline;
CREATE INDEX CONCURRENTLY idx_workflow_executions_deadline
    ON public.workflow_executions (deadline_at, id) WHERE status IN ('pending', 'processing');
RESET ROLE;
