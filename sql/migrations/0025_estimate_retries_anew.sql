-- A retry reserves today's price of the prompts that it opens again, and its duration does not count
-- the time in which nothing ran.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.workflow_executions
    ADD COLUMN working_since timestamptz NULL,
    ADD COLUMN earlier_seconds integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN public.workflow_executions.working_since IS
    'When the work since the submission or the latest retry began. A resumed run does not change it.';
COMMENT ON COLUMN public.workflow_executions.earlier_seconds IS
    'Working time before the latest retry.';
GRANT UPDATE (working_since) ON public.workflow_executions TO masstock_worker;

-- Re-opens failed results (all, or those with the given codes) of an ended execution under its next
-- run, and returns that run. NULL if the caller has no such execution; MS409 if it has not ended or
-- no result can be re-opened; MS402 if the budget of this month has no room for the re-opened prompts
-- at `p_microusd_per_image`. The api checks workflow and client, as for a submission.
CREATE FUNCTION app.reopen_failed(
    p_id uuid, p_codes text[], p_deadline_seconds integer, p_microusd_per_image bigint)
RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    execution record;
    reopened integer;
    this_month date := date_trunc('month', now() AT TIME ZONE 'UTC');
BEGIN
    SELECT e.status, e.client_id, e.run INTO execution
    FROM public.workflow_executions e
    WHERE e.id = p_id AND (e.client_id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    ELSIF execution.status NOT IN ('completed', 'failed') THEN
        RAISE EXCEPTION 'The execution has not ended.' USING ERRCODE = 'MS409';
    END IF;
    UPDATE public.workflow_batch_results
    SET status = 'processing', error_code = NULL, error_message = NULL, completed_at = NULL,
        failures = 0, throttles = 0, claimed_until = NULL
    WHERE execution_id = p_id AND status = 'failed'
      AND (p_codes IS NULL OR error_code = ANY (p_codes));
    GET DIAGNOSTICS reopened = ROW_COUNT;
    IF reopened = 0 THEN
        RAISE EXCEPTION 'No result of this execution can be retried.' USING ERRCODE = 'MS409';
    END IF;
    PERFORM app_private.reserve_spend(
        execution.client_id, p_id, this_month, p_microusd_per_image * reopened);
    -- A claim turns `estimate_microusd / prompt_count` of the reservation into its cost.
    UPDATE public.workflow_executions
    SET status = 'pending', run = run + 1, error_code = NULL, error_message = NULL,
        output_data = NULL, completed_at = NULL,
        earlier_seconds = coalesce(duration_seconds, 0), working_since = now(),
        duration_seconds = NULL,
        spend_month = this_month, estimate_microusd = p_microusd_per_image * prompt_count,
        deadline_at = now() + make_interval(secs => p_deadline_seconds)
    WHERE id = p_id;
    RETURN execution.run + 1;
END $$;

-- For functions of the previous release, while a deployment replaces them.
CREATE OR REPLACE FUNCTION app.reopen_failed(p_id uuid, p_codes text[], p_deadline_seconds integer)
RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    SELECT app.reopen_failed(p_id, p_codes, p_deadline_seconds, (
        SELECT e.estimate_microusd / greatest(e.prompt_count, 1)
        FROM public.workflow_executions e WHERE e.id = p_id))
$$;

REVOKE EXECUTE ON FUNCTION app.reopen_failed(uuid, text[], integer, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.reopen_failed(uuid, text[], integer, bigint)
    TO masstock_api, masstock_admin;

-- 0024 added these NOT VALID. An earlier release may have written rows that break them.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM public.spend_ledger
                   WHERE charged_microusd NOT BETWEEN 0 AND 1000000000000) THEN
        ALTER TABLE public.spend_ledger VALIDATE CONSTRAINT spend_ledger_charged_microusd_check;
    END IF;
    IF NOT EXISTS (SELECT FROM public.spend_ledger WHERE reserved_microusd
                   NOT BETWEEN -100000000000000000 AND 100000000000000000) THEN
        ALTER TABLE public.spend_ledger VALIDATE CONSTRAINT spend_ledger_reserved_microusd_check;
    END IF;
    IF NOT EXISTS (SELECT FROM public.workflow_batch_results
                   WHERE cost_microusd NOT BETWEEN 0 AND 1000000000000) THEN
        ALTER TABLE public.workflow_batch_results
            VALIDATE CONSTRAINT workflow_batch_results_cost_microusd_check;
    END IF;
END $$;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app FROM masstock_owner;
RESET ROLE;
