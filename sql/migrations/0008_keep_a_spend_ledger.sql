-- What a client spends, appended and never changed, so that deleting an execution gives no budget
-- back. A submission reserves its estimate; each image turns its share into what it really cost; the
-- end gives back the rest. A budget is compared with the sum of both.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app, app_private TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.clients
    ADD COLUMN monthly_budget_microusd bigint NULL CHECK (monthly_budget_microusd >= 0);

ALTER TABLE public.workflow_executions
    ADD COLUMN estimate_microusd bigint NULL CHECK (estimate_microusd >= 0),
    ADD COLUMN cost_microusd bigint NULL,
    ADD COLUMN spend_month date NOT NULL DEFAULT date_trunc('month', now() AT TIME ZONE 'UTC')::date;

COMMENT ON COLUMN public.workflow_executions.estimate_microusd IS
    'Expected price of all prompts, in millionths of a US dollar; NULL where the model''s is unknown.';
COMMENT ON COLUMN public.workflow_executions.spend_month IS
    'Month (UTC) whose budget pays: that of the submission, or of the latest retry.';

CREATE TABLE public.spend_ledger (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id uuid NOT NULL REFERENCES public.clients (id),
    -- No foreign key: the ledger outlives the execution.
    execution_id uuid NOT NULL,
    batch_index integer NULL,
    attempt integer NULL,
    month date NOT NULL,
    charged_microusd bigint NOT NULL DEFAULT 0,
    reserved_microusd bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
);
-- An attempt is charged once, whoever completes its row.
CREATE UNIQUE INDEX idx_spend_ledger_attempt
    ON public.spend_ledger (execution_id, batch_index, attempt);
CREATE INDEX idx_spend_ledger_client_month
    ON public.spend_ledger (client_id, month) INCLUDE (charged_microusd, reserved_microusd);

ALTER TABLE public.spend_ledger ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.spend_ledger FORCE ROW LEVEL SECURITY;
REVOKE ALL ON public.spend_ledger FROM PUBLIC, anon, authenticated;
CREATE POLICY "Maintenance by the owner" ON public.spend_ledger TO masstock_owner
    USING (true) WITH CHECK (true);
CREATE POLICY "Clients can view their own spending" ON public.spend_ledger
    FOR SELECT TO masstock_api, authenticated USING (client_id = (SELECT app.client_id()));
CREATE POLICY "Admins can view all spending" ON public.spend_ledger
    FOR SELECT TO masstock_admin, authenticated USING ((SELECT app.is_admin()));
CREATE POLICY "Workers read the ledger" ON public.spend_ledger
    FOR SELECT TO masstock_worker USING (true);
CREATE POLICY "Workers append to the ledger" ON public.spend_ledger
    FOR INSERT TO masstock_worker WITH CHECK (true);
GRANT SELECT ON public.spend_ledger TO masstock_api, masstock_admin, authenticated;
GRANT SELECT, INSERT (client_id, execution_id, batch_index, attempt, month, charged_microusd,
                      reserved_microusd)
    ON public.spend_ledger TO masstock_worker;

GRANT INSERT (estimate_microusd) ON public.workflow_executions TO masstock_api;
GRANT UPDATE (cost_microusd) ON public.workflow_executions TO masstock_worker;

-- Reserves, or raises MS402 where the client's budget of the month has no room. The lock makes
-- concurrent submissions of one client take turns, so that together they cannot pass it either.
CREATE FUNCTION app_private.reserve_spend(
    p_client_id uuid, p_execution_id uuid, p_month date, p_microusd bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    budget bigint;
    used bigint;
BEGIN
    SELECT c.monthly_budget_microusd INTO budget FROM public.clients c WHERE c.id = p_client_id;
    IF budget IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('spend|' || p_client_id, 0));
        SELECT coalesce(sum(l.charged_microusd + l.reserved_microusd), 0) INTO used
        FROM public.spend_ledger l WHERE l.client_id = p_client_id AND l.month = p_month;
        IF p_microusd IS NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'MS402', MESSAGE = 'The client has a monthly budget, and '
                'the price of the workflow''s model is not known; set config.microusd_per_image.';
        ELSIF used + p_microusd > budget THEN
            RAISE EXCEPTION USING ERRCODE = 'MS402', MESSAGE = format(
                'The estimate of %s USD does not fit into what is left of the monthly budget: '
                '%s of %s USD.', round(p_microusd / 1e6, 4),
                round(greatest(budget - used, 0) / 1e6, 4), round(budget / 1e6, 4));
        END IF;
    END IF;
    IF p_microusd > 0 THEN
        INSERT INTO public.spend_ledger (client_id, execution_id, month, reserved_microusd)
        VALUES (p_client_id, p_execution_id, p_month, p_microusd);
    END IF;
