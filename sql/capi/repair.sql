----------------------------------------------------------------------------
-- Repair: queue what is missing, forget what must not be kept.
----------------------------------------------------------------------------

-- Runs of capi.backfill(), for capi.backfill_progress; a few rows, no customer's data.
CREATE SEQUENCE capi.backfill_run_id_seq;
CREATE TABLE capi.backfill_run (
    id          bigint PRIMARY KEY,
    source_id   int NOT NULL,
    pid         int NOT NULL,
    started_at  timestamptz NOT NULL,
    since       timestamptz NOT NULL,
    until       timestamptz NOT NULL,
    counted_at  timestamptz,
    total       bigint,
    queued      bigint NOT NULL DEFAULT 0,
    too_old     bigint NOT NULL DEFAULT 0,
    not_by_rule bigint NOT NULL DEFAULT 0,
    known       bigint NOT NULL DEFAULT 0,
    unusable    bigint NOT NULL DEFAULT 0,
    updated_at  timestamptz NOT NULL,
    finished_at timestamptz
);

-- "=" of a type, and the type, as they are written in a statement.  (-1: of any
-- length, where "character" would have the length 1.)
CREATE FUNCTION capi._equals(type regtype, OUT operator text, OUT name text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('OPERATOR(%I.=)', CASE WHEN t.typtype = 'b' THEN n.nspname ELSE 'pg_catalog' END),
           CASE WHEN t.oid = 'varchar'::regtype THEN 'pg_catalog.text' ELSE format_type(t.oid, -1) END
      FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = type
$$;

-- Why the rule says nothing of the watched table's rows as they are; whether its
-- trigger fires is another question, and may be what a backfill is for.
CREATE FUNCTION capi._rule_gap(source int) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = s.table_name::oid) THEN 'the table is gone'
                ELSE (SELECT CASE WHEN a.attname IS NULL THEN format('column "%s" is gone or was renamed', u.name)
                                  ELSE format('column "%s" changed its type', u.name) END
                        FROM unnest(s.key_columns || s.on_column, s.key_types::oid[] || s.on_type::oid) AS u (name, type)
                        LEFT JOIN pg_attribute a ON a.attrelid = s.table_name::oid AND a.attname = u.name
                                                AND a.attnum > 0 AND NOT a.attisdropped
                       WHERE u.name IS NOT NULL AND a.atttypid IS DISTINCT FROM u.type LIMIT 1) END
      FROM capi.source s WHERE s.id = source
$$;

-- Which of the keys in $1, as texts, have a row in the watched table that meets
-- the rule today: their numbers, and the texts that the trigger writes of them,
-- which may be others of the same value.  Null: every order does.
CREATE FUNCTION capi._rule_sql(source int) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('SELECT k.n::pg_catalog.int4, pg_catalog.min(%s)'
                  ' FROM pg_catalog.unnest($1) WITH ORDINALITY AS k (t, n)'
                  ' JOIN %s AS w ON %s AND %s GROUP BY k.n',
                  CASE WHEN cardinality(s.key_columns) = 1
                       THEN format('pg_catalog.concat(w.%I)', s.key_columns[1]) ELSE 'k.t' END,
                  s.table_name::regclass,
                  CASE WHEN cardinality(s.key_columns) = 1
                       -- by the type's own equality, so that an index is of use
                       THEN format('w.%I %s k.t::%s', s.key_columns[1], k.operator, k.name)
                       ELSE format(CASE s.query_key_type WHEN 'record' THEN 'ROW(%s)' ELSE 'ARRAY[%s]' END
                                   || '::pg_catalog.text OPERATOR(pg_catalog.=) k.t',
                                   (SELECT string_agg(format('w.%I', u.c), ', ' ORDER BY u.n)
                                      FROM unnest(s.key_columns) WITH ORDINALITY u (c, n))) END,
                  CASE WHEN s.on_values IS NULL THEN format('w.%I IS NOT NULL', s.on_column)
                       ELSE format('w.%I %s ANY (%L::%s[])', s.on_column, v.operator, s.on_values, v.name) END)
      FROM capi.source s
     CROSS JOIN LATERAL capi._equals(s.key_types[1]) k
      LEFT JOIN LATERAL capi._equals(s.on_type) v ON true
     WHERE s.id = source AND s.on_column IS NOT NULL
$$;

-- Which of the keys have an outcome or a place in the backlog by now: their numbers.
CREATE FUNCTION capi._known_keys(source int, keys text[]) RETURNS SETOF int
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.n::int FROM unnest(keys) WITH ORDINALITY AS k (t, n)
     WHERE EXISTS (SELECT FROM capi.backlog b WHERE b.source_id = source AND b.key = k.t)
        OR EXISTS (SELECT FROM capi.delivery d WHERE d.source_id = source AND d.key = k.t)
$$;

CREATE PROCEDURE capi.backfill(source text, since timestamptz, until timestamptz = now())
    LANGUAGE C AS 'MODULE_PATHNAME', 'capi_sql_backfill';

