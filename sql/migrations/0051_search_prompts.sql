-- Finds the results of a client whose prompts contain words, newest first.
--
-- A word is a row. The key begins with the client and goes on in the order of the list. So a search
-- reads rows of its own client alone, in the order of the answer, and its time says nothing of other
-- clients' words. No caller can read the table.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app, app_private TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

CREATE TABLE app_private.prompt_words (
    client_id uuid NOT NULL,
    word text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    execution_id uuid NOT NULL,
    batch_indices integer[] NOT NULL,
    PRIMARY KEY (client_id, word, created_at, execution_id)
);
COMMENT ON TABLE app_private.prompt_words IS
    'The results whose prompts contain a word. A row is one word of the results of an execution that '
    'were inserted at the same time.';
COMMENT ON COLUMN app_private.prompt_words.batch_indices IS 'In no order. An index can be there twice.';
CREATE INDEX idx_prompt_words_execution ON app_private.prompt_words (execution_id);
-- Estimates must not quote the words and numbers of other clients.
ALTER TABLE app_private.prompt_words
    ALTER COLUMN client_id SET STATISTICS 0, ALTER COLUMN word SET STATISTICS 0,
    ALTER COLUMN execution_id SET STATISTICS 0, ALTER COLUMN batch_indices SET STATISTICS 0;

