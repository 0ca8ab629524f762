/*
 * evaluate.c
 *		From captured keys to events in batches: what may be read now, what the
 *		source's query says, what Meta would take.
 *
 * Everything that is not put into a batch gets its outcome here: held,
 * waiting for a paused or broken thing, ignored, rejected or expired.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/backoff.h"
#include "base/capi.h"
#include "base/guc.h"
#include "base/txn.h"
#include "event/payload.h"
#include "read/query.h"
#include "send/dispatch_state.h"
#include "store/context.h"
#include "store/direct.h"

/* Work on one chunk of items. */
typedef struct Chunk
{
	CapiDispatcher *d;
	CapiOutcome *outcomes;
	int			n;
	const char *broken_reason;	/* of the source at hand, or NULL */
} Chunk;

static void evaluate_source(Chunk *chunk, CapiSource *source,
							CapiItem **items, int n);
static void run_query(Chunk *chunk, CapiSource *source, CapiItem **items,
					  int n);
static void take_direct(Chunk *chunk, CapiItem **items, int n);
static void take_row(Chunk *chunk, CapiSource *source, CapiItem *item,
					 CapiOrder *row);
static void add_to_batch(CapiDispatcher *d, CapiItem *item,
						 const char *json, size_t len);

static CapiOutcome *
decide(Chunk *chunk, CapiItem *item, CapiOutcomeKind kind, const char *reason)
{
	CapiOutcome *outcome = &chunk->outcomes[chunk->n++];

	memset(outcome, 0, sizeof(*outcome));
	outcome->item = item;
	outcome->kind = kind;
	outcome->reason = reason;
	outcome->next_attempt_at = GetCurrentTimestamp();
	return outcome;
}

void
capi_evaluate_items(CapiDispatcher *d, CapiItem **items, int n)
{
	Chunk		chunk = {.d = d};
	CapiItem  **group = palloc(sizeof(CapiItem *) * n);

	chunk.outcomes = palloc(sizeof(CapiOutcome) * n);
	for (int i = 0; i < n; i++)
	{
		int			source_id;
		int			ngroup = 0;

		if (items[i] == NULL)
			continue;
		source_id = items[i]->source_id;
		for (int j = i; j < n; j++)
			if (items[j] != NULL && items[j]->source_id == source_id)
			{
				group[ngroup++] = items[j];
				items[j] = NULL;
			}
		evaluate_source(&chunk, capi_config_source(d->config, source_id), group, ngroup);
	}
	capi_answer_commit(d, chunk.outcomes, chunk.n);
}

/* Decides what needs no query; runs it for the rest. */
static void
evaluate_source(Chunk *chunk, CapiSource *source, CapiItem **items, int n)
{
	TimestampTz now = GetCurrentTimestamp();
	CapiDataset *dataset = source != NULL ?
		capi_config_dataset(chunk->d->config, source->dataset_id) : NULL;
	bool		slow = dataset != NULL &&
		capi_share_is_slow(chunk->d, dataset, now);
	int			left = 0;

	for (int i = 0; i < n; i++)
	{
		CapiItem   *item = items[i];

		if (source == NULL || source->detached)
			decide(chunk, item, CAPI_OUTCOME_IGNORED, "source detached");
		else if (source->hold_us > 0 && item->captured_at + source->hold_us > now)
			decide(chunk, item, CAPI_OUTCOME_HELD, NULL)->next_attempt_at =
				item->captured_at + source->hold_us;
		else if (source->paused)
			decide(chunk, item, CAPI_OUTCOME_QUEUED, "source paused");
		else if (source->broken && source->retry_at > now)
			decide(chunk, item, CAPI_OUTCOME_QUEUED, "source broken");
		else if (slow && item->segment >= 0)
			decide(chunk, item, CAPI_OUTCOME_QUEUED, "dataset is slow");
		else
			items[left++] = item;
	}
	if (left == 0)
		return;
	chunk->broken_reason = NULL;
	if (source->is_direct)
		take_direct(chunk, items, left);
	else
		run_query(chunk, source, items, left);
	if (chunk->broken_reason == NULL && !source->broken)
		return;
	capi_txn_begin("capi: noting the state of a source");
	capi_outcome_source_broken(source->id, chunk->broken_reason);
	capi_txn_commit();
	source->broken = chunk->broken_reason != NULL;
	if (!source->broken)
		source->failures = 0;
}

