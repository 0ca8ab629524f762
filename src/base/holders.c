/*
 * holders.c
 *		Who holds a snapshot in this database.
 *
 * TRUNCATE takes rows away from everybody, also from a snapshot that is older
 * than it.  Locks do not tell who will want them: pg_dump locks the tables of an
 * extension when it copies them, perhaps hours after it took its snapshot.  So
 * what a snapshot may need stays as long as it does, as with VACUUM.
 *
 * Of another's snapshot only its xmin is known, which an open transaction
 * makes look older than it is: this errs to the safe side.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/holders.h"

/*
 * A snapshot of this database, or one of a standby that tells us of its own.
 * VACUUM reads no table of anybody's; a parallel worker has its leader's.
 */
static bool
holds_snapshot(const PGPROC *proc)
{
	if (proc == MyProc || !TransactionIdIsValid(proc->xmin))
		return false;
	if (proc->databaseId != MyDatabaseId && OidIsValid(proc->databaseId))
		return false;
	return (proc->statusFlags & PROC_IN_VACUUM) == 0 &&
		(proc->lockGroupLeader == NULL || proc->lockGroupLeader == proc);
}

CapiHolders *
capi_holders_now(void)
{
	CapiHolders *now = palloc(offsetof(CapiHolders, holders) +
							  sizeof(CapiHolder) * ProcGlobal->allProcCount);

	now->n = 0;
	LWLockAcquire(ProcArrayLock, LW_SHARED);
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		const PGPROC *proc = &ProcGlobal->allProcs[i];
		CapiHolder *holder = &now->holders[now->n];

		if (!holds_snapshot(proc))
			continue;
		holder->proc = i;
		holder->transaction = CAPI_PROC_TRANSACTION(proc);
		holder->xmin = proc->xmin;
		now->n++;
	}
	LWLockRelease(ProcArrayLock);
	return now;
}

/*
 * What a standby tells stands for all of its snapshots, of which the oldest may
 * go and a younger one stay without a change: it is never known.
 */
static bool
is_known(const CapiHolders *known, const CapiHolder *holder)
{
	for (int i = 0; known != NULL && i < known->n; i++)
		if (known->holders[i].proc == holder->proc &&
			known->holders[i].transaction == holder->transaction &&
			known->holders[i].xmin == holder->xmin)
			return holder->transaction != InvalidLocalTransactionId;
	return false;
}

bool
capi_holders_before(FullTransactionId id, const CapiHolders *known)
{
	TransactionId limit = XidFromFullTransactionId(id);
	CapiHolders *now = capi_holders_now();
	TransactionId of_slots;
	TransactionId of_catalog;
	bool		older = false;

	for (int i = 0; i < now->n && !older; i++)
		older = TransactionIdPrecedes(now->holders[i].xmin, limit) &&
			!is_known(known, &now->holders[i]);
	pfree(now);
	ProcArrayGetReplicationSlotXmin(&of_slots, &of_catalog);
	return older ||
		(TransactionIdIsValid(of_slots) && TransactionIdPrecedes(of_slots, limit));
}
