/*
 * portions.c
 *		Which reader reads what, and when: orders are cut into portions of one
 *		source each, and given to readers as these become free.
 *
 * DESIGN
 *
 * A portion waits in d->portions until a reader takes it, and leaves when each
 * of its orders has a result or went back to the backlog.  Among those that wait
 * the role with the fewest portions under way goes first, then the source.
 *
 * One source's query may take all the time there is, so time is what is shared
 * (P6).  A portion that reads for longer than CAPI_SLOW_MS while orders of other
 * sources wait is stopped, and its source is slow from then on: its portions use
 * all readers but one, one of a role at a time, and what else is captured for it
 * waits in the backlog.  A slow source whose portion is read quickly is not slow
 * any more.  Time that was spent for nothing (the limit was reached, a reader was
 * given up) the role pays for with nine times as much without slow work.
 *
 * A reader that ended at a portion twice, or hung, is taken for the fault of one
 * of its orders: they are read one by one from then on, so that it is known at
 * which one it was.  A source at which readers only end and hang is broken.  A query
 * that was never read to its end is tried by one reader of its role at a time,
 * so that it does not make all of them hang at once.
 *
 * What comes back is portion_end.c's, which gives it to evaluate.c.
 *
 * Called by dispatch.c.  Runs no SQL of the shop and waits for nothing.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/capi.h"
#include "base/guc.h"
#include "send/portions_state.h"

/* So many orders of a portion are worth waiting for. */
#define MANY_ORDERS			100
#define ARRIVAL_MS			150

/* How long to do without a worker slot before events go to the backlog. */
#define NO_WORKER_MS		1000
#define NO_WORKER_LOOK_MS	100

/* ---------- making and unmaking ---------- */

