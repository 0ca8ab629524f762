/*
 * moved.c
 *		A row on its way from one partition to another.
 *
 * An UPDATE of the partition key is a DELETE there and an INSERT here, with a
 * call of the trigger for each, one directly after the other.  Without the row
 * as it was, an order that was paid long ago looks like a new one.  So the
 * trigger of a partitioned table fires for DELETE, too, and the row that left
 * stays here until the next call.
 *
 * That the two are one row is not said anywhere.  The one that left is marked
 * as moved, both were written by the same command, and they have the same key.
 * An UPDATE that replication applies is not marked, nor does an attached
 * partition hear of a row that comes from a sibling: both look like inserts.
 *
 * Called by capture.c.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "capture/moved.h"

/* Where a partition has the columns of a rule. */
typedef struct Columns
{
	int			source_id;
	AttrNumber	on_att;
	AttrNumber	key_att[CAPI_MAX_KEY_COLUMNS];
} Columns;

struct CapiMovedRow
{
	HeapTuple	tuple;			/* NULL: no row is on its way */
	TransactionId xid;			/* that moved it: asked at once, for later a
								 * multixact may be forgotten */
	TupleTableSlot *slot;
	int			nrules;
	Columns    *rules;
};

static CapiMovedRow the_row;
static MemoryContext context = NULL;

/* In a context of the row, which is that of a command at most. */
static void
keep(TupleDesc desc, HeapTuple tuple, const CapiTableRules *rules)
{
	MemoryContext old = MemoryContextSwitchTo(context);

	the_row.slot = MakeSingleTupleTableSlot(CreateTupleDescCopy(desc), &TTSOpsHeapTuple);
	the_row.rules = palloc0(sizeof(Columns) * rules->nrules);
	the_row.nrules = 0;
	for (int i = 0; i < rules->nrules; i++)
	{
		const CapiRule *rule = &rules->rules[i];
		Columns    *columns = &the_row.rules[the_row.nrules];

		if (rule->condition_broken || rule->problem != NULL)
			continue;
		columns->source_id = rule->source_id;
		columns->on_att = rule->on_att;
		memcpy(columns->key_att, rule->key_att, sizeof(columns->key_att));
		the_row.nrules++;
	}
	the_row.tuple = heap_copytuple(tuple);
	ExecStoreHeapTuple(the_row.tuple, the_row.slot, false);
	MemoryContextSwitchTo(old);
}

void
capi_moved_note(Relation from, TupleTableSlot *row)
{
	bool		should_free;
	HeapTuple	tuple = ExecFetchSlotHeapTuple(row, false, &should_free);
	CapiTableRules *rules;

	the_row.tuple = NULL;
	if (!HeapTupleHeaderIndicatesMovedPartitions(tuple->t_data))
		return;
	rules = capi_rule_lookup(from);
	if (rules == NULL || rules->nrules == 0)
		return;
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "capi moved row",
										ALLOCSET_SMALL_SIZES);
	MemoryContextReset(context);
	the_row.xid = HeapTupleHeaderGetUpdateXid(tuple->t_data);
	keep(RelationGetDescr(from), tuple, rules);
}

CapiMovedRow *
capi_moved_take(TupleTableSlot *inserted)
{
	HeapTupleHeader left;
	HeapTupleHeader came;
	bool		should_free;

	if (the_row.tuple == NULL)
		return NULL;
	left = the_row.tuple->t_data;
	came = ExecFetchSlotHeapTuple(inserted, false, &should_free)->t_data;
	the_row.tuple = NULL;
	/* what an earlier transaction, or command, left here is of no use */
	if (!TransactionIdIsCurrentTransactionId(the_row.xid) ||
		HeapTupleHeaderGetCmax(left) != HeapTupleHeaderGetCmin(came))
		return NULL;
	return &the_row;
}

/* Are the values that make the key the same, byte by byte? */
static bool
is_same_key(const Columns *columns, TupleTableSlot *left, const CapiRule *rule,
			TupleTableSlot *came)
{
	for (int i = 0; i < rule->nkeys; i++)
	{
		Form_pg_attribute att = TupleDescAttr(came->tts_tupleDescriptor,
											  rule->key_att[i] - 1);
		bool		was_null;
		bool		is_null;
		Datum		was = slot_getattr(left, columns->key_att[i], &was_null);
		Datum		is = slot_getattr(came, rule->key_att[i], &is_null);

		if (was_null || is_null || !datumIsEqual(was, is, att->attbyval, att->attlen))
			return false;
	}
	return true;
}

TupleTableSlot *
capi_moved_slot(CapiMovedRow *moved, const CapiRule *rule, TupleTableSlot *inserted,
				AttrNumber *on_att)
{
	for (int i = 0; moved != NULL && rule->problem == NULL && i < moved->nrules; i++)
	{
		const Columns *columns = &moved->rules[i];

		if (columns->source_id != rule->source_id)
			continue;
		if (!is_same_key(columns, moved->slot, rule, inserted))
			return NULL;
		*on_att = columns->on_att;
		return moved->slot;
	}
	return NULL;
}
