/*
 * soon.c
 *		Locks on capi's tables that a caller's transaction needs, without
 *		waiting for another's.
 *
 * An ordinary lock request would stand in line behind a transaction that has
 * the whole table locked, for as long as that takes.  A lock in conflict is
 * either one of the dispatcher's own, held for an instant while it shortens a
 * table, or that of somebody at work on the extension's tables: a few tries
 * tell them apart.
 *
 * With the table locked in RowExclusiveLock, a statement on it waits for no
 * lock on its indexes either: whoever rebuilds one locks the table first.
 *
 * Called by the functions that the shop's web tier calls.
 */
#include "postgres.h"

#include "access/relation.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

#include "store/config.h"
#include "store/soon.h"

#define TRIES		20
#define PAUSE_US	5000

static bool
try_lock(Oid relid, LOCKMODE mode)
{
	for (int i = 0; i < TRIES; i++)
	{
		if (ConditionalLockRelationOid(relid, mode))
			return true;
		CHECK_FOR_INTERRUPTS();
		pg_usleep(PAUSE_US);
	}
	return false;
}

static bool
lock_soon(Oid relid, LOCKMODE mode)
{
	Oid			toast;
	Relation	rel;

	if (!OidIsValid(relid) || !try_lock(relid, mode))
		return false;
	rel = try_relation_open(relid, NoLock);
	if (rel == NULL)
		return false;
	toast = mode >= RowExclusiveLock ? rel->rd_rel->reltoastrelid : InvalidOid;
	relation_close(rel, NoLock);
	return !OidIsValid(toast) || try_lock(toast, mode);
}

bool
capi_lock_soon(const char *name, LOCKMODE mode)
{
	return lock_soon(capi_config_table(name), mode);
}

bool
capi_lock_reserve_soon(const char *name, LOCKMODE mode)
{
	return lock_soon(capi_config_reserve_table(name), mode);
}
