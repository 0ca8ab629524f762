/*
 * xidset.c
 *		A snapshot as plain numbers: which 64-bit transaction ids it sees.
 *
 * Kept for longer than a transaction, saved as text, and asked of rows that
 * carry the id of their transaction; holds nothing back in the server.
 *
 * Used by the queue's reader and by the view of what it has not read.
 */
#include "postgres.h"

#include "access/transam.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "store/xidset.h"

static int
compare_uint64(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

/* A 32-bit id that is in use now, widened by the epoch of the next one. */
static uint64
widen_xid(TransactionId xid, FullTransactionId next)
{
	uint32		epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return ((uint64) epoch << 32) | xid;
}

void
capi_xidset_from_snapshot(CapiXidSet *set, Snapshot snapshot, MemoryContext context)
{
	FullTransactionId next = ReadNextFullTransactionId();

	set->xmin = widen_xid(snapshot->xmin, next);
	set->xmax = widen_xid(snapshot->xmax, next);
	set->nxip = snapshot->xcnt;
	set->xip = MemoryContextAlloc(context, sizeof(uint64) * (set->nxip + 1));
	for (int i = 0; i < set->nxip; i++)
		set->xip[i] = widen_xid(snapshot->xip[i], next);
	qsort(set->xip, set->nxip, sizeof(uint64), compare_uint64);
}

/* "xmin:xmax:xip,xip", the text form of pg_snapshot. */
void
capi_xidset_parse(CapiXidSet *set, const char *text, MemoryContext context)
{
	char	   *end;
	int			count = 0;

	set->xmin = strtou64(text, &end, 10);
	set->xmax = strtou64(end + 1, &end, 10);
	for (const char *p = end; *p != '\0'; p++)
		count += *p == ',' || *p == ':';
	set->xip = MemoryContextAlloc(context, sizeof(uint64) * (count + 1));
	set->nxip = 0;
	end++;
	while (*end != '\0')
	{
		set->xip[set->nxip++] = strtou64(end, &end, 10);
		if (*end == ',')
			end++;
	}
}

char *
capi_xidset_text(const CapiXidSet *set)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, UINT64_FORMAT ":" UINT64_FORMAT ":", set->xmin, set->xmax);
	for (int i = 0; i < set->nxip; i++)
		appendStringInfo(&buf, "%s" UINT64_FORMAT, i > 0 ? "," : "", set->xip[i]);
	return buf.data;
}

void
capi_xidset_copy(CapiXidSet *to, const CapiXidSet *from, MemoryContext context)
{
	capi_xidset_free(to);
	*to = *from;
	to->xip = MemoryContextAlloc(context, sizeof(uint64) * (from->nxip + 1));
	memcpy(to->xip, from->xip, sizeof(uint64) * from->nxip);
}

void
capi_xidset_free(CapiXidSet *set)
{
	if (set->xip != NULL)
		pfree(set->xip);
	set->xip = NULL;
}

bool
capi_xidset_sees(const CapiXidSet *set, uint64 xid)
{
	if (xid < set->xmin)
		return true;
	if (xid >= set->xmax)
		return false;
	return bsearch(&xid, set->xip, set->nxip, sizeof(uint64), compare_uint64) == NULL;
}
