----------------------------------------------------------------------------
-- Partitions of the logs.
----------------------------------------------------------------------------

-- All that is partitioned: how far back rows may lie when they are written.
CREATE FUNCTION capi._logs() RETURNS TABLE (parent text, back interval)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('delivery', interval '1 day'), ('request', interval '1 day'),
           ('history', interval '1 day'),
           ('meta_count', interval '9 days'), ('meta_score', interval '1 day')
$$;

-- Partitions of the logs: the next one is always there before it is needed.
-- Bounds are written and read in UTC: an abbreviation of a zone may be another's.
-- CREATE and ATTACH, so that a running pg_dump is not waited for.
CREATE FUNCTION capi._add_partition(parent text, from_time timestamptz, until_time timestamptz)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' SET timezone = 'UTC' AS $$
DECLARE
    child text := parent || to_char(from_time AT TIME ZONE 'UTC', '"_p"YYYYMMDD"_"HH24MI');
    grantee text;
BEGIN
    -- one that somebody detached, to keep it, has its name for itself
    WHILE to_regclass(format('capi.%I', child)) IS NOT NULL LOOP
        child := child || '_';
    END LOOP;
    EXECUTE format('CREATE TABLE capi.%I (LIKE capi.%I INCLUDING DEFAULTS)', child, parent);
    PERFORM capi._revoke_all(format('capi.%I', child)::regclass);
    -- who makes dumps reads it
    FOR grantee IN SELECT DISTINCT capi._grantee(a.grantee)
                     FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
                    WHERE c.oid = format('capi.%I', parent)::regclass
                      AND a.privilege_type = 'SELECT' AND a.grantee <> c.relowner LOOP
        EXECUTE format('GRANT SELECT ON capi.%I TO %s', child, grantee);
    END LOOP;
    IF parent = 'delivery' THEN
        -- key first: one order is looked up by its key alone, too; hardly two
        -- rows are equal, so looking for equal ones at each split is idle
        EXECUTE format('CREATE INDEX ON capi.%I (key, source_id) WITH (deduplicate_items = off)', child);
        EXECUTE format('CREATE INDEX ON capi.%I USING brin (finished_at)', child);
        -- a window of orders is counted by this (store/ledger.c)
        EXECUTE format('CREATE INDEX ON capi.%I USING brin (event_time)', child);
        -- rows are deleted, which a publication of all tables must let us
        EXECUTE format('ALTER TABLE capi.%I REPLICA IDENTITY FULL', child);
    ELSIF parent = 'history' THEN
        EXECUTE format('CREATE INDEX ON capi.%I (key)', child);
        EXECUTE format('ALTER TABLE capi.%I REPLICA IDENTITY FULL', child);
    ELSIF parent = 'meta_count' THEN
        EXECUTE format('CREATE UNIQUE INDEX ON capi.%I (dataset_id, hour, event_name)', child);
        -- rows are updated
        EXECUTE format('ALTER TABLE capi.%I REPLICA IDENTITY FULL', child);
    ELSIF parent = 'meta_score' THEN
        EXECUTE format('CREATE INDEX ON capi.%I (dataset_id, asked_at)', child);
        EXECUTE format('ALTER TABLE capi.%I REPLICA IDENTITY FULL', child);
    ELSE
        EXECUTE format('CREATE INDEX ON capi.%I (request_id)', child);
        EXECUTE format('CREATE INDEX ON capi.%I (dataset_id, sent_at)', child);
    END IF;
    EXECUTE format('ALTER TABLE capi.%I ATTACH PARTITION capi.%I FOR VALUES FROM (%L) TO (%L)',
                   parent, child, from_time, until_time);
END $$;

CREATE FUNCTION capi._bound(partition oid, which int) RETURNS timestamptz
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' SET timezone = 'UTC' AS $$
    SELECT (regexp_match(pg_get_expr(c.relpartbound, c.oid),
                         '\(''([^'']+)''\) TO \(''([^'']+)''\)'))[which]::timestamptz
      FROM pg_class c WHERE c.oid = partition
$$;

-- The partition that takes a row of now, if there is one.
CREATE FUNCTION capi._partition_now(parent text, OUT oid oid)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT i.inhrelid FROM pg_inherits i
     WHERE i.inhparent = ('capi.' || parent)::regclass
       AND capi._bound(i.inhrelid, 1) <= clock_timestamp() AND capi._bound(i.inhrelid, 2) > clock_timestamp() + interval '1 minute'