static void
query_failed(Chunk *chunk, CapiSource *source, CapiItem **items, int n,
			 const CapiQueryError *error)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		delay_ms;

	/* its time is not known, but no order was captured before it happened */
	if (!error->of_query && n == 1 &&
		now - items[0]->captured_at > CAPI_MAX_AGE_STORE_S * USECS_PER_SEC)
	{
		CapiOutcome *outcome = decide(chunk, items[0], CAPI_OUTCOME_EXPIRED, "too_old");

		outcome->error_code = 100;
		outcome->error_subcode = 2804003;
		return;
	}
	if (!error->of_query && n == 1)
	{
		/* one order's data: it alone waits and is tried again */
		int			attempt = ++items[0]->attempts;

		decide(chunk, items[0], CAPI_OUTCOME_RETRYING,
			   pstrdup(error->text))->next_attempt_at =
			TimestampTzPlusMilliseconds(now, capi_backoff_ceiling_ms(attempt, 10000,
																	 CAPI_BACKOFF_CEILING_MS));
		return;
	}
	source->failures++;
	delay_ms = capi_backoff_ceiling_ms(source->failures, 1000, 60000);
	/* others wait while it runs: a tenth of the time at most (P6) */
	delay_ms = Max(delay_ms, 9 * error->took_ms);
	source->retry_at = TimestampTzPlusMilliseconds(now, delay_ms);
	chunk->broken_reason = pstrdup(error->text);
	for (int i = 0; i < n; i++)
		decide(chunk, items[i], CAPI_OUTCOME_QUEUED, "source broken");
}

/* One bad order must not hold up the others: on an error of data, bisect (P6). */
static void
run_query(Chunk *chunk, CapiSource *source, CapiItem **items, int n)
{
	char	  **keys = palloc(sizeof(char *) * n);
	CapiOrder *rows = palloc(sizeof(CapiOrder) * n);
	CapiQueryError error;

	for (int i = 0; i < n; i++)
		keys[i] = items[i]->key;
	if (capi_query_run(source, keys, n, rows, &error))
	{
		capi_txn_begin("capi: reading browser contexts");
		capi_context_fill(source, keys, n, rows);
		capi_txn_commit();
		for (int i = 0; i < n; i++)
			take_row(chunk, source, items[i], &rows[i]);
	}
	else if (!error.of_query && n > 1)
	{
		run_query(chunk, source, items, n / 2);
		run_query(chunk, source, items + n / 2, n - n / 2);
	}
	else
		query_failed(chunk, source, items, n, &error);
}

/* Picks the dataset; false when the event cannot go anywhere now. */
static bool
route(Chunk *chunk, CapiItem *item, CapiOrder *row)
{
	TimestampTz now = GetCurrentTimestamp();
	CapiConfig *config = chunk->d->config;
	CapiDataset *dataset = row->dataset != NULL ?
		capi_config_dataset_by_name(config, row->dataset) :
		capi_config_dataset(config, item->dataset_id);
	bool		diverted;
	const char *reason;
	TimestampTz next;

	if (dataset == NULL)
	{
		decide(chunk, item, CAPI_OUTCOME_REJECTED, "unknown_dataset");
		return false;
	}
	diverted = item->dataset_id != dataset->id;
	item->dataset_id = dataset->id;

	/* whether its own dataset has room was known before the query ran */
	if (diverted && !capi_share_has_room(chunk->d, dataset))
	{
		decide(chunk, item, item->attempts > 0 ? CAPI_OUTCOME_RETRYING :
			   CAPI_OUTCOME_QUEUED, "dataset is slow");
		return false;
	}
	if (capi_dataset_may_send(dataset, now) ||
		(dataset->state != CAPI_DATASET_PAUSED && dataset->token != NULL &&
		 dataset->rest_until <= now && dataset->in_flight == 0))
		return true;
	reason = capi_dataset_obstacle(dataset, now, &next);
	decide(chunk, item, item->attempts > 0 ? CAPI_OUTCOME_RETRYING : CAPI_OUTCOME_QUEUED,
		   reason)->next_attempt_at = next;
	return false;
}

