/*
 * lock.c
 *		A lock at once or not at all: what runs in the shop's transaction may
 *		neither wait nor fail (P1).
 *
 * Refused while somebody holds a lock that conflicts, or waits for one: who
 * asks has another place to go to, see capi_queue_append() and rule.c.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/inval.h"

#include "base/compat.h"
#include "base/lock.h"

bool
capi_lock_at_once(Oid relid, LOCKMODE mode)
{
	LOCKTAG		tag;
	LOCALLOCK  *local;
	LockAcquireResult result;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	result = capi_lock_acquire_at_once(&tag, mode, &local);
	if (result == LOCKACQUIRE_NOT_AVAIL)
		return false;
	if (result != LOCKACQUIRE_ALREADY_CLEAR)
	{
		AcceptInvalidationMessages();
		MarkLockClear(local);
	}
	return true;
}
