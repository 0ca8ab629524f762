/*
 * suspect.c
 *		Single events that were refused, until it is known whether it was they or
 *		their dataset.
 *
 * A code says what is wrong, not with what: "(#100) Missing Permission" comes for
 * each event of a batch down to the last one.  So an event that was refused alone
 * is kept in memory until there is evidence:
 *
 *		another one was accepted since		it is to blame: rejected; if its code may be
 *											about anything, once it was refused again
 *		others are refused alone, and alike	the dataset is: it stops, all wait
 *		many are refused, none accepted		likewise: memory has an end
 *		nothing else is on its way			by its code: documented ones are about
 *											events; else it waits, and is sent alone
 *
 * An answer that says nothing at all is treated likewise, but rejects nobody.
 *
 * Called by answer.c and, after answers, by dispatch.c.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/backoff.h"
#include "base/capi.h"
#include "base/test_point.h"
#include "send/dispatch_state.h"

/* Single refusals alike: of a code that may be about anything, of another. */
#define MAX_ALIKE_UNCERTAIN	2
#define MAX_ALIKE			8

/* Events of a dataset that wait for evidence, whatever they were refused for. */
#define MAX_SUSPECTS		64

/* An event that is not understood is sent again, alone. */
#define APART_BASE_MS		10000
#define APART_CEILING_MS	(5 * 60 * 1000)

/* A dataset that refuses all is probed with one event. */
#define PROBE_BASE_MS		5000
#define PROBE_CEILING_MS	(5 * 60 * 1000)

typedef struct CapiSuspect
{
	CapiBatch  *batch;			/* of one event */
	CapiResult	result;
	int64		request_id;
} CapiSuspect;

typedef enum Verdict
{
	VERDICT_LATER,
	VERDICT_EVENT,				/* its own fault */
	VERDICT_AGAIN,				/* the same, if it is refused once more */
	VERDICT_DATASET,
	VERDICT_UNCLEAR
} Verdict;

/*
 * Was anything of the dataset accepted after this event, or what it was a part
 * of, was refused?  Of one that was dropped meanwhile nobody knows.
 */
bool
capi_suspect_is_guilty(const CapiDataset *dataset, const CapiBatch *batch)
{
	if (dataset == NULL)
		return false;
	if (batch->suspected_at != 0)
		return dataset->accepted_at > batch->suspected_at;
	return batch->n == 1 && batch->items[0]->apart &&
		dataset->accepted_at > dataset->refused_at;
}

/*
 * An account may be refused for a moment, in which some single event happened to
 * be sent: of what may be about the account one refusal is not enough.
 */
bool
capi_suspect_is_due_again(const CapiItem *item, const CapiResult *result)
{
	return result->uncertain && !item->apart;
}

/* One more that reads alike, if it is another event. */
static void
count_alike(CapiDataset *dataset, const CapiItem *item, const CapiResult *result)
{
	if (item->apart)
		return;
	if (dataset->alike_code != result->error_code ||
		dataset->alike_subcode != result->error_subcode)
		dataset->nalike = 0;
	dataset->alike_code = result->error_code;
	dataset->alike_subcode = result->error_subcode;
	dataset->nalike++;
}

/*
 * The one event of the batch, or the one that the answer names; it stays noted as
 * under way.
 */
void
capi_suspect_add(CapiDispatcher *d, CapiDataset *dataset, CapiBatch *batch,
				 const CapiResult *result, int64 request_id)
{
	MemoryContext old = MemoryContextSwitchTo(d->context);
	CapiSuspect *suspect = palloc(sizeof(CapiSuspect));
	int			at = batch->n == 1 ? 0 : result->guilty_index;

	suspect->batch = capi_batch_split(batch, at, at + 1, -1);
	suspect->batch->suspected_at = batch->suspected_at != 0 ? batch->suspected_at :
		GetCurrentTimestamp();
	suspect->result = *result;
	suspect->request_id = request_id;
	d->suspects = lappend(d->suspects, suspect);
	MemoryContextSwitchTo(old);
	/* of one among others, each of their parts may have another: that tells nothing */
	if (dataset != NULL && batch->n == 1 && !capi_suspect_is_guilty(dataset, suspect->batch))
		count_alike(dataset, batch->items[at], result);
	CAPI_TEST_POINT("an event is a suspect");
}

static int
count_suspects(const CapiDispatcher *d, const CapiDataset *dataset)
{
	int			n = 0;
	ListCell   *lc;

	foreach(lc, d->suspects)
		n += ((CapiSuspect *) lfirst(lc))->batch->dataset_id == dataset->id;
	return n;
}