END $$;

CREATE FUNCTION app_private.reserve_for_execution() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM app_private.reserve_spend(NEW.client_id, NEW.id, NEW.spend_month, NEW.estimate_microusd);
    RETURN NULL;
END $$;
-- An ended execution (one imported with its history) costs nothing any more.
CREATE TRIGGER reserve_for_execution AFTER INSERT ON public.workflow_executions
    FOR EACH ROW WHEN (NEW.status IN ('pending', 'processing'))
    EXECUTE FUNCTION app_private.reserve_for_execution();

-- Gives back what an execution has reserved and will not need. Run twice, it gives back nothing more.
CREATE FUNCTION app_private.release_spend(p_execution_id uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
    INSERT INTO public.spend_ledger (client_id, execution_id, month, reserved_microusd)
    SELECT l.client_id, l.execution_id, l.month, -sum(l.reserved_microusd)
    FROM public.spend_ledger l WHERE l.execution_id = p_execution_id
    GROUP BY l.client_id, l.execution_id, l.month HAVING sum(l.reserved_microusd) <> 0
$$;

CREATE FUNCTION app_private.release_for_execution() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM app_private.release_spend(OLD.id);
    RETURN NULL;
END $$;
CREATE TRIGGER release_for_ended_execution AFTER UPDATE OF status ON public.workflow_executions
    FOR EACH ROW WHEN (OLD.status IN ('pending', 'processing') AND NEW.status IN ('completed', 'failed'))
    EXECUTE FUNCTION app_private.release_for_execution();
CREATE TRIGGER release_for_deleted_execution AFTER DELETE ON public.workflow_executions
    FOR EACH ROW WHEN (OLD.status IN ('pending', 'processing'))
    EXECUTE FUNCTION app_private.release_for_execution();

-- What a caller may know of a client's budget this month; no row for another tenant's client.
CREATE FUNCTION app.fetch_budget(p_client_id uuid)
RETURNS TABLE (monthly_budget_microusd bigint, spent_microusd bigint, reserved_microusd bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT c.monthly_budget_microusd, coalesce(s.charged, 0), coalesce(s.reserved, 0)
    FROM public.clients c
    CROSS JOIN LATERAL (
        SELECT sum(l.charged_microusd)::bigint AS charged, sum(l.reserved_microusd)::bigint AS reserved
        FROM public.spend_ledger l
        WHERE l.client_id = c.id AND l.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date) s
    WHERE c.id = p_client_id AND (c.id = (SELECT app.client_id()) OR (SELECT app.is_admin()))
$$;

REVOKE EXECUTE ON FUNCTION app_private.reserve_spend(uuid, uuid, date, bigint),
    app_private.reserve_for_execution(), app_private.release_spend(uuid),
    app_private.release_for_execution(), app.fetch_budget(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.fetch_budget(uuid) TO masstock_api, masstock_admin;

-- Re-opened prompts are paid by the month of the retry, and must fit into its budget.
CREATE OR REPLACE FUNCTION app.reopen_failed(p_id uuid, p_codes text[], p_deadline_seconds integer)
RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    execution record;
    reopened integer;
    this_month date := date_trunc('month', now() AT TIME ZONE 'UTC');
BEGIN
    SELECT e.status, e.client_id, e.run, e.estimate_microusd, e.prompt_count INTO execution
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
    PERFORM app_private.reserve_spend(execution.client_id, p_id, this_month,
        execution.estimate_microusd / greatest(execution.prompt_count, 1) * reopened);
    UPDATE public.workflow_executions
    SET status = 'pending', run = run + 1, error_code = NULL, error_message = NULL,
        output_data = NULL, completed_at = NULL, duration_seconds = NULL,
        spend_month = this_month,
        deadline_at = now() + make_interval(secs => p_deadline_seconds)
    WHERE id = p_id;
    RETURN execution.run + 1;
END $$;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app, app_private FROM masstock_owner;
RESET ROLE;
