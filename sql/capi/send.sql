----------------------------------------------------------------------------
-- Events that no table shows.
----------------------------------------------------------------------------

-- Each name of event of each dataset is a source of its own, made when first
-- used: so one order_key is one event of that name (P5), and pausing works.
CREATE FUNCTION capi._direct_source(caller oid, target capi.dataset, event_name text) RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted text := format('send:%s:%s', target.name, event_name);
    found_id int;
BEGIN
    SELECT s.id INTO found_id FROM capi.source s
     WHERE s.name = wanted AND s.detached_at IS NULL AND s.dataset_id = target.id;
    IF found_id IS NOT NULL THEN
        RETURN found_id;
    END IF;
    INSERT INTO capi.source AS s (id, name, table_name, dataset_id, event_name, action_source,
                                  query, search_path, run_as, key_columns, key_types, query_key_type)
    VALUES (nextval('capi.source_id_seq'), wanted, 'capi.direct_event', target.id, event_name, 'other',
            '', '', caller::regrole, '{key}', '{text}', 'pg_catalog.text')
    ON CONFLICT (name) DO UPDATE SET detached_at = NULL, dataset_id = excluded.dataset_id
    RETURNING s.id INTO found_id;
    PERFORM capi._config_changed();
    RETURN found_id;
END $$;

CREATE FUNCTION capi._put_direct_event(caller oid, dataset text, order_key text, event_name text,
        event_id text, event bytea, event_time bigint, max_age bigint, value text, currency text,
        reason text, expired boolean, subcode int, problems text,
        OUT id bigint, OUT source_id int, OUT key text, OUT is_new boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    -- a time that no timestamp can hold was judged already
    at timestamptz := CASE WHEN event_time BETWEEN 0 AND 253402300799
                           THEN to_timestamp(event_time) ELSE now() END;
BEGIN
    source_id := capi._direct_source(caller, capi._dataset(dataset), event_name);
    key := coalesce(order_key, event_id);
    id := nextval('capi.direct_event_id_seq');
    -- one that has its outcome is settled by the dispatcher; one that waits is here
    INSERT INTO capi.direct_event AS e
    VALUES (_put_direct_event.source_id, _put_direct_event.key, _put_direct_event.id,
            at + make_interval(secs => max_age), event, event_id, event_name, at, value::numeric,
            currency, reason, expired, nullif(subcode, 0), problems::jsonb)
    ON CONFLICT (source_id, key) DO NOTHING;
    is_new := FOUND;
    IF NOT is_new THEN
        SELECT e.id INTO id FROM capi.direct_event e
         WHERE e.source_id = _put_direct_event.source_id AND e.key = _put_direct_event.key;
    END IF;
END $$;

CREATE FUNCTION capi.send(dataset text, event jsonb, order_key text = NULL) RETURNS bigint
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_send';