static Verdict
judge(const CapiDispatcher *d, const CapiDataset *dataset, const CapiSuspect *suspect)
{
	bool		uncertain = suspect->result.uncertain;

	/* it goes where its source's events go now, and is judged there */
	if (dataset == NULL)
		return VERDICT_UNCLEAR;
	if (capi_suspect_is_guilty(dataset, suspect->batch))
		return suspect->result.class == CAPI_CLASS_PERMANENT &&
			capi_suspect_is_due_again(suspect->batch->items[0], &suspect->result) ?
			VERDICT_AGAIN : VERDICT_EVENT;
	if (dataset->state == CAPI_DATASET_REFUSED ||
		dataset->nalike >= (uncertain ? MAX_ALIKE_UNCERTAIN : MAX_ALIKE) ||
		count_suspects(d, dataset) > MAX_SUSPECTS)
		return VERDICT_DATASET;
	if (dataset->waiting > 0)
		return VERDICT_LATER;
	return uncertain ? VERDICT_UNCLEAR : VERDICT_EVENT;
}

/* The probe was refused like the others, or the first ones were. */
void
capi_suspect_probe_refused(CapiDataset *dataset)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		ceiling;

	dataset->failures++;
	dataset->failed_at = now;
	ceiling = capi_backoff_ceiling_ms(dataset->failures, PROBE_BASE_MS, PROBE_CEILING_MS);
	dataset->rest_until =
		TimestampTzPlusMilliseconds(now, ceiling / 2 +
									(int64) (pg_prng_double(&pg_global_prng_state) * ceiling / 2));
}

static void
stop_dataset(CapiDataset *dataset, const CapiResult *result, CapiRecord *record)
{
	if (dataset->state != CAPI_DATASET_ACTIVE)
		return;
	dataset->state = CAPI_DATASET_REFUSED;
	dataset->failures = 0;
	capi_suspect_probe_refused(dataset);
	dataset->rest_noted = true;
	record->has_rest = true;
	record->rest_until = dataset->rest_until;
	record->state = "refused";
	record->state_reason = psprintf("every event is refused%s: error %d%s%s: %s",
									dataset->nalike >= MAX_ALIKE_UNCERTAIN ? " alike" : "",
									result->error_code,
									result->error_subcode != 0 ? "/" : "",
									result->error_subcode != 0 ?
									psprintf("%d", result->error_subcode) : "",
									result->message);
}

static void
conclude(CapiDispatcher *d, CapiDataset *dataset, const CapiSuspect *suspect,
		 Verdict verdict)
{
	CapiItem   *item = suspect->batch->items[0];
	TimestampTz now = GetCurrentTimestamp();
	CapiOutcome outcome = {.item = item, .next_attempt_at = now};
	CapiRecord	record = {.n = 1, .outcomes = &outcome, .dataset_id = suspect->batch->dataset_id};
	bool		refused = suspect->result.class == CAPI_CLASS_PERMANENT;

	outcome.error_code = suspect->result.error_code;
	outcome.error_subcode = suspect->result.error_subcode;
	outcome.request_id = suspect->request_id;
	if (verdict == VERDICT_EVENT && refused)
	{
		outcome.kind = CAPI_OUTCOME_REJECTED;
		outcome.reason = "refused";
	}
	else
	{
		outcome.kind = CAPI_OUTCOME_RETRYING;
		outcome.reason = refused ? CAPI_REASON_UNCLEAR_REFUSAL : CAPI_REASON_UNCLEAR_ANSWER;
		if (verdict == VERDICT_DATASET && refused)
			stop_dataset(dataset, &suspect->result, &record);
		else if (verdict != VERDICT_AGAIN)
			outcome.next_attempt_at = TimestampTzPlusMilliseconds(now,
																  capi_backoff_ceiling_ms(item->attempts, APART_BASE_MS,
																						  APART_CEILING_MS));
		/* that another one was accepted since the first time stays true */
		if (dataset != NULL && verdict != VERDICT_AGAIN)
			dataset->refused_at = now;
	}
	CAPI_TEST_POINT("a suspect was judged");
	capi_record(d, &record);
}

/* After answers: those on whom there is evidence now. */
void
capi_suspects_judge(CapiDispatcher *d)
{
	ListCell   *lc;

	foreach(lc, d->suspects)
	{
		CapiSuspect *suspect = lfirst(lc);
		CapiDataset *dataset = capi_config_dataset(d->config, suspect->batch->dataset_id);
		Verdict		verdict = judge(d, dataset, suspect);

		if (verdict == VERDICT_LATER)
			continue;
		conclude(d, dataset, suspect, verdict);
		/* the search is over */
		if (dataset != NULL && dataset->waiting == 0)
			dataset->suspected_at = 0;
		d->suspects = foreach_delete_current(d->suspects, lc);
		capi_batch_free(suspect->batch);
		pfree(suspect);
	}
}
