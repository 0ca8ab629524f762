----------------------------------------------------------------------------
-- What users see.
----------------------------------------------------------------------------

CREATE VIEW capi._queue AS
    SELECT q.xid, q.captured_at, q.source_id, q.missed, q.key FROM capi.queue_0 q
    UNION ALL
    SELECT q.xid, q.captured_at, q.source_id, q.missed, q.key FROM capi.queue_1 q
    UNION ALL
    SELECT q.xid, q.captured_at, q.source_id, q.missed, q.key FROM capi.queue_2 q
    UNION ALL
    SELECT q.xid, q.captured_at, q.source_id, q.missed, q.key FROM capi.queue_3 q
    UNION ALL
    SELECT q.xid, q.captured_at, q.source_id, q.missed, q.key FROM capi_reserve.queue q;

-- Sources, and those that the dispatcher will make of new names of events.
CREATE VIEW capi._sources AS
    SELECT s.id, s.name, s.dataset_id, s.event_name FROM capi.source s
    UNION ALL
    SELECT DISTINCT n.source_id, pg_catalog.format('send:%s:%s', d.name, n.event_name),
           n.dataset_id, n.event_name
      FROM capi.direct_name n
      JOIN capi.dataset d ON d.id = n.dataset_id
     WHERE NOT EXISTS (SELECT FROM capi.source s WHERE s.id = n.source_id);

-- Captured, not yet known to backlog or delivery.  The rows come from a function
-- that takes no part in serialization conflicts; the second half never returns
-- one, but has the segments locked before the snapshot is taken, so that none
-- is truncated under a view that has not yet read the logs.
CREATE VIEW capi._unread AS
    SELECT q.captured_at, q.source_id, q.missed, q.key COLLATE "C" AS key
      FROM capi._unread_rows((SELECT CASE WHEN capi._is_copy() THEN '1:1:'
                                          ELSE st.snapshot::text END FROM capi.state st)) q
    UNION ALL
    SELECT q.captured_at, q.source_id, q.missed, q.key FROM capi._queue q WHERE false;

CREATE VIEW capi._queued AS
    SELECT DISTINCT ON (q.source_id, q.key) q.source_id, q.key, q.captured_at
      FROM capi._unread q
     WHERE q.key IS NOT NULL
       AND NOT EXISTS (SELECT FROM capi.backlog b
                        WHERE b.source_id = q.source_id AND b.key = q.key)
       AND NOT EXISTS (SELECT FROM capi.delivery d
                        WHERE d.source_id = q.source_id AND d.key = q.key
                          AND (d.outcome <> 'ignored' OR d.captured_at >= q.captured_at))
     ORDER BY q.source_id, q.key, q.captured_at;

-- The log without ignored orders that were captured again: those have a row in
-- the backlog or the queue.  In two parts, for most rows need not be asked.
CREATE VIEW capi._finished AS
    SELECT d.* FROM capi.delivery d WHERE d.outcome <> 'ignored'
    UNION ALL
    SELECT d.* FROM capi.delivery d
     WHERE d.outcome = 'ignored'
       AND NOT EXISTS (SELECT FROM capi.backlog b
                        WHERE b.source_id = d.source_id AND b.key = d.key)
       AND NOT EXISTS (SELECT FROM capi._unread u
                        WHERE u.source_id = d.source_id AND u.key = d.key
                          AND u.captured_at > d.captured_at);

