/*
 * shared.h
 *		What is in capi's shared memory.  For shmem.c, slot.c, dispatcher_wake.c
 *		and missed.c alone; others see shmem.h.
 *
 * Locking:
 * 1. capi_shared->lock protects every field of a slot that is no atomic.  It is
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
#ifndef CAPI_SHARED_H
#define CAPI_SHARED_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"

#include "base/capi.h"
#include "base/shmem.h"

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
extern CapiShared *capi_shared;

/* Slot this process is attached to as a dispatcher, or -1. */
extern int	capi_my_slot;

/* In dispatcher_wake.c. */
extern void capi_shared_set_wake(uint64 entry);
extern void capi_shared_wake_process(uint32 procno);
extern void capi_shared_wake_launcher(void);

#endif							/* CAPI_SHARED_H */
