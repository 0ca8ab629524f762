/*
 * block.c
 *		Rows of a block of a table, read past the server's serialization checks.
 *
 * A scan of the server's own takes part in the conflicts of serializable
 * transactions: it locks what it read against writers, and notes of whom it
 * did not see the rows.  Orders write capi's queue and read its rules, others
 * read the queue to see what became of an order; none of these may make an
 * order fail with a serialization failure (P1).  So they read with this, which
 * asks for nothing but visibility.
 *
 * Knows no table of capi's.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"

#include "base/block.h"

/* Notes where the rows are; the page is locked. */
static int
find_rows(Relation rel, Buffer buffer, Snapshot snapshot,
		  CapiBlockFilter filter, void *arg, HeapTupleData *tuples)
{
	Page		page = BufferGetPage(buffer);
	OffsetNumber last = PageIsNew(page) ? 0 : PageGetMaxOffsetNumber(page);
	int			n = 0;

	for (OffsetNumber off = FirstOffsetNumber; off <= last; off = OffsetNumberNext(off))
	{
		ItemId		item = PageGetItemId(page, off);
		HeapTuple	tuple = &tuples[n];

		if (!ItemIdIsNormal(item))
			continue;
		tuple->t_data = (HeapTupleHeader) PageGetItem(page, item);
		tuple->t_len = ItemIdGetLength(item);
		tuple->t_tableOid = RelationGetRelid(rel);
		ItemPointerSet(&tuple->t_self, BufferGetBlockNumber(buffer), off);
		if ((filter == NULL || filter(tuple->t_data, arg)) &&
			HeapTupleSatisfiesVisibility(tuple, snapshot, buffer))
			n++;
	}
	return n;
}

int
capi_block_read(Relation rel, BlockNumber block, Snapshot snapshot,
				CapiBlockFilter filter, void *arg,
				char *page, HeapTupleData *tuples)
{
	Buffer		buffer = ReadBuffer(rel, block);
	char	   *original = (char *) BufferGetPage(buffer);
	int			n;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	n = find_rows(rel, buffer, snapshot, filter, arg, tuples);
	if (n > 0)
		memcpy(page, original, BLCKSZ);
	UnlockReleaseBuffer(buffer);
	for (int i = 0; i < n; i++)
		tuples[i].t_data = (HeapTupleHeader) (page + ((char *) tuples[i].t_data - original));
	return n;
}
