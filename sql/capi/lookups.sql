----------------------------------------------------------------------------
-- Internal look-ups and checks, whose errors name what is known.
----------------------------------------------------------------------------

-- "Perhaps you meant ...", when a known name is similar, else the other hint.
CREATE FUNCTION capi._hint(given text, known text[], other text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce('Perhaps you meant "' || capi._nearest(given, known) || '".', other)
$$;

CREATE FUNCTION capi._dataset(name text) RETURNS capi.dataset
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_row capi.dataset;
    known text[];
BEGIN
    SELECT d.* INTO found_row FROM capi.dataset d
     WHERE d.name = _dataset.name AND d.dropped_at IS NULL;
    IF found_row.id IS NULL THEN
        known := ARRAY(SELECT d.name FROM capi.dataset d WHERE d.dropped_at IS NULL ORDER BY d.name);
        RAISE EXCEPTION 'dataset "%" does not exist', name
            USING ERRCODE = 'undefined_object',
                  DETAIL = CASE known WHEN '{}' THEN 'There are no datasets yet.'
                           ELSE 'Known datasets: ' || array_to_string(known, ', ') || '.' END,
                  HINT = capi._hint(name, known, 'Create it with capi.create_dataset().');
    END IF;
    RETURN found_row;
END $$;

-- The same to be changed: nobody else changes it before our commit, so what was
-- checked of it holds.
CREATE FUNCTION capi._dataset_to_change(name text) RETURNS capi.dataset
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    locked int := (capi._dataset(name)).id;
BEGIN
    PERFORM FROM capi.dataset d WHERE d.id = locked FOR NO KEY UPDATE;
    RETURN capi._dataset(name);
END $$;

-- The same for a source to refer to: it is not dropped before our commit.
CREATE FUNCTION capi._dataset_to_use(name text) RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_id int;
BEGIN
    LOOP
        found_id := (capi._dataset(name)).id;
        PERFORM FROM capi.dataset d WHERE d.id = found_id AND d.dropped_at IS NULL FOR KEY SHARE;
        IF FOUND THEN
            RETURN found_id;
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION capi._source(name text) RETURNS capi.source
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_row capi.source;
    known text[];
BEGIN
    SELECT s.* INTO found_row FROM capi.source s
     WHERE s.name = _source.name AND s.detached_at IS NULL;
    IF found_row.id IS NULL THEN
        known := ARRAY(SELECT s.name FROM capi.source s WHERE s.detached_at IS NULL ORDER BY s.name);
        RAISE EXCEPTION 'source "%" does not exist', name
            USING ERRCODE = 'undefined_object',
                  DETAIL = CASE WHEN EXISTS (SELECT FROM capi.source s WHERE s.name = _source.name)
                                THEN 'It was detached; what became of its orders is in capi.delivery_status.'
                                WHEN known = '{}' THEN 'There are no sources yet.'
                                ELSE 'Known sources: ' || array_to_string(known, ', ') || '.' END,
                  HINT = capi._hint(name, known, 'Attach a table with capi.attach().');
    END IF;
    RETURN found_row;
END $$;

-- The text by which an order is known whose key somebody writes otherwise: 007, a
-- UUID in capitals, a number without its decimals.  Of types whose input runs no
-- code of a user's; not where the column's own length would make another value.
CREATE FUNCTION capi._captured_key(source int, order_key text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    col record;
    written text;
BEGIN
    SELECT format_type(a.atttypid, a.atttypmod) AS type, format_type(a.atttypid, -1) AS of_any_length INTO col
      FROM capi.source s
      JOIN pg_attribute a ON a.attrelid = s.table_name::oid AND a.attname = s.key_columns[1] AND NOT a.attisdropped
     WHERE s.id = source AND cardinality(s.key_columns) = 1
       AND a.atttypid = ANY ('{int2,int4,int8,numeric,bpchar,uuid}'::regtype[]::oid[]);
    IF FOUND THEN
        EXECUTE format('SELECT concat($1::%1$s) WHERE $1::%1$s = $1::%2$s', col.type, col.of_any_length)
           INTO written USING order_key;
    END IF;
    RETURN coalesce(written, order_key);
EXCEPTION WHEN data_exception THEN
    RETURN order_key;
END $$;

-- All texts by which it may be known.
CREATE FUNCTION capi._captured_keys(order_key text) RETURNS text[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(DISTINCT k.key)
      FROM (SELECT order_key AS key UNION ALL SELECT capi._captured_key(s.id, order_key) FROM capi.source s) k
$$;

CREATE FUNCTION capi._check_name(what text, name text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF name IS NULL OR name = '' OR length(name) > 63 OR name ~ '[[:cntrl:]]' THEN
        RAISE EXCEPTION 'invalid % name', what
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A name has 1 to 63 characters and no control characters.';
    END IF;
END $$;

CREATE FUNCTION capi._check_dataset_args(dataset_id text, access_token text,
        access_token_file text, app_secret text, api_version text,
        test_event_code text, events_per_hour int)
    RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF dataset_id !~ '^[0-9]{1,20}$' THEN
        RAISE EXCEPTION 'invalid dataset id'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A dataset id (formerly pixel id) has 1 to 20 digits and nothing else.',
                  HINT = 'Copy it from Events Manager, Settings.';
    END IF;
    -- the message never repeats the token (P8)
    IF access_token = '' OR access_token ~ '[^!-~]' OR length(access_token) > 4096 THEN
        RAISE EXCEPTION 'invalid access token'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A token has 1 to 4096 visible ASCII characters, no spaces and no control characters.',
                  HINT = 'Copy it again from Events Manager, without line breaks.';
    END IF;
    IF app_secret = '' OR app_secret ~ '[^!-~]' OR length(app_secret) > 1024 THEN
        RAISE EXCEPTION 'invalid app secret'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A secret has 1 to 1024 visible ASCII characters, no spaces and no control characters.',
                  HINT = 'Copy it again from the settings of the app.';
    END IF;
    IF access_token IS NOT NULL AND access_token_file IS NOT NULL THEN
        RAISE EXCEPTION 'access_token and access_token_file exclude each other'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Give the token itself, or the file that holds it.';
    END IF;
    IF access_token_file !~ '^/' OR access_token_file ~ '[[:cntrl:]]' THEN
        RAISE EXCEPTION 'access_token_file must be an absolute path'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'The file is on the server and begins with the token; it is read again when it changes.',
                  HINT = 'For example /etc/shop/meta-token.';
    END IF;
    IF api_version !~ '^v[0-9]{1,3}\.[0-9]{1,2}$' THEN
        RAISE EXCEPTION 'invalid api_version "%"', left(api_version, 20)
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A version looks like v25.0.',
                  HINT = 'Leave it null to follow the setting capi.api_version.';
    END IF;
    IF test_event_code !~ '^[A-Za-z0-9_-]{1,64}$' THEN
        RAISE EXCEPTION 'invalid test_event_code'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A code has letters, digits, "_" and "-", for example TEST12345.';
    END IF;
    IF events_per_hour < 1 THEN
        RAISE EXCEPTION 'events_per_hour must be at least 1'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Use capi.pause_dataset() to stop sending.';
    END IF;
END $$;

-- Of timestamps without time zone; of amounts in the smallest unit of a currency.
CREATE FUNCTION capi._check_conversions(time_zone text, minor_units text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF time_zone IS NOT NULL AND time_zone <> '' THEN
        BEGIN
            PERFORM now() AT TIME ZONE time_zone;
        EXCEPTION WHEN invalid_parameter_value THEN
            RAISE EXCEPTION 'unknown time_zone "%"', left(time_zone, 60)
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Take a name from pg_timezone_names, for example Europe/Berlin or UTC.';
        END;
    END IF;
    IF minor_units !~ '^([0-4]|currency|)$' THEN
        RAISE EXCEPTION 'invalid minor_units "%"', left(minor_units, 20)
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It is the number of decimals that the amounts hide, 0 to 4, or currency for as many as ISO 4217 gives each currency.',
                  HINT = 'Leave it out when amounts are in whole units, such as 12.50 euros.';
    END IF;
END $$;

CREATE FUNCTION capi._check_token_file(caller oid, path text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF path IS NOT NULL
       AND NOT pg_has_role(caller, 'pg_read_server_files', 'USAGE') THEN
        RAISE EXCEPTION 'permission denied to name a file of the server'
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = 'access_token_file needs the rights of pg_read_server_files.',
                  HINT = 'Give the token itself, or ask an administrator to set the file.';
    END IF;
END $$;

-- A secret goes only where its giver knows that it goes: to Meta, or to an
-- endpoint that he names now, that he gave before, or that a superuser gave, who
-- could read the secret.  Else an admin could move the endpoint first, and have
-- another give the token.
CREATE FUNCTION capi._check_giver(caller oid, dataset capi.dataset, named text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF named IS NOT NULL AND named <> dataset.endpoint THEN
        RAISE EXCEPTION 'dataset "%" sends to another endpoint', dataset.name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = format('It sends to %s.', dataset.endpoint),
                  HINT = 'Nothing was changed. capi.alter_dataset() gives it another endpoint.';
    END IF;
    IF named IS NULL AND dataset.endpoint <> 'https://graph.facebook.com'
       AND dataset.endpoint_by IS DISTINCT FROM pg_get_userbyid(caller)::text
       AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = dataset.endpoint_by AND r.rolsuper) THEN
        RAISE EXCEPTION 'dataset "%" does not send to Meta', dataset.name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = format('It sends to %s.', dataset.endpoint)
                           || coalesce(format(' Role "%s" set that.', dataset.endpoint_by), ''),
                  HINT = 'If the secret is meant for there, give that endpoint in the same call.';
    END IF;
END $$;

CREATE FUNCTION capi._store_secret(dataset int, what text, secret text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF secret IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO capi.secret AS s (dataset_id, kind, encrypted, value, endpoint)
    SELECT dataset, what, e.encrypted, e.value, d.endpoint
      FROM capi._seal(secret) e, capi.dataset d WHERE d.id = dataset
    ON CONFLICT (dataset_id, kind) DO UPDATE
        SET encrypted = excluded.encrypted, value = excluded.value, changed_at = now(),
            endpoint = excluded.endpoint;
END $$;

-- A role as GRANT and REVOKE name it.
CREATE FUNCTION capi._grantee(role oid) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE role WHEN 0 THEN 'PUBLIC' ELSE role::regrole::text END
$$;

-- A new table has the rights that somebody made its owner's default, which are
-- not meant for what is in ours.
CREATE FUNCTION capi._revoke_all(relation oid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    grantee text;
BEGIN
    FOR grantee IN SELECT DISTINCT capi._grantee(a.grantee)
                     FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
                    WHERE c.oid = relation AND a.grantee <> c.relowner LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s CASCADE', relation::regclass, grantee);
    END LOOP;
END $$;

-- The row of capi.state is made with the first dataset, not at installation:
-- a restored dump brings its own, and with it the identity it was made under.
CREATE FUNCTION capi._init_state() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO capi.state (system_identifier, database_oid, snapshot, saved_at, segment)
    SELECT i.system_identifier, i.database_oid, '1:1:', now(), 0 FROM capi._identity() i
    ON CONFLICT DO NOTHING;
    PERFORM capi._maintain_logs(current_setting('capi.retention')::interval);
END $$;
