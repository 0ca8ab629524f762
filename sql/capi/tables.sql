----------------------------------------------------------------------------
-- The tables of the extension, and what of them a dump holds.
----------------------------------------------------------------------------

CREATE SEQUENCE capi.dataset_id_seq AS int;
CREATE SEQUENCE capi.source_id_seq AS int;
CREATE SEQUENCE capi.request_id_seq;
CREATE SEQUENCE capi.direct_event_id_seq;
CREATE SEQUENCE capi.audience_id_seq AS int;

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
                    CHECK (state IN ('active', 'paused', 'credential', 'version', 'refused')),
    reason          text,
    state_since     timestamptz NOT NULL DEFAULT pg_catalog.now(),
    created_at      timestamptz NOT NULL DEFAULT pg_catalog.now(),
    dropped_at      timestamptz,
    endpoint_by     text        -- the role that gave the endpoint
);
CREATE UNIQUE INDEX dataset_name_key ON capi.dataset (name) WHERE dropped_at IS NULL;

-- What the dispatcher, which alone writes it, knows of a dataset at present;
-- it is found out anew where it is not, so it is in no dump.
CREATE TABLE capi.dataset_state (
    dataset_id int PRIMARY KEY,
    rest_until timestamptz,
    throttled  boolean NOT NULL DEFAULT false,
    clock_ahead_ms bigint,
    clock_seen_at  timestamptz,
    served_version text,
    -- what the sender alone knows of it, and the state that was told last
    trouble        text,
    trouble_reason text,
    health         text,
    health_since   timestamptz
) WITH (fillfactor = 50);

-- No grants at all, and no dump holds it (P8).  Row security keeps it from who
-- may read all tables, and so from queries that run as pg_read_all_data; there is
-- no policy.
CREATE TABLE capi.secret (
    dataset_id   int NOT NULL REFERENCES capi.dataset (id) ON DELETE CASCADE,
    kind         text NOT NULL CHECK (kind IN ('access_token', 'app_secret', 'stats_token')),
    encrypted    boolean NOT NULL,
    value        bytea NOT NULL,
    changed_at   timestamptz NOT NULL DEFAULT pg_catalog.now(),
    endpoint     text,          -- where it may be sent; null: to that of the dataset
    PRIMARY KEY (dataset_id, kind)
);
ALTER TABLE capi.secret ENABLE ROW LEVEL SECURITY;

-- What of it is encrypted, for dumps: who makes them may read it (duty backup).
-- A restored dump fills capi.secret from here.
CREATE TABLE capi.sealed_secret (
    dataset_id   int NOT NULL REFERENCES capi.dataset (id) ON DELETE CASCADE,
    kind         text NOT NULL,
    value        bytea NOT NULL,
    changed_at   timestamptz NOT NULL,
    endpoint     text,
    PRIMARY KEY (dataset_id, kind)
);

CREATE FUNCTION capi._copy_secret() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM capi.sealed_secret c WHERE c.dataset_id = OLD.dataset_id AND c.kind = OLD.kind;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.encrypted THEN
        INSERT INTO capi.sealed_secret (dataset_id, kind, value, changed_at, endpoint)
        VALUES (NEW.dataset_id, NEW.kind, NEW.value, NEW.changed_at, NEW.endpoint)
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER copy_secret AFTER INSERT OR UPDATE OR DELETE ON capi.secret
    FOR EACH ROW EXECUTE FUNCTION capi._copy_secret();
ALTER TABLE capi.secret ENABLE ALWAYS TRIGGER copy_secret;

CREATE FUNCTION capi._restore_secret() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO capi.secret (dataset_id, kind, encrypted, value, changed_at, endpoint)
    VALUES (NEW.dataset_id, NEW.kind, true, NEW.value, NEW.changed_at, NEW.endpoint)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER restore_secret AFTER INSERT ON capi.sealed_secret
    FOR EACH ROW EXECUTE FUNCTION capi._restore_secret();
