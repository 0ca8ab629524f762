----------------------------------------------------------------------------
-- Privileges: nothing to PUBLIC; duties to grant.
----------------------------------------------------------------------------

CREATE FUNCTION capi._grant_access(caller oid, grantee regrole, duty text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    duties text[] := ARRAY['writer', 'backup', 'reader', 'operator', 'admin'];
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
                        AND (d.duty NOT IN ('writer', 'backup') OR _grant_access.duty = 'admin')) LOOP
        EXECUTE format('GRANT %s ON %s %s TO %s', item.privilege, item.kind, item.object, grantee);
    END LOOP;
    IF duty IN ('backup', 'admin') THEN
        PERFORM capi._grant_backup(grantee);
    END IF;
END $$;

-- What pg_dump reads of capi's: what is registered for it, and the partitions of
-- the logs, which follow their parents (capi._add_partition).  It locks what it
-- reads, so the reserve of the queue can be named, too.
CREATE FUNCTION capi._grant_backup(grantee regrole) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item regclass;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA capi_reserve TO %s', grantee);
    FOR item IN SELECT c.oid::regclass FROM pg_extension e CROSS JOIN LATERAL unnest(e.extconfig) AS c (oid)
                 WHERE e.extname = 'capi'
                UNION ALL
                SELECT ('capi.' || l.parent)::regclass FROM capi._logs() l
                UNION ALL
                SELECT i.inhrelid FROM capi._logs() l
                  JOIN pg_inherits i ON i.inhparent = ('capi.' || l.parent)::regclass LOOP
        EXECUTE format('GRANT SELECT ON %s TO %s', item, grantee);
    END LOOP;
END $$;

-- Who may do what, as one table: reader < operator < admin; beside them writer,
-- for the shop's web tier, and backup, for who runs pg_dump (capi._grant_backup);
-- an admin includes both.
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
           ('reader', 'SELECT', 'TABLE', 'capi.audience_status'),
           ('reader', 'SELECT', 'TABLE', 'capi.meta_counts'),
           ('reader', 'SELECT', 'TABLE', 'capi.meta_quality'),
           ('reader', 'SELECT', 'TABLE', 'capi.meta_status'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi.diagnose()'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi.explain_event(text, text)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi.reconcile(text, timestamptz, timestamptz, interval)'),
           ('reader', 'SELECT', 'TABLE', 'capi.reconciliation'),
           ('reader', 'SELECT', 'TABLE', 'capi.status'),
           ('reader', 'SELECT', 'TABLE', 'capi.backfill_progress'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._reconciliation()'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi.missing_orders(text, timestamptz, timestamptz)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi.drift(text, timestamptz, timestamptz)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi.report_html(timestamptz, timestamptz)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._report_collect(text, timestamptz, timestamptz, text)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._report_ledger(jsonb)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._report_page(jsonb)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._match_coverage(text, timestamptz, timestamptz, int)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi.normalize(text, text, text)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi.hash(text, text, text)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._is_copy()'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._elsewhere()'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._is_enabled()'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._nobody_sends()'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._unread_rows(text)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._rule_problem(int)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._hides_rows(oid, oid)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._token_state(int)'),
           ('reader', 'EXECUTE', 'FUNCTION', 'capi._identity()'),
           ('operator', 'EXECUTE', 'PROCEDURE', 'capi.deliver(interval)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.pause_dataset(text)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.resume_dataset(text)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.pause(text)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.resume(text)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.redrive(text, text, timestamptz, text)'),
           ('operator', 'EXECUTE', 'PROCEDURE', 'capi.backfill(text, timestamptz, timestamptz)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.forget(text, text)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.refresh_audience(text)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.pause_audience(text)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.resume_audience(text)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.preview(text, text, int)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.preview_fields(text, text, int)'),
           ('operator', 'EXECUTE', 'FUNCTION', 'capi.match_quality(text, timestamptz)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.create_dataset(text, text, text, text, text, text, text, text, int)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.alter_dataset(text, text, text, text, text, text, text, text, int)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.set_access_token(text, text, text)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.set_stats_token(text, text, text)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.test_dataset(text, text)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.drop_dataset(text, text)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.attach(text, regclass, text, text, text, text[], text, text[], text, interval, boolean, text, text)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.alter_source(text, text, text, text[], text, text[], text, interval, boolean, text, text, text, regclass)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.detach(text)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.create_audience(text, text, text, text, interval)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.alter_audience(text, text, interval, text)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.drop_audience(text)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.forget_history(text)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.suggest_query(regclass)'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.confirm_identity()'),
           ('admin', 'EXECUTE', 'FUNCTION', 'capi.grant_access(regrole, text)')
$$;
CREATE FUNCTION capi.grant_access(grantee regrole, duty text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_as_owner';

-- Nothing to anybody, whatever ALTER DEFAULT PRIVILEGES says of new objects.
SELECT capi._revoke_all(c.oid) FROM pg_catalog.pg_class c
 WHERE c.relnamespace IN ('capi'::regnamespace, 'capi_reserve'::regnamespace);
DO $$
DECLARE
    item record;
BEGIN
    FOR item IN
        SELECT 'SCHEMA' AS kind, n.oid::pg_catalog.regnamespace::text AS name, a.grantee, n.nspowner AS owner
          FROM pg_catalog.pg_namespace n
         CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) a
         WHERE n.nspname IN ('capi', 'capi_reserve')
        UNION
        SELECT 'ROUTINE', p.oid::pg_catalog.regprocedure::text, a.grantee, p.proowner
          FROM pg_catalog.pg_proc p
         CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
         WHERE p.pronamespace = 'capi'::regnamespace
        UNION
        -- not the row types of tables, which have the rights of all types
        SELECT 'TYPE', t.oid::pg_catalog.regtype::text, a.grantee, t.typowner
          FROM pg_catalog.pg_type t
         CROSS JOIN LATERAL pg_catalog.aclexplode(t.typacl) a
         WHERE t.typnamespace IN ('capi'::regnamespace, 'capi_reserve'::regnamespace) AND a.grantee <> 0 LOOP
        CONTINUE WHEN item.grantee = item.owner;
        EXECUTE pg_catalog.format('REVOKE ALL ON %s %s FROM %s CASCADE', item.kind, item.name,
                                  capi._grantee(item.grantee));
    END LOOP;
END $$;
