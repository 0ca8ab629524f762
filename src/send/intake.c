/*
 * intake.c
 *		From rows of the queue to items that are worked on: who is known already
 *		is settled, what could not be captured is counted.
 *
 * In steps, each a transaction of its own that waits for nobody, since what the
 * queue's reader has emitted it does not emit again:
 *
 *		read	needs the segments; rows are kept in memory
 *		look	needs backlog and log; rows stay until it was done
 *		count	needs the source's row; misses stay until it was done
 *
 * Called by dispatch.c.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/capi.h"
#include "base/txn.h"
#include "send/dispatch_state.h"
#include "store/known.h"

/* After a step that somebody's lock kept from being done. */
#define RETRY_MS	500

/* Misses that could not be counted yet; with more the queue waits. */
#define MAX_MISSES	(4 * CAPI_MAX_BATCH_EVENTS)

/* Rows of a source that could not be captured, and what to settle for them. */
typedef struct Miss
{
	int			source_id;
	bool		renumbered;		/* no miss: the table's numbers begin again */
	TimestampTz captured_at;
	int			count;
	int			segment;
	uint64		pass;
} Miss;

/* What a step works on. */
typedef struct Step
{
	CapiDispatcher *d;
	CapiQueueRow rows[CAPI_MAX_BATCH_EVENTS];
	int			got;
	CapiKnown	known[CAPI_MAX_BATCH_EVENTS];
} Step;

struct CapiIntake
{
	MemoryContext context;		/* of items */
	Step	   *unsorted;		/* rows of sources that could not be read yet */
	CapiItem   *items[CAPI_MAX_BATCH_EVENTS];	/* read, not looked up */
	int			n;
	Miss		misses[MAX_MISSES];
	int			nmisses;
	TimestampTz retry_at;		/* of rows and items */
	TimestampTz count_at;		/* of misses */
};

CapiIntake *
capi_intake_create(MemoryContext parent)
{
	CapiIntake *intake = MemoryContextAllocZero(parent, sizeof(CapiIntake));

	intake->context = AllocSetContextCreate(parent, "capi intake", ALLOCSET_DEFAULT_SIZES);
	return intake;
}

/* The reader is another, or none: it emits again what was not settled. */
void
capi_intake_reset(CapiIntake *intake)
{
	MemoryContextReset(intake->context);
	intake->unsorted = NULL;
	intake->n = 0;
	intake->nmisses = 0;
}

/* Is there room for what the next read may bring? */
static bool
may_read(const CapiIntake *intake)
{
	return intake->unsorted == NULL && intake->n == 0 &&
		intake->nmisses <= MAX_MISSES - CAPI_MAX_BATCH_EVENTS;
}

/* When to try again what could not be done; DT_NOEND: nothing waits. */
TimestampTz
capi_intake_retry_at(const CapiIntake *intake)
{
	TimestampTz at = DT_NOEND;

	if (intake->unsorted != NULL || intake->n > 0)
		at = intake->retry_at;
	return intake->nmisses > 0 ? Min(at, intake->count_at) : at;
}

/* Somebody's lock kept the queue from being read: not before that time again. */
TimestampTz
capi_intake_not_before(const CapiIntake *intake)
{
	return intake->retry_at;
}

static void
put_off(CapiIntake *intake)
{
	intake->retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_MS);
}

/* ---------- reading ---------- */

/* Step for capi_txn_try(). */
static void
read_rows(void *arg)
{
	Step	   *step = arg;
	CapiDispatcher *d = step->d;

	capi_queue_lock(d->reader);
	step->got = capi_queue_read(d->reader, step->rows, CAPI_MAX_BATCH_EVENTS,
								&d->more_in_queue);
}

static void
note_miss(CapiIntake *intake, const CapiQueueRow *row)
{
	Miss	   *miss = &intake->misses[intake->nmisses++];

	miss->source_id = row->source_id;
	miss->renumbered = row->missed == CAPI_QUEUE_RENUMBERED;
	miss->captured_at = row->captured_at;
	miss->count = miss->renumbered ? 1 : row->missed;
	miss->segment = row->segment;
	miss->pass = row->pass;
}

static void
note_item(CapiDispatcher *d, const CapiQueueRow *row)
{
	CapiIntake *intake = d->intake;
	CapiSource *source = capi_config_source(d->config, row->source_id);
	CapiItem   *item;

	if (source == NULL)
	{
		capi_queue_settle(d->reader, row->segment, row->pass);
		return;
	}
	item = palloc0(sizeof(CapiItem));
	item->source_id = source->id;
	item->dataset_id = source->dataset_id;
	item->key = row->key;
	item->captured_at = row->captured_at;
	item->segment = row->segment;
	item->pass = row->pass;
	item->generation = d->generation;
	intake->items[intake->n++] = item;
}

/* Attached and captured in one transaction: newer than our knowledge? */
static bool
has_unknown_source(const CapiDispatcher *d, const Step *step)
{
	for (int i = 0; i < step->got; i++)
	{
		CapiSource *source = capi_config_source(d->config, step->rows[i].source_id);

		if (source == NULL || source->detached)
			return true;
	}
	return false;
}

/* Turns rows into items and misses, when their sources are known. */
static void
sort_rows(CapiDispatcher *d, Step *step)
{
	CapiIntake *intake = d->intake;

	intake->unsorted = step;
	if (has_unknown_source(d, step))
	{
		capi_dispatch_reload(d);
		/* the queue's reader is another, and emits them again */
		if (intake->unsorted != step)
			return;
		if (d->reload)
		{
			put_off(intake);
			return;
		}
	}
	intake->unsorted = NULL;
	for (int i = 0; i < step->got; i++)
		if (step->rows[i].missed != 0)
			note_miss(intake, &step->rows[i]);
		else
			note_item(d, &step->rows[i]);
}

