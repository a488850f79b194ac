-- How a call asks its lane (0031), and what it teaches the lane when it ends.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app, app_private TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

-- Returns the first time from `p_from` that is at least `p_spacing` seconds from each taken one.
CREATE FUNCTION app_private.first_gap(
    p_taken timestamptz[], p_from timestamptz, p_spacing double precision) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    spacing interval := make_interval(secs => p_spacing);
    almost interval := make_interval(secs => p_spacing * 0.99);
    taken timestamptz;
BEGIN
    FOR taken IN SELECT t FROM unnest(p_taken) AS t ORDER BY t LOOP
        EXIT WHEN taken >= p_from + almost;
        IF taken > p_from - almost THEN
            p_from := taken + spacing;
        END IF;
    END LOOP;
    RETURN p_from;
END $$;

-- Compares an execution with the others that asked the lane lately. `turns` and `client_turns` are
-- those of the execution, or what a newcomer begins with: nobody saves turns. The lane is shared
-- between `shares`: clients on the platform's lane, and executions of one client.
CREATE FUNCTION app_private.compare_turns(
    p_lane uuid, p_owner uuid, p_client uuid, p_execution uuid, p_now timestamptz,
    OUT is_its_turn boolean, OUT shares double precision, OUT turns double precision,
    OUT client_turns double precision)
LANGUAGE sql STABLE SET search_path = '' AS $$
    WITH lately AS (
        SELECT t.turns, t.client_turns, t.client_id, t.execution_id = p_execution AS is_own,
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
            min(l.turns) FILTER (WHERE is_same_client AND waits) AS waiting_turns,
            min(l.client_turns) FILTER (WHERE NOT is_same_client) AS client_turns,
            min(l.client_turns) FILTER (WHERE NOT is_same_client AND waits) AS waiting_client_turns
        FROM lately l WHERE NOT is_own
    ), own AS (
        SELECT greatest((SELECT l.turns FROM lately l WHERE is_own), others.turns - 1) AS turns,
            greatest((SELECT max(l.client_turns) FROM lately l WHERE is_same_client),
                     others.client_turns - 1) AS client_turns
        FROM others
    )
    SELECT coalesce(own.client_turns <= waiting_client_turns, true)
            AND coalesce(own.turns <= waiting_turns, true),
        (1 + clients) * (1 + executions)::double precision,
        coalesce(own.turns, 0), coalesce(own.client_turns, 0)
    FROM others, own
$$;

-- Notes that a prompt asks a lane that grants one call every `p_step` seconds. Grants the call if one
-- is due and it is the execution's turn, or if the last slot stood unused. Else returns when to come
-- again, from `p_closed_until`: the prompts of an execution come one by one, twice as often as its
-- share is, so that no slot is lost if some are late.
CREATE FUNCTION app_private.take_turn(
    l app_private.lanes, p_step double precision, p_closed_until timestamptz, p_owner uuid,
    p_client uuid, p_execution uuid, p_prompt integer, p_now timestamptz,
    OUT granted boolean, OUT return_at timestamptz, OUT waits_since timestamptz,
    OUT slot timestamptz)
LANGUAGE plpgsql VOLATILE SET search_path = '' AS $$
DECLARE
    step interval := make_interval(secs => p_step);
    mine record;
    own app_private.lane_turns;
    waiting integer[];
    places timestamptz[];
