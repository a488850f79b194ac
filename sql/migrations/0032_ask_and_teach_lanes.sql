-- How a call asks its lane (0031), and what it teaches the lane when it ends.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app, app_private TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

-- Decides about a call while the lane is closed. NULL grants a probe: after `closed_until`, and again
-- if the invocation of the last one seems to be dead. Else no call is granted before the returned
-- time. In an outage the prompt of the last probe leaves the next one to another prompt.
CREATE FUNCTION app_private.ask_for_probe(
    l app_private.lanes, p_prompt text, p_now timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT CASE
        WHEN l.closed_until > p_now THEN l.closed_until
        WHEN l.closed_by = 'provider_limit' AND l.probe_at IS NOT NULL
        THEN p_now + interval '0.2 seconds'
        -- The longer the probe takes, the later it is worth asking again.
        WHEN l.closed_by = 'outage' AND l.probe_at > p_now - interval '240 seconds'
        THEN p_now + greatest(interval '1 second', least(interval '30 seconds', p_now - l.probe_at))
        WHEN l.closed_by = 'outage' AND l.probe_at IS NULL AND l.probe_prompt = p_prompt
        THEN p_now + interval '1.5 seconds'
    END
$$;

-- Counts a call on a lane that is open beyond doubt, and has a call in this second already. False if
-- the rules of other lanes apply.
CREATE FUNCTION app_private.start_on_open_lane(
    p_lane uuid, p_minute double precision, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = '' AS $$
DECLARE
    this_start bigint := floor(extract(epoch FROM p_now) * 60 / CASE
        WHEN p_minute BETWEEN 1 AND 3600 THEN p_minute ELSE 60 END);
    place integer := this_start % 60 + 1;
BEGIN
    UPDATE app_private.lanes l SET starts[place] = l.starts[place] + 1
    WHERE id = p_lane AND limit_per_minute IS NULL AND learned_per_minute IS NULL
      AND closed_by IS NULL AND suspicion = 0 AND minute_seconds = p_minute
      AND last_success_at BETWEEN p_now - make_interval(secs => p_minute) AND p_now
      AND last_start = this_start AND starts[place] BETWEEN 0 AND 999999;
    RETURN FOUND;
END $$;

-- Asks for one call of the model. `p_owner` is the client of a keyed or named lane, NULL for the
-- platform's. `p_minute` is the length of a minute in seconds. If the call is not granted, it is worth
-- asking again in `wait_seconds`: up to 60, or 300 while the lane is closed. `limited_by` is the
-- reason: none, provider_limit or outage. `gives_up` if the execution waits for 30 minutes on a
-- limited lane that had no success in this time, although the provider said nothing of a longer wait.
CREATE FUNCTION app.enter_lane(
    p_lane uuid, p_provider text, p_model text, p_owner uuid, p_client uuid, p_execution uuid,
    p_prompt integer, p_minute double precision DEFAULT 60,
    p_now timestamptz DEFAULT clock_timestamp(),
    OUT granted boolean, OUT wait_seconds double precision, OUT limited_by text,
    OUT gives_up boolean, OUT granted_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    l app_private.lanes;
    step double precision;
    prompt text := p_execution || ' ' || p_prompt;
    closed_until timestamptz;
    is_probe boolean := false;
    turn record;
BEGIN
    granted := true;
    granted_at := p_now;
    wait_seconds := 0;
    limited_by := 'none';
    gives_up := false;
    IF app_private.start_on_open_lane(p_lane, p_minute, p_now) THEN
        RETURN;
    END IF;
    l := app_private.believe_accepted(app_private.lock_lane(
        p_lane, p_provider, p_model, p_owner, p_minute, p_now), p_now);
    step := app_private.lane_step(l, p_now);
    IF l.closed_by IS NOT NULL OR step IS NOT NULL THEN
        IF l.closed_by IS NOT NULL THEN
            step := coalesce(step, 0.25);
            closed_until := app_private.ask_for_probe(l, prompt, p_now);
            is_probe := closed_until IS NULL;
            l.due_at := CASE WHEN is_probe THEN '-infinity' ELSE l.due_at END;
        END IF;
        SELECT * INTO turn FROM app_private.take_turn(
            l, step, closed_until, p_owner, p_client, p_execution, p_prompt, p_now);
        IF NOT turn.granted THEN
            IF l.closed_by = 'outage' AND l.closed_until <= p_now AND l.probe_at IS NULL THEN
                UPDATE app_private.lanes SET probe_prompt = NULL WHERE id = p_lane;
            END IF;
            granted := false;
            granted_at := NULL;
            limited_by := app_private.lane_limited_by(l);
            gives_up := limited_by = 'provider_limit'
                AND greatest(turn.waits_since, l.last_success_at, l.told_until)
                    <= p_now - interval '30 minutes';
            wait_seconds := least(extract(epoch FROM turn.return_at - p_now), CASE
                WHEN l.closed_by IS NOT NULL OR l.due_at > p_now + interval '60 seconds' THEN 300
                -- A lane without a success opens with its first one.
                WHEN limited_by = 'none' THEN 0.2 ELSE 60 END);
            RETURN;
        END IF;
        l.due_at := turn.slot + make_interval(secs => step);
        IF is_probe THEN
            l.probe_at := p_now;
            l.probe_prompt := prompt;
        ELSIF l.suspicion > 0 AND coalesce(l.limit_per_minute, l.learned_per_minute) IS NULL THEN
            l.doubtful := l.doubtful || p_now;
        END IF;
    END IF;
    PERFORM app_private.keep_lane(app_private.count_start(l, p_now, 1));
END $$;

-- Counts a success on a lane that is open beyond doubt and has nothing to learn. Returns the number
-- of its successes; NULL if the rules of other lanes apply.
CREATE FUNCTION app_private.succeed_on_open_lane(p_lane uuid, p_now timestamptz) RETURNS bigint
LANGUAGE sql VOLATILE SET search_path = '' AS $$
    UPDATE app_private.lanes l SET successes = l.successes + 1, last_success_at = p_now
    WHERE id = p_lane AND limit_per_minute IS NULL AND learned_per_minute IS NULL
      AND closed_by IS NULL AND suspicion = 0 AND failed_prompts = '{}'
      AND successes BETWEEN 0 AND 1000000000000000
    RETURNING l.successes
$$;

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
    l.told_until := NULL;
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
        l.suspicion := greatest(0, l.suspicion - 1);
    ELSIF l.learned_per_minute IS NOT NULL THEN
        l.suspicion := greatest(0, l.suspicion - 2);
    END IF;
    IF coalesce(p_granted_at > l.learned_at, true)
       AND app_private.accepted_calls(l, p_now) >= 0.7 * l.learned_per_minute THEN
        l.learned_per_minute := l.learned_per_minute * CASE
            WHEN coalesce(l.learned_at < p_now - make_interval(secs => 5 * l.minute_seconds), true)
            THEN 1 + least(0.25, greatest(0.005, 0.3 / l.learned_per_minute))
            WHEN l.learned_per_minute < l.refused_per_minute THEN 1 + least(0.03, greatest(0.0005, 0.03 / l.learned_per_minute))
            ELSE 1 END;
    END IF;
    RETURN l;
END $$;

-- A refusal on a paced lane. A single one lowers the pace by 3 %, and many by 15 %, because they can
-- have other causes. It gets lower if delays follow each other closely, if more than two of five calls
-- are refused, or if the probes of several intervals are refused: then to what was accepted before.
CREATE FUNCTION app_private.lower_pace(
    l app_private.lanes, p_is_probe boolean, p_has_delay boolean, p_now timestamptz)
RETURNS app_private.lanes
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    closed double precision := extract(epoch FROM p_now - l.closed_since);
    enough double precision := least(7 * app_private.lane_step(l, p_now), l.minute_seconds / 4);
BEGIN
    l.refused_per_minute := greatest(l.refused_per_minute, l.learned_per_minute);
    l.suspicion := l.suspicion + 3;
    IF l.suspicion > 30 THEN
        l.suspicion := 0;
        l.learned_per_minute := least(l.learned_per_minute, greatest(
            0.7 * l.learned_per_minute, app_private.accepted_calls(l, p_now)));
        l.refused_per_minute := greatest(l.learned_per_minute, 0.85 * l.refused_per_minute);
    ELSIF p_has_delay AND l.learned_at > p_now - make_interval(secs => l.minute_seconds / 6)
          -- Slower calls than the learned pace were not refused because of it.
          AND app_private.accepted_calls(l, p_now) >= 0.7 * l.learned_per_minute THEN
        l.refused_per_minute := l.learned_per_minute;
        l.learned_per_minute := 0.97 * l.learned_per_minute;
    ELSIF NOT p_is_probe THEN
        l.learned_per_minute := greatest(0.97 * l.learned_per_minute,
            least(l.learned_per_minute, 0.85 * l.refused_per_minute));
    ELSIF closed BETWEEN enough AND l.minute_seconds / 2
          AND l.learned_at < l.closed_since + make_interval(secs => enough) THEN
        l.learned_per_minute := least(l.learned_per_minute, greatest(l.learned_per_minute / 2,
            app_private.accepted_calls(l, p_now) / (1 - closed / l.minute_seconds)));
        l.refused_per_minute := l.learned_per_minute;
    END IF;
    RETURN l;
END $$;

-- Returns how many calls of the last minute were accepted after `p_since`.
CREATE FUNCTION app_private.accepted_since(l app_private.lanes, p_since timestamptz) RETURNS bigint
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT coalesce(sum(greatest(0, l.starts[s % 60 + 1])), 0)
    FROM generate_series(greatest(
        floor(extract(epoch FROM p_since) * 60 / l.minute_seconds)::bigint + 1, l.last_start - 59),
        l.last_start) AS s
$$;

-- A refusal with a limit or a delay is obeyed at once. Without them, an open lane has no limit until
-- `suspicion` says so, because single refusals can have other causes; a paced lane closes until a
-- probe is accepted. The limit is what was accepted in the last minute. A delay longer than five
-- minutes is no pace: the lane closes, and a probe asks every five minutes.
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
    ELSIF p_delay > 300 THEN
        l.learned_at := p_now;
        l.closed_since := CASE WHEN l.closed_by IS NULL THEN p_now ELSE l.closed_since END;
        l.closed_by := 'provider_limit';
        l.closed_until := p_now + interval '300 seconds';
        -- The first word since the last success counts: a provider that names the same delay at each
        -- refusal would hold the prompts for ever.
        l.told_until := coalesce(l.told_until, p_now + make_interval(secs => least(p_delay, 259200)));
        l.probe_at := NULL;
        RETURN l;
    ELSIF l.learned_per_minute IS NULL AND l.limit_per_minute IS NULL THEN
        -- A short delay can be one call's own, so it is no better evidence than none.
        IF p_quota_value IS NULL AND coalesce(p_delay < l.minute_seconds / 12, true) THEN
            l.doubtful := array_remove(l.doubtful, p_granted_at);
            l.suspicion := l.suspicion + 1;
            IF l.suspicion < 10 THEN
                RETURN l;
            END IF;
        END IF;
        l.suspicion := 0;
        l.doubtful := '{}';
        IF p_quota_value IS NULL AND NOT p_is_probe
           AND accepted < 10 AND p_delay >= l.minute_seconds / 12
           AND coalesce(l.learned_at < p_now - make_interval(secs => 3 * l.minute_seconds)
                        OR app_private.accepted_since(l, l.learned_at) >= 10, true) THEN
            -- Few calls say little about a limit. Only the delay is obeyed, and a probe follows.
            -- There is a limit if the next refusal comes soon.
            l.suspicion := 2;
            l.learned_at := p_now;
            l.closed_by := 'provider_limit';
            l.closed_since := p_now;
            l.closed_until := p_now + make_interval(secs => least(p_delay, 300));
            l.probe_at := NULL;
            RETURN l;
        END IF;
        -- The delay of a token bucket is the time between two calls.
        l.learned_per_minute := coalesce(p_quota_value, greatest(1, accepted,
            CASE WHEN p_delay IS NOT NULL THEN l.minute_seconds / greatest(1, p_delay) END));
        l.refused_per_minute := l.learned_per_minute;
    ELSIF p_quota_value < l.learned_per_minute OR p_quota_value > l.refused_per_minute THEN
        l.learned_per_minute := p_quota_value;
        l.refused_per_minute := p_quota_value;
    ELSE
        l := app_private.lower_pace(l, p_is_probe, p_delay IS NOT NULL, p_now);
    END IF;
    l.learned_at := p_now;
    l.probe_at := NULL;
    IF p_delay IS NOT NULL THEN
        l.closed_by := NULL;
        l.due_at := p_now + make_interval(secs => least(p_delay, 300));
    ELSE
        l.closed_since := CASE WHEN l.closed_by IS NULL THEN p_now ELSE l.closed_since END;
        l.closed_by := 'provider_limit';
        pause := extract(epoch FROM p_now - l.closed_since);
        l.closed_until := p_now + make_interval(secs => least(300, greatest(
            app_private.lane_step(l, p_now),
            least(pause, greatest(l.minute_seconds, pause) / 4))));
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
    counts := p_verdict IN ('failed', 'unreadable');
    was_probe := false;
    wait_seconds := CASE p_verdict WHEN 'answered' THEN 0 ELSE 1 END;
    IF p_verdict = 'answered' THEN
        successes := app_private.succeed_on_open_lane(p_lane, p_now);
        IF successes IS NOT NULL THEN
            RETURN;
        END IF;
    END IF;
    SELECT * INTO l FROM app_private.lanes WHERE id = p_lane FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        successes := 0;
        RETURN;
    END IF;
    l := app_private.read_lane(l, p_minute, p_now);
    is_probe := coalesce(
        l.closed_by IS NOT NULL AND l.probe_prompt = prompt AND l.probe_at = p_granted_at, false);
    was_probe := is_probe AND l.closed_by = 'outage';
    CASE p_verdict
    WHEN 'answered' THEN
        l := app_private.learn_success(l, is_probe, p_granted_at, p_now);
    WHEN 'refused' THEN
        counts := coalesce(l.successes - p_successes_seen >= 3, false);
        l := app_private.learn_refusal(l, is_probe, p_granted_at,
            CASE WHEN p_retry_after >= 0 THEN p_retry_after END,
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
    IF p_verdict <> 'answered' THEN
        wait_seconds := least(300, greatest(1, extract(epoch FROM CASE
            WHEN l.closed_by IS NULL THEN l.due_at ELSE l.closed_until END - p_now),
            -- An open lane leaves the delay to the prompt.
            CASE WHEN p_verdict = 'refused' THEN p_retry_after END));
    END IF;
END $$;

REVOKE EXECUTE ON FUNCTION
    app_private.accepted_since(app_private.lanes, timestamptz),
    app_private.ask_for_probe(app_private.lanes, text, timestamptz),
    app_private.start_on_open_lane(uuid, double precision, timestamptz),
    app_private.succeed_on_open_lane(uuid, timestamptz),
    app_private.learn_success(app_private.lanes, boolean, timestamptz, timestamptz),
    app_private.lower_pace(app_private.lanes, boolean, boolean, timestamptz),
    app_private.learn_refusal(app_private.lanes, boolean, timestamptz, double precision, integer,
                              timestamptz),
    app_private.learn_failure(app_private.lanes, boolean, text, timestamptz, timestamptz),
    app.enter_lane(uuid, text, text, uuid, uuid, uuid, integer, double precision, timestamptz),
    app.leave_lane(uuid, uuid, integer, timestamptz, text, double precision, integer, bigint,
                   double precision, timestamptz)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    app.enter_lane(uuid, text, text, uuid, uuid, uuid, integer, double precision, timestamptz),
    app.leave_lane(uuid, uuid, integer, timestamptz, text, double precision, integer, bigint,
                   double precision, timestamptz)
    TO masstock_worker;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app, app_private FROM masstock_owner;
RESET ROLE;
