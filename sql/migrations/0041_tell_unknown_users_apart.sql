-- A signed user without a row is told apart from one whose account or client is not active. The
-- SQLSTATE stays, so that the previous release still answers 403.
SET LOCAL ROLE masstock_authz;

CREATE OR REPLACE FUNCTION app.begin_request(p_sub uuid, p_exp bigint, p_mac text)
RETURNS TABLE (role text, client_id uuid, last_login timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    now_s bigint := extract(epoch FROM clock_timestamp());
    message text := p_sub || '|' || p_exp;
    signed boolean;
BEGIN
    -- = on two hashes of fixed length: what a timing tells is a prefix of a MAC that dies in 300 s
    signed := app_private.mac(1, message) = p_mac;
    IF NOT signed AND EXISTS (SELECT FROM app_private.keys WHERE id = 3) THEN
        signed := app_private.mac(3, message) = p_mac;
    END IF;
    IF signed IS NOT TRUE OR p_exp NOT BETWEEN now_s AND now_s + 300 THEN
        RAISE EXCEPTION 'the caller''s identity is not signed' USING ERRCODE = 'MS401';
    END IF;
    SELECT u.role, u.client_id, u.last_login INTO role, client_id, last_login
    FROM public.users u LEFT JOIN public.clients c ON c.id = u.client_id
    WHERE u.id = p_sub AND u.status = 'active' AND (u.role = 'admin' OR c.status = 'active');
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the account is not active' USING ERRCODE = 'MS403', CONSTRAINT =
            CASE WHEN EXISTS (SELECT FROM public.users u WHERE u.id = p_sub)
                 THEN '' ELSE 'not_provisioned' END;
    END IF;
    PERFORM
        set_config('request.jwt.claims',
                   json_build_object('sub', p_sub, 'role', 'authenticated')::text, true),
        set_config('app.seal', app_private.seal(p_sub::text), true);
    RETURN NEXT;
END $$;

RESET ROLE;
