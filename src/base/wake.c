/*
 * wake.c
 *		One latch set per transaction, at the end of its commit.
 *
 * The callbacks are registered once and look at a flag; they run after the
 * transaction became visible, where an error would be a PANIC, so all they do
 * is set a latch.  A rolled-back subtransaction may leave the flag set: the
 * dispatcher then looks once for nothing.  PREPARE TRANSACTION clears it: the
 * commit may come in another session, and wakes by itself (database_hook.c).
 *
 * The latch is set when the server releases the last resources, because the
 * commit callbacks run before it tells others what to forget: a dispatcher
 * woken by them would find its knowledge of the configuration still valid.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/resowner.h"

#include "base/shmem.h"
#include "base/wake.h"

/* Did this transaction write something the dispatcher should see? */
static bool wake_wanted = false;
static bool wake_urgent = false;

/* It has committed, and its end is not over yet. */
static bool wake_due = false;

static void at_xact_end(XactEvent event, void *arg);
static void at_release(ResourceReleasePhase phase, bool is_commit,
					   bool is_toplevel, void *arg);

void
capi_wake_init(void)
{
	RegisterXactCallback(at_xact_end, NULL);
	RegisterResourceReleaseCallback(at_release, NULL);
}

void
capi_wake_at_commit(bool urgent)
{
	wake_wanted = true;
	wake_urgent |= urgent;
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
			wake_due = true;
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			wake_wanted = false;
			wake_urgent = false;
			break;
		default:
			break;
	}
}

static void
at_release(ResourceReleasePhase phase, bool is_commit, bool is_toplevel,
		   void *arg)
{
	(void) is_commit;
	(void) arg;
	if (!wake_due || !is_toplevel || phase != RESOURCE_RELEASE_AFTER_LOCKS)
		return;
	wake_due = false;
	capi_shmem_wake_dispatcher(MyDatabaseId, wake_urgent);
	wake_urgent = false;
}
