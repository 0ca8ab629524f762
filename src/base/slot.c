/*
 * slot.c
 *		The state machine of the slots: one per database that has or wants a
 *		dispatcher.
 *
 * Starts no process and reads no table.  Used by launcher.c, worker.c and
 * database_hook.c, and by the status functions.  Locking: shared.h.
 *
 * Slots are keyed by database name, because that is what capi.databases and
 * database commands name; the oid is known only once a dispatcher connected.
 *
 *		FREE --list_databases--> WAITING --next_task--> STARTING
 *		STARTING --set_state--> RUNNING | NO_EXTENSION | NO_DATABASE
 *		STARTING --next_task--> WAITING		(worker ended before it attached)
 *		RUNNING --detach--> WAITING			(ended; restart delay runs)
 *		any --hold--> HELD --release--> WAITING | NO_DATABASE
 *		NO_EXTENSION, NO_DATABASE, WAITING --next_task--> STARTING	(when due)
 *		any --next_task--> FREE				(no longer listed, nobody attached)
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"

#include "base/backoff.h"
#include "base/capi.h"
#include "base/compat.h"
#include "base/shared.h"
#include "base/shmem.h"

/* Restart delay: doubles from the first to the second. */
#define RESTART_BASE_MS			INT64CONST(1000)
#define RESTART_CEILING_MS		INT64CONST(300000)

/* A dispatcher that lived this long was healthy; its end is a first failure. */
#define HEALTHY_UPTIME_MS		60000

/*
 * How often to look for an extension or a database that was not there.  What
 * makes them appear wakes the launcher.
 */
#define RECHECK_MS				300000

/* A worker of an earlier launcher that has not attached by then never will. */
#define START_LIMIT_MS			10000

/* Its end will be no failure: another one is wanted at once. */
static bool restart_wanted = false;

static int	find_slot(const char *dbname);
static void enter_state(CapiSlot *slot, CapiSlotState state, TimestampTz now);
static void note_failure(CapiSlot *slot, TimestampTz now);
static void start_at_once(CapiSlot *slot, TimestampTz now);
static void detach_dispatcher(int code, Datum arg);
static void detach_launcher(int code, Datum arg);

/* ----------
 * Commits of commands
 * ----------
 */

/*
 * Tells the dispatcher of a database and the launcher to look again whether
 * the extension is there.  Also right when only the name is known (a database
 * that was just created), or when nothing changed after all.
 */
void
capi_shmem_extension_changed(Oid dboid, const char *dbname)
{
	if (capi_shared == NULL)
		return;

	LWLockAcquire(capi_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < CAPI_MAX_DATABASES; i++)
	{
		CapiSlot   *slot = &capi_shared->slots[i];

		if (slot->state == CAPI_SLOT_FREE)
			continue;
		if (strcmp(slot->dbname, dbname) != 0 &&
			!(OidIsValid(dboid) && slot->dboid == dboid))
			continue;

		pg_atomic_write_u32(&slot->recheck, 1);
		if (slot->pid != 0)
			capi_shared_wake_process(slot->procno);
		else
			start_at_once(slot, GetCurrentTimestamp());
	}
	LWLockRelease(capi_shared->lock);

	capi_shared_wake_launcher();
}

/*
 * A prepared transaction has committed, of which nobody remembers what it did:
 * perhaps it noted orders, perhaps it created the extension.
 */
void
capi_shmem_prepared_committed(Oid dboid, const char *dbname)
{
	bool		wanted = false;

	if (capi_shared == NULL)
		return;
	capi_shmem_wake_dispatcher(dboid, true);
	LWLockAcquire(capi_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < CAPI_MAX_DATABASES; i++)
	{
		CapiSlot   *slot = &capi_shared->slots[i];

		if (slot->state != CAPI_SLOT_NO_EXTENSION || strcmp(slot->dbname, dbname) != 0)
			continue;
		start_at_once(slot, GetCurrentTimestamp());
		wanted = true;
	}
	LWLockRelease(capi_shared->lock);
	if (wanted)
		capi_shared_wake_launcher();
}

