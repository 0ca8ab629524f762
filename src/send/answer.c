/*
 * answer.c
 *		From an answer to the outcomes of the events in its request.
 *
 * response.c says what class the answer is of; here each class is acted on:
 *
 *		accepted	delivered
 *		transient	the dataset rests, with full jitter; its events are due at once
 *					and passed over until one request, the probe, is accepted
 *		throttled	the dataset rests as long as the headers ask
 *		credential	the dataset's state changes; its events wait; now and then
 *		version		one request probes whether it works again
 *		early		what Meta's clock has not reached waits, the rest goes: clock.c
 *		permanent	one event: suspect.c; more: the guilty one alone, or halves
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "answer/response.h"
#include "base/backoff.h"
#include "base/capi.h"
#include "base/txn.h"
#include "send/dispatch_state.h"

/* A refused token is probed this often. */
#define PROBE_INTERVAL_MS	(5 * 60 * 1000)

/*
 * The ceiling of a rest doubles from a second with each failure in a row, seven
 * times: a request in a minute is no burden on an endpoint that is down, and
 * after an outage of any length the first success is as near as after a short one.
 */
#define MAX_STEP	7

/* An event in the future whose time the clocks do not explain is tried again. */
#define EARLY_BASE_MS		10000
#define EARLY_CEILING_MS	(5 * 60 * 1000)

/* So many answers that say nothing, and the batch is halved. */
#define MAX_UNEXPLAINED	3

/* A dataset that throttles without saying for how long rests at least this. */
#define THROTTLE_FLOOR_MS	(60 * 1000)

static void
wait_for(CapiOutcome *outcome, CapiItem *item, CapiOutcomeKind kind,
		 const char *reason, TimestampTz next)
{
	outcome->item = item;
	outcome->kind = kind;
	outcome->reason = reason;
	outcome->next_attempt_at = next;
}

/* Commits the outcomes, then forgets what was kept for them. */
void
capi_answer_commit(CapiDispatcher *d, CapiOutcome *outcomes, int n)
{
	CapiRecord	record = {.n = n, .outcomes = outcomes};

	capi_record(d, &record);
}

/* A batch that may not be sent now goes to the backlog, unsent. */
void
capi_answer_put_back(CapiDispatcher *d, CapiBatch *batch, CapiDataset *dataset)
{
	TimestampTz now = GetCurrentTimestamp();
	CapiOutcome *outcomes = palloc0(sizeof(CapiOutcome) * batch->n);
	const char *reason = capi_dataset_obstacle(dataset);

	for (int i = 0; i < batch->n; i++)
	{
		CapiItem   *item = batch->items[i];

		wait_for(&outcomes[i], item,
				 item->attempts > 0 ? CAPI_OUTCOME_RETRYING : CAPI_OUTCOME_QUEUED,
				 reason, capi_item_due_since(item, now));
	}
	capi_share_count(d, batch->dataset_id, -batch->n);
	capi_answer_commit(d, outcomes, batch->n);
	pfree(outcomes);
	capi_batch_free(batch);
}

static void
queue_batch(CapiDispatcher *d, CapiBatch *batch, CapiDataset *dataset)
{
	MemoryContext old = MemoryContextSwitchTo(d->context);

	if (dataset != NULL)
		capi_batch_close(batch, dataset);
	d->batches = lcons(batch, d->batches);
	capi_share_count(d, batch->dataset_id, batch->n);
	MemoryContextSwitchTo(old);
}

static int	handle_wait(CapiBatch *batch, CapiDataset *dataset, const CapiResult *result,
						CapiOutcome *outcomes);

/*
 * Halves what is refused.  Which half is tried first alternates, so that the
 * search comes by different places of the batch.
 */
static void
halve(CapiDispatcher *d, CapiBatch *batch, CapiDataset *dataset)
{
	TimestampTz since = batch->suspected_at != 0 ? batch->suspected_at : GetCurrentTimestamp();
	int			middle = batch->n / 2;
	CapiBatch  *parts[2] = {
		capi_batch_split(batch, 0, middle, -1),
		capi_batch_split(batch, middle, batch->n, -1)
	};

	for (int i = 0; i < 2; i++)
	{
		parts[i]->suspected_at = since;
		parts[i]->depth = batch->depth + 1;
	}
	queue_batch(d, parts[1 - batch->depth % 2], dataset);
	queue_batch(d, parts[batch->depth % 2], dataset);
	if (dataset != NULL && dataset->accepted_at <= since)
		dataset->suspected_at = since;
}

