/*
 * caller.h
 *		Reading orders as the caller of a function, without sending anything:
 *		for preview, match quality and pixel calls.  See caller.c.
 */
#ifndef CAPI_CALLER_H
#define CAPI_CALLER_H

#include "fmgr.h"

#include "read/query.h"

typedef struct CapiCaller
{
	Oid			owner;			/* of the extension */
	CapiConfig *config;
	CapiSource *source;			/* run_as: see capi_caller_set_role */
} CapiCaller;

/*
 * Opens the source called so for the caller of the function.  Inside SPI.
 * Raises 22004 for null and 42704 for an unknown name.
 */
extern void capi_caller_open(CapiCaller *reader, FunctionCallInfo fcinfo,
							 int argno);
extern void capi_caller_close(CapiCaller *reader);

/* The query runs as the caller, a superuser's call as the source's role. */
extern void capi_caller_set_role(CapiSource *source);

/*
 * Keys of up to max orders, newest first, of those from since (or DT_NOBEGIN)
 * to before until (or DT_NOEND).  Texts in the current context.
 */
extern char **capi_caller_keys(CapiCaller *reader, TimestampTz since,
							   TimestampTz until, int max, int *nkeys);

/* What query and context say of the keys; as capi_query_read. */
extern void capi_caller_rows(CapiCaller *reader, char **keys, int nkeys,
							 CapiOrder *rows);

/*
 * Judges the event of a row as the dispatcher would now and appends its JSON
 * to out.  Returns "delivered", "ignored", "rejected" or "expired", with the
 * reason or NULL.
 */
extern const char *capi_caller_judge(CapiCaller *reader, const char *key,
									 CapiOrder *row, StringInfo out,
									 const char **reason);

#endif							/* CAPI_CALLER_H */
