-- Two users may not have e-mail addresses that differ only in case or in Unicode form. Existing users
-- with such addresses stay: a trigger checks new and changed addresses. A unique index would refuse
-- the existing rows.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

CREATE INDEX idx_users_email_compared ON public.users (lower(normalize(email, NFC)));

CREATE FUNCTION app.keep_emails_apart() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    compared text := lower(normalize(NEW.email, NFC));
BEGIN
    -- Of two transactions with one address, the second sees the row of the first.
    PERFORM pg_advisory_xact_lock(hashtextextended('email|' || compared, 0));
    IF EXISTS (SELECT FROM public.users u
               WHERE u.id <> NEW.id AND lower(normalize(u.email, NFC)) = compared) THEN
        RAISE EXCEPTION 'another user has this e-mail address'
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'users_email_compared';
    END IF;
    RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION app.keep_emails_apart() FROM PUBLIC;

CREATE TRIGGER keep_emails_apart BEFORE INSERT ON public.users
    FOR EACH ROW EXECUTE FUNCTION app.keep_emails_apart();
CREATE TRIGGER keep_changed_emails_apart BEFORE UPDATE OF email ON public.users
    FOR EACH ROW WHEN (OLD.email IS DISTINCT FROM NEW.email)
    EXECUTE FUNCTION app.keep_emails_apart();

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app FROM masstock_owner;
RESET ROLE;