/*
 * The answer names an event.  It is judged like one that was refused alone, for an
 * account that is refused may be told of each event in turn.  So while nothing is
 * accepted between two of them, the others go in halves, that some are sooner.
 */
static void
accuse(CapiDispatcher *d, CapiBatch *batch, CapiDataset *dataset, CapiRecord *record)
{
	CapiBatch  *rest = capi_batch_split(batch, 0, batch->n, record->result.guilty_index);

	record->suspect = true;
	if (dataset == NULL || dataset->nnamed++ == 0 || rest->n == 1)
	{
		queue_batch(d, rest, dataset);
		return;
	}
	halve(d, rest, dataset);
	capi_batch_free(rest);
}

static void
reject(CapiOutcome *outcome, CapiItem *item, const CapiResult *result)
{
	outcome->item = item;
	outcome->kind = CAPI_OUTCOME_REJECTED;
	outcome->reason = "refused";
	outcome->error_code = result->error_code;
	outcome->error_subcode = result->error_subcode;
}

/*
 * Some event of the batch is refused, or the dataset is: which?  Returns the
 * outcomes it made.
 */
static int
handle_permanent(CapiDispatcher *d, CapiBatch *batch, CapiDataset *dataset,
				 CapiRecord *record)
{
	const CapiResult *result = &record->result;

	if (batch->n == 1 && capi_suspect_is_guilty(dataset, batch) &&
		!capi_suspect_is_due_again(batch->items[0], result))
	{
		reject(&record->outcomes[0], batch->items[0], result);
		return 1;
	}
	if (dataset != NULL && dataset->state == CAPI_DATASET_REFUSED)
	{
		capi_suspect_probe_refused(dataset);
		return handle_wait(batch, dataset, result, record->outcomes);
	}
	if (batch->n == 1)
		record->suspect = true;
	else if (result->guilty_index >= 0)
		accuse(d, batch, dataset, record);
	else
		halve(d, batch, dataset);
	return 0;
}

/*
 * The endpoint works, it accepts events or refuses them: what waited for the
 * dataset is due, if this was sent after the last failure.
 */
static void
dataset_succeeded(CapiDispatcher *d, CapiBatch *batch, CapiDataset *dataset,
				  CapiRecord *record)
{
	TimestampTz now = GetCurrentTimestamp();

	if (batch->sent_at > dataset->failed_at &&
		(record->result.class == CAPI_CLASS_ACCEPTED || dataset->state != CAPI_DATASET_REFUSED))
	{
		dataset->failures = 0;
		dataset->rest_until = 0;
		dataset->is_paced = record->result.rest_ms > 0;
		d->backlog_due_at = DT_NOBEGIN;
	}
	if (record->result.rest_ms > 0)
		dataset->rest_until = Max(dataset->rest_until,
								  TimestampTzPlusMilliseconds(now, record->result.rest_ms));
	if (record->result.class == CAPI_CLASS_ACCEPTED)
	{
		dataset->accepted_at = Max(dataset->accepted_at, batch->sent_at);
		if (batch->sent_at > dataset->suspected_at)
			dataset->suspected_at = 0;
		dataset->nalike = 0;
		dataset->nnamed = 0;
	}
	else if (dataset->state == CAPI_DATASET_REFUSED)
		return;
	if (dataset->state != CAPI_DATASET_ACTIVE && dataset->state != CAPI_DATASET_PAUSED)
	{
		dataset->state = CAPI_DATASET_ACTIVE;
		record->state = "active";
	}
}

/* What is told of a dataset that sends no more. */
static void
stop_dataset(CapiDataset *dataset, const CapiResult *result, CapiRecord *record)
{
	bool		credential = result->class == CAPI_CLASS_CREDENTIAL;

	if (dataset->state == CAPI_DATASET_PAUSED)
		return;
	dataset->state = credential ? CAPI_DATASET_CREDENTIAL : CAPI_DATASET_VERSION;
	record->state = credential ? "credential" : "version";
	record->state_reason = psprintf("error %d%s%s: %s", result->error_code,
									result->error_subcode != 0 ? "/" : "",
									result->error_subcode != 0 ?
									psprintf("%d", result->error_subcode) : "",
									result->message);
}

/*
 * How long the dataset rests after a failure, and what its state becomes.  The
 * time of the next try is the dataset's and drawn once: what was under way
 * together failed for one reason, and counts as one.
 */