/* ----------
 * Dispatcher side
 * ----------
 */

/*
 * Makes this process the dispatcher of a database.  Must come before the
 * connection is made: exit callbacks run in reverse, so this one then runs
 * when the process has already left the array of processes (rule 3).
 */
bool
capi_shmem_attach(const char *dbname)
{
	int			slotno;
	bool		attached = false;

	if (capi_shared == NULL)
		return false;

	/* First, so that nothing can fail between attaching and this. */
	on_shmem_exit(detach_dispatcher, (Datum) 0);

	LWLockAcquire(capi_shared->lock, LW_EXCLUSIVE);
	slotno = find_slot(dbname);
	if (slotno >= 0)
	{
		CapiSlot   *slot = &capi_shared->slots[slotno];

		if (slot->pid == 0 && slot->holds == 0 && slot->listed)
		{
			slot->pid = MyProcPid;
			slot->procno = capi_my_procno() + 1;
			slot->attached_at = GetCurrentTimestamp();
			slot->no_worker = false;
			enter_state(slot, CAPI_SLOT_STARTING, slot->attached_at);
			capi_my_slot = slotno;
			attached = true;
		}
	}
	LWLockRelease(capi_shared->lock);

	return attached;
}

/*
 * Tells commits in the connected database whom to wake.  The barrier makes
 * sure that an order whose commit saw no dispatcher is in the first snapshot
 * taken after this.
 */
void
capi_shmem_set_database(Oid dboid)
{
	CapiSlot   *slot;

	if (capi_my_slot < 0)
		return;
	slot = &capi_shared->slots[capi_my_slot];

	LWLockAcquire(capi_shared->lock, LW_EXCLUSIVE);
	slot->dboid = dboid;
	capi_shared_set_wake(((uint64) dboid << 32) + slot->procno);
	LWLockRelease(capi_shared->lock);

	pg_memory_barrier();
}

/* Publishes what the dispatcher does; a command that holds the slot wins. */
void
capi_shmem_set_state(CapiSlotState state)
{
	CapiSlot   *slot;

	if (capi_my_slot < 0)
		return;
	slot = &capi_shared->slots[capi_my_slot];

	LWLockAcquire(capi_shared->lock, LW_EXCLUSIVE);
	if (slot->holds == 0)
		enter_state(slot, state, GetCurrentTimestamp());
	if (state == CAPI_SLOT_RUNNING)
		slot->reported = false;
	LWLockRelease(capi_shared->lock);
}

/*
 * To be called before looking for the extension: a change that commits after
 * the look sets the mark again, so none is overlooked.  True if it was set.
 */
bool
capi_shmem_clear_recheck(void)
{
	return capi_my_slot >= 0 &&
		pg_atomic_exchange_u32(&capi_shared->slots[capi_my_slot].recheck, 0) != 0;
}

/* For whoever asks, whose own settings may be others. */
void
capi_shmem_set_enabled(bool enabled)
{
	if (capi_my_slot < 0)
		return;
	LWLockAcquire(capi_shared->lock, LW_EXCLUSIVE);
	capi_shared->slots[capi_my_slot].enabled = enabled;
	LWLockRelease(capi_shared->lock);
}

void
capi_shmem_restart(void)
{
	restart_wanted = true;
}

