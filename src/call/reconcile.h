/*
 * reconcile.h
 *		Orders against records, as the caller of a function.  See reconcile.c.
 */
#ifndef CAPI_RECONCILE_H
#define CAPI_RECONCILE_H

#include "read/caller.h"
#include "store/ledger.h"

/*
 * Runs the whole count for the source that is open, and appends the answer to
 * result.  Inside SPI.  The ledger has its kind, since, until, and for sums
 * unit and zone.
 */
extern void capi_reconcile(CapiCaller *reader, CapiLedger *ledger,
						   Tuplestorestate *result, TupleDesc desc);

/* Raises unless both are given and in order. */
extern void capi_reconcile_check_range(bool no_since, TimestampTz since,
									   bool no_until, TimestampTz until);

#endif							/* CAPI_RECONCILE_H */
