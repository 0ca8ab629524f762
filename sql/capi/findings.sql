----------------------------------------------------------------------------
-- Checks of capi.diagnose() that judge by what became of the orders.  Each looks
-- at a bounded number of them.
----------------------------------------------------------------------------

-- Sources whose table and query can be looked at, by one column as key.
CREATE FUNCTION capi._sources_to_look_at() RETURNS SETOF capi.source
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.* FROM capi.source s
     WHERE s.detached_at IS NULL AND s.name NOT LIKE 'send:%' AND cardinality(s.key_columns) = 1
       AND s.broken_since IS NULL AND capi._rule_problem(s.id) IS NULL
     ORDER BY s.name
$$;

-- Of orders, by their keys' texts, what the query says, as a JSON array each.
CREATE FUNCTION capi._look_at_orders(src capi.source, keys text[], wanted text) RETURNS text[]
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT capi._look_at(src, format(E'SELECT pg_catalog.jsonb_build_array(q.key::pg_catalog.text, %s)::pg_catalog.text FROM (%s\n) AS q WHERE q.key = ANY (%L::%s[])',
                                     wanted, capi._single_select(src.query), keys, src.query_key_type), cardinality(keys))
$$;

CREATE FUNCTION capi._moment(event_time text, time_zone text) RETURNS timestamptz
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT CASE WHEN event_time ~ '^[0-9.]+$'
                -- numbers this large are milliseconds (validate.c)
                THEN to_timestamp(event_time::float8 / CASE WHEN event_time::float8 < 1e11 THEN 1 ELSE 1000 END)
                WHEN event_time ~ '[+-]\d\d(:\d\d)*$' THEN event_time::timestamptz
                ELSE event_time::timestamp AT TIME ZONE coalesce(time_zone, 'UTC') END
$$;

-- Some keys that the rule fits, in rows written since the rule is what it is.
CREATE FUNCTION capi._fitting_keys(src capi.source) RETURNS text[]
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT capi._look_at(src, format('SELECT t.%1$I::pg_catalog.text FROM %2$s AS t WHERE %3$s AND pg_catalog.age(t.xmin) < %4$s ORDER BY t.%1$I DESC LIMIT 20',
                                     src.key_columns[1], src.table_name::regclass, capi._rule_condition(src), age(s.xmin)), 20)
      FROM capi.source s WHERE s.id = src.id
$$;

CREATE FUNCTION capi._knows_one(source int, keys text[]) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM capi.delivery d WHERE d.source_id = source AND d.key = ANY (keys))
        OR EXISTS (SELECT FROM capi.backlog b WHERE b.source_id = source AND b.key = ANY (keys))
        OR EXISTS (SELECT FROM capi._unread u WHERE u.source_id = source AND u.key = ANY (keys))
$$;

-- Are there orders to capture, and is none known?  A row of an order of before
-- may have been written to since, so the query is asked when they were, last.
CREATE FUNCTION capi._captures_nothing(src capi.source) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keys text[] := capi._fitting_keys(src);
BEGIN
    IF coalesce(keys, '{}') = '{}' OR capi._knows_one(src.id, keys) THEN
        RETURN false;
    END IF;
    RETURN EXISTS (SELECT FROM unnest(capi._look_at_orders(src, keys, 'q.event_time')) AS u (line)
                    WHERE capi._moment(u.line::jsonb ->> 1, src.time_zone) > src.attached_at);
EXCEPTION WHEN data_exception THEN
    RETURN false;
END $$;

CREATE FUNCTION capi._rules_check()
    RETURNS TABLE ("check" text, ok boolean, detail text, hint text)
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'rules', count(*) = 0,
           coalesce('Nothing is captured, although orders that fit the rule were written since: '
                    || string_agg(format('%s (table %s)', s.name, s.table_name::regclass), '; ' ORDER BY s.name) || '.',
                    'No rule was found to miss what fits it.'),
           CASE WHEN count(*) > 0
                THEN 'Rows that a subscription or a restore writes need fire_on_replica, children of a table their own source. '
                     || string_agg(format('SELECT * FROM capi.missing_orders(%L);', s.name), ' ' ORDER BY s.name)
                     || ' names the orders, capi.backfill() queues them.' END
      FROM capi._sources_to_look_at() s WHERE capi._captures_nothing(s)
$$;