/* Exit callback: leaves the slot and says when to start the next one. */
static void
detach_dispatcher(int code, Datum arg)
{
	CapiSlot   *slot;
	TimestampTz now = GetCurrentTimestamp();

	(void) code;
	(void) arg;

	if (capi_my_slot < 0)
		return;
	slot = &capi_shared->slots[capi_my_slot];

	LWLockAcquire(capi_shared->lock, LW_EXCLUSIVE);
	capi_shared_set_wake(0);
	slot->pid = 0;
	slot->procno = 0;

	if (slot->holds > 0)
		enter_state(slot, CAPI_SLOT_HELD, now);
	else if (slot->state == CAPI_SLOT_NO_EXTENSION ||
			 slot->state == CAPI_SLOT_NO_DATABASE)
	{
		slot->failures = 0;
		slot->next_start = TimestampTzPlusMilliseconds(now, RECHECK_MS);
	}
	else if (restart_wanted)
	{
		slot->failures = 0;
		start_at_once(slot, now);
		enter_state(slot, CAPI_SLOT_WAITING, now);
	}
	else
	{
		if (TimestampDifferenceExceeds(slot->attached_at, now,
									   HEALTHY_UPTIME_MS))
			slot->failures = 0;
		note_failure(slot, now);
	}

	if (pg_atomic_exchange_u32(&slot->recheck, 0) != 0)
		start_at_once(slot, now);
	LWLockRelease(capi_shared->lock);

	capi_my_slot = -1;
	ConditionVariableBroadcast(&capi_shared->detached);
	capi_shared_wake_launcher();
}

/* ----------
 * Database commands
 * ----------
 */

/*
 * Keeps dispatchers out of a database until capi_shmem_release and asks the
 * present one to leave.  Holds are counted: commands may overlap.
 */
int
capi_shmem_hold(const char *dbname)
{
	int			slotno;

	if (capi_shared == NULL)
		return -1;

	LWLockAcquire(capi_shared->lock, LW_EXCLUSIVE);
	slotno = find_slot(dbname);
	if (slotno >= 0)
	{
		CapiSlot   *slot = &capi_shared->slots[slotno];

		slot->holds++;
		if (slot->pid != 0)
			kill(slot->pid, SIGTERM);
		if (slot->state != CAPI_SLOT_NO_DATABASE)
			enter_state(slot, CAPI_SLOT_HELD, GetCurrentTimestamp());
	}
	LWLockRelease(capi_shared->lock);

	return slotno;
}

/* Waits, interruptibly, until a held slot's dispatcher is gone. */
bool
capi_shmem_wait_detached(int slotno, int timeout_ms)
{
	static uint32 wait_event = 0;
	TimestampTz deadline;
	bool		gone = false;

	if (wait_event == 0)
		wait_event = capi_wait_event("CapiDispatcherExit");

	deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	ConditionVariablePrepareToSleep(&capi_shared->detached);
	for (;;)
	{
		long		left;

		LWLockAcquire(capi_shared->lock, LW_SHARED);
		gone = (capi_shared->slots[slotno].pid == 0);
		LWLockRelease(capi_shared->lock);

		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if (gone || left <= 0)
			break;
		ConditionVariableTimedSleep(&capi_shared->detached, left, wait_event);
	}
	ConditionVariableCancelSleep();

	return gone;
}

/*
 * Ends a hold.  With dropped, the database is known to be gone: nothing is
 * started and nothing logged until a database of that name appears.
 */
void
capi_shmem_release(int slotno, bool dropped)
{
	CapiSlot   *slot = &capi_shared->slots[slotno];
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(capi_shared->lock, LW_EXCLUSIVE);
	slot->holds--;
	if (dropped)
	{
		slot->dboid = InvalidOid;
		slot->reported = true;
		slot->next_start = TimestampTzPlusMilliseconds(now, RECHECK_MS);
		enter_state(slot, CAPI_SLOT_NO_DATABASE, now);
	}
	else if (slot->holds == 0 && slot->state == CAPI_SLOT_HELD)
	{
		/* The command may have given up on a dispatcher that still runs. */
		start_at_once(slot, now);
		enter_state(slot, slot->pid != 0 ? CAPI_SLOT_RUNNING :
					CAPI_SLOT_WAITING, now);
	}
	LWLockRelease(capi_shared->lock);

	capi_shared_wake_launcher();
}

