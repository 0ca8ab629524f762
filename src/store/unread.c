/*
 * unread.c
 *		capi._unread_rows(): the rows of the queue behind a cursor, for the views.
 *
 * Reads the segments by itself (block.c), so that who looks what became of an
 * order takes part in no serialization conflict with those who place some.
 * Whoever calls it holds a lock on the segments since before the snapshot
 * (views.sql), so that none is truncated between the two.
 *
 * It does not say what has been dealt with; the views ask the logs for that.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/block.h"
#include "store/segment.h"
#include "store/xidset.h"

PG_FUNCTION_INFO_V1(capi_sql_unread_rows);

/* The first column is fixed, aligned and never null. */
static bool
is_unread(HeapTupleHeader tuple, void *arg)
{
	uint64		xid = *(uint64 *) ((char *) tuple + tuple->t_hoff);

	return !capi_xidset_sees(arg, xid);
}

static void
read_segment(Oid relid, CapiXidSet *cursor, Tuplestorestate *rows)
{
	Relation	rel = table_open(relid, AccessShareLock);
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	HeapTupleData *tuples = palloc(sizeof(HeapTupleData) * MaxHeapTuplesPerPage);
	char	   *page = palloc(BLCKSZ);

	for (BlockNumber block = 0; block < nblocks; block++)
	{
		int			n;

		CHECK_FOR_INTERRUPTS();
		n = capi_block_read(rel, block, GetActiveSnapshot(), is_unread, cursor,
							page, tuples);
		for (int i = 0; i < n; i++)
			tuplestore_puttuple(rows, &tuples[i]);
	}
	pfree(page);
	pfree(tuples);
	table_close(rel, AccessShareLock);
}

Datum
capi_sql_unread_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	CapiXidSet	cursor;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	capi_xidset_parse(&cursor, TextDatumGetCString(PG_GETARG_DATUM(0)),
					  CurrentMemoryContext);
	for (int i = 0; i < CAPI_QUEUE_SEGMENTS; i++)
	{
		Oid			relid = capi_segment_relid(i);

		if (OidIsValid(relid))
			read_segment(relid, &cursor, result->setResult);
	}
	return (Datum) 0;
}
