-- What a call teaches its lane (0031) when it ends.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app, app_private TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

-- A success opens a lane if the call was a probe, or if it was granted after the first failure of an
-- outage. A learned limit grows by about a third a minute while its pace is used: up to the limit that
-- was refused, and beyond it after five minutes without a refusal.
CREATE FUNCTION app_private.learn_success(
    l app_private.lanes, p_is_probe boolean, p_granted_at timestamptz, p_now timestamptz)
RETURNS app_private.lanes
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    l.successes := l.successes + 1;
    l.last_success_at := p_now;
    IF coalesce(p_granted_at >= l.failed_at, true) THEN
        IF l.closed_by = 'outage' THEN
            p_is_probe := true;
        END IF;
        l.failed_prompts := '{}';
        l.failed_at := NULL;
    END IF;
    IF p_is_probe THEN
        l.closed_by := NULL;
        l.probe_at := NULL;
        l.due_at := greatest(l.due_at, p_granted_at);
    END IF;
    IF p_granted_at = ANY (l.doubtful) THEN
        l.doubtful := array_remove(l.doubtful, p_granted_at);
        l.suspicion := greatest(0, l.suspicion - 2);
    END IF;
    IF l.learned_per_minute IS NOT NULL AND coalesce(p_granted_at > l.learned_at, true)
       AND app_private.accepted_calls(l, p_now) >= 0.7 * l.learned_per_minute
       AND (l.learned_per_minute < l.refused_per_minute OR coalesce(
            l.learned_at < p_now - make_interval(secs => 5 * l.minute_seconds), true)) THEN
        l.learned_per_minute := l.learned_per_minute
            * (1 + least(0.25, greatest(0.005, 0.3 / l.learned_per_minute)));
    END IF;
    RETURN l;
END $$;

-- A refusal with a limit or a delay is obeyed at once. Without them, an open lane has no limit until
-- `suspicion` says so, because single refusals can have other causes; a paced lane closes until a
-- probe is accepted. The limit is what was accepted in the last minute.
CREATE FUNCTION app_private.learn_refusal(
    l app_private.lanes, p_is_probe boolean, p_granted_at timestamptz, p_delay double precision,
    p_quota_value integer, p_now timestamptz) RETURNS app_private.lanes
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    accepted double precision;
    pause double precision;
BEGIN
    l.refusal_seconds := greatest(0.9 * l.refusal_seconds,
        least(2, extract(epoch FROM p_now - p_granted_at)));
    l := app_private.count_start(l, p_granted_at, -1);
    accepted := app_private.accepted_calls(l, p_now);
    IF p_granted_at <= l.learned_at AND NOT p_is_probe THEN
        RETURN l;
    ELSIF l.learned_per_minute IS NULL AND l.limit_per_minute IS NULL THEN
        IF p_delay IS NULL AND p_quota_value IS NULL THEN
            l.doubtful := array_remove(l.doubtful, p_granted_at);
            l.suspicion := l.suspicion + 1;
            IF l.suspicion < 8 THEN
                RETURN l;
            END IF;
        END IF;
        l.suspicion := 0;
        l.doubtful := '{}';
        IF p_quota_value IS NULL AND p_delay IS NOT NULL AND accepted < 10 AND NOT p_is_probe
           AND coalesce(l.learned_at < p_now - make_interval(secs => 3 * l.minute_seconds), true) THEN
            -- Few calls say little about a limit. Only the delay is obeyed, and a probe follows.
            l.learned_at := p_now;
            l.closed_by := 'provider_limit';
            l.closed_since := p_now;
            l.closed_until := p_now + make_interval(secs => p_delay);
            l.probe_at := NULL;
            RETURN l;
        END IF;
        l.learned_per_minute := coalesce(p_quota_value, greatest(1, accepted));
        l.refused_per_minute := l.learned_per_minute;
    ELSIF p_quota_value < l.learned_per_minute OR p_quota_value > l.refused_per_minute THEN
        l.learned_per_minute := p_quota_value;
        l.refused_per_minute := p_quota_value;
    ELSIF p_is_probe OR p_delay IS NOT NULL THEN
        -- Refused twice, or for a known time: there is a limit.
        l.learned_per_minute := least(
            l.learned_per_minute * CASE WHEN p_is_probe THEN 1 ELSE 0.98 END,
            greatest(accepted, l.learned_per_minute / 2));
        l.refused_per_minute := coalesce(p_quota_value, l.learned_per_minute);
    ELSE
        l.refused_per_minute := l.learned_per_minute;
        l.learned_per_minute := l.learned_per_minute * 0.97;
    END IF;
    l.learned_at := p_now;
    l.probe_at := NULL;
    IF p_delay IS NOT NULL THEN
        l.closed_by := NULL;
        l.due_at := p_now + make_interval(secs => p_delay);
    ELSE
        l.closed_since := CASE WHEN l.closed_by IS NULL THEN p_now ELSE l.closed_since END;
        l.closed_by := 'provider_limit';
        pause := extract(epoch FROM p_now - l.closed_since);
        l.closed_until := p_now + make_interval(secs => least(300, greatest(
            app_private.lane_step(l, p_now),
            least(pause, greatest(l.minute_seconds, pause) / 6))));
    END IF;
    RETURN l;
