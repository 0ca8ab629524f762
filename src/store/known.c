/*
 * known.c
 *		Looks captured keys up in the log and the backlog, so that an order is
 *		reported once (P5), also after a restart.
 *
 * Two look-ups per captured row, most of which find nothing: they go straight
 * to the indexes, in half the time that the executor needs for the same.  And
 * most shops number their orders, so the keys of a chunk are neighbours in the
 * index: as long as there is little between them, one walk from the first to
 * the last tells of all.  What it does not come by is looked up one by one.
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

/* One key that is to be found, and all that is wanted of it. */
typedef struct Wanted
{
	const char *key;
	int			at;				/* in items and known */
} Wanted;

/* One look into one table. */
typedef struct Look
{
	KeyIndex	by;
	AttrNumber	outcome;		/* Invalid: every row is one that waits */
	AttrNumber	captured_at;
	CapiItem  **items;
	CapiKnown  *known;
	Wanted	   *wanted;			/* in the order of their keys */
	int			n;				/* of wanted */
	TupleTableSlot *slot;
} Look;

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

/* As the index has them: bytewise. */
static int
compare_keys(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int			order = memcmp(a, b, Min(a_len, b_len));

	return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static int
compare_wanted(const void *a, const void *b)
{
	const char *key_a = ((const Wanted *) a)->key;
	const char *key_b = ((const Wanted *) b)->key;

	return compare_keys(key_a, strlen(key_a), key_b, strlen(key_b));
}

static void
set_key(ScanKey scan_key, const Look *look, StrategyNumber strategy,
		RegProcedure compare, const char *key)
{
	ScanKeyEntryInitialize(scan_key, 0, look->by.key_at, strategy, InvalidOid,
						   C_COLLATION_OID, compare, CStringGetTextDatum(key));
}

/* The row in the slot is one of the item's. */
static void
learn(Look *look, int at)
{
	look->known[at] = Max(look->known[at], meaning(look->slot, look->outcome,
												   look->captured_at, look->items[at]));
}

/*
 * Is the entry that the scan is at one of the keys from first on?  Then its row
 * is looked at; false: a stranger's.
 */
static bool
take_entry(Look *look, IndexScanDesc scan, int first, const text *key, int source_id)
{
	bool		found = false;

	for (int i = first; i < look->n; i++)
	{
		int			at = look->wanted[i].at;
		const char *wanted = look->wanted[i].key;

		if (compare_keys(wanted, strlen(wanted), VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key)) != 0)
			break;
		if (look->items[at]->source_id != source_id)
			continue;
		if (!found && !index_fetch_heap(scan, look->slot))
			return true;
		found = true;
		learn(look, at);
	}
	return found;
}

/*
 * Goes along the index from the first key to the last.  Returns how many of them
 * it came by before it had met too many strangers: to step over one costs far less
 * than a look-up, and not nothing.
 */
static int
walk(Look *look, IndexScanDesc scan)
{
	TupleDesc	desc = RelationGetDescr(look->by.index);
	int			strangers = 0;
	int			done = 0;
	ScanKeyData keys[2];

	set_key(&keys[0], look, BTGreaterEqualStrategyNumber, F_TEXT_GE, look->wanted[0].key);
	set_key(&keys[1], look, BTLessEqualStrategyNumber, F_TEXT_LE,
			look->wanted[look->n - 1].key);
	scan->xs_want_itup = true;
	index_rescan(scan, keys, 2, NULL, 0);
	while (index_getnext_tid(scan, ForwardScanDirection) != NULL)
	{
		bool		isnull;
		text	   *key = DatumGetTextPP(index_getattr(scan->xs_itup, look->by.key_at, desc, &isnull));
		int			source_id = DatumGetInt32(index_getattr(scan->xs_itup, look->by.source_at,
															desc, &isnull));

		while (done < look->n &&
			   compare_keys(look->wanted[done].key, strlen(look->wanted[done].key),
							VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key)) < 0)
			done++;
		if (!take_entry(look, scan, done, key, source_id) && ++strangers > look->n / 2)
			return done;
	}
	return look->n;
}

/* Looks the keys up one by one, from first on. */
static void
probe(Look *look, IndexScanDesc scan, int first)
{
	scan->xs_want_itup = false;
	for (int i = first; i < look->n; i++)
	{
		int			at = look->wanted[i].at;
		ScanKeyData keys[2];

		set_key(&keys[look->by.key_at - 1], look, BTEqualStrategyNumber, F_TEXTEQ,
				look->wanted[i].key);
		ScanKeyEntryInitialize(&keys[look->by.source_at - 1], 0, look->by.source_at,
							   BTEqualStrategyNumber, InvalidOid, InvalidOid, F_INT4EQ,
							   Int32GetDatum(look->items[at]->source_id));
		index_rescan(scan, keys, 2, NULL, 0);
		while (index_getnext_slot(scan, ForwardScanDirection, look->slot))
			learn(look, at);
	}
}

/*
 * outcome_column: where the outcome stands; NULL: every row is one that waits.
 * enough: what is known so well is not looked up any more.
 */
static void
look_up(Relation rel, const char *outcome_column, CapiItem **items, int n,
		CapiKnown enough, CapiKnown *known)
{
	Look		look = {.items = items, .known = known};
	IndexScanDesc scan;
	int			done = 0;

	if (RelationGetNumberOfBlocks(rel) == 0)
		return;
	look.wanted = palloc(sizeof(Wanted) * (n + 1));
	for (int i = 0; i < n; i++)
		if (known[i] < enough)
			look.wanted[look.n++] = (Wanted) {items[i]->key, i};
	if (look.n == 0)
		return;
	qsort(look.wanted, look.n, sizeof(Wanted), compare_wanted);
	if (!open_key_index(rel, &look.by))
		elog(ERROR, "table \"%s\" has lost its index on key and source_id",
			 RelationGetRelationName(rel));
	look.outcome = outcome_column == NULL ? InvalidAttrNumber :
		get_attnum(RelationGetRelid(rel), outcome_column);
	look.captured_at = get_attnum(RelationGetRelid(rel), "captured_at");
	look.slot = table_slot_create(rel, NULL);
	scan = capi_index_beginscan(rel, look.by.index, GetActiveSnapshot(), 2);
	if (look.by.key_at == 1)
		done = walk(&look, scan);
	probe(&look, scan, done);
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(look.slot);
	index_close(look.by.index, AccessShareLock);
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
