/* capi: conversions of a shop, from its own database to Meta's Conversions API */

-- complain if the script is sourced in psql rather than by CREATE EXTENSION
\echo Use "CREATE EXTENSION capi" to load this file. \quit

/*
 * Made by make from sql/capi/, in the order of SQL_PARTS in the Makefile.
 * Functions whose name starts with an underscore are internal: their public
 * twin of the same name calls them with the caller's role as first argument,
 * as the owner of the extension (src/base/entry.c).
 */

-- Whoever owns the schema could put functions of his own beside ours.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n
                     JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner
                    WHERE n.nspname = 'capi'
                      AND (r.rolsuper OR r.rolname = CURRENT_USER)) THEN
        RAISE EXCEPTION 'schema "capi" belongs to a role that is no superuser'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Drop or rename the schema, or ALTER SCHEMA capi OWNER TO CURRENT_USER, and look at what is in it.';
    END IF;
END $$;

----------------------------------------------------------------------------
-- The tables of the extension, and what of them a dump holds.
----------------------------------------------------------------------------

CREATE SEQUENCE capi.dataset_id_seq AS int;
CREATE SEQUENCE capi.source_id_seq AS int;
CREATE SEQUENCE capi.request_id_seq;
CREATE SEQUENCE capi.direct_event_id_seq;

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

-- No foreign key or dependency leads from here to the shop's objects (P2), and
-- none to capi.dataset: the dispatcher, which adds sources of capi.send(), would
-- wait for who is about to drop a dataset (P6).  Rows of datasets stay.
CREATE TABLE capi.source (
    id              int PRIMARY KEY,
    name            text NOT NULL UNIQUE,
    table_name      regclass NOT NULL,
    dataset_id      int NOT NULL,
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
    detached_at     timestamptz,
    time_zone       text,
    minor_units     text CHECK (minor_units ~ '^([0-4]|currency)$')
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

-- What capture turns to while a stranger waits for a lock on the tables above;
-- in a schema where only the owner of the extension can name a table.
CREATE SCHEMA capi_reserve;
CREATE TABLE capi_reserve.queue (LIKE capi.queue_0)
    WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false);
CREATE TABLE capi_reserve.source (LIKE capi.source, PRIMARY KEY (id));

CREATE FUNCTION capi._copy_source() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM capi_reserve.source c WHERE c.id = OLD.id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO capi_reserve.source SELECT NEW.*;
    END IF;
    RETURN NULL;
END $$;
-- Of the columns that capture reads.
CREATE TRIGGER copy_source
    AFTER INSERT OR DELETE OR UPDATE OF id, table_name, key_columns, key_types, query_key_type, on_column,
          on_type, on_values, fire_on_replica, detached_at
    ON capi.source FOR EACH ROW EXECUTE FUNCTION capi._copy_source();
ALTER TABLE capi.source ENABLE ALWAYS TRIGGER copy_source;

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

-- Events of capi.send() until they have their outcome: final JSON, hashed.  Who
-- adds one never meets another's: the same event given twice has two rows, and
-- one outcome.  The dispatcher alone deletes.  VACUUM does not shorten the file,
-- for which it would lock out those who add (capi._maintain_logs does).
CREATE TABLE capi.direct_event (
    source_id     int NOT NULL,
    key           text COLLATE "C" NOT NULL,
    id            bigint PRIMARY KEY,
    expires_at    timestamptz NOT NULL,
    event         bytea,
    event_id      text NOT NULL,
    event_name    text NOT NULL,
    event_time    timestamptz NOT NULL,
    value         numeric,
    currency      text,
    reason        text,
    expired       boolean NOT NULL,
    error_subcode int,
    problems      jsonb
) WITH (vacuum_truncate = off, toast.vacuum_truncate = off);
CREATE INDEX direct_event_key ON capi.direct_event (source_id, key);

-- Names of events that capi.send() met first, until the dispatcher has made
-- sources of them.  No index, nothing unique: who adds one waits for nobody.
CREATE TABLE capi.direct_name (
    source_id  int NOT NULL,
    dataset_id int NOT NULL,
    event_name text NOT NULL
) WITH (vacuum_truncate = off);
ALTER TABLE capi.direct_name REPLICA IDENTITY FULL;

-- What the web tier knows of an order, until it has its outcome; source_id 0
-- means every source.  Not in a dump: addresses and browsers are personal (P7).
-- A later call adds a row, so that none waits for another; the dispatcher alone
-- deletes.  VACUUM does not shorten the file, for which it would lock out a
-- checkout; capi.context_size bounds it.
CREATE TABLE capi.context (
    key       text COLLATE "C" NOT NULL,
    source_id int NOT NULL,
    set_at    timestamptz NOT NULL,
    consent   boolean,
    fields    jsonb NOT NULL
) WITH (vacuum_truncate = off);
-- a row stays in its page: capi._context_fields() keeps as much as fits
ALTER TABLE capi.context ALTER COLUMN key SET STORAGE MAIN, ALTER COLUMN fields SET STORAGE MAIN;
CREATE INDEX context_key ON capi.context (key, source_id, set_at);
ALTER TABLE capi.context REPLICA IDENTITY FULL;