-- Executions whose words are not up to date: long lists, edited prompts, rows of earlier releases.
CREATE TABLE app_private.unindexed_executions (
    execution_id uuid PRIMARY KEY REFERENCES public.workflow_executions (id) ON DELETE CASCADE,
    noted_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_unindexed_executions_noted_at ON app_private.unindexed_executions (noted_at DESC);
COMMENT ON TABLE app_private.unindexed_executions IS
    'Executions whose words the sweep writes to prompt_words.';

-- The words of a text, without case and accents. Letters and digits of all scripts make words; all
-- other characters separate them. A Chinese or Japanese character is a word, because these scripts
-- have no spaces. The classes of regular expressions depend on the locale, so the separators are
-- listed.
CREATE FUNCTION app.words(p_text text) RETURNS SETOF text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = '' AS $$
    SELECT left(w.word, 100)
    FROM regexp_split_to_table(
        CASE WHEN octet_length(p_text) = char_length(p_text) THEN lower(p_text)
             ELSE regexp_replace(
                 normalize(regexp_replace(normalize(lower(p_text), NFKD), '[\u0300-\u036f]+', '', 'g'), NFC),
                 '([\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])', ' \1 ', 'g')
        END,
        '[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf'
        '\u2000-\u206f\u20a0-\u20cf\u2190-\u2bff\u3000-\u3004\u3008-\u3020\u30fb\ufe00-\ufe6f'
        '\U0001f000-\U0001faff]+') AS w (word)
    WHERE w.word <> ''
$$;

-- Writes the words of the results of one execution, and replaces those that were written before.
CREATE FUNCTION app_private.index_prompts(p_execution_id uuid) RETURNS void
LANGUAGE sql VOLATILE SET search_path = '' AS $$
    -- The execution cannot be deleted meanwhile.
    SELECT FROM public.workflow_executions WHERE id = p_execution_id FOR KEY SHARE;
    DELETE FROM app_private.prompt_words WHERE execution_id = p_execution_id;
    INSERT INTO app_private.prompt_words (client_id, word, created_at, execution_id, batch_indices)
    SELECT r.client_id, w.word, r.created_at, r.execution_id, array_agg(r.batch_index)
    FROM public.workflow_batch_results r CROSS JOIN app.words(r.prompt_text) AS w (word)
    WHERE r.execution_id = p_execution_id
    GROUP BY r.client_id, w.word, r.created_at, r.execution_id
    ON CONFLICT (client_id, word, created_at, execution_id)
    DO UPDATE SET batch_indices = EXCLUDED.batch_indices
$$;

-- Words of new results. A list of more than a million characters is left to the sweep, because the
-- insertion of 50 MB of prompts must not take ten seconds longer.
CREATE FUNCTION app.index_new_prompts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF (SELECT sum(char_length(a.prompt_text)) FROM added a) > 1000000 THEN
        INSERT INTO app_private.unindexed_executions (execution_id)
        SELECT DISTINCT a.execution_id FROM added a ON CONFLICT DO NOTHING;
        RETURN NULL;
    END IF;
    INSERT INTO app_private.prompt_words AS p (client_id, word, created_at, execution_id, batch_indices)
    SELECT a.client_id, w.word, a.created_at, a.execution_id, array_agg(a.batch_index)
    FROM added a CROSS JOIN app.words(a.prompt_text) AS w (word)
    GROUP BY a.client_id, w.word, a.created_at, a.execution_id
    ON CONFLICT (client_id, word, created_at, execution_id)
    DO UPDATE SET batch_indices = p.batch_indices || EXCLUDED.batch_indices;
    RETURN NULL;
END $$;
CREATE TRIGGER index_new_prompts AFTER INSERT ON public.workflow_batch_results
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION app.index_new_prompts();

CREATE FUNCTION app.note_edited_prompt() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO app_private.unindexed_executions (execution_id) VALUES (NEW.execution_id)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER note_edited_prompt AFTER UPDATE OF prompt_text ON public.workflow_batch_results
    FOR EACH ROW WHEN (OLD.prompt_text IS DISTINCT FROM NEW.prompt_text)
    EXECUTE FUNCTION app.note_edited_prompt();

-- For the sweep: writes the words of the execution that was noted last. False if none is noted.
CREATE FUNCTION app.index_prompts() RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    noted uuid;
BEGIN
    SELECT u.execution_id INTO noted FROM app_private.unindexed_executions u
    ORDER BY u.noted_at DESC LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM app_private.unindexed_executions WHERE execution_id = noted;
    PERFORM app_private.index_prompts(noted);
    RETURN true;
END $$;

-- As in 0044. The words of a deleted execution are deleted too. A foreign key would be checked for
-- each word.
CREATE OR REPLACE FUNCTION app.note_deleted_execution() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO app_private.deleted_executions (execution_id, client_id)
    VALUES (OLD.id, OLD.client_id)
    ON CONFLICT DO NOTHING;
    DELETE FROM app_private.prompt_words WHERE execution_id = OLD.id;
    RETURN NULL;
END $$;

-- The positions of a client's results whose prompts contain all words of `p_words`, newest first: at
-- most `p_limit` positions before the given one. A filter of NULL matches every result. If it found
-- fewer in the 20,000 newest executions that contain the rarest word, the last row has no index: the
-- search goes on behind that execution. No rows if the caller may not see the client.
CREATE FUNCTION app.search_prompts(
    p_client_id uuid, p_words text[], p_before_created_at timestamptz, p_before_execution_id uuid,
    p_before_index integer, p_limit integer, p_status text, p_model text, p_workflow_id uuid,
    p_execution_id uuid, p_custom_id text, p_created_from timestamptz, p_created_to timestamptz)
RETURNS TABLE (created_at timestamptz, execution_id uuid, batch_index integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER
-- Without statistics the planner would collect and sort all rows of a word.
SET search_path = '' SET enable_sort = off SET enable_bitmapscan = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    rarest text;
    others text[];
    place record;
    hits integer[];
    found_here integer;
    found_all integer := 0;
    looked_at integer := 0;
BEGIN
    IF (p_client_id = (SELECT app.client_id()) OR (SELECT app.is_admin())) IS NOT TRUE THEN
        RETURN;
    END IF;
    SELECT w.word INTO rarest FROM unnest(p_words) AS w (word)
    ORDER BY (SELECT count(*) FROM (
        SELECT FROM app_private.prompt_words p WHERE p.client_id = p_client_id AND p.word = w.word
        LIMIT 200) AS few) LIMIT 1;
    others := array_remove(p_words, rarest);
    FOR place IN
        SELECT p.created_at, p.execution_id, p.batch_indices FROM app_private.prompt_words p
        WHERE p.client_id = p_client_id AND p.word = rarest
          AND (p.created_at, p.execution_id) <= (p_before_created_at, p_before_execution_id)
          AND p.created_at >= coalesce(p_created_from, '-infinity')
          AND p.created_at < coalesce(p_created_to, 'infinity')
          AND (p_execution_id IS NULL OR p.execution_id = p_execution_id)
        ORDER BY p.created_at DESC, p.execution_id DESC
    LOOP
        hits := place.batch_indices;
        IF others <> '{}' THEN
            SELECT array_agg(h.i) INTO hits FROM (
                SELECT u.i FROM unnest(hits) AS u (i)
                INTERSECT
                SELECT x.i FROM (
                    SELECT i.i FROM app_private.prompt_words p CROSS JOIN unnest(p.batch_indices) AS i (i)
                    WHERE p.client_id = p_client_id AND p.word = ANY (others)
                      AND p.created_at = place.created_at AND p.execution_id = place.execution_id
                    GROUP BY i.i HAVING count(DISTINCT p.word) = cardinality(others)) x) h;
        END IF;
        IF hits IS NOT NULL THEN
            RETURN QUERY
            SELECT r.created_at, r.execution_id, r.batch_index
            FROM public.workflow_batch_results r
            WHERE r.execution_id = place.execution_id AND r.batch_index = ANY (hits)
              AND r.created_at = place.created_at AND r.client_id = p_client_id
              AND (r.created_at, r.execution_id, r.batch_index)
                  < (p_before_created_at, p_before_execution_id, p_before_index)
              AND (p_status IS NULL OR r.status = p_status)
              AND (p_model IS NULL OR r.model = p_model)
              AND (p_custom_id IS NULL OR r.custom_id = p_custom_id)
              AND (p_workflow_id IS NULL OR EXISTS (
                  SELECT FROM public.workflow_executions e
                  WHERE e.id = r.execution_id AND e.workflow_id = p_workflow_id))
            ORDER BY r.batch_index DESC LIMIT p_limit - found_all;
            GET DIAGNOSTICS found_here = ROW_COUNT;
            found_all := found_all + found_here;
        END IF;
        EXIT WHEN found_all >= p_limit;
        looked_at := looked_at + 1;
        IF looked_at >= 20000 THEN
            RETURN QUERY SELECT place.created_at, place.execution_id, NULL::integer;
            EXIT;
        END IF;
    END LOOP;
END $$;

INSERT INTO app_private.unindexed_executions (execution_id, noted_at)
SELECT e.id, e.created_at FROM public.workflow_executions e;

REVOKE EXECUTE ON FUNCTION app.words(text), app_private.index_prompts(uuid),
    app.index_new_prompts(), app.note_edited_prompt(), app.index_prompts(),
    app.search_prompts(uuid, text[], timestamptz, uuid, integer, integer, text, text, uuid, uuid, text,
        timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.words(text), app.search_prompts(uuid, text[], timestamptz, uuid, integer,
        integer, text, text, uuid, uuid, text, timestamptz, timestamptz)
    TO masstock_api, masstock_admin;
GRANT EXECUTE ON FUNCTION app.index_prompts() TO masstock_worker;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app, app_private FROM masstock_owner;
RESET ROLE;
