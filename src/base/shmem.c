/*
 * shmem.c
 *		Shared memory of capi: one slot per database that has or wants a
 *		dispatcher, and the state machine of these slots.
 *
 * Starts no process and reads no table.  Used by launcher.c, worker.c and
 * database_hook.c, by capture (wake, missed rows) and by the status functions.
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
 *
 * Locking:
 * 1. shared->lock protects every field of a slot that is no atomic.  It is
 *	  held for a few instructions; nothing that can fail or wait is done
 *	  under it, so a process cannot die while it holds it.
 * 2. A slot is attached while pid is not 0.  Only the process itself clears
 *	  pid, under the lock, so a pid read under the lock can be signalled.
 * 3. A dispatcher attaches before it connects and detaches after it has left
 *	  the array of processes.  So a slot that is held and not attached means
 *	  that no dispatcher is, or will get, into that database.
 * 4. wake[], armed[], missed[] and wanted are atomics only, read and written at commit of
 *	  the shop's transactions without any lock.  An entry of wake[] may be stale
 *	  when it is used: PGPROC structures live as long as the server, and a
 *	  latch that is set without need costs its owner one turn of its loop.
 * 5. Nothing here is a pointer, a descriptor or a handle of one process.
 *
 * After a crash of any server process the memory is set up anew, and the
 * launcher begins from the list.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "base/backoff.h"
#include "base/capi.h"
#include "base/compat.h"
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

/* How long a wish for a reader holds; who has it still repeats it. */
#define WANTED_MS				2000

/* A worker of an earlier launcher that has not attached by then never will. */
#define START_LIMIT_MS			10000

typedef struct CapiSlot
{
	char		dbname[NAMEDATALEN];
	Oid			dboid;			/* of the last dispatcher that connected */
	int			pid;			/* attached dispatcher, or 0 */
	uint32		procno;			/* its PGPROC + 1, valid while pid is set */
	int			holds;			/* database commands under way */
	int			failures;
	bool		listed;			/* in capi.databases */
	bool		reported;		/* NO_DATABASE was logged, or is no news */
	CapiSlotState state;
	TimestampTz state_since;
	TimestampTz attached_at;
	TimestampTz next_start;		/* not before; 0: at once */
	TimestampTz due_since;		/* when that became "at once" last */
	bool		no_worker;		/* the last start found no worker slot */
	bool		enabled;		/* capi.enabled of the attached dispatcher */
	pg_atomic_uint32 recheck;	/* the extension was created or dropped */
} CapiSlot;

typedef struct CapiMissed
{
	pg_atomic_uint32 dboid;		/* 0: free */
	pg_atomic_uint64 rows;
} CapiMissed;

typedef struct CapiShared
{
	LWLock	   *lock;
	ConditionVariable detached; /* broadcast when a dispatcher detaches */
	int			launcher_pid;
	pg_atomic_uint32 launcher_procno;	/* PGPROC + 1, or 0 */
	/* (database oid << 32) + (PGPROC + 1) of running dispatchers, or 0 */
	pg_atomic_uint64 wake[CAPI_MAX_DATABASES];
	pg_atomic_uint32 wake_changes;	/* counted up after each change of wake[] */
	/* the dispatcher of that entry wants to be told of the next order */
	pg_atomic_uint32 armed[CAPI_MAX_DATABASES];
	CapiMissed	missed[CAPI_MAX_DATABASES];
	/* who lacks a worker slot for a reader, and said so last when */
	pg_atomic_uint32 wanted_by;
	pg_atomic_uint64 wanted_at;
	CapiSlot	slots[CAPI_MAX_DATABASES];
} CapiShared;

/* NULL unless the library was preloaded. */
static CapiShared *shared = NULL;

/* Slot this process is attached to as a dispatcher, or -1. */
static int	my_slotno = -1;

/* Its end will be no failure: another one is wanted at once. */
static bool restart_wanted = false;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static void request_memory(void);
static void set_up_memory(void);
static int	find_slot(const char *dbname);
static int	find_wake(Oid dboid);
static void set_wake(uint64 entry);
static int	find_missed(Oid dboid, bool create);
static void enter_state(CapiSlot *slot, CapiSlotState state, TimestampTz now);
static void note_failure(CapiSlot *slot, TimestampTz now);
static void start_at_once(CapiSlot *slot, TimestampTz now);
static void detach_dispatcher(int code, Datum arg);
static void detach_launcher(int code, Datum arg);
static void wake_process(uint32 procno);
static void wake_launcher(void);

void
capi_shmem_init(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = set_up_memory;
}

bool
capi_shmem_available(void)
{
	return shared != NULL;
}

