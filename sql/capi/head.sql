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
