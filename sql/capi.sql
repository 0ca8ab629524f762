/* capi: conversions of a shop, from its own database to Meta's Conversions API */

-- complain if the script is sourced in psql rather than by CREATE EXTENSION
\echo Use "CREATE EXTENSION capi" to load this file. \quit

/*
 * Order of this file: tables, internal functions, what users call, views,
 * comments, privileges.  Functions whose name starts with an underscore are
 * internal: their public twin of the same name calls them with the caller's
 * role as first argument, as the owner of the extension (src/entry.c).
 */

----------------------------------------------------------------------------
-- Tables
----------------------------------------------------------------------------

CREATE SEQUENCE capi.dataset_id_seq AS int;
CREATE SEQUENCE capi.source_id_seq AS int;
CREATE SEQUENCE capi.request_id_seq;

CREATE TABLE capi.dataset (
    id              int PRIMARY KEY,
    name            text NOT NULL,
    dataset_id      text NOT NULL CHECK (dataset_id ~ '^[0-9]{1,20}$'),
    endpoint        text NOT NULL,
    api_version     text,
    test_event_code text,
    events_per_hour int NOT NULL CHECK (events_per_hour > 0),
    token_file      text,
    state           text NOT NULL DEFAULT 'active'
                    CHECK (state IN ('active', 'paused', 'credential', 'version')),
    reason          text,
    state_since     timestamptz NOT NULL DEFAULT pg_catalog.now(),
    created_at      timestamptz NOT NULL DEFAULT pg_catalog.now(),
    dropped_at      timestamptz
);
CREATE UNIQUE INDEX dataset_name_key ON capi.dataset (name) WHERE dropped_at IS NULL;

-- No grants at all, and a plain dump holds only what is encrypted (P8).
CREATE TABLE capi.secret (
    dataset_id   int NOT NULL REFERENCES capi.dataset (id) ON DELETE CASCADE,
    kind         text NOT NULL CHECK (kind IN ('access_token', 'app_secret')),
    encrypted    boolean NOT NULL,
    value        bytea NOT NULL,
    changed_at   timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (dataset_id, kind)
);

-- No foreign key or dependency leads from here to the shop's objects (P2).
CREATE TABLE capi.source (
    id              int PRIMARY KEY,
    name            text NOT NULL UNIQUE,
    table_name      regclass NOT NULL,
    dataset_id      int NOT NULL REFERENCES capi.dataset (id),
    event_name      text NOT NULL,
    action_source   text NOT NULL,
    query           text NOT NULL,
    search_path     text NOT NULL,
    run_as          regrole NOT NULL,
    key_columns     text[] NOT NULL,
    key_types       regtype[] NOT NULL,
    query_key_type  text NOT NULL,
    on_column       text,
    on_type         regtype,
    on_values       text[],
    hold            interval NOT NULL DEFAULT '0',
    fire_on_replica boolean NOT NULL DEFAULT false,
    paused          boolean NOT NULL DEFAULT false,
    broken_since    timestamptz,
    broken_reason   text,
    missed_captures bigint NOT NULL DEFAULT 0,
    attached_at     timestamptz NOT NULL DEFAULT pg_catalog.now(),
    detached_at     timestamptz
);

-- One row: how far the queue was read, where new rows go, whose copy this is.
CREATE TABLE capi.state (
    one               boolean PRIMARY KEY DEFAULT true CHECK (one),
    system_identifier text NOT NULL,
    database_oid      oid NOT NULL,
    snapshot          pg_snapshot NOT NULL,
    saved_at          timestamptz NOT NULL,
    segment           int NOT NULL
) WITH (fillfactor = 10);

-- Insert-only, no index: see doc/design.md "The queue".
CREATE TABLE capi.queue_0 (
    xid         xid8 NOT NULL,
    captured_at timestamptz NOT NULL,
    source_id   int NOT NULL,
    missed      int,
    key         text
) WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false);
CREATE TABLE capi.queue_1 (LIKE capi.queue_0)
    WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false);
CREATE TABLE capi.queue_2 (LIKE capi.queue_0)
    WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false);
CREATE TABLE capi.queue_3 (LIKE capi.queue_0)
    WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false);

CREATE TABLE capi.backlog (
    source_id       int NOT NULL,
    key             text COLLATE "C" NOT NULL,
    dataset_id      int NOT NULL,
    status          text NOT NULL CHECK (status IN ('queued', 'held', 'retrying')),
    captured_at     timestamptz NOT NULL,
    next_attempt_at timestamptz NOT NULL,
    attempts        int NOT NULL DEFAULT 0,
    event_id        text,
    event_name      text,
    event_time      timestamptz,
    value           numeric,
    currency        text,
    reason          text,
    error_code      int,
    error_subcode   int,
    request_id      bigint,
    PRIMARY KEY (source_id, key)
);
CREATE INDEX backlog_due ON capi.backlog (source_id, dataset_id, next_attempt_at);

CREATE TABLE capi.delivery (
    finished_at   timestamptz NOT NULL,
    captured_at   timestamptz NOT NULL,
    event_time    timestamptz,
    request_id    bigint,
    source_id     int NOT NULL,
    dataset_id    int,
    attempts      int NOT NULL,
    error_code    int,
    error_subcode int,
    outcome       text NOT NULL,
    key           text COLLATE "C" NOT NULL,
    event_id      text,
    event_name    text,
    value         numeric,
    currency      text,
    reason        text,
    problems      jsonb
) PARTITION BY RANGE (finished_at);
-- key first: one order is looked up by its key alone, too
CREATE INDEX delivery_key ON capi.delivery (key, source_id);
CREATE INDEX delivery_finished ON capi.delivery USING brin (finished_at);

CREATE TABLE capi.request (
    request_id    bigint NOT NULL,
    dataset_id    int NOT NULL,
    sent_at       timestamptz NOT NULL,
    duration_ms   int NOT NULL,
    events        int NOT NULL,
    bytes         int NOT NULL,
    http_status   int,
    error_code    int,
    error_subcode int,
    class         text NOT NULL,
    message       text,
    fbtrace_id    text,
    usage_percent int
) PARTITION BY RANGE (sent_at);
CREATE INDEX request_id_idx ON capi.request (request_id);
CREATE INDEX request_sent ON capi.request (dataset_id, sent_at);

