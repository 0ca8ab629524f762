/*
 * evaluate.c
 *		From captured keys to portions for readers, and from their results to
 *		events in batches.
 *
 * Everything that is not put into a batch gets its outcome here: held,
 * waiting for a paused or broken thing, ignored, rejected or expired.  Whether
 * an event is fit to be sent the reader has judged.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/backoff.h"
#include "base/capi.h"
#include "base/guc.h"
#include "base/txn.h"
#include "send/dispatch_state.h"
#include "store/direct.h"

/* When events are looked at again whose table is locked, or that memory has no room for. */
#define LOCKED_MS	1000
#define NO_ROOM_MS	100

/* An order that is not there yet is looked for again after this, at first. */
#define MISSING_FLOOR_MS	1000

/* Events with less time left go in batches of their own. */
#define EXPIRES_SOON_MS	(10 * 60 * 1000)

/* Those whose dataset does not exist. */
#define UNKNOWN_CEILING_MS	(10 * 60 * 1000)

static void take_direct(CapiChunk *chunk, CapiItem **items, int n);
static void add_to_batch(CapiChunk *chunk, CapiItem *item,
						 const char *json, size_t len);

CapiOutcome *
capi_evaluate_decide(CapiChunk *chunk, CapiItem *item, CapiOutcomeKind kind,
					 const char *reason)
{
	CapiOutcome *outcome;

	if (chunk->n == chunk->room)
	{
		chunk->room = Max(64, chunk->room * 2);
		chunk->outcomes = chunk->outcomes == NULL ?
			palloc(sizeof(CapiOutcome) * chunk->room) :
			repalloc(chunk->outcomes, sizeof(CapiOutcome) * chunk->room);
	}
	outcome = &chunk->outcomes[chunk->n++];
	memset(outcome, 0, sizeof(*outcome));
	outcome->item = item;
	outcome->kind = kind;
	outcome->reason = reason;
	outcome->next_attempt_at = capi_item_due_since(item, chunk->now);
	return outcome;
}

/* Decides what needs no query; gives the rest to readers. */
static void
evaluate_source(CapiChunk *chunk, CapiSource *source, CapiItem **items, int n)
{
	TimestampTz now = chunk->now;
	CapiDataset *dataset = source != NULL ?
		capi_config_dataset(chunk->d->config, source->dataset_id) : NULL;
	bool		slow = dataset != NULL &&
		capi_share_is_slow(chunk->d, dataset, now);
	TimestampTz next = now;
	const char *obstacle = source != NULL && !source->is_direct ?
		capi_portions_obstacle(chunk->d, source, now, &next) : NULL;
	int			left = 0;

	for (int i = 0; i < n; i++)
	{
		CapiItem   *item = items[i];

		if (source == NULL || source->detached)
			capi_evaluate_decide(chunk, item, CAPI_OUTCOME_IGNORED, "source detached");
		else if (source->hold_us > 0 && !capi_clock_has_waited(item, source->hold_us, now))
			capi_evaluate_decide(chunk, item, CAPI_OUTCOME_HELD, NULL)->next_attempt_at =
				capi_clock_waits_until(item, source->hold_us, now);
		else if (source->paused)
			capi_evaluate_decide(chunk, item, CAPI_OUTCOME_QUEUED, "source paused");
		else if (obstacle != NULL)
			capi_evaluate_decide(chunk, item, item->attempts > 0 ? CAPI_OUTCOME_RETRYING :
								 CAPI_OUTCOME_QUEUED, obstacle);
		else if (slow && item->segment >= 0)
			capi_evaluate_decide(chunk, item, CAPI_OUTCOME_QUEUED, "dataset is slow");
		/* a broken query is tried for one order */
		else if (source->broken && left > 0)
			capi_evaluate_decide(chunk, item, item->attempts > 0 ? CAPI_OUTCOME_RETRYING :
								 CAPI_OUTCOME_QUEUED, "source broken");
		else
			items[left++] = item;
	}
	if (left > 0 && source->is_direct)
		take_direct(chunk, items, left);
	else if (left > 0)
		capi_portions_add(chunk->d, source, items, left);
}

