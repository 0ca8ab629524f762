/*
 * delivery.c
 *		Appends rows to capi.delivery, a request's worth at a time.
 *
 * One row per event for ever makes this the most written table of all, so it
 * is filled as COPY fills one: many tuples to a page under one lock and one WAL
 * record, then their index entries.  An INSERT from arrays cost five times as
 * much (doc/performance.md).  The partition that takes "now" is looked up when
 * the one known before does not.
 *
 * Called by outcome.c only.  Nothing here judges an outcome.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "nodes/execnodes.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/txn.h"
#include "store/delivery.h"

/* Columns, in the order of sql/capi/tables.sql. */
enum
{
	L_FINISHED_AT, L_CAPTURED_AT, L_EVENT_TIME, L_REQUEST_ID, L_SOURCE_ID,
	L_DATASET_ID, L_ATTEMPTS, L_ERROR_CODE, L_ERROR_SUBCODE, L_OUTCOME, L_KEY,
	L_EVENT_ID, L_EVENT_NAME, L_VALUE, L_CURRENCY, L_REASON, L_PROBLEMS,
	L_COLUMNS
};

/* Tuples formed before they are written together. */
#define CHUNK_ROWS	500

/* The partition of the present time, and its bounds. */
static Oid	partition = InvalidOid;
static TimestampTz partition_from;
static TimestampTz partition_until;

static void find_partition(TimestampTz now);
static void append_chunk(Relation rel, ResultRelInfo *target, EState *estate,
						 TupleTableSlot **slots, int n);
static void fill_slot(TupleTableSlot *slot, const CapiOutcome *outcome,
					  TimestampTz now);

void
capi_delivery_append(const CapiOutcome *outcomes, int n)
{
	TimestampTz now = GetCurrentTimestamp();
	EState	   *estate;
	ResultRelInfo *target;
	Relation	rel = NULL;
	TupleTableSlot *slots[CHUNK_ROWS];
	MemoryContext old;
	int			made = 0;
	int			filled = 0;

	if (OidIsValid(partition) && now >= partition_from && now < partition_until)
		rel = try_table_open(partition, RowExclusiveLock);
	if (rel == NULL)
	{
		find_partition(now);
		rel = table_open(partition, RowExclusiveLock);
	}
	estate = CreateExecutorState();
	old = MemoryContextSwitchTo(estate->es_query_cxt);
	target = makeNode(ResultRelInfo);
	InitResultRelInfo(target, rel, 0, NULL, 0);
	ExecOpenIndices(target, false);
	for (int i = 0; i < n; i++)
	{
		if (outcomes[i].kind > CAPI_OUTCOME_EXPIRED)
			continue;
		if (filled == made)
			slots[made++] = table_slot_create(rel, NULL);
		fill_slot(slots[filled++], &outcomes[i], now);
		if (filled == CHUNK_ROWS)
		{
			append_chunk(rel, target, estate, slots, filled);
			filled = 0;
		}
	}
	if (filled > 0)
		append_chunk(rel, target, estate, slots, filled);
	for (int i = 0; i < made; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	ExecCloseIndices(target);
	MemoryContextSwitchTo(old);
	FreeExecutorState(estate);
	/* the lock stays to the end of the transaction */
	table_close(rel, NoLock);
}

/* Maintenance makes partitions ahead of time; without one this raises. */
static void
find_partition(TimestampTz now)
{
	Oid			types[1] = {TIMESTAMPTZOID};
	Datum		args[1] = {TimestampTzGetDatum(now)};
	HeapTuple	row;
	bool		isnull;

	partition = InvalidOid;
	if (capi_txn_execute_with_args("SELECT p.oid, p.lower, p.upper FROM capi._partition('delivery', $1) p",
							  1, types, args, NULL, false, 1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not find a partition of capi.delivery");
	row = SPI_tuptable->vals[0];
	partition_from = DatumGetTimestampTz(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull));
	partition_until = DatumGetTimestampTz(SPI_getbinval(row, SPI_tuptable->tupdesc, 3, &isnull));
	partition = DatumGetObjectId(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
}

static void
append_chunk(Relation rel, ResultRelInfo *target, EState *estate,
			 TupleTableSlot **slots, int n)
{
	table_multi_insert(rel, slots, n, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < n; i++)
	{
		(void) capi_insert_index_tuples(target, slots[i], estate);
		ResetPerTupleExprContext(estate);
	}
	for (int i = 0; i < n; i++)
		ExecClearTuple(slots[i]);
}

static void
put(TupleTableSlot *slot, int column, Datum value)
{
	slot->tts_values[column] = value;
	slot->tts_isnull[column] = false;
}

static void
put_text(TupleTableSlot *slot, int column, const char *text)
{
	if (text != NULL)
		put(slot, column, CStringGetTextDatum(text));
}

static void
put_nonzero(TupleTableSlot *slot, int column, int value)
{
	if (value != 0)
		put(slot, column, Int32GetDatum(value));
}

static void
fill_slot(TupleTableSlot *slot, const CapiOutcome *outcome, TimestampTz now)
{
	const CapiItem *item = outcome->item;
	TimestampTz event_time;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, L_COLUMNS * sizeof(bool));
	put(slot, L_FINISHED_AT, TimestampTzGetDatum(now));
	put(slot, L_CAPTURED_AT, TimestampTzGetDatum(item->captured_at));
	if (capi_item_event_time(item, &event_time))
		put(slot, L_EVENT_TIME, TimestampTzGetDatum(event_time));
	if (outcome->request_id != 0)
		put(slot, L_REQUEST_ID, Int64GetDatum(outcome->request_id));
	put(slot, L_SOURCE_ID, Int32GetDatum(item->source_id));
	put_nonzero(slot, L_DATASET_ID, item->dataset_id);
	put(slot, L_ATTEMPTS, Int32GetDatum(item->attempts));
	put_nonzero(slot, L_ERROR_CODE, outcome->error_code);
	put_nonzero(slot, L_ERROR_SUBCODE, outcome->error_subcode);
	put_text(slot, L_OUTCOME, capi_outcome_word(outcome->kind));
	put_text(slot, L_KEY, item->key);
	/* as a rule the id is the key */
	if (item->event_id != NULL && strcmp(item->event_id, item->key) != 0)
		put_text(slot, L_EVENT_ID, item->event_id);
	put_text(slot, L_EVENT_NAME, item->event_name);
	if (item->value != NULL)
		put(slot, L_VALUE, DirectFunctionCall3(numeric_in, CStringGetDatum(item->value),
											   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	put_text(slot, L_CURRENCY, item->currency);
	put_text(slot, L_REASON, outcome->reason);
	if (item->problems != NULL)
		put(slot, L_PROBLEMS, DirectFunctionCall1(jsonb_in, CStringGetDatum(item->problems)));
	ExecStoreVirtualTuple(slot);
}
