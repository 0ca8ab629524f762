/*
 * in_flight.c
 *		The keys that the dispatcher is working on: taken up once, forgotten
 *		when their outcome is durable.
 *
 * Called by intake.c, backlog.c and record.c.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/timestamp.h"

#include "send/dispatch_state.h"

static uint64
item_hash(const CapiItem *item)
{
	return hash_bytes_extended((const unsigned char *) item->key, strlen(item->key),
							   item->source_id);
}

/* What is noted of the item's key, or NULL. */
static CapiInFlight *
find(CapiDispatcher *d, const CapiItem *item)
{
	uint64		hash = item_hash(item);
	CapiInFlight *entry = hash_search(d->in_flight, &hash, HASH_FIND, NULL);

	if (entry == NULL || entry->source_id != item->source_id ||
		strcmp(entry->key, item->key) != 0)
		return NULL;
	return entry;
}

bool
capi_in_flight_has(CapiDispatcher *d, const CapiItem *item)
{
	return find(d, item) != NULL;
}

/*
 * An order that is under way was captured once more.  What its query says of it
 * may be what it was before, unless both captures came with one pass of the
 * queue, after which it was read.
 */
void
capi_in_flight_captured(CapiDispatcher *d, const CapiItem *item)
{
	CapiInFlight *entry = find(d, item);

	/* the same capture, read again after a restart */
	if (entry == NULL || entry->captured_at == item->captured_at)
		return;
	entry->captured_at = Max(entry->captured_at, item->captured_at);
	if (entry->generation != item->generation || entry->pass != item->pass)
		entry->again = true;
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
	entry->captured_at = item->captured_at;
	entry->generation = item->segment >= 0 ? item->generation : 0;
	entry->pass = item->pass;
	entry->again = false;
	return true;
}

/*
 * Before outcomes are recorded: an order that is ignored as it was, and was
 * captured again meanwhile, is to be looked at again.  One that stays ignored
 * has the time of its latest capture, so that this one is known.
 */
void
capi_in_flight_revise(CapiDispatcher *d, CapiOutcome *outcomes, int n)
{
	for (int i = 0; i < n; i++)
	{
		CapiItem   *item = outcomes[i].item;
		CapiInFlight *entry;

		if (outcomes[i].kind != CAPI_OUTCOME_IGNORED ||
			(entry = find(d, item)) == NULL)
			continue;
		item->captured_at = entry->captured_at;
		if (!entry->again)
			continue;
		entry->again = false;
		outcomes[i].kind = item->attempts > 0 ? CAPI_OUTCOME_RETRYING : CAPI_OUTCOME_QUEUED;
		outcomes[i].reason = "captured again";
		outcomes[i].next_attempt_at = GetCurrentTimestamp();
	}
}

/* The outcomes are committed: forget the keys, settle the queue rows. */
void
capi_in_flight_settled(CapiDispatcher *d, CapiOutcome *outcomes, int n)
{
	for (int i = 0; i < n; i++)
	{
		CapiItem   *item = outcomes[i].item;
		CapiInFlight *entry = find(d, item);

		if (entry != NULL)
		{
			uint64		hash = entry->hash;

			pfree(entry->key);
			hash_search(d->in_flight, &hash, HASH_REMOVE, NULL);
		}
		if (item->segment >= 0 && item->generation == d->generation && d->reader != NULL)
			capi_queue_settle(d->reader, item->segment, item->pass);
		if (outcomes[i].kind >= CAPI_OUTCOME_QUEUED && outcomes[i].kind < CAPI_OUTCOME_NONE)
			d->backlog_due_at = Min(d->backlog_due_at, outcomes[i].next_attempt_at);
	}
}
