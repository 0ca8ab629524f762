/*
 * query.h
 *		Running a source's query as its role.  See query.c.
 */
#ifndef CAPI_QUERY_H
#define CAPI_QUERY_H

#include "executor/tuptable.h"

#include "event/order.h"
#include "store/config.h"

/*
 * Is given each row: at is the index of its key, order->found how many rows the
 * key has by now; of a second row and more nothing else is filled in.
 */
typedef void (*CapiOrderTaker) (void *arg, int at, CapiOrder *order);

/* Rights, path and read-only mode around a query; see capi_query_enter(). */
typedef struct CapiQueryScope
{
	int			nest_level;
	Oid			userid;
	int			sec_context;
	bool		read_only;		/* what the transaction was before */
} CapiQueryScope;

/* The role that a source's query runs as (P9).  Inside a transaction. */
extern Oid	capi_query_role(Oid run_as);

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
 * The statement that returns the rows q of the query, all or under a condition.
 * capi_query_error_text() knows its errors until the next one is made.
 */
extern char *capi_query_statement(const char *select, const char *condition);

/*
 * Runs the query for the keys and hands on its rows.  Inside a transaction with
 * SPI and an active snapshot; errors of the query are raised, and 21000 when it
 * returns many more rows than there are keys.  in_reader: the statement is kept
 * for the next call of this process, and the active snapshot replaced by one
 * that is taken when all tables are locked.  orders: where the orders are allocated,
 * NULL: each goes when its taker returns.
 */
extern void capi_query_each(const CapiSource *source, char **keys, int nkeys,
							bool in_reader, MemoryContext orders,
							CapiOrderTaker take, void *arg);

/* Is given the columns of the query, and then each of its rows; false: no more. */
typedef void (*CapiRowsOpener) (void *arg, TupleDesc desc);
typedef bool (*CapiRowTaker) (void *arg, TupleTableSlot *row);

/*
 * Runs the query for all it returns, in a reader, as capi_query_each; only_look:
 * no further than its columns.
 */
extern void capi_query_rows(const CapiSource *source, bool only_look,
							CapiRowsOpener open, CapiRowTaker take, void *arg);

/*
 * Parses and plans the query and looks at its rights, and reads no order; what
 * is wrong is raised.  Likewise.
 */
extern void capi_query_check(const CapiSource *source);

/* After an error: a plan may hold what made it. */
extern void capi_query_forget_plans(void);

/*
 * What may be kept of an error's text (P7): messages about names and rights
 * that come from the statement itself when no order was read; of any other the
 * SQLSTATE, since the text may quote a customer.
 */
extern char *capi_query_error_text(const ErrorData *edata, bool with_no_order);

/*
 * Text of an expression over a row q of the query that is its event_time as
 * timestamptz.  Inside a transaction with SPI.
 */
extern char *capi_query_time_sql(const CapiSource *source, const char *query);

/*
 * Text of a condition over a row q of the query: its key is one of these, given
 * as $1.  Between enter and leave; raises what a key's text is not to the type.
 */
extern char *capi_query_key_condition(const CapiSource *source, char **texts,
									  int nkeys, Datum *array, Oid *argtype);

/* Fills event_id, event_name and action_source where the query left them out. */
extern void capi_query_defaults(CapiEvent *event, const CapiSource *source,
								const char *key);

#endif							/* CAPI_QUERY_H */
