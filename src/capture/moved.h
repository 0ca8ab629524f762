/*
 * moved.h
 *		A row on its way from one partition to another.
 */
#ifndef CAPI_MOVED_H
#define CAPI_MOVED_H

#include "executor/tuptable.h"
#include "utils/rel.h"

#include "capture/rule.h"

typedef struct CapiMovedRow CapiMovedRow;

/*
 * A row of the relation was deleted; when it left for another partition, it is
 * kept for the next call of one of these two.
 */
extern void capi_moved_note(Relation from, TupleTableSlot *row);

/* The row that this inserted one was in another partition, or NULL. */
extern CapiMovedRow *capi_moved_take(TupleTableSlot *inserted);

/*
 * The slot of the row as it was, when it is the same order's by the rule, and
 * where it has the column that the rule watches; otherwise NULL.
 */
extern TupleTableSlot *capi_moved_slot(CapiMovedRow *moved, const CapiRule *rule,
									   TupleTableSlot *inserted, AttrNumber *on_att);

#endif							/* CAPI_MOVED_H */