/* ----------
 * Launcher side
 * ----------
 */

void
capi_shmem_attach_launcher(void)
{
	on_shmem_exit(detach_launcher, (Datum) 0);

	LWLockAcquire(capi_shared->lock, LW_EXCLUSIVE);
	capi_shared->launcher_pid = MyProcPid;
	pg_atomic_write_u32(&capi_shared->launcher_procno, capi_my_procno() + 1);
	LWLockRelease(capi_shared->lock);
}

static void
detach_launcher(int code, Datum arg)
{
	(void) code;
	(void) arg;

	LWLockAcquire(capi_shared->lock, LW_EXCLUSIVE);
	pg_atomic_write_u32(&capi_shared->launcher_procno, 0);
	capi_shared->launcher_pid = 0;
	LWLockRelease(capi_shared->lock);
}

/*
 * Gives every name of the list a slot and marks the others as unwanted.
 * Databases that could not be served until now are tried again at once: the
 * list is read at a reload, when somebody may just have mended something.  A
 * name finds no slot only while slots of removed names are still attached;
 * it gets one at the next reload.
 */
void
capi_shmem_list_databases(List *names)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *lc;

	LWLockAcquire(capi_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < CAPI_MAX_DATABASES; i++)
		capi_shared->slots[i].listed = false;

	foreach(lc, names)
	{
		const char *dbname = (const char *) lfirst(lc);
		int			slotno = find_slot(dbname);
		CapiSlot   *slot;

		if (slotno < 0)
		{
			slotno = find_slot(NULL);
			if (slotno < 0)
				break;
			slot = &capi_shared->slots[slotno];
			strlcpy(slot->dbname, dbname, NAMEDATALEN);
			slot->dboid = InvalidOid;
			slot->failures = 0;
			slot->reported = false;
			pg_atomic_write_u32(&slot->recheck, 0);
			enter_state(slot, CAPI_SLOT_WAITING, now);
		}
		slot = &capi_shared->slots[slotno];
		slot->listed = true;
		start_at_once(slot, now);
	}
	LWLockRelease(capi_shared->lock);
}

/*
 * Moves one slot on and says what the launcher has to do about it.  dbname
 * (NAMEDATALEN bytes) is set unless the task is none; wake_at is lowered to
 * the time when the slot wants attention again.
 */
CapiSlotTask
capi_shmem_next_task(int slotno, CapiSlotWorker worker, char *dbname,
					 TimestampTz *wake_at)
{
	CapiSlot   *slot = &capi_shared->slots[slotno];
	CapiSlotTask task = CAPI_TASK_NONE;
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(capi_shared->lock, LW_EXCLUSIVE);

	/* A worker that left without ever attaching; its log line says why. */
	if (slot->state == CAPI_SLOT_STARTING && slot->pid == 0 &&
		(worker == CAPI_WORKER_ENDED ||
		 (worker == CAPI_WORKER_UNKNOWN &&
		  TimestampDifferenceExceeds(slot->state_since, now, START_LIMIT_MS))))
		note_failure(slot, now);

	if (slot->state == CAPI_SLOT_FREE)
		 /* nothing */ ;
	else if (slot->pid != 0)
	{
		if (!slot->listed)
			kill(slot->pid, SIGTERM);
	}
	else if (slot->holds > 0 || worker == CAPI_WORKER_ALIVE)
		 /* whoever ends this wakes the launcher */ ;
	else if (!slot->listed)
		enter_state(slot, CAPI_SLOT_FREE, now);
	else if (slot->state == CAPI_SLOT_STARTING)
		*wake_at = Min(*wake_at,
					   TimestampTzPlusMilliseconds(slot->state_since,
												   START_LIMIT_MS + 1));
	else if (slot->state == CAPI_SLOT_NO_DATABASE && !slot->reported)
	{
		slot->reported = true;
		task = CAPI_TASK_REPORT_MISSING;
	}
	else if (slot->next_start <= now)
	{
		enter_state(slot, CAPI_SLOT_STARTING, now);
		task = CAPI_TASK_START;
	}
	else
		*wake_at = Min(*wake_at, slot->next_start);

	if (task != CAPI_TASK_NONE)
		strlcpy(dbname, slot->dbname, NAMEDATALEN);
	LWLockRelease(capi_shared->lock);

	return task;
}

