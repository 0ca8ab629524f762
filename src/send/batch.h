/*
 * batch.h
 *		Requests under construction and under way.  See batch.c.
 */
#ifndef CAPI_BATCH_H
#define CAPI_BATCH_H

#include "lib/stringinfo.h"

#include "store/config.h"
#include "store/item.h"

typedef struct CapiBatch
{
	MemoryContext context;		/* everything of the batch, itself included */
	int			dataset_id;
	TimestampTz opened_at;
	TimestampTz sent_at;
	int			n;
	CapiItem  **items;			/* CAPI_MAX_BATCH_EVENTS of them at most */
	StringInfoData body;
	bool		closed;			/* body is complete */
	bool		expires_soon;	/* Meta will not take its events for long */
	TimestampTz suspected_at;	/* it was part of one that was refused; or 0 */
	int			depth;			/* how often that was halved */
	size_t		counted;		/* of capi_batch_bytes() */
	MemoryContextCallback gone; /* takes them off again */
} CapiBatch;

/* Of events in all batches, sent or not. */
extern size_t capi_batch_bytes(void);

/* Below its owner's memory, and so gone with it. */
extern CapiBatch *capi_batch_create(MemoryContext parent, int dataset_id);
extern void capi_batch_free(CapiBatch *batch);

/* False, with nothing changed, when the event does not fit any more. */
extern bool capi_batch_add(CapiBatch *batch, const CapiItem *item,
						   const char *json, size_t json_len);

/* Completes the body. */
extern void capi_batch_close(CapiBatch *batch, const CapiDataset *dataset);

/* A new batch of items [from, until), with the JSON they already have. */
extern CapiBatch *capi_batch_split(const CapiBatch *batch, int from, int until,
								   int without);

/* Likewise, of those items that are not left out. */
extern CapiBatch *capi_batch_pick(const CapiBatch *batch, const bool *leave_out);

#endif							/* CAPI_BATCH_H */
