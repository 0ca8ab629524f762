/*
 * due.c
 *		Which rows of the backlog are due (outcome.h).
 *
 * Straight from the index backlog_due (source_id, dataset_id, next_attempt_at),
 * as known.c does: a look costs what it finds, whatever a planner knows of a
 * table that is empty at night and has a million rows at noon.  Reads only;
 * called by dispatch.c.
 *
 * Rows that were deleted while somebody holds an old snapshot, a dump say, stay
 * at the front of the index, and each look would walk over all of them.  So it
 * is noted for each pair of source and dataset how far there was nothing to be
 * seen.  Our own rows that are written before that point move it back; those of
 * others (capi.redrive() in a transaction that began earlier) are looked for
 * when the rest gives too little, for a tenth of the time at most.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/itup.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/encoding.h"
#include "store/config.h"
#include "store/outcome.h"

/* Columns of capi.backlog, in the order of sql/capi/tables.sql. */
enum
{
	B_SOURCE_ID = 1, B_KEY, B_DATASET_ID, B_STATUS, B_CAPTURED_AT, B_NEXT,
	B_ATTEMPTS, B_EVENT_ID, B_EVENT_NAME, B_EVENT_TIME, B_VALUE, B_CURRENCY,
	B_REASON
};

/* Columns of its index, and where they are in what an entry says. */
#define I_SOURCE_ID		1
#define I_DATASET_ID	2
#define I_NEXT			3
#define I_KEYS			3

/* Every id is greater. */
#define ANY_DATASET		0

/* The front is walked at once again if it took no longer. */
#define SHORT_WALK_MS	10

typedef struct BacklogScan
{
	Relation	rel;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
} BacklogScan;

/* What is known of the front of one pair. */
typedef struct Front
{
	int			source_id;		/* hash key: this and the next */
	int			dataset_id;
	TimestampTz end;			/* nothing of ours is due before */
	TimestampTz again_at;		/* when it may be walked again */
} Front;

static HTAB *fronts = NULL;

