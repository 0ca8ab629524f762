/*
 * xidset.h
 *		A snapshot as plain numbers.  See xidset.c.
 */
#ifndef CAPI_XIDSET_H
#define CAPI_XIDSET_H

#include "utils/snapshot.h"

typedef struct CapiXidSet		/* what pg_snapshot holds */
{
	uint64		xmin;
	uint64		xmax;
	int			nxip;
	uint64	   *xip;			/* sorted */
} CapiXidSet;

extern void capi_xidset_from_snapshot(CapiXidSet *set, Snapshot snapshot,
									  MemoryContext context);

/* "xmin:xmax:xip,xip", the text form of pg_snapshot. */
extern void capi_xidset_parse(CapiXidSet *set, const char *text,
							  MemoryContext context);
extern char *capi_xidset_text(const CapiXidSet *set);

/* to: zeroed, or a set whose memory is given back. */
extern void capi_xidset_copy(CapiXidSet *to, const CapiXidSet *from,
							 MemoryContext context);
extern void capi_xidset_free(CapiXidSet *set);

extern bool capi_xidset_sees(const CapiXidSet *set, uint64 xid);

#endif							/* CAPI_XIDSET_H */
