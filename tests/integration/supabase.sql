-- The parts of a new Supabase project that concern our migrations: logins,
-- schemas, grants and default privileges. `developer` stands for Supabase's `postgres`.
CREATE ROLE anon NOLOGIN NOINHERIT;
CREATE ROLE authenticated NOLOGIN NOINHERIT;
CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS;
CREATE ROLE authenticator LOGIN NOINHERIT PASSWORD 'password';
CREATE ROLE supabase_auth_admin LOGIN NOINHERIT CREATEROLE PASSWORD 'password';
CREATE ROLE supabase_storage_admin LOGIN NOINHERIT CREATEROLE PASSWORD 'password';
CREATE ROLE supabase_admin LOGIN SUPERUSER PASSWORD 'password';
CREATE ROLE developer LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD 'password';
GRANT anon, authenticated, service_role TO authenticator, supabase_storage_admin;
GRANT anon, authenticated, service_role TO developer WITH ADMIN OPTION;
ALTER ROLE authenticator SET statement_timeout = '8s';
ALTER ROLE authenticated SET statement_timeout = '8s';
-- Supabase's supautils lets `postgres` manage the policies of storage.objects, which it does not own.
-- Membership in the owner is the closest equivalent without that extension.
GRANT supabase_storage_admin TO developer;

ALTER DATABASE template_database OWNER TO developer;
GRANT CREATE ON DATABASE template_database TO supabase_storage_admin;

CREATE SCHEMA extensions;
GRANT USAGE ON SCHEMA extensions TO developer, anon, authenticated, service_role;
CREATE FUNCTION extensions.uuid_generate_v4() RETURNS uuid LANGUAGE sql AS 'SELECT gen_random_uuid()';

GRANT USAGE ON SCHEMA public TO developer, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE developer IN SCHEMA public
    GRANT ALL ON TABLES TO developer, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE developer IN SCHEMA public
    GRANT ALL ON FUNCTIONS TO developer, anon, authenticated, service_role;

CREATE SCHEMA auth AUTHORIZATION supabase_auth_admin;
GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
-- ALL without grant option: the developer cannot grant rights on auth to others.
GRANT ALL ON SCHEMA auth TO developer;
CREATE TABLE auth.users (
    id uuid PRIMARY KEY,
    email varchar(255) UNIQUE,
    raw_user_meta_data jsonb,
    created_at timestamptz
);
ALTER TABLE auth.users OWNER TO supabase_auth_admin;
GRANT ALL ON auth.users TO developer;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
                    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
$$;
ALTER FUNCTION auth.uid() OWNER TO supabase_auth_admin;

CREATE SCHEMA storage AUTHORIZATION supabase_storage_admin;
GRANT USAGE ON SCHEMA storage TO anon, authenticated, service_role;
GRANT ALL ON SCHEMA storage TO developer;
CREATE TABLE storage.buckets (id text PRIMARY KEY, name text NOT NULL UNIQUE, public boolean);
CREATE TABLE storage.objects (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    bucket_id text REFERENCES storage.buckets (id),
    name text
);
ALTER TABLE storage.buckets OWNER TO supabase_storage_admin;
ALTER TABLE storage.objects OWNER TO supabase_storage_admin;
ALTER TABLE storage.buckets ENABLE ROW LEVEL SECURITY;
ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;
GRANT ALL ON storage.buckets, storage.objects TO anon, authenticated, service_role;
GRANT ALL ON storage.buckets, storage.objects TO developer WITH GRANT OPTION;
CREATE FUNCTION storage.foldername(name text) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT (string_to_array(name, '/'))[1 : array_length(string_to_array(name, '/'), 1) - 1]
$$;
ALTER FUNCTION storage.foldername(text) OWNER TO supabase_storage_admin;

INSERT INTO auth.users (id, email) VALUES
    ('123e4567-e89b-12d3-a456-426614174000', 'john@client.com');
INSERT INTO storage.buckets VALUES ('workflow-results', 'workflow-results', true), ('avatars', 'avatars', true);
-- A policy of another application on the same table.
CREATE POLICY "Avatars are public" ON storage.objects FOR SELECT USING (bucket_id = 'avatars');
