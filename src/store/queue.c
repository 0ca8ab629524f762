/*
 * queue.c
 *		Reading from and reclaiming the segments of the queue.
 *
 * DESIGN
 *
 * Segments are logged, insert-only heaps without an index.  Each row carries
 * the 64-bit id of its top-level transaction.  The reader works in passes: a
 * pass emits the rows whose transaction is visible in the snapshot the pass
 * began with and was not visible in the snapshot of the pass before.  Since
 * the two snapshots say exactly which transactions ended in between, the order
 * of ids, of commits and of places in the heap does not matter.
 *
 * Invariants:
 *	 1. A row is emitted by exactly one pass of a reader: "visible in cur and not
 *		in prev" is true once for every committed transaction.
 *	 2. A snapshot is kept as plain numbers (CapiXidSet), never as a registered
 *		snapshot, so a pass may last over many transactions (P11).  Whether the
 *		tuple itself lives (aborted subtransactions) is asked of the active
 *		snapshot, which is never older than cur.
 *	 3. A block is skipped only while its page LSN is the one noted when all its
 *		rows were settled, in the sense that each was emitted by this or an
 *		earlier pass, or was aborted.  Every insert changes the LSN.
 *	 4. The saved cursor is the end of a pass before which every emitted row is
 *		settled: its outcome is in capi.delivery or capi.backlog.  What is read
 *		again after a crash is found there and skipped by the dispatcher.
 *	 5. A segment is truncated only under an exclusive lock (so no transaction
 *		that wrote to it is open or prepared), when invariant 3 lets the reader
 *		skip every block and every row emitted from it is settled; and when each
 *		snapshot in the database sees that it is, or none of its rows.  For
 *		TRUNCATE is not MVCC-safe: a dump would have its rows neither here nor
 *		in backlog or log.
 *	 6. Which segment new rows go to is a hint.  The reader looks at all of them.
 *		The last segment is never the hint: it is where rows go while the others
 *		cannot be had (segment.c).
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"
#include "utils/timestamp.h"

#include "base/capi.h"
#include "base/compat.h"
#include "base/holders.h"
#include "base/test_point.h"
#include "base/txn.h"
#include "store/config.h"
#include "store/queue.h"
#include "store/segment.h"
#include "store/xidset.h"

/* 2 MB, some 30,000 rows: where the present segment is left for another. */
#define ROTATE_BLOCKS	256

/* A past segment smaller than this (512 kB) is not worth a truncate. */
#define RECLAIM_BLOCKS	64

/* Passes kept apart until they are settled; when there are more, some merge. */
#define MAX_OPEN_PASSES	64

/* A pass whose rows are not all settled, or some that follow each other. */
typedef struct OpenPass
{
	uint64		number;			/* of the last one */
	int64		unsettled;
	bool		finished;
	CapiXidSet	end;
} OpenPass;

typedef struct Segment
{
	Oid			relid;
	BlockNumber nseen;			/* entries of seen */
	XLogRecPtr *seen;			/* by block; Invalid: must be scanned */
	int64		unsettled;
	CapiHolders *before;		/* with snapshots from when it was empty */
	FullTransactionId past;		/* the next id when all was settled; Invalid:
								 * it was not, or more was read since */
} Segment;

struct CapiQueueReader
{
	MemoryContext context;
	Segment		segments[CAPI_QUEUE_SEGMENTS];
	int			hint;			/* segment that new rows go to */
	CapiXidSet	prev;			/* end of the last finished pass */
	bool		in_pass;
	uint64		pass;			/* number of the present or last pass */
	CapiXidSet	cur;			/* end of the present pass */
	int			segment;		/* where the present pass is */
	BlockNumber block;
	BlockNumber nblocks[CAPI_QUEUE_SEGMENTS];
	int			nopen;
	OpenPass	open[MAX_OPEN_PASSES];	/* oldest first */
	CapiXidSet	settled;		/* cursor that may be saved */
	bool		moved;			/* settled differs from what is saved */
	bool		dirty;			/* rows were settled since it was saved */
};

