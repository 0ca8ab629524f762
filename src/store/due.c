/*
 * due.c
 *		Which rows of the backlog are due (outcome.h).
 *
 * Straight from the index backlog_due (source_id, dataset_id, next_attempt_at),
 * as known.c does: a look costs what it finds, whatever a planner knows of a
 * table that is empty at night and has a million rows at noon.  Reads only;
 * called by dispatch.c.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "store/config.h"
#include "store/outcome.h"

/* Columns of capi.backlog, in the order of sql/capi/tables.sql. */
enum
{
	B_SOURCE_ID = 1, B_KEY, B_DATASET_ID, B_STATUS, B_CAPTURED_AT, B_NEXT,
	B_ATTEMPTS, B_EVENT_ID, B_EVENT_NAME, B_EVENT_TIME, B_VALUE, B_CURRENCY,
	B_REASON
};

/* Columns of its index. */
#define I_SOURCE_ID		1
#define I_DATASET_ID	2
#define I_KEYS			2

/* Every id is greater. */
#define ANY_DATASET		0

typedef struct BacklogScan
{
	Relation	rel;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
} BacklogScan;

static void
open_scan(BacklogScan *b)
{
	b->rel = table_open(capi_config_table("backlog"), AccessShareLock);
	b->index = index_open(capi_config_table("backlog_due"), AccessShareLock);
	b->slot = table_slot_create(b->rel, NULL);
	b->scan = capi_index_beginscan(b->rel, b->index, GetActiveSnapshot(), I_KEYS);
}

static void
close_scan(BacklogScan *b)
{
	index_endscan(b->scan);
	ExecDropSingleTupleTableSlot(b->slot);
	index_close(b->index, AccessShareLock);
	table_close(b->rel, AccessShareLock);
}

/*
 * Rows of sources and datasets as the strategies say: equal or greater.  A scan
 * has as many keys as it began with.
 */
static void
seek(BacklogScan *b, StrategyNumber source_is, int source_id,
	 StrategyNumber dataset_is, int dataset_id)
{
	ScanKeyData keys[I_KEYS];

	ScanKeyInit(&keys[0], I_SOURCE_ID, source_is,
				source_is == BTEqualStrategyNumber ? F_INT4EQ : F_INT4GT,
				Int32GetDatum(source_id));
	ScanKeyInit(&keys[1], I_DATASET_ID, dataset_is,
				dataset_is == BTEqualStrategyNumber ? F_INT4EQ : F_INT4GT,
				Int32GetDatum(dataset_id));
	index_rescan(b->scan, keys, I_KEYS, NULL, 0);
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

/* The pair behind this one; false if there is none. */
static bool
next_pair(BacklogScan *b, CapiDuePair *pair)
{
	seek(b, BTEqualStrategyNumber, pair->source_id, BTGreaterStrategyNumber, pair->dataset_id);
	if (!step(b))
	{
		seek(b, BTGreaterStrategyNumber, pair->source_id,
			 BTGreaterStrategyNumber, ANY_DATASET);
		if (!step(b))
			return false;
	}
	pair->source_id = DatumGetInt32(column(b, B_SOURCE_ID));
	pair->dataset_id = DatumGetInt32(column(b, B_DATASET_ID));
	pair->next_attempt_at = DatumGetTimestampTz(column(b, B_NEXT));
	return true;
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
	item->event_id = text_column(b, B_EVENT_ID);
	item->event_name = text_column(b, B_EVENT_NAME);
	item->failed_before = is_of_query(text_column(b, B_REASON));
	return item;
}

/* Adds the rows of one pair to the n items that there are already. */
static int
add_due(BacklogScan *b, int source_id, int dataset_id, int max,
		CapiItem **items, int n, TimestampTz *next)
{
	TimestampTz now = GetCurrentTimestamp();

	seek(b, BTEqualStrategyNumber, source_id, BTEqualStrategyNumber, dataset_id);
	while (n < max && step(b))
	{
		TimestampTz due = DatumGetTimestampTz(column(b, B_NEXT));

		if (due > now)
		{
			*next = Min(*next, due);
			break;
		}
		items[n++] = make_item(b);
	}
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
