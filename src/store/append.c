/*
 * append.c
 *		Appending to the queue, in the shop's transaction.
 *
 * Waits for no lock and raises no error (P1).  A row goes to the segment of the
 * hint, or to the next one that can be had: a segment cannot while somebody
 * holds or waits for a lock that conflicts, nor while its file cannot be read
 * or extended.  The lock stays to the end of the transaction (invariant 5 of
 * queue.c).
 *
 * What can go wrong in heap_insert() is that a block has to be read or added.
 * So before each row it is made sure that the block where it will go is in
 * memory and has room; only when it is not, the block is got ready, by a step
 * whose errors are caught (attempt.c).  There is no subtransaction in this file.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "base/attempt.h"
#include "base/block.h"
#include "base/capi.h"
#include "base/compat.h"
#include "base/lock.h"
#include "store/config.h"
#include "store/queue.h"
#include "store/segment.h"

/* Column of capi.state, in the order of sql/capi/tables.sql. */
#define STATE_SEGMENT	6

/*
 * What is left free in a block, so that a few others who looked at it in the
 * same moment find room in it too.
 */
#define ELBOW_ROOM		256

PG_FUNCTION_INFO_V1(capi_sql_rotate_hint);

/* Per backend. */
typedef struct Place
{
	Oid			relid;
	Buffer		buffer;			/* where the block was that was written to
								 * last, perhaps still is */
	bool		failed;			/* was told of in the server's log */
} Place;

static Place places[CAPI_QUEUE_SEGMENTS];
static int	hint = -1;			/* < 0: look it up */

/* What make_room() works on. */
typedef struct Room
{
	Relation	rel;
	Size		need;
	BlockNumber block;
	Buffer		buffer;
} Room;

/* A row as it is stored: columns 1 to 3 and then missed or, as text, key. */
typedef struct RowData
{
	uint64		xid;
	TimestampTz captured_at;
	int32		source_id;
	int32		missed;
} RowData;

/* The server's BITMAPLEN() is a function from 18 on, and this sizes an array. */
#define NULL_BYTES		((Q_COLUMNS + BITS_PER_BYTE - 1) / BITS_PER_BYTE)
#define ROW_HEADER		MAXALIGN(SizeofHeapTupleHeader + NULL_BYTES)
#define MAX_ROW_BYTES	(ROW_HEADER + sizeof(RowData) + VARHDRSZ + CAPI_MAX_KEY_BYTES)

typedef union Row
{
	HeapTupleHeaderData header;
	uint64		align;
	char		bytes[MAX_ROW_BYTES];
} Row;

static TimestampTz capture_time(uint64 xid);
static int	look_up(void);
static void read_hint(void *arg);
static bool append_to(int segment, int32 source_id, const char *key,
					  int32 missed);
static void form_row(Row *row, HeapTuple tuple, int32 source_id,
					 const char *key, int32 missed);
static Size put_text(char *to, const char *text);
static bool insert(Relation rel, Place *place, HeapTuple tuple);
static bool has_room(Relation rel, Place *place, Size need);
static bool make_room(Relation rel, Place *place, Size need);

void
capi_queue_forget(void)
{
	hint = -1;
}

bool
capi_queue_append(int32 source_id, const char *key, int32 missed)
{
	int			first = hint >= 0 ? hint : look_up();

	if (first < 0)
		return false;
	for (int i = 0; i < CAPI_QUEUE_SEGMENTS; i++)
	{
		int			segment = i < CAPI_QUEUE_TURNS ?
			(first + i) % CAPI_QUEUE_TURNS : i;

		if (capi_lock_at_once(places[segment].relid, RowExclusiveLock) &&
			append_to(segment, source_id, key, missed))
			return true;
	}
	return false;
}

/*
 * Finds the segments, and the one to begin with; -1 without the extension.
 * Where the hint cannot be had just now, any segment will do (I6).
 */
static int
look_up(void)
{
	Oid			state = capi_config_table("state");
	int			found = 0;

	for (int i = 0; i < CAPI_QUEUE_SEGMENTS; i++)
	{
		places[i].relid = capi_segment_relid(i);
		places[i].failed = false;
		if (!OidIsValid(places[i].relid))
			return -1;
	}
	if (!OidIsValid(state))
		return -1;
	if (!capi_lock_at_once(state, AccessShareLock))
		return 0;

	/* before the look, so that a change after it is not overlooked */
	hint = 0;
	if (capi_attempt_reading(read_hint, &found) == NULL && hint == 0)
		hint = found;
	UnlockRelationOid(state, AccessShareLock);
	return found;
}

