-- complain if the script is sourced in psql rather than by ALTER EXTENSION
\echo Use "ALTER EXTENSION capi UPDATE" to load this file. \quit

/*
 * Made by make: references, the functions of tables.sql, the changes of tables in
 * sql/upgrade/, all other parts of sql/capi/ with CREATE OR REPLACE, and the end.
 * Only what cannot be replaced is written by hand; test/t/083_update.pl compares
 * the result with a new installation.
 */

-- Who was granted what, to be granted again: what is made anew has no grants, and
-- nobody gets any by default privileges.
SELECT pg_catalog.set_config('capi_upgrade.grants', coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(g)), '[]')::text, true)
  FROM (SELECT 'SCHEMA' AS kind, n.nspname::text AS name, a.grantee::int8 AS grantee, a.privilege_type AS privilege,
               a.is_grantable AS grantable
          FROM pg_catalog.pg_namespace n CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) a
         WHERE n.nspname = 'capi' AND a.grantee <> n.nspowner
        UNION ALL
        SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, pg_catalog.format('capi.%I', c.relname), a.grantee::int8,
               a.privilege_type, a.is_grantable
          FROM pg_catalog.pg_class c CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
         WHERE c.relnamespace = 'capi'::regnamespace AND a.grantee <> c.relowner
        UNION ALL
        SELECT 'ROUTINE', pg_catalog.format('capi.%I(%s)', p.proname, pg_catalog.oidvectortypes(p.proargtypes)), a.grantee::int8, a.privilege_type, a.is_grantable
          FROM pg_catalog.pg_proc p CROSS JOIN LATERAL pg_catalog.aclexplode(p.proacl) a
         WHERE p.pronamespace = 'capi'::regnamespace AND a.grantee <> p.proowner) g;

-- Who had a duty: each of its rights, given to him himself.  One right of it alone,
-- that of a function say, is no duty.
SELECT pg_catalog.set_config('capi_upgrade.duties', coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(h)), '[]')::text, true)
  FROM (SELECT d.duty, r.oid::int8 AS grantee
          FROM (SELECT DISTINCT duty FROM capi._duties()) d CROSS JOIN pg_catalog.pg_roles r
         WHERE NOT EXISTS (
                SELECT FROM capi._duties() o
                 WHERE o.duty = d.duty
                   AND NOT EXISTS (
                        SELECT FROM pg_catalog.pg_proc p CROSS JOIN LATERAL pg_catalog.aclexplode(p.proacl) a
                         WHERE o.kind <> 'TABLE' AND p.oid = pg_catalog.to_regprocedure(o.object)
                           AND a.grantee = r.oid AND a.privilege_type = o.privilege
                        UNION ALL
                        SELECT FROM pg_catalog.pg_class c CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
                         WHERE o.kind = 'TABLE' AND c.oid = pg_catalog.to_regclass(o.object)
                           AND a.grantee = r.oid AND a.privilege_type = o.privilege))) h;
