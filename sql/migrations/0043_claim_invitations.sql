-- An invitation is a user whose id no token names yet. The first sign-in with a confirmed e-mail
-- address gives the row the id of the token.
SET LOCAL ROLE masstock_owner;

ALTER TABLE public.users ADD COLUMN invited_until timestamptz NULL;
COMMENT ON COLUMN public.users.invited_until IS
    'Until when the invitation can be claimed. NULL for other users, and after the claim.';
GRANT SELECT (email, invited_until), UPDATE (id, invited_until) ON public.users TO masstock_authz;

RESET ROLE;
SET LOCAL ROLE masstock_authz;

-- Whether the api signed the message for the next `p_exp - now()` seconds, at most 300.
CREATE FUNCTION app_private.is_signed(p_message text, p_exp bigint, p_mac text) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = '' AS $$
DECLARE
    now_s bigint := extract(epoch FROM clock_timestamp());
    signed boolean;
BEGIN
    -- = on two hashes of fixed length: what a timing tells is a prefix of a MAC that dies in 300 s
    signed := app_private.mac(1, p_message) = p_mac;
    IF NOT signed AND EXISTS (SELECT FROM app_private.keys WHERE id = 3) THEN
        signed := app_private.mac(3, p_message) = p_mac;
    END IF;
    RETURN signed IS TRUE AND p_exp BETWEEN now_s AND now_s + 300;
END $$;
REVOKE EXECUTE ON FUNCTION app_private.is_signed(text, bigint, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION app.begin_request(p_sub uuid, p_exp bigint, p_mac text)
RETURNS TABLE (role text, client_id uuid, last_login timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF app_private.is_signed(p_sub || '|' || p_exp, p_exp, p_mac) IS NOT TRUE THEN
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

-- Gives the only user with this e-mail address the id `p_sub`, if it is an invitation that nobody
-- used and that has not expired, and if its client is active. The message of the MAC begins with a
-- word, so that no signature of app.enter is one of these. The address stands last in it: it may
-- contain the separator.
CREATE FUNCTION app.claim_invitation(p_sub uuid, p_exp bigint, p_email text, p_mac text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    found record;
BEGIN
    IF app_private.is_signed('claim|' || p_sub || '|' || p_exp || '|' || p_email, p_exp, p_mac)
       IS NOT TRUE THEN
        RAISE EXCEPTION 'the claim is not signed' USING ERRCODE = 'MS401';
    END IF;
    -- Locked before it is judged: of two claims, the second sees what the first has done.
    PERFORM FROM public.users u
    WHERE lower(normalize(u.email, NFC)) = lower(normalize(p_email, NFC)) FOR UPDATE;
    SELECT count(*) AS users, min(u.id::text)::uuid AS id, bool_and(
            u.invited_until > now() AND u.last_login IS NULL AND u.status = 'active'
            AND (u.role = 'admin' OR c.status = 'active')
            -- Only A to Z have two cases here. In Unicode, other letters resemble them.
            AND lower(u.email COLLATE "C") = lower(p_email COLLATE "C")) AS open
    INTO found
    FROM public.users u LEFT JOIN public.clients c ON c.id = u.client_id
    WHERE lower(normalize(u.email, NFC)) = lower(normalize(p_email, NFC));
    IF found.users <> 1 OR found.open IS NOT TRUE THEN
        RETURN false;
    END IF;
    UPDATE public.users SET id = p_sub, invited_until = NULL WHERE id = found.id;
    RETURN true;
EXCEPTION WHEN unique_violation OR foreign_key_violation THEN
    -- `p_sub` has an account, or rows refer to the invited user.
    RETURN false;
END $$;
REVOKE EXECUTE ON FUNCTION app.claim_invitation(uuid, bigint, text, text) FROM PUBLIC;
-- To the persona too: a session may have been left in it.
GRANT EXECUTE ON FUNCTION app.claim_invitation(uuid, bigint, text, text)
    TO masstock_api, masstock_admin;

RESET ROLE;