static void merge_passes(CapiQueueReader *reader);
static void begin_pass(CapiQueueReader *reader);
static void end_pass(CapiQueueReader *reader);
static int	scan_block(CapiQueueReader *reader, Relation rel, BlockNumber block,
					   CapiQueueRow *rows, int max);
static void advance_settled(CapiQueueReader *reader);

/* ---------- reading ---------- */

CapiQueueReader *
capi_queue_open(void)
{
	MemoryContext context;
	CapiQueueReader *reader;

	if (capi_txn_execute("SELECT snapshot::text, segment FROM capi.state", true, 1)
		!= SPI_OK_SELECT)
		elog(ERROR, "could not read capi.state");
	if (SPI_processed == 0)
		return NULL;
	context = AllocSetContextCreate(TopMemoryContext, "capi queue reader",
									ALLOCSET_DEFAULT_SIZES);
	reader = MemoryContextAllocZero(context, sizeof(CapiQueueReader));
	reader->context = context;
	capi_xidset_parse(&reader->prev,
				 SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1),
				 context);
	capi_xidset_copy(&reader->settled, &reader->prev, context);
	reader->hint = atoi(SPI_getvalue(SPI_tuptable->vals[0],
									 SPI_tuptable->tupdesc, 2));
	for (int i = 0; i < CAPI_QUEUE_SEGMENTS; i++)
		reader->segments[i].relid = capi_segment_relid(i);
	return reader;
}

void
capi_queue_close(CapiQueueReader *reader)
{
	if (reader != NULL)
		MemoryContextDelete(reader->context);
}

void
capi_queue_lock(CapiQueueReader *reader)
{
	for (int i = 0; i < CAPI_QUEUE_SEGMENTS; i++)
		LockRelationOid(reader->segments[i].relid, AccessShareLock);
}

int
capi_queue_read(CapiQueueReader *reader, CapiQueueRow *rows, int max,
				bool *more)
{
	int			n = 0;

	*more = false;
	if (!reader->in_pass)
	{
		if (reader->nopen == MAX_OPEN_PASSES)
			merge_passes(reader);
		begin_pass(reader);
	}
	while (reader->segment < CAPI_QUEUE_SEGMENTS && n < max)
	{
		Relation	rel;

		if (reader->block >= reader->nblocks[reader->segment])
		{
			reader->segment++;
			reader->block = 0;
			continue;
		}
		rel = table_open(reader->segments[reader->segment].relid, AccessShareLock);
		/* somebody else may have truncated it since the pass began */
		reader->nblocks[reader->segment] = Min(reader->nblocks[reader->segment],
											   RelationGetNumberOfBlocks(rel));
		while (reader->block < reader->nblocks[reader->segment])
		{
			int			got = scan_block(reader, rel, reader->block, rows + n, max - n);

			if (got < 0)
				break;			/* no room for the whole block: next time */
			n += got;
			reader->block++;
		}
		table_close(rel, AccessShareLock);
		if (reader->block < reader->nblocks[reader->segment])
			break;
	}
	if (reader->segment >= CAPI_QUEUE_SEGMENTS)
		end_pass(reader);
	*more = reader->in_pass;
	return n;
}

/*
 * Makes room for another pass while an old one stays unsettled (a request that
 * hangs, say): two and two become one, which is settled when both are.
 */
static void
merge_passes(CapiQueueReader *reader)
{
	StaticAssertStmt(MAX_OPEN_PASSES % 2 == 0, "passes are merged in pairs");

	for (int i = 0; i < MAX_OPEN_PASSES / 2; i++)
	{
		OpenPass   *first = &reader->open[2 * i];
		OpenPass	merged = reader->open[2 * i + 1];

		merged.unsettled += first->unsettled;
		capi_xidset_free(&first->end);
		reader->open[i] = merged;
	}
	reader->nopen = MAX_OPEN_PASSES / 2;
}

