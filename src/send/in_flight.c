/*
 * in_flight.c
 *		The keys that the dispatcher is working on: taken up once, forgotten
 *		when their outcome is durable.
 *
 * Called by dispatch.c and answer.c.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "send/dispatch_state.h"

static uint64
item_hash(const CapiItem *item)
{
	return hash_bytes_extended((const unsigned char *) item->key, strlen(item->key),
							   item->source_id);
}

/*
 * Notes that the item is being worked on; false when its key is already.  Two
 * keys with one hash: the second is not noted, so it could be taken up twice,
 * which costs a repeat, never a loss.
 */
bool
capi_in_flight_add(CapiDispatcher *d, CapiItem *item)
{
	uint64		hash = item_hash(item);
	bool		found;
	CapiInFlight *entry = hash_search(d->in_flight, &hash, HASH_ENTER, &found);

	if (found)
		return entry->source_id != item->source_id || strcmp(entry->key, item->key) != 0;
	entry->source_id = item->source_id;
	entry->key = MemoryContextStrdup(d->context, item->key);
	return true;
}

/* The outcomes are committed: forget the keys, settle the queue rows. */
void
capi_in_flight_settled(CapiDispatcher *d, CapiOutcome *outcomes, int n)
{
	for (int i = 0; i < n; i++)
	{
		CapiItem   *item = outcomes[i].item;
		uint64		hash = item_hash(item);
		CapiInFlight *entry = hash_search(d->in_flight, &hash, HASH_FIND, NULL);

		if (entry != NULL && entry->source_id == item->source_id &&
			strcmp(entry->key, item->key) == 0)
		{
			pfree(entry->key);
			hash_search(d->in_flight, &hash, HASH_REMOVE, NULL);
		}
		if (item->segment >= 0 && item->generation == d->generation && d->reader != NULL)
			capi_queue_settle(d->reader, item->segment, item->pass);
		if (outcomes[i].kind >= CAPI_OUTCOME_QUEUED && outcomes[i].kind < CAPI_OUTCOME_NONE)
			d->backlog_due_at = Min(d->backlog_due_at, outcomes[i].next_attempt_at);
	}
}
