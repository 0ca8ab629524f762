/*
 * wake.c
 *		One latch set per transaction, at its commit.
 *
 * The callback is registered once and looks at a flag; it runs after the
 * transaction became visible, where an error would be a PANIC, so all it does
 * is set a latch.  A rolled-back subtransaction may leave the flag set: the
 * dispatcher then looks once for nothing.  PREPARE TRANSACTION clears it: the
 * commit comes in another session, and the dispatcher's poll finds it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"

#include "shmem.h"
#include "wake.h"

/* Did this transaction write something the dispatcher should see? */
static bool wake_wanted = false;

static void at_xact_end(XactEvent event, void *arg);

void
capi_wake_init(void)
{
	RegisterXactCallback(at_xact_end, NULL);
}

void
capi_wake_at_commit(void)
{
	wake_wanted = true;
}

static void
at_xact_end(XactEvent event, void *arg)
{
	(void) arg;
	if (!wake_wanted)
		return;
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			wake_wanted = false;
			capi_shmem_wake_dispatcher(MyDatabaseId);
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			wake_wanted = false;
			break;
		default:
			break;
	}
}