-- The logs' indexes are those of their partitions (capi._add_partition): a dump
-- holds the partitions, and could not be restored if these had their indexes
-- from here.
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
SELECT pg_catalog.pg_extension_config_dump('capi_reserve.queue', '');
SELECT pg_catalog.pg_extension_config_dump('capi.direct_event_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('capi.direct_event', '');
SELECT pg_catalog.pg_extension_config_dump('capi.direct_name', '');
SELECT pg_catalog.pg_extension_config_dump('capi.backlog', '');

----------------------------------------------------------------------------
-- Internal functions in C.
----------------------------------------------------------------------------

CREATE FUNCTION capi._installed() RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_installed';
CREATE FUNCTION capi._config_changed() RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_config_changed';
CREATE FUNCTION capi._rotate_hint(segment int) RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_rotate_hint';
CREATE FUNCTION capi._unread_rows(snapshot text)
    RETURNS TABLE (xid xid8, captured_at timestamptz, source_id int, missed int, key text)
    LANGUAGE C STABLE STRICT ROWS 100 AS 'MODULE_PATHNAME', 'capi_sql_unread_rows';
CREATE FUNCTION capi._seal(secret text, OUT encrypted boolean, OUT value bytea)
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'capi_sql_seal';
CREATE FUNCTION capi._check_endpoint(endpoint text) RETURNS text
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'capi_sql_check_endpoint';
CREATE FUNCTION capi._check_query(query text, search_path text, run_as oid,
                                  key_types oid[], time_zone text)
    RETURNS text
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'capi_sql_check_query';
CREATE FUNCTION capi._check_values(type oid, vals text[]) RETURNS text[]
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'capi_sql_check_values';
CREATE FUNCTION capi._nearest(given text, known text[]) RETURNS text
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'capi_sql_nearest';
CREATE FUNCTION capi._identity(OUT system_identifier text, OUT database_oid oid)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'capi_sql_identity';
CREATE FUNCTION capi._slot(OUT preloaded boolean, OUT listed boolean,
                           OUT launcher_pid int, OUT dispatcher_pid int,
                           OUT state text, OUT since timestamptz,
                           OUT failures int, OUT missed bigint)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_slot';
CREATE FUNCTION capi._token_state(dataset int) RETURNS text
    LANGUAGE C VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'capi_sql_token_state';
CREATE FUNCTION capi._rule_problem(source int) RETURNS text
    LANGUAGE C VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'capi_sql_rule_problem';

CREATE FUNCTION capi._context_obstacle(with_source boolean) RETURNS text
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'capi_sql_context_obstacle';
CREATE FUNCTION capi._context_is_full() RETURNS boolean
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_context_is_full';

CREATE FUNCTION capi.capture() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'capi_sql_capture';

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
                  DETAIL = CASE known WHEN '{}' THEN 'There are no sources yet.'
                           ELSE 'Known sources: ' || array_to_string(known, ', ') || '.' END,
                  HINT = capi._hint(name, known, 'Attach a table with capi.attach().');
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
-- Datasets: where events go.
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
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'Leave endpoint and events_per_hour out to have their defaults.';
    END IF;
    PERFORM capi._check_dataset_args(dataset_id, access_token, access_token_file,
                                     app_secret, api_version, test_event_code, events_per_hour);
    PERFORM capi._check_token_file(caller, access_token_file);
    endpoint := capi._check_endpoint(endpoint);
    -- no lock on the table: the dispatcher would wait for it (P6)
    new_id := nextval('capi.dataset_id_seq');
    INSERT INTO capi.dataset (id, name, dataset_id, endpoint, api_version,
                              test_event_code, events_per_hour, token_file)
    VALUES (new_id, name, dataset_id, endpoint, api_version, test_event_code,
            events_per_hour, access_token_file)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'dataset "%" already exists', name
            USING ERRCODE = 'duplicate_object',
                  HINT = 'Change it with capi.alter_dataset().';
    END IF;
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

CREATE FUNCTION capi._has_secret(dataset capi.dataset) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT dataset.token_file IS NOT NULL
        OR EXISTS (SELECT FROM capi.secret s WHERE s.dataset_id = dataset.id)
$$;

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
    endpoint := capi._check_endpoint(endpoint);
    IF endpoint <> old.endpoint AND access_token IS NULL AND coalesce(access_token_file, '') = ''
       AND capi._has_secret(old) AND NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.oid = caller) THEN
        RAISE EXCEPTION 'a new endpoint needs the access token again'
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = 'The stored token is not sent to another host on the word of somebody who may not know it.',
                  HINT = 'Give access_token or access_token_file in the same call.';
    END IF;
    UPDATE capi.dataset d
       SET dataset_id = coalesce(_alter_dataset.dataset_id, d.dataset_id),
           endpoint = coalesce(_alter_dataset.endpoint, d.endpoint),
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
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'Use capi.pause_dataset() to stop sending.';
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
    -- who attaches to it holds its row until his transaction ends
    PERFORM FROM capi.dataset d WHERE d.id = old.id FOR UPDATE;
    SELECT string_agg(s.name, ', ' ORDER BY s.name) INTO users
      FROM capi._sources s
     WHERE s.dataset_id = old.id
       AND NOT EXISTS (SELECT FROM capi.source o WHERE o.id = s.id AND o.detached_at IS NOT NULL);
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

CREATE FUNCTION capi.test_dataset(name text, test_event_code text = NULL)
    RETURNS TABLE ("check" text, ok boolean, detail text)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_test_dataset';

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
    present record;
    child regclass;
BEGIN
    SELECT CASE WHEN bool_or(s.fire_on_replica) THEN 'A' WHEN count(*) > 0 THEN 'O' END
      INTO wanted
      FROM capi.source s
     WHERE s.detached_at IS NULL
       AND (s.table_name = tab OR s.table_name IN (SELECT a.relid FROM pg_partition_ancestors(tab) a));
    SELECT t.tgenabled AS enabled, t.tgparentid AS parent INTO present
      FROM pg_trigger t
     WHERE t.tgrelid = tab AND t.tgname = 'capi_capture'
       AND t.tgfoid = 'capi.capture()'::regprocedure;
    IF wanted IS NULL AND present.parent = 0 THEN
        EXECUTE format('DROP TRIGGER capi_capture ON %s', tab);
    ELSIF wanted IS NOT NULL AND present.enabled IS NULL THEN
        -- a copy takes the place of a partition's own
        FOR child IN SELECT t.tgrelid
                       FROM pg_partition_tree(tab) p JOIN pg_trigger t ON t.tgrelid = p.relid
                      WHERE t.tgname = 'capi_capture' AND t.tgparentid = 0 LOOP
            EXECUTE format('DROP TRIGGER capi_capture ON %s', child);
        END LOOP;
        EXECUTE format('CREATE TRIGGER capi_capture AFTER INSERT OR UPDATE ON %s '
                       'FOR EACH ROW EXECUTE FUNCTION capi.capture()', tab);
        EXECUTE format('ALTER TRIGGER capi_capture ON %s DEPENDS ON EXTENSION capi', tab);
        present.enabled := 'O';
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
        query := capi._usual_query(table_name, keys);
        RAISE NOTICE 'capi uses this query for source "%":%', source, E'\n' || query
            USING HINT = 'Pass your own as query, or change it with capi.alter_source().';
    END IF;
    query_key := capi._check_query(query, path, role, key_kinds, coalesce(time_zone, ''));

    -- writers wait for us, so every row written after this returns is captured
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', table_name);
    -- a name that was detached before keeps its id, and so its history (P5)
    DELETE FROM capi.source s WHERE s.name = source AND s.detached_at IS NOT NULL
    RETURNING s.* INTO old;
    INSERT INTO capi.source (id, name, table_name, dataset_id, event_name, action_source, query,
                             search_path, run_as, key_columns, key_types, query_key_type,
                             on_column, on_type, on_values, hold, fire_on_replica,
                             missed_captures, time_zone, minor_units)
    VALUES (coalesce(old.id, nextval('capi.source_id_seq')::int), source, table_name, target,
            event_name, action_source, query, path, role, keys, key_kinds, query_key,
            on_column, on_kind, on_values, hold, fire_on_replica,
            coalesce(old.missed_captures, 0), nullif(time_zone, ''), nullif(minor_units, ''))
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'source "%" already exists', source
            USING ERRCODE = 'duplicate_object',
                  DETAIL = (SELECT format('It is attached to table "%s".', s.table_name)
                              FROM capi.source s WHERE s.name = source),
                  HINT = 'Change it with capi.alter_source(), or capi.detach() it first.';
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
        fire_on_replica boolean, dataset text, time_zone text, minor_units text)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    new capi.source := capi._source(source);
    columns_named boolean := key_columns IS NOT NULL OR on_column IS NOT NULL;
