----------------------------------------------------------------------------
-- The state of each dataset, from what can be looked up without counting.
----------------------------------------------------------------------------

-- Is this database a restored or cloned copy that has not been confirmed?
CREATE FUNCTION capi._is_copy() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT st.system_identifier <> i.system_identifier
                         OR st.database_oid <> i.database_oid
                       FROM capi.state st, capi._identity() i), false)
$$;

-- The dispatcher's capi.enabled; without a dispatcher that of the session, which
-- alone can deliver then.
CREATE FUNCTION capi._is_enabled() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(s.enabled, current_setting('capi.enabled') = 'on') FROM capi._slot() s
$$;

-- Why nobody sends, and since when as far as is known; no row when somebody does:
-- a dispatcher, a session that delivers, or one that did not long ago (for those
-- who call capi.deliver() now and then).  The lock is that of sender_lock.c.
CREATE FUNCTION capi._nobody_sends() RETURNS TABLE (reason text, since timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN NOT s.preloaded THEN 'no dispatcher runs: capi is not in shared_preload_libraries, and nobody called capi.deliver() in the last 15 minutes'
                WHEN NOT s.listed THEN 'no dispatcher runs: this database is not in capi.databases, and nobody called capi.deliver() in the last 15 minutes'
                ELSE 'no dispatcher runs, though capi.databases names this database: the server''s log says why' END,
           coalesce(CASE WHEN s.state NOT IN ('starting', 'running') THEN s.since END,
                    st.delivered_at, pg_postmaster_start_time())
      FROM capi._slot() s
      LEFT JOIN capi.state st ON true
     WHERE s.dispatcher_pid IS NULL
       AND (st.delivered_at IS NULL OR st.delivered_at < now() - interval '15 minutes')
       AND NOT EXISTS (SELECT FROM pg_locks l
                        WHERE l.locktype = 'userlock' AND l.classid = 1667330153 AND l.granted
                          AND l.database = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database()))
$$;

-- What the sender alone knows (trouble) is in capi.dataset_state; it is no news of
-- a dataset that was changed since.  Looked at once a second by the dispatcher, so
-- nothing here may depend on how much waits.
CREATE VIEW capi._dataset_states AS
    SELECT d.id AS dataset_id, d.name AS dataset, s.state, s.reason,
           CASE WHEN s.state = d.state THEN d.state_since
                WHEN s.state = n.health THEN n.health_since
                WHEN s.state = 'not_running' THEN q.since
                ELSE d.state_since END AS since,
           n.health AS noted
      FROM capi.dataset d
      LEFT JOIN capi.dataset_state n ON n.dataset_id = d.id
      LEFT JOIN capi._nobody_sends() q ON true
     CROSS JOIN LATERAL (SELECT CASE WHEN d.state = 'active' THEN capi._token_state(d.id) END AS problem,
                                (SELECT e.expires_at FROM capi._token_expiry e WHERE e.dataset_id = d.id) AS expires_at) t
     CROSS JOIN LATERAL (
         SELECT * FROM (VALUES
             (pg_catalog.pg_is_in_recovery(), 'standby',
              'this server is a standby, and its primary sends'),
             (capi._is_copy(), 'held_identity',
              'this database is a restored or cloned copy; capi.confirm_identity() lets it send'),
             (capi._elsewhere() IS NOT NULL, 'elsewhere',
              pg_catalog.format('capi.only_on does not name this server, which is "%s"', capi._elsewhere())),
             (d.state <> 'active', d.state, d.reason),
             (t.problem IS NOT NULL, 'no_token', t.problem),
             (NOT capi._is_enabled(), 'disabled', 'capi.enabled is off'),
             (q.reason IS NOT NULL, 'not_running', q.reason),
             (n.trouble IS NOT NULL, n.trouble, n.trouble_reason),
             (t.expires_at < pg_catalog.now() + interval '14 days', 'token_expiring',
              'the access token ends on ' || (t.expires_at AT TIME ZONE 'UTC')::date || ' (UTC)'),
             (d.test_event_code IS NOT NULL, 'test_mode',
              'a test_event_code is set: events are shown as tests in the Events Manager, and count all the same'),
             (EXISTS (SELECT FROM capi.request r
                       WHERE r.dataset_id = d.id AND r.sent_at > pg_catalog.now() - interval '1 hour'), 'ok',
              'events are sent as they come'),
             (true, 'idle', 'nothing was to be sent in the last hour'))
             AS c (holds, state, reason)
          WHERE c.holds LIMIT 1) s
     WHERE d.dropped_at IS NULL;

-- For the sender: notes its troubles, by dataset, and which states are others than
-- before; returns what is to be notified.  Whoever may connect can listen, so no
-- reason is in it, which may name roles, hosts and folders, but an error's number.
CREATE FUNCTION capi._note_states(ids int[], troubles text[], reasons text[]) RETURNS SETOF text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
BEGIN
    INSERT INTO capi.dataset_state AS n (dataset_id, trouble, trouble_reason)
    SELECT t.id, t.trouble, t.reason FROM unnest(ids, troubles, reasons) AS t (id, trouble, reason)
      LEFT JOIN capi.dataset_state o ON o.dataset_id = t.id
     WHERE o.dataset_id IS NULL
        OR (o.trouble, o.trouble_reason) IS DISTINCT FROM (t.trouble, t.reason)
    ON CONFLICT (dataset_id) DO UPDATE
       SET trouble = excluded.trouble, trouble_reason = excluded.trouble_reason;
    FOR item IN SELECT s.dataset_id, s.dataset, s.state, s.noted,
                       CASE WHEN s.state IN ('credential', 'version', 'refused')
                            THEN substring(s.reason FROM 'error ([0-9]+(?:/[0-9]+)?)') END AS error,
                       CASE WHEN s.state = d.state THEN d.state_since ELSE now() END AS since
                  FROM capi._dataset_states s
                  JOIN capi.dataset d ON d.id = s.dataset_id
                 WHERE s.state IS DISTINCT FROM s.noted LOOP
        UPDATE capi.dataset_state n SET health = item.state, health_since = item.since
         WHERE n.dataset_id = item.dataset_id;
        -- a dataset that begins well is no news
        IF item.noted IS NOT NULL OR item.state NOT IN ('ok', 'idle') THEN
            RETURN NEXT json_build_object('dataset', item.dataset, 'state', item.state,
                                          'error', item.error, 'since', item.since);
        END IF;
    END LOOP;
END $$;
