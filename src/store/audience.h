/*
 * audience.h
 *		Custom audiences in memory, and all SQL on their tables.  See audience.c.
 */
#ifndef CAPI_AUDIENCE_H
#define CAPI_AUDIENCE_H

#include "store/config.h"

/* What a request of an audience does with its people: their status, too. */
#define CAPI_AUDIENCE_ADD			'+'
#define CAPI_AUDIENCE_ADD_AGAIN		'?'
#define CAPI_AUDIENCE_REMOVE		'-'

typedef struct CapiAudience
{
	int			id;
	bool		is_dropped;		/* nothing but the id is known of it */
	int			dataset_id;
	char	   *list_id;		/* Meta's number of the list */
	CapiSource	source;			/* query, search_path and run_as */
	bool		paused;
	TimestampTz asked_at;		/* somebody's word since when it is to be tried */
	TimestampTz due_at;			/* the query is read again then */
	int64		to_add;
	int64		to_remove;
	int64		session_id;		/* open with Meta, or 0 */
	char		session_op;
	int			batch_seq;		/* next of the session */

	/* Not from the catalog; kept over a reload. */
	TimestampTz read_after;		/* not read before, after a failure */
	int			read_failures;
	TimestampTz send_after;		/* likewise */
	int			send_failures;
} CapiAudience;

typedef struct CapiAudienceList
{
	int			n;
	CapiAudience *v;
} CapiAudienceList;

/* People of one request. */
typedef struct CapiAudienceBatch
{
	int			n;
	Datum	   *keys;			/* uuid */
	Datum	   *packed;			/* bytea, see customer.h */
	bool		more;			/* there are others like them */
} CapiAudienceBatch;

/* Of a whole reading. */
typedef struct CapiAudienceReading
{
	TimestampTz began;
	int64		people;
	int64		no_consent;
	int64		unusable;
	const char *problems;		/* JSON, or NULL */
} CapiAudienceReading;

/*
 * All inside a transaction of the dispatcher's.  Load replaces the list and
 * frees the old one (or NULL); fresh: what failed is to be tried at once.
 */
extern CapiAudienceList *capi_audience_load(CapiAudienceList *old, MemoryContext parent,
											bool fresh);
extern void capi_audience_page(int id, Datum after, Datum upto, Datum keys,
							   Datum packed);
extern void capi_audience_read(int id, const CapiAudienceReading *reading);
extern void capi_audience_set_state(int id, const char *state, const char *reason);

/* Up to max people that wait for op, by key; in the current context. */
extern void capi_audience_batch(int id, char op, int max, CapiAudienceBatch *batch);
extern void capi_audience_sending(int id, char op, int64 session_id, int batch_seq,
								  Datum first, Datum last);
extern void capi_audience_sent(int id, char op, Datum first, Datum last,
							   bool is_last, int64 invalid);
extern void capi_audience_nothing_waits(int id);
extern void capi_audience_sweep(int id, int max);

#endif							/* CAPI_AUDIENCE_H */
