/*
 * renumber.c
 *		Notes that the numbers of an attached table begin again.
 *
 * After TRUNCATE ... RESTART IDENTITY order 1 is another order, which the log
 * takes for the one that it knows (P5).  Nobody but a person can tell whether
 * it shall be reported, so the source says that it happened: a row in the
 * queue, like the rows that count what was missed, from which the dispatcher
 * makes capi.source.renumbered_at.
 *
 * Seen are TRUNCATE ... RESTART IDENTITY, of the tables that it reaches by CASCADE
 * or inheritance, too, and the restart of a column's own sequence, in sessions in which the library is loaded: with preload in all of
 * them.  Not seen is setval().
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/heap.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "commands/defrem.h"
#include "commands/sequence.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "base/lock.h"
#include "base/wake.h"
#include "capture/capture.h"
#include "capture/rule.h"
#include "store/queue.h"

static ProcessUtility_hook_type prev_process_utility = NULL;

static void process_utility(PlannedStmt *pstmt, const char *queryString,
							bool readOnlyTree, ProcessUtilityContext context,
							ParamListInfo params, QueryEnvironment *queryEnv,
							DestReceiver *dest, QueryCompletion *qc);

void
capi_renumber_init(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}

/* A partition is not the whole of its table. */
static void
note_table(Oid relid)
{
	Relation	rel;
	CapiTableRules *entry;

	if (!OidIsValid(relid) || !capi_lock_at_once(relid, AccessShareLock))
		return;
	rel = RelationIdGetRelation(relid);
	if (rel == NULL)
		return;
	if (rel->trigdesc != NULL && !rel->rd_rel->relispartition &&
		(entry = capi_rule_lookup(rel)) != NULL)
		for (int i = 0; i < entry->nrules; i++)
			if (capi_queue_append(entry->rules[i].source_id, NULL, CAPI_QUEUE_RENUMBERED))
				capi_wake_at_commit(false);
	RelationClose(rel);
}

/*
 * All tables that the statement empties: as ExecuteTruncate() finds them, also
 * those that nobody named.
 */
static List *
truncated_tables(const TruncateStmt *stmt)
{
	List	   *tables = NIL;
	List	   *more;
	ListCell   *lc;

	foreach(lc, stmt->relations)
	{
		RangeVar   *name = lfirst_node(RangeVar, lc);
		Oid			relid = RangeVarGetRelid(name, NoLock, true);

		if (OidIsValid(relid))
			tables = list_concat_unique_oid(tables, name->inh ?
											find_all_inheritors(relid, NoLock, NULL) :
											list_make1_oid(relid));
	}
	while (stmt->behavior == DROP_CASCADE && tables != NIL &&
		   (more = heap_truncate_find_FKs(tables)) != NIL)
		tables = list_concat_unique_oid(tables, more);
	return tables;
}

/* The table whose column the sequence numbers, if there is one. */
static void
note_sequence(RangeVar *name)
{
	Oid			sequence = RangeVarGetRelid(name, NoLock, true);
	Oid			table;
	int32		column;

	if (OidIsValid(sequence) &&
		(sequenceIsOwned(sequence, DEPENDENCY_AUTO, &table, &column) ||
		 sequenceIsOwned(sequence, DEPENDENCY_INTERNAL, &table, &column)))
		note_table(table);
}

/* RESTART and RESTART WITH 1; a higher number is mostly one to go on with. */
static bool
begins_again(List *options)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, "restart") == 0)
			return option->arg == NULL || defGetInt64(option) <= 1;
	}
	return false;
}

static void
process_utility(PlannedStmt *pstmt, const char *queryString,
				bool readOnlyTree, ProcessUtilityContext context,
				ParamListInfo params, QueryEnvironment *queryEnv,
				DestReceiver *dest, QueryCompletion *qc)
{
	Node	   *stmt = pstmt->utilityStmt;
	bool		truncates = IsA(stmt, TruncateStmt) && ((TruncateStmt *) stmt)->restart_seqs;
	bool		restarts = IsA(stmt, AlterSeqStmt) && begins_again(((AlterSeqStmt *) stmt)->options);
	List	   *tables = truncates ? truncated_tables((TruncateStmt *) stmt) : NIL;
	ListCell   *lc;

	(prev_process_utility ? prev_process_utility : standard_ProcessUtility)
		(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);

	/* of other statements nothing may be left by now */
	foreach(lc, tables)
		note_table(lfirst_oid(lc));
	if (restarts)
		note_sequence(((AlterSeqStmt *) stmt)->sequence);
}