END $$;

-- The third prompt that fails without a success in between shows an outage: the lane closes. Each
-- pause is as long as the outage so far, 5 to 300 seconds.
CREATE FUNCTION app_private.learn_failure(
    l app_private.lanes, p_is_probe boolean, p_prompt text, p_granted_at timestamptz,
    p_now timestamptz) RETURNS app_private.lanes
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    IF cardinality(l.failed_prompts) < 3 AND array_position(l.failed_prompts, p_prompt) IS NULL THEN
        l.failed_prompts := l.failed_prompts || p_prompt;
        l.failed_at := least(l.failed_at, p_granted_at);
    END IF;
    IF cardinality(l.failed_prompts) >= 3 AND l.closed_by IS DISTINCT FROM 'outage' THEN
        l.closed_by := 'outage';
        l.closed_since := p_now;
        l.closed_until := p_now + interval '5 seconds';
        l.probe_at := NULL;
        l.probe_prompt := p_prompt;
    ELSIF p_is_probe THEN
        l.closed_until := p_now + greatest(interval '5 seconds',
            least(interval '300 seconds', p_now - l.closed_since));
        l.probe_at := NULL;
    END IF;
    RETURN l;
END $$;

-- Tells the lane how a call ended that was granted at `p_granted_at`. `p_verdict` is answered (the
-- provider processed it), refused (a limit that time heals), failed (the provider is down), or
-- unreadable, which only frees a probe. `p_retry_after` is the provider's delay in seconds, and
-- `p_quota_value` its limit in calls per minute; NULL if it named none. `counts` says if the call
-- counts against its prompt: a refusal only if three others succeeded since the prompt's last one,
-- when the lane had `p_successes_seen` successes; a failure unless it belongs to an outage or was a
-- probe. The caller keeps `successes`. `is_outage_probe` if it asked in an outage, so that the caller can
-- bound how often one prompt does. Its next call is worth asking for in `wait_seconds`.
CREATE FUNCTION app.leave_lane(
    p_lane uuid, p_execution uuid, p_prompt integer, p_granted_at timestamptz, p_verdict text,
    p_retry_after double precision, p_quota_value integer, p_successes_seen bigint,
    p_minute double precision DEFAULT 60, p_now timestamptz DEFAULT clock_timestamp(),
    OUT counts boolean, OUT successes bigint, OUT wait_seconds double precision,
    OUT was_probe boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    l app_private.lanes;
    prompt text := p_execution || ' ' || p_prompt;
    is_probe boolean;
BEGIN
    SELECT * INTO l FROM app_private.lanes WHERE id = p_lane FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        counts := p_verdict IN ('failed', 'unreadable');
        successes := 0;
        wait_seconds := CASE p_verdict WHEN 'answered' THEN 0 ELSE 1 END;
        was_probe := false;
        RETURN;
    END IF;
    l := app_private.read_lane(l, p_minute, p_now);
    is_probe := coalesce(
        l.closed_by IS NOT NULL AND l.probe_prompt = prompt AND l.probe_at = p_granted_at, false);
    was_probe := is_probe AND l.closed_by = 'outage';
    counts := p_verdict = 'unreadable';
    CASE p_verdict
    WHEN 'answered' THEN
        l := app_private.learn_success(l, is_probe, p_granted_at, p_now);
    WHEN 'refused' THEN
        counts := coalesce(l.successes - p_successes_seen >= 3, false);
        l := app_private.learn_refusal(l, is_probe, p_granted_at,
            CASE WHEN p_retry_after BETWEEN 0 AND 3600 THEN p_retry_after END,
            CASE WHEN p_quota_value > 0 THEN p_quota_value END, p_now);
    WHEN 'failed' THEN
        l := app_private.learn_failure(l, is_probe, prompt, p_granted_at, p_now);
        counts := NOT is_probe AND l.closed_by IS DISTINCT FROM 'outage';
    ELSE
        IF is_probe THEN
            l.probe_at := NULL;
            l.closed_until := p_now + interval '1 second';
        END IF;
    END CASE;
    PERFORM app_private.keep_lane(l);
    successes := l.successes;
    wait_seconds := CASE
        WHEN p_verdict = 'answered' THEN 0
        WHEN l.closed_by IS NOT NULL
        THEN greatest(1, least(300, extract(epoch FROM l.closed_until - p_now)))
        ELSE greatest(1, least(300, extract(epoch FROM l.due_at - p_now))) END;
END $$;

-- Returns how a lane is now. `limited_by` is none for a lane whose pace nobody waits for. `opens_at` is
-- when the next call is granted on a closed lane. The limits are in calls per minute.
CREATE FUNCTION app.lane_state(
    p_lane uuid, p_now timestamptz DEFAULT clock_timestamp(),
    OUT limited_by text, OUT calls_per_minute double precision, OUT opens_at timestamptz,
    OUT last_success_at timestamptz, OUT closed_since timestamptz, OUT waiting_executions integer,
    OUT learned_per_minute double precision, OUT limit_per_minute integer, OUT successes bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    l app_private.lanes;
BEGIN
    SELECT * INTO l FROM app_private.lanes WHERE id = p_lane;
    l := app_private.believe_accepted(app_private.read_lane(l, l.minute_seconds, p_now), p_now);
    SELECT count(*) INTO waiting_executions
    FROM app_private.lane_turns t
    WHERE t.lane_id = p_lane AND t.waits_until
          BETWEEN p_now - interval '5 seconds' AND p_now + interval '1 hour';
    limited_by := app_private.lane_limited_by(l);
    IF l.closed_by IS NULL AND waiting_executions = 0 THEN
        limited_by := 'none';
    END IF;
    limit_per_minute := l.limit_per_minute;
    learned_per_minute := l.learned_per_minute;
    IF coalesce(l.limit_per_minute, l.learned_per_minute) IS NOT NULL THEN
        calls_per_minute := 60 / app_private.lane_step(l, p_now);
        opens_at := CASE WHEN l.due_at > p_now + interval '1 second' THEN l.due_at END;
    END IF;
    IF l.closed_by IS NOT NULL THEN
        closed_since := l.closed_since;
        opens_at := greatest(l.closed_until, p_now);
    END IF;
    last_success_at := l.last_success_at;
    successes := l.successes;
END $$;

REVOKE EXECUTE ON FUNCTION
    app_private.learn_success(app_private.lanes, boolean, timestamptz, timestamptz),
    app_private.learn_refusal(app_private.lanes, boolean, timestamptz, double precision, integer,
                              timestamptz),
    app_private.learn_failure(app_private.lanes, boolean, text, timestamptz, timestamptz),
    app.leave_lane(uuid, uuid, integer, timestamptz, text, double precision, integer, bigint,
                   double precision, timestamptz),
    app.lane_state(uuid, timestamptz)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    app.leave_lane(uuid, uuid, integer, timestamptz, text, double precision, integer, bigint,
                   double precision, timestamptz),
    app.lane_state(uuid, timestamptz)
    TO masstock_worker;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app, app_private FROM masstock_owner;
RESET ROLE;