ALTER TABLE capi.sealed_secret ENABLE ALWAYS TRIGGER restore_secret;

-- No foreign key or dependency leads from here to the shop's objects (P2), and
-- none to capi.dataset: the dispatcher, which adds sources of capi.send(), would
-- wait for who is about to drop a dataset (P6).  Rows of datasets stay.
CREATE TABLE capi.source (
    id              int PRIMARY KEY,
    name            text NOT NULL UNIQUE,
    table_name      capi.table_ref NOT NULL,
    dataset_id      int NOT NULL,
    event_name      text NOT NULL,
    action_source   text NOT NULL,
    query           text NOT NULL,
    search_path     text NOT NULL,
    run_as          capi.role_ref NOT NULL,
    key_columns     text[] NOT NULL,
    key_types       capi.type_ref[] NOT NULL,
    query_key_type  text NOT NULL,
    on_column       text,
    on_type         capi.type_ref,
    on_values       text[],
    hold            interval NOT NULL DEFAULT '0',
    fire_on_replica boolean NOT NULL DEFAULT false,
    paused          boolean NOT NULL DEFAULT false,
    broken_since    timestamptz,
    broken_reason   text,
    missed_captures bigint NOT NULL DEFAULT 0,
    attached_at     timestamptz NOT NULL DEFAULT pg_catalog.now(), -- since when the rule is what it is
    detached_at     timestamptz,
    time_zone       text,
    minor_units     text CHECK (minor_units ~ '^([0-4]|currency)$'),
    -- schema and name of the table when it was attached
    table_was       text[],
    renumbered_at   timestamptz
);

-- One row: how far the queue was read, where new rows go, whose copy this is.
CREATE TABLE capi.state (
    one               boolean PRIMARY KEY DEFAULT true CHECK (one),
    system_identifier text NOT NULL,
    database_oid      oid NOT NULL,
    snapshot          pg_snapshot NOT NULL,
    saved_at          timestamptz NOT NULL,
    segment           int NOT NULL,
    delivered_at      timestamptz   -- the end of the last capi.deliver()
) WITH (fillfactor = 10);

-- A row that a dump brings is a copy's, also in the very database that the dump is
-- of: what was sent since is not in it.
CREATE FUNCTION capi._note_restore() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.saved_at <> now() THEN
        NEW.database_oid := 0;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER note_restore BEFORE INSERT ON capi.state
    FOR EACH ROW EXECUTE FUNCTION capi._note_restore();
ALTER TABLE capi.state ENABLE ALWAYS TRIGGER note_restore;

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
-- means every source that its writer may tell of (capi._told).  Not in a dump: addresses and browsers are personal (P7).
-- A later call adds a row, so that none waits for another; the dispatcher alone
-- deletes.  VACUUM does not shorten the file, for which it would lock out a
-- checkout; capi.context_size bounds it.
CREATE TABLE capi.context (
    key       text COLLATE "C" NOT NULL,
    source_id int NOT NULL,
    set_at    timestamptz NOT NULL,
    fields    jsonb NOT NULL,
    writer    oid NOT NULL DEFAULT 0
) WITH (vacuum_truncate = off);
-- a row stays in its page: capi._context_fields() keeps as much as fits
ALTER TABLE capi.context ALTER COLUMN key SET STORAGE MAIN, ALTER COLUMN fields SET STORAGE MAIN;
ALTER TABLE capi.context ENABLE ROW LEVEL SECURITY;
CREATE INDEX context_key ON capi.context (key, source_id, set_at);
ALTER TABLE capi.context REPLICA IDENTITY FULL;

