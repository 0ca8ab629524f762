----------------------------------------------------------------------------
-- Subscriptions: where the orders arrive by logical replication.
----------------------------------------------------------------------------

-- A check for each subscription, once a source captures what they write.  Why
-- one fails stands in the server log only, and the publisher keeps what was not
-- taken until its disk is full.
CREATE FUNCTION capi._subscription_checks()
    RETURNS TABLE ("check" text, ok boolean, detail text, hint text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'subscription ' || u.subname, f.fault IS NULL,
           coalesce(f.fault, format('It brings what the publisher writes; %s tables are being copied.', t.copied)),
           CASE WHEN f.fault IS NULL THEN NULL
                WHEN NOT u.subenabled THEN format('ALTER SUBSCRIPTION %I ENABLE; the server log says why, if it disabled itself.', u.subname)
                ELSE 'The log of this server says why: a column that was renamed, a row that is there already, a password. Until then orders wait at the publisher, whose slot keeps its WAL.' END
      FROM pg_subscription u
      JOIN pg_database d ON d.oid = u.subdbid AND d.datname = current_database()
     CROSS JOIN LATERAL (
           -- beside the main worker there may be parallel ones
           SELECT count(w.pid) > 0 AS runs, max(w.last_msg_receipt_time) AS heard
             FROM pg_stat_subscription w
            WHERE w.subid = u.oid AND w.relid IS NULL) w
     CROSS JOIN LATERAL (
           SELECT count(*) FILTER (WHERE r.srsubstate <> 'r') AS copied
             FROM pg_subscription_rel r WHERE r.srsubid = u.oid) t
      LEFT JOIN pg_stat_subscription_stats e ON e.subid = u.oid
     CROSS JOIN LATERAL (
           SELECT CASE WHEN NOT u.subenabled THEN 'It is disabled: no order arrives.'
                       WHEN NOT w.runs
                       THEN format('It stands still: its worker does not run; %s errors since the statistics began.',
                                   coalesce(e.apply_error_count + e.sync_error_count, 0))
                       WHEN w.heard < now() - interval '5 minutes'
                            AND current_setting('wal_receiver_timeout') <> '0'
                       THEN format('It stands still: nothing was taken from the publisher since %s.', w.heard)
                       WHEN t.copied > 0 AND e.sync_error_count > 0
                       THEN format('It stands still: %s tables could not be copied.', t.copied)
                       END AS fault) f
     WHERE EXISTS (SELECT FROM capi.source s WHERE s.detached_at IS NULL AND s.fire_on_replica)
     ORDER BY u.subname
$$;