SELECT pg_catalog.pg_extension_config_dump('capi.dataset_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('capi.source_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('capi.request_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('capi.dataset', '');
SELECT pg_catalog.pg_extension_config_dump('capi.secret', 'WHERE encrypted');
SELECT pg_catalog.pg_extension_config_dump('capi.source', '');
SELECT pg_catalog.pg_extension_config_dump('capi.state', '');
SELECT pg_catalog.pg_extension_config_dump('capi.queue_0', '');
SELECT pg_catalog.pg_extension_config_dump('capi.queue_1', '');
SELECT pg_catalog.pg_extension_config_dump('capi.queue_2', '');
SELECT pg_catalog.pg_extension_config_dump('capi.queue_3', '');
SELECT pg_catalog.pg_extension_config_dump('capi.backlog', '');

----------------------------------------------------------------------------
-- Internal functions in C
----------------------------------------------------------------------------

CREATE FUNCTION capi._installed() RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_installed';
CREATE FUNCTION capi._config_changed() RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_config_changed';
CREATE FUNCTION capi._rotate_hint(segment int) RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_rotate_hint';
CREATE FUNCTION capi._seal(secret text, OUT encrypted boolean, OUT value bytea)
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'capi_sql_seal';
CREATE FUNCTION capi._check_endpoint(endpoint text) RETURNS text
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'capi_sql_check_endpoint';
CREATE FUNCTION capi._check_query(query text, search_path text, run_as oid,
                                  key_types oid[])
    RETURNS text
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'capi_sql_check_query';
CREATE FUNCTION capi._check_values(type oid, vals text[]) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'capi_sql_check_values';
CREATE FUNCTION capi._identity(OUT system_identifier text, OUT database_oid oid)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'capi_sql_identity';
CREATE FUNCTION capi._slot(OUT preloaded boolean, OUT listed boolean,
                           OUT launcher_pid int, OUT dispatcher_pid int,
                           OUT state text, OUT since timestamptz,
                           OUT failures int, OUT missed bigint)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_slot';
CREATE FUNCTION capi._token_state(dataset int) RETURNS text
    LANGUAGE C VOLATILE STRICT SECURITY DEFINER AS 'MODULE_PATHNAME', 'capi_sql_token_state';
CREATE FUNCTION capi._rule_problem(source int) RETURNS text
    LANGUAGE C VOLATILE STRICT SECURITY DEFINER AS 'MODULE_PATHNAME', 'capi_sql_rule_problem';

CREATE FUNCTION capi.capture() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'capi_sql_capture';

----------------------------------------------------------------------------
-- Internal functions: look-ups whose errors name what is known
----------------------------------------------------------------------------

CREATE FUNCTION capi._dataset(name text) RETURNS capi.dataset
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_row capi.dataset;
BEGIN
    SELECT d.* INTO found_row FROM capi.dataset d
     WHERE d.name = _dataset.name AND d.dropped_at IS NULL;
    IF found_row.id IS NULL THEN
        RAISE EXCEPTION 'dataset "%" does not exist', name
            USING ERRCODE = 'undefined_object',
                  DETAIL = coalesce((SELECT 'Known datasets: '
                                         || string_agg(d.name, ', ' ORDER BY d.name) || '.'
                                      FROM capi.dataset d WHERE d.dropped_at IS NULL),
                                    'There are no datasets yet.'),
                  HINT = 'Create it with capi.create_dataset().';
    END IF;
    RETURN found_row;
END $$;

CREATE FUNCTION capi._source(name text) RETURNS capi.source
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_row capi.source;
BEGIN
    SELECT s.* INTO found_row FROM capi.source s
     WHERE s.name = _source.name AND s.detached_at IS NULL;
    IF found_row.id IS NULL THEN
        RAISE EXCEPTION 'source "%" does not exist', name
            USING ERRCODE = 'undefined_object',
                  DETAIL = coalesce((SELECT 'Known sources: '
                                         || string_agg(s.name, ', ' ORDER BY s.name) || '.'
                                      FROM capi.source s WHERE s.detached_at IS NULL),
                                    'There are no sources yet.'),
                  HINT = 'Attach a table with capi.attach().';
    END IF;
    RETURN found_row;
END $$;

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
                  DETAIL = 'A secret has 1 to 1024 visible ASCII characters, no spaces and no control characters.';
    END IF;
    IF access_token IS NOT NULL AND access_token_file IS NOT NULL THEN
        RAISE EXCEPTION 'access_token and access_token_file exclude each other'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Give the token itself, or the file that holds it.';
    END IF;
    IF access_token_file !~ '^/' OR access_token_file ~ '[[:cntrl:]]' THEN
        RAISE EXCEPTION 'access_token_file must be an absolute path'
            USING ERRCODE = 'invalid_parameter_value';
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

CREATE FUNCTION capi._store_secret(dataset int, what text, secret text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF secret IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO capi.secret AS s (dataset_id, kind, encrypted, value)
    SELECT dataset, what, e.encrypted, e.value FROM capi._seal(secret) e
    ON CONFLICT (dataset_id, kind) DO UPDATE
        SET encrypted = excluded.encrypted, value = excluded.value, changed_at = now();
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

----------------------------------------------------------------------------
-- Datasets
----------------------------------------------------------------------------

CREATE FUNCTION capi._create_dataset(caller oid, name text, dataset_id text,
        access_token text, access_token_file text, app_secret text, endpoint text,
        api_version text, test_event_code text, events_per_hour int)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    new_id int;
BEGIN
    PERFORM capi._check_name('dataset', name);
    IF dataset_id IS NULL OR endpoint IS NULL OR events_per_hour IS NULL THEN
        RAISE EXCEPTION 'dataset_id, endpoint and events_per_hour must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM capi._check_dataset_args(dataset_id, access_token, access_token_file,
                                     app_secret, api_version, test_event_code, events_per_hour);
    PERFORM capi._check_token_file(caller, access_token_file);
    endpoint := capi._check_endpoint(endpoint);
    LOCK TABLE capi.dataset IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM capi.dataset d
                WHERE d.name = _create_dataset.name AND d.dropped_at IS NULL) THEN
        RAISE EXCEPTION 'dataset "%" already exists', name
            USING ERRCODE = 'duplicate_object',
                  HINT = 'Change it with capi.alter_dataset().';
    END IF;
    new_id := nextval('capi.dataset_id_seq');
    INSERT INTO capi.dataset (id, name, dataset_id, endpoint, api_version,
                              test_event_code, events_per_hour, token_file)
    VALUES (new_id, name, dataset_id, endpoint, api_version, test_event_code,
            events_per_hour, access_token_file);
    PERFORM capi._store_secret(new_id, 'access_token', access_token);
    PERFORM capi._store_secret(new_id, 'app_secret', app_secret);
    PERFORM capi._init_state();
    PERFORM capi._config_changed();
END $$;

CREATE FUNCTION capi.create_dataset(name text, dataset_id text, access_token text = NULL,
        access_token_file text = NULL, app_secret text = NULL,
        endpoint text = 'https://graph.facebook.com', api_version text = NULL,
        test_event_code text = NULL, events_per_hour int = 200000)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner_secret';

CREATE FUNCTION capi._alter_dataset(caller oid, name text, dataset_id text,
        access_token text, access_token_file text, app_secret text, endpoint text,
        api_version text, test_event_code text, events_per_hour int)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.dataset := capi._dataset(name);
BEGIN
    -- an empty text takes an optional setting away
    PERFORM capi._check_dataset_args(dataset_id, access_token,
                                     nullif(access_token_file, ''), app_secret,
                                     nullif(api_version, ''), nullif(test_event_code, ''),
                                     events_per_hour);
    PERFORM capi._check_token_file(caller, nullif(access_token_file, ''));
    UPDATE capi.dataset d
       SET dataset_id = coalesce(_alter_dataset.dataset_id, d.dataset_id),
           endpoint = coalesce(capi._check_endpoint(_alter_dataset.endpoint), d.endpoint),
           api_version = nullif(coalesce(_alter_dataset.api_version, d.api_version), ''),
           test_event_code = nullif(coalesce(_alter_dataset.test_event_code, d.test_event_code), ''),
           events_per_hour = coalesce(_alter_dataset.events_per_hour, d.events_per_hour),
           token_file = CASE WHEN access_token IS NOT NULL THEN NULL
                             ELSE nullif(coalesce(access_token_file, d.token_file), '') END
     WHERE d.id = old.id;
    IF access_token_file <> '' THEN
        DELETE FROM capi.secret s WHERE s.dataset_id = old.id AND s.kind = 'access_token';
    END IF;
    PERFORM capi._store_secret(old.id, 'access_token', access_token);
    PERFORM capi._store_secret(old.id, 'app_secret', app_secret);
    PERFORM capi._reactivate(old.id);
    PERFORM capi._config_changed();
END $$;

-- A changed dataset gets another chance, unless somebody paused it.
CREATE FUNCTION capi._reactivate(dataset int) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE capi.dataset d SET state = 'active', reason = NULL, state_since = now()
     WHERE d.id = dataset AND d.state IN ('credential', 'version');
END $$;

CREATE FUNCTION capi.alter_dataset(name text, dataset_id text = NULL, access_token text = NULL,
        access_token_file text = NULL, app_secret text = NULL, endpoint text = NULL,
        api_version text = NULL, test_event_code text = NULL, events_per_hour int = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner_secret';

CREATE FUNCTION capi._set_access_token(caller oid, name text, access_token text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.dataset := capi._dataset(name);
BEGIN
    IF access_token IS NULL THEN
        RAISE EXCEPTION 'access_token must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM capi._check_dataset_args(NULL, access_token, NULL, NULL, NULL, NULL, NULL);
    PERFORM capi._store_secret(old.id, 'access_token', access_token);
    UPDATE capi.dataset d SET token_file = NULL WHERE d.id = old.id;
    -- rotation resumes a paused dataset too (DESIGN 4.1)
    UPDATE capi.dataset d SET state = 'active', reason = NULL, state_since = now()
     WHERE d.id = old.id AND d.state <> 'active';
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.set_access_token(name text, access_token text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner_secret';

CREATE FUNCTION capi._pause_dataset(caller oid, name text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.dataset := capi._dataset(name);
BEGIN
    UPDATE capi.dataset d
       SET state = 'paused', reason = 'paused by ' || pg_get_userbyid(caller), state_since = now()
     WHERE d.id = old.id AND d.state <> 'paused';
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.pause_dataset(name text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi._resume_dataset(caller oid, name text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.dataset := capi._dataset(name);
BEGIN
    UPDATE capi.dataset d SET state = 'active', reason = NULL, state_since = now()
     WHERE d.id = old.id AND d.state <> 'active';
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.resume_dataset(name text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi._drop_dataset(caller oid, name text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old capi.dataset := capi._dataset(name);
    users text;
BEGIN
    LOCK TABLE capi.source IN SHARE MODE;
    SELECT string_agg(s.name, ', ' ORDER BY s.name) INTO users
      FROM capi.source s WHERE s.dataset_id = old.id AND s.detached_at IS NULL;
    IF users IS NOT NULL THEN
        RAISE EXCEPTION 'dataset "%" is used by sources', name
            USING ERRCODE = 'dependent_objects_still_exist',
                  DETAIL = 'Sources: ' || users || '.',
                  HINT = 'Detach them, or give them another dataset with capi.alter_source().';
    END IF;
    -- the row stays for the names in the delivery log; the secrets go
    DELETE FROM capi.secret s WHERE s.dataset_id = old.id;
    UPDATE capi.dataset d SET dropped_at = now() WHERE d.id = old.id;
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.drop_dataset(name text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

----------------------------------------------------------------------------
-- Sources
----------------------------------------------------------------------------

CREATE FUNCTION capi._check_source_args(event_name text, action_source text, hold interval)
    RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF event_name = '' OR length(event_name) > 50 OR event_name ~ '[[:cntrl:]]' THEN
        RAISE EXCEPTION 'invalid event_name'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'An event name has 1 to 50 characters and no control characters.';
    END IF;
    IF action_source NOT IN ('email', 'website', 'app', 'phone_call', 'chat', 'physical_store',
                             'system_generated', 'business_messaging', 'other') THEN
        RAISE EXCEPTION 'unknown action_source "%"', left(action_source, 40)
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Known values: app, business_messaging, chat, email, other, phone_call, physical_store, system_generated, website.';
    END IF;
    IF hold < '0'::interval OR hold > '6 days'::interval THEN
        RAISE EXCEPTION 'hold must be between 0 and 6 days'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Meta takes events for 7 days; a held event must still be young enough to send.';
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
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN found_columns;
END $$;

CREATE FUNCTION capi._column_type(tab regclass, col text) RETURNS regtype
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_type regtype;
BEGIN
    SELECT a.atttypid INTO found_type FROM pg_attribute a
     WHERE a.attrelid = tab AND a.attname = col AND a.attnum > 0 AND NOT a.attisdropped;
    IF found_type IS NULL THEN
        RAISE EXCEPTION 'column "%" of table "%" does not exist', col, tab
            USING ERRCODE = 'undefined_column',
                  DETAIL = (SELECT 'Known columns: ' || string_agg(a.attname, ', ' ORDER BY a.attnum) || '.'
                              FROM pg_attribute a
                             WHERE a.attrelid = tab AND a.attnum > 0 AND NOT a.attisdropped);
    END IF;
    RETURN found_type;
END $$;

CREATE FUNCTION capi._column_types(tab regclass, cols text[]) RETURNS regtype[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(capi._column_type(tab, c) ORDER BY n)
      FROM unnest(cols) WITH ORDINALITY AS u (c, n)
$$;

CREATE FUNCTION capi._check_table(caller oid, tab regclass) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind "char";
    persistence "char";
    space oid;
BEGIN
    IF tab IS NULL THEN
        RAISE EXCEPTION 'table_name must not be null' USING ERRCODE = 'null_value_not_allowed';
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
                  DETAIL = 'Attaching puts a trigger on the table and needs the TRIGGER privilege on it.';
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

-- One trigger for all sources of a table; ALWAYS when one of them wants replicas.
CREATE FUNCTION capi._sync_trigger(tab regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted boolean;
    always boolean;
    enabled "char";
BEGIN
    SELECT count(*) > 0, coalesce(bool_or(s.fire_on_replica), false) INTO wanted, always
      FROM capi.source s WHERE s.table_name = tab AND s.detached_at IS NULL;
    SELECT t.tgenabled INTO enabled FROM pg_trigger t
     WHERE t.tgrelid = tab AND t.tgname = 'capi_capture';
    IF NOT wanted THEN
        IF enabled IS NOT NULL THEN
            EXECUTE format('DROP TRIGGER capi_capture ON %s', tab);
        END IF;
        RETURN;
    END IF;
    IF enabled IS NULL THEN
        EXECUTE format('CREATE TRIGGER capi_capture AFTER INSERT OR UPDATE ON %s '
                       'FOR EACH ROW EXECUTE FUNCTION capi.capture()', tab);
        EXECUTE format('ALTER TRIGGER capi_capture ON %s DEPENDS ON EXTENSION capi', tab);
        enabled := 'O';
    END IF;
    IF always <> (enabled = 'A') THEN
        EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER capi_capture', tab,
                       CASE WHEN always THEN 'ALWAYS' ELSE '' END);
    END IF;
END $$;

CREATE FUNCTION capi._attach(caller oid, path text, source text, table_name regclass, dataset text,
        event_name text, query text, key_columns text[], on_column text, on_values text[],
        action_source text, hold interval, fire_on_replica boolean)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    target capi.dataset;
    role regrole;
    keys text[];
    key_kinds regtype[];
    on_kind regtype;
    query_key text;
    old capi.source;
BEGIN
    PERFORM capi._check_name('source', source);
    PERFORM capi._check_table(caller, table_name);
    PERFORM capi._check_source_args(event_name, action_source, hold);
    IF event_name IS NULL OR action_source IS NULL OR hold IS NULL OR fire_on_replica IS NULL THEN
        RAISE EXCEPTION 'event_name, action_source, hold and fire_on_replica must not be null'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF on_values IS NOT NULL AND on_column IS NULL THEN
        RAISE EXCEPTION 'on_values needs on_column'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Name the column that takes these values.';
    END IF;
    target := capi._dataset(dataset);
    keys := capi._key_columns(table_name, key_columns);
    key_kinds := capi._column_types(table_name, keys);
    on_kind := CASE WHEN on_column IS NOT NULL THEN capi._column_type(table_name, on_column) END;
    IF on_values IS NOT NULL THEN
        PERFORM capi._check_values(on_kind, on_values);
    END IF;
    role := capi._run_as(caller, table_name);
    IF query IS NULL THEN
        query := capi._usual_query(table_name, keys);
        RAISE NOTICE 'capi uses this query for source "%":%', source, E'\n' || query
            USING HINT = 'Pass your own as query, or change it with capi.alter_source().';
    END IF;
    query_key := capi._check_query(query, path, role, key_kinds);

    -- writers wait for us, so every row written after this returns is captured
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', table_name);
    SELECT s.* INTO old FROM capi.source s WHERE s.name = source FOR UPDATE;
    IF old.id IS NOT NULL AND old.detached_at IS NULL THEN
        RAISE EXCEPTION 'source "%" already exists', source
            USING ERRCODE = 'duplicate_object',
                  DETAIL = format('It is attached to table "%s".', old.table_name),
                  HINT = 'Change it with capi.alter_source(), or capi.detach() it first.';
    END IF;
    -- a name that was detached before keeps its id, and so its history (P5)
    DELETE FROM capi.source s WHERE s.id = old.id;
    INSERT INTO capi.source (id, name, table_name, dataset_id, event_name, action_source, query,
                             search_path, run_as, key_columns, key_types, query_key_type,
                             on_column, on_type, on_values, hold, fire_on_replica,
                             missed_captures)
    VALUES (coalesce(old.id, nextval('capi.source_id_seq')::int), source, table_name, target.id,
            event_name, action_source, query, path, role, keys, key_kinds, query_key,
            on_column, on_kind, on_values, hold, fire_on_replica,
            coalesce(old.missed_captures, 0));
    PERFORM capi._sync_trigger(table_name);
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.attach(source text, table_name regclass, dataset text,
        event_name text = 'Purchase', query text = NULL, key_columns text[] = NULL,
        on_column text = NULL, on_values text[] = NULL, action_source text = 'website',
        hold interval = '0', fire_on_replica boolean = false)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner_path';

-- Only who may attach to the table may change or detach what is attached.
CREATE FUNCTION capi._check_source_owner(caller oid, src capi.source) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_class c WHERE c.oid = src.table_name)
       AND NOT has_table_privilege(caller, src.table_name::oid, 'TRIGGER') THEN
        RAISE EXCEPTION 'permission denied for source "%"', src.name
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = format('It needs the TRIGGER privilege on table "%s".', src.table_name);
    END IF;
END $$;

CREATE FUNCTION capi._alter_source(caller oid, path text, source text, event_name text, query text,
        key_columns text[], on_column text, on_values text[], action_source text, hold interval,
        fire_on_replica boolean, dataset text)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    new capi.source := capi._source(source);
    columns_named boolean := key_columns IS NOT NULL OR on_column IS NOT NULL;
BEGIN
    PERFORM capi._check_source_owner(caller, new);
    PERFORM capi._check_table(caller, new.table_name);
    PERFORM capi._check_source_args(event_name, action_source, hold);
    new.event_name := coalesce(event_name, new.event_name);
    new.action_source := coalesce(action_source, new.action_source);
    new.hold := coalesce(hold, new.hold);
    new.fire_on_replica := coalesce(fire_on_replica, new.fire_on_replica);
    new.dataset_id := CASE WHEN dataset IS NULL THEN new.dataset_id ELSE (capi._dataset(dataset)).id END;
    new.key_columns := coalesce(key_columns, new.key_columns);
    -- '' and '{}' take the rule's column and values away
    new.on_column := nullif(coalesce(on_column, new.on_column), '');
    new.on_values := CASE WHEN on_column = '' OR on_values = '{}' THEN NULL
                          ELSE coalesce(on_values, new.on_values) END;
    -- names and types are read afresh: this also mends a rule that broke
    new.key_types := capi._column_types(new.table_name, new.key_columns);
    new.on_type := CASE WHEN new.on_column IS NOT NULL
                        THEN capi._column_type(new.table_name, new.on_column) END;
    IF new.on_values IS NOT NULL THEN
        PERFORM capi._check_values(new.on_type, new.on_values);
    END IF;
    IF query IS NOT NULL THEN
        new.query := query;
        new.search_path := path;
        new.run_as := capi._run_as(caller, new.table_name);
    END IF;
    new.query_key_type := capi._check_query(new.query, new.search_path, new.run_as, new.key_types);
    new.broken_since := NULL;
    new.broken_reason := NULL;
    UPDATE capi.source s
       SET (dataset_id, event_name, action_source, query, search_path, run_as, key_columns,
            key_types, query_key_type, on_column, on_type, on_values, hold, fire_on_replica,
            broken_since, broken_reason)
         = (new.dataset_id, new.event_name, new.action_source, new.query, new.search_path,
            new.run_as, new.key_columns, new.key_types, new.query_key_type, new.on_column,
            new.on_type, new.on_values, new.hold, new.fire_on_replica, NULL, NULL)
     WHERE s.id = new.id;
    PERFORM capi._sync_trigger(new.table_name);
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.alter_source(source text, event_name text = NULL, query text = NULL,
        key_columns text[] = NULL, on_column text = NULL, on_values text[] = NULL,
        action_source text = NULL, hold interval = NULL, fire_on_replica boolean = NULL,
        dataset text = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner_path';

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

----------------------------------------------------------------------------
-- A query for tables of usual shape
----------------------------------------------------------------------------

-- First of the usual names that the table has, quoted; null when it has none.
CREATE FUNCTION capi._pick(tab regclass, names text[]) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT quote_ident(a.attname)
      FROM unnest(names) WITH ORDINALITY AS u (name, n)
      JOIN pg_attribute a ON a.attrelid = tab AND lower(a.attname) = u.name
                         AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY u.n LIMIT 1
$$;

CREATE FUNCTION capi._usual_query(tab regclass, keys text[]) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lines text[];
    time_column text := capi._pick(tab, ARRAY['paid_at', 'placed_at', 'completed_at', 'ordered_at',
                                              'created_at', 'date_placed', 'created']);
BEGIN
    IF time_column IS NULL THEN
        RAISE EXCEPTION 'no column of table "%" looks like the time of the order', tab
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Give the query yourself, with a column event_time.';
    END IF;
    SELECT array_agg('o.' || u.col || CASE WHEN u.col = u.field THEN '' ELSE ' AS ' || u.field END
                     ORDER BY u.n)
      INTO lines
      FROM (SELECT f.n, f.field, capi._pick(tab, f.names) AS col
              FROM (VALUES (1, 'em', ARRAY['email', 'customer_email', 'user_email', 'em']),
                           (2, 'ph', ARRAY['phone', 'phone_number', 'customer_phone', 'mobile', 'ph']),
                           (3, 'fn', ARRAY['first_name', 'firstname', 'fn']),
                           (4, 'ln', ARRAY['last_name', 'lastname', 'surname', 'ln']),
                           (5, 'ct', ARRAY['city', 'town', 'ct']),
                           (6, 'st', ARRAY['state_code', 'province', 'region', 'st']),
                           (7, 'zp', ARRAY['zip', 'zipcode', 'zip_code', 'postal_code', 'postcode', 'zp']),
                           (8, 'country', ARRAY['country', 'country_code']),
                           (9, 'external_id', ARRAY['customer_id', 'user_id', 'external_id']),
                           (10, 'client_ip_address', ARRAY['client_ip_address', 'ip_address', 'ip']),
                           (11, 'client_user_agent', ARRAY['client_user_agent', 'user_agent']),
                           (12, 'fbc', ARRAY['fbc']),
                           (13, 'fbp', ARRAY['fbp']),
                           (14, 'value', ARRAY['total', 'grand_total', 'total_amount', 'amount', 'total_price', 'value']),
                           (15, 'currency', ARRAY['currency', 'currency_code'])
                   ) AS f (n, field, names)) AS u
     WHERE u.col IS NOT NULL;
    RETURN 'SELECT '
        || CASE WHEN cardinality(keys) = 1 THEN 'o.' || quote_ident(keys[1])
                ELSE 'ROW(' || (SELECT string_agg('o.' || quote_ident(k), ', ' ORDER BY n)
                                  FROM unnest(keys) WITH ORDINALITY AS u (k, n)) || ')' END
        || ' AS key,' || E'\n       o.' || time_column || ' AS event_time'
        || coalesce((SELECT string_agg(E',\n       ' || l, '' ORDER BY n)
                       FROM unnest(lines) WITH ORDINALITY AS u (l, n)), '')
        || E'\n  FROM ' || tab::text || ' AS o';
END $$;

CREATE FUNCTION capi._suggest_query(caller oid, table_name regclass) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT capi._usual_query(table_name, capi._key_columns(table_name, NULL))
$$;

----------------------------------------------------------------------------
-- Doing
----------------------------------------------------------------------------

CREATE PROCEDURE capi.deliver(max_time interval = NULL)
    LANGUAGE C AS 'MODULE_PATHNAME', 'capi_sql_deliver';

CREATE FUNCTION capi.normalize(field text, value text, country text = NULL) RETURNS text
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'capi_sql_normalize';
CREATE FUNCTION capi.hash(field text, value text, country text = NULL) RETURNS text
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'capi_sql_hash';

-- Everything unread goes to the backlog, whatever its transaction ids mean
-- here; from then on this database is the one that sends.
CREATE FUNCTION capi._confirm_identity(caller oid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM capi.state) THEN
        PERFORM capi._init_state();
        RETURN;
    END IF;
    IF NOT capi._is_copy() THEN
        RETURN;
    END IF;
    LOCK TABLE ONLY capi.queue_0, ONLY capi.queue_1, ONLY capi.queue_2, ONLY capi.queue_3
        IN ACCESS EXCLUSIVE MODE;
    INSERT INTO capi.backlog (source_id, key, dataset_id, status, captured_at, next_attempt_at, reason)
    SELECT q.source_id, q.key, s.dataset_id, 'queued', q.captured_at, now(), 'restored copy'
      FROM (SELECT DISTINCT ON (u.source_id, u.key) u.*
              FROM capi._queue u WHERE u.key IS NOT NULL
             ORDER BY u.source_id, u.key, u.captured_at) q
      JOIN capi.source s ON s.id = q.source_id
     WHERE NOT EXISTS (SELECT FROM capi.delivery d
                        WHERE d.source_id = q.source_id AND d.key = q.key)
    ON CONFLICT DO NOTHING;
    TRUNCATE ONLY capi.queue_0, ONLY capi.queue_1, ONLY capi.queue_2, ONLY capi.queue_3;
    UPDATE capi.state st
       SET (system_identifier, database_oid) = (SELECT i.system_identifier, i.database_oid
                                                  FROM capi._identity() i),
           snapshot = pg_current_snapshot(), saved_at = now();
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.confirm_identity()
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi._redrive(caller oid, source text, status text, since timestamptz) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    only_source int := (capi._source(source)).id;
    moved bigint;
BEGIN
    IF status IS NULL OR status NOT IN ('rejected', 'expired', 'ignored') THEN
        RAISE EXCEPTION 'cannot redrive events with status "%"', status
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Known values: rejected, expired, ignored.';
    END IF;
    WITH gone AS (
        DELETE FROM capi.delivery d
         USING capi.source s
         WHERE s.id = d.source_id AND s.detached_at IS NULL
           AND d.outcome = status
           AND (only_source IS NULL OR d.source_id = only_source)
           AND (since IS NULL OR d.captured_at >= since)
        RETURNING d.*, s.dataset_id AS source_dataset)
    INSERT INTO capi.backlog (source_id, key, dataset_id, status, captured_at, next_attempt_at, reason)
    SELECT g.source_id, g.key, g.source_dataset, 'queued', g.captured_at, now(), 'redriven'
      FROM gone g
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS moved = ROW_COUNT;
    PERFORM capi._config_changed();
    RETURN moved;
END $$;
CREATE FUNCTION capi.redrive(source text = NULL, status text = 'rejected', since timestamptz = NULL)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi.suggest_query(table_name regclass)
    RETURNS text LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi.preview(source text, order_key text = NULL, max_rows int = 10)
    RETURNS TABLE (order_key text, outcome text, reason text, event jsonb, problems text[])
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_preview';

-- Partitions of the logs: the next one is always there before it is needed.
-- CREATE and ATTACH, so that a running pg_dump is not waited for.
CREATE FUNCTION capi._add_partition(parent text, from_time timestamptz, until_time timestamptz)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    child text := parent || to_char(from_time AT TIME ZONE 'UTC', '"_p"YYYYMMDD"_"HH24MI');
BEGIN
    EXECUTE format('CREATE TABLE capi.%I (LIKE capi.%I INCLUDING DEFAULTS)', child, parent);
    EXECUTE format('ALTER TABLE capi.%I ATTACH PARTITION capi.%I FOR VALUES FROM (%L) TO (%L)',
                   parent, child, from_time, until_time);
END $$;

CREATE FUNCTION capi._bound(partition oid, which int) RETURNS timestamptz
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (regexp_match(pg_get_expr(c.relpartbound, c.oid),
                         '\(''([^'']+)''\) TO \(''([^'']+)''\)'))[which]::timestamptz
      FROM pg_class c WHERE c.oid = partition
$$;

CREATE FUNCTION capi._maintain_logs(keep interval) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
    parent text;
    child record;
    last_end timestamptz;
    step interval := greatest('1 day'::interval, date_trunc('day', keep / 3));
BEGIN
    FOREACH parent IN ARRAY ARRAY['delivery', 'request'] LOOP
        SELECT max(capi._bound(i.inhrelid, 2)) INTO last_end
          FROM pg_inherits i WHERE i.inhparent = ('capi.' || parent)::regclass;
        IF last_end IS NULL OR last_end <= now() THEN
            last_end := date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '1 day';
            PERFORM capi._add_partition(parent, last_end, last_end + step + interval '1 day');
            last_end := last_end + step + interval '1 day';
        END IF;
        IF last_end < now() + step / 2 THEN
            PERFORM capi._add_partition(parent, last_end, last_end + step);
        END IF;
        FOR child IN SELECT i.inhrelid::regclass AS rel
                       FROM pg_inherits i
                      WHERE i.inhparent = ('capi.' || parent)::regclass
                        AND capi._bound(i.inhrelid, 2) < now() - keep LOOP
            EXECUTE format('DROP TABLE %s', child.rel);
        END LOOP;
    END LOOP;
END $$;

----------------------------------------------------------------------------
-- Seeing
----------------------------------------------------------------------------

CREATE VIEW capi._queue AS
    SELECT q.xid, q.captured_at, q.source_id, q.missed, q.key FROM capi.queue_0 q
    UNION ALL
    SELECT q.xid, q.captured_at, q.source_id, q.missed, q.key FROM capi.queue_1 q
    UNION ALL
    SELECT q.xid, q.captured_at, q.source_id, q.missed, q.key FROM capi.queue_2 q
    UNION ALL
    SELECT q.xid, q.captured_at, q.source_id, q.missed, q.key FROM capi.queue_3 q;

-- Is this database a restored or cloned copy that has not been confirmed?
CREATE FUNCTION capi._is_copy() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT st.system_identifier <> i.system_identifier
                         OR st.database_oid <> i.database_oid
                       FROM capi.state st, capi._identity() i), false)
$$;

-- Captured, not yet known to backlog or delivery.
CREATE VIEW capi._unread AS
    SELECT q.captured_at, q.source_id, q.missed, q.key COLLATE "C" AS key
      FROM capi._queue q
     WHERE NOT pg_catalog.pg_visible_in_snapshot(q.xid,
               (SELECT CASE WHEN capi._is_copy() THEN '1:1:'::pg_catalog.pg_snapshot
                            ELSE st.snapshot END FROM capi.state st));

CREATE VIEW capi._queued AS
    SELECT DISTINCT ON (q.source_id, q.key) q.source_id, q.key, q.captured_at
      FROM capi._unread q
     WHERE q.key IS NOT NULL
       AND NOT EXISTS (SELECT FROM capi.backlog b
                        WHERE b.source_id = q.source_id AND b.key = q.key)
       AND NOT EXISTS (SELECT FROM capi.delivery d
                        WHERE d.source_id = q.source_id AND d.key = q.key
                          AND (d.outcome <> 'ignored' OR d.captured_at >= q.captured_at))
     ORDER BY q.source_id, q.key, q.captured_at;

CREATE VIEW capi.delivery_status AS
    SELECT s.name AS source, e.key AS order_key, ds.name AS dataset,
           coalesce(e.event_name, s.event_name) AS event_name,
           coalesce(e.event_id, e.key) AS event_id, e.event_time, e.value, e.currency,
           e.status, e.reason, e.attempts, e.captured_at, e.next_attempt_at, e.finished_at,
           e.http_status, e.error_code, e.error_subcode, e.fbtrace_id, e.request_id
      FROM (SELECT d.source_id, d.key, d.dataset_id, d.event_name, d.event_id, d.event_time,
                   d.value, d.currency, d.outcome AS status, d.reason, d.attempts, d.captured_at,
                   NULL::timestamptz AS next_attempt_at, d.finished_at,
                   r.http_status, d.error_code, d.error_subcode, r.fbtrace_id, d.request_id
              FROM capi.delivery d
              LEFT JOIN capi.request r ON r.request_id = d.request_id
            UNION ALL
            SELECT b.source_id, b.key, b.dataset_id, b.event_name, b.event_id, b.event_time,
                   b.value, b.currency, b.status, b.reason, b.attempts, b.captured_at,
                   b.next_attempt_at, NULL,
                   r.http_status, b.error_code, b.error_subcode, r.fbtrace_id, b.request_id
              FROM capi.backlog b
              LEFT JOIN capi.request r ON r.request_id = b.request_id
            UNION ALL
            SELECT q.source_id, q.key, NULL, NULL, NULL, NULL, NULL, NULL,
                   'queued', NULL, 0, q.captured_at, NULL, NULL, NULL, NULL, NULL, NULL, NULL
              FROM capi._queued q) AS e
      JOIN capi.source s ON s.id = e.source_id
      LEFT JOIN capi.dataset ds ON ds.id = coalesce(e.dataset_id, s.dataset_id);

CREATE VIEW capi.request_log AS
    SELECT r.request_id, d.name AS dataset, r.sent_at, r.duration_ms, r.events, r.bytes,
           r.http_status, r.error_code, r.error_subcode,
           r.class IN ('transient', 'throttled') AS is_transient,
           r.message, r.fbtrace_id
      FROM capi.request r
      LEFT JOIN capi.dataset d ON d.id = r.dataset_id;

CREATE VIEW capi.source_status AS
    SELECT s.name AS source, s.table_name, d.name AS dataset,
           CASE WHEN p.problem IS NOT NULL OR s.broken_since IS NOT NULL THEN 'broken'
                WHEN s.paused THEN 'paused'
                ELSE 'active' END AS state,
           CASE WHEN p.problem IS NOT NULL THEN p.problem
                WHEN s.broken_since IS NOT NULL THEN s.broken_reason
                WHEN s.paused THEN 'paused with capi.pause()' END AS reason,
           (SELECT pg_catalog.count(*) FROM capi._queued q
             WHERE q.source_id = s.id AND q.captured_at > pg_catalog.now() - interval '1 hour')
           + (SELECT pg_catalog.count(*) FROM capi.backlog b
               WHERE b.source_id = s.id AND b.captured_at > pg_catalog.now() - interval '1 hour')
           + (SELECT pg_catalog.count(*) FROM capi.delivery v
               WHERE v.source_id = s.id AND v.finished_at > pg_catalog.now() - interval '1 hour'
                 AND v.captured_at > pg_catalog.now() - interval '1 hour') AS captured_1h,
           s.missed_captures
           + coalesce((SELECT pg_catalog.sum(u.missed) FROM capi._unread u
                        WHERE u.source_id = s.id AND u.missed IS NOT NULL), 0)::bigint AS missed_captures
      FROM capi.source s
      JOIN capi.dataset d ON d.id = s.dataset_id
     CROSS JOIN LATERAL (SELECT capi._rule_problem(s.id) AS problem) p
     WHERE s.detached_at IS NULL;

CREATE VIEW capi.health AS
    SELECT d.name AS dataset,
           CASE WHEN capi._is_copy() THEN 'copy'
                WHEN d.state <> 'active' THEN d.state
                WHEN t.problem IS NOT NULL THEN 'no token'
                WHEN pg_catalog.current_setting('capi.enabled') <> 'on' THEN 'disabled'
                ELSE 'active' END AS state,
           CASE WHEN capi._is_copy() THEN 'this database is a restored or cloned copy; capi.confirm_identity() lets it send'
                WHEN d.state <> 'active' THEN d.reason
                WHEN t.problem IS NOT NULL THEN t.problem
                WHEN pg_catalog.current_setting('capi.enabled') <> 'on' THEN 'capi.enabled is off' END AS reason,
           coalesce(w.queued, 0) AS queued,
           coalesce(w.retrying, 0) AS retrying,
           w.oldest AS oldest_waiting,
           w.oldest + interval '7 days' - pg_catalog.now() AS expires_in,
           coalesce(f.delivered, 0) AS delivered_1h,
           coalesce(f.rejected, 0) AS rejected_1h,
           (SELECT pg_catalog.max(r.sent_at) FROM capi.request r
             WHERE r.dataset_id = d.id AND r.class = 'accepted') AS last_delivered_at,
           (SELECT coalesce(r.message, r.class) FROM capi.request r
             WHERE r.dataset_id = d.id AND r.class <> 'accepted'
             ORDER BY r.sent_at DESC LIMIT 1) AS last_error,
           NULL::timestamptz AS token_expires_at,
           (SELECT r.usage_percent FROM capi.request r
             WHERE r.dataset_id = d.id ORDER BY r.sent_at DESC LIMIT 1) AS usage_percent
      FROM capi.dataset d
     CROSS JOIN LATERAL (SELECT CASE WHEN d.state = 'active' THEN capi._token_state(d.id) END AS problem) t
      LEFT JOIN (SELECT u.dataset_id,
                        pg_catalog.count(*) FILTER (WHERE u.status <> 'retrying') AS queued,
                        pg_catalog.count(*) FILTER (WHERE u.status = 'retrying') AS retrying,
                        pg_catalog.min(u.captured_at) AS oldest
                   FROM (SELECT b.dataset_id, b.status, b.captured_at FROM capi.backlog b
                         UNION ALL
                         SELECT s.dataset_id, 'queued', q.captured_at
                           FROM capi._queued q JOIN capi.source s ON s.id = q.source_id) u
                  GROUP BY u.dataset_id) w ON w.dataset_id = d.id
      LEFT JOIN (SELECT v.dataset_id,
                        pg_catalog.count(*) FILTER (WHERE v.outcome = 'delivered') AS delivered,
                        pg_catalog.count(*) FILTER (WHERE v.outcome = 'rejected') AS rejected
                   FROM capi.delivery v
                  WHERE v.finished_at > pg_catalog.now() - interval '1 hour'
                  GROUP BY v.dataset_id) f ON f.dataset_id = d.id
     WHERE d.dropped_at IS NULL;

CREATE FUNCTION capi.diagnose()
    RETURNS TABLE ("check" text, ok boolean, detail text, hint text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    slot record;
    version text;
BEGIN
    SELECT * INTO slot FROM capi._slot();
    RETURN QUERY SELECT 'preloaded', slot.preloaded,
        CASE WHEN slot.preloaded THEN 'capi is in shared_preload_libraries.'
             ELSE 'capi is not in shared_preload_libraries: no worker sends.' END,
        CASE WHEN NOT slot.preloaded
             THEN 'Add capi to shared_preload_libraries and restart, or run CALL capi.deliver() regularly.' END;
    RETURN QUERY SELECT 'listed', slot.listed,
        format('Database "%s" is %s capi.databases.', current_database(),
               CASE WHEN slot.listed THEN 'in' ELSE 'not in' END),
        CASE WHEN NOT slot.listed
             THEN format('ALTER SYSTEM SET capi.databases = %L; SELECT pg_reload_conf();',
                         concat_ws(',', nullif(current_setting('capi.databases', true), ''), current_database())) END;
    RETURN QUERY SELECT 'dispatcher', slot.dispatcher_pid IS NOT NULL,
        CASE WHEN slot.dispatcher_pid IS NOT NULL THEN format('The dispatcher runs as process %s.', slot.dispatcher_pid)
             ELSE format('No dispatcher runs for this database; state: %s, failed starts in a row: %s.',
                         coalesce(slot.state, 'none'), coalesce(slot.failures, 0)) END,
        CASE WHEN slot.dispatcher_pid IS NULL AND slot.preloaded AND slot.listed
             THEN 'See the server log, and max_worker_processes.' END;
    RETURN QUERY SELECT 'enabled', current_setting('capi.enabled') = 'on',
        format('capi.enabled is %s.', current_setting('capi.enabled')),
        CASE WHEN current_setting('capi.enabled') <> 'on'
             THEN 'ALTER SYSTEM SET capi.enabled = on; SELECT pg_reload_conf();' END;
    RETURN QUERY SELECT 'identity', NOT capi._is_copy(),
        CASE WHEN capi._is_copy() THEN 'This database is a restored or cloned copy and sends nothing.'
             ELSE 'This database is the one its datasets were created in.' END,
        CASE WHEN capi._is_copy() THEN 'If it is now the shop''s own: SELECT capi.confirm_identity();' END;
    RETURN QUERY SELECT 'captures', coalesce(slot.missed, 0) = 0,
        format('%s rows could not be noted in the queue since the server started.', coalesce(slot.missed, 0)),
        CASE WHEN slot.missed > 0 THEN 'Somebody held exclusive locks on capi''s queue tables; look for the missing orders.' END;
    SELECT e.extversion INTO version FROM pg_extension e WHERE e.extname = 'capi';
    RETURN QUERY SELECT 'version', version = capi._library_version(),
        format('The library is %s, the extension in this database is %s.', capi._library_version(), version),
        CASE WHEN version <> capi._library_version()
             THEN 'Restart the server to load the new library, then ALTER EXTENSION capi UPDATE.' END;
    RETURN QUERY SELECT 'sources', count(*) FILTER (WHERE s.state = 'broken') = 0,
        coalesce('Broken: ' || string_agg(format('%s (%s)', s.source, s.reason), '; ')
                     FILTER (WHERE s.state = 'broken') || '.',
                 format('%s sources attached, none broken.', count(*))),
        CASE WHEN count(*) FILTER (WHERE s.state = 'broken') > 0
             THEN 'Mend the rule or the query with capi.alter_source(); waiting events go on by themselves.' END
      FROM capi.source_status s;
    RETURN QUERY SELECT 'dataset ' || h.dataset, h.state = 'active',
        CASE WHEN h.state = 'active' THEN format('%s waiting, %s delivered in the last hour.',
                                                 h.queued + h.retrying, h.delivered_1h)
             ELSE format('State %s: %s.', h.state, coalesce(h.reason, 'no reason given')) END,
        CASE h.state WHEN 'paused' THEN 'SELECT capi.resume_dataset(' || quote_literal(h.dataset) || ');'
                     WHEN 'credential' THEN 'Set a working token with capi.set_access_token().'
                     WHEN 'no token' THEN 'Set a token with capi.set_access_token().'
                     WHEN 'version' THEN 'Set a current capi.api_version.' END
      FROM capi.health h ORDER BY h.dataset;
END $$;

CREATE FUNCTION capi._library_version() RETURNS text
    LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'capi_sql_library_version';

----------------------------------------------------------------------------
-- Privileges: nothing to PUBLIC; three duties to grant
----------------------------------------------------------------------------

CREATE FUNCTION capi._grant_access(caller oid, grantee regrole, duty text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    duties text[] := ARRAY['reader', 'operator', 'admin'];
    level int := array_position(duties, duty);
    item record;
BEGIN
    IF level IS NULL THEN
        RAISE EXCEPTION 'unknown duty "%"', left(duty, 40)
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Known duties: reader, operator, admin.';
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA capi TO %s', grantee);
    FOR item IN SELECT * FROM capi._duties() d WHERE array_position(duties, d.duty) <= level LOOP
        EXECUTE format('GRANT %s ON %s %s TO %s', item.privilege, item.kind, item.object, grantee);
    END LOOP;
END $$;

-- Who may do what, as one table: reader < operator < admin.
CREATE FUNCTION capi._duties()
    RETURNS TABLE (duty text, privilege text, kind text, object text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('reader', 'SELECT', 'TABLE', 'capi.delivery_status'),
           ('reader', 'SELECT', 'TABLE', 'capi.request_log'),
           ('reader', 'SELECT', 'TABLE', 'capi.source_status'),
           ('reader', 'SELECT', 'TABLE', 'capi.health'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi.diagnose()'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi.normalize(text, text, text)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi.hash(text, text, text)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._is_copy()'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._rule_problem(int)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._token_state(int)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._identity()'),
           ('operator', 'EXECUTE', 'PROCEDURE', 'capi.deliver(interval)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.pause_dataset(text)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.resume_dataset(text)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.pause(text)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.resume(text)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.redrive(text, text, timestamptz)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.preview(text, text, int)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.create_dataset(text, text, text, text, text, text, text, text, int)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.alter_dataset(text, text, text, text, text, text, text, text, int)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.set_access_token(text, text)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.drop_dataset(text)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.attach(text, regclass, text, text, text, text[], text, text[], text, interval, boolean)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.alter_source(text, text, text, text[], text, text[], text, interval, boolean, text)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.detach(text)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.suggest_query(regclass)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.confirm_identity()'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.grant_access(regrole, text)')
$$;
CREATE FUNCTION capi.grant_access(grantee regrole, duty text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA capi FROM PUBLIC;
REVOKE ALL ON ALL PROCEDURES IN SCHEMA capi FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA capi FROM PUBLIC;
REVOKE ALL ON SCHEMA capi FROM PUBLIC;

----------------------------------------------------------------------------
-- Comments
----------------------------------------------------------------------------

COMMENT ON SEQUENCE capi.dataset_id_seq IS 'numbers of datasets';
COMMENT ON SEQUENCE capi.source_id_seq IS 'numbers of sources';
COMMENT ON SEQUENCE capi.request_id_seq IS 'numbers of requests';
COMMENT ON TABLE capi.dataset IS 'datasets of Meta that events go to';
COMMENT ON TABLE capi.secret IS 'access tokens and app secrets, encrypted under capi.key_file';
COMMENT ON TABLE capi.source IS 'rules that say when a row means an event, and queries that say what the event is';
COMMENT ON TABLE capi.state IS 'how far the queue was read, and whose copy of the database this is';
COMMENT ON TABLE capi.queue_0 IS 'segment of the queue: captured keys, insert-only';
COMMENT ON TABLE capi.queue_1 IS 'segment of the queue: captured keys, insert-only';
COMMENT ON TABLE capi.queue_2 IS 'segment of the queue: captured keys, insert-only';
COMMENT ON TABLE capi.queue_3 IS 'segment of the queue: captured keys, insert-only';
COMMENT ON TABLE capi.backlog IS 'events that wait: for a retry, a hold time, a paused or broken thing';
COMMENT ON TABLE capi.delivery IS 'one row per finished event with its outcome, partitioned by time';
COMMENT ON TABLE capi.request IS 'one row per HTTP request, partitioned by time';

COMMENT ON VIEW capi._queue IS 'all segments of the queue';
COMMENT ON VIEW capi._unread IS 'queue rows behind the saved cursor';
COMMENT ON VIEW capi._queued IS 'captured events that have neither an outcome nor a place in the backlog';
COMMENT ON VIEW capi.delivery_status IS 'one row per captured event: where it is, and what became of it';
COMMENT ON VIEW capi.request_log IS 'one row per HTTP request to Meta';
COMMENT ON VIEW capi.source_status IS 'one row per source: does it work, and what did it capture';
COMMENT ON VIEW capi.health IS 'one row per dataset: does it send, what waits, and why';

COMMENT ON FUNCTION capi.create_dataset(text, text, text, text, text, text, text, text, int) IS 'makes a dataset known, with its token';
COMMENT ON FUNCTION capi.alter_dataset(text, text, text, text, text, text, text, text, int) IS 'changes a dataset; null leaves a setting as it is, an empty text removes an optional one';
COMMENT ON FUNCTION capi.set_access_token(text, text) IS 'sets a new token; a dataset that was paused, or whose token was refused, goes on';
COMMENT ON FUNCTION capi.pause_dataset(text) IS 'stops sending to a dataset; its events wait';
COMMENT ON FUNCTION capi.resume_dataset(text) IS 'goes on sending to a dataset';
COMMENT ON FUNCTION capi.drop_dataset(text) IS 'forgets a dataset that no source uses; its history stays';
COMMENT ON FUNCTION capi.attach(text, regclass, text, text, text, text[], text, text[], text, interval, boolean) IS 'watches a table: when a row means an event, and which query reads it';
COMMENT ON FUNCTION capi.alter_source(text, text, text, text[], text, text[], text, interval, boolean, text) IS 'changes a source and checks it again; null leaves a setting as it is';
COMMENT ON FUNCTION capi.detach(text) IS 'stops watching; its history stays, waiting events become ignored';
COMMENT ON FUNCTION capi.pause(text) IS 'stops reading the orders of a source; captures go on and wait';
COMMENT ON FUNCTION capi.resume(text) IS 'goes on reading the orders of a source, also of a broken one';
COMMENT ON FUNCTION capi.suggest_query(regclass) IS 'a query for a table whose columns have usual names';
COMMENT ON FUNCTION capi.preview(text, text, int) IS 'what would be sent for real orders, without sending; runs the query as the caller';
COMMENT ON PROCEDURE capi.deliver(interval) IS 'delivers in this session until nothing is due or the time is over; needs no preload';
COMMENT ON FUNCTION capi.normalize(text, text, text) IS 'a value as Meta wants it before hashing; null if it cannot be used';
COMMENT ON FUNCTION capi.hash(text, text, text) IS 'SHA-256 in hexadecimal of the normalised value; null if it cannot be used';
COMMENT ON FUNCTION capi.confirm_identity() IS 'after restore or clone: yes, this copy may send';
COMMENT ON FUNCTION capi.redrive(text, text, timestamptz) IS 'sends finished events again: the rejected, expired or ignored ones';
COMMENT ON FUNCTION capi.diagnose() IS 'checks everything that can keep events from being sent, with hints';
COMMENT ON FUNCTION capi.grant_access(regrole, text) IS 'grants a role the duty of reader, operator or admin';
COMMENT ON FUNCTION capi.capture() IS 'trigger function of attached tables; capi.attach() creates the trigger';

-- internal functions have no overloads, so their names are enough
COMMENT ON FUNCTION capi._add_partition IS 'internal';
COMMENT ON FUNCTION capi._alter_dataset IS 'internal';
COMMENT ON FUNCTION capi._alter_source IS 'internal';
COMMENT ON FUNCTION capi._attach IS 'internal';
COMMENT ON FUNCTION capi._bound IS 'internal';
COMMENT ON FUNCTION capi._check_dataset_args IS 'internal';
COMMENT ON FUNCTION capi._check_endpoint IS 'internal';
COMMENT ON FUNCTION capi._check_name IS 'internal';
COMMENT ON FUNCTION capi._check_query IS 'internal';
COMMENT ON FUNCTION capi._check_source_args IS 'internal';
COMMENT ON FUNCTION capi._check_source_owner IS 'internal';
COMMENT ON FUNCTION capi._check_table IS 'internal';
COMMENT ON FUNCTION capi._check_token_file IS 'internal';
COMMENT ON FUNCTION capi._check_values IS 'internal';
COMMENT ON FUNCTION capi._column_type IS 'internal';
COMMENT ON FUNCTION capi._column_types IS 'internal';
COMMENT ON FUNCTION capi._config_changed IS 'internal';
COMMENT ON FUNCTION capi._confirm_identity IS 'internal';
COMMENT ON FUNCTION capi._create_dataset IS 'internal';
COMMENT ON FUNCTION capi._dataset IS 'internal';
COMMENT ON FUNCTION capi._detach IS 'internal';
COMMENT ON FUNCTION capi._drop_dataset IS 'internal';
COMMENT ON FUNCTION capi._duties IS 'internal';
COMMENT ON FUNCTION capi._grant_access IS 'internal';
COMMENT ON FUNCTION capi._identity IS 'internal';
COMMENT ON FUNCTION capi._init_state IS 'internal';
COMMENT ON FUNCTION capi._installed IS 'internal';
COMMENT ON FUNCTION capi._is_copy IS 'internal';
COMMENT ON FUNCTION capi._key_columns IS 'internal';
COMMENT ON FUNCTION capi._library_version IS 'internal';
COMMENT ON FUNCTION capi._maintain_logs IS 'internal';
COMMENT ON FUNCTION capi._pause IS 'internal';
COMMENT ON FUNCTION capi._pause_dataset IS 'internal';
COMMENT ON FUNCTION capi._pick IS 'internal';
COMMENT ON FUNCTION capi._reactivate IS 'internal';
COMMENT ON FUNCTION capi._redrive IS 'internal';
COMMENT ON FUNCTION capi._resume IS 'internal';
COMMENT ON FUNCTION capi._resume_dataset IS 'internal';
COMMENT ON FUNCTION capi._rotate_hint IS 'internal';
COMMENT ON FUNCTION capi._rule_problem IS 'internal';
COMMENT ON FUNCTION capi._run_as IS 'internal';
COMMENT ON FUNCTION capi._seal IS 'internal';
COMMENT ON FUNCTION capi._set_access_token IS 'internal';
COMMENT ON FUNCTION capi._slot IS 'internal';
COMMENT ON FUNCTION capi._source IS 'internal';
COMMENT ON FUNCTION capi._store_secret IS 'internal';
COMMENT ON FUNCTION capi._suggest_query IS 'internal';
COMMENT ON FUNCTION capi._sync_trigger IS 'internal';
COMMENT ON FUNCTION capi._token_state IS 'internal';
COMMENT ON FUNCTION capi._usual_query IS 'internal';

SELECT capi._installed();