-- What became of the last hour's events, and what waits: of the latter what has
-- a reason beyond the hold time.  Up to ten thousand of each.
CREATE FUNCTION capi._last_hour() RETURNS TABLE (source_id int, status text, reason text, n bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.source_id, e.status, e.reason, count(*)
      FROM ((SELECT d.source_id, d.outcome AS status,
                    d.reason || CASE WHEN d.reason = 'refused' THEN format(' (%s)', concat_ws('/', d.error_code, d.error_subcode)) ELSE '' END AS reason
               FROM capi.delivery d
              WHERE d.finished_at > now() - interval '1 hour' AND d.outcome <> 'forgotten' LIMIT 10000)
            UNION ALL
            (SELECT b.source_id, b.status, b.reason FROM capi.backlog b LIMIT 10000)) AS e
     GROUP BY 1, 2, 3
$$;

CREATE FUNCTION capi._likely_cause(status text, reason text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN reason = 'in_the_future' THEN 'A time zone is missing or wrong: give a naive event_time the one it is written in, with time_zone or AT TIME ZONE. Or a clock is ahead.'
        WHEN reason = 'too_old' THEN 'event_time is not the time of the purchase, or its time zone is wrong. Or they waited too long.'
        WHEN reason = 'not returned by the query' THEN 'The query leaves out what the rule captures, or its role may not see the rows: a permission, row security.'
        WHEN reason ~ 'SQLSTATE 42501' THEN 'A permission is missing: GRANT the role that the query runs as what it reads.'
        WHEN reason ~ 'SQLSTATE 22023' THEN 'A value that a function does not take, for example an unknown time zone.'
        WHEN reason ~ 'SQLSTATE 53200' THEN 'The query wants too much memory: let it read less, or raise capi.reader_memory.'
        WHEN reason ~ '^the query took longer' THEN 'The query is slow: add an index for its key.'
        WHEN reason ~ '^the (query|reader) ' THEN 'The data of the orders makes the query fail.'
        WHEN reason = 'no_customer_data' THEN 'Nothing that can be used tells who the customer is: em, ph, external_id or fbp.'
        WHEN reason ~ '^no_' THEN 'A column of the query, or a member of the event, is null or holds what cannot be used.'
        WHEN reason = 'several_rows' THEN 'A join returns several rows for an order: items belong into one array, and is the condition of a join missing?'
        WHEN reason LIKE 'refused%' OR reason LIKE 'unclear%' THEN 'message in capi.request_log says what Meta says.'
        WHEN reason IN ('transient', 'throttled') THEN 'The endpoint or the network: capi.test_dataset() asks it.'
        WHEN status = 'ignored' THEN 'It is what the query''s ignore_reason or the shopper''s consent says: well if it is meant so.'
        ELSE 'See doc/errors.md.' END
$$;

-- For each source the one reason for which more than half of its events were
-- not delivered.
CREATE FUNCTION capi._outcomes_check()
    RETURNS TABLE ("check" text, ok boolean, detail text, hint text)
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'outcomes', count(*) = 0,
           coalesce('Most of the last hour: ' || string_agg(format('source %s, %s of %s %s, %s', s.name, m.n, m.total, m.status, m.reason), '; ' ORDER BY s.name) || '.',
                    'No one reason keeps most of the last hour from being delivered.'),
           string_agg(concat_ws(' ', CASE WHEN m.sources > 1 THEN s.name || ':' END, capi._likely_cause(m.status, m.reason),
                                CASE WHEN s.name NOT LIKE 'send:%' THEN format('Look with SELECT * FROM capi.preview(%L);', s.name) END), ' ' ORDER BY s.name)
      FROM (SELECT h.*, count(*) OVER () AS sources
              FROM (SELECT h.*, sum(h.n) OVER (PARTITION BY h.source_id) AS total FROM capi._last_hour() h) h
             WHERE h.n * 2 > h.total
               AND (h.status IN ('rejected', 'ignored', 'expired', 'retrying') OR h.status = 'held' AND h.reason IS NOT NULL)
               -- of one that is detached nothing can be mended
               AND NOT EXISTS (SELECT FROM capi.source s WHERE s.id = h.source_id AND s.detached_at IS NOT NULL)) m
      JOIN capi._sources s ON s.id = m.source_id
$$;

CREATE FUNCTION capi._paused_check()
    RETURNS TABLE ("check" text, ok boolean, detail text, hint text)
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'paused', count(*) = 0,
           coalesce('Paused, and events wait: ' || string_agg(format('%s (%s)', s.name, CASE WHEN w.n > 10000 THEN 'more than 10000' ELSE w.n::text END), ', ' ORDER BY s.name) || '.',
                    'No event waits for a source that is paused.'),
           string_agg(format('SELECT capi.resume(%L);', s.name), ' ' ORDER BY s.name)
      FROM capi.source s
     CROSS JOIN LATERAL (SELECT count(*) AS n
                           FROM ((SELECT FROM capi.backlog b WHERE b.source_id = s.id LIMIT 10001)
                                 UNION ALL
                                 (SELECT FROM capi._queued q WHERE q.source_id = s.id LIMIT 10001)) AS e) w
     WHERE s.paused AND s.detached_at IS NULL AND w.n > 0
$$;

-- Delivered orders of a source, up to fifty of a time, and whether their e-mail
-- addresses and telephone numbers were unusable.
CREATE FUNCTION capi._delivered_sample(source int, since timestamptz, until timestamptz)
    RETURNS TABLE (key text, bad_em boolean, bad_ph boolean)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.key, coalesce(d.problems @> '[{"field": "em"}]', false), coalesce(d.problems @> '[{"field": "ph"}]', false)
      FROM (SELECT d.* FROM capi.delivery d WHERE d.finished_at > since AND d.finished_at <= until LIMIT 20000) AS d
     WHERE d.source_id = source AND d.outcome = 'delivered' LIMIT 50
$$;

-- How many orders there are, and for how many there is something usable.
CREATE FUNCTION capi._reachable(src capi.source, since timestamptz, until timestamptz,
                                OUT orders bigint, OUT em bigint, OUT ph bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    columns text[];
    keys text[] := ARRAY(SELECT d.key FROM capi._delivered_sample(src.id, since, until) d);
    lines text[];
BEGIN
    IF keys <> '{}' THEN
        columns := capi._query_columns(src.query, src.search_path, src.run_as::oid);
        lines := capi._look_at_orders(src, keys, (SELECT string_agg(CASE WHEN f = ANY (columns) THEN format('coalesce(q.%I::pg_catalog.text, '''') <> ''''', f) ELSE 'true' END, ', ' ORDER BY n)
                                                    FROM unnest('{em,ph}'::text[]) WITH ORDINALITY AS u (f, n)));
    END IF;
    -- what the query cannot be asked for was there
    SELECT count(*), count(*) FILTER (WHERE NOT d.bad_em AND coalesce((l.line ->> 1)::boolean, true)),
           count(*) FILTER (WHERE NOT d.bad_ph AND coalesce((l.line ->> 2)::boolean, true))
      INTO orders, em, ph
      FROM capi._delivered_sample(src.id, since, until) d
      LEFT JOIN (SELECT u.line::jsonb FROM unnest(lines) AS u (line)) AS l ON l.line ->> 0 = d.key;
EXCEPTION WHEN OTHERS THEN
    orders := 0;
END $$;

-- A share that fell by more than thirty points: a form, a plugin, a column.
CREATE FUNCTION capi._customers_check()
    RETURNS TABLE ("check" text, ok boolean, detail text, hint text)
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'customers', count(*) = 0,
           coalesce(string_agg(format('Orders of source %s with a usable %s fell from %s %% of the week before to %s %% of the last hours.', s.name, f.what,
                                      100 * f.earlier / b.orders, 100 * f.later / a.orders), ' ' ORDER BY s.name, f.what),
                    'No share of customers with a usable address or number fell suddenly.'),
           string_agg(DISTINCT format('SELECT * FROM capi.match_quality(%L); says what is wrong with them.', s.name), ' ')
      FROM capi._sources_to_look_at() s
     CROSS JOIN LATERAL capi._reachable(s, now() - interval '6 hours', now()) a
     CROSS JOIN LATERAL capi._reachable(s, now() - interval '7 days', now() - interval '6 hours') b
     CROSS JOIN LATERAL (VALUES ('e-mail address', b.em, a.em), ('telephone number', b.ph, a.ph)) AS f (what, earlier, later)
     WHERE a.orders >= 10 AND b.orders >= 10
       AND 100 * f.earlier / b.orders - 100 * f.later / a.orders > 30
$$;

-- All of them.  What is wrong with one must not hide the rest.
CREATE FUNCTION capi._findings()
    RETURNS TABLE ("check" text, ok boolean, detail text, hint text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY '{advice,rules,outcomes,paused,customers}'::text[] LOOP
        BEGIN
            RETURN QUERY EXECUTE format('SELECT * FROM capi._%s_check()', name);
        EXCEPTION WHEN OTHERS THEN
            RETURN QUERY SELECT name, false, format('This could not be looked at: SQLSTATE %s.', SQLSTATE),
                format('To a superuser SELECT * FROM capi._%s_check() shows the error.', name);
        END;
    END LOOP;
END $$;
