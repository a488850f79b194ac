-- Demo data: the example rows of the schema document, a second client and an administrator.
-- Two ids of the document are not UUIDs (they begin with "ghi" and "jkl"); this file has others.
SET LOCAL ROLE masstock_owner;

INSERT INTO public.clients (id, name, email, status, created_at, updated_at) VALUES
    ('456e7890-e89b-12d3-a456-426614174001', 'Acme Corporation', 'contact@acme.com', 'active',
     '2025-01-10T12:00:00Z', '2025-01-10T12:00:00Z'),
    ('b0b00000-e89b-42d3-a456-426614174011', 'Globex Studios', 'hello@globex.example', 'active',
     '2025-02-01T09:00:00Z', '2025-02-01T09:00:00Z')
ON CONFLICT DO NOTHING;

INSERT INTO public.users (id, email, name, role, status, client_id, created_at, updated_at, last_login) VALUES
    ('ad000000-e89b-42d3-a456-426614174010', 'admin@masstock.example', 'Ada Admin', 'admin', 'active',
     NULL, '2025-01-01T08:00:00Z', '2025-01-01T08:00:00Z', NULL),
    ('123e4567-e89b-12d3-a456-426614174000', 'john@client.com', 'John Doe', 'client', 'active',
     '456e7890-e89b-12d3-a456-426614174001',
     '2025-01-15T10:00:00Z', '2025-01-20T14:30:00Z', '2025-11-23T09:15:00Z'),
    ('c0c00000-e89b-42d3-a456-426614174013', 'mary@client.com', 'Mary Major', 'client', 'active',
     '456e7890-e89b-12d3-a456-426614174001',
     '2025-02-15T10:00:00Z', '2025-02-15T10:00:00Z', NULL),
    ('b0b00000-e89b-42d3-a456-426614174012', 'jane@globex.example', 'Jane Roe', 'client', 'active',
     'b0b00000-e89b-42d3-a456-426614174011',
     '2025-02-01T10:00:00Z', '2025-02-01T10:00:00Z', NULL)
ON CONFLICT DO NOTHING;

INSERT INTO public.workflows (id, name, description, status, config, created_at, updated_at) VALUES
    ('789e1234-e89b-12d3-a456-426614174002', 'Nano Banana - Image Generation',
     'Generate AI images using Gemini 2.5 Flash', 'active',
     '{"workflow_type": "nano_banana", "model": "gemini-2.5-flash-image", "requires_api_key": true,
       "max_prompts": 100, "supports_reference_images": true}',
     '2025-01-05T08:00:00Z', '2025-01-05T08:00:00Z')
ON CONFLICT DO NOTHING;

INSERT INTO public.workflow_requests (id, client_id, workflow_id, status, notes, created_at, updated_at) VALUES
    ('abc12345-e89b-12d3-a456-426614174003', '456e7890-e89b-12d3-a456-426614174001',
     '789e1234-e89b-12d3-a456-426614174002', 'approved', 'Need 50 product images for Q2 campaign',
     '2025-11-20T10:00:00Z', '2025-11-21T14:30:00Z')
ON CONFLICT DO NOTHING;

INSERT INTO public.workflow_executions (id, workflow_id, client_id, user_id, status, input_data,
    output_data, started_at, completed_at, duration_seconds, error_message, created_at, deadline_at) VALUES
    ('def45678-e89b-12d3-a456-426614174004', '789e1234-e89b-12d3-a456-426614174002',
     '456e7890-e89b-12d3-a456-426614174001', '123e4567-e89b-12d3-a456-426614174000', 'completed',
     '{"prompts": ["cat with hat", "dog in car"], "api_key": "encrypted..."}',
     '{"successful": 2, "failed": 0, "total": 2}',
     '2025-11-23T10:00:00Z', '2025-11-23T10:05:30Z', 330, NULL, '2025-11-23T10:00:00Z', NULL)
ON CONFLICT DO NOTHING;

INSERT INTO public.workflow_batch_results (id, execution_id, batch_index, prompt_text, status, result_url,
    result_storage_path, error_message, processing_time_ms, created_at, completed_at, attempts, mime_type) VALUES
    ('aaa78901-e89b-12d3-a456-426614174005', 'def45678-e89b-12d3-a456-426614174004', 0,
     'a cat wearing sunglasses', 'completed',
     'https://example.supabase.co/storage/v1/object/public/workflow-results/def45678-e89b-12d3-a456-426614174004/0_1763892000.png',
     'def45678-e89b-12d3-a456-426614174004/0_1763892000.png', NULL, 3500,
     '2025-11-23T10:00:00Z', '2025-11-23T10:00:03Z', 1, 'image/png'),
    ('aaa78901-e89b-12d3-a456-426614174015', 'def45678-e89b-12d3-a456-426614174004', 1,
     'dog in car', 'completed',
     'https://example.supabase.co/storage/v1/object/public/workflow-results/def45678-e89b-12d3-a456-426614174004/1_1763892000.png',
     'def45678-e89b-12d3-a456-426614174004/1_1763892000.png', NULL, 3200,
     '2025-11-23T10:00:00Z', '2025-11-23T10:00:04Z', 1, 'image/png')
ON CONFLICT DO NOTHING;

INSERT INTO public.support_tickets (id, client_id, user_id, subject, description, status, priority,
    created_at, updated_at) VALUES
    ('bbb23456-e89b-12d3-a456-426614174006', '456e7890-e89b-12d3-a456-426614174001',
     '123e4567-e89b-12d3-a456-426614174000', 'Unable to upload reference images',
     'When I try to upload images > 5MB, I get an error...', 'in_progress', 'high',
     '2025-11-22T15:00:00Z', '2025-11-23T09:00:00Z')
ON CONFLICT DO NOTHING;

RESET ROLE;
