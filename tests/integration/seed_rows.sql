-- Some hundred rows with only the document's columns.
INSERT INTO public.clients (name, email, status)
SELECT 'Client ' || n, 'client' || n || '@example.com', CASE WHEN n = 7 THEN 'suspended' ELSE 'active' END
FROM generate_series(1, 9) n;
INSERT INTO public.users (email, name, role, client_id)
SELECT 'user' || n || '@' || c.email, 'User ' || n, 'client', c.id
FROM public.clients c, generate_series(1, 3) n;
INSERT INTO public.users (email, name, role) VALUES ('root@example.com', 'Root', 'admin');
INSERT INTO public.workflows (name, config, status) VALUES
    ('Nano Banana', '{"workflow_type": "nano_banana", "model": "gemini-2.5-flash-image"}', 'active'),
    ('Retired', '{}', 'inactive');
INSERT INTO public.workflow_requests (client_id, workflow_id, status, notes)
SELECT c.id, w.id, 'approved', 'please' FROM public.clients c, public.workflows w;
INSERT INTO public.workflow_executions
    (workflow_id, client_id, user_id, status, input_data, output_data, duration_seconds, created_at)
SELECT w.id, u.client_id, u.id, s.status, '{"prompts": ["a", "b"], "api_key": "sealed elsewhere"}',
       '{"successful": 1, "failed": 1, "total": 2}', 12, now() - interval '400 days'
FROM public.users u, public.workflows w, (VALUES ('completed'), ('failed')) s (status)
WHERE u.client_id IS NOT NULL;
INSERT INTO public.workflow_batch_results
    (execution_id, batch_index, prompt_text, status, result_storage_path, processing_time_ms)
SELECT e.id, n, 'prompt ' || n, CASE n WHEN 0 THEN 'completed' ELSE 'failed' END,
       CASE n WHEN 0 THEN e.id || '/0_1700000000.png' END, 3500
FROM public.workflow_executions e, generate_series(0, 1) n;
INSERT INTO public.support_tickets (client_id, user_id, subject, description)
SELECT u.client_id, u.id, 'Help', 'It hurts' FROM public.users u WHERE u.client_id IS NOT NULL;
INSERT INTO storage.objects (bucket_id, name)
SELECT 'workflow-results', result_storage_path FROM public.workflow_batch_results
WHERE result_storage_path IS NOT NULL;
INSERT INTO storage.objects (bucket_id, name) VALUES ('avatars', 'someone/face.png');
