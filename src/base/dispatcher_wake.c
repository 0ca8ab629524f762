/*
 * dispatcher_wake.c
 *		Whose latch is set: by a commit, by whoever lacks a worker slot for a reader.
 *
 * Called at commit, so nothing here can fail, and by atomics alone (shared.h).
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/timestamp.h"

#include "base/capi.h"
#include "base/shared.h"
#include "base/shmem.h"

/* How long a wish for a reader holds; who has it still repeats it. */
#define WANTED_MS				2000

static int	find_wake(Oid dboid);

/* procno is PGPROC + 1; 0 is nobody. */
void
capi_shared_wake_process(uint32 procno)
{
	if (procno != 0)
		SetLatch(&GetPGProcByNumber(procno - 1)->procLatch);
}

void
capi_shared_wake_launcher(void)
{
	capi_shared_wake_process(pg_atomic_read_u32(&capi_shared->launcher_procno));
}

/*
 * Wakes the dispatcher of a database, if there is one that wants it: a signal
 * for each order would cost a busy shop, and the dispatcher is going to look
 * anyway.  urgent: whether it wants or not.
 *
 * The order is visible by now, and the barrier keeps it that way: a dispatcher
 * that armed itself after our look sees it in the snapshot it takes then.
 */
void
capi_shmem_wake_dispatcher(Oid dboid, bool urgent)
{
	/* Where it was last time: a backend never changes its database. */
	static int	last = -1;
	static uint32 changes = 0;
	uint64		entry;

	if (capi_shared == NULL)
		return;

	pg_memory_barrier();
	if (last < 0 || changes != pg_atomic_read_u32(&capi_shared->wake_changes))
	{
		changes = pg_atomic_read_u32(&capi_shared->wake_changes);
		pg_read_barrier();
		last = find_wake(dboid);
	}
	entry = pg_atomic_read_u64(&capi_shared->wake[last]);
	if ((Oid) (entry >> 32) != dboid)
		return;
	if (urgent || (pg_atomic_read_u32(&capi_shared->armed[last]) != 0 &&
				   pg_atomic_exchange_u32(&capi_shared->armed[last], 0) != 0))
		capi_shared_wake_process((uint32) entry);
}

/* Entry of a database's dispatcher; any other one when it has none. */
static int
find_wake(Oid dboid)
{
	for (int i = 0; i < CAPI_MAX_DATABASES; i++)
		if ((Oid) (pg_atomic_read_u64(&capi_shared->wake[i]) >> 32) == dboid)
			return i;
	return 0;
}

/* Changes this dispatcher's entry; backends look for theirs again. */
void
capi_shared_set_wake(uint64 entry)
{
	pg_atomic_write_u64(&capi_shared->wake[capi_my_slot], entry);
	pg_write_barrier();
	pg_atomic_fetch_add_u32(&capi_shared->wake_changes, 1);
}

/*
 * In the dispatcher: the next order that commits is to wake it.  Comes before
 * the look at the queue that may be the last one before it sleeps.
 */
void
capi_shmem_arm_wake(void)
{
	if (capi_my_slot < 0)
		return;
	pg_atomic_write_u32(&capi_shared->armed[capi_my_slot], 1);
	pg_memory_barrier();
}

/* Of two databases that want one at once the later is heard. */
void
capi_shmem_want_reader(void)
{
	if (capi_shared == NULL)
		return;
	pg_atomic_write_u32(&capi_shared->wanted_by, MyDatabaseId);
	pg_write_barrier();
	pg_atomic_write_u64(&capi_shared->wanted_at, (uint64) GetCurrentTimestamp());
	for (int i = 0; i < CAPI_MAX_DATABASES; i++)
	{
		uint64		entry = pg_atomic_read_u64(&capi_shared->wake[i]);

		if (entry != 0 && (Oid) (entry >> 32) != MyDatabaseId)
			capi_shared_wake_process((uint32) entry);
	}
}

bool
capi_shmem_reader_wanted(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz wanted_at;
	Oid			wanted_by;

	if (capi_shared == NULL)
		return false;
	wanted_at = (TimestampTz) pg_atomic_read_u64(&capi_shared->wanted_at);
	pg_read_barrier();
	wanted_by = pg_atomic_read_u32(&capi_shared->wanted_by);
	/* nor does a wish hold that was said by a clock that was ahead */
	return wanted_at != 0 && wanted_by != MyDatabaseId && wanted_at <= now &&
		!TimestampDifferenceExceeds(wanted_at, now, WANTED_MS);
}
