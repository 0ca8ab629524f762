/*
 * record.c
 *		Outcomes on their way into the tables, put off when somebody holds a lock
 *		that they need, or when they cannot be written.
 *
 * What happened at Meta has happened: an answer whose record must wait for a
 * stranger's transaction, or for room on a disk, stays in this process's memory
 * and is tried again, while others go on (P6).  A process that ended instead
 * would leave it to the next one to send the same again, and that to the next.
 * Its orders stay noted as under way, so nothing is sent twice; what a crash
 * takes with it is sent once more, as any request whose answer was not recorded
 * (P5).
 *
 * Called by answer.c, evaluate.c and portions.c through capi_record(), and by
 * dispatch.c for the second try.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/capi.h"
#include "base/txn.h"
#include "send/dispatch_state.h"

/* Time between two tries. */
#define RETRY_MS	500

/* Step for capi_txn_try(). */
static void
write_record(void *arg)
{
	CapiRecord *record = arg;

	if (record->has_request && record->request_id == 0)
		record->request_id = capi_outcome_next_request();
	for (int i = 0; record->has_request && i < record->n; i++)
		record->outcomes[i].request_id = record->request_id;
	if (record->has_request)
		capi_outcome_request(record->request_id, record->dataset_id, record->sent_at,
							 record->duration_ms, record->events, record->bytes,
							 &record->result);
	if (record->has_rest)
		capi_outcome_rest(record->dataset_id, record->rest_until,
						  record->result.class == CAPI_CLASS_THROTTLED);
	if (record->has_version)
		capi_outcome_served_version(record->dataset_id, record->result.api_version);
	if (record->has_clock)
		capi_outcome_clock(record->dataset_id, record->clock_ahead_ms);
	if (record->state != NULL)
		capi_outcome_dataset_state(record->dataset_id, record->state, record->state_reason);
	capi_outcome_record(record->outcomes, record->n);
}

/* What has to wait and was not sent waits for the dataset of its source. */
static void
follow_source(CapiDispatcher *d, CapiOutcome *outcomes, int n)
{
	for (int i = 0; i < n; i++)
	{
		CapiItem   *item = outcomes[i].item;
		CapiSource *source = capi_config_source(d->config, item->source_id);

		if (outcomes[i].kind >= CAPI_OUTCOME_QUEUED && source != NULL &&
			!item->is_routed && !capi_item_was_sent(item))
			item->dataset_id = source->dataset_id;
	}
}

static char *
copy_text(const char *text)
{
	return text != NULL ? pstrdup(text) : NULL;
}

static List *
keep_in(MemoryContext context, List *records, CapiRecord *record)
{
	MemoryContext old = MemoryContextSwitchTo(context);

	records = lappend(records, record);
	MemoryContextSwitchTo(old);
	return records;
}

/* A copy that lives until it is written. */
static void
keep_record(CapiDispatcher *d, const CapiRecord *record)
{
	MemoryContext context = AllocSetContextCreate(d->context, "capi record that waits",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	CapiRecord *copy = palloc(sizeof(CapiRecord));

	*copy = *record;
	copy->context = context;
	copy->state_reason = copy_text(record->state_reason);
	copy->outcomes = palloc(sizeof(CapiOutcome) * (record->n + 1));
	for (int i = 0; i < record->n; i++)
	{
		copy->outcomes[i] = record->outcomes[i];
		copy->outcomes[i].item = capi_item_copy(record->outcomes[i].item);
		copy->outcomes[i].reason = copy_text(record->outcomes[i].reason);
	}
	MemoryContextSwitchTo(old);
	d->records = keep_in(d->context, d->records, copy);
	d->nrecords += record->n;
	d->records_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_MS);
}

void
capi_record(CapiDispatcher *d, CapiRecord *record)
{
	if (record->n == 0 && !record->has_request)
		return;
	capi_in_flight_revise(d, record->outcomes, record->n);
	follow_source(d, record->outcomes, record->n);
	if (capi_txn_try_whatever("capi: recording outcomes", write_record, record))
		capi_in_flight_settled(d, record->outcomes, record->n);
	else
		keep_record(d, record);
}

/* What a later answer made of the dataset's state stands. */
static void
drop_old_state(CapiDispatcher *d, CapiRecord *record)
{
	CapiDataset *dataset = capi_config_dataset(d->config, record->dataset_id);
	CapiDatasetState state;

	if (record->state == NULL)
		return;
	state = strcmp(record->state, "active") == 0 ? CAPI_DATASET_ACTIVE :
		strcmp(record->state, "credential") == 0 ? CAPI_DATASET_CREDENTIAL :
		strcmp(record->state, "refused") == 0 ? CAPI_DATASET_REFUSED :
		CAPI_DATASET_VERSION;
	if (dataset == NULL || dataset->state != state)
		record->state = NULL;
}

void
capi_record_again(CapiDispatcher *d)
{
	CapiRecord *put_last = NULL;
	ListCell   *lc;

	if (d->records == NIL || GetCurrentTimestamp() < d->records_at)
		return;
	foreach(lc, d->records)
	{
		CapiRecord *record = lfirst(lc);

		drop_old_state(d, record);
		capi_in_flight_revise(d, record->outcomes, record->n);
		follow_source(d, record->outcomes, record->n);
		/* what holds up one mostly holds up all; else the next one is first */
		if (!capi_txn_try_whatever("capi: recording outcomes that waited", write_record, record))
		{
			d->records = foreach_delete_current(d->records, lc);
			put_last = record;
			break;
		}
		capi_in_flight_settled(d, record->outcomes, record->n);
		d->records = foreach_delete_current(d->records, lc);
		d->nrecords -= record->n;
		MemoryContextDelete(record->context);
	}
	if (put_last != NULL)
		d->records = keep_in(d->context, d->records, put_last);
	d->records_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_MS);
}

/* With so much in memory nothing new is begun. */
bool
capi_record_is_full(const CapiDispatcher *d)
{
	return d->nrecords >= 5 * CAPI_MAX_BATCH_EVENTS;
}
