-- Lanes: all calls that use one quota of a provider share a pace. Each call asks its lane at the
-- moment when it is made. Nothing is reserved. docs/decisions.md gives the reasons for the rules.
SET LOCAL ROLE masstock_authz;
GRANT CREATE ON SCHEMA app, app_private TO masstock_owner;
RESET ROLE;
SET LOCAL ROLE masstock_owner;

-- A missing row is an open lane, so nothing refers to a row. Columns may be NULL or wrong:
-- app_private.read_lane replaces what cannot be true.
CREATE TABLE app_private.lanes (
    id uuid PRIMARY KEY,
    provider text NULL,
    model text NULL,
    client_id uuid NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    minute_seconds double precision NULL,
    limit_per_minute integer NULL,
    learned_per_minute double precision NULL,
    refused_per_minute double precision NULL,
    learned_at timestamptz NULL,
    due_at timestamptz NULL,
    starts integer[] NULL,
    last_start bigint NULL,
    suspicion integer NULL,
    doubtful timestamptz[] NULL,
    refusal_seconds double precision NULL,
    closed_by text NULL,
    closed_since timestamptz NULL,
    closed_until timestamptz NULL,
    told_until timestamptz NULL,
    probe_at timestamptz NULL,
    probe_prompt text NULL,
    failed_prompts text[] NULL,
    failed_at timestamptz NULL,
    successes bigint NULL,
    last_success_at timestamptz NULL
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE app_private.lanes IS 'The pace of each quota of a provider.';
COMMENT ON COLUMN app_private.lanes.client_id IS
    'The client whose key or name the lane is for. NULL: the platform''s lane.';
COMMENT ON COLUMN app_private.lanes.minute_seconds IS 'The length of a minute. Only tests shorten it.';
COMMENT ON COLUMN app_private.lanes.limit_per_minute IS
    'Calls per minute that an administrator knows to be allowed. It wins over what is learned.';
COMMENT ON COLUMN app_private.lanes.learned_per_minute IS
    'Calls per minute that refusals taught. NULL if the lane knows no limit and is open.';
COMMENT ON COLUMN app_private.lanes.refused_per_minute IS
    'The learned limit at the latest refusal. The lane does not grow beyond it for five minutes.';
COMMENT ON COLUMN app_private.lanes.learned_at IS
    'When a refusal taught the lane last. Refusals of calls that were granted before teach nothing.';
COMMENT ON COLUMN app_private.lanes.starts IS
    'Accepted calls by sixtieth of a minute. The sixtieth n since 1970 has the subscript n % 60 + 1.';
COMMENT ON COLUMN app_private.lanes.suspicion IS
    'Evidence of a limit, or of a lower limit: up by each refusal, down by each accepted call.';
COMMENT ON COLUMN app_private.lanes.doubtful IS
    'Calls of a suspected lane that were granted and may still be refused.';
COMMENT ON COLUMN app_private.lanes.refusal_seconds IS
    'How long a call takes until it is refused. A call that lasts much longer was accepted.';
COMMENT ON COLUMN app_private.lanes.closed_by IS
    'provider_limit or outage: only one probe at a time is granted after closed_until.';
COMMENT ON COLUMN app_private.lanes.told_until IS
    'When the provider accepts calls again, if it named more than five minutes. Nobody gives up before.';
COMMENT ON COLUMN app_private.lanes.failed_prompts IS
    'Up to three prompts that failed without a success. failed_at: the first grant of these calls.';

-- One row for each execution that asked lately. Rows are hints: a lost row costs one place in line.
CREATE TABLE app_private.lane_turns (
    lane_id uuid NOT NULL,
    execution_id uuid NOT NULL,
    client_id uuid NULL,
    turns double precision NULL,
    client_turns double precision NULL,
    prompts integer[] NULL,
    return_at timestamptz[] NULL,
    asked_at timestamptz NULL,
    waits_until timestamptz NULL,
    waits_since timestamptz NULL,
    PRIMARY KEY (lane_id, execution_id)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE app_private.lane_turns IS 'Whose turn it is on a paced lane.';
COMMENT ON COLUMN app_private.lane_turns.turns IS
    'Calls granted to the execution, and to its client. Newcomers begin with the others'' number.';
COMMENT ON COLUMN app_private.lane_turns.return_at IS
    'When each of the waiting prompts was told to ask again.';
COMMENT ON COLUMN app_private.lane_turns.waits_until IS
    'The last of these times. A cancelled execution no longer counts soon after it.';
COMMENT ON COLUMN app_private.lane_turns.waits_since IS 'When the execution began to wait.';

-- Returns the row with plausible values, so that a wrong one costs at most a few refusals.
CREATE FUNCTION app_private.read_lane(
    l app_private.lanes, p_minute double precision, p_now timestamptz) RETURNS app_private.lanes
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    this_start bigint;
BEGIN
    p_minute := CASE WHEN p_minute BETWEEN 1 AND 3600 THEN p_minute ELSE 60 END;
    this_start := floor(extract(epoch FROM p_now) * 60 / p_minute);
    IF l.minute_seconds IS DISTINCT FROM p_minute OR (l.last_start BETWEEN 0 AND this_start) IS NOT TRUE
       OR array_dims(l.starts) IS DISTINCT FROM '[1:60]'
       OR (0 <= ALL (l.starts) AND 1000000 >= ALL (l.starts)) IS NOT TRUE THEN
        l.starts := array_fill(0, ARRAY[60]);
        l.last_start := this_start;
    END IF;
    l.minute_seconds := p_minute;
    l.limit_per_minute := CASE WHEN l.limit_per_minute > 0 THEN l.limit_per_minute END;
    -- NaN is greater than every number.
    l.learned_per_minute := CASE WHEN l.learned_per_minute > 0 AND l.learned_per_minute <= 1000000
                                 THEN greatest(l.learned_per_minute, 0.5) END;
    l.refused_per_minute := CASE WHEN l.refused_per_minute > 0 AND l.refused_per_minute <= 1000000
                                 THEN l.refused_per_minute END;
    l.learned_at := CASE WHEN l.learned_at <= p_now THEN l.learned_at END;
    l.due_at := CASE WHEN l.due_at <= p_now + interval '300 seconds'
                     THEN greatest(l.due_at, p_now - interval '1 hour') ELSE p_now END;
    l.suspicion := CASE WHEN l.suspicion BETWEEN 0 AND 30 THEN l.suspicion ELSE 0 END;
    l.doubtful := CASE WHEN l.suspicion > 0 AND cardinality(l.doubtful) BETWEEN 1 AND 100
                       THEN l.doubtful ELSE '{}' END;
    l.refusal_seconds := CASE WHEN l.refusal_seconds BETWEEN 0.01 AND 2 THEN l.refusal_seconds
                              ELSE 0.1 END;
    l.closed_by := CASE WHEN l.closed_by IN ('provider_limit', 'outage') THEN l.closed_by END;
    l.closed_since := CASE WHEN l.closed_since <= p_now
                           THEN greatest(l.closed_since, p_now - interval '1 day') ELSE p_now END;
    l.closed_until := CASE WHEN l.closed_until <= p_now + interval '300 seconds'
                           THEN greatest(l.closed_until, p_now - interval '1 day') ELSE p_now END;
    l.told_until := CASE WHEN l.told_until <= p_now + interval '3 days' THEN l.told_until END;
    l.probe_at := CASE WHEN l.probe_at BETWEEN p_now - interval '1 day' AND p_now THEN l.probe_at END;
    l.failed_prompts := CASE WHEN cardinality(l.failed_prompts) <= 3 THEN l.failed_prompts
                             ELSE '{}' END;
    l.failed_at := CASE WHEN l.failed_at <= p_now THEN l.failed_at END;
    l.successes := CASE WHEN l.successes BETWEEN 0 AND 1000000000000000 THEN l.successes ELSE 0 END;
    l.last_success_at := CASE WHEN l.last_success_at <= p_now THEN l.last_success_at END;
    RETURN l;
END $$;

-- Locks a lane and returns its plausible row. Makes the row if there is none.
CREATE FUNCTION app_private.lock_lane(
    p_lane uuid, p_provider text, p_model text, p_owner uuid, p_minute double precision,
    p_now timestamptz) RETURNS app_private.lanes
LANGUAGE plpgsql VOLATILE SET search_path = '' AS $$
DECLARE
    l app_private.lanes;
BEGIN
    LOOP
        SELECT * INTO l FROM app_private.lanes WHERE id = p_lane FOR NO KEY UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO app_private.lanes (id, provider, model, client_id)
        VALUES (p_lane, p_provider, p_model, p_owner) ON CONFLICT DO NOTHING;
    END LOOP;
    RETURN app_private.read_lane(l, p_minute, p_now);
END $$;

-- Writes what a call changed.
CREATE FUNCTION app_private.keep_lane(l app_private.lanes) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = '' AS $$
BEGIN
    UPDATE app_private.lanes SET
        minute_seconds = l.minute_seconds, learned_per_minute = l.learned_per_minute,
        refused_per_minute = l.refused_per_minute, learned_at = l.learned_at, due_at = l.due_at,
        starts = l.starts, last_start = l.last_start, suspicion = l.suspicion,
        doubtful = l.doubtful, refusal_seconds = l.refusal_seconds, closed_by = l.closed_by,
        closed_since = l.closed_since, closed_until = l.closed_until, told_until = l.told_until,
        probe_at = l.probe_at, probe_prompt = l.probe_prompt, failed_prompts = l.failed_prompts,
        failed_at = l.failed_at, successes = l.successes, last_success_at = l.last_success_at
    WHERE id = l.id;
END $$;

-- Returns the seconds from one call to the next; NULL if the lane grants all calls at once. Limits
-- are kept with a margin of 3 %. A suspected lane is slower. So is a lane without a success in the
-- last minute: calls that start together are refused together.
CREATE FUNCTION app_private.lane_step(l app_private.lanes, p_now timestamptz)
RETURNS double precision
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT CASE
        WHEN coalesce(l.limit_per_minute, l.learned_per_minute) IS NOT NULL
        THEN least(l.minute_seconds,
                   l.minute_seconds / (0.97 * coalesce(l.limit_per_minute, l.learned_per_minute)))
        WHEN l.suspicion > 0 THEN least(1, greatest(0.1, l.refusal_seconds))
        WHEN l.last_success_at >= p_now - make_interval(secs => l.minute_seconds) THEN NULL
        ELSE 0.05 END
$$;

-- Returns why the lane does not grant all calls at once.
CREATE FUNCTION app_private.lane_limited_by(l app_private.lanes) RETURNS text
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT CASE
        WHEN l.closed_by IS NOT NULL THEN l.closed_by
        WHEN l.limit_per_minute IS NOT NULL OR l.learned_per_minute IS NOT NULL OR l.suspicion > 0
        THEN 'provider_limit' ELSE 'none' END
$$;

-- Adds `p_calls` to the accepted calls of the time `p_at`.
CREATE FUNCTION app_private.count_start(
    l app_private.lanes, p_at timestamptz, p_calls integer) RETURNS app_private.lanes
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    this_start bigint := floor(extract(epoch FROM p_at) * 60 / l.minute_seconds);
BEGIN
    FOR ago IN 0 .. least(60, this_start - l.last_start)::integer - 1 LOOP
        l.starts[(this_start - ago) % 60 + 1] := 0;
    END LOOP;
    l.last_start := greatest(l.last_start, this_start);
    IF this_start > l.last_start - 60 THEN
        l.starts[this_start % 60 + 1] := greatest(0, l.starts[this_start % 60 + 1] + p_calls);
    END IF;
    RETURN l;
END $$;

-- Returns how many calls of the last minute were accepted.
CREATE FUNCTION app_private.accepted_calls(l app_private.lanes, p_now timestamptz) RETURNS bigint
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT coalesce(sum(greatest(0, l.starts[s % 60 + 1])), 0)
    FROM generate_series(floor(extract(epoch FROM p_now) * 60 / l.minute_seconds)::bigint - 59,
                         l.last_start) AS s
$$;

-- Returns the lane after the calls that were not refused in time are taken as accepted: a probe
-- opens the lane, and calls of a suspected lane lower the suspicion.
CREATE FUNCTION app_private.believe_accepted(l app_private.lanes, p_now timestamptz)
RETURNS app_private.lanes
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    before timestamptz := p_now - make_interval(secs => 2 * l.refusal_seconds + 0.1);
    undecided timestamptz[];
BEGIN
    IF l.closed_by = 'provider_limit' AND l.probe_at <= before THEN
        l.closed_by := NULL;
        l.due_at := l.probe_at + make_interval(secs => app_private.lane_step(l, p_now));
        l.probe_at := NULL;
    END IF;
    IF l.suspicion > 0 THEN
        undecided := ARRAY(SELECT at FROM unnest(l.doubtful) AS at WHERE at > before);
        l.suspicion := greatest(0, l.suspicion - (cardinality(l.doubtful) - cardinality(undecided)));
        l.doubtful := CASE WHEN l.suspicion > 0 THEN undecided ELSE '{}' END;
    END IF;
    RETURN l;
END $$;

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
-- those of the execution, or what a newcomer begins with. Nobody saves more than three turns. The lane is shared
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
        SELECT greatest((SELECT l.turns FROM lately l WHERE is_own), others.turns - 3) AS turns,
            greatest((SELECT max(l.client_turns) FROM lately l WHERE is_same_client),
                     others.client_turns - 3) AS client_turns
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
        opens_at := greatest(l.closed_until, p_now,
            CASE WHEN l.closed_by = 'provider_limit' THEN l.told_until END);
    END IF;
    last_success_at := l.last_success_at;
    successes := l.successes;
END $$;

REVOKE EXECUTE ON FUNCTION
    app_private.read_lane(app_private.lanes, double precision, timestamptz),
    app_private.lock_lane(uuid, text, text, uuid, double precision, timestamptz),
    app_private.keep_lane(app_private.lanes),
    app_private.lane_step(app_private.lanes, timestamptz),
    app_private.lane_limited_by(app_private.lanes),
    app_private.count_start(app_private.lanes, timestamptz, integer),
    app_private.accepted_calls(app_private.lanes, timestamptz),
    app_private.believe_accepted(app_private.lanes, timestamptz),
    app_private.first_gap(timestamptz[], timestamptz, double precision),
    app_private.compare_turns(uuid, uuid, uuid, uuid, timestamptz),
    app_private.take_turn(app_private.lanes, double precision, timestamptz, uuid, uuid, uuid, integer,
                          timestamptz),
    app.lane_state(uuid, timestamptz)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.lane_state(uuid, timestamptz) TO masstock_worker;

RESET ROLE;
SET LOCAL ROLE masstock_authz;
REVOKE CREATE ON SCHEMA app, app_private FROM masstock_owner;
RESET ROLE;
