----------------------------------------------------------------------------
-- Browser context: what the shop's web tier knows of an order.
----------------------------------------------------------------------------

-- An fbc as it is, or made of a click id or a URL with one; else null.  SPEC 3.2:
-- 1 when made on a server; the time the click was first seen, in ms.
CREATE FUNCTION capi._click(value text) RETURNS text
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(capi.normalize('fbc', value),
                    format('fb.1.%s.', floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
                    || capi.normalize('fbclid', value))
$$;

-- Which of the given values are kept, normalised.  What comes from a browser
-- may be anything, and must not fail a checkout: the unusable is left out, and
-- the longest of what together has more than 6000 bytes.
CREATE FUNCTION capi._context_fields(context jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known text[] := ARRAY['client_ip_address', 'client_user_agent', 'consent', 'event_source_url',
                          'fbc', 'fbclid', 'fbp', 'referrer_url'];
    item record;
    kept jsonb := '{}';
    field text;
    normal text;
BEGIN
    IF context IS NULL OR jsonb_typeof(context) <> 'object' THEN
        RAISE EXCEPTION 'context must be a JSON object'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Its members are: ' || array_to_string(known, ', ') || '.';
    END IF;
    FOR item IN SELECT e.key, e.value, jsonb_typeof(e.value) AS kind FROM jsonb_each(context) e
                 ORDER BY octet_length(e.value::text) LOOP
        IF item.key <> ALL (known) THEN
            RAISE EXCEPTION 'unknown member "%" of context', left(item.key, 60)
                USING ERRCODE = 'invalid_parameter_value',
                      DETAIL = 'Known members: ' || array_to_string(known, ', ') || '.',
                      HINT = 'What the order''s own tables hold belongs into the query of the source.';
        END IF;
        IF item.kind NOT IN ('null', CASE item.key WHEN 'consent' THEN 'boolean' ELSE 'string' END) THEN
            RAISE EXCEPTION 'member "%" of context must be a %', item.key,
                            CASE item.key WHEN 'consent' THEN 'boolean' ELSE 'string' END
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
        CONTINUE WHEN item.kind <> 'string' OR length(item.value #>> '{}') > 4096;
        field := item.key;
        normal := item.value #>> '{}';
        IF field IN ('fbc', 'fbclid') THEN
            CONTINUE WHEN field = 'fbclid' AND capi._click(context->>'fbc') IS NOT NULL;
            field := 'fbc';
            normal := capi._click(normal);
        ELSE
            normal := capi.normalize(field, normal);
        END IF;
        IF normal IS NOT NULL AND octet_length(kept::text) + octet_length(normal) < 6000 THEN
            kept := kept || jsonb_build_object(field, normal);
        END IF;
    END LOOP;
    RETURN kept;
END $$;

-- A click was first seen when it was first told of: fields with the time it had.
CREATE FUNCTION capi._keep_click(fields jsonb, old jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN regexp_replace(fields->>'fbc', '^fb\.\d\.\d+\.', '') = regexp_replace(old->>'fbc', '^fb\.\d\.\d+\.', '')
                THEN fields || jsonb_build_object('fbc', old->>'fbc') ELSE fields END
$$;

-- Tables of several shops in one database have the same keys: 1, 2, 3.  So what a
-- role says of an order without a source is of the sources whose table it may
-- write, of a column at least.  A role that writes no table of any source, one of
-- a web tier beside the application's, is believed where all tables belong to one
-- owner.
CREATE FUNCTION capi._told(writer oid) RETURNS SETOF int
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH told AS (
        SELECT s.id, CASE WHEN s.detached_at IS NULL THEN c.relowner END AS relowner,
               coalesce(has_any_column_privilege(writer, s.table_name, 'INSERT, UPDATE'), false) AS may
          FROM capi.source s LEFT JOIN pg_class c ON c.oid = s.table_name
         WHERE s.table_name <> 'capi.direct_event'::regclass)
    SELECT t.id FROM told t
     WHERE t.may
        OR (SELECT NOT bool_or(o.may) AND count(DISTINCT o.relowner) = 1 FROM told o)
$$;

-- One that is named: likewise, and any where all tables belong to one owner.
CREATE FUNCTION capi._may_tell(writer oid, tab oid) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(has_any_column_privilege(writer, tab, 'INSERT, UPDATE'), false)
        OR (SELECT count(DISTINCT c.relowner) = 1
              FROM capi.source s JOIN pg_class c ON c.oid = s.table_name
             WHERE s.detached_at IS NULL AND s.table_name <> 'capi.direct_event'::regclass)
$$;

-- Of which sources a word that names one is also said of this one: it may have
-- taken the place, under another name, of one that is detached.
CREATE FUNCTION capi._same_orders(source int) RETURNS int[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY(SELECT o.id FROM capi.source o
                  WHERE o.id = source
                     OR (o.detached_at IS NOT NULL
                         AND o.table_name = (SELECT s.table_name FROM capi.source s WHERE s.id = source)))
$$;

CREATE VIEW capi._consents AS
    SELECT c.key, c.source_id, c.said_at, c.given, c.writer FROM capi.consent c
    UNION ALL
    SELECT r.key, r.source_id, r.said_at, r.given, r.writer FROM capi_reserve.consent r;

CREATE FUNCTION capi._adopt_consent() RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    WITH moved AS (
        DELETE FROM capi_reserve.consent r
         WHERE r.ctid = ANY (ARRAY(SELECT o.ctid FROM capi_reserve.consent o LIMIT 20000 FOR UPDATE SKIP LOCKED))
        RETURNING r.*)
    INSERT INTO capi.consent (key, source_id, said_at, given, writer)
    SELECT m.key, m.source_id, m.said_at, m.given, m.writer FROM moved m
$$;

-- What was said last.  Also a consent that nothing preceded: a refusal that is
-- not committed yet may be the earlier word.  Reading what others write would
-- fail a serializable transaction.
CREATE FUNCTION capi._note_consent(caller oid, order_key text, source int, said boolean, place text)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    last boolean;
    last_at timestamptz;
    me text := pg_get_userbyid(caller);
BEGIN
    IF place = 'capi_reserve' THEN
        INSERT INTO capi_reserve.consent (key, source_id, said_at, given, writer)
        VALUES (order_key, source, clock_timestamp(), said, me);
        RETURN;
    END IF;
    IF current_setting('transaction_isolation') <> 'serializable' THEN
        SELECT c.given, c.said_at INTO last, last_at FROM capi._consents c
         WHERE c.key = order_key AND c.source_id = source AND (source <> 0 OR c.writer = me)
         ORDER BY c.said_at DESC LIMIT 1;
        IF last = said THEN
            RETURN;
        END IF;
    END IF;
    INSERT INTO capi.consent (key, source_id, said_at, given, writer)
    VALUES (order_key, source, greatest(clock_timestamp(), last_at + interval '1 microsecond'), said, me);
END $$;

-- Words that a later one took back go, and then a consent that takes nothing
-- back.  A refusal stays, without a limit of time; only when all take more room
-- than that do the oldest go of orders that nobody knows: those of the last 62
-- days not, unless somebody floods us.  So many at once, and none that somebody
-- has locked.
CREATE FUNCTION capi._tidy_consent(keep_bytes bigint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bytes bigint := pg_relation_size('capi.consent');
    most CONSTANT int := 20000;
BEGIN
    PERFORM capi._adopt_consent();
    DELETE FROM capi.consent c
     WHERE c.ctid = ANY (ARRAY(
            SELECT o.ctid FROM capi.consent o JOIN capi.consent later
                ON later.key = o.key AND later.source_id = o.source_id AND later.said_at > o.said_at
               AND (o.source_id <> 0 OR later.writer = o.writer)
             WHERE later.said_at > now() - interval '2 days'
             LIMIT most FOR UPDATE OF o SKIP LOCKED));
    DELETE FROM capi.consent c
     WHERE c.ctid = ANY (ARRAY(
            SELECT o.ctid FROM capi.consent o
             WHERE o.given AND o.said_at < now() - interval '1 day'
               AND NOT EXISTS (SELECT FROM capi.consent earlier
                                WHERE earlier.key = o.key AND earlier.source_id = o.source_id
                                  AND earlier.said_at < o.said_at
                                  AND (o.source_id <> 0 OR earlier.writer = o.writer))
             LIMIT most FOR UPDATE OF o SKIP LOCKED));
    IF bytes <= keep_bytes THEN
        RETURN;
    END IF;
    DELETE FROM capi.consent c
     WHERE c.ctid = ANY (ARRAY(
            SELECT l.ctid FROM capi.consent l
             WHERE l.ctid = ANY (ARRAY(
                    SELECT o.ctid FROM capi.consent o
                     WHERE o.said_at < now() - CASE WHEN bytes > 4 * keep_bytes THEN interval '1 hour'
                                                    ELSE interval '62 days' END
                       AND NOT EXISTS (SELECT FROM capi.backlog b
                                        WHERE b.key = o.key AND o.source_id IN (0, b.source_id))
                       AND NOT EXISTS (SELECT FROM capi.delivery d
                                        WHERE d.key = o.key AND o.source_id IN (0, d.source_id))
                       AND NOT EXISTS (SELECT FROM capi._unread u
                                        WHERE u.key = o.key AND o.source_id IN (0, u.source_id))
                     ORDER BY o.said_at LIMIT most))
               FOR UPDATE SKIP LOCKED));
END $$;

CREATE FUNCTION capi._set_context(caller oid, order_key text, context jsonb, source text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept jsonb := capi._context_fields(context);
    said boolean := (context->>'consent')::boolean;
    place text;
    wanted int := 0;
    tab oid;
    obstacle text;
    -- no row of the table's type: to know that, the server would lock the table
    old_fields jsonb;
    old_set_at timestamptz;
BEGIN
    IF order_key IS NULL OR order_key = '' OR octet_length(order_key) > 1024 THEN
        RAISE EXCEPTION 'order_key must have 1 to 1024 bytes'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'It is the text of the value that the source''s query returns as key.';
    END IF;
    IF source IS NOT NULL AND capi._source_is_free() THEN
        SELECT s.id, s.table_name INTO wanted, tab FROM capi._source(source) s;
        IF NOT capi._may_tell(caller, tab) THEN
            obstacle := format('Role "%s" has neither INSERT nor UPDATE on the table of source "%s".',
                               pg_get_userbyid(caller), source);
        END IF;
    END IF;
    -- a refusal finds its place whoever has which table locked; when nobody can
    -- tell which source is meant, it is of all that the caller tells of
    IF obstacle IS NULL AND said IS NOT NULL AND (NOT said OR source IS NULL OR wanted <> 0) THEN
        place := capi._consent_place();
        IF place IS NULL THEN
            obstacle := 'Another session holds locks on capi''s tables.';
        ELSE
            PERFORM capi._note_consent(caller, order_key, wanted, said, place);
        END IF;
    END IF;
    -- all else is of that source or of none, though names could be looked up by now
    IF source IS NOT NULL AND wanted = 0 THEN
        obstacle := coalesce(obstacle, 'Another session holds locks on capi''s tables.');
    END IF;
    obstacle := coalesce(obstacle, capi._context_obstacle(source IS NOT NULL));
    IF obstacle IS NOT NULL THEN
        -- a checkout must not fail, nor fill the server's log
        RAISE NOTICE 'the browser context is not kept'
            USING ERRCODE = 'configuration_limit_exceeded', DETAIL = obstacle,
                  HINT = 'The order is reported without it.';
        RETURN;
    END IF;
    -- a later call adds to an earlier one; reading what others write would fail a
    -- serializable transaction, whose row is put together with others when it is used
    IF current_setting('transaction_isolation') <> 'serializable' THEN
        SELECT c.fields, c.set_at INTO old_fields, old_set_at
          FROM capi.context c
         WHERE c.key = order_key AND c.source_id = wanted AND (wanted <> 0 OR c.writer = caller)
         ORDER BY c.set_at DESC LIMIT 1;
        IF context->>'fbclid' IS NOT NULL AND context->>'fbc' IS NULL THEN
            kept := capi._keep_click(kept, old_fields);
        END IF;
        IF octet_length(old_fields::text) + octet_length(kept::text) < 6000 THEN
            kept := old_fields || kept;
        END IF;
    END IF;
    -- a page that is loaded again says the same again
    IF kept = '{}' OR (kept = old_fields AND old_set_at > clock_timestamp() - interval '1 hour') THEN
        RETURN;
    END IF;
    INSERT INTO capi.context (key, source_id, set_at, fields, writer)
    VALUES (order_key, wanted, greatest(clock_timestamp(), old_set_at + interval '1 microsecond'), kept, caller);
END $$;

-- Makes room when contexts of orders that do not come take more than that: the
-- oldest go first, but none of the last hour, and none that a waiting event
-- needs.  At most so many at once, for the dispatcher has other work.
CREATE FUNCTION capi._evict_contexts(keep_bytes bigint) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    present bigint;
    bytes bigint;
    gone bigint;
BEGIN
    SELECT count(*), sum(pg_column_size(c.*)) INTO present, bytes FROM capi.context c;
    IF coalesce(bytes, 0) <= keep_bytes THEN
        RETURN 0;
    END IF;
    DELETE FROM capi.context c
     WHERE c.ctid = ANY (ARRAY(
            SELECT l.ctid FROM capi.context l
             WHERE l.ctid = ANY (ARRAY(
                    SELECT o.ctid FROM capi.context o
                     WHERE o.set_at < now() - interval '1 hour'
                       AND NOT EXISTS (SELECT FROM capi.backlog b
                                        WHERE b.key = o.key AND o.source_id IN (0, b.source_id))
                       AND NOT EXISTS (SELECT FROM capi._unread u
                                        WHERE u.key = o.key AND o.source_id IN (0, u.source_id))
                     ORDER BY o.set_at
                     LIMIT least(20000, ceil(present * (1 - keep_bytes::numeric / bytes)))))
               FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;

CREATE FUNCTION capi.set_context(order_key text, context jsonb, source text = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi.pixel_event(source text, order_key text) RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_pixel_event';
