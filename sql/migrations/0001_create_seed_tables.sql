-- The seven tables of the product's schema document: every named column, type, default, check,
-- key and index, and nothing else. What we add stands in later migrations.
SET LOCAL ROLE masstock_owner;

CREATE TABLE public.clients (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    email text NOT NULL,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'deleted')),
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now()
);

CREATE TABLE public.users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email text NOT NULL UNIQUE,
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('admin', 'client')),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'deleted')),
    client_id uuid NULL REFERENCES public.clients (id),
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(),
    last_login timestamptz NULL
);

CREATE TABLE public.workflows (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    description text NULL,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'inactive')),
    config jsonb NOT NULL DEFAULT '{}'::jsonb,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now()
);

CREATE TABLE public.workflow_requests (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    client_id uuid NOT NULL REFERENCES public.clients (id),
    workflow_id uuid NOT NULL REFERENCES public.workflows (id),
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'approved', 'rejected')),
    notes text NULL,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now()
);

CREATE TABLE public.workflow_executions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workflow_id uuid NOT NULL REFERENCES public.workflows (id),
    client_id uuid NOT NULL REFERENCES public.clients (id),
    user_id uuid NOT NULL REFERENCES public.users (id),
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'processing', 'completed', 'failed')),
    input_data jsonb NOT NULL,
    output_data jsonb NULL,
    started_at timestamptz NULL,
    completed_at timestamptz NULL,
    duration_seconds integer NULL,
    error_message text NULL,
    created_at timestamptz DEFAULT now()
);

CREATE TABLE public.workflow_batch_results (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    execution_id uuid NOT NULL REFERENCES public.workflow_executions (id),
    batch_index integer NOT NULL,
    prompt_text text NOT NULL,
    status text NOT NULL DEFAULT 'processing' CHECK (status IN ('processing', 'completed', 'failed')),
    result_url text NULL,
    result_storage_path text NULL,
    error_message text NULL,
    processing_time_ms integer NULL,
    created_at timestamptz DEFAULT now(),
    completed_at timestamptz NULL
);

CREATE TABLE public.support_tickets (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    client_id uuid NOT NULL REFERENCES public.clients (id),
    user_id uuid NOT NULL REFERENCES public.users (id),
    subject text NOT NULL,
    description text NOT NULL,
    status text NOT NULL DEFAULT 'open'
        CHECK (status IN ('open', 'in_progress', 'resolved', 'closed')),
    priority text NOT NULL DEFAULT 'medium' CHECK (priority IN ('low', 'medium', 'high', 'urgent')),
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now()
);

CREATE INDEX idx_users_email ON public.users (email);
CREATE INDEX idx_users_client_id ON public.users (client_id);
CREATE INDEX idx_users_role ON public.users (role);
CREATE INDEX idx_users_status ON public.users (status);

CREATE INDEX idx_clients_status ON public.clients (status);
CREATE INDEX idx_clients_email ON public.clients (email);

CREATE INDEX idx_workflows_status ON public.workflows (status);

CREATE INDEX idx_workflow_requests_client_id ON public.workflow_requests (client_id);
CREATE INDEX idx_workflow_requests_workflow_id ON public.workflow_requests (workflow_id);
CREATE INDEX idx_workflow_requests_status ON public.workflow_requests (status);

CREATE INDEX idx_workflow_executions_workflow_id ON public.workflow_executions (workflow_id);
CREATE INDEX idx_workflow_executions_client_id ON public.workflow_executions (client_id);
CREATE INDEX idx_workflow_executions_user_id ON public.workflow_executions (user_id);
CREATE INDEX idx_workflow_executions_status ON public.workflow_executions (status);
CREATE INDEX idx_workflow_executions_created_at ON public.workflow_executions (created_at DESC);

CREATE INDEX idx_workflow_batch_results_execution_id ON public.workflow_batch_results (execution_id);
CREATE INDEX idx_workflow_batch_results_status ON public.workflow_batch_results (status);
CREATE UNIQUE INDEX idx_workflow_batch_results_execution_batch
    ON public.workflow_batch_results (execution_id, batch_index);

CREATE INDEX idx_support_tickets_client_id ON public.support_tickets (client_id);
CREATE INDEX idx_support_tickets_user_id ON public.support_tickets (user_id);
CREATE INDEX idx_support_tickets_status ON public.support_tickets (status);
CREATE INDEX idx_support_tickets_priority ON public.support_tickets (priority);

-- "updated_at DESC for change tracking"
CREATE INDEX idx_users_updated_at ON public.users (updated_at DESC);
CREATE INDEX idx_clients_updated_at ON public.clients (updated_at DESC);
CREATE INDEX idx_workflows_updated_at ON public.workflows (updated_at DESC);
CREATE INDEX idx_workflow_requests_updated_at ON public.workflow_requests (updated_at DESC);
CREATE INDEX idx_support_tickets_updated_at ON public.support_tickets (updated_at DESC);

RESET ROLE;
