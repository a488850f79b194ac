-- Searches the prompts of a client with one statement, in which the planner sees the page's end.
-- Before, each execution that contained the word was a statement of its own, up to 20,000 for one page.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

-- The positions of a client's results whose prompts contain all words of `p_words`, newest first: at
-- most `p_limit` positions before the given one. A filter of NULL matches every result; a client of
-- NULL is the caller's own. If it found fewer in the 20,000 newest executions that contain the rarest
-- word, the last row has no index: the search goes on behind that execution. No rows if the caller may
-- not see the client.
CREATE OR REPLACE FUNCTION app.search_prompts(
    p_client_id uuid, p_words text[], p_before_created_at timestamptz, p_before_execution_id uuid,
    p_before_index integer, p_limit integer, p_status text, p_model text, p_workflow_id uuid,
    p_execution_id uuid, p_custom_id text, p_created_from timestamptz, p_created_to timestamptz)
RETURNS TABLE (created_at timestamptz, execution_id uuid, batch_index integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = '' SET enable_sort = off SET enable_bitmapscan = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    own uuid := app.client_id();
    searched uuid;
    rarest text := p_words[1];
    others text[];
    found_all integer;
BEGIN
    searched := coalesce(p_client_id, own);
    IF searched IS DISTINCT FROM own AND NOT app.is_admin() OR searched IS NULL THEN
        RETURN;
    END IF;
    IF cardinality(p_words) > 1 THEN
        -- The word whose 200th row is the oldest, or that has no 200 rows.
        SELECT w.word INTO rarest FROM unnest(p_words) AS w (word)
        ORDER BY (SELECT p.created_at FROM app_private.prompt_words p
            WHERE p.client_id = searched AND p.word = w.word
              AND (p.created_at, p.execution_id) <= (p_before_created_at, p_before_execution_id)
            ORDER BY p.created_at DESC, p.execution_id DESC OFFSET 199 LIMIT 1) NULLS FIRST LIMIT 1;
        others := array_remove(p_words, rarest);
    END IF;
    RETURN QUERY
    SELECT place.created_at, place.execution_id, r.batch_index
    FROM (
        SELECT p.created_at, p.execution_id, p.batch_indices FROM app_private.prompt_words p
        WHERE p.client_id = searched AND p.word = rarest
          AND (p.created_at, p.execution_id) <= (p_before_created_at, p_before_execution_id)
          AND p.created_at >= coalesce(p_created_from, '-infinity')
          AND p.created_at < coalesce(p_created_to, 'infinity')
          AND (p_execution_id IS NULL OR p.execution_id = p_execution_id)
        ORDER BY p.created_at DESC, p.execution_id DESC LIMIT 20000
    ) place
    CROSS JOIN LATERAL (
        SELECT r.batch_index
        FROM public.workflow_batch_results r
        WHERE r.execution_id = place.execution_id
          AND r.batch_index = ANY (CASE WHEN others IS NULL THEN place.batch_indices ELSE ARRAY(
              SELECT u.i FROM unnest(place.batch_indices) AS u (i)
              INTERSECT
              SELECT i.i FROM app_private.prompt_words p CROSS JOIN unnest(p.batch_indices) AS i (i)
              WHERE p.client_id = searched AND p.word = ANY (others)
                AND p.created_at = place.created_at AND p.execution_id = place.execution_id
              GROUP BY i.i HAVING count(DISTINCT p.word) = cardinality(others)) END)
          AND r.created_at = place.created_at AND r.client_id = searched
          AND (r.created_at, r.execution_id, r.batch_index)
              < (p_before_created_at, p_before_execution_id, p_before_index)
          AND (p_status IS NULL OR r.status = p_status)
          AND (p_model IS NULL OR r.model = p_model)
          AND (p_custom_id IS NULL OR r.custom_id = p_custom_id)
          AND (p_workflow_id IS NULL OR EXISTS (
              SELECT FROM public.workflow_executions e
              WHERE e.id = r.execution_id AND e.workflow_id = p_workflow_id))
        ORDER BY r.batch_index DESC LIMIT p_limit
    ) r
    ORDER BY place.created_at DESC, place.execution_id DESC, r.batch_index DESC LIMIT p_limit;
    GET DIAGNOSTICS found_all = ROW_COUNT;
    IF found_all < p_limit THEN
        RETURN QUERY SELECT p.created_at, p.execution_id, NULL::integer FROM app_private.prompt_words p
        WHERE p.client_id = searched AND p.word = rarest
          AND (p.created_at, p.execution_id) <= (p_before_created_at, p_before_execution_id)
          AND p.created_at >= coalesce(p_created_from, '-infinity')
          AND p.created_at < coalesce(p_created_to, 'infinity')
          AND (p_execution_id IS NULL OR p.execution_id = p_execution_id)
        ORDER BY p.created_at DESC, p.execution_id DESC OFFSET 19999 LIMIT 1;
    END IF;
END $$;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app FROM masstock_owner;
RESET ROLE;