CREATE VIEW capi.delivery_status AS
    SELECT s.name AS source, e.key AS order_key, ds.name AS dataset,
           coalesce(e.event_name, s.event_name) AS event_name,
           coalesce(e.event_id, e.key) AS event_id, e.event_time, e.value, e.currency,
           e.status, e.reason, e.attempts, e.captured_at, e.next_attempt_at, e.finished_at,
           e.http_status, e.error_code, e.error_subcode, e.fbtrace_id, e.request_id
      FROM (SELECT d.source_id, d.key, d.dataset_id, d.event_name, d.event_id, d.event_time,
                   d.value, d.currency, CASE d.outcome WHEN 'forgotten' THEN 'ignored' ELSE d.outcome END AS status,
                   d.reason, d.attempts, d.captured_at,
                   NULL::timestamptz AS next_attempt_at, d.finished_at,
                   r.http_status, d.error_code, d.error_subcode, r.fbtrace_id, d.request_id
              FROM capi._finished d
              LEFT JOIN capi.request r ON r.request_id = d.request_id
            UNION ALL
            SELECT b.source_id, b.key, b.dataset_id, b.event_name, b.event_id, b.event_time,
                   b.value, b.currency, b.status, b.reason, b.attempts, b.captured_at,
                   greatest(b.next_attempt_at, b.captured_at, n.rest_until), NULL,
                   r.http_status, b.error_code, b.error_subcode, r.fbtrace_id, b.request_id
              FROM capi.backlog b
              LEFT JOIN capi.request r ON r.request_id = b.request_id
              LEFT JOIN capi.dataset_state n ON n.dataset_id = b.dataset_id
            UNION ALL
            SELECT q.source_id, q.key, NULL, NULL, NULL, NULL, NULL, NULL,
                   'queued', NULL, 0, q.captured_at, NULL, NULL, NULL, NULL, NULL, NULL, NULL
              FROM capi._queued q) AS e
      JOIN capi._sources s ON s.id = e.source_id
      LEFT JOIN capi.dataset ds ON ds.id = coalesce(e.dataset_id, s.dataset_id);

CREATE VIEW capi.request_log AS
    SELECT r.request_id, d.name AS dataset, r.sent_at, r.duration_ms, r.events, r.bytes,
           r.http_status, r.error_code, r.error_subcode,
           r.class IN ('transient', 'throttled') AS is_transient,
           r.message, r.fbtrace_id
      FROM capi.request r
      LEFT JOIN capi.dataset d ON d.id = r.dataset_id;

CREATE VIEW capi.source_status AS
    SELECT s.name AS source, s.table_name::regclass AS table_name, d.name AS dataset,
           CASE WHEN p.problem IS NOT NULL OR s.broken_since IS NOT NULL THEN 'broken'
                WHEN s.paused THEN 'paused'
                ELSE 'active' END AS state,
           CASE WHEN p.problem IS NOT NULL THEN p.problem
                WHEN s.broken_since IS NOT NULL THEN s.broken_reason
                WHEN s.paused THEN 'paused with capi.pause()'
                WHEN s.renumbered_at IS NOT NULL
                THEN pg_catalog.format('numbers of the table began again at %s: orders whose keys are in the log are not reported', s.renumbered_at)
                WHEN p.hides_rows THEN 'row security of the table may hide orders from role ' || s.run_as::text END AS reason,
           coalesce(c.captured, 0) AS captured_1h,
           s.missed_captures + coalesce(m.missed, 0) AS missed_captures
      FROM capi.source s
      JOIN capi.dataset d ON d.id = s.dataset_id
     CROSS JOIN LATERAL (SELECT capi._rule_problem(s.id) AS problem,
                                capi._hides_rows(s.table_name, s.run_as) AS hides_rows) p
      -- of all sources at once: the queue has no index
      LEFT JOIN (SELECT e.source_id, pg_catalog.sum(e.n)::bigint AS captured
                   FROM (SELECT q.source_id, pg_catalog.count(*) AS n FROM capi._queued q
                          WHERE q.captured_at > pg_catalog.now() - interval '1 hour' GROUP BY q.source_id
                         UNION ALL
                         SELECT b.source_id, pg_catalog.count(*) FROM capi.backlog b
                          WHERE b.captured_at > pg_catalog.now() - interval '1 hour' GROUP BY b.source_id
                         UNION ALL
                         SELECT v.source_id, pg_catalog.count(*) FROM capi.delivery v
                          WHERE v.finished_at > pg_catalog.now() - interval '1 hour'
                            AND v.captured_at > pg_catalog.now() - interval '1 hour' GROUP BY v.source_id) e
                  GROUP BY e.source_id) c ON c.source_id = s.id
      LEFT JOIN (SELECT u.source_id, pg_catalog.sum(u.missed)::bigint AS missed
                   FROM capi._unread u WHERE u.missed > 0 GROUP BY u.source_id) m ON m.source_id = s.id
     WHERE s.detached_at IS NULL;

