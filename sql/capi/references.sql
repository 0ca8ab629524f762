----------------------------------------------------------------------------
-- What a source refers to in the shop, by name in a dump, and there without an
-- error if it is missing where that is restored (src/store/reference.c).
----------------------------------------------------------------------------

CREATE TYPE capi.role_ref;
CREATE FUNCTION capi._role_ref_in(text cstring) RETURNS capi.role_ref
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'capi_sql_role_ref_in';
CREATE FUNCTION capi._role_ref_out(ref capi.role_ref) RETURNS cstring
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'capi_sql_role_ref_out';
CREATE TYPE capi.role_ref (INPUT = capi._role_ref_in, OUTPUT = capi._role_ref_out, LIKE = oid);
CREATE CAST (capi.role_ref AS oid) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (capi.role_ref AS regrole) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (oid AS capi.role_ref) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (regrole AS capi.role_ref) WITHOUT FUNCTION AS ASSIGNMENT;

CREATE TYPE capi.table_ref;
CREATE FUNCTION capi._table_ref_in(text cstring) RETURNS capi.table_ref
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'capi_sql_table_ref_in';
CREATE FUNCTION capi._table_ref_out(ref capi.table_ref) RETURNS cstring
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'capi_sql_table_ref_out';
CREATE TYPE capi.table_ref (INPUT = capi._table_ref_in, OUTPUT = capi._table_ref_out, LIKE = oid);
CREATE CAST (capi.table_ref AS oid) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (capi.table_ref AS regclass) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (oid AS capi.table_ref) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (regclass AS capi.table_ref) WITHOUT FUNCTION AS ASSIGNMENT;

CREATE TYPE capi.type_ref;
CREATE FUNCTION capi._type_ref_in(text cstring) RETURNS capi.type_ref
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'capi_sql_type_ref_in';
CREATE FUNCTION capi._type_ref_out(ref capi.type_ref) RETURNS cstring
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'capi_sql_type_ref_out';
CREATE TYPE capi.type_ref (INPUT = capi._type_ref_in, OUTPUT = capi._type_ref_out, LIKE = oid);
CREATE CAST (capi.type_ref AS oid) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (capi.type_ref AS regtype) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (oid AS capi.type_ref) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (regtype AS capi.type_ref) WITHOUT FUNCTION AS ASSIGNMENT;
