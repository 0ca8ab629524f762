----------------------------------------------------------------------------
-- From 0.1.0: what cannot be replaced.
----------------------------------------------------------------------------

-- What returns something else cannot be replaced; functions with other arguments
-- than before are dropped at the end.
DROP FUNCTION capi._slot();

-- Its column of a type that changes is let go, not the view: others may use it.
CREATE OR REPLACE VIEW capi.source_status AS
    SELECT NULL::text AS source, NULL::regclass AS table_name, NULL::text AS dataset, NULL::text AS state,
           NULL::text AS reason, NULL::bigint AS captured_1h, NULL::bigint AS missed_captures;

ALTER TABLE capi.dataset ADD COLUMN endpoint_by text;
ALTER TABLE capi.dataset DROP CONSTRAINT dataset_state_check;
ALTER TABLE capi.dataset ADD CONSTRAINT dataset_state_check
    CHECK (state IN ('active', 'paused', 'credential', 'version', 'refused'));

ALTER TABLE capi.state ADD COLUMN delivered_at timestamptz;
CREATE TRIGGER note_restore BEFORE INSERT ON capi.state
    FOR EACH ROW EXECUTE FUNCTION capi._note_restore();
ALTER TABLE capi.state ENABLE ALWAYS TRIGGER note_restore;
CREATE TABLE capi.dataset_state (
    dataset_id int PRIMARY KEY,
    rest_until timestamptz,
    throttled  boolean NOT NULL DEFAULT false,
    clock_ahead_ms bigint,
    clock_seen_at  timestamptz,
    served_version text,
    trouble        text,
    trouble_reason text,
    health         text,
    health_since   timestamptz
) WITH (fillfactor = 50);

ALTER TABLE capi.secret ADD COLUMN endpoint text;
ALTER TABLE capi.secret DROP CONSTRAINT secret_kind_check;
ALTER TABLE capi.secret ADD CONSTRAINT secret_kind_check
    CHECK (kind IN ('access_token', 'app_secret', 'stats_token'));
ALTER TABLE capi.secret ENABLE ROW LEVEL SECURITY;
CREATE TABLE capi.sealed_secret (
    dataset_id   int NOT NULL REFERENCES capi.dataset (id) ON DELETE CASCADE,
    kind         text NOT NULL,
    value        bytea NOT NULL,
    changed_at   timestamptz NOT NULL,
    endpoint     text,
    PRIMARY KEY (dataset_id, kind)
);
INSERT INTO capi.sealed_secret (dataset_id, kind, value, changed_at)
SELECT s.dataset_id, s.kind, s.value, s.changed_at FROM capi.secret s WHERE s.encrypted;
CREATE TRIGGER copy_secret AFTER INSERT OR UPDATE OR DELETE ON capi.secret
    FOR EACH ROW EXECUTE FUNCTION capi._copy_secret();
ALTER TABLE capi.secret ENABLE ALWAYS TRIGGER copy_secret;
CREATE TRIGGER restore_secret AFTER INSERT ON capi.sealed_secret
    FOR EACH ROW EXECUTE FUNCTION capi._restore_secret();
ALTER TABLE capi.sealed_secret ENABLE ALWAYS TRIGGER restore_secret;

DROP TRIGGER copy_source ON capi.source;
ALTER TABLE capi.source
    ALTER COLUMN table_name TYPE capi.table_ref,
    ALTER COLUMN run_as TYPE capi.role_ref,
    ALTER COLUMN key_types TYPE capi.type_ref[],
    ALTER COLUMN on_type TYPE capi.type_ref,
    ADD COLUMN table_was text[],
    ADD COLUMN renumbered_at timestamptz;
UPDATE capi.source s
   SET table_was = ARRAY[n.nspname::text, c.relname::text]
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = s.table_name;

ALTER TABLE capi.delivery ADD COLUMN context smallint;

