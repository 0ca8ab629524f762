----------------------------------------------------------------------------
-- The story of one order.
----------------------------------------------------------------------------

-- What happened to an event that did not go the short way: a row each time it
-- had to wait (store/outcome.c).  No payload; kept like the request log.
CREATE TABLE capi.history (
    at              timestamptz NOT NULL,
    source_id       int NOT NULL,
    dataset_id      int,
    attempts        int NOT NULL,
    error_code      int,
    error_subcode   int,
    request_id      bigint,
    next_attempt_at timestamptz NOT NULL,
    status          text NOT NULL,
    key             text COLLATE "C" NOT NULL,
    reason          text
) PARTITION BY RANGE (at);

-- When a source captures, in a sentence.
CREATE FUNCTION capi._rule_text(src capi.source) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN src.table_name = 'capi.direct_event'::regclass THEN 'given to capi.send()'
                WHEN src.on_column IS NULL THEN format('a row was inserted into %s', src.table_name)
                WHEN src.on_values IS NULL THEN format('%I of %s became not null', src.on_column, src.table_name)
                ELSE format('%I of %s became %s', src.on_column, src.table_name, array_to_string(src.on_values, ' or ')) END
$$;

CREATE FUNCTION capi._request_text(request bigint) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('request %s with %s event(s) to dataset %s: %s after %s ms%s%s', r.request_id, r.events,
                  coalesce(d.name, '(dropped)'),
                  coalesce('HTTP ' || r.http_status, 'no answer'), r.duration_ms, ', ' || r.message,
                  ', fbtrace_id ' || r.fbtrace_id)
      FROM capi.request r LEFT JOIN capi.dataset d ON d.id = r.dataset_id
     WHERE r.request_id = request
$$;

-- What comes next for an event that has its outcome.
CREATE FUNCTION capi._next_after(d capi.delivery) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE d.outcome
        WHEN 'delivered' THEN 'Nothing more is sent. A pixel call with the same event_id counts as the same event.'
        WHEN 'ignored' THEN format('It is looked at again when the order is captured again, or by capi.redrive(status => ''ignored'', order_key => %L).', d.key)
                            || CASE WHEN d.reason = 'no consent' THEN ' A refusal of consent holds until capi.set_context() tells consent: true.' ELSE '' END
        WHEN 'rejected' THEN format('Mend what the reason says, then call capi.redrive(order_key => %L).', d.key)
        WHEN 'expired' THEN 'Nothing: Meta takes no event of that age.'
        ELSE 'It is not sent again.' END
$$;

-- What an event in the backlog waits for.
CREATE FUNCTION capi._next_of_waiting(b capi.backlog) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN s.broken_since IS NOT NULL THEN format('It waits for the query of source %s, which is broken: %s', s.name, s.broken_reason)
        WHEN s.paused THEN format('It waits until somebody calls capi.resume(%L).', s.name)
        WHEN d.state = 'paused' THEN format('It waits until somebody calls capi.resume_dataset(%L).', d.name)
        WHEN h.state NOT IN ('ok', 'idle', 'throttled', 'backing_off', 'token_expiring', 'test_mode')
            THEN format('It waits for dataset %s: %s', d.name, coalesce(h.reason, h.state))
        ELSE format('It is tried at %s or soon after.', greatest(b.next_attempt_at, n.rest_until, now())) END
      FROM capi.source s
      LEFT JOIN capi.dataset d ON d.id = b.dataset_id
      LEFT JOIN capi.dataset_state n ON n.dataset_id = b.dataset_id
      LEFT JOIN capi._dataset_states h ON h.dataset_id = b.dataset_id
     WHERE s.id = b.source_id
$$;

-- What of a browser context was sent, in the order of store/context.c; null when
-- nobody noted it.
CREATE FUNCTION capi._context_text(context smallint) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN context = 0 THEN 'none was known when the event was made'
                WHEN context & 63 = 0 THEN 'nothing of it was used: the query gave all that it holds'
                ELSE 'used: ' || (SELECT string_agg(f.name, ', ' ORDER BY f.n)
                                    FROM unnest('{fbp,fbc,client_ip_address,client_user_agent,event_source_url,referrer_url}'::text[])
                                         WITH ORDINALITY AS f (name, n)
                                   WHERE context & (1 << (f.n::int - 1)) <> 0) END
$$;

