/*
 * attempt.c
 *		A step in a subtransaction, for what may go wrong in somebody else's
 *		transaction (P1).
 *
 * Takes no transaction id unless the step writes rows.  Costs a microsecond or
 * two, so what is done for each row asks first whether it can go wrong at all.
 *
 * Used by capture and by the appending side of the queue.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/elog.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/attempt.h"

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