static void
begin_pass(CapiQueueReader *reader)
{
	OpenPass   *pass = &reader->open[reader->nopen++];

	capi_xidset_free(&reader->cur);
	capi_xidset_from_snapshot(&reader->cur, GetActiveSnapshot(), reader->context);
	reader->pass++;
	memset(pass, 0, sizeof(*pass));
	pass->number = reader->pass;
	capi_xidset_copy(&pass->end, &reader->cur, reader->context);
	reader->segment = 0;
	reader->block = 0;

	/* sizes after the snapshot: rows it sees are in blocks that exist by now */
	for (int i = 0; i < CAPI_QUEUE_SEGMENTS; i++)
	{
		Segment    *segment = &reader->segments[i];
		Relation	rel = table_open(segment->relid, AccessShareLock);
		BlockNumber n = RelationGetNumberOfBlocks(rel);

		table_close(rel, AccessShareLock);
		reader->nblocks[i] = n;
		if (n > segment->nseen)
		{
			BlockNumber room = Max(n + n / 2, 64);

			if (segment->seen == NULL)
				segment->seen = MemoryContextAllocZero(reader->context,
													   room * sizeof(XLogRecPtr));
			else
				segment->seen = repalloc(segment->seen, room * sizeof(XLogRecPtr));
			memset(segment->seen + segment->nseen, 0,
				   (room - segment->nseen) * sizeof(XLogRecPtr));
			segment->nseen = room;
		}
	}
	reader->in_pass = true;
}

/*
 * LSN of a page, never Invalid.  With wal_level = minimal, pages that the
 * transaction wrote that created or truncated the segment have none; whatever
 * is written to them later gives them one.
 */
static XLogRecPtr
page_lsn(Page page)
{
	XLogRecPtr	lsn = PageGetLSN(page);

	return XLogRecPtrIsInvalid(lsn) ? (XLogRecPtr) 1 : lsn;
}

static void
end_pass(CapiQueueReader *reader)
{
	capi_xidset_copy(&reader->prev, &reader->cur, reader->context);
	reader->in_pass = false;
	reader->open[reader->nopen - 1].finished = true;
	advance_settled(reader);
}

/*
 * Emits what is new in one block, or returns -1 without emitting anything when
 * it has more new rows than fit.  The page is locked only while it is looked
 * at; keys are copied out under the lock.
 */
