-- The words of all prompts, as the trigger would have written them, in the order of time. The owner
-- gets the usual search of Postgres: a column with the words of the prompt, and one index of client
-- and words.
BEGIN;
TRUNCATE app_private.prompt_words, app_private.unindexed_executions;
DROP INDEX app_private.idx_prompt_words_execution;
INSERT INTO app_private.prompt_words (client_id, word, created_at, execution_id, batch_indices)
SELECT r.client_id, w.word, r.created_at, r.execution_id, array_agg(r.batch_index)
FROM public.workflow_batch_results r CROSS JOIN app.words(r.prompt_text) AS w (word)
GROUP BY r.client_id, w.word, r.created_at, r.execution_id
ORDER BY r.created_at, r.execution_id;
CREATE INDEX idx_prompt_words_execution ON app_private.prompt_words (execution_id);

CREATE EXTENSION btree_gin;
ALTER TABLE public.workflow_batch_results ADD COLUMN owners_words tsvector
    GENERATED ALWAYS AS (to_tsvector('simple', prompt_text)) STORED;
CREATE INDEX owners_words ON public.workflow_batch_results USING gin (client_id, owners_words)
    WITH (fastupdate = off);
COMMIT;
