----------------------------------------------------------------------------
-- What Meta tells: counts, quality of matching, the end of a token.
----------------------------------------------------------------------------

-- What Meta was asked of a dataset, how that ended, and when it is asked again;
-- the dispatcher alone writes it (capi._meta_told).  In no dump.
CREATE TABLE capi.meta_ask (
    dataset_id  int NOT NULL,
    question    text NOT NULL CHECK (question IN ('counts', 'quality', 'token')),
    asked_at    timestamptz NOT NULL,
    next_at     timestamptz NOT NULL,
    state       text NOT NULL CHECK (state IN ('ok', 'no data', 'not permitted', 'throttled', 'no answer')),
    reason      text,
    told_at     timestamptz,    -- the last answer that was one
    ask_from    timestamptz,    -- counts: from which hour on next time,
    hours       int,            -- and how many at once
    expires_at  timestamptz,    -- token: null means never
    warned_days int,            -- token: the last warning was for so many
    secrets_at  timestamptz,    -- of which time the secrets were that it was asked with
    PRIMARY KEY (dataset_id, question)
);

-- What Meta says it counted, server events only (SPEC 9.1): one row per hour and
-- event name, and one of the empty name per hour that it was asked for.
CREATE TABLE capi.meta_count (
    hour       timestamptz NOT NULL,
    dataset_id int NOT NULL,
    event_name text NOT NULL,
    counted    bigint NOT NULL
) PARTITION BY RANGE (hour);

-- What Meta says of the quality of matching (SPEC 9.2), one row per number.
CREATE TABLE capi.meta_score (
    asked_at   timestamptz NOT NULL,
    dataset_id int NOT NULL,
    event_name text NOT NULL,
    measure    text NOT NULL,
    key        text,
    value      numeric
) PARTITION BY RANGE (asked_at);

