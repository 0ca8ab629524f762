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
CREATE FUNCTION capi._bucket(at timestamptz, length interval) RETURNS timestamptz
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'capi_sql_bucket';
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
CREATE FUNCTION capi._look(statement text, search_path text, run_as oid, max_rows int) RETURNS text[]
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'capi_sql_look';
CREATE FUNCTION capi._try_in_reader(query text, search_path text, run_as oid) RETURNS text
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'capi_sql_try_in_reader';
CREATE FUNCTION capi._query_columns(query text, search_path text, run_as oid) RETURNS text[]
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'capi_sql_query_columns';
CREATE FUNCTION capi._query_limit(query text) RETURNS text
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'capi_sql_query_limit';
CREATE FUNCTION capi._single_select(query text) RETURNS text
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'capi_sql_single_select';
CREATE FUNCTION capi._nearest(given text, known text[]) RETURNS text
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'capi_sql_nearest';
CREATE FUNCTION capi._identity(OUT system_identifier text, OUT database_oid oid)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'capi_sql_identity';
CREATE FUNCTION capi._slot(OUT preloaded boolean, OUT listed boolean,
                           OUT launcher_pid int, OUT dispatcher_pid int,
                           OUT state text, OUT since timestamptz,
                           OUT failures int, OUT missed bigint, OUT enabled boolean,
                           OUT starting boolean)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_slot';
CREATE FUNCTION capi._elsewhere() RETURNS text
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'capi_sql_elsewhere';
CREATE FUNCTION capi._token_state(dataset int) RETURNS text
    LANGUAGE C VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'capi_sql_token_state';
CREATE FUNCTION capi._hides_rows(table_name oid, role oid) RETURNS boolean
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'capi_sql_hides_rows';
CREATE FUNCTION capi._rule_problem(source int) RETURNS text
    LANGUAGE C VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'capi_sql_rule_problem';

CREATE FUNCTION capi._context_obstacle(with_source boolean) RETURNS text
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'capi_sql_context_obstacle';
CREATE FUNCTION capi._source_is_free() RETURNS boolean
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_source_is_free';
CREATE FUNCTION capi._consent_place() RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_consent_place';
CREATE FUNCTION capi._context_is_full() RETURNS boolean
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'capi_sql_context_is_full';

CREATE FUNCTION capi.capture() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'capi_sql_capture';
