-- Lanes that grant every call at once, learn nothing and write nothing. A signature that differs from
-- that of the migrations makes another function, so the row fails.
CREATE OR REPLACE FUNCTION app.enter_lane(
    p_lane uuid, p_provider text, p_model text, p_owner uuid, p_client uuid, p_execution uuid,
    p_prompt integer, p_minute double precision DEFAULT 60,
    p_now timestamptz DEFAULT clock_timestamp(),
    OUT granted boolean, OUT wait_seconds double precision, OUT limited_by text,
    OUT gives_up boolean, OUT granted_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    granted := true;
    wait_seconds := 0;
    limited_by := 'none';
    gives_up := false;
    granted_at := p_now;
END $$;

CREATE OR REPLACE FUNCTION app.leave_lane(
    p_lane uuid, p_execution uuid, p_prompt integer, p_granted_at timestamptz, p_verdict text,
    p_retry_after double precision, p_quota_value integer, p_successes_seen bigint,
    p_minute double precision DEFAULT 60, p_now timestamptz DEFAULT clock_timestamp(),
    OUT counts boolean, OUT successes bigint, OUT wait_seconds double precision,
    OUT was_probe boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    counts := true;
    successes := 0;
    wait_seconds := 0;
    was_probe := false;
END $$;