/* Takes back a start that could not even be asked for. */
void
capi_shmem_retry_start(int slotno, int delay_ms)
{
	CapiSlot   *slot = &capi_shared->slots[slotno];
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(capi_shared->lock, LW_EXCLUSIVE);
	if (slot->state == CAPI_SLOT_STARTING && slot->pid == 0)
	{
		enter_state(slot, CAPI_SLOT_WAITING, now);
		slot->no_worker = true;
		slot->next_start = TimestampTzPlusMilliseconds(now, delay_ms);
	}
	LWLockRelease(capi_shared->lock);
}

/* ----------
 * Status
 * ----------
 */

/* Copies the slot of a database, found by name or, after a rename, by oid. */
bool
capi_shmem_slot_info(Oid dboid, const char *dbname, CapiSlotInfo *info)
{
	int			slotno;

	if (capi_shared == NULL)
		return false;

	LWLockAcquire(capi_shared->lock, LW_SHARED);
	slotno = find_slot(dbname);
	for (int i = 0; slotno < 0 && i < CAPI_MAX_DATABASES; i++)
		if (capi_shared->slots[i].state != CAPI_SLOT_FREE &&
			OidIsValid(dboid) && capi_shared->slots[i].dboid == dboid)
			slotno = i;

	if (slotno >= 0)
	{
		CapiSlot   *slot = &capi_shared->slots[slotno];

		strlcpy(info->dbname, slot->dbname, NAMEDATALEN);
		info->dboid = slot->dboid;
		info->pid = slot->pid;
		info->state = slot->state;
		info->state_since = slot->state_since;
		info->due_since = slot->due_since;
		info->no_worker = slot->no_worker;
		info->failures = slot->failures;
		info->enabled = slot->enabled;
	}
	LWLockRelease(capi_shared->lock);

	return slotno >= 0;
}

int
capi_shmem_launcher_pid(void)
{
	int			pid;

	if (capi_shared == NULL)
		return 0;

	LWLockAcquire(capi_shared->lock, LW_SHARED);
	pid = capi_shared->launcher_pid;
	LWLockRelease(capi_shared->lock);
	return pid;
}

/* ----------
 * Helpers
 * ----------
 */

/* Slot of a name, or a free one for NULL; -1 if there is none. */
static int
find_slot(const char *dbname)
{
	for (int i = 0; i < CAPI_MAX_DATABASES; i++)
	{
		CapiSlot   *slot = &capi_shared->slots[i];
		bool		is_free = (slot->state == CAPI_SLOT_FREE);

		if (dbname == NULL ? is_free :
			(!is_free && strcmp(slot->dbname, dbname) == 0))
			return i;
	}
	return -1;
}

static void
start_at_once(CapiSlot *slot, TimestampTz now)
{
	slot->next_start = 0;
	slot->due_since = now;
}

static void
enter_state(CapiSlot *slot, CapiSlotState state, TimestampTz now)
{
	if (slot->state == state)
		return;
	slot->state = state;
	slot->state_since = now;
}

/* Counts a bad end and sets the growing delay before the next start. */
static void
note_failure(CapiSlot *slot, TimestampTz now)
{
	int64		delay_ms;

	slot->failures++;
	delay_ms = capi_backoff_ceiling_ms(slot->failures, RESTART_BASE_MS,
									   RESTART_CEILING_MS);
	slot->next_start = TimestampTzPlusMilliseconds(now, delay_ms);
	enter_state(slot, CAPI_SLOT_WAITING, now);
}