/* Step for capi_attempt_reading(). */
static void
read_hint(void *arg)
{
	int		   *found = arg;
	Relation	rel = table_open(capi_config_table("state"), NoLock);
	Snapshot	snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(rel)));
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	HeapTupleData *tuples = palloc(sizeof(HeapTupleData) * MaxHeapTuplesPerPage);
	char	   *page = palloc(BLCKSZ);

	for (BlockNumber block = 0; block < nblocks; block++)
	{
		Datum		value;
		bool		isnull;

		if (capi_block_read(rel, block, snapshot, NULL, NULL, page, tuples) == 0)
			continue;
		value = heap_getattr(&tuples[0], STATE_SEGMENT, RelationGetDescr(rel), &isnull);
		if (!isnull && DatumGetInt32(value) > 0)
			*found = DatumGetInt32(value) % CAPI_QUEUE_TURNS;
		break;
	}
	pfree(page);
	pfree(tuples);
	UnregisterSnapshot(snapshot);
	table_close(rel, NoLock);
}

static bool
append_to(int segment, int32 source_id, const char *key, int32 missed)
{
	Relation	rel = RelationIdGetRelation(places[segment].relid);
	bool		done = false;

	if (rel == NULL)
		return false;
	/* whoever put a column of his own there keeps the rest */
	if (RelationGetDescr(rel)->natts == Q_COLUMNS)
	{
		Row			row;
		HeapTupleData tuple;

		form_row(&row, &tuple, source_id, key, missed);
		done = insert(rel, &places[segment], &tuple);
	}
	RelationClose(rel);
	return done;
}

/*
 * The time of a capture, by which it is known from an earlier one of the same
 * order (known.c): that of the statement would not do, for a procedure may
 * commit in the middle of one, and a message to the server may hold several.
 * The clock is read once for each statement of a transaction.
 */
static TimestampTz
capture_time(uint64 xid)
{
	static uint64 of_xid = 0;
	static TimestampTz of_statement = 0;
	static TimestampTz now = 0;

	if (of_xid != xid || of_statement != GetCurrentStatementStartTimestamp())
	{
		of_xid = xid;
		of_statement = GetCurrentStatementStartTimestamp();
		now = GetCurrentTimestamp();
	}
	return now;
}

/*
 * What heap_form_tuple() would make of it, a third of whose work is to find out
 * what is always the same here.  The key, of at most CAPI_MAX_KEY_BYTES, is the
 * last column and null when captures were missed; else their number is.
 */
static void
form_row(Row *row, HeapTuple tuple, int32 source_id, const char *key,
		 int32 missed)
{
	HeapTupleHeader header = &row->header;
	RowData    *data = (RowData *) (row->bytes + ROW_HEADER);
	char	   *rest = (char *) &data->missed;
	int			null_column = key != NULL ? Q_MISSED : Q_KEY;

	memset(header, 0, ROW_HEADER);
	HeapTupleHeaderSetNatts(header, Q_COLUMNS);
	header->t_hoff = ROW_HEADER;
	header->t_infomask = HEAP_HASNULL | (key != NULL ? HEAP_HASVARWIDTH : 0);
	header->t_bits[0] = ((1 << Q_COLUMNS) - 1) & ~(1 << (null_column - 1));
	data->xid = U64FromFullTransactionId(GetTopFullTransactionId());
	data->captured_at = capture_time(data->xid);
	data->source_id = source_id;
	if (key == NULL)
	{
		data->missed = missed;
		rest += sizeof(int32);
	}
	else
		rest += put_text(rest, key);
	tuple->t_data = header;
	tuple->t_len = rest - row->bytes;
	ItemPointerSetInvalid(&tuple->t_self);
	tuple->t_tableOid = InvalidOid;
}

/* Writes a text as it is stored; returns its bytes. */
static Size
put_text(char *to, const char *text)
{
	Size		len = strlen(text);
	bool		is_short = len + VARHDRSZ_SHORT <= VARATT_SHORT_MAX;
	Size		header = is_short ? VARHDRSZ_SHORT : VARHDRSZ;

	Assert(len <= CAPI_MAX_KEY_BYTES);
	if (is_short)
		SET_VARSIZE_SHORT(to, len + header);
	else
		SET_VARSIZE(to, len + header);
	memcpy(to + header, text, len);
	return len + header;
}

