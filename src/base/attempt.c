/*
 * attempt.c
 *		A step whose errors must not be those of somebody else's transaction (P1).
 *
 * In a subtransaction anything may be tried.  It takes no transaction id unless
 * the step writes rows, and a microsecond or two, so what is done for each row
 * asks first whether it can go wrong at all.  But other extensions hear of it,
 * and one that is in the middle of something with other servers may not be able
 * to follow: Citus ends the session then.
 *
 * So what does no more than read and add blocks, look into the catalogs and
 * take locks is tried without one.  All that such a step has in its hands when
 * an error is raised are pins, references and locks, which a resource owner of
 * its own gives back, and what the server's processes that have no transactions
 * give up by hand after an error of theirs (see CheckpointerMain()).
 *
 * Used by capture and by the appending side of the queue.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xloginsert.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "utils/elog.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/attempt.h"
#include "base/compat.h"

ErrorData *
capi_attempt_error(void (*step) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		MemoryContextSwitchTo(context);
		step(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error != NULL && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	return error;
}

const char *
capi_attempt(void (*step) (void *arg), void *arg)
{
	ErrorData  *error = capi_attempt_error(step, arg);

	return error != NULL ? error->message : NULL;
}

/* As in AbortSubTransaction(): what no resource owner knows of. */
static void
give_up_waits(void)
{
	HOLD_INTERRUPTS();
	LWLockReleaseAll();
	pgstat_report_wait_end();
	capi_give_up_io();
	UnlockBuffers();
	XLogResetInsertion();
	ConditionVariableCancelSleep();
	LockErrorCleanup();
	RESUME_INTERRUPTS();
}

/* Locks of a step that was done are kept, everything else it has given back. */
static void
release(ResourceOwner owner, bool done)
{
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_BEFORE_LOCKS, done, false);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_LOCKS, done, false);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_AFTER_LOCKS, done, false);
	ResourceOwnerDelete(owner);
}

const char *
capi_attempt_reading(void (*step) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner outer = CurrentResourceOwner;
	ResourceOwner own = ResourceOwnerCreate(outer, "capi attempt");
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		CurrentResourceOwner = own;
		step(arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		give_up_waits();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = outer;
	release(own, error == NULL);
	if (error == NULL)
		return NULL;
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	return error->message;
}
