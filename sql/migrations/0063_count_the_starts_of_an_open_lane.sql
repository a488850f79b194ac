-- An execution that took part in the opening burst of a lane has these calls as turns when the lane is
-- limited: the images that it got in the last minute, and the calls in flight. For one minute it may
-- stay as far behind the others as it is. Otherwise the execution that was submitted first would keep
-- its share of the burst. Newcomers begin three turns behind the others, as before.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app_private TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

CREATE OR REPLACE FUNCTION app_private.compare_turns(p_lane uuid, p_owner uuid, p_client uuid, p_execution uuid, p_now timestamp with time zone, OUT is_its_turn boolean, OUT shares double precision, OUT turns double precision, OUT client_turns double precision) RETURNS record
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    WITH minute AS (
        SELECT make_interval(secs => coalesce((
            SELECT l.minute_seconds FROM app_private.lanes l
            WHERE l.id = p_lane AND l.minute_seconds BETWEEN 1 AND 3600), 60)) AS length
    ), lately AS (
        SELECT t.turns, t.client_turns, t.client_id, t.execution_id = p_execution AS is_own, t.waits_since,
            p_owner IS NOT NULL OR t.client_id IS NOT DISTINCT FROM p_client AS is_same_client,
            t.waits_until > p_now - interval '5 seconds' AS waits
        FROM app_private.lane_turns t
        WHERE t.lane_id = p_lane AND t.asked_at <= p_now
          AND greatest(t.asked_at, t.waits_until)
              BETWEEN p_now - interval '5 seconds' AND p_now + interval '1 hour'
    ), others AS (
        SELECT count(*) FILTER (WHERE is_same_client) AS executions,
            count(DISTINCT client_id) FILTER (WHERE NOT is_same_client) AS clients,
            min(l.turns) FILTER (WHERE is_same_client) AS turns,
            min(l.waits_since) FILTER (WHERE is_same_client) AS waits_since,
            min(l.turns) FILTER (WHERE is_same_client AND waits) AS waiting_turns,
            min(l.client_turns) FILTER (WHERE NOT is_same_client) AS client_turns,
            min(l.client_turns) FILTER (WHERE NOT is_same_client AND waits) AS waiting_client_turns
        FROM lately l WHERE NOT is_own
    ), started AS (
        SELECT count(*) AS turns
        FROM public.workflow_batch_results r, minute
        WHERE r.execution_id = p_execution AND NOT EXISTS (SELECT FROM lately WHERE is_own)
          AND (r.claimed_until > p_now OR r.completed_at > p_now - minute.length)
    ), own AS (
        SELECT CASE
                WHEN EXISTS (SELECT FROM lately WHERE is_own) THEN
                    greatest((SELECT l.turns FROM lately l WHERE is_own), behind.turns)
                WHEN started.turns > 0 THEN greatest(started.turns, behind.turns)
                ELSE others.turns - 3 END AS turns,
            greatest((SELECT max(l.client_turns) FROM lately l WHERE is_same_client),
                     others.client_turns - 3) AS client_turns
        FROM others, started, minute, LATERAL (SELECT CASE
            WHEN others.waits_since <= p_now - minute.length THEN others.turns - 3 END AS turns
        ) AS behind
    )
    SELECT coalesce(own.client_turns <= waiting_client_turns, true)
            AND coalesce(own.turns <= waiting_turns, true),
        (1 + clients) * (1 + executions)::double precision,
        coalesce(own.turns, 0), coalesce(own.client_turns, 0)
    FROM others, own
$$;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app_private FROM masstock_owner;
RESET ROLE;