static void
take_row(Chunk *chunk, CapiSource *source, CapiItem *item, CapiOrder *row)
{
	CapiEvent  *event = &row->event;
	int64		now_s = timestamptz_to_time_t(GetCurrentTimestamp());
	StringInfoData json;
	CapiOutcome *outcome;
	bool		was_sent;

	if (row->found == 0)
	{
		decide(chunk, item, CAPI_OUTCOME_IGNORED, "not returned by the query");
		return;
	}
	if (row->found > 1)
	{
		decide(chunk, item, CAPI_OUTCOME_REJECTED, "several_rows");
		return;
	}
	item->has_context = row->has_context;
	/* an attempt that ended in the query told nobody of a time */
	was_sent = item->attempts > 0 && item->has_time;
	if (!was_sent)
	{
		item->has_time = event->has_event_time;
		item->event_time_s = event->event_time_s;
	}
	if (row->ignore_reason != NULL)
	{
		decide(chunk, item, CAPI_OUTCOME_IGNORED, row->ignore_reason);
		return;
	}
	if (!route(chunk, item, row))
		return;

	/* what was sent once is sent the same again (P5) */
	if (item->event_id != NULL)
		event->event_id = item->event_id;
	if (item->event_name != NULL)
		event->event_name = item->event_name;
	if (was_sent)
	{
		event->has_event_time = true;
		event->event_time_s = item->event_time_s;
	}
	capi_query_defaults(event, source, item->key);

	event->unchecked = !capi_local_checks;
	initStringInfo(&json);
	capi_payload_event(event, now_s, &json);
	item->event_id = unconstify(char *, event->event_id);
	item->event_name = unconstify(char *, event->event_name);
	item->has_time = event->has_event_time;
	item->event_time_s = event->event_time_s;
	item->value = unconstify(char *, event->value_text);
	item->currency = unconstify(char *, event->currency);
	if (event->problems.data != NULL && event->problems.len > 0)
		item->problems = psprintf("[%s]", event->problems.data);
	if (event->verdict == CAPI_VERDICT_SEND)
	{
		add_to_batch(chunk->d, item, json.data, json.len);
		return;
	}
	outcome = decide(chunk, item, event->verdict == CAPI_VERDICT_EXPIRED ?
					 CAPI_OUTCOME_EXPIRED : CAPI_OUTCOME_REJECTED, event->reason);
	outcome->error_code = event->error_code;
	outcome->error_subcode = event->error_subcode;
}

/*
 * Events that capi.send() stored in their final form; as many as memory has room
 * for, because the largest are sixty times as large as usual ones.
 */
static void
take_direct(Chunk *chunk, CapiItem **items, int n)
{
	CapiDirectEvent *events = palloc(sizeof(CapiDirectEvent) * n);
	CapiOrder row = {0};

	capi_txn_begin("capi: reading events of capi.send()");
	capi_direct_read(items, n, capi_share_free_bytes(), events);
	capi_txn_commit();
	for (int i = 0; i < n; i++)
	{
		CapiDirectEvent *event = &events[i];

		if (!event->found)
			decide(chunk, items[i], CAPI_OUTCOME_IGNORED, "event is gone");
		else if (event->deferred)
			decide(chunk, items[i], items[i]->attempts > 0 ? CAPI_OUTCOME_RETRYING :
				   CAPI_OUTCOME_QUEUED, NULL);
		else if (event->reason != NULL)
		{
			CapiOutcome *outcome = decide(chunk, items[i], event->expired ?
										  CAPI_OUTCOME_EXPIRED : CAPI_OUTCOME_REJECTED,
										  event->reason);

			outcome->error_code = event->error_code;
			outcome->error_subcode = event->error_subcode;
		}
		else if (route(chunk, items[i], &row))
			add_to_batch(chunk->d, items[i], event->json, event->json_len);
		if (event->json != NULL)
			pfree(event->json);
	}
}

/* ---------- batches ---------- */

static CapiBatch *
open_batch(CapiDispatcher *d, int dataset_id)
{
	ListCell   *lc;

	foreach(lc, d->batches)
	{
		CapiBatch  *batch = lfirst(lc);

		if (batch->dataset_id == dataset_id && capi_batch_is_open(batch))
			return batch;
	}
	return NULL;
}

/* The last batch of a dataset that is not closed still takes events. */
bool
capi_batch_is_open(const CapiBatch *batch)
{
	return !batch->closed && batch->request_id == 0;
}

static void
add_to_batch(CapiDispatcher *d, CapiItem *item, const char *json, size_t len)
{
	CapiBatch  *batch = open_batch(d, item->dataset_id);

	if (batch == NULL || !capi_batch_add(batch, item, json, len))
	{
		MemoryContext old;

		if (batch != NULL)
			capi_batch_close(batch, capi_config_dataset(d->config, batch->dataset_id));
		batch = capi_batch_create(d->context, item->dataset_id);
		old = MemoryContextSwitchTo(d->context);
		d->batches = lappend(d->batches, batch);
		MemoryContextSwitchTo(old);
		capi_batch_add(batch, item, json, len);
	}
	capi_share_count(d, item->dataset_id, 1);
}
