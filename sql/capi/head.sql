/* capi: conversions of a shop, from its own database to Meta's Conversions API */

-- complain if the script is sourced in psql rather than by CREATE EXTENSION
\echo Use "CREATE EXTENSION capi" to load this file. \quit

/*
 * Made by make from sql/capi/, in the order of SQL_PARTS in the Makefile.
 * Functions whose name starts with an underscore are internal: their public
 * twin of the same name calls them with the caller's role as first argument,
 * as the owner of the extension (src/entry.c).
 */