static bool
insert(Relation rel, Place *place, HeapTuple tuple)
{
	Size		need = MAXALIGN(tuple->t_len) + ELBOW_ROOM;

	if (!has_room(rel, place, need) && !make_room(rel, place, need))
		return false;
	heap_insert(rel, tuple, GetCurrentCommandId(true), HEAP_INSERT_SKIP_FSM, NULL);
	ReleaseBuffer(place->buffer);
	return true;
}

/*
 * A block that VACUUM marked as all-visible is left alone: to write to it means
 * to read its bit of the visibility map.
 */
static bool
page_has_room(Page page, Size need)
{
	return !PageIsAllVisible(page) && PageGetHeapFreeSpace(page) >= need;
}

/*
 * Is the block that heap_insert() will try first in memory, and has it room?
 * Then it is pinned.  The look is without a lock on the page, which elbow room
 * makes up for.
 */
static bool
has_room(Relation rel, Place *place, Size need)
{
	BlockNumber block = RelationGetTargetBlock(rel);

	if (block == InvalidBlockNumber || place->buffer == InvalidBuffer ||
		!ReadRecentBuffer(CAPI_RELATION_FILE(rel), MAIN_FORKNUM, block, place->buffer))
		return false;
	if (page_has_room(BufferGetPage(place->buffer), need))
		return true;
	ReleaseBuffer(place->buffer);
	return false;
}

/* The last block, if it has room.  Leaves it pinned then. */
static bool
use_last_block(Room *room)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(room->rel);
	Page		page;
	bool		fits;

	if (nblocks == 0)
		return false;
	room->block = nblocks - 1;
	room->buffer = ReadBuffer(room->rel, room->block);
	LockBuffer(room->buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(room->buffer);
	fits = PageIsNew(page) || page_has_room(page, room->need);
	LockBuffer(room->buffer, BUFFER_LOCK_UNLOCK);
	if (!fits)
		ReleaseBuffer(room->buffer);
	return fits;
}

/*
 * Step for capi_attempt_reading(): finds or adds a block.  An empty block needs no
 * WAL: what is first written to it says that it was.
 */
static void
find_room(void *arg)
{
	Room	   *room = arg;

	if (use_last_block(room))
		return;
	LockRelationForExtension(room->rel, ExclusiveLock);
	if (!use_last_block(room))
	{
		room->buffer = ReadBufferExtended(room->rel, MAIN_FORKNUM, P_NEW,
										  RBM_ZERO_AND_LOCK, NULL);
		PageInit(BufferGetPage(room->buffer), BLCKSZ, 0);
		MarkBufferDirty(room->buffer);
		room->block = BufferGetBlockNumber(room->buffer);
		LockBuffer(room->buffer, BUFFER_LOCK_UNLOCK);
	}
	UnlockRelationForExtension(room->rel, ExclusiveLock);
}

/* The same, with nothing left pinned. */
static void
find_block(void *arg)
{
	Room	   *room = arg;

	find_room(room);
	ReleaseBuffer(room->buffer);
}

/* Where that failed, the rows that follow need not try again. */
static bool
make_room(Relation rel, Place *place, Size need)
{
	Room		room = {.rel = rel, .need = need};
	const char *problem = capi_attempt_reading(find_block, &room);

	if (problem != NULL)
	{
		if (!place->failed)
			ereport(LOG,
					(errmsg("cannot write to table \"%s\" of the queue: %s",
							RelationGetRelationName(rel), problem),
					 errdetail("Orders are captured in another one as long as there is one.")));
		place->failed = true;
		hint = (int) (place - places + 1) % CAPI_QUEUE_TURNS;
		return false;
	}
	RelationSetTargetBlock(rel, room.block);
	place->buffer = room.buffer;
	if (ReadRecentBuffer(CAPI_RELATION_FILE(rel), MAIN_FORKNUM, room.block, room.buffer))
		return true;
	place->buffer = InvalidBuffer;
	return false;
}

/* capi._rotate_hint(segment): all backends look the hint up again at commit. */
Datum
capi_sql_rotate_hint(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	CacheInvalidateRelcacheByRelid(capi_config_table("state"));
	PG_RETURN_VOID();
}