static void
dataset_failed(CapiBatch *batch, CapiDataset *dataset, const CapiResult *result,
			   CapiRecord *record)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		rest = result->rest_ms;

	if (batch->sent_at > dataset->failed_at)
	{
		dataset->failures++;
		dataset->is_throttled = result->class == CAPI_CLASS_THROTTLED;
		dataset->failed_at = now;
		if (result->class == CAPI_CLASS_TRANSIENT)
			rest = Max(rest, capi_backoff_delay_ms(Min(dataset->failures, MAX_STEP),
												   pg_prng_double(&pg_global_prng_state), 0));
	}
	if (result->class == CAPI_CLASS_THROTTLED)
		rest = rest > 0 ? rest : THROTTLE_FLOOR_MS;
	else if (result->class != CAPI_CLASS_TRANSIENT)
	{
		rest = Max(rest, PROBE_INTERVAL_MS);
		stop_dataset(dataset, result, record);
	}
	if (rest > 0)
		dataset->rest_until = Max(dataset->rest_until, TimestampTzPlusMilliseconds(now, rest));
}

/* The whole batch waits; attempts count only where Meta may have had it. */
static int
handle_wait(CapiBatch *batch, CapiDataset *dataset, const CapiResult *result,
			CapiOutcome *outcomes)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		refused = result->class == CAPI_CLASS_CREDENTIAL ||
		result->class == CAPI_CLASS_VERSION || result->class == CAPI_CLASS_PERMANENT;
	/* another one is to probe next */
	bool		small_probe = result->class == CAPI_CLASS_PERMANENT ||
		(result->class == CAPI_CLASS_TRANSIENT && batch->n == 1 && dataset != NULL &&
		 capi_dataset_probe_size(dataset) == 1);

	for (int i = 0; i < batch->n; i++)
	{
		CapiItem   *item = batch->items[i];

		wait_for(&outcomes[i], item, refused ? CAPI_OUTCOME_QUEUED : CAPI_OUTCOME_RETRYING,
				 refused ? capi_dataset_obstacle(dataset) : capi_response_class_name(result->class),
				 small_probe ? now : capi_item_due_since(item, now));
		outcomes[i].error_code = result->error_code;
		outcomes[i].error_subcode = result->error_subcode;
	}
	return batch->n;
}

static int
handle_accepted(CapiBatch *batch, CapiOutcome *outcomes)
{
	for (int i = 0; i < batch->n; i++)
	{
		outcomes[i].item = batch->items[i];
		outcomes[i].kind = CAPI_OUTCOME_DELIVERED;
	}
	return batch->n;
}

/* One event that Meta's clock has not reached, or an absurd one. */
static void
wait_for_time(CapiOutcome *outcome, CapiItem *item, const CapiDataset *dataset,
			  const CapiResult *result)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = dataset == NULL ? 0 : capi_clock_early_until(dataset, item, now);

	if (next == 0)
		next = TimestampTzPlusMilliseconds(now,
										   capi_backoff_ceiling_ms(item->attempts, EARLY_BASE_MS,
																   EARLY_CEILING_MS));
	wait_for(outcome, item, CAPI_OUTCOME_RETRYING, "in_the_future", next);
	if (item->event_time_s - timestamptz_to_time_t(now) > CAPI_MAX_AHEAD_S)
	{
		outcome->kind = CAPI_OUTCOME_REJECTED;
		outcome->reason = "refused";
	}
	outcome->error_code = result->error_code;
	outcome->error_subcode = result->error_subcode;
}

/*
 * Some events are in the future by Meta's clock: they wait for their time, the
 * others go at once.  If the clocks do not tell which, they are looked for.
 */
static int
handle_early(CapiDispatcher *d, CapiBatch *batch, CapiDataset *dataset,
			 CapiRecord *record)
{
	bool	   *early = palloc0(sizeof(bool) * batch->n);
	int			n = dataset == NULL ? 0 : capi_clock_part_early(dataset, batch, early);
	CapiBatch  *rest;
	int			made = 0;

	if (batch->n == 1)
		early[0] = true;
	else if (n == 0)
	{
		halve(d, batch, dataset);
		return 0;
	}
	for (int i = 0; i < batch->n; i++)
		if (early[i])
			wait_for_time(&record->outcomes[made++], batch->items[i], dataset, &record->result);
	if (made == batch->n)
		return made;
	rest = capi_batch_pick(batch, early);
	queue_batch(d, rest, dataset);
	return made;
}

