----------------------------------------------------------------------------
-- The end of an upgrade.
----------------------------------------------------------------------------

-- Functions that this script has not written are of before.
DO $$
DECLARE
    old regprocedure;
BEGIN
    FOR old IN
        SELECT p.oid FROM pg_catalog.pg_proc p
          JOIN pg_catalog.pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
          JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
         WHERE e.extname = 'capi' AND p.xmin::text <> (pg_catalog.pg_current_xact_id()::text::int8 & 4294967295)::text LOOP
        EXECUTE pg_catalog.format('DROP ROUTINE %s', old);
    END LOOP;
END $$;

-- What somebody had is granted again, and who had a duty gets what is new in it.
DO $$
DECLARE
    grants jsonb := pg_catalog.current_setting('capi_upgrade.grants')::jsonb;
    item record;
BEGIN
    FOR item IN
        SELECT g.* FROM pg_catalog.jsonb_to_recordset(grants)
            AS g (kind text, name text, grantee oid, privilege text, grantable boolean)
         WHERE CASE g.kind WHEN 'SCHEMA' THEN true
                           WHEN 'ROUTINE' THEN pg_catalog.to_regprocedure(g.name) IS NOT NULL
                           ELSE pg_catalog.to_regclass(g.name) IS NOT NULL END LOOP
        EXECUTE pg_catalog.format('GRANT %s ON %s %s TO %s%s', item.privilege, item.kind, item.name,
                                  capi._grantee(item.grantee),
                                  CASE WHEN item.grantable THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;
    FOR item IN
        SELECT h.* FROM pg_catalog.jsonb_to_recordset(pg_catalog.current_setting('capi_upgrade.duties')::jsonb)
            AS h (duty text, grantee oid) LOOP
        PERFORM capi._grant_access(0, item.grantee, item.duty);
    END LOOP;
END $$;

SELECT capi._config_changed();
SELECT capi._installed();