BEGIN
    SELECT * INTO mine
    FROM app_private.compare_turns(l.id, p_owner, p_client, p_execution, p_now);
    SELECT * INTO own FROM app_private.lane_turns t
    WHERE t.lane_id = l.id AND t.execution_id = p_execution;
    waits_since := CASE
        WHEN greatest(own.asked_at, own.waits_until)
             BETWEEN p_now - interval '10 minutes' AND p_now + interval '1 hour'
             AND own.waits_since <= p_now THEN own.waits_since ELSE p_now END;
    SELECT coalesce(array_agg(w.prompt), '{}'), coalesce(array_agg(w.at), '{}') INTO waiting, places
    FROM unnest(own.prompts, own.return_at) AS w (prompt, at)
    WHERE w.prompt <> p_prompt
      AND w.at BETWEEN p_now - interval '5 seconds' AND p_now + interval '1 hour';
    slot := greatest(l.due_at, p_now - 2 * step);
    granted := p_closed_until IS NULL AND slot <= p_now
        AND (mine.is_its_turn OR slot + step <= p_now);
    IF granted THEN
        mine.turns := mine.turns + 1;
        mine.client_turns := mine.client_turns + 1;
        UPDATE app_private.lane_turns t SET client_turns = mine.client_turns
        WHERE t.lane_id = l.id AND t.client_id = p_client AND t.execution_id <> p_execution
          AND p_owner IS NULL;
    ELSE
        return_at := greatest(p_closed_until, slot, p_now + interval '20 milliseconds');
        IF p_closed_until IS NULL AND NOT mine.is_its_turn THEN
            return_at := greatest(return_at, slot + step);
        END IF;
        return_at := app_private.first_gap(places, return_at, p_step * mine.shares / 2);
        waiting := waiting || p_prompt;
        places := places || least(return_at, p_now + interval '1 hour');
    END IF;
    INSERT INTO app_private.lane_turns AS t
    VALUES (l.id, p_execution, p_client, mine.turns, mine.client_turns, waiting, places, p_now,
            (SELECT max(at) FROM unnest(places) AS at), waits_since)
    ON CONFLICT (lane_id, execution_id) DO UPDATE
    SET client_id = excluded.client_id, turns = excluded.turns,
        client_turns = excluded.client_turns, prompts = excluded.prompts,
        return_at = excluded.return_at, asked_at = excluded.asked_at,
        waits_until = excluded.waits_until, waits_since = excluded.waits_since;
    IF own.lane_id IS NULL THEN
        DELETE FROM app_private.lane_turns t
        WHERE t.lane_id = l.id AND t.asked_at < p_now - interval '2 hours'
          AND coalesce(t.waits_until < p_now - interval '10 minutes', true);
    END IF;
END $$;

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
-- limited lane that had no success in this time.
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
                AND greatest(turn.waits_since, l.last_success_at) <= p_now - interval '30 minutes';
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
        ELSIF l.suspicion > 0 THEN
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
    IF coalesce(p_granted_at > l.learned_at, true)
       AND app_private.accepted_calls(l, p_now) >= 0.7 * l.learned_per_minute THEN
        l.learned_per_minute := l.learned_per_minute * CASE
            WHEN coalesce(l.learned_at < p_now - make_interval(secs => 5 * l.minute_seconds), true)
            THEN 1 + least(0.25, greatest(0.005, 0.3 / l.learned_per_minute))
            WHEN l.learned_per_minute < l.refused_per_minute THEN 1.0005
            ELSE 1 END;
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
    ELSE
        l.refused_per_minute := greatest(l.refused_per_minute, l.learned_per_minute);
        IF NOT p_is_probe THEN
            l.learned_per_minute := greatest(
                0.97 * l.learned_per_minute, 0.85 * l.refused_per_minute);
        END IF;
        -- Refused twice in a row, or for a known time: this is a limit.
        IF p_delay IS NOT NULL OR l.closed_until
           <= l.closed_since + make_interval(secs => 1.01 * app_private.lane_step(l, p_now)) THEN
            l.learned_per_minute := least(l.learned_per_minute, greatest(accepted,
                l.learned_per_minute * CASE WHEN p_is_probe THEN 0.5 ELSE 0.85 END));
            l.refused_per_minute := least(l.refused_per_minute, l.learned_per_minute / 0.85);
        END IF;
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
    IF p_verdict <> 'answered' THEN
        wait_seconds := greatest(1, least(300, extract(epoch FROM CASE
            WHEN l.closed_by IS NULL THEN l.due_at ELSE l.closed_until END - p_now)));
    END IF;
END $$;

REVOKE EXECUTE ON FUNCTION
    app_private.first_gap(timestamptz[], timestamptz, double precision),
    app_private.compare_turns(uuid, uuid, uuid, uuid, timestamptz),
    app_private.take_turn(app_private.lanes, double precision, timestamptz, uuid, uuid, uuid, integer,
                          timestamptz),
    app_private.ask_for_probe(app_private.lanes, text, timestamptz),
    app_private.start_on_open_lane(uuid, double precision, timestamptz),
    app_private.succeed_on_open_lane(uuid, timestamptz),
    app_private.learn_success(app_private.lanes, boolean, timestamptz, timestamptz),
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
