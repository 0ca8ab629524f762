/*
 * queue.h
 *		The queue: rows (transaction, time, source, key) in a few segments.
 *
 * Written by capture.c in the shop's transaction, read by dispatch.c.  Design,
 * invariants and crash table: doc/design.md, "The queue".
 */
#ifndef CAPI_QUEUE_H
#define CAPI_QUEUE_H

#include "datatype/timestamp.h"

/* In place of a number of captures that were missed: numbers begin again. */
#define CAPI_QUEUE_RENUMBERED	(-1)

typedef struct CapiQueueRow
{
	int			source_id;
	int			missed;			/* > 0: captures that could not be made; or
								 * CAPI_QUEUE_RENUMBERED */
	char	   *key;			/* NULL when missed is not 0 */
	TimestampTz captured_at;
	int			segment;
	uint64		pass;
} CapiQueueRow;

typedef struct CapiQueueReader CapiQueueReader;

/* Forget cached OIDs and the segment hint (relation cache callbacks). */
extern void capi_queue_forget(void);

/*
 * Adds one row in the current transaction.  Never waits for a lock: a segment
 * that is locked is passed over.  False when no segment could be had.
 */
extern bool capi_queue_append(int32 source_id, const char *key, int32 missed);

/* Opens a reader at the saved cursor.  Inside a transaction with SPI. */
extern CapiQueueReader *capi_queue_open(void);
extern void capi_queue_close(CapiQueueReader *reader);

/*
 * Takes the locks that reading needs, all of them: 55P03 from here leaves the
 * reader as it was.  Inside the transaction of capi_queue_read().
 */
extern void capi_queue_lock(CapiQueueReader *reader);

/*
 * Reads up to max rows that committed since they were last read, into rows;
 * keys are allocated in the current context.  Inside a transaction with an
 * active snapshot.  Every row must be settled later.  *more tells that a pass
 * is unfinished.
 */
extern int	capi_queue_read(CapiQueueReader *reader, CapiQueueRow *rows,
							int max, bool *more);

/* The row's outcome is durable, or it needs none. */
extern void capi_queue_settle(CapiQueueReader *reader, int segment,
							  uint64 pass);

/* Rows were settled since the cursor was saved. */
extern bool capi_queue_unsaved(const CapiQueueReader *reader);

/* Saves the cursor if it moved past rows.  Inside a transaction with SPI. */
extern bool capi_queue_save(CapiQueueReader *reader);

/*
 * Turns to another segment when the present one is large, and truncates what
 * is past.  Inside a transaction of its own, with SPI.  Waits for no lock.
 * True when something is left to reclaim: another call is worth while soon.
 */
extern bool capi_queue_reclaim(CapiQueueReader *reader);

#endif							/* CAPI_QUEUE_H */
