/*
 * query.h
 *		Running a source's query as its role.  See query.c.
 */
#ifndef CAPI_QUERY_H
#define CAPI_QUERY_H

#include "event/order.h"
#include "store/config.h"

typedef struct CapiQueryError
{
	int			sqlstate;
	bool		of_query;		/* the query as such, not one order's data */
	int64		took_ms;		/* until it failed */
	char		text[400];		/* no value of a row in it (P7) */
} CapiQueryError;

/* Rights, path and read-only mode around a query; see capi_query_enter(). */
typedef struct CapiQueryScope
{
	int			nest_level;
	Oid			userid;
	int			sec_context;
	bool		read_only;		/* what the transaction was before */
} CapiQueryScope;

/*
 * Inside a transaction: from here to capi_query_leave() statements run as the
 * role, never as a superuser (P9), read-only, with the search_path.
 */
extern void capi_query_enter(CapiQueryScope *scope, Oid run_as,
							 const char *search_path);
extern void capi_query_use_key_settings(const CapiSource *source);
extern void capi_query_leave(const CapiQueryScope *scope);

/*
 * The query without a trailing semicolon.  Raises 42601 unless it is exactly
 * one SELECT that writes nothing and has no parameters.
 */
extern char *capi_query_single_select(const char *query);

/*
 * Runs the query for the keys in a transaction of its own and fills rows[i]
 * for keys[i], in the current memory context.  False, with *error, when it
 * failed; nothing is logged then.
 */
extern bool capi_query_run(const CapiSource *source, char **keys, int nkeys,
						   CapiOrder *rows, CapiQueryError *error);

/*
 * The same inside a transaction with SPI that is already open; errors of the
 * query are raised.
 */
extern void capi_query_read(const CapiSource *source, char **keys, int nkeys,
							CapiOrder *rows);

/*
 * Text of an expression over a row q of the query that is its event_time as
 * timestamptz.  Inside a transaction with SPI.
 */
extern char *capi_query_time_sql(const CapiSource *source, const char *query);

/* Fills event_id, event_name and action_source where the query left them out. */
extern void capi_query_defaults(CapiEvent *event, const CapiSource *source,
								const char *key);

#endif							/* CAPI_QUERY_H */
