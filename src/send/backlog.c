/*
 * backlog.c
 *		Which of the events that wait are worked on now: those that are due, of
 *		sources and datasets that can do something with them.
 *
 * One look at the table, whatever the number of sources and datasets; what is
 * in the way of a pair is known in memory.  Called by dispatch.c.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/capi.h"
#include "base/txn.h"
#include "send/dispatch_state.h"
#include "store/known.h"

/* After a look that somebody's lock kept from being done. */
#define RETRY_MS	500

/* One look: rows found, and when the next one is worth while. */
typedef struct Look
{
	CapiDispatcher *d;
	CapiItem  **due;
	int			n;
	int			max;
	int			room;			/* for those that are not under way */
	bool		is_full;		/* there may be more */
	TimestampTz next;
} Look;

/* May rows of the pair be worked on?  If not, notes until when. */
static bool
is_open(Look *look, const CapiDuePair *pair, TimestampTz now, int *most)
{
	CapiDispatcher *d = look->d;
	CapiSource *source = capi_config_source(d->config, pair->source_id);
	CapiDataset *dataset = capi_config_dataset(d->config, pair->dataset_id);
	TimestampTz until;

	*most = look->max - look->n;
	/* whatever its dataset: it is not going to be sent */
	if (source == NULL || source->detached)
		return true;
	/* of one that was dropped: it goes where the source's orders go */
	if (dataset == NULL)
		dataset = capi_config_dataset(d->config, source->dataset_id);
	if (source->paused || dataset == NULL)
		return false;
	if (!source->is_direct && capi_portions_obstacle(d, source, now, &until) != NULL)
	{
		/* one without a time is over when a portion ends */
		if (until > now)
			look->next = Min(look->next, until);
		return false;
	}
	if (!capi_dataset_may_send(dataset, now))
	{
		if (dataset->rest_until > now)
			look->next = Min(look->next, dataset->rest_until);
		return false;
	}
	if (!capi_share_has_room(d, dataset))
	{
		d->backlog_crowded = true;
		return false;
	}
	/* no more than the probe is read before its answer */
	if (capi_dataset_is_careful(dataset))
	{
		*most = Min(*most, capi_dataset_probe_size(dataset) - dataset->looked_up);
		if (*most <= 0 || dataset->waiting > 0 ||
			capi_portions_read_again(d, dataset->id))
		{
			d->backlog_crowded = true;
			return false;
		}
	}
	/* a query that is broken is tried for one order */
	if (source->broken)
		*most = Min(*most, 1);
	return true;
}

/* What has been due the longest comes first, whatever its source. */
static int
compare_pairs(const void *a, const void *b)
{
	TimestampTz due_a = ((const CapiDuePair *) a)->next_attempt_at;
	TimestampTz due_b = ((const CapiDuePair *) b)->next_attempt_at;

	return due_a < due_b ? -1 : due_a > due_b;
}

static void
pass_over_in_flight(Look *look)
{
	int			kept = 0;

	look->is_full = look->n == look->max;
	for (int i = 0; i < look->n && kept < look->room; i++)
		if (!capi_in_flight_has(look->d, look->due[i]))
			look->due[kept++] = look->due[i];
	look->is_full |= kept == look->room;
	look->n = kept;
}

/*
 * An order that came to wait while somebody forgot it: neither saw the other's
 * row, but by now both are there.
 */
static void
drop_forgotten(Look *look)
{
	CapiKnown  *known = palloc(sizeof(CapiKnown) * (look->n + 1));
	CapiItem  **forgotten = palloc(sizeof(CapiItem *) * (look->n + 1));
	int			nforgotten = 0;
	int			kept = 0;

	capi_known_look_up_forgotten(look->due, look->n, known);
	for (int i = 0; i < look->n; i++)
		if (known[i] == CAPI_KNOWN_FORGOTTEN)
			forgotten[nforgotten++] = look->due[i];
		else
			look->due[kept++] = look->due[i];
	look->n = kept;
	if (nforgotten > 0)
		capi_outcome_drop_waiting(forgotten, nforgotten);
}

/* Step for capi_txn_try(). */
static void
find_due(void *arg)
{
	Look	   *look = arg;
	TimestampTz now = GetCurrentTimestamp();
	CapiDuePair *pairs;
	int			npairs = capi_outcome_due_pairs(&pairs);

	qsort(pairs, npairs, sizeof(CapiDuePair), compare_pairs);
	for (int i = 0; i < look->d->config->ndatasets; i++)
		look->d->config->datasets[i].looked_up = 0;
	for (int i = 0; i < npairs && look->n < look->max; i++)
	{
		CapiDataset *dataset = capi_config_dataset(look->d->config, pairs[i].dataset_id);
		TimestampTz later;
		int			most;
		int			got;

		if (pairs[i].next_attempt_at > now)
		{
			look->next = Min(look->next, pairs[i].next_attempt_at);
			continue;
		}
		if (!is_open(look, &pairs[i], now, &most))
			continue;
		got = capi_outcome_due(pairs[i].source_id, pairs[i].dataset_id, most,
							   look->due + look->n, &later);
		look->n += got;
		if (dataset != NULL)
			dataset->looked_up += got;
		look->next = Min(look->next, later);
	}
	pass_over_in_flight(look);
	drop_forgotten(look);
}

/*
 * Items that are due and not under way, up to room of them, in the current
 * context; sets when to look again.
 */
int
capi_backlog_take(CapiDispatcher *d, CapiItem **items, int room)
{
	Look		look = {.d = d, .room = room, .next = DT_NOEND};
	int			n = 0;

	/* rows that are under way are still in the table: look past them */
	look.max = room + d->nwaiting + d->nasked + d->nrecords;
	look.due = palloc(sizeof(CapiItem *) * look.max);
	d->backlog_crowded = false;
	if (!capi_txn_try("capi: reading the backlog", find_due, &look))
	{
		d->backlog_due_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_MS);
		return 0;
	}
	for (int i = 0; i < look.n; i++)
		if (capi_in_flight_add(d, look.due[i]))
			items[n++] = look.due[i];
	d->backlog_due_at = look.is_full ? DT_NOBEGIN : look.next;
	return n;
}
