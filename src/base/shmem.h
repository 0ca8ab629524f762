/*
 * shmem.h
 *		Shared memory of capi: one slot per database that has or wants a
 *		dispatcher.  Plain data only; locking rules in shared.h.
 *
 * Without preload there is no shared memory: capi_shmem_available() is false
 * and every other function does nothing (returns false / zero / -1).
 */
#ifndef CAPI_SHMEM_H
#define CAPI_SHMEM_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/*
 * What the launcher and a dispatcher tell the world about a database.  The
 * function that makes each step stands in the diagram of slot.c.
 */
typedef enum CapiSlotState
{
	CAPI_SLOT_FREE = 0,
	CAPI_SLOT_STARTING,			/* -> RUNNING, NO_EXTENSION, NO_DATABASE,
								 * WAITING, HELD */
	CAPI_SLOT_RUNNING,			/* -> WAITING, NO_EXTENSION, HELD */
	CAPI_SLOT_NO_EXTENSION,		/* -> STARTING when CREATE EXTENSION commits */
	CAPI_SLOT_WAITING,			/* restart delay runs; -> STARTING */
	CAPI_SLOT_HELD,				/* a database command needs it gone; ->
								 * WAITING, NO_DATABASE */
	CAPI_SLOT_NO_DATABASE		/* -> STARTING when CREATE DATABASE commits */
} CapiSlotState;

typedef struct CapiSlotInfo		/* a copy, for diagnose and health */
{
	char		dbname[NAMEDATALEN];
	Oid			dboid;			/* InvalidOid: never connected yet */
	int			pid;			/* 0: no dispatcher */
	CapiSlotState state;
	TimestampTz state_since;
	TimestampTz due_since;		/* when the present start became due */
	bool		no_worker;		/* the last start found no worker slot */
	int			failures;		/* starts in a row that ended badly */
	bool		enabled;		/* capi.enabled, as the dispatcher has it */
} CapiSlotInfo;

/* What the launcher is asked to do about one slot. */
typedef enum CapiSlotTask
{
	CAPI_TASK_NONE,
	CAPI_TASK_START,			/* the slot is STARTING now */
	CAPI_TASK_REPORT_MISSING	/* say once that the database is not there */
} CapiSlotTask;

/* What the launcher knows about the worker it registered for a slot. */
typedef enum CapiSlotWorker
{
	CAPI_WORKER_UNKNOWN,		/* none, or one of an earlier launcher */
	CAPI_WORKER_ALIVE,			/* registered, perhaps not yet started */
	CAPI_WORKER_ENDED			/* gone since the last call */
} CapiSlotWorker;

extern void capi_shmem_init(void);	/* from _PG_init, when preloading */
extern bool capi_shmem_available(void);

/* Producer side; called at commit, so these cannot fail and do no I/O. */
extern void capi_shmem_wake_dispatcher(Oid dboid, bool urgent);
extern void capi_shmem_extension_changed(Oid dboid, const char *dbname);

/* Rows that could not even be noted in the queue (P1): counted here. */
extern void capi_shmem_prepared_committed(Oid dboid, const char *dbname);
extern void capi_shmem_count_missed(Oid dboid);
extern uint64 capi_shmem_missed(Oid dboid);
extern void capi_shmem_forget_missed(Oid dboid);

/*
 * Dispatcher side.  attach comes before the connection is made, so that no
 * database command can overlook a dispatcher that is about to connect.
 */
extern bool capi_shmem_attach(const char *dbname);	/* false: held, taken or
													 * not wanted any more */
extern void capi_shmem_set_database(Oid dboid);
extern void capi_shmem_arm_wake(void);
extern void capi_shmem_set_state(CapiSlotState state);
extern void capi_shmem_set_enabled(bool enabled);
extern void capi_shmem_restart(void);	/* start another when this one ends */
extern bool capi_shmem_clear_recheck(void);	/* the extension was created or
												 * dropped: look again */

/*
 * Whoever has no worker slot for a reader says so: senders of other databases
 * then do with one each, and give up those that have nothing to do.
 */
extern void capi_shmem_want_reader(void);
extern bool capi_shmem_reader_wanted(void);	/* by another database */

/* Database commands. */
extern int	capi_shmem_hold(const char *dbname);	/* slot, -1: none */
extern bool capi_shmem_wait_detached(int slotno, int timeout_ms);
extern void capi_shmem_release(int slotno, bool dropped);

/* Launcher side. */
extern void capi_shmem_attach_launcher(void);
extern void capi_shmem_list_databases(List *names);
extern CapiSlotTask capi_shmem_next_task(int slotno, CapiSlotWorker worker,
										 char *dbname, TimestampTz *wake_at);
extern void capi_shmem_retry_start(int slotno, int delay_ms);

/* For diagnose. */
extern bool capi_shmem_slot_info(Oid dboid, const char *dbname, CapiSlotInfo *info);
extern int	capi_shmem_launcher_pid(void);

#endif							/* CAPI_SHMEM_H */
