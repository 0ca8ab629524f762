/*
 * known.c
 *		Looks captured keys up in the log and the backlog, so that an order is
 *		reported once (P5), also after a restart.
 *
 * Two look-ups per captured row, most of which find nothing: they go straight
 * to the indexes, in half the time that the executor needs for the same.
 * Called by intake.c and backlog.c; reads only.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_inherits.h"
#include "executor/tuptable.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "store/config.h"
#include "store/known.h"

/* The two columns of an index by which a key is found, and their places. */
typedef struct KeyIndex
{
	Relation	index;
	int			key_at;			/* 1 or 2 */
	int			source_at;
} KeyIndex;

static bool open_key_index(Relation rel, KeyIndex *found);
static void look_up(Relation rel, const char *outcome_column, CapiItem **items,
					int n, CapiKnown enough, CapiKnown *known);
static void look_up_in_log(CapiItem **items, int n, CapiKnown enough,
						   CapiKnown *known);
static CapiKnown meaning(TupleTableSlot *slot, AttrNumber outcome,
						 AttrNumber captured_at, const CapiItem *item);

void
capi_known_look_up(CapiItem **items, int n, CapiKnown *known)
{
	Relation	backlog = table_open(capi_config_table("backlog"), AccessShareLock);

	for (int i = 0; i < n; i++)
		known[i] = CAPI_KNOWN_NOT;
	look_up(backlog, NULL, items, n, CAPI_KNOWN_FINISHED, known);
	table_close(backlog, AccessShareLock);
	look_up_in_log(items, n, CAPI_KNOWN_FINISHED, known);
}

void
capi_known_look_up_forgotten(CapiItem **items, int n, CapiKnown *known)
{
	for (int i = 0; i < n; i++)
		known[i] = CAPI_KNOWN_NOT;
	look_up_in_log(items, n, CAPI_KNOWN_FORGOTTEN, known);
}

static void
look_up_in_log(CapiItem **items, int n, CapiKnown enough, CapiKnown *known)
{
	List	   *partitions;
	ListCell   *lc;

	partitions = find_inheritance_children(capi_config_table("delivery"), AccessShareLock);
	foreach(lc, partitions)
	{
		Relation	rel = table_open(lfirst_oid(lc), NoLock);

		look_up(rel, "outcome", items, n, enough, known);
		table_close(rel, AccessShareLock);
	}
	list_free(partitions);
}

/* The index that begins with the columns key and source_id, in any order. */
static bool
open_key_index(Relation rel, KeyIndex *found)
{
	List	   *indexes = RelationGetIndexList(rel);
	AttrNumber	key = get_attnum(RelationGetRelid(rel), "key");
	AttrNumber	source = get_attnum(RelationGetRelid(rel), "source_id");
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		Form_pg_index form = index->rd_index;

		if (index->rd_rel->relam == BTREE_AM_OID && form->indisvalid && form->indnatts == 2)
			for (int at = 0; at < 2; at++)
				if (form->indkey.values[at] == key && form->indkey.values[1 - at] == source)
				{
					found->index = index;
					found->key_at = at + 1;
					found->source_at = 2 - at;
					list_free(indexes);
					return true;
				}
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return false;
}

/*
 * outcome_column: where the outcome stands; NULL: every row is one that waits.
 * enough: what is known so well is not looked up any more.
 */
static void
look_up(Relation rel, const char *outcome_column, CapiItem **items, int n,
		CapiKnown enough, CapiKnown *known)
{
	AttrNumber	outcome = outcome_column == NULL ? InvalidAttrNumber :
		get_attnum(RelationGetRelid(rel), outcome_column);
	AttrNumber	captured_at = get_attnum(RelationGetRelid(rel), "captured_at");
	KeyIndex	by;
	IndexScanDesc scan;
	TupleTableSlot *slot;

	if (RelationGetNumberOfBlocks(rel) == 0)
		return;
	if (!open_key_index(rel, &by))
		elog(ERROR, "table \"%s\" has lost its index on key and source_id",
			 RelationGetRelationName(rel));
	slot = table_slot_create(rel, NULL);
	scan = capi_index_beginscan(rel, by.index, GetActiveSnapshot(), 2);
	for (int i = 0; i < n; i++)
	{
		ScanKeyData keys[2];

		if (known[i] >= enough)
			continue;
		ScanKeyEntryInitialize(&keys[by.key_at - 1], 0, by.key_at, BTEqualStrategyNumber,
							   InvalidOid, C_COLLATION_OID, F_TEXTEQ,
							   CStringGetTextDatum(items[i]->key));
		ScanKeyEntryInitialize(&keys[by.source_at - 1], 0, by.source_at, BTEqualStrategyNumber,
							   InvalidOid, InvalidOid, F_INT4EQ,
							   Int32GetDatum(items[i]->source_id));
		index_rescan(scan, keys, 2, NULL, 0);
		while (index_getnext_slot(scan, ForwardScanDirection, slot))
			known[i] = Max(known[i], meaning(slot, outcome, captured_at, items[i]));
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(by.index, AccessShareLock);
}

/*
 * An ignored order that is captured again is looked at again; but the capture
 * that was ignored, read once more after a restart, is no other.  Which one it
 * is, its time tells (capture_time() of append.c); not which is the later one, because captures commit in
 * any order.
 */
static CapiKnown
meaning(TupleTableSlot *slot, AttrNumber outcome, AttrNumber captured_at,
		const CapiItem *item)
{
	bool		isnull;
	Datum		value;
	char	   *word;

	if (outcome == InvalidAttrNumber)
		return CAPI_KNOWN_WAITING;
	word = TextDatumGetCString(slot_getattr(slot, outcome, &isnull));
	if (strcmp(word, "forgotten") == 0)
		return CAPI_KNOWN_FORGOTTEN;
	if (strcmp(word, capi_outcome_word(CAPI_OUTCOME_IGNORED)) != 0)
		return CAPI_KNOWN_FINISHED;
	value = slot_getattr(slot, captured_at, &isnull);
	return DatumGetTimestampTz(value) == item->captured_at ?
		CAPI_KNOWN_FINISHED : CAPI_KNOWN_IGNORED;
}
