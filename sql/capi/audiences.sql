----------------------------------------------------------------------------
-- Custom audiences: lists of people at Meta that follow a query.
----------------------------------------------------------------------------

CREATE FUNCTION capi._check_audience_query(query text, search_path text, run_as oid) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'capi_sql_check_audience_query';

CREATE FUNCTION capi._audience(name text) RETURNS capi.audience
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_row capi.audience;
    known text[];
BEGIN
    SELECT a.* INTO found_row FROM capi.audience a WHERE a.name = _audience.name;
    IF found_row.id IS NULL THEN
        known := ARRAY(SELECT a.name FROM capi.audience a ORDER BY a.name);
        RAISE EXCEPTION 'audience "%" does not exist', name
            USING ERRCODE = 'undefined_object',
                  DETAIL = CASE known WHEN '{}' THEN 'There are no audiences yet.'
                           ELSE 'Known audiences: ' || array_to_string(known, ', ') || '.' END,
                  HINT = capi._hint(name, known, 'Create it with capi.create_audience().');
    END IF;
    RETURN found_row;
END $$;

CREATE FUNCTION capi._check_audience_args(audience_id text, refresh interval) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF audience_id !~ '^[0-9]{1,20}$' THEN
        RAISE EXCEPTION 'invalid audience id'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'An audience id has 1 to 20 digits and nothing else.',
                  HINT = 'Copy it from Ads Manager, Audiences.';
    END IF;
    IF refresh < '1 minute' OR refresh > '30 days' THEN
        RAISE EXCEPTION 'invalid refresh interval'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It is at least a minute and at most 30 days.',
                  HINT = 'Meta takes up to a day to apply changes; ''1 day'' is usual.';
    END IF;
END $$;

-- A superuser's query does not run as one (P9).
CREATE FUNCTION capi._audience_role(caller oid) RETURNS regrole
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN r.rolsuper THEN 'pg_read_all_data'::regrole ELSE r.oid::regrole END
      FROM pg_roles r WHERE r.oid = caller
$$;

CREATE FUNCTION capi._create_audience(caller oid, path text, name text, dataset text,
        audience_id text, query text, refresh interval)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    target int;
    role regrole := capi._audience_role(caller);
BEGIN
    PERFORM capi._check_name('audience', name);
    IF dataset IS NULL OR audience_id IS NULL OR query IS NULL OR refresh IS NULL THEN
        RAISE EXCEPTION 'dataset, audience_id, query and refresh must not be null'
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'Leave refresh out to have the list read once a day.';
    END IF;
    PERFORM capi._check_audience_args(audience_id, refresh);
    target := capi._dataset_to_use(dataset);
    PERFORM capi._check_audience_query(query, path, role);
    INSERT INTO capi.audience (id, name, dataset_id, audience_id, query, search_path, run_as, refresh)
    VALUES (nextval('capi.audience_id_seq'), name, target, audience_id, query, path, role, refresh)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'audience "%" already exists', name
            USING ERRCODE = 'duplicate_object',
                  HINT = 'Change it with capi.alter_audience().';
    END IF;
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.create_audience(name text, dataset text, audience_id text, query text,
                                     refresh interval = '1 day')
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner_path';

CREATE FUNCTION capi._alter_audience(caller oid, path text, name text, query text, refresh interval,
                                     dataset text)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.audience := capi._audience(name);
    target int := CASE WHEN dataset IS NULL THEN old.dataset_id ELSE capi._dataset_to_use(dataset) END;
    role regrole := capi._audience_role(caller);
