-- Default privileges that somebody set for the role that owns the extension give
-- nobody a right on what capi makes, at installation or later.
SET client_min_messages = error;
DROP EXTENSION IF EXISTS capi CASCADE;
DROP SCHEMA IF EXISTS capi, capi_reserve CASCADE;
SET client_min_messages = warning;
\pset null '-'
\pset footer off
\pset format unaligned
CREATE ROLE regress_curious;
CREATE ROLE regress_more;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO regress_curious WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO regress_curious, PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO regress_curious;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO regress_curious;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO regress_curious;
CREATE EXTENSION capi;
CREATE VIEW granted AS
SELECT 'schema' AS kind, nspname::text AS name, a.grantee FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) a
 WHERE nspname LIKE 'capi%' AND a.grantee <> nspowner
UNION ALL
SELECT 'relation', oid::regclass::text, a.grantee
  FROM pg_class, aclexplode(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))) a
 WHERE relnamespace IN ('capi'::regnamespace, 'capi_reserve'::regnamespace) AND a.grantee <> relowner
UNION ALL
SELECT 'column', attrelid::regclass::text || '.' || attname, a.grantee
  FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid, aclexplode(attacl) a
 WHERE relnamespace IN ('capi'::regnamespace, 'capi_reserve'::regnamespace) AND a.grantee <> relowner
UNION ALL
SELECT 'function', pg_proc.oid::regprocedure::text, a.grantee FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
 WHERE pronamespace IN ('capi'::regnamespace, 'capi_reserve'::regnamespace) AND a.grantee <> proowner
UNION ALL
SELECT 'type', pg_type.oid::regtype::text, a.grantee FROM pg_type, aclexplode(typacl) a
 WHERE typnamespace IN ('capi'::regnamespace, 'capi_reserve'::regnamespace) AND a.grantee NOT IN (0, typowner);
SELECT DISTINCT kind, name, grantee::regrole FROM granted ORDER BY 1, 2, 3;

-- partitions of the logs, those of later too, and with others' defaults
SET client_min_messages = error;
SELECT capi.create_dataset(name => 'main', dataset_id => '1', access_token => 'a-token', endpoint => 'https://127.0.0.1:9');
SET client_min_messages = warning;
ALTER DEFAULT PRIVILEGES IN SCHEMA capi GRANT SELECT ON TABLES TO regress_more;
ALTER DEFAULT PRIVILEGES IN SCHEMA capi_reserve GRANT SELECT ON TABLES TO regress_more;
SELECT capi._add_partition('delivery', '2037-01-01 00:00+00', '2037-01-02 00:00+00');
SELECT capi._add_partition('request', '2037-01-01 00:00+00', '2037-01-02 00:00+00');
SELECT count(*) FROM pg_inherits WHERE inhparent IN ('capi.delivery'::regclass, 'capi.request'::regclass);
SELECT DISTINCT kind, name, grantee::regrole FROM granted ORDER BY 1, 2, 3;

-- what is granted on purpose is
SELECT capi.grant_access('regress_more', 'reader');
SELECT DISTINCT kind, name, grantee::regrole FROM granted
 WHERE kind <> 'function' AND name NOT IN (SELECT object FROM capi._duties() WHERE duty = 'reader') ORDER BY 1, 2, 3;
SET SESSION AUTHORIZATION regress_curious;
SELECT * FROM capi.secret;
RESET SESSION AUTHORIZATION;

SELECT capi.drop_dataset('main');
DROP VIEW granted;
DROP OWNED BY regress_curious, regress_more;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM PUBLIC;
DROP ROLE regress_curious, regress_more;