void
capi_evaluate_items(CapiDispatcher *d, CapiItem **items, int n)
{
	CapiChunk	chunk = {.d = d, .now = GetCurrentTimestamp()};
	CapiItem  **group = palloc(sizeof(CapiItem *) * n);

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

/* One order's data made the query fail: it alone waits and is tried again. */
static void
order_failed(CapiChunk *chunk, CapiItem *item, const char *reason)
{
	TimestampTz now = chunk->now;
	CapiOutcome *outcome;
	int			attempt;

	/* its time is not known, but no order was captured before it happened */
	if (now - item->captured_at > CAPI_MAX_AGE_STORE_S * USECS_PER_SEC)
	{
		outcome = capi_evaluate_decide(chunk, item, CAPI_OUTCOME_EXPIRED, "too_old");
		outcome->error_code = 100;
		outcome->error_subcode = 2804003;
		return;
	}
	attempt = ++item->attempts;
	outcome = capi_evaluate_decide(chunk, item, CAPI_OUTCOME_RETRYING, reason);
	outcome->next_attempt_at =
		TimestampTzPlusMilliseconds(now, capi_backoff_ceiling_ms(attempt, 10000,
																 CAPI_BACKOFF_CEILING_MS));
}

/*
 * Where an event goes that its query did not send elsewhere: to the dataset
 * that the source has today, unless Meta may have it in another one already.
 */
static CapiDataset *
usual_dataset(CapiConfig *config, const CapiItem *item)
{
	CapiSource *source = capi_config_source(config, item->source_id);
	CapiDataset *dataset = NULL;

	if (capi_item_was_sent(item) || source == NULL)
		dataset = capi_config_dataset(config, item->dataset_id);
	if (dataset == NULL && source != NULL)
		dataset = capi_config_dataset(config, source->dataset_id);
	return dataset;
}

/*
 * The configuration may be a second old, and a dataset may be created later,
 * which makes these events due (dispatch.c).  Until then they are looked at as
 * often again as they have waited, for the query may name another one.
 */
static void
wait_for_dataset(CapiChunk *chunk, CapiItem *item)
{
	TimestampTz now = chunk->now;
	int64		waited_ms = llabs(now - item->captured_at) / 1000;

	chunk->d->reload = true;
	capi_evaluate_decide(chunk, item, CAPI_OUTCOME_QUEUED,
						 CAPI_REASON_UNKNOWN_DATASET)->next_attempt_at =
		TimestampTzPlusMilliseconds(now, Max(Min(waited_ms, UNKNOWN_CEILING_MS), LOCKED_MS));
}

/* What is still to come waits for its time. */
static bool
is_early(CapiChunk *chunk, CapiItem *item)
{
	TimestampTz now = chunk->now;
	CapiDataset *dataset = capi_config_dataset(chunk->d->config, item->dataset_id);
	TimestampTz until = dataset == NULL ? 0 : capi_clock_early_until(dataset, item, now);

	/* without checks it is Meta's to say */
	if (until == 0 || !capi_local_checks)
		return false;
	capi_evaluate_decide(chunk, item, item->attempts > 0 ? CAPI_OUTCOME_RETRYING : CAPI_OUTCOME_HELD,
						 "in_the_future")->next_attempt_at = until;
	return true;
}

/* Picks the dataset; false when the event cannot go anywhere now. */
static bool
route(CapiChunk *chunk, CapiItem *item, const char *dataset_name)
{
	TimestampTz now = chunk->now;
	CapiConfig *config = chunk->d->config;
	CapiDataset *dataset = dataset_name != NULL ?
		capi_config_dataset_by_name(config, dataset_name) :
		usual_dataset(config, item);
	bool		diverted;

	if (dataset == NULL)
	{
		wait_for_dataset(chunk, item);
		return false;
	}
	diverted = item->dataset_id != dataset->id;
	item->dataset_id = dataset->id;
	item->is_routed = dataset_name != NULL;

	/* whether its own dataset has room was known before the query ran */
	if (diverted && !capi_share_has_room(chunk->d, dataset))
	{
		capi_evaluate_decide(chunk, item, item->attempts > 0 ? CAPI_OUTCOME_RETRYING :
			   CAPI_OUTCOME_QUEUED, "dataset is slow");
		return false;
	}
	if (capi_dataset_may_send(dataset, now) ||
		(dataset->state != CAPI_DATASET_PAUSED && dataset->token != NULL &&
		 dataset->rest_until <= now && dataset->in_flight == 0))
		return true;
	capi_evaluate_decide(chunk, item, item->attempts > 0 ? CAPI_OUTCOME_RETRYING : CAPI_OUTCOME_QUEUED,
						 capi_dataset_obstacle(dataset));
	return false;
}

/*
 * Notes what the reader found out; what was sent once keeps its time (P5), unless
 * that was one to come, for which Meta cannot have taken it: then an event is made
 * with an earlier one.  What the query says of an order that gives no event is not
 * that.
 */
static void
note_facts(CapiItem *item, const CapiOrderResult *result)
{
	if (!capi_item_was_sent(item) ||
		(result->kind != CAPI_RESULT_IGNORED && result->event_time_s < item->event_time_s))
	{
		item->has_time = result->has_time;
		item->event_time_s = result->event_time_s;
	}
	item->context = result->context;
	item->is_evaluated = true;
	item->is_store = result->is_store;
	if (result->event_id != NULL)
		item->event_id = result->event_id;
	if (result->event_name != NULL)
		item->event_name = result->event_name;
	item->value = result->value;
	item->currency = result->currency;
	item->problems = result->problems;
}

/*
 * An order that the query does not return may be there in a moment: it waits,
 * each time for as long again as it is old, until it is given up.
 */
static bool
is_missing(CapiChunk *chunk, CapiItem *item, const CapiOrderResult *result)
{
	TimestampTz now = chunk->now;
	int64		wait_us = capi_missing_wait * INT64CONST(1000);
	int64		age_ms = Max(llabs(now - item->captured_at) / 1000, MISSING_FLOOR_MS);
	CapiOutcome *outcome;

	if (result->kind != CAPI_RESULT_IGNORED ||
		strcmp(result->reason, CAPI_REASON_MISSING) != 0 ||
		capi_clock_has_waited(item, wait_us, now))
		return false;
	outcome = capi_evaluate_decide(chunk, item, CAPI_OUTCOME_RETRYING, CAPI_REASON_MISSING);
	outcome->next_attempt_at =
		Min(TimestampTzPlusMilliseconds(now, age_ms),
			capi_clock_waits_until(item, wait_us, now));
	return true;
}

void
capi_evaluate_result(CapiChunk *chunk, CapiSource *source, CapiItem *item,
					 CapiOrderResult *result)
{
	CapiOutcome *outcome;

	if (result->kind == CAPI_RESULT_FAILED)
	{
		order_failed(chunk, item, result->reason);
		return;
	}
	note_facts(item, result);
	if (source == NULL || source->detached)
	{
		capi_evaluate_decide(chunk, item, CAPI_OUTCOME_IGNORED, "source detached");
		return;
	}
	if (is_missing(chunk, item, result))
		return;
	if (result->kind == CAPI_RESULT_IGNORED)
	{
		capi_evaluate_decide(chunk, item, CAPI_OUTCOME_IGNORED, result->reason);
		return;
	}
	if (!route(chunk, item, result->dataset))
		return;
	if (result->kind == CAPI_RESULT_EVENT && is_early(chunk, item))
		return;
	if (result->kind == CAPI_RESULT_EVENT)
	{
		add_to_batch(chunk, item, result->json, result->json_len);
		return;
	}
	outcome = capi_evaluate_decide(chunk, item, result->kind == CAPI_RESULT_EXPIRED ?
								   CAPI_OUTCOME_EXPIRED : CAPI_OUTCOME_REJECTED,
								   result->reason);
	outcome->error_code = result->error_code;
	outcome->error_subcode = result->error_subcode;
}

/* Not now, and nobody's fault. */
static void
put_off(CapiChunk *chunk, CapiItem *item, int delay_ms)
{
	capi_evaluate_decide(chunk, item, item->attempts > 0 ? CAPI_OUTCOME_RETRYING :
						 CAPI_OUTCOME_QUEUED, NULL)->next_attempt_at =
		TimestampTzPlusMilliseconds(chunk->now, delay_ms);
}

typedef struct DirectRead
{
	CapiItem  **items;
	int			n;
	CapiDirectEvent *events;
} DirectRead;

/* Step for capi_txn_try(). */
static void
read_direct(void *arg)
{
	DirectRead *read = arg;

	capi_direct_read(read->items, read->n, capi_share_free_bytes(), read->events);
}

/*
 * Of an event in its final form the time is to come, because it was given when the
 * clock was ahead: it is now.  Both are of ten digits (payload.c).
 */
static void
set_time(CapiItem *item, char *json)
{
	static const char name[] = ",\"event_time\":";
	TimestampTz now = GetCurrentTimestamp();
	int64		now_s = timestamptz_to_time_t(now);
	char	   *found = strstr(json, name);
	char		digits[32];
	int			n = snprintf(digits, sizeof(digits), INT64_FORMAT, now_s);

	if (found == NULL || item->event_time_s <= now_s || !capi_clock_was_ahead(item, now) ||
		(int) strspn(found + strlen(name), "0123456789") != n)
		return;
	memcpy(found + strlen(name), digits, n);
	item->event_time_s = now_s;
}

/*
 * Events that capi.send() stored in their final form; as many as memory has room
 * for, because the largest are sixty times as large as usual ones.
 */
static void
take_direct(CapiChunk *chunk, CapiItem **items, int n)
{
	CapiDirectEvent *events = palloc0(sizeof(CapiDirectEvent) * n);
	DirectRead	read = {items, n, events};

	if (!capi_txn_try("capi: reading events of capi.send()", read_direct, &read))
	{
		for (int i = 0; i < n; i++)
			put_off(chunk, items[i], LOCKED_MS);
		return;
	}
	for (int i = 0; i < n; i++)
	{
		CapiDirectEvent *event = &events[i];

		if (event->json != NULL)
			set_time(items[i], event->json);
		if (!event->found)
			capi_evaluate_decide(chunk, items[i], CAPI_OUTCOME_IGNORED, "event is gone");
		else if (event->deferred)
			put_off(chunk, items[i], NO_ROOM_MS);
		else if (event->reason != NULL)
		{
			CapiOutcome *outcome = capi_evaluate_decide(chunk, items[i], event->expired ?
										  CAPI_OUTCOME_EXPIRED : CAPI_OUTCOME_REJECTED,
										  event->reason);

			outcome->error_code = event->error_code;
			outcome->error_subcode = event->error_subcode;
		}
		else if (route(chunk, items[i], NULL) && !is_early(chunk, items[i]))
			add_to_batch(chunk, items[i], event->json, event->json_len);
		if (event->json != NULL)
			pfree(event->json);
	}
}

/* ---------- batches ---------- */

static CapiBatch *
open_batch(CapiDispatcher *d, int dataset_id, bool expires_soon)
{
	ListCell   *lc;

	foreach(lc, d->batches)
	{
		CapiBatch  *batch = lfirst(lc);

		if (batch->dataset_id == dataset_id && batch->expires_soon == expires_soon &&
			capi_batch_is_open(batch))
			return batch;
	}
	return NULL;
}

/* The last batch of a dataset that is not closed still takes events. */
bool
capi_batch_is_open(const CapiBatch *batch)
{
	return !batch->closed;
}

/* An event that may be to blame for a refusal goes alone. */
static void
add_alone(CapiDispatcher *d, CapiItem *item, const char *json, size_t len)
{
	CapiBatch  *batch = capi_batch_create(d->context, item->dataset_id);
	MemoryContext old = MemoryContextSwitchTo(d->context);

	capi_batch_add(batch, item, json, len);
	capi_batch_close(batch, capi_config_dataset(d->config, item->dataset_id));
	d->batches = lappend(d->batches, batch);
	MemoryContextSwitchTo(old);
	capi_share_count(d, item->dataset_id, 1);
}

static void
add_to_batch(CapiChunk *chunk, CapiItem *item, const char *json, size_t len)
{
	CapiDispatcher *d = chunk->d;

	/* one that is too old when it arrives sinks those beside it */
	bool		expires_soon = capi_item_expires_at(item) <
		TimestampTzPlusMilliseconds(chunk->now, EXPIRES_SOON_MS);
	CapiBatch  *batch = open_batch(d, item->dataset_id, expires_soon);

	if (item->apart)
	{
		add_alone(d, item, json, len);
		return;
	}
	if (batch == NULL || !capi_batch_add(batch, item, json, len))
	{
		MemoryContext old;

		if (batch != NULL)
			capi_batch_close(batch, capi_config_dataset(d->config, batch->dataset_id));
		batch = capi_batch_create(d->context, item->dataset_id);
		batch->expires_soon = expires_soon;
		old = MemoryContextSwitchTo(d->context);
		d->batches = lappend(d->batches, batch);
		MemoryContextSwitchTo(old);
		capi_batch_add(batch, item, json, len);
	}
	capi_share_count(d, item->dataset_id, 1);
}