$$;

-- A third of the retention: at most five partitions are looked up for a key.
-- Minutes have no days to truncate to.
CREATE FUNCTION capi._step(keep interval) RETURNS interval
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT make_interval(days => floor(extract(epoch FROM greatest(keep, interval '3 days')) / 259200)::int)
$$;

-- The partition that takes a row of that time; made now if it is missing.
CREATE FUNCTION capi._partition(parent text, at timestamptz, OUT oid oid, OUT lower timestamptz, OUT upper timestamptz)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    FOR attempt IN 1..2 LOOP
        SELECT i.inhrelid, capi._bound(i.inhrelid, 1), capi._bound(i.inhrelid, 2) INTO oid, lower, upper
          FROM pg_inherits i
         WHERE i.inhparent = ('capi.' || parent)::regclass
           AND capi._bound(i.inhrelid, 1) <= at AND capi._bound(i.inhrelid, 2) > at;
        EXIT WHEN oid IS NOT NULL;
        PERFORM capi._add_partitions(l.parent, l.back, capi._step(current_setting('capi.retention')::interval))
           FROM capi._logs() l WHERE l.parent = _partition.parent;
    END LOOP;
END $$;

-- Gives the space of many events back when none is left, and none was given since
-- the one with that number, with which it was found empty before.  Returns the
-- last number when it is empty, but not since then (store/direct.c).  By the
-- index: under a lock that keeps others out, a large empty table must not be read.
CREATE FUNCTION capi._shrink_direct_event(empty_since bigint) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    last bigint;
BEGIN
    IF pg_total_relation_size('capi.direct_event') < 16 * 1024 * 1024
       OR EXISTS (SELECT FROM capi.direct_event e ORDER BY e.source_id, e.key LIMIT 1) THEN
        RETURN NULL;
    END IF;
    LOCK TABLE ONLY capi.direct_event IN ACCESS EXCLUSIVE MODE NOWAIT;
    SELECT s.last_value INTO last FROM capi.direct_event_id_seq s
     WHERE NOT EXISTS (SELECT FROM capi.direct_event e ORDER BY e.source_id, e.key LIMIT 1);
    IF last = empty_since THEN
        TRUNCATE ONLY capi.direct_event;
        RETURN NULL;
    END IF;
    RETURN last;
EXCEPTION WHEN lock_not_available THEN
    RETURN NULL;
END $$;

-- Makes what is missing for now and the time to come, whatever is there: after an
-- outage, beside a gap, or with a clock that was ahead.
CREATE FUNCTION capi._add_partitions(parent text, back interval, step interval) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    today timestamptz := date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    at timestamptz := now() - back + interval '1 day';
    present record;
BEGIN
    WHILE at < now() + step / 2 LOOP
        SELECT max(b.upper) FILTER (WHERE b.lower <= at AND b.upper > at) AS until,
               max(b.upper) FILTER (WHERE b.upper <= at) AS before,
               min(b.lower) FILTER (WHERE b.lower > at) AS after
          INTO present
          FROM pg_inherits i
         CROSS JOIN LATERAL (SELECT capi._bound(i.inhrelid, 1) AS lower, capi._bound(i.inhrelid, 2) AS upper) b
         WHERE i.inhparent = ('capi.' || parent)::regclass;
        IF present.until IS NULL THEN
            present.before := greatest(present.before, today - back);
            present.until := least(present.after, greatest(present.before, today - back + interval '1 day') + step);
            PERFORM capi._add_partition(parent, present.before, present.until);
        END IF;
        at := present.until;
    END LOOP;
END $$;

-- For how long an order that is not remembered could be sent again: Meta takes
-- sales of a physical store for 62 days, all else for 7 (SPEC 1).
CREATE FUNCTION capi._window() RETURNS interval
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN EXISTS (SELECT FROM capi.source s
                              WHERE s.action_source = 'physical_store' OR s.query ~* 'action_source'
                                 OR s.table_name = 'capi.direct_event'::regclass)
                THEN interval '63 days' ELSE interval '8 days' END
$$;

