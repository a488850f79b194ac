-- An input may hold megabytes of prompts. What every claim and every poll needs of it is kept beside
-- it, small; generated, so that it is true whoever writes the input. Rewrites the table once.
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.workflow_executions
    ADD COLUMN prompt_count integer GENERATED ALWAYS AS (
        CASE jsonb_typeof(input_data -> 'prompts')
            WHEN 'array' THEN jsonb_array_length(input_data -> 'prompts') ELSE 0 END) STORED,
    ADD COLUMN input_bytes integer GENERATED ALWAYS AS (
        octet_length(input_data::text)) STORED,
    ADD COLUMN input_settings jsonb GENERATED ALWAYS AS (input_data - 'prompts') STORED;

COMMENT ON COLUMN public.workflow_executions.input_settings IS
    'input_data without its prompts; holds the sealed API key, as input_data does.';

RESET ROLE;
