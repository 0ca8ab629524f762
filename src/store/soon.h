/*
 * soon.h
 *		Locks on capi's tables in a caller's transaction.  See lock.c.
 */
#ifndef CAPI_SOON_H
#define CAPI_SOON_H

#include "storage/lockdefs.h"

/*
 * Locks a table or sequence of the extension, with its TOAST table if it is to
 * be written, to the end of the transaction.  False when another session has
 * it locked, or it is not there.
 */
extern bool capi_lock_soon(const char *name, LOCKMODE mode);

/* The same of what is there for when those are locked. */
extern bool capi_lock_reserve_soon(const char *name, LOCKMODE mode);

#endif							/* CAPI_SOON_H */