-- Takes a partition away at once or not at all: to wait for who reads the log, a
-- dump say, would have all others who read or write it wait behind.  One that a view
-- of somebody's needs stays as long as that, and is in no other's way.
CREATE FUNCTION capi._drop_partition(parent text, child regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('LOCK TABLE ONLY capi.%I, ONLY %s IN ACCESS EXCLUSIVE MODE NOWAIT', parent, child);
    EXECUTE format('DROP TABLE %s', child);
EXCEPTION WHEN lock_not_available OR dependent_objects_still_exist THEN
    NULL;
END $$;

-- Rows that no partition takes along, some of them at once: what is done to one
-- table waits for no lock on another, nor for a row that somebody has locked.  The
-- log is read once, that of a day, and else looked up by key.
CREATE FUNCTION capi._sweep_logs(most int) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    ids int[];
    keys text[];
BEGIN
    FOR which IN 1..5 LOOP
        BEGIN
            CASE which
            WHEN 1 THEN
                SELECT array_agg(f.source_id), array_agg(f.key) INTO ids, keys
                  FROM capi.delivery f
                 WHERE f.outcome = 'forgotten' AND f.finished_at > now() - interval '1 day';
            WHEN 2 THEN
                -- outcomes of what was under way when it was to be forgotten
                DELETE FROM capi.delivery d
                 USING (SELECT o.tableoid, o.ctid
                          FROM unnest(ids, keys) AS f (source_id, key)
                          JOIN capi.delivery o ON o.source_id = f.source_id AND o.key = f.key
                         WHERE o.outcome <> 'forgotten'
                         LIMIT most FOR UPDATE OF o SKIP LOCKED) g
                 WHERE d.tableoid = g.tableoid AND d.ctid = g.ctid;
            WHEN 3 THEN
                -- and what came to wait
                DELETE FROM capi.backlog b
                 WHERE b.ctid = ANY (ARRAY(
                        SELECT o.ctid
                          FROM unnest(ids, keys) AS f (source_id, key)
                          JOIN capi.backlog o ON o.source_id = f.source_id AND o.key = f.key
                         LIMIT most FOR UPDATE OF o SKIP LOCKED));
            WHEN 4 THEN
                DELETE FROM capi.history h
                 USING (SELECT o.tableoid, o.ctid
                          FROM unnest(ids, keys) AS f (source_id, key)
                          JOIN capi.history o ON o.source_id = f.source_id AND o.key = f.key
                         LIMIT most FOR UPDATE OF o SKIP LOCKED) g
                 WHERE h.tableoid = g.tableoid AND h.ctid = g.ctid;
            WHEN 5 THEN
                -- events that were given twice, and whose first has its outcome: of
                -- those that do not wait, for there may be a million that do
                DELETE FROM capi.direct_event e
                 WHERE e.ctid = ANY (ARRAY(
                        WITH idle AS MATERIALIZED (
                            SELECT o.ctid AS at, o.source_id, o.key FROM capi.direct_event o
                             WHERE NOT EXISTS (SELECT FROM capi.backlog b WHERE b.source_id = o.source_id AND b.key = o.key)
                             LIMIT most)
                        SELECT l.ctid FROM capi.direct_event l
                         WHERE l.ctid = ANY (ARRAY(
                                SELECT i.at FROM idle i
                                 WHERE EXISTS (SELECT FROM capi.delivery d WHERE d.key = i.key AND d.source_id = i.source_id)))
                           FOR UPDATE SKIP LOCKED));
            END CASE;
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
    END LOOP;
END $$;

-- A table that somebody has locked keeps none of the others from what is due.
CREATE FUNCTION capi._maintain_logs(keep interval) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
    parent text;
    back interval;
    child regclass;
    needed interval := greatest(keep, capi._window());
BEGIN
    -- first: where a partition went, readers are locked out to the end
    PERFORM capi._sweep_logs(20000);
    FOR parent, back IN SELECT l.parent, l.back FROM capi._logs() l LOOP
        BEGIN
            PERFORM capi._add_partitions(parent, back, capi._step(keep));
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
        FOR child IN SELECT i.inhrelid
                       FROM pg_inherits i
                      WHERE i.inhparent = ('capi.' || parent)::regclass
                        AND capi._bound(i.inhrelid, 2)
                            < now() - CASE parent WHEN 'delivery' THEN needed ELSE greatest(keep, back) END LOOP
            PERFORM capi._drop_partition(parent, child);
        END LOOP;
    END LOOP;
END $$;