static Front *
find_front(int source_id, int dataset_id)
{
	int			key[2] = {source_id, dataset_id};
	bool		found;
	Front	   *front;

	if (fronts == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(key), .entrysize = sizeof(Front),
		.hcxt = TopMemoryContext};

		fronts = hash_create("capi fronts of the backlog", 16, &ctl,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	front = hash_search(fronts, key, HASH_ENTER, &found);
	if (!found)
		front->end = front->again_at = DT_NOBEGIN;
	return front;
}

/* After an outage what expires first is to go first, so it is due since long. */
void
capi_outcome_due_from(int source_id, int dataset_id, TimestampTz next)
{
	Front	   *front = find_front(source_id, dataset_id);

	front->end = Min(front->end, next);
}

static void
open_scan(BacklogScan *b)
{
	b->rel = table_open(capi_config_table("backlog"), AccessShareLock);
	b->index = index_open(capi_config_table("backlog_due"), AccessShareLock);
	b->slot = table_slot_create(b->rel, NULL);
	b->scan = capi_index_beginscan(b->rel, b->index, GetActiveSnapshot(), I_KEYS);
	/* entries are asked themselves, too: next_pair */
	b->scan->xs_want_itup = true;
}

static void
close_scan(BacklogScan *b)
{
	index_endscan(b->scan);
	ExecDropSingleTupleTableSlot(b->slot);
	index_close(b->index, AccessShareLock);
	table_close(b->rel, AccessShareLock);
}

static void
id_key(ScanKey key, AttrNumber column, StrategyNumber is, int id)
{
	ScanKeyInit(key, column, is, is == BTEqualStrategyNumber ? F_INT4EQ : F_INT4GT,
				Int32GetDatum(id));
}

/*
 * Rows of sources and datasets as the strategies say, equal or greater; of
 * times from that one on, or less.  A scan has as many keys as it began with.
 */
static void
seek(BacklogScan *b, StrategyNumber source_is, int source_id,
	 StrategyNumber dataset_is, int dataset_id,
	 StrategyNumber next_is, TimestampTz next)
{
	ScanKeyData keys[I_KEYS];

	id_key(&keys[0], I_SOURCE_ID, source_is, source_id);
	id_key(&keys[1], I_DATASET_ID, dataset_is, dataset_id);
	ScanKeyInit(&keys[2], I_NEXT, next_is,
				next_is == BTLessStrategyNumber ? F_TIMESTAMPTZ_LT : F_TIMESTAMPTZ_GE,
				TimestampTzGetDatum(next));
	index_rescan(b->scan, keys, I_KEYS, NULL, 0);
}

static void
seek_pair(BacklogScan *b, const Front *front, StrategyNumber next_is)
{
	seek(b, BTEqualStrategyNumber, front->source_id,
		 BTEqualStrategyNumber, front->dataset_id, next_is, front->end);
}

static bool
step(BacklogScan *b)
{
	CHECK_FOR_INTERRUPTS();
	return index_getnext_slot(b->scan, ForwardScanDirection, b->slot);
}

/* A column that is never null. */
static Datum
column(BacklogScan *b, AttrNumber at)
{
	bool		isnull;

	return slot_getattr(b->slot, at, &isnull);
}

static char *
text_column(BacklogScan *b, AttrNumber at)
{
	bool		isnull;
	Datum		value = slot_getattr(b->slot, at, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static char *
utf8_column(BacklogScan *b, AttrNumber at)
{
	char	   *text = text_column(b, at);

	return text != NULL ? capi_to_utf8(text) : NULL;
}

/* The ids of the first entry of any row, dead ones included; false: none. */
static bool
read_entry(BacklogScan *b, CapiDuePair *pair)
{
	TupleDesc	desc;
	bool		isnull;

	if (index_getnext_tid(b->scan, ForwardScanDirection) == NULL)
		return false;
	desc = b->scan->xs_itupdesc;
	pair->source_id = DatumGetInt32(index_getattr(b->scan->xs_itup, I_SOURCE_ID, desc, &isnull));
	pair->dataset_id = DatumGetInt32(index_getattr(b->scan->xs_itup, I_DATASET_ID, desc, &isnull));
	return true;
}

/* The pair behind this one in the index; false if there is none. */
static bool
next_pair(BacklogScan *b, CapiDuePair *pair)
{
	CHECK_FOR_INTERRUPTS();
	seek(b, BTEqualStrategyNumber, pair->source_id, BTGreaterStrategyNumber, pair->dataset_id,
		 BTGreaterEqualStrategyNumber, DT_NOBEGIN);
	if (read_entry(b, pair))
		return true;
	seek(b, BTGreaterStrategyNumber, pair->source_id, BTGreaterStrategyNumber, ANY_DATASET,
		 BTGreaterEqualStrategyNumber, DT_NOBEGIN);
	return read_entry(b, pair);
}

/*
 * Begins a walk over the front of a pair, what is noted to be empty; false if
 * it has none, or was walked a moment ago, and then *next is when it may be
 * again.
 */
static bool
begin_front(BacklogScan *b, const Front *front, TimestampTz now, TimestampTz *next)
{
	if (front->end == DT_NOBEGIN)
		return false;
	if (now < front->again_at)
	{
		*next = Min(*next, front->again_at);
		return false;
	}
	seek_pair(b, front, BTLessStrategyNumber);
	return true;
}

static void
end_front(Front *front, TimestampTz began)
{
	TimestampTz now = GetCurrentTimestamp();

	front->again_at = now;
	if (now - began > SHORT_WALK_MS * INT64CONST(1000))
		front->again_at += 9 * (now - began);
}

/* When the first row of a pair that can be seen is due, or DT_NOEND. */
static TimestampTz
first_due(BacklogScan *b, const CapiDuePair *pair)
{
	Front	   *front = find_front(pair->source_id, pair->dataset_id);
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz first = DT_NOEND;

	if (begin_front(b, front, now, &first))
	{
		if (step(b))
			first = front->end = DatumGetTimestampTz(column(b, B_NEXT));
		end_front(front, now);
		if (first != DT_NOEND)
			return first;
	}
	seek_pair(b, front, BTGreaterEqualStrategyNumber);
	if (step(b))
	{
		TimestampTz due = DatumGetTimestampTz(column(b, B_NEXT));

		front->end = Min(due, now);
		return Min(first, due);
	}
	front->end = now;
	return first;
}

int
capi_outcome_due_pairs(CapiDuePair **pairs)
{
	BacklogScan b;
	CapiDuePair pair = {.source_id = PG_INT32_MIN, .dataset_id = PG_INT32_MAX};
	int			room = 16;
	int			n = 0;

	*pairs = palloc(sizeof(CapiDuePair) * room);
	open_scan(&b);
	while (next_pair(&b, &pair))
	{
		pair.next_attempt_at = first_due(&b, &pair);
		if (pair.next_attempt_at == DT_NOEND)
			continue;
		if (n == room)
		{
			room *= 2;
			*pairs = repalloc(*pairs, sizeof(CapiDuePair) * room);
		}
		(*pairs)[n++] = pair;
	}
	close_scan(&b);
	return n;
}

/* Is the reason one that the order's own data gave the query? */
static bool
is_of_query(const char *reason)
{
	return reason != NULL && (strncmp(reason, "the query ", 10) == 0 ||
							  strncmp(reason, "the reader ", 11) == 0);
}

static CapiItem *
make_item(BacklogScan *b)
{
	CapiItem   *item = palloc0(sizeof(CapiItem));
	const char *reason;
	bool		isnull;
	Datum		time = slot_getattr(b->slot, B_EVENT_TIME, &isnull);

	item->source_id = DatumGetInt32(column(b, B_SOURCE_ID));
	item->dataset_id = DatumGetInt32(column(b, B_DATASET_ID));
	item->segment = -1;
	item->from_backlog = true;
	item->has_time = !isnull;
	item->event_time_s = isnull ? 0 : timestamptz_to_time_t(DatumGetTimestampTz(time));
	item->key = text_column(b, B_KEY);
	item->captured_at = DatumGetTimestampTz(column(b, B_CAPTURED_AT));
	item->attempts = DatumGetInt32(column(b, B_ATTEMPTS));
	item->event_id = utf8_column(b, B_EVENT_ID);
	item->event_name = utf8_column(b, B_EVENT_NAME);
	reason = text_column(b, B_REASON);
	item->failed_before = is_of_query(reason);
	item->apart = reason != NULL && (strcmp(reason, CAPI_REASON_UNCLEAR_REFUSAL) == 0 ||
									 strcmp(reason, CAPI_REASON_UNCLEAR_ANSWER) == 0);
	return item;
}

/*
 * Adds the due rows of the present scan to the n items that there are already.
 * *first: when the first row is due that can be seen.
 */
static int
take_due(BacklogScan *b, TimestampTz now, int max, CapiItem **items, int n,
		 TimestampTz *first, TimestampTz *next)
{
	while (n < max && step(b))
	{
		TimestampTz due = DatumGetTimestampTz(column(b, B_NEXT));

		*first = Min(*first, due);
		if (due > now)
		{
			*next = Min(*next, due);
			break;
		}
		items[n++] = make_item(b);
	}
	return n;
}

/* The same for one pair. */
static int
add_due(BacklogScan *b, int source_id, int dataset_id, int max,
		CapiItem **items, int n, TimestampTz *next)
{
	Front	   *front = find_front(source_id, dataset_id);
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz first = now;

	if (n >= max)
		return n;
	seek_pair(b, front, BTGreaterEqualStrategyNumber);
	n = take_due(b, now, max, items, n, &first, next);
	if (n < max && begin_front(b, front, now, next))
	{
		n = take_due(b, now, max, items, n, &first, next);
		end_front(front, now);
	}
	front->end = first;
	return n;
}

int
capi_outcome_due(int source_id, int dataset_id, int max, CapiItem **items,
				 TimestampTz *next)
{
	BacklogScan b;
	CapiDuePair pair = {.source_id = source_id, .dataset_id = ANY_DATASET};
	int			n = 0;

	*next = DT_NOEND;
	open_scan(&b);
	if (dataset_id != 0)
		n = add_due(&b, source_id, dataset_id, max, items, 0, next);
	else
		while (n < max && next_pair(&b, &pair) && pair.source_id == source_id)
			n = add_due(&b, source_id, pair.dataset_id, max, items, n, next);
	close_scan(&b);
	return n;
}