static CapiPortion *
make_portion(CapiDispatcher *d, int source_id, Oid role, CapiItem **items, int n,
			 bool one_by_one)
{
	MemoryContext context = AllocSetContextCreate(d->context, "capi portion",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	CapiPortion *portion = palloc0(sizeof(CapiPortion));

	portion->context = context;
	portion->source_id = source_id;
	portion->role = role;
	portion->one_by_one = one_by_one;
	portion->n = n;
	portion->items = palloc(sizeof(CapiItem *) * n);
	portion->done = palloc0(sizeof(bool) * n);
	for (int i = 0; i < n; i++)
		portion->items[i] = capi_item_copy(items[i]);
	MemoryContextSwitchTo(d->context);
	d->portions = lappend(d->portions, portion);
	MemoryContextSwitchTo(old);
	d->nasked += n;
	return portion;
}

/* Are orders being read that waited for the dataset? */
bool
capi_portions_read_again(const CapiDispatcher *d, int dataset_id)
{
	ListCell   *lc;

	foreach(lc, d->portions)
	{
		CapiPortion *portion = lfirst(lc);

		for (int i = 0; i < portion->n; i++)
			if (!portion->done[i] && portion->items[i]->from_backlog &&
				portion->items[i]->dataset_id == dataset_id)
				return true;
	}
	return false;
}

/* Orders that failed before are read one by one, so that they stop no other. */
void
capi_portions_add(CapiDispatcher *d, CapiSource *source, CapiItem **items, int n)
{
	CapiItem  **part = palloc(sizeof(CapiItem *) * n);

	for (int failed = 0; failed < 2; failed++)
	{
		int			k = 0;

		for (int i = 0; i < n; i++)
			if (items[i]->failed_before == (failed == 1))
				part[k++] = items[i];
		if (k > 0)
			make_portion(d, source->id, source->run_as, part, k, failed == 1);
	}
}

void
capi_portions_settle(CapiDispatcher *d, CapiPortion *portion, int at)
{
	if (portion->done[at])
		return;
	portion->done[at] = true;
	portion->ndone++;
	d->nasked--;
}

static void
remove_portion(CapiDispatcher *d, CapiPortion *portion)
{
	d->nasked -= portion->n - portion->ndone;
	d->portions = list_delete_ptr(d->portions, portion);
	MemoryContextDelete(portion->context);
	/* what was passed over meanwhile may find room now */
	d->backlog_due_at = DT_NOBEGIN;
}

/* Orders without a result go back to where they can wait. */
void
capi_portions_put_back(CapiPortionsPoll *poll, CapiPortion *portion,
					   const char *reason, TimestampTz next)
{
	for (int i = 0; i < portion->n; i++)
	{
		CapiItem   *item = portion->items[i];

		if (portion->done[i])
			continue;
		capi_evaluate_decide(&poll->chunk, item, item->attempts > 0 ? CAPI_OUTCOME_RETRYING :
							 CAPI_OUTCOME_QUEUED, reason)->next_attempt_at = next;
		capi_portions_settle(poll->d, portion, i);
	}
	portion->has_ended = true;
}

void
capi_portions_put_back_waiting(CapiPortionsPoll *poll, int source_id,
							   const char *reason, TimestampTz next)
{
	ListCell   *lc;

	foreach(lc, poll->d->portions)
	{
		CapiPortion *portion = lfirst(lc);

		if (!portion->is_given && !portion->has_ended &&
			portion->source_id == source_id)
			capi_portions_put_back(poll, portion, reason, next);
	}
}

/* What waits for readers of a role that gets none: its sources are not to blame. */
void
capi_portions_put_back_of_role(CapiPortionsPoll *poll, Oid role,
							   const char *reason, TimestampTz next)
{
	ListCell   *lc;

	foreach(lc, poll->d->portions)
	{
		CapiPortion *portion = lfirst(lc);

		if (!portion->is_given && !portion->has_ended && portion->role == role)
			capi_portions_put_back(poll, portion, reason, next);
	}
}

int64
capi_portions_spent_ms(const CapiPortion *portion)
{
	return TimestampDifferenceMilliseconds(portion->given_at, GetCurrentTimestamp());
}

/* ---------- giving ---------- */

static bool
is_slow(const CapiDispatcher *d, const CapiPortion *portion)
{
	CapiSource *source = capi_config_source(d->config, portion->source_id);

	return source != NULL && source->is_slow;
}

static bool
is_proven(const CapiDispatcher *d, const CapiPortion *portion)
{
	CapiSource *source = capi_config_source(d->config, portion->source_id);

	return source != NULL && source->is_proven;
}

/*
 * Portions under way: of all slow sources, of the role's slow and unproven ones,
 * of role and source.
 */
typedef struct Load
{
	int			slow;
	int			slow_of_role;
	int			unproven_of_role;
	int			of_role;
	int			of_source;
} Load;

static Load
measure_load(const CapiDispatcher *d, const CapiPortion *portion)
{
	Load		load = {0};
	ListCell   *lc;

	foreach(lc, d->portions)
	{
		CapiPortion *other = lfirst(lc);
		bool		slow;

		if (!other->is_given)
			continue;
		slow = is_slow(d, other);
		load.slow += slow;
		load.slow_of_role += slow && other->role == portion->role;
		load.unproven_of_role += !is_proven(d, other) && other->role == portion->role;
		load.of_role += other->role == portion->role;
		load.of_source += other->source_id == portion->source_id;
	}
	return load;
}

/* The portion to be given next, or NULL. */
static CapiPortion *
choose(const CapiDispatcher *d, TimestampTz now)
{
	CapiPortion *best = NULL;
	Load		best_load = {0};
	ListCell   *lc;

	foreach(lc, d->portions)
	{
		CapiPortion *portion = lfirst(lc);
		Load		load;

		if (portion->is_given || portion->has_ended || portion->is_passed_over ||
			capi_pool_is_stuck(d->pool, portion->role))
			continue;
		load = measure_load(d, portion);
		if (load.unproven_of_role > 0 || (load.of_role > 0 && !is_proven(d, portion)))
			continue;
		if (is_slow(d, portion) &&
			(load.slow_of_role > 0 || load.slow >= Max(capi_readers - 1, 1) ||
			 capi_role_rest_until(d, portion->role) > now))
			continue;
		if (best == NULL || load.of_role < best_load.of_role ||
			(load.of_role == best_load.of_role && load.of_source < best_load.of_source))
		{
			best = portion;
			best_load = load;
		}
	}
	return best;
}

static void
fill_request(const CapiPortion *portion, const CapiSource *source, TimestampTz now,
			 CapiRequest *request)
{
	memset(request, 0, sizeof(*request));
	request->source = *source;
	request->limit_ms = capi_query_timeout;
	request->part_limit_ms = Min(capi_query_timeout, Max(capi_query_timeout / 10, CAPI_SLOW_MS));
	request->local_checks = capi_local_checks;
	request->one_by_one = portion->one_by_one;
	request->asked = palloc0(sizeof(CapiAsked) * portion->n);
	for (int i = 0; i < portion->n; i++)
	{
		const CapiItem *item = portion->items[i];
		CapiAsked  *asked = &request->asked[request->n];

		if (portion->done[i])
			continue;
		request->n++;
		asked->key = item->key;
		asked->at = i;
		asked->has_time = capi_item_was_sent(item);
		asked->event_time_s = item->event_time_s;
		asked->not_ahead = capi_clock_was_ahead(item, now);
		asked->event_name = item->event_name;
		asked->event_id = item->event_id;
	}
}

const char *
capi_portions_no_reader(const CapiDispatcher *d)
{
	return capi_pool_lacks_memory(d->pool) ? CAPI_NO_MEMORY_REASON : CAPI_NO_WORKER_REASON;
}

/* Once for each change. */
static void
note_no_worker(CapiDispatcher *d)
{
	bool		lacks_memory = capi_pool_lacks_memory(d->pool);

	if (d->no_worker_logged)
		return;
	d->no_worker_logged = true;
	ereport(LOG,
			(errmsg("no reader can be started for database \"%s\": its orders wait",
					d->dbname),
			 lacks_memory ? errdetail("The server has no shared memory for it.") :
			 errdetail("The server has no free background worker."),
			 lacks_memory ? errhint("Give it more: in a container, /dev/shm is small.") :
			 errhint("Raise max_worker_processes.")));
}

static void
note_worker(CapiDispatcher *d)
{
	d->no_worker_since = 0;
	if (!d->no_worker_logged)
		return;
	d->no_worker_logged = false;
	ereport(LOG,
			(errmsg("a reader could be started again for database \"%s\"",
					d->dbname)));
}

static bool
give(CapiPortionsPoll *poll)
{
	CapiDispatcher *d = poll->d;
	TimestampTz now = GetCurrentTimestamp();
	CapiPortion *portion = choose(d, now);
	CapiSource *source;
	CapiRequest request;

	if (portion == NULL)
		return false;
	source = capi_config_source(d->config, portion->source_id);
	if (source == NULL)
	{
		capi_portions_put_back(poll, portion, "source detached", now);
		return true;
	}
	fill_request(portion, source, now, &request);
	switch (capi_pool_give(d->pool, &request, portion))
	{
		case CAPI_GIVEN:
			portion->is_given = true;
			portion->given_at = now;
			poll->any = true;
			note_worker(d);
			return true;
		case CAPI_GIVEN_BUSY:
			/* another role's reader may have nothing to do */
			portion->is_passed_over = true;
			return true;
		case CAPI_GIVEN_NO_WORKER:
			portion->is_passed_over = true;
			if (d->no_worker_since == 0)
				d->no_worker_since = now;
			else if (TimestampDifferenceExceeds(d->no_worker_since, now, NO_WORKER_MS))
			{
				note_no_worker(d);
				capi_portions_put_back_of_role(poll, portion->role, capi_portions_no_reader(d),
								 TimestampTzPlusMilliseconds(now, CAPI_NO_WORKER_RETRY_MS));
			}
			return true;
	}
	return false;
}

static void
allow_all(CapiDispatcher *d)
{
	ListCell   *lc;

	foreach(lc, d->portions)
		((CapiPortion *) lfirst(lc))->is_passed_over = false;
}

/* Does anything wait that is not slow itself, besides what source has? */
static bool
others_wait(const CapiDispatcher *d, int source_id)
{
	ListCell   *lc;

	if (!capi_portions_have_room(d) && d->config->nsources > 1)
		return true;
	foreach(lc, d->portions)
	{
		CapiPortion *portion = lfirst(lc);

		if (!portion->is_given && !portion->has_ended &&
			portion->source_id != source_id && !is_slow(d, portion))
			return true;
	}
	return false;
}

/* Stops what takes the time of others. */
static void
make_way(CapiPortionsPoll *poll)
{
	CapiDispatcher *d = poll->d;
	ListCell   *lc;

	foreach(lc, d->portions)
	{
		CapiPortion *portion = lfirst(lc);
		CapiSource *source = capi_config_source(d->config, portion->source_id);

		if (!portion->is_given || portion->is_stopped || source == NULL ||
			source->is_slow || capi_portions_spent_ms(portion) < CAPI_SLOW_MS ||
			!others_wait(d, portion->source_id))
			continue;
		portion->is_stopped = true;
		source->is_slow = true;
		capi_pool_stop(d->pool, portion);
		capi_portions_put_back_waiting(poll, source->id, "source is slow", GetCurrentTimestamp());
	}
}

/*
 * What is not to be read any more, by a word that came meanwhile.  What a reader
 * has in hand ends as it began, unless that takes long.
 */
static void
let_go(CapiPortionsPoll *poll)
{
	CapiDispatcher *d = poll->d;
	ListCell   *lc;

	foreach(lc, d->portions)
	{
		CapiPortion *portion = lfirst(lc);
		CapiSource *source = capi_config_source(d->config, portion->source_id);
		const char *reason = source == NULL || source->detached ? "source detached" :
			source->paused ? "source paused" :
			!portion->is_given && capi_pool_is_stuck(d->pool, portion->role) ?
			"source is slow" : NULL;

		if (reason == NULL || portion->has_ended)
			continue;
		if (!portion->is_given)
			capi_portions_put_back(poll, portion, reason, GetCurrentTimestamp());
		else if (!portion->is_stopped && capi_portions_spent_ms(portion) >= CAPI_SLOW_MS)
		{
			portion->is_stopped = true;
			capi_pool_stop(d->pool, portion);
		}
	}
}

static void
remove_ended(CapiDispatcher *d)
{
	ListCell   *lc;
	List	   *ended = NIL;

	foreach(lc, d->portions)
		if (((CapiPortion *) lfirst(lc))->has_ended)
			ended = lappend(ended, lfirst(lc));
	foreach(lc, ended)
		remove_portion(d, lfirst(lc));
}

bool
capi_portions_work(CapiDispatcher *d)
{
	CapiPortionsPoll poll = {.d = d, .chunk = {.d = d, .now = GetCurrentTimestamp()}};
	CapiPoolEvents events = capi_portions_events(&poll);

	capi_pool_poll(d->pool, &events);
	if (!d->draining)
	{
		let_go(&poll);
		make_way(&poll);
		while (give(&poll))
			 /* until nothing can be given any more */ ;
		allow_all(d);
	}
	capi_pool_yield(d->pool);
	capi_answer_commit(d, poll.chunk.outcomes, poll.chunk.n);
	remove_ended(d);
	return poll.any;
}

/* ---------- what others ask ---------- */

/* May more orders be read from queue and backlog? */
bool
capi_portions_have_room(const CapiDispatcher *d)
{
	return d->nasked < (capi_readers + 1) * CAPI_MAX_BATCH_EVENTS;
}

static int
count_asked(const CapiDispatcher *d, int source_id)
{
	int			n = 0;
	ListCell   *lc;

	foreach(lc, d->portions)
	{
		CapiPortion *portion = lfirst(lc);

		if (portion->source_id == source_id)
			n += portion->n - portion->ndone;
	}
	return n;
}

/* Why orders of the source are not to be taken now, or NULL. */
const char *
capi_portions_obstacle(const CapiDispatcher *d, const CapiSource *source,
					   TimestampTz now, TimestampTz *next)
{
	*next = now;
	if (source->broken && source->retry_at > now)
	{
		*next = source->retry_at;
		return "source broken";
	}
	if (source->broken && count_asked(d, source->id) > 0)
		return "source broken";
	if (capi_pool_is_stuck(d->pool, source->run_as))
	{
		/* nobody tells when that reader has ended */
		*next = TimestampTzPlusMilliseconds(now, CAPI_SLOW_MS);
		return "source is slow";
	}
	if (!source->is_slow)
		return NULL;
	*next = Max(now, capi_role_rest_until(d, source->run_as));
	return *next > now || count_asked(d, source->id) > 0 ? "source is slow" : NULL;
}

/*
 * Will so many events come in a moment that they fill a batch better than
 * waiting does?  For a few of them nobody waits, or with a steady trickle
 * batches would never go.
 */
bool
capi_portions_are_arriving(const CapiDispatcher *d)
{
	ListCell   *lc;

	foreach(lc, d->portions)
	{
		CapiPortion *portion = lfirst(lc);

		if (portion->is_given && !portion->one_by_one && !is_slow(d, portion) &&
			capi_portions_spent_ms(portion) < ARRIVAL_MS &&
			(portion->ndone > 0 || portion->n >= MANY_ORDERS))
			return true;
	}
	return false;
}

/* When capi_portions_work() is wanted, though nothing should have come. */
TimestampTz
capi_portions_deadline(const CapiDispatcher *d)
{
	TimestampTz until = capi_pool_deadline(d->pool);
	ListCell   *lc;

	foreach(lc, d->portions)
	{
		CapiPortion *portion = lfirst(lc);
		TimestampTz rest;

		if (portion->is_given && !portion->is_stopped && !is_slow(d, portion) &&
			others_wait(d, portion->source_id))
			until = Min(until, TimestampTzPlusMilliseconds(portion->given_at, CAPI_SLOW_MS));
		/* somebody may want to drop the extension meanwhile */
		if (portion->is_given)
		{
			until = Min(until, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CAPI_SLOW_MS));
			continue;
		}
		rest = capi_role_rest_until(d, portion->role);
		if (rest > GetCurrentTimestamp())
			until = Min(until, rest);
	}
	if (d->no_worker_since != 0 && d->portions != NIL)
		until = Min(until, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), NO_WORKER_LOOK_MS));
	return until;
}