static void
read_queue(CapiDispatcher *d)
{
	CapiIntake *intake = d->intake;
	MemoryContext old = MemoryContextSwitchTo(intake->context);
	Step	   *step = palloc0(sizeof(Step));
	bool		done;

	step->d = d;
	/* what is captured during a pass, only the next one sees */
	if (!d->more_in_queue)
		d->look_at_queue = false;
	done = capi_txn_try("capi: reading the queue", read_rows, step);
	if (!done)
	{
		d->look_at_queue = true;
		put_off(intake);
	}
	else
		sort_rows(d, step);
	MemoryContextSwitchTo(old);
}

/* ---------- counting ---------- */

static bool
is_miss_of(const Miss *miss, int source_id)
{
	return miss->source_id == source_id && !miss->renumbered;
}

/* Step for capi_txn_try(). */
static void
count_misses(void *arg)
{
	CapiDispatcher *d = ((Step *) arg)->d;
	CapiIntake *intake = d->intake;

	for (int i = 0; i < intake->nmisses; i++)
	{
		int			total = 0;
		int			source_id = intake->misses[i].source_id;

		if (intake->misses[i].renumbered)
		{
			if (intake->misses[i].count > 0 && capi_outcome_renumbered(source_id, intake->misses[i].captured_at))
				intake->misses[i].count = -1;
			continue;
		}
		for (int j = 0; j < intake->nmisses; j++)
			if (is_miss_of(&intake->misses[j], source_id) && intake->misses[j].count > 0)
			{
				/* the first of a source counts them all */
				if (j < i)
					break;
				total += intake->misses[j].count;
			}
		/* a row that somebody has changed and not committed is left for later */
		if (total > 0 && capi_outcome_missed(source_id, total))
			for (int j = i; j < intake->nmisses; j++)
				if (is_miss_of(&intake->misses[j], source_id))
					intake->misses[j].count = -intake->misses[j].count;
	}
}

static void
settle_misses(CapiDispatcher *d, bool counted)
{
	CapiIntake *intake = d->intake;
	int			kept = 0;

	for (int i = 0; i < intake->nmisses; i++)
	{
		Miss	   *miss = &intake->misses[i];

		if (miss->count < 0 && counted)
		{
			capi_queue_settle(d->reader, miss->segment, miss->pass);
			/* until the cursor is saved it counts twice in the views */
			d->save_at = DT_NOBEGIN;
		}
		else
		{
			miss->count = llabs(miss->count);
			intake->misses[kept++] = *miss;
		}
	}
	intake->nmisses = kept;
	intake->count_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_MS);
}

/* ---------- looking up ---------- */

/* Step for capi_txn_try(). */
static void
look_up(void *arg)
{
	Step	   *step = arg;
	CapiIntake *intake = step->d->intake;

	capi_known_look_up(intake->items, intake->n, step->known);
}

/* Settles what log, backlog or memory know already; returns the rest. */
static int
take_new(CapiDispatcher *d, const Step *step, CapiItem **items)
{
	CapiIntake *intake = d->intake;
	int			kept = 0;

	for (int i = 0; i < intake->n; i++)
	{
		CapiItem   *item = intake->items[i];

		item->was_ignored = step->known[i] == CAPI_KNOWN_IGNORED;
		if ((step->known[i] == CAPI_KNOWN_NOT || step->known[i] == CAPI_KNOWN_IGNORED) &&
			capi_in_flight_add(d, item))
			items[kept++] = capi_item_copy(item);
		else
		{
			if (step->known[i] < CAPI_KNOWN_FINISHED)
				capi_in_flight_captured(d, item);
			capi_queue_settle(d->reader, item->segment, item->pass);
		}
	}
	intake->n = 0;
	return kept;
}

/* Rows that are left from before come first. */
static void
read_more(CapiDispatcher *d)
{
	CapiIntake *intake = d->intake;
	MemoryContext old;

	if (intake->unsorted != NULL)
	{
		old = MemoryContextSwitchTo(intake->context);
		sort_rows(d, intake->unsorted);
		MemoryContextSwitchTo(old);
	}
	else if (may_read(intake))
	{
		MemoryContextReset(intake->context);
		read_queue(d);
	}
}

/*
 * Items of the queue that are to be worked on, in the current context: up to
 * CAPI_MAX_BATCH_EVENTS.  *worked: whether anything was read at all.
 */
int
capi_intake_take(CapiDispatcher *d, CapiItem **items, bool *worked)
{
	CapiIntake *intake = d->intake;
	TimestampTz now = GetCurrentTimestamp();
	int			misses = intake->nmisses;
	Step	   *step;
	int			n = 0;

	*worked = false;
	if (d->reader == NULL)
		return 0;
	if (intake->retry_at <= now)
		read_more(d);
	*worked = intake->retry_at <= GetCurrentTimestamp() &&
		(intake->n > 0 || intake->nmisses > misses);
	step = palloc0(sizeof(Step));
	step->d = d;
	if (intake->nmisses > 0 && intake->count_at <= now)
		settle_misses(d, capi_txn_try("capi: counting what was missed", count_misses, step));
	if (intake->retry_at > now)
		return 0;
	if (intake->n > 0 && capi_txn_try("capi: looking orders up", look_up, step))
		n = take_new(d, step, items);
	else if (intake->n > 0)
		put_off(intake);
	return n;
}
