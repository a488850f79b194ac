-- A list of 50 MB whose prompts have no own number of images is counted without unpacking each prompt:
-- 0.9 s before, 0.3 s now. The api has 29 seconds, and a slow connection needs most of them.
SET LOCAL ROLE masstock_owner;

CREATE OR REPLACE FUNCTION public.count_images() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
DECLARE
    prompts jsonb := NEW.input_data -> 'prompts';
    usual jsonb := NEW.input_data -> 'images_per_prompt';
    total integer;
BEGIN
    IF jsonb_typeof(prompts) IS DISTINCT FROM 'array' THEN
        total := 0;
    ELSIF prompts @? '$[*].images' THEN
        total := (SELECT sum(app.images_of(p.item, usual)) FROM jsonb_array_elements(prompts) AS p (item));
    ELSE
        total := jsonb_array_length(prompts) * app.images_of(NULL, usual);
    END IF;
    NEW.image_count := least(10000, total);
    RETURN NEW;
END $$;

RESET ROLE;