static void
request_memory(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	RequestAddinShmemSpace(MAXALIGN(sizeof(CapiShared)));
	RequestNamedLWLockTranche("capi", 1);
}

static void
set_up_memory(void)
{
	bool		found;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("capi", sizeof(CapiShared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(CapiShared));
		shared->lock = &(GetNamedLWLockTranche("capi"))->lock;
		ConditionVariableInit(&shared->detached);
		pg_atomic_init_u32(&shared->launcher_procno, 0);
		pg_atomic_init_u32(&shared->wake_changes, 0);
		pg_atomic_init_u32(&shared->wanted_by, InvalidOid);
		pg_atomic_init_u64(&shared->wanted_at, 0);
		for (int i = 0; i < CAPI_MAX_DATABASES; i++)
		{
			pg_atomic_init_u64(&shared->wake[i], 0);
			pg_atomic_init_u32(&shared->armed[i], 0);
			pg_atomic_init_u32(&shared->missed[i].dboid, 0);
			pg_atomic_init_u64(&shared->missed[i].rows, 0);
			pg_atomic_init_u32(&shared->slots[i].recheck, 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

/* ----------
 * Producer side
 * ----------
 */

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

	if (shared == NULL)
		return;

	pg_memory_barrier();
	if (last < 0 || changes != pg_atomic_read_u32(&shared->wake_changes))
	{
		changes = pg_atomic_read_u32(&shared->wake_changes);
		pg_read_barrier();
		last = find_wake(dboid);
	}
	entry = pg_atomic_read_u64(&shared->wake[last]);
	if ((Oid) (entry >> 32) != dboid)
		return;
	if (urgent || (pg_atomic_read_u32(&shared->armed[last]) != 0 &&
				   pg_atomic_exchange_u32(&shared->armed[last], 0) != 0))
		wake_process((uint32) entry);
}

/* Entry of a database's dispatcher; any other one when it has none. */
static int
find_wake(Oid dboid)
{
	for (int i = 0; i < CAPI_MAX_DATABASES; i++)
		if ((Oid) (pg_atomic_read_u64(&shared->wake[i]) >> 32) == dboid)
			return i;
	return 0;
}

/* Changes this dispatcher's entry; backends look for theirs again. */
static void
set_wake(uint64 entry)
{
	pg_atomic_write_u64(&shared->wake[my_slotno], entry);
	pg_write_barrier();
	pg_atomic_fetch_add_u32(&shared->wake_changes, 1);
}

/*
 * In the dispatcher: the next order that commits is to wake it.  Comes before
 * the look at the queue that may be the last one before it sleeps.
 */
void
capi_shmem_arm_wake(void)
{
	if (my_slotno < 0)
		return;
	pg_atomic_write_u32(&shared->armed[my_slotno], 1);
	pg_memory_barrier();
}

/*
 * Tells the dispatcher of a database and the launcher to look again whether
 * the extension is there.  Also right when only the name is known (a database
 * that was just created), or when nothing changed after all.
 */
void
capi_shmem_extension_changed(Oid dboid, const char *dbname)
{
	if (shared == NULL)
		return;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < CAPI_MAX_DATABASES; i++)
	{
		CapiSlot   *slot = &shared->slots[i];

		if (slot->state == CAPI_SLOT_FREE)
			continue;
		if (strcmp(slot->dbname, dbname) != 0 &&
			!(OidIsValid(dboid) && slot->dboid == dboid))
			continue;

		pg_atomic_write_u32(&slot->recheck, 1);
		if (slot->pid != 0)
			wake_process(slot->procno);
		else
			start_at_once(slot, GetCurrentTimestamp());
	}
	LWLockRelease(shared->lock);

	wake_launcher();
}

/*
 * A prepared transaction has committed, of which nobody remembers what it did:
 * perhaps it noted orders, perhaps it created the extension.
 */
void
capi_shmem_prepared_committed(Oid dboid, const char *dbname)
{
	bool		wanted = false;

	if (shared == NULL)
		return;
	capi_shmem_wake_dispatcher(dboid, true);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < CAPI_MAX_DATABASES; i++)
	{
		CapiSlot   *slot = &shared->slots[i];

		if (slot->state != CAPI_SLOT_NO_EXTENSION || strcmp(slot->dbname, dbname) != 0)
			continue;
		start_at_once(slot, GetCurrentTimestamp());
		wanted = true;
	}
	LWLockRelease(shared->lock);
	if (wanted)
		wake_launcher();
}

/*
 * Counts a row that could not be noted.  When more databases count than there
 * is room for, the count of the latest is lost; reconciliation finds the row.
 */
void
capi_shmem_count_missed(Oid dboid)
{
	int			at = find_missed(dboid, true);

	if (at >= 0)
		pg_atomic_fetch_add_u64(&shared->missed[at].rows, 1);
}

uint64
capi_shmem_missed(Oid dboid)
{
	int			at = find_missed(dboid, false);

	return at < 0 ? 0 : pg_atomic_read_u64(&shared->missed[at].rows);
}

/* Gives the counter of a dropped database back. */
void
capi_shmem_forget_missed(Oid dboid)
{
	int			at = find_missed(dboid, false);

	if (at < 0)
		return;
	pg_atomic_write_u64(&shared->missed[at].rows, 0);
	pg_atomic_write_u32(&shared->missed[at].dboid, InvalidOid);
}

/*
 * Finds the counter of a database, or takes a free one.  Two sessions that
 * come at once try the free ones in the same order, so the loser of the
 * exchange finds the winner's entry.
 */
static int
find_missed(Oid dboid, bool create)
{
	if (shared == NULL)
		return -1;

	for (int i = 0; i < CAPI_MAX_DATABASES; i++)
		if (pg_atomic_read_u32(&shared->missed[i].dboid) == dboid)
			return i;

	for (int i = 0; create && i < CAPI_MAX_DATABASES; i++)
	{
		uint32		expected = InvalidOid;

		if (pg_atomic_compare_exchange_u32(&shared->missed[i].dboid,
										   &expected, dboid) ||
			expected == dboid)
			return i;
	}
	return -1;
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

	if (shared == NULL)
		return false;

	/* First, so that nothing can fail between attaching and this. */
	on_shmem_exit(detach_dispatcher, (Datum) 0);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slotno = find_slot(dbname);
	if (slotno >= 0)
	{
		CapiSlot   *slot = &shared->slots[slotno];

		if (slot->pid == 0 && slot->holds == 0 && slot->listed)
		{
			slot->pid = MyProcPid;
			slot->procno = capi_my_procno() + 1;
			slot->attached_at = GetCurrentTimestamp();
			slot->no_worker = false;
			enter_state(slot, CAPI_SLOT_STARTING, slot->attached_at);
			my_slotno = slotno;
			attached = true;
		}
	}
	LWLockRelease(shared->lock);

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

	if (my_slotno < 0)
		return;
	slot = &shared->slots[my_slotno];

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot->dboid = dboid;
	set_wake(((uint64) dboid << 32) + slot->procno);
	LWLockRelease(shared->lock);

	pg_memory_barrier();
}

/* Publishes what the dispatcher does; a command that holds the slot wins. */
void
capi_shmem_set_state(CapiSlotState state)
{
	CapiSlot   *slot;

	if (my_slotno < 0)
		return;
	slot = &shared->slots[my_slotno];

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (slot->holds == 0)
		enter_state(slot, state, GetCurrentTimestamp());
	if (state == CAPI_SLOT_RUNNING)
		slot->reported = false;
	LWLockRelease(shared->lock);
}

/*
 * To be called before looking for the extension: a change that commits after
 * the look sets the mark again, so none is overlooked.  True if it was set.
 */
bool
capi_shmem_clear_recheck(void)
{
	return my_slotno >= 0 &&
		pg_atomic_exchange_u32(&shared->slots[my_slotno].recheck, 0) != 0;
}

/* For whoever asks, whose own settings may be others. */
void
capi_shmem_set_enabled(bool enabled)
{
	if (my_slotno < 0)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->slots[my_slotno].enabled = enabled;
	LWLockRelease(shared->lock);
}

/* Of two databases that want one at once the later is heard. */
void
capi_shmem_want_reader(void)
{
	if (shared == NULL)
		return;
	pg_atomic_write_u32(&shared->wanted_by, MyDatabaseId);
	pg_write_barrier();
	pg_atomic_write_u64(&shared->wanted_at, (uint64) GetCurrentTimestamp());
	for (int i = 0; i < CAPI_MAX_DATABASES; i++)
	{
		uint64		entry = pg_atomic_read_u64(&shared->wake[i]);

		if (entry != 0 && (Oid) (entry >> 32) != MyDatabaseId)
			wake_process((uint32) entry);
	}
}

bool
capi_shmem_reader_wanted(void)
{
	TimestampTz wanted_at;
	Oid			wanted_by;

	if (shared == NULL)
		return false;
	wanted_at = (TimestampTz) pg_atomic_read_u64(&shared->wanted_at);
	pg_read_barrier();
	wanted_by = pg_atomic_read_u32(&shared->wanted_by);
	return wanted_at != 0 && wanted_by != MyDatabaseId &&
		!TimestampDifferenceExceeds(wanted_at, GetCurrentTimestamp(), WANTED_MS);
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

	if (my_slotno < 0)
		return;
	slot = &shared->slots[my_slotno];

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	set_wake(0);
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
	LWLockRelease(shared->lock);

	my_slotno = -1;
	ConditionVariableBroadcast(&shared->detached);
	wake_launcher();
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

	if (shared == NULL)
		return -1;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slotno = find_slot(dbname);
	if (slotno >= 0)
	{
		CapiSlot   *slot = &shared->slots[slotno];

		slot->holds++;
		if (slot->pid != 0)
			kill(slot->pid, SIGTERM);
		if (slot->state != CAPI_SLOT_NO_DATABASE)
			enter_state(slot, CAPI_SLOT_HELD, GetCurrentTimestamp());
	}
	LWLockRelease(shared->lock);

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
	ConditionVariablePrepareToSleep(&shared->detached);
	for (;;)
	{
		long		left;

		LWLockAcquire(shared->lock, LW_SHARED);
		gone = (shared->slots[slotno].pid == 0);
		LWLockRelease(shared->lock);

		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if (gone || left <= 0)
			break;
		ConditionVariableTimedSleep(&shared->detached, left, wait_event);
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
	CapiSlot   *slot = &shared->slots[slotno];
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
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
	LWLockRelease(shared->lock);

	wake_launcher();
}

/* ----------
 * Launcher side
 * ----------
 */

void
capi_shmem_attach_launcher(void)
{
	on_shmem_exit(detach_launcher, (Datum) 0);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->launcher_pid = MyProcPid;
	pg_atomic_write_u32(&shared->launcher_procno, capi_my_procno() + 1);
	LWLockRelease(shared->lock);
}

static void
detach_launcher(int code, Datum arg)
{
	(void) code;
	(void) arg;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	pg_atomic_write_u32(&shared->launcher_procno, 0);
	shared->launcher_pid = 0;
	LWLockRelease(shared->lock);
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

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < CAPI_MAX_DATABASES; i++)
		shared->slots[i].listed = false;

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
			slot = &shared->slots[slotno];
			strlcpy(slot->dbname, dbname, NAMEDATALEN);
			slot->dboid = InvalidOid;
			slot->failures = 0;
			slot->reported = false;
			pg_atomic_write_u32(&slot->recheck, 0);
			enter_state(slot, CAPI_SLOT_WAITING, now);
		}
		slot = &shared->slots[slotno];
		slot->listed = true;
		start_at_once(slot, now);
	}
	LWLockRelease(shared->lock);
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
	CapiSlot   *slot = &shared->slots[slotno];
	CapiSlotTask task = CAPI_TASK_NONE;
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);

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
	LWLockRelease(shared->lock);

	return task;
}

