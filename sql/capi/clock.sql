-- A clock that was ahead and is set right.

-- Times that were reckoned with a clock that was ahead by that are reckoned anew;
-- null: it is not known whether it was, for no dispatcher ran (store/outcome.c).
-- What tells then is a time of the past that is still to come, and a time to come
-- that is farther away than any is put.  What waits is looked at again, which
-- reckons anew; a hold and a rest end when they would have.
CREATE FUNCTION capi._follow_clock(back interval) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    present CONSTANT timestamptz := clock_timestamp();
    longest CONSTANT interval := greatest(interval '1 hour', current_setting('capi.missing_wait')::interval);
    moved interval := back;
BEGIN
    IF (SELECT capi._is_copy() FROM capi.state) IS DISTINCT FROM false THEN
        RETURN;
    END IF;
    IF moved IS NULL THEN
        SELECT greatest(s.saved_at, (SELECT max(b.captured_at) FROM capi.backlog b),
                        (SELECT max(n.clock_seen_at) FROM capi.dataset_state n)) - present
          INTO moved FROM capi.state s;
    END IF;
    IF moved > interval '2 seconds' THEN
        UPDATE capi.backlog b
           SET next_attempt_at = CASE WHEN b.status = 'held' AND b.reason IS NULL
                                      THEN greatest(present, b.next_attempt_at - moved) ELSE present END
          FROM (SELECT w.source_id, w.key FROM capi.backlog w
                 WHERE w.next_attempt_at > present FOR UPDATE SKIP LOCKED) u
         WHERE b.source_id = u.source_id AND b.key = u.key;
        UPDATE capi.dataset_state SET rest_until = rest_until - moved WHERE rest_until > present;
        UPDATE capi.state SET saved_at = present WHERE saved_at > present;
        UPDATE capi.dataset_state SET clock_seen_at = NULL WHERE clock_seen_at > present;
    END IF;
    UPDATE capi.backlog b SET next_attempt_at = present + u.hold
      FROM (SELECT w.source_id, w.key, CASE WHEN w.status = 'held' AND w.reason IS NULL
                                            THEN s.hold ELSE interval '0' END AS hold
              FROM capi.backlog w JOIN capi.source s ON s.id = w.source_id
             WHERE w.next_attempt_at > present + greatest(s.hold, longest)
               FOR UPDATE OF w SKIP LOCKED) u
     WHERE b.source_id = u.source_id AND b.key = u.key;
    -- the longest that an answer asks for
    UPDATE capi.dataset_state SET rest_until = present WHERE rest_until > present + interval '1 day';
    -- these are told in an order, and kept for a time
    UPDATE capi.context c SET set_at = present + u.nth * interval '1 microsecond'
      FROM (SELECT w.ctid, row_number() OVER (ORDER BY w.set_at) AS nth
              FROM (SELECT l.ctid, l.set_at FROM capi.context l
                     WHERE l.set_at > present + interval '2 seconds' FOR UPDATE SKIP LOCKED) w) u
     WHERE c.ctid = u.ctid;
    UPDATE capi.consent c SET said_at = present + u.nth * interval '1 microsecond'
      FROM (SELECT w.ctid, row_number() OVER (ORDER BY w.said_at) AS nth
              FROM (SELECT l.ctid, l.said_at FROM capi.consent l
                     WHERE l.said_at > present + interval '2 seconds' FOR UPDATE SKIP LOCKED) w) u
     WHERE c.ctid = u.ctid;
END $$;