BEGIN
    PERFORM capi._check_source_owner(caller, new);
    IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = new.table_name) THEN
        RAISE EXCEPTION 'the table of source "%" is gone', source
            USING ERRCODE = 'undefined_table',
                  DETAIL = 'A source belongs to one table; a new table of the same name is another one.',
                  HINT = 'capi.detach() the source and capi.attach() it again: it keeps its history.';
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
    new.broken_since := NULL;
    new.broken_reason := NULL;
    UPDATE capi.source s
       SET (dataset_id, event_name, action_source, query, search_path, run_as, key_columns,
            key_types, query_key_type, on_column, on_type, on_values, hold, fire_on_replica,
            broken_since, broken_reason, time_zone, minor_units)
         = (new.dataset_id, new.event_name, new.action_source, new.query, new.search_path,
            new.run_as, new.key_columns, new.key_types, new.query_key_type, new.on_column,
            new.on_type, new.on_values, new.hold, new.fire_on_replica, NULL, NULL,
            new.time_zone, new.minor_units)
     WHERE s.id = new.id;
    PERFORM capi._sync_trigger(new.table_name);
    PERFORM capi._config_changed();
END $$;
CREATE FUNCTION capi.alter_source(source text, event_name text = NULL, query text = NULL,
        key_columns text[] = NULL, on_column text = NULL, on_values text[] = NULL,
        action_source text = NULL, hold interval = NULL, fire_on_replica boolean = NULL,
        dataset text = NULL, time_zone text = NULL, minor_units text = NULL)
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
-- A query for tables of usual shape.
----------------------------------------------------------------------------

-- First of the usual names that the table has; null when it has none.
CREATE FUNCTION capi._pick(tab regclass, names text[]) RETURNS name
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.attname
      FROM unnest(names) WITH ORDINALITY AS u (name, n)
      JOIN pg_attribute a ON a.attrelid = tab AND a.attnum > 0 AND NOT a.attisdropped
                         AND replace(lower(a.attname), '_', '') = u.name
     ORDER BY u.n LIMIT 1
$$;

-- Usual names of columns, lower-case without underscores, best first.  Those of
-- a person or a place may stand in a table that the order refers to.
CREATE FUNCTION capi._usual_names()
    RETURNS TABLE (n int, field text, elsewhere boolean, names text[])
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES (1, 'em', true, '{email,emailaddress,customeremail,useremail,guestemail,contactemail,mail,em}'::text[]),
           (2, 'ph', true, '{phone,phonenumber,telephone,customerphone,mobile,mobilephone,tel,ph}'),
           (3, 'fn', true, '{firstname,givenname,customerfirstname,billingfirstname,forename,fn}'),
           (4, 'ln', true, '{lastname,familyname,customerlastname,billinglastname,surname,ln}'),
           (5, 'name', true, '{fullname,customername}'),
           (6, 'ct', true, '{city,town,billingcity,shippingcity,ct}'),
           (7, 'st', true, '{statecode,provincecode,state,province,region,countryarea,billingstate,shippingstate}'),
           (8, 'zp', true, '{zip,zipcode,postalcode,postcode,billingzip,billingpostalcode,billingpostcode,shippingzip,zp}'),
           (9, 'country', true, '{countrycode,country,countryiso,countryiso2,billingcountrycode,billingcountry,shippingcountry}'),
           (10, 'external_id', false, '{customerid,userid,accountid,buyerid,externalid}'),
           (11, 'client_ip_address', false, '{clientipaddress,customerip,ipaddress,lastipaddress,clientip,remoteip,ip}'),
           (12, 'client_user_agent', false, '{clientuseragent,useragent,browseruseragent}'),
           (13, 'fbc', false, '{fbc}'),
           (14, 'fbp', false, '{fbp}'),
           (15, 'fbclid', false, '{fbclid}'),
           (16, 'value', false, '{grandtotal,totalamount,totalinclvat,totalincltax,ordertotal,totalprice,totalgrossamount,total,amounttotal,amount,value}'),
           (17, 'currency', false, '{currency,currencycode,currencyiso}'),
           (18, 'order_id', false, '{ordernumber,number,orderno,reference,code}')
$$;

-- What the table refers to by one column: the billing address before the
-- customer, the customer before the shipping address, those before the rest.
CREATE FUNCTION capi._references(tab regclass)
    RETURNS TABLE (alias text, col name, target regclass, target_col name)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'r' || row_number() OVER (ORDER BY CASE WHEN a.attname ~* 'bill|invoice' THEN 1
                                                   WHEN a.attname ~* 'customer|user|buyer|account|client' THEN 2
                                                   WHEN a.attname ~* 'ship|deliver' THEN 4
                                                   ELSE 3 END, a.attnum),
           a.attname, c.confrelid::regclass, f.attname
      FROM pg_constraint c
      JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
      JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[1]
     WHERE c.conrelid = tab AND c.contype = 'f' AND cardinality(c.conkey) = 1
       AND c.confrelid <> c.conrelid
$$;

-- The code in a table of countries or states that the table refers to.
CREATE FUNCTION capi._code_of(tab regclass, alias text, pattern text, names text[]) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('(SELECT c.%s FROM %s AS c WHERE c.%I = %s.%I)', quote_ident(capi._pick(r.target, names)), r.target,
                  r.target_col, alias, r.col)
      FROM capi._references(tab) r JOIN pg_class k ON k.oid = r.target
     WHERE k.relname ~* pattern AND capi._pick(r.target, names) IS NOT NULL
     ORDER BY r.alias LIMIT 1
