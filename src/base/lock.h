/*
 * lock.h
 *		A lock at once or not at all.
 */
#ifndef CAPI_LOCK_H
#define CAPI_LOCK_H

#include "storage/lock.h"

/*
 * Takes a lock on a relation of this database, until the end of the
 * transaction, if it can be had without waiting.  False also when the table of
 * locks is full, where the server's own function would raise an error.
 */
extern bool capi_lock_at_once(Oid relid, LOCKMODE mode);

#endif							/* CAPI_LOCK_H */