-- What turns it on again where it was turned off: of settings of roles and
-- databases the most particular counts.  Dispatchers are the first superuser's.
CREATE FUNCTION capi._enabled_hint(of_dispatcher boolean) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(
        (SELECT 'RESET capi.enabled;' FROM pg_settings s
          WHERE NOT of_dispatcher AND s.name = 'capi.enabled' AND s.source = 'session'),
        (SELECT CASE WHEN d.setdatabase = 0 AND d.setrole = 0 THEN 'ALTER ROLE ALL RESET capi.enabled;'
                     WHEN d.setrole = 0 THEN format('ALTER DATABASE %I RESET capi.enabled;', current_database())
                     WHEN d.setdatabase = 0 THEN format('ALTER ROLE %I RESET capi.enabled;', r.rolname)
                     ELSE format('ALTER ROLE %I IN DATABASE %I RESET capi.enabled;', r.rolname, current_database()) END
           FROM pg_roles r
           JOIN pg_db_role_setting d ON d.setrole IN (0, r.oid)
          WHERE CASE WHEN of_dispatcher THEN r.oid = 10 ELSE r.rolname = session_user END
            AND (d.setdatabase = 0 OR d.setdatabase = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database()))
            AND EXISTS (SELECT FROM unnest(d.setconfig) c WHERE c LIKE 'capi.enabled=%')
          ORDER BY d.setdatabase <> 0 AND d.setrole <> 0 DESC, d.setrole <> 0 DESC, d.setdatabase <> 0 DESC
          LIMIT 1),
        'ALTER SYSTEM SET capi.enabled = on; SELECT pg_reload_conf();')
$$;

CREATE VIEW capi.health AS
    SELECT d.name AS dataset, st.state, st.reason,
           coalesce(w.queued, 0) AS queued,
           coalesce(w.retrying, 0) AS retrying,
           w.oldest AS oldest_waiting,
           w.too_old_at - pg_catalog.now() AS expires_in,
           coalesce(f.delivered, 0) AS delivered_1h,
           coalesce(f.rejected, 0) AS rejected_1h,
           (SELECT pg_catalog.max(r.sent_at) FROM capi.request r
             WHERE r.dataset_id = d.id AND r.class = 'accepted') AS last_delivered_at,
           (SELECT coalesce(r.message, r.class) FROM capi.request r
             WHERE r.dataset_id = d.id AND r.class <> 'accepted'
             ORDER BY r.sent_at DESC LIMIT 1) AS last_error,
           (SELECT e.expires_at FROM capi._token_expiry e WHERE e.dataset_id = d.id) AS token_expires_at,
           (SELECT r.usage_percent FROM capi.request r
             WHERE r.dataset_id = d.id ORDER BY r.sent_at DESC LIMIT 1) AS usage_percent,
           d.endpoint, st.since
      FROM capi.dataset d
      JOIN capi._dataset_states st ON st.dataset_id = d.id
      LEFT JOIN (SELECT u.dataset_id,
                        pg_catalog.count(*) FILTER (WHERE u.status <> 'retrying') AS queued,
                        pg_catalog.count(*) FILTER (WHERE u.status = 'retrying') AS retrying,
                        pg_catalog.min(u.captured_at) AS oldest,
                        -- Meta goes by the event's own time, and takes sales of a physical store for longer (SPEC 1)
                        pg_catalog.min(least(u.captured_at, u.event_time)
                                       + CASE u.action_source WHEN 'physical_store' THEN interval '62 days' ELSE interval '7 days' END) AS too_old_at
                   FROM (SELECT CASE WHEN o.dropped_at IS NULL THEN b.dataset_id ELSE s.dataset_id END AS dataset_id,
                               b.status, b.captured_at, b.event_time, s.action_source
                          FROM capi.backlog b
                          JOIN capi.source s ON s.id = b.source_id
                          LEFT JOIN capi.dataset o ON o.id = b.dataset_id
                         UNION ALL
                         SELECT s.dataset_id, 'queued', q.captured_at, NULL, a.action_source
                           FROM capi._queued q JOIN capi._sources s ON s.id = q.source_id
                           LEFT JOIN capi.source a ON a.id = s.id) u
                  GROUP BY u.dataset_id) w ON w.dataset_id = d.id
      LEFT JOIN (SELECT v.dataset_id,
                        pg_catalog.count(*) FILTER (WHERE v.outcome = 'delivered') AS delivered,
                        pg_catalog.count(*) FILTER (WHERE v.outcome = 'rejected') AS rejected
                   FROM capi.delivery v
                  WHERE v.finished_at > pg_catalog.now() - interval '1 hour'
                  GROUP BY v.dataset_id) f ON f.dataset_id = d.id
     WHERE d.dropped_at IS NULL;