static int
scan_block(CapiQueueReader *reader, Relation rel, BlockNumber block,
		   CapiQueueRow *rows, int max)
{
	Segment    *segment = &reader->segments[reader->segment];
	TupleDesc	desc = RelationGetDescr(rel);
	Snapshot	snapshot = GetActiveSnapshot();
	Buffer		buffer = ReadBuffer(rel, block);
	XLogRecPtr	lsn;
	bool		unresolved = false;
	Page		page;
	int			n = 0;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	lsn = page_lsn(page);
	if (PageIsNew(page) || lsn == segment->seen[block])
	{
		UnlockReleaseBuffer(buffer);
		return 0;
	}
	for (OffsetNumber off = FirstOffsetNumber;
		 off <= PageGetMaxOffsetNumber(page); off = OffsetNumberNext(off))
	{
		ItemId		item = PageGetItemId(page, off);
		HeapTupleData tuple;
		Datum		values[Q_COLUMNS];
		bool		nulls[Q_COLUMNS];
		uint64		xid;

		if (!ItemIdIsNormal(item))
			continue;
		tuple.t_data = (HeapTupleHeader) PageGetItem(page, item);
		tuple.t_len = ItemIdGetLength(item);
		tuple.t_tableOid = RelationGetRelid(rel);
		ItemPointerSet(&tuple.t_self, block, off);
		/* the first column is fixed, aligned and never null */
		xid = *(uint64 *) ((char *) tuple.t_data + tuple.t_data->t_hoff);
		if (capi_xidset_sees(&reader->prev, xid))
			continue;
		if (!capi_xidset_sees(&reader->cur, xid))
		{
			unresolved = true;	/* a later pass decides */
			continue;
		}
		if (!HeapTupleSatisfiesVisibility(&tuple, snapshot, buffer))
			continue;			/* rolled back, or deleted by hand */
		if (n == max)
		{
			UnlockReleaseBuffer(buffer);
			return -1;
		}
		heap_deform_tuple(&tuple, desc, values, nulls);
		rows[n].source_id = DatumGetInt32(values[Q_SOURCE_ID - 1]);
		rows[n].missed = nulls[Q_MISSED - 1] ? 0 : DatumGetInt32(values[Q_MISSED - 1]);
		rows[n].key = nulls[Q_KEY - 1] ? NULL : TextDatumGetCString(values[Q_KEY - 1]);
		rows[n].captured_at = DatumGetTimestampTz(values[Q_CAPTURED_AT - 1]);
		rows[n].segment = reader->segment;
		rows[n].pass = reader->pass;
		n++;
	}
	segment->seen[block] = unresolved ? InvalidXLogRecPtr : lsn;
	UnlockReleaseBuffer(buffer);
	if (n > 0)
		segment->past = InvalidFullTransactionId;
	segment->unsettled += n;
	reader->open[reader->nopen - 1].unsettled += n;
	return n;
}

/* ---------- settling, saving, reclaiming ---------- */

void
capi_queue_settle(CapiQueueReader *reader, int segment, uint64 pass)
{
	reader->segments[segment].unsettled--;
	reader->dirty = true;
	for (int i = 0; i < reader->nopen; i++)
		if (reader->open[i].number >= pass)
		{
			reader->open[i].unsettled--;
			break;
		}
	advance_settled(reader);
}

/* Passes at the front that are finished and settled move the cursor. */
static void
advance_settled(CapiQueueReader *reader)
{
	int			done = 0;

	while (done < reader->nopen && reader->open[done].finished &&
		   reader->open[done].unsettled == 0)
	{
		capi_xidset_copy(&reader->settled, &reader->open[done].end, reader->context);
		capi_xidset_free(&reader->open[done].end);
		reader->moved = true;
		done++;
	}
	if (done > 0)
	{
		reader->nopen -= done;
		memmove(reader->open, reader->open + done,
				reader->nopen * sizeof(OpenPass));
	}
}

/*
 * A cursor that moved past no row of ours is as good as the one before: an
 * idle dispatcher writes nothing.
 */
bool
capi_queue_unsaved(const CapiQueueReader *reader)
{
	return reader->dirty;
}