/* Takes back a start that could not even be asked for. */
void
capi_shmem_retry_start(int slotno, int delay_ms)
{
	CapiSlot   *slot = &shared->slots[slotno];
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (slot->state == CAPI_SLOT_STARTING && slot->pid == 0)
	{
		enter_state(slot, CAPI_SLOT_WAITING, now);
		slot->no_worker = true;
		slot->next_start = TimestampTzPlusMilliseconds(now, delay_ms);
	}
	LWLockRelease(shared->lock);
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

	if (shared == NULL)
		return false;

	LWLockAcquire(shared->lock, LW_SHARED);
	slotno = find_slot(dbname);
	for (int i = 0; slotno < 0 && i < CAPI_MAX_DATABASES; i++)
		if (shared->slots[i].state != CAPI_SLOT_FREE &&
			OidIsValid(dboid) && shared->slots[i].dboid == dboid)
			slotno = i;

	if (slotno >= 0)
	{
		CapiSlot   *slot = &shared->slots[slotno];

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
	LWLockRelease(shared->lock);

	return slotno >= 0;
}

int
capi_shmem_launcher_pid(void)
{
	int			pid;

	if (shared == NULL)
		return 0;

	LWLockAcquire(shared->lock, LW_SHARED);
	pid = shared->launcher_pid;
	LWLockRelease(shared->lock);
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
		CapiSlot   *slot = &shared->slots[i];
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

/* procno is PGPROC + 1; 0 is nobody. */
static void
wake_process(uint32 procno)
{
	if (procno != 0)
		SetLatch(&GetPGProcByNumber(procno - 1)->procLatch);
}

static void
wake_launcher(void)
{
	wake_process(pg_atomic_read_u32(&shared->launcher_procno));
}
