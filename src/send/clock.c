/*
 * clock.c
 *		Events whose time is still to come, by our clock or by the endpoint's.
 *
 * Every answer tells the endpoint's time, to the second (its Date).  Between the
 * moments at which the request left and the answer was there, our clock must
 * have shown the same; what is beyond is the difference of the clocks.
 *
 * Meta refuses an event that is ahead of its clock (SPEC 8.4, 2804004).  Such an
 * event waits until the endpoint's clock reaches it, for a minute at most without
 * another look, because somebody may set our clock right meanwhile.
 *
 * An order that was captured at a time to come was so by a clock that was ahead,
 * and is set right since.  How long it waited nobody knows, and a time of its
 * event that is to come, too, was taken from that clock.
 *
 * Called by answer.c, evaluate.c and portions.c.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/capi.h"
#include "send/dispatch_state.h"

/* What was told of the clocks longer ago may not be so any more. */
#define TRUSTED_MS		60000

/* So young are events that are refused as early, though the clocks do not say so. */
#define YOUNG_S			60

/* A change of the difference that is worth a row, and a row in any case. */
#define NOTED_MS		1000
#define NOTED_AGAIN_MS	(60 * 60 * 1000)

static TimestampTz
from_unix(int64 seconds)
{
	return (seconds - (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY) *
		USECS_PER_SEC;
}

bool
capi_clock_was_ahead(const CapiItem *item, TimestampTz now)
{
	return item->captured_at > TimestampTzPlusMilliseconds(now, CAPI_CLOCK_STEP_MS);
}

/*
 * Has the item waited for so long since it was captured?  If the clock was ahead
 * then, what waits already has.
 */
bool
capi_clock_has_waited(const CapiItem *item, int64 us, TimestampTz now)
{
	if (capi_clock_was_ahead(item, now))
		return item->from_backlog;
	return now - item->captured_at >= us;
}

/* When it will have, if it has not. */
TimestampTz
capi_clock_waits_until(const CapiItem *item, int64 us, TimestampTz now)
{
	return Min(item->captured_at, now) + us;
}

/* Takes the difference of the clocks from an answer. */
void
capi_clock_read(CapiDataset *dataset, const CapiBatch *batch, int64 duration_ms,
				CapiRecord *record)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz arrived = TimestampTzPlusMilliseconds(batch->sent_at, duration_ms);
	TimestampTz theirs;
	int64		ahead = 0;

	if (record->result.date_s <= 0)
		return;
	theirs = from_unix(record->result.date_s);
	if (batch->sent_at > theirs + USECS_PER_SEC)
		ahead = batch->sent_at - theirs - USECS_PER_SEC;
	else if (arrived < theirs)
		ahead = arrived - theirs;
	dataset->clock_ahead_ms = ahead / 1000;
	dataset->clock_seen_at = now;
	if (llabs(dataset->clock_ahead_ms - dataset->clock_noted_ms) < NOTED_MS &&
		dataset->clock_noted_at != 0 &&
		llabs(now - dataset->clock_noted_at) < NOTED_AGAIN_MS * INT64CONST(1000))
		return;
	dataset->clock_noted_ms = dataset->clock_ahead_ms;
	dataset->clock_noted_at = now;
	record->has_clock = true;
	record->clock_ahead_ms = dataset->clock_ahead_ms;
}

/* When the endpoint's clock reaches the event, on ours. */
static TimestampTz
reached_at(const CapiDataset *dataset, const CapiItem *item, TimestampTz now)
{
	TimestampTz time = from_unix(item->event_time_s);

	if (dataset->clock_seen_at != 0 &&
		llabs(now - dataset->clock_seen_at) < TRUSTED_MS * INT64CONST(1000))
		time += dataset->clock_ahead_ms * INT64CONST(1000);
	return time;
}

/* Until when an event is to wait for its time; 0: it need not. */
TimestampTz
capi_clock_early_until(const CapiDataset *dataset, const CapiItem *item,
					   TimestampTz now)
{
	TimestampTz reached = reached_at(dataset, item, now);

	if (!item->has_time || reached - now <= CAPI_CLOCK_TOLERANCE_S * USECS_PER_SEC)
		return 0;
	return Min(reached, TimestampTzPlusMilliseconds(now, TRUSTED_MS));
}

/*
 * Which events of a batch were refused as being in the future: those whose time
 * the endpoint's clock has not reached.  If it says of none that it has not, who
 * judges has another clock, and it is the youngest, more of them with each try.
 * Returns their number.
 */
int
capi_clock_part_early(CapiDataset *dataset, CapiBatch *batch, bool *early)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		now_s = timestamptz_to_time_t(now);
	int			n = 0;
	int			nyoung = 0;

	for (int i = 0; i < batch->n; i++)
		n += early[i] = reached_at(dataset, batch->items[i], now) > now;
	if (n > 0)
		return n;
	for (int i = 0; i < batch->n; i++)
	{
		const CapiItem *item = batch->items[i];

		nyoung += early[i] = now_s - item->event_time_s < YOUNG_S * (int64) item->attempts;
	}
	return nyoung;
}