/*
 * An answer that is not understood is taken for a passing fault; when it keeps
 * coming it may be about one event, so the batch is halved.  So may any fault that
 * a batch met again and again, if another one was accepted after the last time.
 */
static bool
is_unexplained(const CapiBatch *batch, const CapiDataset *dataset,
			   const CapiResult *result)
{
	if (result->class != CAPI_CLASS_TRANSIENT)
		return false;
	if (result->uncertain && result->http_status != 0)
		return true;
	return dataset != NULL && dataset->failures == 0 && dataset->accepted_at != 0 &&
		batch->items[0]->attempts > CAPI_SMALL_PROBE_AFTER;
}

static int
handle_unexplained(CapiDispatcher *d, CapiBatch *batch, CapiDataset *dataset,
				   CapiRecord *record)
{
	if (batch->n > 1)
		halve(d, batch, dataset);
	else
		record->suspect = true;
	return 0;
}

static int
decide(CapiDispatcher *d, CapiBatch *batch, CapiDataset *dataset, CapiRecord *record)
{
	const CapiResult *result = &record->result;
	bool		permanent = result->class == CAPI_CLASS_PERMANENT;
	bool		alone = batch->suspected_at != 0 || batch->items[0]->apart;
	bool		unexplained = is_unexplained(batch, dataset, result);

	if (result->class == CAPI_CLASS_ACCEPTED)
	{
		if (dataset != NULL)
			dataset_succeeded(d, batch, dataset, record);
		return handle_accepted(batch, record->outcomes);
	}
	if (result->class == CAPI_CLASS_EARLY)
	{
		if (dataset != NULL)
			dataset_succeeded(d, batch, dataset, record);
		return handle_early(d, batch, dataset, record);
	}
	if (permanent)
	{
		if (dataset != NULL)
			dataset_succeeded(d, batch, dataset, record);
		return handle_permanent(d, batch, dataset, record);
	}
	/* a part is no more the dataset's failure when others are accepted */
	if (unexplained && alone &&
		(batch->n == 1 || capi_suspect_is_guilty(dataset, batch)))
		return handle_unexplained(d, batch, dataset, record);
	if (dataset != NULL)
		dataset_failed(batch, dataset, result, record);
	if (unexplained &&
		(alone || batch->items[0]->attempts >= MAX_UNEXPLAINED))
		return handle_unexplained(d, batch, dataset, record);
	return handle_wait(batch, dataset, result, record->outcomes);
}

static void
note_version(CapiDataset *dataset, CapiRecord *record)
{
	const char *version = record->result.api_version;

	if (version[0] == '\0' || strcmp(version, dataset->served_version) == 0)
		return;
	strlcpy(dataset->served_version, version, sizeof(dataset->served_version));
	record->has_version = true;
}

/* Views tell until when a dataset rests. */
static void
note_rest(CapiDataset *dataset, CapiRecord *record)
{
	bool		rests = dataset->rest_until > GetCurrentTimestamp();

	record->has_rest = rests || dataset->rest_noted;
	record->rest_until = rests ? dataset->rest_until : 0;
	dataset->rest_noted = rests;
}

void
capi_answer_handle(CapiDispatcher *d, const CapiAnswer *answer)
{
	CapiBatch  *batch = answer->tag;
	CapiDataset *dataset = capi_config_dataset(d->config, batch->dataset_id);
	CapiRecord	record = {.has_request = true};

	record.outcomes = palloc0(sizeof(CapiOutcome) * batch->n);
	record.dataset_id = batch->dataset_id;
	record.sent_at = batch->sent_at;
	record.duration_ms = answer->duration_ms;
	record.events = batch->n;
	record.bytes = batch->body.len;
	capi_response_classify(answer, batch->n, &record.result);
	capi_share_count(d, batch->dataset_id, -batch->n);
	if (dataset != NULL)
	{
		capi_share_answered(dataset, answer->duration_ms);
		capi_clock_read(dataset, batch, answer->duration_ms, &record);
	}
	for (int i = 0; i < batch->n; i++)
		batch->items[i]->attempts++;
	record.n = decide(d, batch, dataset, &record);
	if (dataset != NULL)
	{
		note_rest(dataset, &record);
		note_version(dataset, &record);
	}
	capi_record(d, &record);
	if (record.suspect)
		capi_suspect_add(d, dataset, batch, &record.result, record.request_id);
	capi_batch_free(batch);
}