-- What the browser pixel is given for an order, as far as it was noted: the query
-- is not run here.  event_id: null while only the query knows whether it gives one.
CREATE FUNCTION capi._pixel_text(src capi.source, order_key text, event_name text, event_id text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format(CASE WHEN src.table_name = 'capi.direct_event'::regclass THEN 'the page gives %1$s with event_id %2$s, to be the same event'
                       ELSE 'capi.pixel_event(%3$L, %4$L) gives %1$s with event_id %2$s, ' END, coalesce(event_name, src.event_name),
                  left(coalesce(event_id, order_key), 200), src.name, order_key)
           || CASE WHEN src.table_name = 'capi.direct_event'::regclass THEN ''
                   WHEN event_id IS NULL THEN 'unless the query gives another'
                   ELSE 'unless the query tells it otherwise by now' END
$$;

-- The steps of one source's order; none when nothing is known of it.
CREATE FUNCTION capi._steps(src capi.source, order_key text)
    RETURNS TABLE (at timestamptz, step text, detail text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- not what was to be forgotten before it was captured
    SELECT DISTINCT ON (c.captured_at) c.captured_at, 'captured', capi._rule_text(src)
      FROM (SELECT d.captured_at FROM capi.delivery d
             WHERE d.source_id = src.id AND d.key = order_key AND (d.outcome <> 'forgotten' OR d.captured_at < d.finished_at)
            UNION ALL
            SELECT b.captured_at FROM capi.backlog b WHERE b.source_id = src.id AND b.key = order_key
            UNION ALL
            SELECT q.captured_at FROM capi._queued q WHERE q.source_id = src.id AND q.key = order_key) c
    UNION ALL
    SELECT c.said_at, 'consent', CASE WHEN c.given THEN 'given' ELSE 'refused' END
      FROM capi._consents c
     WHERE c.key = order_key
       AND (c.source_id = ANY (capi._same_orders(src.id))
            OR (c.source_id = 0 AND EXISTS (SELECT FROM pg_roles r WHERE r.rolname = c.writer AND src.id IN (SELECT capi._told(r.oid)))))
    UNION ALL
    SELECT c.set_at, 'context', 'from the browser, for what the query leaves null: '
           || coalesce((SELECT string_agg(f.name, ', ' ORDER BY f.name) FROM jsonb_object_keys(c.fields) f (name)), 'nothing')
      FROM capi.context c
     WHERE c.key = order_key
       AND (c.source_id = src.id OR (c.source_id = 0 AND src.id IN (SELECT capi._told(c.writer))))
    UNION ALL
    SELECT r.sent_at, 'sent', capi._request_text(r.request_id)
      FROM capi.request r
     WHERE r.request_id IN (SELECT h.request_id FROM capi.history h WHERE h.source_id = src.id AND h.key = order_key
                            UNION
                            SELECT d.request_id FROM capi.delivery d WHERE d.source_id = src.id AND d.key = order_key)
    UNION ALL
    SELECT h.at, h.status, concat_ws(', ', h.reason, 'error ' || h.error_code || coalesce('/' || h.error_subcode, ''),
                                     CASE WHEN h.next_attempt_at > h.at THEN format('waits until %s', h.next_attempt_at) END)
      FROM capi.history h WHERE h.source_id = src.id AND h.key = order_key
    UNION ALL
    SELECT d.finished_at, d.outcome,
           concat_ws(', ', d.reason, 'error ' || d.error_code || coalesce('/' || d.error_subcode, ''),
                     CASE WHEN d.outcome = 'delivered'
                          THEN format('%s with event_id %s', coalesce(d.event_name, src.event_name), coalesce(d.event_id, d.key)) END,
                     'worth ' || d.value || coalesce(' ' || d.currency, ''),
                     'left out: ' || (SELECT string_agg(DISTINCT p.problem ->> 'field', ', ')
                                        FROM jsonb_array_elements(CASE jsonb_typeof(d.problems) WHEN 'array' THEN d.problems END) p (problem)))
      FROM capi.delivery d WHERE d.source_id = src.id AND d.key = order_key
    UNION ALL
    SELECT d.finished_at, 'context', capi._context_text(d.context)
      FROM capi.delivery d WHERE d.source_id = src.id AND d.key = order_key AND d.request_id IS NOT NULL
    UNION ALL
    SELECT NULL, 'pixel', coalesce(
        (SELECT capi._pixel_text(src, b.key, b.event_name, CASE WHEN b.event_name IS NOT NULL THEN coalesce(b.event_id, b.key) ELSE b.event_id END)
           FROM capi.backlog b WHERE b.source_id = src.id AND b.key = order_key),
        (SELECT capi._pixel_text(src, q.key, NULL, NULL) FROM capi._queued q WHERE q.source_id = src.id AND q.key = order_key),
        (SELECT CASE WHEN d.request_id IS NOT NULL THEN capi._pixel_text(src, d.key, d.event_name, coalesce(d.event_id, d.key))
                     WHEN d.outcome <> 'forgotten' AND src.table_name <> 'capi.direct_event'::regclass
                     THEN format('capi.pixel_event(%L, %L) gives nothing, as the server sends nothing', src.name, d.key) END
           FROM capi.delivery d
          WHERE d.source_id = src.id AND d.key = order_key ORDER BY d.finished_at DESC LIMIT 1))
    UNION ALL
    SELECT NULL, 'next', coalesce(
        (SELECT capi._next_of_waiting(b) FROM capi.backlog b WHERE b.source_id = src.id AND b.key = order_key),
        (SELECT 'It is read and sent within moments. If not, capi.diagnose() says what keeps it.'
           FROM capi._queued q WHERE q.source_id = src.id AND q.key = order_key),
        (SELECT capi._next_after(d) FROM capi.delivery d
          WHERE d.source_id = src.id AND d.key = order_key ORDER BY d.finished_at DESC LIMIT 1))
$$;

CREATE FUNCTION capi.explain_event(order_key text, source text = NULL)
    RETURNS TABLE (source_name text, at timestamptz, step text, detail text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    src capi.source;
    written text;
    known boolean;
    known_to_any boolean := false;
BEGIN
    IF order_key IS NULL THEN
        RAISE EXCEPTION 'order_key must not be null'
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'Name the order by the key that capi.delivery_status shows.';
    END IF;
    IF explain_event.source IS NOT NULL
       AND NOT EXISTS (SELECT FROM capi.source s WHERE s.name = explain_event.source) THEN
        PERFORM capi._source(explain_event.source);
    END IF;
    FOR src IN SELECT s.* FROM capi.source s
                WHERE explain_event.source IS NULL OR s.name = explain_event.source ORDER BY s.name LOOP
        FOREACH written IN ARRAY ARRAY[order_key, capi._captured_key(src.id, order_key)] LOOP
            known := EXISTS (SELECT FROM capi._steps(src, written) t WHERE t.step NOT IN ('next', 'consent', 'context', 'pixel'));
            EXIT WHEN known;
        END LOOP;
        known_to_any := known_to_any OR known;
        IF known THEN
            RETURN QUERY SELECT src.name, t.at, t.step, t.detail FROM capi._steps(src, written) t
                          WHERE t.detail IS NOT NULL ORDER BY t.at NULLS LAST, t.step = 'sent' DESC, t.step = 'context', t.step = 'next';
        ELSIF explain_event.source IS NOT NULL THEN
            RETURN QUERY SELECT src.name, src.attached_at, 'attached', format('It captures when %s.', capi._rule_text(src))
                          WHERE src.table_name <> 'capi.direct_event'::regclass;
            RETURN QUERY SELECT src.name, t.at, t.step, t.detail FROM capi._steps(src, written) t
                          WHERE t.detail IS NOT NULL ORDER BY t.at;
            RETURN QUERY SELECT src.name, src.detached_at, 'detached', 'Since then it captures nothing.'
                          WHERE src.detached_at IS NOT NULL;
            RETURN QUERY SELECT src.name, NULL::timestamptz, 'next', concat_ws(' ',
                'Nothing was captured of this order, or it is beyond capi.retention.',
                CASE WHEN src.missed_captures > 0 THEN format('The source missed %s captures.', src.missed_captures) END,
                format('capi.preview(%L, %L) shows what would be sent, CALL capi.backfill(%1$L, ...) queues what is missing.', src.name, written));
        END IF;
    END LOOP;
    -- who asks for an order that nobody knows is told by each source why
    IF explain_event.source IS NULL AND NOT known_to_any THEN
        RETURN QUERY SELECT t.* FROM capi.source s CROSS JOIN LATERAL capi.explain_event(explain_event.order_key, s.name) AS t
                      WHERE s.detached_at IS NULL AND s.table_name <> 'capi.direct_event'::regclass;
    END IF;
END $$;