BEGIN
    PERFORM capi._check_audience_args(NULL, refresh);
    IF query IS NOT NULL THEN
        PERFORM capi._check_audience_query(query, path, role);
        UPDATE capi.audience a SET query = _alter_audience.query, search_path = path, run_as = role
         WHERE a.id = old.id;
    END IF;
    UPDATE capi.audience a
       SET refresh = coalesce(_alter_audience.refresh, a.refresh), dataset_id = target, changed_at = now()
     WHERE a.id = old.id;
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.alter_audience(name text, query text = NULL, refresh interval = NULL, dataset text = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner_path';

-- Its people go by and by: the dispatcher sees that there is a state without it.
CREATE FUNCTION capi._drop_audience(caller oid, name text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.audience := capi._audience(name);
BEGIN
    DELETE FROM capi.audience a WHERE a.id = old.id;
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.drop_audience(name text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi._refresh_audience(caller oid, name text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.audience := capi._audience(name);
BEGIN
    UPDATE capi.audience a SET asked_at = clock_timestamp() WHERE a.id = old.id;
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.refresh_audience(name text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi._pause_audience(caller oid, name text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.audience := capi._audience(name);
BEGIN
    UPDATE capi.audience a SET paused = true, paused_by = pg_get_userbyid(caller)
     WHERE a.id = old.id AND NOT a.paused;
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.pause_audience(name text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi._resume_audience(caller oid, name text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.audience := capi._audience(name);
BEGIN
    UPDATE capi.audience a SET paused = false, paused_by = NULL, changed_at = now()
     WHERE a.id = old.id;
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.resume_audience(name text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

-- Steps of the dispatcher, each a transaction (src/store/audience.c).

-- People of one page of a reading, whose keys are all that the query has in the
-- range after .. upto.  Who is not there any more is to be removed; who was never
-- sent is forgotten instead, unless an answer about him was lost.  The plans must
-- be those for a long list, whatever the table's statistics say.
CREATE FUNCTION capi._audience_page(audience int, after uuid, upto uuid, keys uuid[], all_cells bytea[])
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_nestloop = off AS $$
DECLARE
    doubt record;
    fresh bigint;
    back bigint;
    unsent bigint;
    doubtful bigint;
    again bigint;
    gone bigint;
BEGIN
    SELECT s.doubt_from, s.doubt_upto INTO doubt FROM capi.audience_state s WHERE s.id = audience;
    INSERT INTO capi.audience_member AS m (audience_id, status, key, cells)
    SELECT audience, '+', p.key, p.cells FROM unnest(keys, all_cells) AS p (key, cells)
     WHERE NOT EXISTS (SELECT FROM capi.audience_member o
                        WHERE o.audience_id = audience AND o.key > after AND o.key <= upto AND o.key = p.key);
    GET DIAGNOSTICS fresh = ROW_COUNT;
    UPDATE capi.audience_member m SET status = '?'
     WHERE m.audience_id = audience AND m.status = '-' AND m.key > after AND m.key <= upto
       AND EXISTS (SELECT FROM unnest(keys) AS p (key) WHERE p.key = m.key);
    GET DIAGNOSTICS back = ROW_COUNT;
    DELETE FROM capi.audience_member m
     WHERE m.audience_id = audience AND m.status = '+' AND m.key > after AND m.key <= upto
       AND (doubt.doubt_from IS NULL OR m.key NOT BETWEEN doubt.doubt_from AND doubt.doubt_upto)
       AND NOT EXISTS (SELECT FROM unnest(keys) AS p (key) WHERE p.key = m.key);
    GET DIAGNOSTICS unsent = ROW_COUNT;
    UPDATE capi.audience_member m SET status = '-'
     WHERE m.audience_id = audience AND m.status = '+' AND m.key > after AND m.key <= upto
       AND NOT EXISTS (SELECT FROM unnest(keys) AS p (key) WHERE p.key = m.key);
    GET DIAGNOSTICS doubtful = ROW_COUNT;
    UPDATE capi.audience_member m SET status = '-'
     WHERE m.audience_id = audience AND m.status = '?' AND m.key > after AND m.key <= upto
       AND NOT EXISTS (SELECT FROM unnest(keys) AS p (key) WHERE p.key = m.key);
    GET DIAGNOSTICS again = ROW_COUNT;
    UPDATE capi.audience_member m SET status = '-'
     WHERE m.audience_id = audience AND m.status = '=' AND m.key > after AND m.key <= upto
       AND NOT EXISTS (SELECT FROM unnest(keys) AS p (key) WHERE p.key = m.key);
    GET DIAGNOSTICS gone = ROW_COUNT;
    IF fresh + back + unsent + doubtful + again + gone > 0 THEN
        -- a batch of a session is the same people however often it is sent, and these are others now
        UPDATE capi.audience_state s
           SET members = s.members + doubtful, session_id = NULL, session_op = NULL, batch_seq = NULL,
               to_add = s.to_add + fresh + back - unsent - doubtful - again,
               to_remove = s.to_remove - back + doubtful + again + gone
         WHERE s.id = audience;
    END IF;
END $$;

-- The end of a reading: what it found.  Counts of what is sent begin anew.
CREATE FUNCTION capi._audience_read(audience int, began timestamptz, people bigint, no_consent bigint,
                                    unusable bigint, problems text)
    RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    UPDATE capi.audience_state s
       SET read_at = began, people = _audience_read.people, no_consent = _audience_read.no_consent,
           unusable = _audience_read.unusable, problems = _audience_read.problems::jsonb,
           added = 0, removed = 0, invalid = 0,
           state = CASE s.state WHEN 'broken' THEN 'active' ELSE s.state END,
           reason = CASE s.state WHEN 'broken' THEN NULL ELSE s.reason END,
           state_since = CASE s.state WHEN 'broken' THEN now() ELSE s.state_since END
     WHERE s.id = audience
$$;

-- A session that was refused, also for the same reason as one before, is not gone
-- on with: it may be what was refused.
CREATE FUNCTION capi._audience_state(audience int, state text, reason text) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    UPDATE capi.audience_state s
       SET session_id = CASE _audience_state.state WHEN 'active' THEN s.session_id END,
           session_op = CASE _audience_state.state WHEN 'active' THEN s.session_op END,
           batch_seq = CASE _audience_state.state WHEN 'active' THEN s.batch_seq END,
           state_since = CASE WHEN s.state = _audience_state.state THEN s.state_since ELSE now() END,
           state = _audience_state.state, reason = _audience_state.reason
     WHERE s.id = audience
       AND ((s.state, s.reason) IS DISTINCT FROM (_audience_state.state, _audience_state.reason)
            OR (s.session_id IS NOT NULL AND _audience_state.state <> 'active'))
$$;

-- A request is about to be sent: if its answer is lost, this is what is known.
CREATE FUNCTION capi._audience_sending(audience int, op "char", session_id bigint, batch_seq int,
                                       first uuid, last uuid)
    RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    UPDATE capi.audience_state s
       SET session_id = _audience_sending.session_id, session_op = op, batch_seq = _audience_sending.batch_seq,
           doubt_from = CASE WHEN op <> '+' OR s.doubt_from < first THEN s.doubt_from ELSE first END,
           doubt_upto = CASE WHEN op <> '+' OR s.doubt_upto > last THEN s.doubt_upto ELSE last END
     WHERE s.id = audience
$$;

-- Meta has taken it.
CREATE FUNCTION capi._audience_sent(audience int, op "char", first uuid, last uuid, is_last boolean,
                                    refused bigint)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    n bigint;
BEGIN
    IF op = '-' THEN
        DELETE FROM capi.audience_member m
         WHERE m.audience_id = audience AND m.status = '-' AND m.key BETWEEN first AND last;
    ELSE
        UPDATE capi.audience_member m SET status = '='
         WHERE m.audience_id = audience AND m.status = op AND m.key BETWEEN first AND last;
    END IF;
    GET DIAGNOSTICS n = ROW_COUNT;
    UPDATE capi.audience_state s
       SET members = s.members + CASE op WHEN '+' THEN n WHEN '-' THEN -n ELSE 0 END,
           to_add = s.to_add - CASE op WHEN '-' THEN 0 ELSE n END,
           to_remove = s.to_remove - CASE op WHEN '-' THEN n ELSE 0 END,
           added = s.added + CASE op WHEN '-' THEN 0 ELSE n END,
           removed = s.removed + CASE op WHEN '-' THEN n ELSE 0 END,
           invalid = s.invalid + refused,
           sent_at = now(), state = 'active', reason = NULL,
           state_since = CASE s.state WHEN 'active' THEN s.state_since ELSE now() END,
           session_id = CASE WHEN NOT is_last THEN s.session_id END,
           session_op = CASE WHEN NOT is_last THEN s.session_op END,
           batch_seq = CASE WHEN NOT is_last THEN s.batch_seq + 1 END,
           doubt_from = CASE WHEN op <> '+' OR s.doubt_from < first OR s.doubt_upto > last THEN s.doubt_from END,
           doubt_upto = CASE WHEN op <> '+' OR s.doubt_from < first OR s.doubt_upto > last THEN s.doubt_upto END
     WHERE s.id = audience;
END $$;

-- Some of the people of an audience that was dropped; at last its state.
CREATE FUNCTION capi._audience_sweep(audience int, most int) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM capi.audience_member m
     WHERE m.audience_id = audience
       AND m.key IN (SELECT k.key FROM capi.audience_member k WHERE k.audience_id = audience LIMIT most);
    IF NOT FOUND THEN
        DELETE FROM capi.audience_state s WHERE s.id = audience;
    END IF;
END $$;

CREATE VIEW capi.audience_status AS
    SELECT a.name AS audience, d.name AS dataset, a.audience_id,
           CASE WHEN a.paused OR d.state = 'paused' THEN 'paused'
                WHEN d.dropped_at IS NOT NULL THEN 'broken'
                WHEN s.state <> 'active' THEN s.state
                WHEN s.reason IS NOT NULL THEN 'retrying'
                WHEN s.read_at IS NULL THEN 'new'
                WHEN s.to_add + s.to_remove > 0 THEN 'sending'
                ELSE 'ok' END AS state,
           CASE WHEN a.paused THEN 'paused by ' || a.paused_by
                WHEN d.state = 'paused' THEN 'dataset paused'
                WHEN d.dropped_at IS NOT NULL THEN 'dataset dropped'
                ELSE s.reason END AS reason,
           coalesce(s.members, 0) AS members,
           coalesce(s.to_add + s.to_remove, 0) AS waiting,
           coalesce(s.added, 0) AS added, coalesce(s.removed, 0) AS removed,
           coalesce(s.no_consent, 0) AS no_consent, coalesce(s.unusable, 0) AS unusable,
           coalesce(s.invalid, 0) AS invalid,
           s.read_at AS last_refresh,
           CASE WHEN s.read_at > now() THEN now()
                WHEN a.asked_at > s.read_at OR a.changed_at > s.read_at THEN greatest(a.asked_at, a.changed_at)
                ELSE s.read_at + a.refresh END AS next_refresh,
           s.sent_at AS last_sent_at, s.problems
      FROM capi.audience a
      JOIN capi.dataset d ON d.id = a.dataset_id
      LEFT JOIN capi.audience_state s ON s.id = a.id;
