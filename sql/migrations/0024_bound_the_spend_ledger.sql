-- A provider's usage is not trusted: no charge below zero credits a budget, and no amount is so large
-- that sums overflow. NOT VALID, because rows that an earlier release wrote stay as they are.
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.spend_ledger
    ADD CONSTRAINT spend_ledger_charged_microusd_check
        CHECK (charged_microusd BETWEEN 0 AND 1000000000000) NOT VALID,
    ADD CONSTRAINT spend_ledger_reserved_microusd_check
        CHECK (reserved_microusd BETWEEN -100000000000000000 AND 100000000000000000) NOT VALID;
ALTER TABLE public.workflow_batch_results
    ADD CONSTRAINT workflow_batch_results_cost_microusd_check
        CHECK (cost_microusd BETWEEN 0 AND 1000000000000) NOT VALID;

-- A worker charges, and gives reservations back. Only a submission and a retry reserve.
CREATE POLICY "Workers append charges and releases" ON public.spend_ledger
    FOR INSERT TO masstock_worker WITH CHECK (charged_microusd >= 0 AND reserved_microusd <= 0);
DROP POLICY "Workers append to the ledger" ON public.spend_ledger;

COMMENT ON COLUMN public.workflow_batch_results.failures IS
    'Failures since the submission or the latest retry, without throttles: outcomes that are '
    'retried, and claims that ended without an outcome.';

RESET ROLE;
