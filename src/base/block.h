/*
 * block.h
 *		Rows of a block of a table, read past the server's serialization checks.
 */
#ifndef CAPI_BLOCK_H
#define CAPI_BLOCK_H

#include "access/htup.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

/*
 * Which rows of a block to look at, asked before visibility, with the page
 * locked: no more than a look at the tuple.  NULL: all of them.
 */
typedef bool (*CapiBlockFilter) (HeapTupleHeader tuple, void *arg);

/*
 * Copies the rows that the snapshot sees into tuples, which has room for
 * MaxHeapTuplesPerPage; their data is in page, a block's worth of memory.
 * Returns their number.
 */
extern int	capi_block_read(Relation rel, BlockNumber block, Snapshot snapshot,
							CapiBlockFilter filter, void *arg,
							char *page, HeapTupleData *tuples);

#endif							/* CAPI_BLOCK_H */