$$;

-- Every place of one field: in the table itself, in tables of codes beside it.
CREATE FUNCTION capi._places(tab regclass, alias text, field text, names text[]) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    code text := CASE field
        WHEN 'country' THEN capi._code_of(tab, alias, 'countr', '{iso,isocode,iso2,alpha2,code,countrycode,iso31661a2}')
        WHEN 'st' THEN capi._code_of(tab, alias, 'state|province|region', '{abbr,code,isocode}') END;
    col name := capi._pick(tab, names);
BEGIN
    RETURN coalesce(code, alias || '.' || quote_ident(col));
END $$;

-- The items of the order: a table that refers to it and counts something.
CREATE FUNCTION capi._items(tab regclass) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item record;
    id name;
    quantity name;
    price name;
BEGIN
    FOR item IN
        SELECT c.conrelid::regclass AS rel, a.attname AS col, f.attname AS order_col
          FROM pg_constraint c
          JOIN pg_class k ON k.oid = c.conrelid
          JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
          JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[1]
         WHERE c.confrelid = tab AND c.contype = 'f' AND cardinality(c.conkey) = 1 AND c.conrelid <> tab
         ORDER BY k.relname !~* 'item|line|position|product', k.relname
    LOOP
        id := capi._pick(item.rel, '{sku,productsku,variantsku,partnersku,upc,variantid,productid,itemid,articleid}');
        quantity := capi._pick(item.rel, '{quantity,qty,amount,count}');
        price := capi._pick(item.rel, '{unitprice,itemprice,unitpriceincltax,unitpricegrossamount,price}');
        CONTINUE WHEN id IS NULL OR quantity IS NULL;
        RETURN format(E'(SELECT jsonb_agg(jsonb_build_object(''id'', i.%I::text, ''quantity'', i.%I%s))\n'
                      '          FROM %s AS i WHERE i.%I = o.%I)',
                      id, quantity, coalesce(format(', ''item_price'', i.%I', price), ''),
                      item.rel, item.col, item.order_col);
    END LOOP;
    RETURN NULL;
END $$;

