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

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
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
#include "base/encoding.h"
#include "base/txn.h"
#include "store/delivery.h"

/* Columns, in the order of sql/capi/tables.sql. */
enum
{
	L_FINISHED_AT, L_CAPTURED_AT, L_EVENT_TIME, L_REQUEST_ID, L_SOURCE_ID,
	L_DATASET_ID, L_ATTEMPTS, L_ERROR_CODE, L_ERROR_SUBCODE, L_OUTCOME, L_KEY,
	L_EVENT_ID, L_EVENT_NAME, L_VALUE, L_CURRENCY, L_REASON, L_PROBLEMS,
	L_CONTEXT
};

/* Tuples formed before they are written together. */
#define CHUNK_ROWS	500

/* The partition of the present time, and its bounds. */
static Oid	partition = InvalidOid;
static TimestampTz partition_from;
static TimestampTz partition_until;

/* What many rows have in common is turned into a datum once. */
typedef struct TextCache
{
	const char *text;			/* as the last row had it, or NULL */
	Datum		datum;
} TextCache;

/* The rows of one call, on their way into the partition. */
typedef struct Appender
{
	TimestampTz now;
	Relation	rel;
	EState	   *estate;
	ResultRelInfo *target;
	TupleDesc	desc;
	bool		plain;			/* its indexes are as we made them */
	TupleTableSlot *slots[CHUNK_ROWS];
	int			made;			/* slots that there are */
	int			filled;
	TextCache	outcome;
	TextCache	event_name;
	TextCache	currency;
} Appender;

static void open_partition(Appender *a);
static void find_partition(TimestampTz now);
static bool has_plain_indexes(const ResultRelInfo *target);
static void append_chunk(Appender *a);
static void fill_slot(Appender *a, TupleTableSlot *slot, const CapiOutcome *outcome);

void
capi_delivery_append(const CapiOutcome *outcomes, int n)
{
	Appender	a = {.now = GetCurrentTimestamp()};
	MemoryContext old;

	open_partition(&a);
	a.estate = CreateExecutorState();
	old = MemoryContextSwitchTo(a.estate->es_query_cxt);
	a.target = makeNode(ResultRelInfo);
	InitResultRelInfo(a.target, a.rel, 0, NULL, 0);
	ExecOpenIndices(a.target, false);
	a.plain = has_plain_indexes(a.target);
	/* a copy, which hundreds of slots need not register that they use */
	a.desc = CreateTupleDescCopy(RelationGetDescr(a.rel));
	for (int i = 0; i < n; i++)
	{
		if (outcomes[i].kind > CAPI_OUTCOME_EXPIRED)
			continue;
		if (a.filled == a.made)
			a.slots[a.made++] = MakeSingleTupleTableSlot(a.desc, &TTSOpsVirtual);
		fill_slot(&a, a.slots[a.filled++], &outcomes[i]);
		if (a.filled == CHUNK_ROWS)
			append_chunk(&a);
	}
	if (a.filled > 0)
		append_chunk(&a);
	ExecCloseIndices(a.target);
	MemoryContextSwitchTo(old);
	FreeExecutorState(a.estate);
	/* the lock stays to the end of the transaction */
	table_close(a.rel, NoLock);
}

