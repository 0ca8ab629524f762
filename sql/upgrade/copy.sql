-- The copy of the rules, from which they are read while the table is locked: last,
-- for both are locked from here to the commit.
DROP TABLE capi_reserve.source;
CREATE TABLE capi_reserve.source (LIKE capi.source, PRIMARY KEY (id));
SELECT capi._revoke_all('capi_reserve.source'::regclass);
INSERT INTO capi_reserve.source SELECT s.* FROM capi.source s;
CREATE TRIGGER copy_source
    AFTER INSERT OR DELETE OR UPDATE OF id, table_name, key_columns, key_types, query_key_type, on_column,
          on_type, on_values, fire_on_replica, detached_at
    ON capi.source FOR EACH ROW EXECUTE FUNCTION capi._copy_source();
ALTER TABLE capi.source ENABLE ALWAYS TRIGGER copy_source;
