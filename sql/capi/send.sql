----------------------------------------------------------------------------
-- Events that no table shows.
----------------------------------------------------------------------------

-- Each name of event of each dataset is a source of its own, so that one
-- order_key is one event of that name (P5), and pausing works.  Its number is
-- known before the source is there (src/store/event_name.c); the dispatcher,
-- who is alone in this and so waits for nobody, makes it when the first event
-- has committed.  It also attaches one again that was detached since.
CREATE FUNCTION capi._adopt_event_names() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    new record;
BEGIN
    FOR new IN SELECT n.* FROM capi._sources n
                WHERE NOT EXISTS (SELECT FROM capi.source s WHERE s.id = n.id)
                ORDER BY n.id LOOP
        -- names may hold the colon that parts them
        IF EXISTS (SELECT FROM capi.source s WHERE s.name = new.name) THEN
            new.name := new.name || ':' || new.id;
        END IF;
        INSERT INTO capi.source (id, name, table_name, dataset_id, event_name, action_source,
                                 query, search_path, run_as, key_columns, key_types, query_key_type)
        VALUES (new.id, new.name, 'capi.direct_event', new.dataset_id, new.event_name, 'other',
                '', '', 'pg_read_all_data', '{key}', '{text}', 'pg_catalog.text')
        ON CONFLICT DO NOTHING;
    END LOOP;
    UPDATE capi.source s SET detached_at = NULL, dataset_id = n.dataset_id
      FROM capi.direct_name n
     WHERE s.id = n.source_id
       AND s.id IN (SELECT o.id FROM capi.source o JOIN capi.direct_name m ON m.source_id = o.id
                     WHERE o.detached_at IS NOT NULL OR o.dataset_id <> m.dataset_id
                       FOR UPDATE OF o SKIP LOCKED);
    DELETE FROM capi.direct_name n
     USING capi.source s
     WHERE s.id = n.source_id AND s.dataset_id = n.dataset_id AND s.detached_at IS NULL;
END $$;

-- The row of an event; no row, and the number of the other, for one that is
-- there.  Who must not look, because reading what others write fails a
-- serializable transaction, adds a second row.
CREATE FUNCTION capi._put_direct_event(source_id int, key text, event_name text,
        event_id text, event bytea, event_time bigint, max_age bigint, value text, currency text,
        reason text, expired boolean, subcode int, problems text,
        OUT id bigint, OUT is_new boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    -- a time that no timestamp can hold was judged already
    at timestamptz := CASE WHEN event_time BETWEEN 0 AND 253402300799
                           THEN to_timestamp(event_time) ELSE now() END;
BEGIN
    IF current_setting('transaction_isolation') <> 'serializable' THEN
        SELECT e.id INTO id FROM capi.direct_event e
         WHERE e.source_id = _put_direct_event.source_id AND e.key = _put_direct_event.key
         ORDER BY e.id LIMIT 1;
    END IF;
    is_new := id IS NULL;
    IF is_new THEN
        id := nextval('capi.direct_event_id_seq');
        INSERT INTO capi.direct_event
        VALUES (source_id, key, id, at + make_interval(secs => max_age), event, event_id,
                event_name, at, value::numeric, currency, reason, expired, nullif(subcode, 0),
                problems::jsonb);
    END IF;
END $$;

CREATE FUNCTION capi.send(dataset text, event jsonb, order_key text = NULL) RETURNS bigint
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_send';
