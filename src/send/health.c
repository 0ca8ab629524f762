/*
 * health.c
 *		The state of each dataset as users see it: what this process alone knows of
 *		it is written down, and a change is notified.
 *
 * capi._dataset_states has the states, in one order of precedence for view and
 * notification; the sender adds its troubles and asks, once a second at most,
 * which states are others than those that were told last.  Note and notification
 * are one transaction, so each change is told once.
 *
 * The transaction that notifies needs a lock of the server's at its commit, which
 * every other that notifies holds until it has ended, and room in the server's
 * queue, which anybody who listens and stays in a transaction keeps from being
 * emptied.  Neither is waited for: it is tried again.
 *
 * Called by dispatch.c.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/txn.h"
#include "send/dispatch_state.h"

#define CHANNEL			"capi"
#define LOOK_MS			1000
/* After somebody was in the way. */
#define AGAIN_MS		5000

typedef struct Trouble
{
	const char *state;			/* NULL: none */
	const char *reason;
} Trouble;

static Trouble
trouble_of(const CapiDispatcher *d, const CapiDataset *dataset, TimestampTz now)
{
	if (d->no_worker_logged)
		return (Trouble) {"no_reader", capi_portions_no_reader(d)};
	if (dataset->state != CAPI_DATASET_ACTIVE)
		return (Trouble) {NULL, NULL};
	if (dataset->failures > 0 && !dataset->is_throttled)
		return (Trouble) {"backing_off", "requests fail, and one is tried now and then: last_error and capi.request_log say how"};
	if (dataset->failures > 0)
		return (Trouble) {"throttled", "Meta asked to slow down"};
	if (dataset->allowance < 1 && dataset->rest_until > now)
		return (Trouble) {"throttled", "events_per_hour of the dataset is used up"};
	if (dataset->is_paced)
		return (Trouble) {"throttled", "Meta says that its limit is near: requests are sent one by one"};
	return (Trouble) {NULL, NULL};
}

static Datum
array_of(Datum *values, bool *nulls, int n, Oid type)
{
	int			lower = 1;

	return PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lower, type,
											  type == INT4OID ? 4 : -1, type == INT4OID, TYPALIGN_INT));
}

static void
set_text(Datum *values, bool *nulls, int i, const char *text)
{
	nulls[i] = text == NULL;
	values[i] = text != NULL ? CStringGetTextDatum(text) : (Datum) 0;
}

static void
notify(void)
{
	for (uint64 i = 0; i < SPI_processed; i++)
		Async_Notify(CHANNEL, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
	SPI_freetuptable(SPI_tuptable);
}

/* Step for capi_txn_try_notify(). */
static void
note_states(void *arg)
{
	static CapiStatement statement = {
		.sql = "SELECT capi._note_states($1, $2, $3)",
		.nargs = 3, .types = {INT4ARRAYOID, TEXTARRAYOID, TEXTARRAYOID}
	};
	CapiDispatcher *d = arg;
	TimestampTz now = GetCurrentTimestamp();
	int			n = d->config->ndatasets;
	Datum	   *ids = palloc(sizeof(Datum) * (n + 1));
	Datum	   *states = palloc(sizeof(Datum) * (n + 1));
	Datum	   *reasons = palloc(sizeof(Datum) * (n + 1));
	bool	   *no_trouble = palloc(sizeof(bool) * (n + 1));
	Datum		args[3];

	for (int i = 0; i < n; i++)
	{
		Trouble		trouble = trouble_of(d, &d->config->datasets[i], now);

		ids[i] = Int32GetDatum(d->config->datasets[i].id);
		set_text(states, no_trouble, i, trouble.state);
		set_text(reasons, no_trouble, i, trouble.reason);
	}
	args[0] = array_of(ids, NULL, n, INT4OID);
	args[1] = array_of(states, no_trouble, n, TEXTOID);
	args[2] = array_of(reasons, no_trouble, n, TEXTOID);
	if (capi_txn_execute_saved(&statement, args, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not note the states of datasets");
	notify();
}

/* What was woken for may have changed a state: it is looked at in a moment. */
void
capi_health_look(CapiDispatcher *d)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		done;

	if (d->config == NULL || d->config->ndatasets == 0)
		return;
	d->health_again = now < d->health_at;
	if (d->health_again)
		return;
	done = capi_txn_try_notify("capi: noting the states of datasets", note_states, d);
	d->health_again = !done;
	d->health_at = TimestampTzPlusMilliseconds(now, done ? LOOK_MS : AGAIN_MS);
}

TimestampTz
capi_health_look_at(const CapiDispatcher *d)
{
	return d->health_again ? d->health_at : DT_NOEND;
}