-- made anew rather than renamed: from 18 on NOT NULL has a name, too
LOCK TABLE capi.context IN ACCESS EXCLUSIVE MODE;
CREATE TABLE capi.old_context AS TABLE capi.context;
DROP TABLE capi.context;
CREATE TABLE capi.context (
    key       text COLLATE "C" NOT NULL,
    source_id int NOT NULL,
    set_at    timestamptz NOT NULL,
    fields    jsonb NOT NULL,
    writer    oid NOT NULL DEFAULT 0
) WITH (vacuum_truncate = off);
ALTER TABLE capi.context ALTER COLUMN key SET STORAGE MAIN, ALTER COLUMN fields SET STORAGE MAIN;
ALTER TABLE capi.context ENABLE ROW LEVEL SECURITY;
CREATE INDEX context_key ON capi.context (key, source_id, set_at);
ALTER TABLE capi.context REPLICA IDENTITY FULL;
CREATE TABLE capi.consent (
    key       text COLLATE "C" NOT NULL,
    source_id int NOT NULL,
    said_at   timestamptz NOT NULL,
    given     boolean NOT NULL,
    writer    text NOT NULL DEFAULT ''
) WITH (vacuum_truncate = off);
CREATE INDEX consent_key ON capi.consent (key, source_id, said_at);
ALTER TABLE capi.consent REPLICA IDENTITY FULL;
CREATE TABLE capi_reserve.consent (LIKE capi.consent) WITH (vacuum_truncate = off);
ALTER TABLE capi_reserve.consent REPLICA IDENTITY FULL;
INSERT INTO capi.consent (key, source_id, said_at, given)
SELECT c.key, c.source_id, c.set_at, false FROM capi.old_context c WHERE NOT c.consent;
INSERT INTO capi.context (key, source_id, set_at, fields)
SELECT c.key, c.source_id, c.set_at, c.fields FROM capi.old_context c ORDER BY c.set_at;
DROP TABLE capi.old_context;

-- what a dump holds: a table that is added again is no part of it any more
ALTER EXTENSION capi DROP TABLE capi.secret;
ALTER EXTENSION capi ADD TABLE capi.secret;
SELECT pg_catalog.pg_extension_config_dump('capi.sealed_secret', '');
SELECT pg_catalog.pg_extension_config_dump('capi.consent', '');
SELECT pg_catalog.pg_extension_config_dump('capi_reserve.consent', '');

CREATE SEQUENCE capi.audience_id_seq AS int;
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

CREATE TABLE capi.audience_state (
    id          int PRIMARY KEY,
    state       text NOT NULL DEFAULT 'active',
    reason      text,
    state_since timestamptz NOT NULL DEFAULT pg_catalog.now(),
    read_at     timestamptz,        -- when the last whole reading began
    members     bigint NOT NULL DEFAULT 0,
    to_add      bigint NOT NULL DEFAULT 0,
    to_remove   bigint NOT NULL DEFAULT 0,
    people      bigint NOT NULL DEFAULT 0,
    no_consent  bigint NOT NULL DEFAULT 0,
    unusable    bigint NOT NULL DEFAULT 0,
    problems    jsonb,
    added       bigint NOT NULL DEFAULT 0,
    removed     bigint NOT NULL DEFAULT 0,
    invalid     bigint NOT NULL DEFAULT 0,
    sent_at     timestamptz,
    session_id  bigint,
    session_op  "char",
    batch_seq   int,
    doubt_from  uuid,
    doubt_upto  uuid
) WITH (fillfactor = 50);

CREATE TABLE capi.audience_member (
    audience_id int NOT NULL,
    status      "char" NOT NULL,
    key         uuid NOT NULL,
    cells       bytea NOT NULL,
    PRIMARY KEY (audience_id, key)
);
CREATE INDEX audience_member_waiting ON capi.audience_member (audience_id, status, key) WHERE status <> '=';
SELECT pg_catalog.pg_extension_config_dump('capi.audience_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('capi.audience', '');
SELECT pg_catalog.pg_extension_config_dump('capi.audience_state', '');
SELECT pg_catalog.pg_extension_config_dump('capi.audience_member', '');