CREATE FUNCTION capi._set_stats_token(caller oid, name text, access_token text, endpoint text)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.dataset := capi._dataset_to_change(name);
BEGIN
    IF access_token IS NULL THEN
        DELETE FROM capi.secret s WHERE s.dataset_id = old.id AND s.kind = 'stats_token';
    ELSE
        PERFORM capi._check_dataset_args(NULL, access_token, NULL, NULL, NULL, NULL, NULL);
        PERFORM capi._check_giver(caller, old, capi._check_endpoint(endpoint));
        PERFORM capi._store_secret(old.id, 'stats_token', access_token);
    END IF;
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.set_stats_token(name text, access_token text, endpoint text = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner_secret';

CREATE FUNCTION capi._hour(at timestamptz) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT date_bin('1 hour', at, '2000-01-01 00:00+00')
$$;

-- What may be asked, and when; of counts, for which hours.  Nothing is asked of a
-- dataset that has just been made, and again at once after a new token: whether it
-- is another is told by its time being another, for a clock may be set back: what
-- was asked, or made, at a time to come is asked now.
CREATE FUNCTION capi._meta_due(every interval)
    RETURNS TABLE (dataset_id int, question text, next_at timestamptz, from_hour timestamptz, until_hour timestamptz,
                   secrets_at timestamptz)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.id, q.question,
           CASE WHEN coalesce(a.asked_at, d.created_at) > now() THEN now()
                WHEN a.asked_at IS NULL THEN d.created_at + every
                WHEN t.secrets_at IS DISTINCT FROM a.secrets_at THEN least(a.asked_at, now())
                ELSE a.next_at END,
           f.from_hour,
           least(f.from_hour + coalesce(a.hours, 24) * interval '1 hour', capi._hour(now()) + interval '1 hour'),
           t.secrets_at
      FROM capi.dataset d
     CROSS JOIN LATERAL (SELECT max(s.changed_at) AS secrets_at FROM capi.secret s WHERE s.dataset_id = d.id) t
     CROSS JOIN (VALUES ('counts'), ('quality'), ('token')) AS q (question)
      LEFT JOIN capi.meta_ask a ON a.dataset_id = d.id AND a.question = q.question
     -- seven days can be read (SPEC 9.1)
     CROSS JOIN LATERAL (SELECT CASE WHEN w.hour > now() THEN capi._hour(now() - interval '1 day')
                                     ELSE greatest(w.hour, capi._hour(now() - interval '7 days') + interval '1 hour') END
                           FROM coalesce(a.ask_from, capi._hour(d.created_at)) AS w (hour)) AS f (from_hour)
     WHERE d.dropped_at IS NULL
     ORDER BY 3, 2, 1
$$;

-- A time as the API writes it; null when it is none.
CREATE FUNCTION capi._meta_time(told text) RETURNS timestamptz
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF told ~ '^[0-9]{1,11}$' THEN
        RETURN to_timestamp(told::bigint);
    ELSIF told ~ '^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:?[0-9]{2})$' THEN
        RETURN told::timestamptz;
    END IF;
    RETURN NULL;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;

-- Is it a name of events?  Of what comes from outside only that is kept: a name that
-- is known here, or one that can hold no number of a person's and no hash.
CREATE FUNCTION capi._meta_name(told text) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT told = ANY (capi._standard_events())
        OR EXISTS (SELECT FROM capi.source s WHERE s.event_name = told)
        OR (told ~ '^[A-Za-z0-9][A-Za-z0-9 _.:-]{0,49}$' AND told !~ '[A-Za-z0-9]{20}|[0-9]{6}')
$$;

-- Keys of customers and of deduplication, as Meta's documents and its pages name them.
CREATE FUNCTION capi._meta_key(told text) RETURNS boolean
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT told = ANY ('{em,email,ph,phone,phone_number,fn,first_name,ln,last_name,ge,gen,gender,db,dob,date_of_birth,birthday,ct,city,
        st,state,zp,zip,zip_code,postal_code,country,external_id,ip_address,client_ip_address,user_agent,client_user_agent,fbc,click_id,
        fbp,browser_id,fb_login_id,facebook_login_id,lead_id,subscription_id,madid,anon_id,event_id,order_id}'::text[])
$$;

-- What is no name counts as (other), and so does what comes after the 200 most
-- frequent names of an answer.
CREATE FUNCTION capi._meta_counted(told jsonb)
    RETURNS TABLE (hour timestamptz, event_name text, counted bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH counts AS (
             SELECT capi._hour(capi._meta_time(h ->> 'start_time')) AS hour, e ->> 'value' AS name, (e ->> 'count')::bigint AS n
               FROM jsonb_path_query(told, '$.data[*]') h
              CROSS JOIN LATERAL jsonb_path_query(h, '$.data[*]') e
              WHERE e ->> 'count' ~ '^[0-9]{1,12}$' AND jsonb_typeof(e -> 'value') = 'string'),
         names AS (
             SELECT c.name FROM (SELECT t.name, sum(t.n) AS n FROM counts t GROUP BY t.name) c
              WHERE capi._meta_name(c.name)
              ORDER BY EXISTS (SELECT FROM capi.source s WHERE s.event_name = c.name) DESC, c.n DESC, c.name
              LIMIT 200)
    SELECT c.hour, coalesce(n.name, '(other)'), sum(c.n)::bigint
      FROM counts c LEFT JOIN names n ON n.name = c.name
     GROUP BY 1, 2
$$;

-- Writes down the counts of these hours.  False when the answer may be a part of
-- them only: its next page has an address that holds the token, so that is not
-- followed, but fewer hours are asked for.
CREATE FUNCTION capi._meta_store_counts(dataset int, from_hour timestamptz, until_hour timestamptz, told jsonb)
    RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted int := extract(epoch FROM until_hour - from_hour) / 3600;
BEGIN
    IF told #> '{paging,next}' IS NOT NULL AND wanted > 1 AND wanted > (
        SELECT count(DISTINCT capi._hour(capi._meta_time(h ->> 'start_time')))
          FROM jsonb_path_query(told, '$.data[*]') h) THEN
        RETURN false;
    END IF;
    PERFORM capi._partition('meta_count', t.at)
       FROM (VALUES (from_hour), (until_hour - interval '1 hour')) AS t (at);
    WITH named AS MATERIALIZED (
             SELECT c.hour, c.event_name, c.counted FROM capi._meta_counted(told) c
              WHERE c.hour >= from_hour AND c.hour < until_hour),
         news AS MATERIALIZED (
             SELECT n.hour, n.event_name, n.counted FROM named n
             UNION ALL
             SELECT g.hour, '', coalesce((SELECT sum(n.counted) FROM named n WHERE n.hour = g.hour), 0)::bigint
               FROM generate_series(from_hour, until_hour - interval '1 hour', '1 hour') AS g (hour)),
         changed AS (
             UPDATE capi.meta_count c SET counted = n.counted FROM news n
              WHERE c.dataset_id = dataset AND c.hour = n.hour AND c.event_name = n.event_name
                AND c.counted <> n.counted),
         gone AS (
             DELETE FROM capi.meta_count c
              WHERE c.dataset_id = dataset AND c.hour >= from_hour AND c.hour < until_hour
                AND NOT EXISTS (SELECT FROM news n WHERE n.hour = c.hour AND n.event_name = c.event_name))
    INSERT INTO capi.meta_count (hour, dataset_id, event_name, counted)
    SELECT n.hour, dataset, n.event_name, n.counted FROM news n
     WHERE NOT EXISTS (SELECT FROM capi.meta_count c
                        WHERE c.dataset_id = dataset AND c.hour = n.hour AND c.event_name = n.event_name);
    RETURN true;
END $$;

-- Returns how many numbers there were.
CREATE FUNCTION capi._meta_store_quality(dataset int, told jsonb) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stored bigint;
BEGIN
    PERFORM capi._partition('meta_score', now());
    INSERT INTO capi.meta_score (asked_at, dataset_id, event_name, measure, key, value)
    SELECT now(), dataset, w ->> 'event_name', m.measure, m.key, m.value::numeric
      FROM (SELECT q FROM jsonb_path_query(told, '$.web[*]') q WHERE capi._meta_name(q ->> 'event_name') LIMIT 200) AS e (w)
     CROSS JOIN LATERAL (
         SELECT 'match_quality', NULL, w #>> '{event_match_quality,composite_score}'
         UNION ALL
         SELECT 'match_key', k ->> 'identifier', k #>> '{coverage,percentage}'
           FROM jsonb_path_query(w, '$.event_match_quality.match_key_feedback[*]') k
         UNION ALL
         SELECT 'event_coverage', NULL, w #>> '{event_coverage,percentage}'
         UNION ALL
         SELECT 'event_coverage_goal', NULL, w #>> '{event_coverage,goal_percentage}'
         UNION ALL
         SELECT d.measure, k ->> 'dedupe_key', k -> d.member ->> 'percentage'
           FROM jsonb_path_query(w, '$.dedupe_key_feedback[*]') k
          CROSS JOIN (VALUES ('dedupe_browser', 'browser_events_with_dedupe_key'),
                             ('dedupe_server', 'server_events_with_dedupe_key'),
                             ('dedupe_overall', 'overall_browser_coverage_from_dedupe_key')) AS d (measure, member)
         UNION ALL
         SELECT 'upload_frequency', lower(w #>> '{data_freshness,upload_frequency}'), NULL
         UNION ALL
         SELECT 'additional_conversions', NULL, w #>> '{acr,percentage}') AS m (measure, key, value)
     WHERE CASE m.measure WHEN 'upload_frequency' THEN m.key IN ('real_time', 'hourly', 'daily', 'weekly')
           ELSE m.value ~ '^[0-9]{1,3}([.][0-9]{1,20})?$' AND (m.key IS NULL OR capi._meta_key(m.key)) END;
    GET DIAGNOSTICS stored = ROW_COUNT;
    RETURN stored;
END $$;

-- Writes down how a question ended; of the answer only numbers and names stay.
-- It is the endpoint's, so whatever it is, it is no error.
CREATE FUNCTION capi._meta_told(dataset int, what text, from_hour timestamptz, until_hour timestamptz,
        state text, reason text, rest interval, every interval, answer bytea, secrets_at timestamptz)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    told jsonb;
    wait interval := greatest(every, rest);
    fewer int;
    goes_on boolean := false;
    expiry timestamptz;
BEGIN
    IF state = 'ok' THEN
        BEGIN
            told := convert_from(answer, 'UTF8')::jsonb;
        EXCEPTION WHEN OTHERS THEN
            told := NULL;
        END;
        IF jsonb_typeof(told) IS DISTINCT FROM 'object'
           OR (what = 'counts' AND jsonb_typeof(told -> 'data') IS DISTINCT FROM 'array')
           OR (what = 'token' AND (told #>> '{data,expires_at}' ~ '^[0-9]{1,11}$') IS NOT TRUE) THEN
            state := 'no answer';
            reason := 'the answer is not what the API answers';
        END IF;
    END IF;
    IF state = 'too much' OR (state = 'ok' AND what = 'counts'
                              AND NOT capi._meta_store_counts(dataset, from_hour, until_hour, told)) THEN
        goes_on := what = 'counts' AND until_hour > from_hour + interval '1 hour';
        state := CASE WHEN goes_on THEN 'ok' ELSE 'no answer' END;
        reason := CASE WHEN goes_on THEN NULL ELSE 'the answer is too large' END;
        fewer := CASE WHEN goes_on THEN extract(epoch FROM until_hour - from_hour)::int / 7200 END;
    ELSIF state = 'ok' AND what = 'counts' THEN
        goes_on := until_hour <= now();
        -- what came late is counted yet: the last day is asked for again
        from_hour := CASE WHEN goes_on THEN until_hour ELSE until_hour - interval '25 hours' END;
    ELSIF state = 'ok' AND what = 'quality' THEN
        IF capi._meta_store_quality(dataset, told) = 0 THEN
            state := 'no data';
        END IF;
    ELSIF state = 'ok' THEN
        expiry := to_timestamp(nullif((told #>> '{data,expires_at}')::bigint, 0));
    END IF;
    -- who may not ask, or is told once a day, asks no more often
    IF state = 'not permitted' OR (what <> 'counts' AND state IN ('ok', 'no data')) THEN
        wait := greatest(wait, interval '1 day');
    END IF;
    INSERT INTO capi.meta_ask AS a (dataset_id, question, asked_at, next_at, state, reason, told_at, ask_from, hours, expires_at, secrets_at)
    VALUES (dataset, what, clock_timestamp(), CASE WHEN goes_on THEN now() ELSE now() + wait END, state, reason,
            CASE WHEN state IN ('ok', 'no data') THEN now() END,
            CASE WHEN what = 'counts' THEN from_hour END, fewer, expiry, secrets_at)
    ON CONFLICT (dataset_id, question) DO UPDATE
        SET asked_at = excluded.asked_at, next_at = excluded.next_at, state = excluded.state, reason = excluded.reason,
            secrets_at = excluded.secrets_at,
            told_at = coalesce(excluded.told_at, a.told_at), ask_from = excluded.ask_from,
            hours = coalesce(excluded.hours, CASE WHEN goes_on THEN a.hours ELSE least(2 * a.hours, 24) END),
            expires_at = CASE excluded.state WHEN 'ok' THEN excluded.expires_at ELSE a.expires_at END,
            warned_days = CASE WHEN excluded.state = 'ok' AND excluded.expires_at IS DISTINCT FROM a.expires_at
                          THEN NULL ELSE a.warned_days END;
END $$;

-- When the tokens end that are there now, as far as they were told.
CREATE VIEW capi._token_expiry AS
    SELECT a.dataset_id, a.expires_at, a.warned_days
      FROM capi.meta_ask a
      JOIN capi.dataset d ON d.id = a.dataset_id AND d.dropped_at IS NULL
     WHERE a.question = 'token' AND a.expires_at IS NOT NULL
       AND NOT EXISTS (SELECT FROM capi.secret s
                        WHERE s.dataset_id = a.dataset_id AND s.kind = 'access_token' AND s.changed_at > a.told_at);

-- Each of the three warnings once; the dispatcher logs what this returns.
CREATE FUNCTION capi._token_warnings() RETURNS TABLE (name text, days int)
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE capi.meta_ask a SET warned_days = w.days
      FROM (SELECT e.dataset_id, d.name, min(t.days) AS days
              FROM capi._token_expiry e
              JOIN capi.dataset d ON d.id = e.dataset_id
              JOIN (VALUES (14), (7), (1)) AS t (days) ON e.expires_at <= now() + t.days * interval '1 day'
             WHERE e.expires_at > now()
             GROUP BY e.dataset_id, d.name, e.warned_days
            HAVING min(t.days) < coalesce(e.warned_days, 99)) w
     WHERE a.dataset_id = w.dataset_id AND a.question = 'token'
    RETURNING w.name, w.days
$$;

CREATE VIEW capi.meta_status AS
    SELECT d.name AS dataset, q.question, coalesce(a.state, 'not asked') AS state, a.reason,
           a.asked_at, a.told_at, a.next_at
      FROM capi.dataset d
     CROSS JOIN (VALUES ('counts'), ('quality'), ('token')) AS q (question)
      LEFT JOIN capi.meta_ask a ON a.dataset_id = d.id AND a.question = q.question
     WHERE d.dropped_at IS NULL;

-- Each delivered event counts in the hour of its answer and in that of its own
-- time: it is not documented in which of them Meta counts it.
CREATE VIEW capi.meta_counts AS
    WITH hourly AS (
        SELECT e.dataset_id, e.event_name, e.hour, pg_catalog.sum(e.received)::bigint AS received,
               pg_catalog.sum(e.happened)::bigint AS happened, pg_catalog.sum(e.again)::bigint AS again,
               pg_catalog.sum(e.counted)::bigint AS counted
          FROM (SELECT v.dataset_id, coalesce(v.event_name, s.event_name) AS event_name, t.hour,
                       t.received, t.happened, t.again, 0 AS counted
                  -- a million orders are few pairs of hours
                  FROM (SELECT l.source_id, l.dataset_id, l.event_name,
                               pg_catalog.date_bin('1 hour', l.finished_at, '2000-01-01 00:00+00') AS finished,
                               pg_catalog.date_bin('1 hour', l.event_time, '2000-01-01 00:00+00') AS happened,
                               pg_catalog.count(*) AS n, pg_catalog.sum(l.attempts - 1) AS again
                          FROM capi.delivery l
                         WHERE l.outcome = 'delivered' AND l.finished_at > pg_catalog.now() - interval '7 days'
                         GROUP BY 1, 2, 3, 4, 5) v
                  JOIN capi.source s ON s.id = v.source_id
                 CROSS JOIN LATERAL (VALUES (v.finished, v.n, 0, v.again), (v.happened, 0, v.n, 0))
                       AS t (hour, received, happened, again)
                UNION ALL
                SELECT c.dataset_id, c.event_name, c.hour, 0, 0, 0, c.counted
                  FROM capi.meta_count c
                 WHERE c.event_name <> '' AND c.hour > pg_catalog.now() - interval '7 days') e
         WHERE e.hour > pg_catalog.now() - interval '7 days'
         GROUP BY e.dataset_id, e.event_name, e.hour),
    near AS (
        SELECT h.*, greatest(h.received, h.happened) AS most, least(h.received, h.happened) AS fewest,
               pg_catalog.sum(h.received) OVER w AS near_received, pg_catalog.sum(h.happened) OVER w AS near_happened,
               pg_catalog.sum(h.again) OVER w AS near_again, pg_catalog.sum(h.counted) OVER w AS near_counted
          FROM hourly h
        WINDOW w AS (PARTITION BY h.dataset_id, h.event_name ORDER BY h.hour
                     RANGE BETWEEN interval '1 hour' PRECEDING AND interval '1 hour' FOLLOWING))
    SELECT d.name AS dataset, n.hour, n.event_name, n.received AS delivered,
           CASE WHEN k.hour IS NOT NULL THEN n.counted END AS counted,
           CASE WHEN k.hour IS NOT NULL THEN n.counted - n.received END AS difference,
           CASE WHEN k.hour IS NULL THEN 'not told'
                -- events appear within half an hour (SPEC 8.1)
                WHEN n.hour + interval '3 hours' > a.told_at THEN 'open'
                WHEN n.counted BETWEEN n.fewest - t.allowed AND n.most + n.again + t.allowed THEN 'agrees'
                -- what came at the turn of an hour may count in the next
                WHEN n.near_counted BETWEEN least(n.near_received, n.near_happened) - t.allowed
                         AND greatest(n.near_received, n.near_happened) + n.near_again + t.allowed THEN 'agrees'
                WHEN n.counted < n.received THEN 'fewer'
                ELSE 'more' END AS verdict,
           n.happened AS delivered_by_time,
           CASE WHEN k.hour IS NULL THEN coalesce(a.reason, a.state, 'not asked') END AS reason
      FROM near n
      JOIN capi.dataset d ON d.id = n.dataset_id
     CROSS JOIN LATERAL (SELECT greatest(3, pg_catalog.ceil(0.05 * greatest(n.most, n.counted)))) AS t (allowed)
      LEFT JOIN capi.meta_count k ON k.dataset_id = n.dataset_id AND k.hour = n.hour AND k.event_name = ''
      LEFT JOIN capi.meta_ask a ON a.dataset_id = n.dataset_id AND a.question = 'counts';

-- The last answer of each dataset; one without any has a row that says why.
CREATE VIEW capi.meta_quality AS
    SELECT d.name AS dataset, s.event_name, s.measure, s.key, s.value, s.asked_at,
           coalesce(a.state, 'not asked') AS state, a.reason
      FROM capi.dataset d
      LEFT JOIN capi.meta_ask a ON a.dataset_id = d.id AND a.question = 'quality'
      LEFT JOIN capi.meta_score s ON s.dataset_id = d.id
       AND s.asked_at = (SELECT pg_catalog.max(l.asked_at) FROM capi.meta_score l WHERE l.dataset_id = d.id)
     WHERE d.dropped_at IS NULL;
