----------------------------------------------------------------------------
-- Sources: when a row means an event, and what the event is.
----------------------------------------------------------------------------

CREATE FUNCTION capi._check_source_args(event_name text, action_source text, hold interval)
    RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known CONSTANT text[] := ARRAY['app', 'business_messaging', 'chat', 'email', 'other', 'phone_call',
                                   'physical_store', 'system_generated', 'website'];
BEGIN
    IF event_name = '' OR length(event_name) > 50 OR event_name ~ '[[:cntrl:]]' THEN
        RAISE EXCEPTION 'invalid event_name'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'An event name has 1 to 50 characters and no control characters.';
    END IF;
    IF action_source <> ALL (known) THEN
        RAISE EXCEPTION 'unknown action_source "%"', left(action_source, 40)
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Known values: ' || array_to_string(known, ', ') || '.',
                  HINT = capi._hint(action_source, known, 'Use website for what was bought in an online shop.');
    END IF;
    IF hold < '0'::interval OR hold > '6 days'::interval THEN
        RAISE EXCEPTION 'hold must be between 0 and 6 days'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Meta takes events for 7 days; a held event must still be young enough to send.',
                  HINT = 'Write it as an interval, for example 2 hours.';
    END IF;
END $$;

-- Names of the key columns: as given, else the primary key.
CREATE FUNCTION capi._key_columns(tab regclass, given text[]) RETURNS text[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_columns text[] := given;
BEGIN
    IF found_columns IS NULL THEN
        SELECT array_agg(a.attname::text ORDER BY k.n) INTO found_columns
          FROM pg_index i
          CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
          JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
         WHERE i.indrelid = tab AND i.indisprimary;
        IF found_columns IS NULL THEN
            RAISE EXCEPTION 'table "%" has no primary key', tab
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Name the columns that identify the order in key_columns.';
        END IF;
    END IF;
    IF cardinality(found_columns) NOT BETWEEN 1 AND 8 THEN
        RAISE EXCEPTION 'key_columns must name 1 to 8 columns'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Name the columns that identify the order, usually one.';
    END IF;
    RETURN found_columns;
END $$;

CREATE FUNCTION capi._column_type(tab regclass, col text) RETURNS regtype
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_type regtype;
    generated "char";
    known text[];
BEGIN
    SELECT a.atttypid, a.attgenerated INTO found_type, generated FROM pg_attribute a
     WHERE a.attrelid = tab AND a.attname = col AND a.attnum > 0 AND NOT a.attisdropped;
    IF found_type IS NULL THEN
        known := ARRAY(SELECT a.attname::text FROM pg_attribute a
                        WHERE a.attrelid = tab AND a.attnum > 0 AND NOT a.attisdropped
                        ORDER BY a.attnum);
        RAISE EXCEPTION 'column "%" of table "%" does not exist', col, tab
            USING ERRCODE = 'undefined_column',
                  DETAIL = 'Known columns: ' || array_to_string(known, ', ') || '.',
                  HINT = capi._hint(col, known, 'Names are case-sensitive here and not quoted.');
    END IF;
    IF generated = 'v' THEN
        RAISE EXCEPTION 'column "%" of table "%" is a virtual generated column', col, tab
            USING ERRCODE = 'feature_not_supported',
                  DETAIL = 'A trigger does not see values that are computed on reading.',
                  HINT = 'Name a column it is computed from, or make it a stored one.';
    END IF;
    RETURN found_type;
END $$;

CREATE FUNCTION capi._column_types(tab regclass, cols text[]) RETURNS regtype[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(capi._column_type(tab, c) ORDER BY n)
      FROM unnest(cols) WITH ORDINALITY AS u (c, n)
$$;

CREATE FUNCTION capi._check_condition(on_column text, on_values text[]) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF on_values IS NOT NULL AND on_column IS NULL THEN
        RAISE EXCEPTION 'on_values needs on_column'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Name the column that takes these values.';
    END IF;
END $$;

CREATE FUNCTION capi._check_table(caller oid, tab regclass) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind "char";
    persistence "char";
    space oid;
BEGIN
    IF tab IS NULL THEN
        RAISE EXCEPTION 'table_name must not be null'
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'Name the table whose rows become events.';
    END IF;
    SELECT c.relkind, c.relpersistence, c.relnamespace INTO kind, persistence, space
      FROM pg_class c WHERE c.oid = tab;
    IF kind IS NULL OR kind NOT IN ('r', 'p') OR persistence = 't'
       OR space IN ('pg_catalog'::regnamespace, 'capi'::regnamespace) THEN
        RAISE EXCEPTION 'cannot attach to "%"', tab
            USING ERRCODE = 'wrong_object_type',
                  DETAIL = 'A source needs an ordinary or partitioned table that is neither temporary nor part of the system.';
    END IF;
    IF NOT has_table_privilege(caller, tab, 'TRIGGER') THEN
        RAISE EXCEPTION 'permission denied to attach to table "%"', tab
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = 'Attaching puts a trigger on the table and needs the TRIGGER privilege on it.',
                  HINT = 'Ask the owner of the table for it, or to attach the table.';
    END IF;
END $$;

-- Name by which the table was known when it was attached: another one of that
-- name may take its place.
CREATE FUNCTION capi._table_was(tab regclass) RETURNS text[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY[n.nspname::text, c.relname::text]
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = tab
$$;

-- Row security turns orders into ignored ones; whether it does, only its
-- policies know.
CREATE FUNCTION capi._warn_of_row_security(tab regclass, role regrole) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF capi._hides_rows(tab, role) THEN
        RAISE WARNING 'row security of table "%" may hide orders from role "%"', tab, role
            USING DETAIL = 'The query runs as this role; an order that it does not see is ignored: not returned by the query.',
                  HINT = 'Look with capi.preview(). ALTER ROLE ... BYPASSRLS, a policy for the role, or attaching as the owner of the table shows all orders.';
    END IF;
END $$;

-- Whose rights the query gets: the caller's, but never a superuser's (P9).
CREATE FUNCTION capi._run_as(caller oid, tab regclass) RETURNS regrole
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN NOT me.rolsuper THEN me.oid
                WHEN NOT owner.rolsuper THEN owner.oid
                ELSE 'pg_read_all_data'::regrole END::regrole
      FROM pg_roles me, pg_class c JOIN pg_roles owner ON owner.oid = c.relowner
     WHERE me.oid = caller AND c.oid = tab
$$;

-- Who adds a partition makes its copy of the trigger with his own rights, so
-- owners of attached partitioned tables may use the trigger function (P2).
CREATE FUNCTION capi._sync_partition_owners() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted oid[];
    item record;
BEGIN
    wanted := ARRAY(SELECT DISTINCT c.relowner
                      FROM capi.source s
                     CROSS JOIN LATERAL pg_partition_tree(s.table_name) t
                      JOIN pg_class c ON c.oid = t.relid
                      JOIN pg_roles r ON r.oid = c.relowner AND NOT r.rolsuper
                     WHERE s.detached_at IS NULL AND c.relkind = 'p');
    FOR item IN
        SELECT w.role::regrole AS role, 'GRANT' AS verb, 'TO' AS direction
          FROM unnest(wanted) AS w (role)
         WHERE NOT has_function_privilege(w.role, 'capi.capture()', 'EXECUTE')
        UNION ALL
        SELECT a.grantee::regrole, 'REVOKE', 'FROM'
          FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) a
         WHERE p.oid = 'capi.capture()'::regprocedure
           AND a.grantee NOT IN (0, p.proowner) AND a.grantee <> ALL (wanted) LOOP
        EXECUTE format('%s EXECUTE ON FUNCTION capi.capture() %s %s',
                       item.verb, item.direction, item.role);
    END LOOP;
END $$;

-- One trigger for all sources of a table, ALWAYS when one of them wants
-- replicas.  A partition has a copy of the trigger of the table above it.
CREATE FUNCTION capi._sync_trigger(tab regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted "char";
    moves boolean;
    present record;
    child regclass;
BEGIN
    SELECT CASE WHEN bool_or(s.fire_on_replica) THEN 'A' WHEN count(*) > 0 THEN 'O' END
      INTO wanted
      FROM capi.source s
     WHERE s.detached_at IS NULL
       AND (s.table_name = tab OR s.table_name IN (SELECT a.relid FROM pg_partition_ancestors(tab) a));
    -- a row that moves between partitions is a DELETE and an INSERT
    moves := EXISTS (SELECT FROM pg_class c WHERE c.oid = tab AND c.relkind = 'p');
    SELECT t.tgenabled AS enabled, t.tgparentid AS parent, t.tgtype & 8 <> 0 AS on_delete INTO present
      FROM pg_trigger t
     WHERE t.tgrelid = tab AND t.tgname = 'capi_capture'
       AND t.tgfoid = 'capi.capture()'::regprocedure;
    IF wanted IS NULL AND present.parent = 0 THEN
        EXECUTE format('DROP TRIGGER capi_capture ON %s', tab);
    ELSIF wanted IS NOT NULL AND (present.enabled IS NULL OR
                                  present.parent = 0 AND moves AND NOT present.on_delete) THEN
        -- a copy takes the place of a partition's own
        FOR child IN SELECT t.tgrelid
                       FROM pg_partition_tree(tab) p JOIN pg_trigger t ON t.tgrelid = p.relid
                      WHERE t.tgname = 'capi_capture' AND t.tgparentid = 0 AND t.tgrelid <> tab LOOP
            EXECUTE format('DROP TRIGGER capi_capture ON %s', child);
        END LOOP;
        EXECUTE format('CREATE OR REPLACE TRIGGER capi_capture AFTER INSERT OR UPDATE %s ON %s '
                       'FOR EACH ROW EXECUTE FUNCTION capi.capture()',
                       CASE WHEN moves THEN 'OR DELETE' ELSE '' END, tab);
        present.enabled := 'O';
        present.parent := 0;
    END IF;
    -- DROP EXTENSION takes the triggers along.  Citus distributes no table whose
    -- trigger depends on an extension: beside it, that takes CASCADE.
    IF wanted IS NOT NULL AND present.parent IS NOT DISTINCT FROM 0 THEN
        EXECUTE format('ALTER TRIGGER capi_capture ON %s %s DEPENDS ON EXTENSION capi', tab,
                       CASE WHEN EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'citus')
                            THEN 'NO' ELSE '' END);
    END IF;
    IF wanted <> present.enabled THEN
        EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER capi_capture', tab,
                       CASE wanted WHEN 'A' THEN 'ALWAYS' ELSE '' END);
    END IF;
    -- what was done here reached the partitions below; some want more
    FOR child IN SELECT s.table_name
                   FROM capi.source s JOIN pg_partition_tree(tab) p ON p.relid = s.table_name
                  WHERE s.detached_at IS NULL AND p.level > 0
                  GROUP BY s.table_name, p.level ORDER BY p.level LOOP
        PERFORM capi._sync_trigger(child);
    END LOOP;
    PERFORM capi._sync_partition_owners();
END $$;

CREATE FUNCTION capi._attach(caller oid, path text, source text, table_name regclass, dataset text,
        event_name text, query text, key_columns text[], on_column text, on_values text[],
        action_source text, hold interval, fire_on_replica boolean, time_zone text,
        minor_units text)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    target int;
    role regrole;
    keys text[];
    key_kinds regtype[];
    on_kind regtype;
    query_key text;
    draft capi.source;
    old capi.source;
BEGIN
    PERFORM capi._check_name('source', source);
    IF source LIKE 'send:%' THEN
        RAISE EXCEPTION 'source name "%" is reserved', source
            USING ERRCODE = 'reserved_name',
                  DETAIL = 'Names that begin with "send:" are those of the sources of capi.send().',
                  HINT = 'Choose another name.';
    END IF;
    PERFORM capi._check_table(caller, table_name);
    PERFORM capi._check_source_args(event_name, action_source, hold);
    IF event_name IS NULL OR action_source IS NULL OR hold IS NULL OR fire_on_replica IS NULL THEN
        RAISE EXCEPTION 'event_name, action_source, hold and fire_on_replica must not be null'
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'Leave them out to have their defaults.';
    END IF;
    PERFORM capi._check_conversions(time_zone, minor_units);
    PERFORM capi._check_condition(on_column, on_values);
    target := capi._dataset_to_use(dataset);
    keys := capi._key_columns(table_name, key_columns);
    key_kinds := capi._column_types(table_name, keys);
    on_kind := CASE WHEN on_column IS NOT NULL THEN capi._column_type(table_name, on_column) END;
    IF on_values IS NOT NULL THEN
        on_values := capi._check_values(on_kind, on_values);
    END IF;
    role := capi._run_as(caller, table_name);
    IF query IS NULL THEN
        query := capi._usual_query(table_name, keys, NULL, minor_units IS NOT NULL);
        RAISE NOTICE 'capi uses this query for source "%":%', source, E'\n' || query
            USING HINT = 'Pass your own as query, or change it with capi.alter_source().';
    END IF;
    query_key := capi._check_query(query, path, role, key_kinds, coalesce(time_zone, ''));
    -- before writers wait
    draft.name := source;
    draft.table_name := table_name;
    draft.dataset_id := target;
    draft.event_name := event_name;
    draft.action_source := action_source;
    draft.query := query;
    draft.search_path := path;
    draft.on_column := on_column;
    draft.on_type := on_kind;
    draft.on_values := on_values;
    draft.time_zone := nullif(time_zone, '');
    draft.minor_units := nullif(minor_units, '');
    PERFORM capi._try_query(query, path, role);
    PERFORM capi._give_advice(caller, draft);

    -- writers wait for us, so every row written after this returns is captured
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', table_name);
    -- a name that was detached before keeps its id, and so its history (P5)
    DELETE FROM capi.source s WHERE s.name = source AND s.detached_at IS NOT NULL
    RETURNING s.* INTO old;
    INSERT INTO capi.source (id, name, table_name, dataset_id, event_name, action_source, query,
                             search_path, run_as, key_columns, key_types, query_key_type,
                             on_column, on_type, on_values, hold, fire_on_replica,
                             missed_captures, time_zone, minor_units, table_was, renumbered_at)
    VALUES (coalesce(old.id, nextval('capi.source_id_seq')::int), source, table_name, target,
            event_name, action_source, query, path, role, keys, key_kinds, query_key,
            on_column, on_kind, on_values, hold, fire_on_replica,
            coalesce(old.missed_captures, 0), nullif(time_zone, ''), nullif(minor_units, ''),
            capi._table_was(table_name), old.renumbered_at)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'source "%" already exists', source
            USING ERRCODE = 'duplicate_object',
                  DETAIL = (SELECT format('It is attached to table "%s".', s.table_name)
                              FROM capi.source s WHERE s.name = source),
                  HINT = 'Change it with capi.alter_source(). For another table call capi.detach() and capi.attach() in one transaction: then no order is lost.';
    END IF;
    PERFORM capi._warn_of_row_security(table_name, role);
    IF old.table_name <> table_name
       AND EXISTS (SELECT FROM capi.delivery d WHERE d.source_id = old.id) THEN
        RAISE NOTICE 'source "%" had another table before, and keeps its history', source
            USING DETAIL = 'Orders whose keys are in the log are not reported again.',
                  HINT = 'If keys of the new table mean other orders: capi.forget_history().';
    END IF;
    PERFORM capi._sync_trigger(table_name);
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.attach(source text, table_name regclass, dataset text,
        event_name text = 'Purchase', query text = NULL, key_columns text[] = NULL,
        on_column text = NULL, on_values text[] = NULL, action_source text = 'website',
        hold interval = '0', fire_on_replica boolean = false, time_zone text = NULL,
        minor_units text = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner_path';

-- Only who may attach to the table may change or detach what is attached.
CREATE FUNCTION capi._check_source_owner(caller oid, src capi.source) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_class c WHERE c.oid = src.table_name)
       AND NOT has_table_privilege(caller, src.table_name::oid, 'TRIGGER') THEN
        RAISE EXCEPTION 'permission denied for source "%"', src.name
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = format('It needs the TRIGGER privilege on table "%s".', src.table_name),
                  HINT = 'Ask the owner of the table for it.';
    END IF;
END $$;

CREATE FUNCTION capi._alter_source(caller oid, path text, source text, event_name text, query text,
        key_columns text[], on_column text, on_values text[], action_source text, hold interval,
        fire_on_replica boolean, dataset text, time_zone text, minor_units text, table_name regclass)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    new capi.source := capi._source(source);
    old_rule CONSTANT capi.source := new;
    old_dataset CONSTANT int := new.dataset_id;
    old_table CONSTANT regclass := new.table_name;
    columns_named boolean := key_columns IS NOT NULL OR on_column IS NOT NULL;
BEGIN
    PERFORM capi._check_source_owner(caller, new);
    IF table_name IS NOT NULL THEN
        -- keys of another table read the orders of whoever attached
        IF query IS NULL AND NOT pg_has_role(caller, new.run_as::oid, 'USAGE') THEN
            RAISE EXCEPTION 'permission denied for source "%"', source
                USING ERRCODE = 'insufficient_privilege',
                      DETAIL = 'Its query runs as another role, of which you are no member.',
                      HINT = 'Give the query, too: it then runs as you.';
        END IF;
        new.table_name := table_name;
        new.table_was := capi._table_was(table_name);
    ELSIF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = new.table_name) THEN
        RAISE EXCEPTION 'the table of source "%" is gone', source
            USING ERRCODE = 'undefined_table',
                  DETAIL = 'A source belongs to one table; a new table of the same name is another one.',
                  HINT = 'Name the new one in table_name; the source keeps its history and what waits.';
    END IF;
    PERFORM capi._check_table(caller, new.table_name);
    PERFORM capi._check_source_args(event_name, action_source, hold);
    PERFORM capi._check_conversions(time_zone, minor_units);
    new.time_zone := nullif(coalesce(time_zone, new.time_zone), '');
    new.minor_units := nullif(coalesce(minor_units, new.minor_units), '');
    new.event_name := coalesce(event_name, new.event_name);
    new.action_source := coalesce(action_source, new.action_source);
    new.hold := coalesce(hold, new.hold);
    new.fire_on_replica := coalesce(fire_on_replica, new.fire_on_replica);
    new.dataset_id := CASE WHEN dataset IS NULL THEN new.dataset_id ELSE capi._dataset_to_use(dataset) END;
    new.key_columns := coalesce(key_columns, new.key_columns);
    -- '' and '{}' take the rule's column and values away
    new.on_column := nullif(coalesce(on_column, new.on_column), '');
    new.on_values := CASE WHEN on_column = '' OR on_values = '{}' THEN NULL
                          ELSE coalesce(on_values, new.on_values) END;
    PERFORM capi._check_condition(new.on_column, new.on_values);
    -- names and types are read afresh: this also mends a rule that broke
    new.key_types := capi._column_types(new.table_name, new.key_columns);
    new.on_type := CASE WHEN new.on_column IS NOT NULL
                        THEN capi._column_type(new.table_name, new.on_column) END;
    IF new.on_values IS NOT NULL THEN
        new.on_values := capi._check_values(new.on_type, new.on_values);
    END IF;
    IF query IS NOT NULL THEN
        new.query := query;
        new.search_path := path;
        new.run_as := capi._run_as(caller, new.table_name);
    END IF;
    new.query_key_type := capi._check_query(new.query, new.search_path, new.run_as, new.key_types,
                                             coalesce(new.time_zone, ''));
    PERFORM capi._try_query(new.query, new.search_path, new.run_as::oid);
    PERFORM capi._give_advice(caller, new);
    IF new.table_name <> old_table THEN
        -- writers wait for us, so every row written after this returns is captured
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', new.table_name);
    END IF;
    PERFORM capi._warn_of_row_security(new.table_name, new.run_as);
    IF (new.table_name::oid, new.on_column, new.on_values) IS DISTINCT FROM (old_table::oid, old_rule.on_column, old_rule.on_values) THEN
        new.attached_at := now();
    END IF;
    new.broken_since := NULL;
    new.broken_reason := NULL;
    UPDATE capi.source s
       SET (dataset_id, event_name, action_source, query, search_path, run_as, key_columns,
            key_types, query_key_type, on_column, on_type, on_values, hold, fire_on_replica,
            broken_since, broken_reason, time_zone, minor_units, table_name, table_was, attached_at)
         = (new.dataset_id, new.event_name, new.action_source, new.query, new.search_path,
            new.run_as, new.key_columns, new.key_types, new.query_key_type, new.on_column,
            new.on_type, new.on_values, new.hold, new.fire_on_replica, NULL, NULL,
            new.time_zone, new.minor_units, new.table_name, new.table_was, new.attached_at)
     WHERE s.id = new.id;
    -- what is held is looked at again, by the hold of today
    IF new.hold <> old_rule.hold THEN
        UPDATE capi.backlog b SET next_attempt_at = now()
         WHERE b.source_id = new.id AND b.status = 'held' AND b.reason IS NULL;
    END IF;
    IF new.dataset_id <> old_dataset THEN
        PERFORM capi._move_waiting(old_dataset, new.dataset_id, new.id, false);
    END IF;
    PERFORM capi._sync_trigger(new.table_name);
    IF new.table_name <> old_table AND EXISTS (SELECT FROM pg_class c WHERE c.oid = old_table) THEN
        PERFORM capi._sync_trigger(old_table);
    END IF;
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.alter_source(source text, event_name text = NULL, query text = NULL,
        key_columns text[] = NULL, on_column text = NULL, on_values text[] = NULL,
        action_source text = NULL, hold interval = NULL, fire_on_replica boolean = NULL,
        dataset text = NULL, time_zone text = NULL, minor_units text = NULL,
        table_name regclass = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner_path';

-- The source's orders may come again under the same keys, and are other ones.
-- When it is known since when, what was said of consent before is forgotten with
-- the log, but for what waits; else nobody knows of which orders it was said, and
-- a refusal stays.
CREATE FUNCTION capi._forget_history(caller oid, source text) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.source := capi._source(source);
    gone bigint;
BEGIN
    PERFORM capi._check_source_owner(caller, old);
    PERFORM capi._adopt_consent();
    DELETE FROM capi.consent c
     WHERE c.said_at < old.renumbered_at
       AND (c.source_id = old.id
            -- of every source: only from who tells of this one alone
            OR (c.source_id = 0
                AND EXISTS (SELECT FROM capi.delivery d WHERE d.source_id = old.id AND d.key = c.key)
                AND EXISTS (SELECT FROM pg_roles r WHERE r.rolname = c.writer
                               AND ARRAY(SELECT t FROM capi._told(r.oid) t) = ARRAY[old.id])))
       AND NOT EXISTS (SELECT FROM capi.backlog b
                        WHERE b.source_id = old.id AND b.key = c.key AND b.captured_at < old.renumbered_at)
       AND NOT EXISTS (SELECT FROM capi._unread u
                        WHERE u.source_id = old.id AND u.key = c.key AND u.captured_at < old.renumbered_at);
    DELETE FROM capi.delivery d WHERE d.source_id = old.id;
    GET DIAGNOSTICS gone = ROW_COUNT;
    UPDATE capi.source s SET renumbered_at = NULL WHERE s.id = old.id;
    PERFORM capi._config_changed();
    RETURN gone;
END $$;
CREATE FUNCTION capi.forget_history(source text)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi._detach(caller oid, source text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.source := capi._source(source);
BEGIN
    PERFORM capi._check_source_owner(caller, old);
    UPDATE capi.source s SET detached_at = now() WHERE s.id = old.id;
    IF EXISTS (SELECT FROM pg_class c WHERE c.oid = old.table_name) THEN
        PERFORM capi._sync_trigger(old.table_name);
    END IF;
    UPDATE capi.backlog b SET next_attempt_at = now() WHERE b.source_id = old.id;
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.detach(source text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi._pause(caller oid, source text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.source := capi._source(source);
BEGIN
    UPDATE capi.source s SET paused = true WHERE s.id = old.id;
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.pause(source text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi._resume(caller oid, source text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.source := capi._source(source);
BEGIN
    UPDATE capi.source s SET paused = false, broken_since = NULL, broken_reason = NULL
     WHERE s.id = old.id;
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.resume(source text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';
