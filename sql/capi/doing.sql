----------------------------------------------------------------------------
-- What users do: deliver, normalise, confirm, send again, preview.
----------------------------------------------------------------------------

CREATE PROCEDURE capi.deliver(max_time interval = NULL)
    LANGUAGE C AS 'MODULE_PATHNAME', 'capi_sql_deliver';

CREATE FUNCTION capi.normalize(field text, value text, country text = NULL) RETURNS text
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'capi_sql_normalize';
CREATE FUNCTION capi.hash(field text, value text, country text = NULL) RETURNS text
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'capi_sql_hash';

-- Everything unread goes to the backlog, whatever its transaction ids mean
-- here; from then on this database is the one that sends.  In one statement, so
-- in one snapshot: what it sees is moved and deleted, what it does not see was
-- written here, and is behind the cursor, which is that snapshot.  So capture
-- goes on meanwhile, and any isolation level will do.
CREATE FUNCTION capi._confirm_identity(caller oid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- two that confirm at once: the second finds it done
    PERFORM FROM capi.state FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM capi._init_state();
        RETURN;
    END IF;
    IF NOT capi._is_copy() THEN
        RETURN;
    END IF;
    PERFORM capi._adopt_event_names();
    WITH q0 AS (DELETE FROM ONLY capi.queue_0 q RETURNING q.*),
         q1 AS (DELETE FROM ONLY capi.queue_1 q RETURNING q.*),
         q2 AS (DELETE FROM ONLY capi.queue_2 q RETURNING q.*),
         q3 AS (DELETE FROM ONLY capi.queue_3 q RETURNING q.*),
         q4 AS (DELETE FROM ONLY capi_reserve.queue q RETURNING q.*),
         unread AS MATERIALIZED (
             TABLE q0 UNION ALL TABLE q1 UNION ALL TABLE q2 UNION ALL TABLE q3 UNION ALL TABLE q4),
         moved AS (
             INSERT INTO capi.backlog (source_id, key, dataset_id, status, captured_at, next_attempt_at, reason)
             SELECT q.source_id, q.key, s.dataset_id, 'queued', q.captured_at, now(), 'restored copy'
               FROM (SELECT DISTINCT ON (u.source_id, u.key) u.*
                       FROM unread u
                      WHERE u.key IS NOT NULL
                        AND NOT EXISTS (SELECT FROM capi.delivery d
                                         WHERE d.source_id = u.source_id AND d.key = u.key
                                           AND (d.outcome <> 'ignored' OR d.captured_at >= u.captured_at))
                      ORDER BY u.source_id, u.key, u.captured_at) q
               JOIN capi.source s ON s.id = q.source_id
             ON CONFLICT DO NOTHING
             RETURNING source_id, key),
         -- what waits again is not ignored any more (store/outcome.c)
         replaced AS (
             DELETE FROM capi.delivery d USING moved m
              WHERE d.source_id = m.source_id AND d.key = m.key AND d.outcome = 'ignored'),
         counted AS (
             UPDATE capi.source s
                SET missed_captures = s.missed_captures + m.missed,
                    renumbered_at = CASE WHEN m.renumbered_at IS NULL THEN s.renumbered_at
                                         WHEN EXISTS (SELECT FROM capi.delivery d WHERE d.source_id = s.id)
                                         THEN least(m.renumbered_at, now()) END
               -- below 0: numbers of the table began again (capture/renumber.c)
               FROM (SELECT u.source_id, coalesce(sum(u.missed) FILTER (WHERE u.missed > 0), 0) AS missed,
                            max(u.captured_at) FILTER (WHERE u.missed < 0) AS renumbered_at
                       FROM unread u
                      WHERE u.missed IS NOT NULL GROUP BY u.source_id) m
              WHERE m.source_id = s.id)
    UPDATE capi.state st
       SET (system_identifier, database_oid) = (SELECT i.system_identifier, i.database_oid
                                                  FROM capi._identity() i),
           snapshot = pg_current_snapshot(), saved_at = now();
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.confirm_identity()
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi._redrive(caller oid, source text, status text, since timestamptz, order_key text) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    only_source int := CASE WHEN source IS NOT NULL THEN (capi._source(source)).id END;
    keys text[] := capi._captured_keys(order_key);
    moved bigint;
BEGIN
    IF status IS NULL OR status NOT IN ('rejected', 'expired', 'ignored') THEN
        RAISE EXCEPTION 'cannot redrive events with status "%"', status
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Known values: rejected, expired, ignored.';
    END IF;
    WITH gone AS (
        DELETE FROM capi.delivery d
         USING capi.source s
         WHERE s.id = d.source_id AND s.detached_at IS NULL
           AND d.outcome = status
           AND (only_source IS NULL OR d.source_id = only_source)
           AND (since IS NULL OR d.captured_at >= since)
           AND (order_key IS NULL OR (d.key = ANY (keys) AND d.key IN (order_key, capi._captured_key(d.source_id, order_key))))
           AND NOT EXISTS (SELECT FROM capi.delivery f
                            WHERE f.source_id = d.source_id AND f.key = d.key AND f.outcome = 'delivered')
        RETURNING d.*, s.dataset_id AS source_dataset)
    INSERT INTO capi.backlog (source_id, key, dataset_id, status, captured_at, next_attempt_at, reason)
    SELECT g.source_id, g.key, g.source_dataset, 'queued', g.captured_at, now(), 'redriven'
      FROM gone g
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS moved = ROW_COUNT;
    PERFORM capi._config_changed();
    RETURN moved;
END $$;
CREATE FUNCTION capi.redrive(source text = NULL, status text = 'rejected', since timestamptz = NULL,
                             order_key text = NULL)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi.suggest_query(table_name regclass)
    RETURNS text LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi.preview(source text, order_key text = NULL, max_rows int = 10)
    RETURNS TABLE (order_key text, outcome text, reason text, event jsonb, problems text[],
                   fields jsonb)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_preview';

-- The same for one order or some, a row per value: easier to read in psql.  An
-- order that is no event has one row, which says so.
CREATE FUNCTION capi.preview_fields(source text, order_key text = NULL, max_rows int = 1)
    RETURNS TABLE (order_key text, field text, type text, raw text, normalised text, sent text, problem text)
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.order_key, f.field, f.type, f.raw, f.normalised, f.sent,
           CASE WHEN f.field IS NULL THEN concat_ws(': ', p.outcome, p.reason) ELSE f.problem END
      FROM capi.preview($1, $2, $3) p
      LEFT JOIN LATERAL jsonb_to_recordset(p.fields)
           AS f (field text, type text, raw text, normalised text, sent text, problem text) ON true
$$;

CREATE FUNCTION capi.match_quality(source text, since timestamptz = now() - interval '7 days')
    RETURNS TABLE (field text, orders bigint, given bigint, usable bigint, share numeric, problem text)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_match_quality';
