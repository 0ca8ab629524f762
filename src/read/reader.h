/*
 * reader.h
 *		Reading orders as the caller of a function, without sending anything:
 *		for preview, match quality and pixel calls.  See reader.c.
 */
#ifndef CAPI_READER_H
#define CAPI_READER_H

#include "fmgr.h"

#include "read/query.h"

typedef struct CapiReader
{
	Oid			owner;			/* of the extension */
	CapiConfig *config;
	CapiSource *source;			/* runs as the caller */
} CapiReader;

/*
 * Opens the source called so for the caller of the function.  Inside SPI.
 * Raises 22004 for null and 42704 for an unknown name.
 */
extern void capi_reader_open(CapiReader *reader, FunctionCallInfo fcinfo,
							 int argno);
extern void capi_reader_close(CapiReader *reader);

/*
 * Keys of up to max orders, newest first; of those since then if since is not
 * DT_NOBEGIN.  Texts in the current context.
 */
extern char **capi_reader_keys(CapiReader *reader, TimestampTz since, int max,
							   int *nkeys);

/* What query and context say of the keys; as capi_query_read. */
extern void capi_reader_rows(CapiReader *reader, char **keys, int nkeys,
							 CapiQueryRow *rows);

/*
 * Judges the event of a row as the dispatcher would now and appends its JSON
 * to out.  Returns "delivered", "ignored", "rejected" or "expired", with the
 * reason or NULL.
 */
extern const char *capi_reader_judge(CapiReader *reader, const char *key,
									 CapiQueryRow *row, StringInfo out,
									 const char **reason);

#endif							/* CAPI_READER_H */
