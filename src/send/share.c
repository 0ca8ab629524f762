/*
 * share.c
 *		How much of the dispatcher one dataset may take: requests under way,
 *		events in memory, and the front of the queue.
 *
 * A dataset that answers slowly or not at all must not hold up another (P6):
 *
 *	- capi.max_in_flight requests are under way at once, and besides them one
 *	  of each dataset that would have none, and those of datasets that have
 *	  given no answer for half a second: they count for their own dataset alone,
 *	  as long as half of the connections are free for the one of each.
 *	- Memory holds a fixed number of events, and of bytes.  A dataset may take as many as it
 *	  leaves free, so there is always room for one more dataset.
 *	- The queue is read in the order of its rows.  When the next ones may be
 *	  those of a dataset that has no room, reading waits for it; but not for one
 *	  that is slow: its rows are then passed over into the backlog, where each
 *	  dataset has a line of its own.
 *
 * Passing over costs a write and a delete for each event, and only happens to
 * a dataset whose own pace is far below that of the database, and only when
 * there is another one to be served.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/capi.h"
#include "base/guc.h"
#include "send/dispatch_state.h"

/* A dataset without an answer for as long, or whose answers take it, is slow. */
#define SLOW_AFTER_MS	500

/* Events that memory takes of any dataset, however full it is. */
#define MIN_EVENTS		100

/* When the bodies of requests have as much, memory is full: it holds 5,000 usual events. */
#define FULL_BYTES		(16 * 1024 * 1024)

/* Events taken into batches (or out of them again, if negative). */
void
capi_share_count(CapiDispatcher *d, int dataset_id, int events)
{
	CapiDataset *dataset = capi_config_dataset(d->config, dataset_id);

	d->nwaiting += events;
	if (dataset != NULL)
		dataset->waiting += events;

	/* what was due and found no room may find some now */
	if (events < 0 && d->backlog_crowded)
		d->backlog_due_at = DT_NOBEGIN;
}

void
capi_share_started(CapiDataset *dataset, TimestampTz now)
{
	if (dataset->in_flight++ == 0)
		dataset->progress_at = now;
}

void
capi_share_answered(CapiDataset *dataset, int64 duration_ms)
{
	dataset->in_flight--;
	dataset->progress_at = GetCurrentTimestamp();
	dataset->duration_ms = duration_ms;
}

/* Requests of other datasets of which nobody knows when they will be answered. */
static int
count_stuck(const CapiDispatcher *d, const CapiDataset *dataset)
{
	TimestampTz since = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), -SLOW_AFTER_MS);
	int			n = 0;

	for (int i = 0; i < d->config->ndatasets; i++)
	{
		const CapiDataset *other = &d->config->datasets[i];

		if (other != dataset && other->in_flight > 0 && other->progress_at <= since)
			n += other->in_flight;
	}
	return n;
}

/* May one more request of the dataset be under way? */
bool
capi_share_may_start(const CapiDispatcher *d, const CapiDataset *dataset)
{
	int			n = capi_transport_in_flight(d->transport) - capi_meta_in_flight(d->meta);

	return dataset->in_flight == 0 || n < capi_max_in_flight ||
		(n < CAPI_MAX_CONNECTIONS / 2 &&
		 n - count_stuck(d, dataset) < capi_max_in_flight);
}

/* Bytes of events that memory takes before it is full. */
int64
capi_share_free_bytes(void)
{
	return (int64) FULL_BYTES - (int64) capi_batch_bytes();
}

/* How many rows of the backlog are worth reading, if theirs are like those events. */
int
capi_share_rows(const CapiDispatcher *d)
{
	int64		fit;

	if (d->nwaiting == 0)
		return CAPI_MAX_BATCH_EVENTS;
	fit = capi_share_free_bytes() * d->nwaiting / Max((int64) capi_batch_bytes(), 1);
	return (int) Max(Min(fit, CAPI_MAX_BATCH_EVENTS), 1);
}

/* May memory take more events of the dataset? */
bool
capi_share_has_room(const CapiDispatcher *d, const CapiDataset *dataset)
{
	int			room = (capi_max_in_flight + 1) * CAPI_MAX_BATCH_EVENTS;

	if (d->config->ndatasets == 1)
		return d->nwaiting < room && capi_share_free_bytes() > 0;
	if (capi_share_free_bytes() <= 0)
		return dataset->waiting == 0;
	return dataset->waiting < Max(2 * room - d->nwaiting, MIN_EVENTS);
}

/* When the dataset, which has no room, counts as slow if nothing happens. */
static TimestampTz
slow_from(const CapiDataset *dataset)
{
	if (dataset->in_flight == 0)
		return DT_NOEND;
	if (dataset->duration_ms > SLOW_AFTER_MS)
		return DT_NOBEGIN;
	return TimestampTzPlusMilliseconds(dataset->progress_at, SLOW_AFTER_MS);
}

/* Are events of the dataset to be passed over? */
bool
capi_share_is_slow(const CapiDispatcher *d, const CapiDataset *dataset,
				   TimestampTz now)
{
	return d->config->ndatasets > 1 && !capi_share_has_room(d, dataset) &&
		slow_from(dataset) <= now;
}

/*
 * Until when reading the queue has to wait for a dataset without room, if no
 * answer arrives before: DT_NOBEGIN is not at all.
 */
TimestampTz
capi_share_queue_blocked_until(const CapiDispatcher *d)
{
	TimestampTz until = DT_NOBEGIN;

	for (int i = 0; i < d->config->ndatasets; i++)
	{
		const CapiDataset *dataset = &d->config->datasets[i];

		if (capi_share_has_room(d, dataset))
			continue;
		until = Max(until, d->config->ndatasets > 1 ? slow_from(dataset) : DT_NOEND);
	}
	return until;
}