bool
capi_queue_save(CapiQueueReader *reader)
{
	Oid			argtypes[1] = {TEXTOID};
	Datum		args[1];

	if (!reader->moved || !reader->dirty)
		return false;
	args[0] = CStringGetTextDatum(capi_xidset_text(&reader->settled));
	if (capi_txn_execute_with_args("UPDATE capi.state SET snapshot = $1::pg_snapshot,"
								   " saved_at = now()", 1, argtypes, args, NULL,
								   false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not save the cursor");
	reader->moved = false;
	reader->dirty = reader->nopen > 0;
	return true;
}

/* Under an exclusive lock: may the reader skip every block of the segment? */
static bool
segment_is_past(Segment *segment, Relation rel)
{
	BlockNumber n = RelationGetNumberOfBlocks(rel);

	if (n > segment->nseen)
		return false;
	for (BlockNumber block = 0; block < n; block++)
	{
		Buffer		buffer = ReadBuffer(rel, block);
		XLogRecPtr	lsn;
		bool		is_new;

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		lsn = page_lsn(BufferGetPage(buffer));
		is_new = PageIsNew(BufferGetPage(buffer));
		UnlockReleaseBuffer(buffer);
		if (!is_new && lsn != segment->seen[block])
			return false;
	}
	return true;
}

static bool
rotate(CapiQueueReader *reader, const BlockNumber *nblocks)
{
	for (int i = 1; i < CAPI_QUEUE_TURNS; i++)
	{
		int			next = (reader->hint + i) % CAPI_QUEUE_TURNS;

		/* stragglers may have left some rows that are not worth a truncate */
		if (nblocks[next] < RECLAIM_BLOCKS)
		{
			char	   *sql = psprintf("UPDATE capi.state SET segment = %d", next);

			if (capi_txn_execute(sql, false, 0) != SPI_OK_UPDATE)
				elog(ERROR, "could not turn to another segment");
			CacheInvalidateRelcacheByRelid(capi_config_table("state"));
			reader->hint = next;
			CAPI_TEST_POINT("the queue turned");
			return true;
		}
	}
	return false;
}

/* Truncates it if it is past, and nobody's snapshot misses it (I5). */
static bool
truncate_segment(Segment *segment, const char *name)
{
	Relation	rel;
	bool		past;

	/* looked at first, for it may be so for hours */
	if (segment->unsettled > 0 ||
		(FullTransactionIdIsValid(segment->past) &&
		 capi_holders_before(segment->past, segment->before)) ||
		!ConditionalLockRelationOid(segment->relid, AccessExclusiveLock))
		return false;
	rel = table_open(segment->relid, NoLock);
	past = segment_is_past(segment, rel);
	table_close(rel, NoLock);
	if (!past)
		return false;
	if (!FullTransactionIdIsValid(segment->past))
		segment->past = ReadNextFullTransactionId();
	if (capi_holders_before(segment->past, segment->before))
		return false;
	if (capi_txn_execute(psprintf("TRUNCATE ONLY %s", name), false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not truncate a segment");
	CAPI_TEST_POINT("a segment was truncated");
	memset(segment->seen, 0, segment->nseen * sizeof(XLogRecPtr));
	return true;
}

static void
keep_holders(CapiQueueReader *reader, Segment *segment, const CapiHolders *holders)
{
	Size		size = offsetof(CapiHolders, holders) + sizeof(CapiHolder) * holders->n;
	CapiHolders *copy = MemoryContextAlloc(reader->context, size);

	memcpy(copy, holders, size);
	if (segment->before != NULL)
		pfree(segment->before);
	segment->before = copy;
}

/* Its size.  Whoever has a snapshot while it is empty sees no row of it, ever. */
static BlockNumber
measure_segment(CapiQueueReader *reader, Segment *segment)
{
	/* in the transaction's memory: what follows may raise an error */
	CapiHolders *now = capi_holders_now();
	Relation	rel = table_open(segment->relid, AccessShareLock);
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);

	table_close(rel, AccessShareLock);
	if (nblocks == 0)
		keep_holders(reader, segment, now);
	pfree(now);
	return nblocks;
}

bool
capi_queue_reclaim(CapiQueueReader *reader)
{
	BlockNumber nblocks[CAPI_QUEUE_SEGMENTS];
	bool		again = false;

	/*
	 * Also in the middle of a pass, which under load is always: what the pass
	 * has yet to find in a segment makes segment_is_past() say no, and what is
	 * written after the truncate is for a later pass.
	 */
	for (int i = 0; i < CAPI_QUEUE_SEGMENTS; i++)
	{
		Segment    *segment = &reader->segments[i];

		nblocks[i] = measure_segment(reader, segment);
		if (i == reader->hint || nblocks[i] < RECLAIM_BLOCKS)
			continue;
		if (truncate_segment(segment, capi_segment_name(i)))
			nblocks[i] = 0;
		/* once more also for who holds a snapshot while it is empty */
		again = true;
	}
	if (nblocks[reader->hint] >= ROTATE_BLOCKS && rotate(reader, nblocks))
		again = true;
	return again;
}
