/*
 * outcome.h
 *		What became of events, on its way into the tables.  See outcome.c.
 */
#ifndef CAPI_OUTCOME_H
#define CAPI_OUTCOME_H

#include "answer/response.h"
#include "store/config.h"
#include "store/item.h"

/* All inside a transaction with SPI. */
extern void capi_outcome_record(CapiOutcome *outcomes, int n);

/* Takes events out of the backlog that have their outcome already. */
extern void capi_outcome_drop_waiting(CapiItem **items, int n);
extern int64 capi_outcome_next_request(void);
extern void capi_outcome_request(int64 request_id, int dataset_id,
								 TimestampTz sent_at, int64 duration_ms,
								 int events, size_t bytes,
								 const CapiResult *result);
/* False when somebody has changed the source and not committed yet. */
extern bool capi_outcome_missed(int source_id, int count);
/* The same for a table whose numbers begin again. */
extern bool capi_outcome_renumbered(int source_id, TimestampTz at);

/* ---------- in due.c ---------- */

/* A source and a dataset that have rows in the backlog. */
typedef struct CapiDuePair
{
	int			source_id;
	int			dataset_id;
	TimestampTz next_attempt_at;	/* the earliest; past: due now */
} CapiDuePair;

/*
 * All such pairs, by source and dataset, in the current context; returns their
 * number.  Costs a few descents of an index for each pair, however many rows it
 * has.
 */
extern int	capi_outcome_due_pairs(CapiDuePair **pairs);

/*
 * Due rows of the backlog of one source and dataset (0: any); items and texts are
 * allocated in the current context.  *next: when the next one is due.
 */
extern int	capi_outcome_due(int source_id, int dataset_id, int max,
							 CapiItem **items, TimestampTz *next);

/* A row was written that is due then. */
extern void capi_outcome_due_from(int source_id, int dataset_id, TimestampTz next);

/* ---------- in outcome.c ---------- */

/* rest_until: 0, or until when the dataset rests; throttled: Meta asked for it. */
extern void capi_outcome_rest(int dataset_id, TimestampTz rest_until, bool throttled);
extern void capi_outcome_served_version(int dataset_id, const char *version);
extern void capi_outcome_retry_unknown(void);
extern void capi_outcome_follow_clock(int64 back_us);
extern void capi_outcome_clock(int dataset_id, int64 ahead_ms);
extern void capi_outcome_dataset_state(int dataset_id, const char *state,
									   const char *reason);
extern void capi_outcome_source_broken(int source_id, const char *reason);

/*
 * Partitions to come and partitions past retention, and rows that go with none.
 * True when one is missing now, because of somebody's lock.
 */
extern bool capi_outcome_maintain(void);

#endif							/* CAPI_OUTCOME_H */