-- Who refused consent, and who gave it after that; source_id 0 means every
-- source that the writer may tell of, the last word counts.  A writer by name,
-- for a dump may be restored elsewhere; one that is not known tells of all.  It outlives contexts and outcomes, because an
-- order can be captured again; it holds no personal data, and is in a dump.
CREATE TABLE capi.consent (
    key       text COLLATE "C" NOT NULL,
    source_id int NOT NULL,
    said_at   timestamptz NOT NULL,
    given     boolean NOT NULL,
    writer    text NOT NULL DEFAULT ''
) WITH (vacuum_truncate = off);
CREATE INDEX consent_key ON capi.consent (key, source_id, said_at);
ALTER TABLE capi.consent REPLICA IDENTITY FULL;

-- Where that is noted while a lock on that table cannot be had, as long as an index
-- of it is rebuilt say; the dispatcher moves it there.
CREATE TABLE capi_reserve.consent (LIKE capi.consent) WITH (vacuum_truncate = off);
ALTER TABLE capi_reserve.consent REPLICA IDENTITY FULL;

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
    problems      jsonb,
    -- 64: a browser context was known; bits: what was taken of it (capi._context_text)
    context       smallint
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

-- Custom audiences: lists at Meta that are kept in step with a query.  Written by
-- users alone; like capi.source it depends on nothing of the shop's (P2).
CREATE TABLE capi.audience (
    id          int PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    dataset_id  int NOT NULL,
    audience_id text NOT NULL,
    query       text NOT NULL,
    search_path text NOT NULL,
    run_as      capi.role_ref NOT NULL,
    refresh     interval NOT NULL,
    paused      boolean NOT NULL DEFAULT false,
    paused_by   text,
    asked_at    timestamptz,        -- somebody wanted it read again
    changed_at  timestamptz NOT NULL DEFAULT pg_catalog.now()
);

-- How far each of them is; the dispatcher alone writes it.
CREATE TABLE capi.audience_state (
    id          int PRIMARY KEY,
    state       text NOT NULL DEFAULT 'active',
    reason      text,
    state_since timestamptz NOT NULL DEFAULT pg_catalog.now(),
    read_at     timestamptz,        -- when the last whole reading began
    members     bigint NOT NULL DEFAULT 0,
    to_add      bigint NOT NULL DEFAULT 0,
    to_remove   bigint NOT NULL DEFAULT 0,
    -- of the last reading, and since it
    people      bigint NOT NULL DEFAULT 0,
    no_consent  bigint NOT NULL DEFAULT 0,
    unusable    bigint NOT NULL DEFAULT 0,
    problems    jsonb,
    added       bigint NOT NULL DEFAULT 0,
    removed     bigint NOT NULL DEFAULT 0,
    invalid     bigint NOT NULL DEFAULT 0,
    sent_at     timestamptz,
    -- the session with Meta that is open: what it does, its next batch
    session_id  bigint,
    session_op  "char",
    batch_seq   int,
    -- keys between which additions may be at Meta though nobody knows
    doubt_from  uuid,
    doubt_upto  uuid
) WITH (fillfactor = 50);

-- Who is in a list: hashes of hashes, no name, no address (P7).  Waiting to be
-- added: +, or ? if it may be there already; to be removed: -; in the list: =.
CREATE TABLE capi.audience_member (
    audience_id int NOT NULL,
    status      "char" NOT NULL,
    key         uuid NOT NULL,
    cells       bytea NOT NULL,
    PRIMARY KEY (audience_id, key)
);
CREATE INDEX audience_member_waiting ON capi.audience_member (audience_id, status, key) WHERE status <> '=';

SELECT pg_catalog.pg_extension_config_dump('capi.dataset_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('capi.source_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('capi.request_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('capi.dataset', '');
SELECT pg_catalog.pg_extension_config_dump('capi.sealed_secret', '');
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
SELECT pg_catalog.pg_extension_config_dump('capi.consent', '');
SELECT pg_catalog.pg_extension_config_dump('capi_reserve.consent', '');
SELECT pg_catalog.pg_extension_config_dump('capi.audience_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('capi.audience', '');
SELECT pg_catalog.pg_extension_config_dump('capi.audience_state', '');
SELECT pg_catalog.pg_extension_config_dump('capi.audience_member', '');