-- Until when Meta serves its versions, as it has announced (SPEC 7).
CREATE FUNCTION capi._version_end(version text) RETURNS date
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT v.until FROM (VALUES (16, date '2025-05-14'), (20, date '2026-09-24'), (21, date '2027-01-21'),
                                (22, date '2027-05-20'), (23, date '2027-10-08'), (24, date '2028-02-18'),
                                (25, date '2028-07-29')) AS v (major, until)
     WHERE v.major >= substring(version FROM '^v([0-9]{1,4})')::int
     ORDER BY v.major LIMIT 1
$$;

-- Datasets whose version ends soon, or that another version answers.
CREATE FUNCTION capi._version_warnings()
    RETURNS TABLE (name text, detail text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.name, CASE
               WHEN e.until <= current_date THEN format('%s of dataset %s ended by %s.', u.version, d.name, e.until)
               WHEN e.until <= current_date + 90 THEN format('%s of dataset %s ends on %s.', u.version, d.name, e.until)
               ELSE format('Dataset %s asks for %s and is answered by %s.', d.name, u.version, n.served_version) END
      FROM capi.dataset d
      LEFT JOIN capi.dataset_state n ON n.dataset_id = d.id
     CROSS JOIN LATERAL (SELECT coalesce(d.api_version, current_setting('capi.api_version')) AS version) u
     CROSS JOIN LATERAL (SELECT capi._version_end(u.version) AS until) e
     WHERE d.dropped_at IS NULL
       AND (e.until <= current_date + 90 OR n.served_version <> u.version)
$$;

CREATE FUNCTION capi.diagnose()
    RETURNS TABLE ("check" text, ok boolean, detail text, hint text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    slot record;
    version text;
    strangers text[];
    -- who has no dispatcher, and has no need of one
    called text;
BEGIN
    SELECT * INTO slot FROM capi._slot();
    SELECT format('capi.deliver() sends, and was at work at %s', date_trunc('second', st.delivered_at)) INTO called
      FROM capi.state st
     WHERE NOT (slot.preloaded AND slot.listed) AND st.delivered_at >= now() - interval '15 minutes';
    RETURN QUERY SELECT 'preloaded', slot.preloaded OR called IS NOT NULL,
        CASE WHEN slot.preloaded THEN 'capi is in shared_preload_libraries.'
             WHEN called IS NOT NULL THEN format('capi is not in shared_preload_libraries; %s.', called)
             ELSE 'capi is not in shared_preload_libraries: no worker sends.' END,
        CASE WHEN NOT slot.preloaded AND called IS NULL
             THEN 'Add capi to shared_preload_libraries and restart, or run CALL capi.deliver() regularly.' END;
    RETURN QUERY SELECT 'listed', slot.listed OR called IS NOT NULL,
        format('Database "%s" is %s capi.databases%s.', current_database(),
               CASE WHEN slot.listed THEN 'in' ELSE 'not in' END, '; ' || called),
        CASE WHEN NOT slot.listed AND called IS NULL
             THEN format('ALTER SYSTEM SET capi.databases = %L; SELECT pg_reload_conf();',
                         concat_ws(', ', nullif(current_setting('capi.databases', true), ''), quote_ident(current_database()))) END;
    RETURN QUERY SELECT 'dispatcher', slot.dispatcher_pid IS NOT NULL OR called IS NOT NULL,
        CASE WHEN slot.dispatcher_pid IS NOT NULL THEN format('The dispatcher runs as process %s.', slot.dispatcher_pid)
             WHEN pg_is_in_recovery() THEN 'This server is a standby: its primary sends.'
             WHEN slot.starting THEN 'The dispatcher of this database is starting.'
             WHEN called IS NOT NULL THEN format('No dispatcher runs for this database; %s.', called)
             ELSE format('No dispatcher runs for this database; state: %s, failed starts in a row: %s.',
                         coalesce(slot.state, 'none'), coalesce(slot.failures, 0)) END,
        CASE WHEN pg_is_in_recovery() THEN 'Nothing needs to be done: a dispatcher starts when it is promoted.'
             WHEN slot.starting THEN 'Look again in some seconds.'
             WHEN slot.dispatcher_pid IS NULL AND slot.preloaded AND slot.listed
             THEN 'See the server log, and max_worker_processes.' END;
    RETURN QUERY SELECT 'enabled', capi._is_enabled(),
        format('capi.enabled is %s%s.', CASE WHEN capi._is_enabled() THEN 'on' ELSE 'off' END,
               CASE WHEN slot.enabled IS NULL THEN '' ELSE ' in the dispatcher' END),
        CASE WHEN NOT capi._is_enabled() THEN capi._enabled_hint(slot.enabled IS NOT NULL) END;
    RETURN QUERY SELECT 'place', capi._elsewhere() IS NULL,
        CASE WHEN capi._elsewhere() IS NOT NULL
             THEN format('capi.only_on names "%s", this server is "%s": nothing is sent.', current_setting('capi.only_on'), capi._elsewhere())
             WHEN current_setting('capi.only_on') = '' THEN 'capi.only_on is empty: a physical copy of this server would send, too.'
             ELSE 'capi.only_on names this server.' END,
        CASE WHEN capi._elsewhere() IS NOT NULL
             THEN 'On a copy, leave it. If this server is to send: ALTER SYSTEM SET capi.only_on = '
                  || quote_literal(capi._elsewhere()) || '; SELECT pg_reload_conf();' END;
    RETURN QUERY SELECT 'identity', NOT capi._is_copy(),
        CASE WHEN capi._is_copy() THEN 'This database is a restored or cloned copy and sends nothing.'
             ELSE 'This database is the one its datasets were created in.' END,
        CASE WHEN capi._is_copy() THEN 'If it is now the shop''s own: SELECT capi.confirm_identity();' END;
    RETURN QUERY SELECT 'captures', coalesce(slot.missed, 0) = 0,
        format('%s rows could not be noted in the queue since the server started.', coalesce(slot.missed, 0)),
        CASE WHEN slot.missed > 0 THEN 'Somebody held locks on all of capi''s queue tables, or none could be written to; look for the missing orders.' END;
    RETURN QUERY SELECT 'readers', count(*) = 0,
        CASE WHEN count(*) = 0 THEN 'Readers can be started.'
             ELSE format('%s orders wait because no reader could be started.', count(*)) END,
        CASE WHEN count(*) > 0
             THEN CASE max(b.reason) FILTER (WHERE b.reason !~ 'max_worker_processes')
                  WHEN 'no reader can be started: the server has no shared memory for it' THEN 'Give the server more shared memory, /dev/shm mostly (--shm-size of a container); its log says what failed.'
                  WHEN 'no reader can be started: it ends at once, and the server''s log says why' THEN 'See the server''s log; ALTER DATABASE ... ALLOW_CONNECTIONS false keeps readers out, too.'
                  ELSE format('Raise max_worker_processes (now %s) and restart; capi needs one for its launcher, and for each listed database one and as many as capi.readers says.',
                         current_setting('max_worker_processes')) END END
      FROM capi.backlog b WHERE b.reason LIKE 'no reader can be started%'
       AND b.next_attempt_at > now() - interval '10 seconds';
    RETURN QUERY SELECT 'queries', count(*) = 0,
        CASE WHEN count(*) = 0 THEN 'No order waits because the query of its source fails for it.'
             ELSE format('%s orders wait because the query of their source fails for them; the most frequent reason: %s.',
                         count(*), mode() WITHIN GROUP (ORDER BY b.reason)) END,
        CASE WHEN count(*) > 0
             THEN (array_agg(format('SELECT * FROM capi.preview(%L, %L) shows the error.', s.name, b.key)))[1] END
      FROM capi.backlog b JOIN capi.source s ON s.id = b.source_id
     WHERE b.reason LIKE 'the query %' OR b.reason LIKE 'the reader %';
    strangers := ARRAY(SELECT r.rolname::text FROM pg_roles r
                        WHERE (r.oid IN (SELECT c.writer FROM capi.context c WHERE c.source_id = 0)
                               OR r.rolname IN (SELECT c.writer FROM capi._consents c WHERE c.source_id = 0))
                          AND NOT EXISTS (SELECT FROM capi._told(r.oid))
                          AND EXISTS (SELECT FROM capi.source) ORDER BY 1);
    RETURN QUERY SELECT 'contexts', NOT capi._context_is_full() AND strangers = '{}',
        CASE WHEN capi._context_is_full()
             THEN format('Browser contexts of orders without an outcome take all of capi.context_size, %s: new ones are not kept.',
                         current_setting('capi.context_size'))
             WHEN strangers <> '{}'
             THEN format('What these roles say of orders reaches no source, since they write the table of none: %s.',
                         array_to_string(strangers, ', '))
             ELSE 'There is room for browser contexts.' END,
        CASE WHEN capi._context_is_full()
             THEN 'Look who calls capi.set_context() for orders that do not come; raise capi.context_size if they do.'
             WHEN strangers <> '{}'
             THEN 'Several owners'' tables are attached here: grant the role UPDATE on a column of its shop''s orders.' END;
    RETURN QUERY SELECT 'api versions', count(*) = 0,
        coalesce(string_agg(v.detail, ' ' ORDER BY v.name), 'No dataset uses a version of the API that ends within 90 days.'),
        CASE WHEN count(*) > 0 THEN 'Set a current capi.api_version, or leave out the api_version of the dataset.' END
      FROM capi._version_warnings() v;
    RETURN QUERY SELECT 'unknown datasets', count(*) = 0,
        CASE WHEN count(*) = 0 THEN 'No order waits for a dataset that does not exist.'
             ELSE format('%s orders wait because the query of their source names a dataset that does not exist; sources: %s.',
                         count(*), string_agg(DISTINCT s.name, ', ')) END,
        CASE WHEN count(*) > 0
             THEN 'Create the dataset with capi.create_dataset(), or mend the query: its column dataset has names of capi.health.' END
      FROM capi.backlog b JOIN capi.source s ON s.id = b.source_id
     WHERE b.reason = 'unknown_dataset';
    RETURN QUERY SELECT 'clock', count(*) = 0,
        coalesce(string_agg(format('This server''s clock is %s %s that of the endpoint of dataset %s, as told %s.',
                                   make_interval(secs => round(abs(n.clock_ahead_ms) / 1000.0)),
                                   CASE WHEN n.clock_ahead_ms > 0 THEN 'ahead of' ELSE 'behind' END,
                                   d.name, date_trunc('second', n.clock_seen_at)), ' ' ORDER BY d.name),
                 'No answer of an endpoint tells a time that is not this server''s.'),
        CASE WHEN count(*) > 0
             THEN 'Set the clock, and let a time service keep it; events that are ahead of Meta''s clock wait for their time.' END
      FROM capi.dataset_state n JOIN capi.dataset d ON d.id = n.dataset_id AND d.dropped_at IS NULL
     WHERE abs(n.clock_ahead_ms) >= 10000;
    RETURN QUERY SELECT 'token expiry', count(*) = 0,
        coalesce(string_agg(format('The access token of dataset %s %s %s.', d.name,
                                   CASE WHEN e.expires_at > now() THEN 'ends on' ELSE 'ended on' END, e.expires_at), ' ' ORDER BY d.name),
                 'No access token is known to end within 14 days.'),
        CASE WHEN count(*) > 0 THEN 'Make a new one and set it with capi.set_access_token().' END
      FROM capi._token_expiry e JOIN capi.dataset d ON d.id = e.dataset_id
     WHERE e.expires_at <= now() + interval '14 days';
    SELECT e.extversion INTO version FROM pg_extension e WHERE e.extname = 'capi';
    RETURN QUERY SELECT 'version', version = capi._library_version(),
        format('The library is %s, the extension in this database is %s.', capi._library_version(), version),
        CASE WHEN version <> capi._library_version()
             THEN 'Restart the server to load the new library, then ALTER EXTENSION capi UPDATE.' END;
    RETURN QUERY SELECT 'sources', count(*) FILTER (WHERE s.state = 'broken') = 0,
        coalesce('Broken: ' || string_agg(format('%s (%s)', s.source, s.reason), '; ')
                     FILTER (WHERE s.state = 'broken') || '.',
                 format('%s sources attached, none broken.', count(*))),
        CASE WHEN count(*) FILTER (WHERE s.state = 'broken') > 0
             THEN concat(string_agg(format('SELECT capi.alter_source(%L); puts the trigger right, SELECT * FROM capi.missing_orders(%1$L); names what was not captured. ', s.source), '' ORDER BY s.source)
                             FILTER (WHERE s.state = 'broken' AND s.reason ~ '^the trigger '),
                         max('GRANT the role of the source what its query reads. ')
                             FILTER (WHERE s.state = 'broken' AND s.reason ~ '^permission denied'),
                         max('Mend the rule or the query with capi.alter_source(), or give it the table that took the place of its own: table_name => ...; '
                             'what waits goes on by itself.') FILTER (WHERE s.state = 'broken' AND s.reason !~ '^the trigger ')) END
      FROM capi.source_status s;
    RETURN QUERY SELECT 'triggers', count(*) = 0,
        CASE WHEN count(*) = 0 THEN 'No table has the trigger of capi without a source.'
             ELSE format('Nothing is captured of tables that have the trigger and no source: %s.',
                         string_agg(t.tgrelid::regclass::text, ', ' ORDER BY t.tgrelid::regclass::text)) END,
        CASE WHEN count(*) > 0
             THEN 'Attach them with capi.attach(), or DROP TRIGGER capi_capture on them.' END
      FROM pg_trigger t
     WHERE t.tgfoid = 'capi.capture()'::regprocedure
       AND NOT EXISTS (SELECT FROM capi.source s
                        WHERE s.detached_at IS NULL
                          AND (s.table_name = t.tgrelid
                               OR s.table_name IN (SELECT a.relid FROM pg_partition_ancestors(t.tgrelid) a)));
    RETURN QUERY SELECT 'history', count(*) = 0,
        CASE WHEN count(*) = 0 THEN 'No table began its numbers again.'
             ELSE 'Numbers began again: ' || string_agg(format('%s (%s)', s.name, s.renumbered_at), '; ' ORDER BY s.name)
                  || '. Orders whose keys are in the log are not reported.' END,
        CASE WHEN count(*) > 0
             THEN string_agg(format('SELECT capi.forget_history(%L);', s.name), ' ' ORDER BY s.name) END
      FROM capi.source s WHERE s.renumbered_at IS NOT NULL AND s.detached_at IS NULL;
    RETURN QUERY SELECT 'row security', count(*) = 0,
        CASE WHEN count(*) = 0 THEN 'Row security hides no orders.'
             ELSE 'Row security may hide orders: ' || string_agg(format('%s (table %s, role %s)', s.name, s.table_name, s.run_as), '; ' ORDER BY s.name) || '.' END,
        CASE WHEN count(*) > 0
             THEN 'Look with capi.preview(). ALTER ROLE ... BYPASSRLS, or a policy for the role, shows all orders.' END
      FROM capi.source s WHERE s.detached_at IS NULL AND capi._hides_rows(s.table_name, s.run_as);
    RETURN QUERY SELECT * FROM capi._findings();
    RETURN QUERY SELECT * FROM capi._subscription_checks();
    RETURN QUERY SELECT 'dataset ' || h.dataset, h.state IN ('ok', 'idle', 'throttled', 'backing_off', 'standby', 'not_running'),
        CASE WHEN h.state IN ('ok', 'idle') THEN format('%s waiting, %s delivered in the last hour.',
                                                 h.queued + h.retrying, h.delivered_1h)
             ELSE format('State %s: %s.', h.state, coalesce(h.reason, 'no reason given')) END
        || CASE WHEN h.endpoint <> 'https://graph.facebook.com' THEN format(' It sends to %s.', h.endpoint) ELSE '' END,
        CASE h.state WHEN 'paused' THEN 'SELECT capi.resume_dataset(' || quote_literal(h.dataset) || ');'
                     WHEN 'credential' THEN CASE WHEN h.reason ~ '^error 100/33\M' THEN 'Is its number right? capi.alter_dataset(' || quote_literal(h.dataset) || ', dataset_id => ...). Or the token is that of another dataset: capi.set_access_token().'
                                                 ELSE 'Set a working token with capi.set_access_token().' END
                     WHEN 'no_token' THEN CASE WHEN h.reason ~ 'capi\.key_file' THEN 'Let the server read the key that capi.key_file names, or set the token again with capi.set_access_token().'
                                               WHEN h.reason ~ '^the token file' THEN 'Mend the file that access_token_file names, or set a token with capi.set_access_token().'
                                               ELSE 'Set a token with capi.set_access_token().' END
                     WHEN 'refused' THEN 'Look at what Meta says in the reason, and at the rights of the token; one event is tried now and then.'
                     WHEN 'version' THEN 'Set a current capi.api_version.'
                     WHEN 'no_reader' THEN CASE WHEN h.reason ~ 'shared memory' THEN 'Give the server more shared memory, /dev/shm mostly (--shm-size of a container).'
                                                ELSE 'Raise max_worker_processes and restart.' END
                     WHEN 'not_running' THEN 'See the checks preloaded, listed and dispatcher.'
                     WHEN 'token_expiring' THEN 'Make a new token and set it with capi.set_access_token().'
                     WHEN 'test_mode' THEN 'SELECT capi.alter_dataset(' || quote_literal(h.dataset) || ', test_event_code => '''');' END
      FROM capi.health h ORDER BY h.dataset;
END $$;

CREATE FUNCTION capi._library_version() RETURNS text
    LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'capi_sql_library_version';