static void
open_partition(Appender *a)
{
	if (OidIsValid(partition) && a->now >= partition_from && a->now < partition_until)
		a->rel = try_table_open(partition, RowExclusiveLock);
	if (a->rel != NULL)
		return;
	find_partition(a->now);
	a->rel = table_open(partition, RowExclusiveLock);
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

/* Of columns only, for every row, unique for none? */
static bool
has_plain_indexes(const ResultRelInfo *target)
{
	for (int i = 0; i < target->ri_NumIndices; i++)
	{
		const IndexInfo *info = target->ri_IndexRelationInfo[i];

		if (info->ii_Expressions != NIL || info->ii_Predicate != NIL ||
			info->ii_Unique || info->ii_ExclusionOps != NULL ||
			!info->ii_ReadyForInserts)
			return false;
	}
	return true;
}

/* A BRIN index on one of the times? */
static bool
is_by_block(const ResultRelInfo *target, int i)
{
	const IndexInfo *info = target->ri_IndexRelationInfo[i];

	return info->ii_NumIndexAttrs == 1 &&
		(info->ii_IndexAttrNumbers[0] == L_FINISHED_AT + 1 ||
		 info->ii_IndexAttrNumbers[0] == L_EVENT_TIME + 1) &&
		target->ri_IndexRelationDescs[i]->rd_rel->relam == BRIN_AM_OID;
}

static void
insert_entry(Appender *a, int i, TupleTableSlot *slot)
{
	Relation	index = a->target->ri_IndexRelationDescs[i];
	IndexInfo  *info = a->target->ri_IndexRelationInfo[i];
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	for (int k = 0; k < info->ii_NumIndexAttrs; k++)
	{
		int			column = info->ii_IndexAttrNumbers[k] - 1;

		values[k] = slot->tts_values[column];
		nulls[k] = slot->tts_isnull[column];
	}
	index_insert(index, values, nulls, &slot->tts_tid, a->rel,
				 UNIQUE_CHECK_NO, false, info);
}

/*
 * Of the rows of one block, first to last, those that say all of it: with the
 * earliest time and the latest, and one without.
 */
static void
insert_block(Appender *a, int i, int first, int last)
{
	int			column = a->target->ri_IndexRelationInfo[i]->ii_IndexAttrNumbers[0] - 1;
	TupleTableSlot *none = NULL;
	TupleTableSlot *earliest = NULL;
	TupleTableSlot *latest = NULL;

	for (int row = first; row <= last; row++)
	{
		TupleTableSlot *slot = a->slots[row];
		TimestampTz time;

		if (slot->tts_isnull[column])
		{
			none = slot;
			continue;
		}
		time = DatumGetTimestampTz(slot->tts_values[column]);
		if (earliest == NULL || time < DatumGetTimestampTz(earliest->tts_values[column]))
			earliest = slot;
		if (latest == NULL || time > DatumGetTimestampTz(latest->tts_values[column]))
			latest = slot;
	}
	if (none != NULL)
		insert_entry(a, i, none);
	if (earliest != NULL)
		insert_entry(a, i, earliest);
	if (latest != earliest)
		insert_entry(a, i, latest);
}

static BlockNumber
block_of(const Appender *a, int row)
{
	return ItemPointerGetBlockNumber(&a->slots[row]->tts_tid);
}

/*
 * What the executor does for each row and index, index by index.  Entries that
 * change nothing of what is said of their block are spared.
 */
static void
insert_entries(Appender *a, int i)
{
	bool		by_block = is_by_block(a->target, i);
	int			first = 0;

	for (int row = 0; row < a->filled; row++)
	{
		if (!by_block)
			insert_entry(a, i, a->slots[row]);
		else if (row + 1 == a->filled || block_of(a, row + 1) != block_of(a, row))
		{
			insert_block(a, i, first, row);
			first = row + 1;
		}
	}
}

static void
append_chunk(Appender *a)
{
	table_multi_insert(a->rel, a->slots, a->filled, GetCurrentCommandId(true), 0, NULL);
	if (a->plain)
		for (int i = 0; i < a->target->ri_NumIndices; i++)
			insert_entries(a, i);
	else
		for (int row = 0; row < a->filled; row++)
		{
			(void) capi_insert_index_tuples(a->target, a->slots[row], a->estate);
			ResetPerTupleExprContext(a->estate);
		}
	for (int row = 0; row < a->filled; row++)
		ExecClearTuple(a->slots[row]);
	a->filled = 0;
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

/* The same of a text that the row before mostly has, too. */
static void
put_common(TupleTableSlot *slot, int column, TextCache *cache, const char *text)
{
	if (text == NULL)
		return;
	if (cache->text == NULL || strcmp(cache->text, text) != 0)
	{
		cache->text = text;
		cache->datum = CStringGetTextDatum(capi_from_utf8(text));
	}
	put(slot, column, cache->datum);
}

static void
put_nonzero(TupleTableSlot *slot, int column, int value)
{
	if (value != 0)
		put(slot, column, Int32GetDatum(value));
}

static void
fill_slot(Appender *a, TupleTableSlot *slot, const CapiOutcome *outcome)
{
	const CapiItem *item = outcome->item;
	TimestampTz event_time;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, a->desc->natts * sizeof(bool));
	put(slot, L_FINISHED_AT, TimestampTzGetDatum(a->now));
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
	put_common(slot, L_OUTCOME, &a->outcome, capi_outcome_word(outcome->kind));
	put_text(slot, L_KEY, item->key);
	/* as a rule the id is the key */
	if (item->event_id != NULL && strcmp(item->event_id, item->key) != 0)
		put_text(slot, L_EVENT_ID, capi_from_utf8(item->event_id));
	put_common(slot, L_EVENT_NAME, &a->event_name, item->event_name);
	if (item->value != NULL)
		put(slot, L_VALUE, DirectFunctionCall3(numeric_in, CStringGetDatum(item->value),
											   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	put_common(slot, L_CURRENCY, &a->currency, item->currency);
	put_text(slot, L_REASON, outcome->reason != NULL ? capi_from_utf8(outcome->reason) : NULL);
	if (item->problems != NULL)
		put(slot, L_PROBLEMS, DirectFunctionCall1(jsonb_in, CStringGetDatum(capi_from_utf8(item->problems))));
	/* the extension may be of a version before it */
	if (item->is_evaluated && a->desc->natts > L_CONTEXT)
		put(slot, L_CONTEXT, Int16GetDatum(item->context));
	ExecStoreVirtualTuple(slot);
}