CREATE FUNCTION capi._usual_time(tab regclass, zone text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    col name := capi._pick(tab, '{paidat,orderplacedat,placedat,completedat,orderedat,purchasedat,dateplaced,dateorder,orderdate,createdat,datecreated,created,createdate}');
BEGIN
    IF col IS NULL THEN
        RAISE EXCEPTION 'no column of table "%" looks like the time of the order', tab
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Give the query yourself, with a column event_time.';
    END IF;
    RETURN format('o.%I', col)
        || CASE WHEN zone IS NOT NULL AND capi._column_type(tab, col) = 'timestamp'::regtype
                THEN format(' AT TIME ZONE %L', zone) ELSE '' END;
END $$;

-- Why an order would not be reported: flags of usual names.
CREATE FUNCTION capi._usual_reason(tab regclass) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'CASE ' || string_agg(format('WHEN %so.%I THEN %L', u.negate, a.attname, u.reason), ' ' ORDER BY u.n) || ' END'
      FROM (VALUES (1, '{istest,test,testmode,testorder}'::text[], '', 'test order'),
                   (2, '{isdraft,isdraftorder,draft}', '', 'draft'),
                   (3, '{marketingconsent,consent,hasconsent,trackingconsent}', 'NOT ', 'no consent')) AS u (n, names, negate, reason)
      JOIN pg_attribute a ON a.attrelid = tab AND a.attname = capi._pick(tab, u.names) AND a.atttypid = 'bool'::regtype
$$;

-- zone: of a naive time, null to leave it as it is.
CREATE FUNCTION capi._usual_query(tab regclass, keys text[], zone text DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lines text[] := ARRAY[
        CASE WHEN cardinality(keys) = 1 THEN format('o.%I', keys[1])
             ELSE 'ROW(' || (SELECT string_agg(format('o.%I', k), ', ' ORDER BY n)
                               FROM unnest(keys) WITH ORDINALITY AS u (k, n)) || ')' END || ' AS key',
        capi._usual_time(tab, zone) || ' AS event_time'];
    joins text := '';
    missing text := '';
    usual record;
    places text[];
    extra text;
    used text[] := '{}';
BEGIN
    FOR usual IN SELECT * FROM capi._usual_names() ORDER BY n LOOP
        places := array_remove(ARRAY[capi._places(tab, 'o', usual.field, usual.names)], NULL);
        IF usual.elsewhere THEN
            SELECT places || coalesce(array_agg(p.place ORDER BY r.alias), '{}'),
                   used || coalesce(array_agg(r.alias), '{}')
              INTO places, used
              FROM capi._references(tab) r
             CROSS JOIN LATERAL capi._places(r.target, r.alias, usual.field, usual.names) AS p (place)
             WHERE p.place IS NOT NULL;
        END IF;
        IF cardinality(places) = 0 THEN
            missing := missing || CASE WHEN usual.field IN ('em', 'value', 'currency')
                                       THEN E'\n-- no column was recognised as ' || usual.field ELSE '' END;
            CONTINUE;
        END IF;
        lines := lines || (CASE cardinality(places) WHEN 1 THEN places[1]
                                ELSE 'coalesce(' || (SELECT string_agg('nullif(' || p || '::text, '''')', ', ' ORDER BY n)
                                                       FROM unnest(places) WITH ORDINALITY AS u (p, n)) || ')' END
                           || CASE usual.field WHEN 'order_id' THEN '::text' ELSE '' END || ' AS ' || usual.field);
    END LOOP;
    extra := capi._items(tab);
    IF extra IS NOT NULL THEN
        lines := lines || (extra || ' AS contents');
    END IF;
    extra := capi._usual_reason(tab);
    IF extra IS NOT NULL THEN
        lines := lines || (extra || ' AS ignore_reason');
    END IF;
    SELECT coalesce(string_agg(format(E'\n  LEFT JOIN %s AS %s ON %s.%I = o.%I', r.target, r.alias, r.alias,
                                      r.target_col, r.col), '' ORDER BY r.alias), '')
      INTO joins FROM capi._references(tab) r WHERE r.alias = ANY (used);
    RETURN 'SELECT ' || array_to_string(lines, E',\n       ') || E'\n  FROM ' || tab::text || ' AS o' || joins || missing;
END $$;

CREATE FUNCTION capi._suggest_query(caller oid, table_name regclass) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN capi._usual_query(table_name, capi._key_columns(table_name, NULL), 'UTC');
END $$;

----------------------------------------------------------------------------
-- Browser context: what the shop's web tier knows of an order.
----------------------------------------------------------------------------

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
        IF field = 'fbclid' THEN
            -- SPEC 3.2: 1 when made on a server; the time the click was first seen, in ms
            CONTINUE WHEN context->>'fbc' IS NOT NULL;
            field := 'fbc';
            normal := format('fb.1.%s.%s', floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint, normal);
        END IF;
        normal := capi.normalize(field, normal);
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

CREATE FUNCTION capi._set_context(caller oid, order_key text, context jsonb, source text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept jsonb := capi._context_fields(context);
    said boolean := (context->>'consent')::boolean;
    wanted int := 0;
    obstacle text;
    -- no row of the table's type: to know that, the server would lock the table
    old_fields jsonb;
    old_consent boolean;
    old_set_at timestamptz;
BEGIN
    IF order_key IS NULL OR order_key = '' OR octet_length(order_key) > 1024 THEN
        RAISE EXCEPTION 'order_key must have 1 to 1024 bytes'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'It is the text of the value that the source''s query returns as key.';
    END IF;
    obstacle := capi._context_obstacle(source IS NOT NULL);
    IF obstacle IS NOT NULL THEN
        -- a checkout must not fail, nor fill the server's log
        RAISE NOTICE 'the browser context is not kept'
            USING ERRCODE = 'configuration_limit_exceeded', DETAIL = obstacle,
                  HINT = 'The order is reported without it.';
        RETURN;
    END IF;
    IF source IS NOT NULL THEN
        wanted := (capi._source(source)).id;
    END IF;
    -- a later call adds to an earlier one; reading what others write would fail a
    -- serializable transaction, whose row is put together with others when it is used
    IF current_setting('transaction_isolation') <> 'serializable' THEN
        SELECT c.fields, c.consent, c.set_at INTO old_fields, old_consent, old_set_at
          FROM capi.context c
         WHERE c.key = order_key AND c.source_id = wanted ORDER BY c.set_at DESC LIMIT 1;
        IF context->>'fbclid' IS NOT NULL AND context->>'fbc' IS NULL THEN
            kept := capi._keep_click(kept, old_fields);
        END IF;
        IF octet_length(old_fields::text) + octet_length(kept::text) < 6000 THEN
            kept := old_fields || kept;
        END IF;
        said := coalesce(said, old_consent);
    END IF;
    -- a page that is loaded again says the same again
    IF kept = old_fields AND said IS NOT DISTINCT FROM old_consent
       AND old_set_at > clock_timestamp() - interval '1 hour' THEN
        RETURN;
    END IF;
    INSERT INTO capi.context (key, source_id, set_at, consent, fields)
    VALUES (order_key, wanted, clock_timestamp(), said, kept);
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
            SELECT o.ctid FROM capi.context o
             WHERE o.set_at < now() - interval '1 hour'
               AND NOT EXISTS (SELECT FROM capi.backlog b
                                WHERE b.key = o.key AND o.source_id IN (0, b.source_id))
               AND NOT EXISTS (SELECT FROM capi._unread u
                                WHERE u.key = o.key AND o.source_id IN (0, u.source_id))
             ORDER BY o.set_at
             LIMIT least(100000, ceil(present * (1 - keep_bytes::numeric / bytes)))));
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;

CREATE FUNCTION capi.set_context(order_key text, context jsonb, source text = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

CREATE FUNCTION capi.pixel_event(source text, order_key text) RETURNS jsonb
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_pixel_event';

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

----------------------------------------------------------------------------
-- What users do: deliver, normalise, confirm, send again, preview.
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
    LOCK TABLE ONLY capi.queue_0, ONLY capi.queue_1, ONLY capi.queue_2, ONLY capi.queue_3,
               ONLY capi_reserve.queue IN ACCESS EXCLUSIVE MODE;
    PERFORM capi._adopt_event_names();
    INSERT INTO capi.backlog (source_id, key, dataset_id, status, captured_at, next_attempt_at, reason)
    SELECT q.source_id, q.key, s.dataset_id, 'queued', q.captured_at, now(), 'restored copy'
      FROM (SELECT DISTINCT ON (u.source_id, u.key) u.*
              FROM capi._queue u WHERE u.key IS NOT NULL
             ORDER BY u.source_id, u.key, u.captured_at) q
      JOIN capi.source s ON s.id = q.source_id
     WHERE NOT EXISTS (SELECT FROM capi.delivery d
                        WHERE d.source_id = q.source_id AND d.key = q.key)
    ON CONFLICT DO NOTHING;
    TRUNCATE ONLY capi.queue_0, ONLY capi.queue_1, ONLY capi.queue_2, ONLY capi.queue_3,
             ONLY capi_reserve.queue;
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
    only_source int := CASE WHEN source IS NOT NULL THEN (capi._source(source)).id END;
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
    RETURNS TABLE (order_key text, outcome text, reason text, event jsonb, problems text[],
                   fields jsonb)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_preview';

-- The same for one order or some, a row per value: easier to read in psql.  An
-- order that is no event has one row, which says so.
CREATE FUNCTION capi.preview_fields(source text, order_key text = NULL, max_rows int = 1)
    RETURNS TABLE (order_key text, field text, type text, raw text, normalised text, sent text, problem text)
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.order_key, f.field, f.type, f.raw, f.normalised, f.sent,
           CASE WHEN f.field IS NULL THEN concat_ws(': ', p.outcome, p.reason) ELSE f.problem END
      FROM capi.preview($1, $2, $3) p
      LEFT JOIN LATERAL jsonb_to_recordset(p.fields)
           AS f (field text, type text, raw text, normalised text, sent text, problem text) ON true
$$;

CREATE FUNCTION capi.match_quality(source text, since timestamptz = now() - interval '7 days')
    RETURNS TABLE (field text, orders bigint, given bigint, usable bigint, share numeric, problem text)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_match_quality';

----------------------------------------------------------------------------
-- Partitions of the logs.
----------------------------------------------------------------------------

-- Partitions of the logs: the next one is always there before it is needed.
-- Bounds are written and read in UTC: an abbreviation of a zone may be another's.
-- CREATE and ATTACH, so that a running pg_dump is not waited for.
CREATE FUNCTION capi._add_partition(parent text, from_time timestamptz, until_time timestamptz)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' SET timezone = 'UTC' AS $$
DECLARE
    child text := parent || to_char(from_time AT TIME ZONE 'UTC', '"_p"YYYYMMDD"_"HH24MI');
BEGIN
    EXECUTE format('CREATE TABLE capi.%I (LIKE capi.%I INCLUDING DEFAULTS)', child, parent);
    IF parent = 'delivery' THEN
        -- key first: one order is looked up by its key alone, too; hardly two
        -- rows are equal, so looking for equal ones at each split is idle
        EXECUTE format('CREATE INDEX ON capi.%I (key, source_id) WITH (deduplicate_items = off)', child);
        EXECUTE format('CREATE INDEX ON capi.%I USING brin (finished_at)', child);
        -- rows are deleted, which a publication of all tables must let us
        EXECUTE format('ALTER TABLE capi.%I REPLICA IDENTITY FULL', child);
    ELSE
        EXECUTE format('CREATE INDEX ON capi.%I (request_id)', child);
        EXECUTE format('CREATE INDEX ON capi.%I (dataset_id, sent_at)', child);
    END IF;
    EXECUTE format('ALTER TABLE capi.%I ATTACH PARTITION capi.%I FOR VALUES FROM (%L) TO (%L)',
                   parent, child, from_time, until_time);
END $$;

CREATE FUNCTION capi._bound(partition oid, which int) RETURNS timestamptz
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' SET timezone = 'UTC' AS $$
    SELECT (regexp_match(pg_get_expr(c.relpartbound, c.oid),
                         '\(''([^'']+)''\) TO \(''([^'']+)''\)'))[which]::timestamptz
      FROM pg_class c WHERE c.oid = partition
$$;

-- The partition that takes a row of that time; made now if it is missing.
CREATE FUNCTION capi._partition(parent text, at timestamptz, OUT oid oid, OUT lower timestamptz, OUT upper timestamptz)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    FOR attempt IN 1..2 LOOP
        SELECT i.inhrelid, capi._bound(i.inhrelid, 1), capi._bound(i.inhrelid, 2) INTO oid, lower, upper
          FROM pg_inherits i
         WHERE i.inhparent = ('capi.' || parent)::regclass
           AND capi._bound(i.inhrelid, 1) <= at AND capi._bound(i.inhrelid, 2) > at;
        EXIT WHEN oid IS NOT NULL;
        PERFORM capi._maintain_logs(current_setting('capi.retention')::interval);
    END LOOP;
END $$;

-- Gives the space of many events back when none is left.  By the index: under a
-- lock that keeps others out, a large empty table must not be read.
CREATE FUNCTION capi._shrink_direct_event() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
    IF pg_total_relation_size('capi.direct_event') < 16 * 1024 * 1024
       OR EXISTS (SELECT FROM capi.direct_event e ORDER BY e.source_id, e.key LIMIT 1) THEN
        RETURN;
    END IF;
    LOCK TABLE ONLY capi.direct_event IN ACCESS EXCLUSIVE MODE NOWAIT;
    IF NOT EXISTS (SELECT FROM capi.direct_event e ORDER BY e.source_id, e.key LIMIT 1) THEN
        TRUNCATE ONLY capi.direct_event;
    END IF;
EXCEPTION WHEN lock_not_available THEN
    NULL;
END $$;

CREATE FUNCTION capi._maintain_logs(keep interval) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
    parent text;
    child record;
    last_end timestamptz;
    step interval := greatest('1 day'::interval, date_trunc('day', keep / 3));
BEGIN
    -- events that were given twice, and whose first has its outcome
    DELETE FROM capi.direct_event e
     USING capi.delivery d WHERE d.key = e.key AND d.source_id = e.source_id;
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
            -- whoever reads the log, a dump say, is neither waited for nor in the
            -- way of the partitions to come
            BEGIN
                EXECUTE format('DROP TABLE %s', child.rel);
            EXCEPTION WHEN lock_not_available THEN
                NULL;
            END;
        END LOOP;
    END LOOP;
    PERFORM capi._shrink_direct_event();
END $$;

----------------------------------------------------------------------------
-- What users see.
----------------------------------------------------------------------------

CREATE VIEW capi._queue AS
    SELECT q.xid, q.captured_at, q.source_id, q.missed, q.key FROM capi.queue_0 q
    UNION ALL
    SELECT q.xid, q.captured_at, q.source_id, q.missed, q.key FROM capi.queue_1 q
    UNION ALL
    SELECT q.xid, q.captured_at, q.source_id, q.missed, q.key FROM capi.queue_2 q
    UNION ALL
    SELECT q.xid, q.captured_at, q.source_id, q.missed, q.key FROM capi.queue_3 q
    UNION ALL
    SELECT q.xid, q.captured_at, q.source_id, q.missed, q.key FROM capi_reserve.queue q;

-- Is this database a restored or cloned copy that has not been confirmed?
CREATE FUNCTION capi._is_copy() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT st.system_identifier <> i.system_identifier
                         OR st.database_oid <> i.database_oid
                       FROM capi.state st, capi._identity() i), false)
$$;

-- Sources, and those that the dispatcher will make of new names of events.
CREATE VIEW capi._sources AS
    SELECT s.id, s.name, s.dataset_id, s.event_name FROM capi.source s
    UNION ALL
    SELECT DISTINCT n.source_id, pg_catalog.format('send:%s:%s', d.name, n.event_name),
           n.dataset_id, n.event_name
      FROM capi.direct_name n
      JOIN capi.dataset d ON d.id = n.dataset_id
     WHERE NOT EXISTS (SELECT FROM capi.source s WHERE s.id = n.source_id);

-- Captured, not yet known to backlog or delivery.  The rows come from a function
-- that takes no part in serialization conflicts; the second half never returns
-- one, but has the segments locked before the snapshot is taken, so that none
-- is truncated under a view that has not yet read the logs.
CREATE VIEW capi._unread AS
    SELECT q.captured_at, q.source_id, q.missed, q.key COLLATE "C" AS key
      FROM capi._unread_rows((SELECT CASE WHEN capi._is_copy() THEN '1:1:'
                                          ELSE st.snapshot::text END FROM capi.state st)) q
    UNION ALL
    SELECT q.captured_at, q.source_id, q.missed, q.key FROM capi._queue q WHERE false;

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

-- The log without ignored orders that were captured again: those have a row in
-- the backlog or the queue.  In two parts, for most rows need not be asked.
CREATE VIEW capi._finished AS
    SELECT d.* FROM capi.delivery d WHERE d.outcome <> 'ignored'
    UNION ALL
    SELECT d.* FROM capi.delivery d
     WHERE d.outcome = 'ignored'
       AND NOT EXISTS (SELECT FROM capi.backlog b
                        WHERE b.source_id = d.source_id AND b.key = d.key)
       AND NOT EXISTS (SELECT FROM capi._unread u
                        WHERE u.source_id = d.source_id AND u.key = d.key
                          AND u.captured_at > d.captured_at);

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
              FROM capi._finished d
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
      JOIN capi._sources s ON s.id = e.source_id
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
                WHEN w.unreadable > 0 THEN 'no reader'
                ELSE 'active' END AS state,
           CASE WHEN capi._is_copy() THEN 'this database is a restored or cloned copy; capi.confirm_identity() lets it send'
                WHEN d.state <> 'active' THEN d.reason
                WHEN t.problem IS NOT NULL THEN t.problem
                WHEN pg_catalog.current_setting('capi.enabled') <> 'on' THEN 'capi.enabled is off'
                WHEN w.unreadable > 0 THEN 'no reader can be started: max_worker_processes are used up' END AS reason,
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
                        pg_catalog.count(*) FILTER (WHERE u.reason LIKE 'no reader can be started%'
                                                    AND u.next_attempt_at > pg_catalog.now() - interval '10 seconds') AS unreadable,
                        pg_catalog.min(u.captured_at) AS oldest
                   FROM (SELECT b.dataset_id, b.status, b.captured_at, b.reason, b.next_attempt_at FROM capi.backlog b
                         UNION ALL
                         SELECT s.dataset_id, 'queued', q.captured_at, NULL, NULL
                           FROM capi._queued q JOIN capi._sources s ON s.id = q.source_id) u
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
             WHEN pg_is_in_recovery() THEN 'This server is a standby: its primary sends.'
             ELSE format('No dispatcher runs for this database; state: %s, failed starts in a row: %s.',
                         coalesce(slot.state, 'none'), coalesce(slot.failures, 0)) END,
        CASE WHEN pg_is_in_recovery() THEN 'Nothing needs to be done: a dispatcher starts when it is promoted.'
             WHEN slot.dispatcher_pid IS NULL AND slot.preloaded AND slot.listed
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
        CASE WHEN slot.missed > 0 THEN 'Somebody held locks on all of capi''s queue tables, or none could be written to; look for the missing orders.' END;
    RETURN QUERY SELECT 'readers', count(*) = 0,
        CASE WHEN count(*) = 0 THEN 'Readers can be started.'
             ELSE format('%s orders wait because no reader could be started.', count(*)) END,
        CASE WHEN count(*) > 0
             THEN format('Raise max_worker_processes (now %s) and restart; capi needs one for its launcher, and for each listed database one and as many as capi.readers says.',
                         current_setting('max_worker_processes')) END
      FROM capi.backlog b WHERE b.reason LIKE 'no reader can be started%'
       AND b.next_attempt_at > now() - interval '10 seconds';
    RETURN QUERY SELECT 'queries', count(*) = 0,
        CASE WHEN count(*) = 0 THEN 'No order waits because the query of its source fails for it.'
             ELSE format('%s orders wait because the query of their source fails for them; the most frequent reason: %s.',
                         count(*), mode() WITHIN GROUP (ORDER BY b.reason)) END,
        CASE WHEN count(*) > 0
             THEN (array_agg(format('SELECT * FROM capi.preview(%L, %L) shows the error.', s.name, b.key)))[1] END
      FROM capi.backlog b JOIN capi.source s ON s.id = b.source_id
     WHERE b.reason LIKE 'the query %' OR b.reason LIKE 'the reader %';
    RETURN QUERY SELECT 'contexts', NOT capi._context_is_full(),
        CASE WHEN capi._context_is_full()
             THEN format('Browser contexts of orders without an outcome take all of capi.context_size, %s: new ones are not kept.',
                         current_setting('capi.context_size'))
             ELSE 'There is room for browser contexts.' END,
        CASE WHEN capi._context_is_full()
             THEN 'Look who calls capi.set_context() for orders that do not come; raise capi.context_size if they do.' END;
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
                     WHEN 'version' THEN 'Set a current capi.api_version.'
                     WHEN 'no reader' THEN 'Raise max_worker_processes and restart.' END
      FROM capi.health h ORDER BY h.dataset;
END $$;

CREATE FUNCTION capi._library_version() RETURNS text
    LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'capi_sql_library_version';

----------------------------------------------------------------------------
-- Privileges: nothing to PUBLIC; duties to grant.
----------------------------------------------------------------------------

CREATE FUNCTION capi._grant_access(caller oid, grantee regrole, duty text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    duties text[] := ARRAY['writer', 'reader', 'operator', 'admin'];
    level int := array_position(duties, duty);
    item record;
BEGIN
    IF grantee IS NULL OR grantee = 0 OR duty IS NULL THEN
        RAISE EXCEPTION 'grantee and duty must not be null'
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'For example capi.grant_access(''shop_owner'', ''admin'').';
    END IF;
    IF level IS NULL THEN
        RAISE EXCEPTION 'unknown duty "%"', left(duty, 40)
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Known duties: ' || array_to_string(duties, ', ') || '.',
                  HINT = capi._hint(duty, duties, 'An operator is also a reader, an admin all of them.');
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA capi TO %s', grantee);
    FOR item IN SELECT * FROM capi._duties() d
                 WHERE d.duty = _grant_access.duty
                    OR (array_position(duties, d.duty) < level
                        AND (d.duty <> 'writer' OR _grant_access.duty = 'admin')) LOOP
        EXECUTE format('GRANT %s ON %s %s TO %s', item.privilege, item.kind, item.object, grantee);
    END LOOP;
END $$;

-- Who may do what, as one table: reader < operator < admin; beside them writer,
-- for the shop's web tier, which an admin includes.
CREATE FUNCTION capi._duties()
    RETURNS TABLE (duty text, privilege text, kind text, object text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    VALUES ('writer', 'EXECUTE', 'FUNCTION', 'capi.set_context(text, jsonb, text)'),
           ('writer', 'EXECUTE', 'FUNCTION', 'capi.send(text, jsonb, text)'),
           ('writer', 'EXECUTE', 'FUNCTION', 'capi.pixel_event(text, text)'),
           ('reader', 'SELECT', 'TABLE', 'capi.delivery_status'),
           ('reader', 'SELECT', 'TABLE', 'capi.request_log'),
           ('reader', 'SELECT', 'TABLE', 'capi.source_status'),
           ('reader', 'SELECT', 'TABLE', 'capi.health'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi.diagnose()'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi.normalize(text, text, text)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi.hash(text, text, text)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._is_copy()'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._unread_rows(text)'),
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
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.preview_fields(text, text, int)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.match_quality(text, timestamptz)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.create_dataset(text, text, text, text, text, text, text, text, int)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.alter_dataset(text, text, text, text, text, text, text, text, int)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.set_access_token(text, text)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.test_dataset(text, text)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.drop_dataset(text)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.attach(text, regclass, text, text, text, text[], text, text[], text, interval, boolean, text, text)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.alter_source(text, text, text, text[], text, text[], text, interval, boolean, text, text, text)'),
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
REVOKE ALL ON ALL TABLES IN SCHEMA capi_reserve FROM PUBLIC;
REVOKE ALL ON SCHEMA capi_reserve FROM PUBLIC;

----------------------------------------------------------------------------
-- Comments on everything a user can see.
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
COMMENT ON TABLE capi.context IS 'browser contexts of orders that have no outcome yet';
COMMENT ON SEQUENCE capi.direct_event_id_seq IS 'numbers of events of capi.send()';
COMMENT ON TABLE capi.direct_event IS 'events of capi.send() that have no outcome yet, in their final form';
COMMENT ON TABLE capi.direct_name IS 'names of events that capi.send() met first, until they are sources';
COMMENT ON TABLE capi.delivery IS 'one row per finished event with its outcome, partitioned by time';
COMMENT ON TABLE capi.request IS 'one row per HTTP request, partitioned by time';

COMMENT ON SCHEMA capi_reserve IS 'what capture uses while locks on the tables of capi cannot be had';
COMMENT ON TABLE capi_reserve.queue IS 'segment of the queue for when the others cannot be locked';
COMMENT ON TABLE capi_reserve.source IS 'copy of the rules in capi.source, kept by its trigger';
COMMENT ON TRIGGER copy_source ON capi.source IS 'keeps the copy in capi_reserve';
COMMENT ON VIEW capi._queue IS 'all segments of the queue';
COMMENT ON VIEW capi._sources IS 'sources, and those to be made of new names of events';
COMMENT ON VIEW capi._unread IS 'queue rows behind the saved cursor';
COMMENT ON VIEW capi._finished IS 'the delivery log without ignored orders that were captured again';
COMMENT ON VIEW capi._queued IS 'captured events that have neither an outcome nor a place in the backlog';
COMMENT ON VIEW capi.delivery_status IS 'one row per captured event: where it is, and what became of it';
COMMENT ON VIEW capi.request_log IS 'one row per HTTP request to Meta';
COMMENT ON VIEW capi.source_status IS 'one row per source: does it work, and what did it capture';
COMMENT ON VIEW capi.health IS 'one row per dataset: does it send, what waits, and why';

COMMENT ON FUNCTION capi.create_dataset(text, text, text, text, text, text, text, text, int) IS 'makes a dataset known, with its token';
COMMENT ON FUNCTION capi.alter_dataset(text, text, text, text, text, text, text, text, int) IS 'changes a dataset; null leaves a setting as it is, an empty text removes an optional one';
COMMENT ON FUNCTION capi.set_access_token(text, text) IS 'sets a new token; a dataset that was paused, or whose token was refused, goes on';
COMMENT ON FUNCTION capi.test_dataset(text, text) IS 'one request to a dataset: connection, token, version, and a test event if it has a code';
COMMENT ON FUNCTION capi.pause_dataset(text) IS 'stops sending to a dataset; its events wait';
COMMENT ON FUNCTION capi.resume_dataset(text) IS 'goes on sending to a dataset';
COMMENT ON FUNCTION capi.drop_dataset(text) IS 'forgets a dataset that no source uses; its history stays';
COMMENT ON FUNCTION capi.attach(text, regclass, text, text, text, text[], text, text[], text, interval, boolean, text, text) IS 'watches a table: when a row means an event, and which query reads it';
COMMENT ON FUNCTION capi.alter_source(text, text, text, text[], text, text[], text, interval, boolean, text, text, text) IS 'changes a source and checks it again; null leaves a setting as it is';
COMMENT ON FUNCTION capi.detach(text) IS 'stops watching; its history stays, waiting events become ignored';
COMMENT ON FUNCTION capi.pause(text) IS 'stops reading the orders of a source; captures go on and wait';
COMMENT ON FUNCTION capi.resume(text) IS 'goes on reading the orders of a source, also of a broken one';
COMMENT ON FUNCTION capi.suggest_query(regclass) IS 'a query for a table whose columns have usual names';
COMMENT ON FUNCTION capi.preview(text, text, int) IS 'what would be sent for real orders, without sending; runs the query as the caller';
COMMENT ON PROCEDURE capi.deliver(interval) IS 'delivers in this session until nothing is due or the time is over; needs no preload';
COMMENT ON FUNCTION capi.normalize(text, text, text) IS 'a value as Meta wants it before hashing; null if it cannot be used';
COMMENT ON FUNCTION capi.hash(text, text, text) IS 'SHA-256 in hexadecimal of the normalised value; null if it cannot be used';
COMMENT ON FUNCTION capi.preview_fields(text, text, int) IS 'capi.preview() with a row for each value: as it is, normalised, as sent, and what is wrong with it';
COMMENT ON FUNCTION capi.match_quality(text, timestamptz) IS 'share of orders that have each match key in a usable form';
COMMENT ON FUNCTION capi.pixel_event(text, text) IS 'name, id and parameters for the browser pixel, equal to what the server sends';
COMMENT ON FUNCTION capi.send(text, jsonb, text) IS 'reports an event that no table shows, in Meta''s own shape; hashed inside the call';
COMMENT ON FUNCTION capi.set_context(text, jsonb, text) IS 'what the web tier knows of an order: cookies, address, browser, page, consent';
COMMENT ON FUNCTION capi.confirm_identity() IS 'after restore or clone: yes, this copy may send';
COMMENT ON FUNCTION capi.redrive(text, text, timestamptz) IS 'sends finished events again: the rejected, expired or ignored ones';
COMMENT ON FUNCTION capi.diagnose() IS 'checks everything that can keep events from being sent, with hints';
COMMENT ON FUNCTION capi.grant_access(regrole, text) IS 'grants a role the duty of writer, reader, operator or admin';
COMMENT ON FUNCTION capi.capture() IS 'trigger function of attached tables; capi.attach() creates the trigger';

SELECT capi._installed();