-- A run that was cut off holds its lock no more.
CREATE VIEW capi.backfill_progress AS
    SELECT s.name AS source, r.pid,
           CASE WHEN r.finished_at IS NOT NULL THEN 'done'
                WHEN l.pid IS NULL THEN 'interrupted'
                WHEN r.total IS NULL THEN 'counting'
                ELSE 'queueing' END AS state,
           r.total,
           r.queued + r.too_old + r.not_by_rule + r.known + r.unusable AS done,
           r.queued, r.too_old, r.not_by_rule,
           p.per_second,
           CASE WHEN r.finished_at IS NULL AND l.pid IS NOT NULL AND p.per_second > 0
                THEN pg_catalog.make_interval(secs => pg_catalog.ceil((r.total - r.queued - r.too_old
                                    - r.not_by_rule - r.known - r.unusable) / p.per_second)::float8) END AS time_left,
           r.started_at, r.finished_at, r.since, r.until
      FROM capi.backfill_run r
      JOIN capi.source s ON s.id = r.source_id
     CROSS JOIN LATERAL (SELECT pg_catalog.round((r.queued + r.too_old + r.not_by_rule + r.known + r.unusable)
                                / nullif(extract(epoch FROM r.updated_at - r.counted_at), 0), 1) AS per_second) p
      LEFT JOIN pg_catalog.pg_locks l
             ON l.locktype = 'userlock' AND l.pid = r.pid AND l.classid = 1128353865
            AND l.objid = (r.id & 4294967295)::oid AND l.objsubid = 2
            AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database());

-- What stays is a row that says so, without anything of the order but its key
-- and times: it is not sent again, and not missed (known.c, reconcile).  Rows of
-- the queue hold no more than that, and go by themselves.
CREATE FUNCTION capi._forget(caller oid, order_key text, source text) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    only_source int;
    keys text[] := capi._captured_keys(order_key);
    at record;
    n bigint;
    gone bigint := 0;
BEGIN
    IF order_key IS NULL THEN
        RAISE EXCEPTION 'order_key must not be null'
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'Name the order by the key that capi.delivery_status shows.';
    END IF;
    IF source IS NOT NULL THEN
        SELECT s.id INTO only_source FROM capi.source s WHERE s.name = _forget.source;
        IF only_source IS NULL THEN
            PERFORM capi._source(source);
        END IF;
        keys := ARRAY[order_key, capi._captured_key(only_source, order_key)];
    END IF;
    FOR at IN
        SELECT s.id, s.dataset_id, w.key, max(k.event_time) AS event_time, min(k.captured_at) AS captured_at,
               bool_or(k.kind = 'forgotten') AS forgotten, count(k.kind) FILTER (WHERE k.kind = 'unread') AS unread
          FROM capi._sources s
         CROSS JOIN LATERAL (SELECT capi._captured_key(s.id, order_key) AS key UNION SELECT order_key) w
          LEFT JOIN (SELECT d.source_id, d.key, d.event_time, d.captured_at, CASE d.outcome WHEN 'forgotten' THEN 'forgotten' ELSE 'log' END AS kind
                       FROM capi.delivery d WHERE d.key = ANY (keys)
                     UNION ALL
                     SELECT b.source_id, b.key, b.event_time, b.captured_at, 'backlog' FROM capi.backlog b WHERE b.key = ANY (keys)
                     UNION ALL
                     SELECT u.source_id, u.key, NULL, u.captured_at, 'unread' FROM capi._unread u WHERE u.key = ANY (keys)
                     UNION ALL
                     SELECT e.source_id, e.key, e.event_time, now(), 'event' FROM capi.direct_event e WHERE e.key = ANY (keys)) k
                 ON k.source_id = s.id AND k.key = w.key
         WHERE CASE WHEN only_source IS NULL THEN k.kind IS NOT NULL
                    ELSE s.id = only_source AND (k.kind IS NOT NULL OR w.key = capi._captured_key(s.id, order_key)) END
         GROUP BY s.id, s.dataset_id, w.key LOOP
        DELETE FROM capi.delivery d WHERE d.source_id = at.id AND d.key = at.key AND d.outcome <> 'forgotten';
        GET DIAGNOSTICS n = ROW_COUNT;
        gone := gone + n;
        DELETE FROM capi.backlog b WHERE b.source_id = at.id AND b.key = at.key;
        GET DIAGNOSTICS n = ROW_COUNT;
        gone := gone + n;
        DELETE FROM capi.history h WHERE h.source_id = at.id AND h.key = at.key;
        DELETE FROM capi.direct_event e WHERE e.source_id = at.id AND e.key = at.key;
        GET DIAGNOSTICS n = ROW_COUNT;
        gone := gone + n;
        IF at.forgotten IS NOT TRUE THEN
            INSERT INTO capi.delivery (finished_at, captured_at, event_time, source_id, dataset_id, attempts, outcome, key, reason)
            VALUES (now(), coalesce(at.captured_at, now()), at.event_time, at.id, at.dataset_id, 0, 'forgotten', at.key, 'forgotten');
            gone := gone + at.unread;
        END IF;
    END LOOP;
    -- also what is of every source: it is about the same order
    DELETE FROM capi.context c
     WHERE c.key = ANY (keys)
       AND (c.source_id = 0 OR c.key IN (order_key, capi._captured_key(c.source_id, order_key)))
       AND (only_source IS NULL OR c.source_id = only_source
            OR (c.source_id = 0 AND only_source IN (SELECT capi._told(c.writer))));
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN gone + n;
END $$;
CREATE FUNCTION capi.forget(order_key text, source text = NULL)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';
