/*
 * launcher.c
 *		A static background worker that keeps one dispatcher running for each
 *		database of capi.databases.
 *
 * It connects to no database and reads no catalog: whether a database and the
 * extension are there, its dispatcher finds out and leaves in the slot.  When
 * to start what is decided in slot.c (capi_shmem_next_task), where delays
 * survive the launcher; this file registers workers and sleeps.
 *
 * It starts when recovery has finished, so never on a standby and at once on
 * promotion, and not at all under pg_upgrade.  Dispatchers are registered as
 * never restarted by the postmaster, which knows no growing delay, and live
 * on when the launcher is restarted: it finds them in their slots.
 *
 * Every exit is with code 1: code 0 would unregister the launcher for good.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procsignal.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

/* for background workers */
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"

#include "base/capi.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/shmem.h"
#include "base/test_point.h"
#include "process/launcher.h"

/* The postmaster starts the launcher again after this when it ended. */
#define LAUNCHER_RESTART_S		5

/* Wait no longer than this, whatever the slots say. */
#define LAUNCHER_MAX_WAIT_MS	60000

/* Another user of max_worker_processes may be done soon: no growing delay. */
#define NO_WORKER_RETRY_MS		5000

/* The workers registered by this process; others are known by slot only. */
static BackgroundWorkerHandle *workers[CAPI_MAX_DATABASES];

/* "No free worker" was logged, and none has been found since. */
static bool no_worker_reported = false;

static void set_up_process(void);
static void read_databases(void);
static long supervise_slots(void);
static void supervise_slot(int slotno, TimestampTz *wake_at);
static CapiSlotWorker look_at_worker(int slotno);
static void start_dispatcher(int slotno, const char *dbname);
static void report_missing(const char *dbname);
static void report_no_worker(const char *dbname);

void
capi_launcher_init(void)
{
	BackgroundWorker worker;

	/* The new cluster of pg_upgrade must not send anything. */
	if (IsBinaryUpgrade)
		return;

	memset(&worker, 0, sizeof(worker));
	strlcpy(worker.bgw_name, "capi launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "capi launcher", sizeof(worker.bgw_type));
	strlcpy(worker.bgw_library_name, "capi", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "capi_launcher_main",
			sizeof(worker.bgw_function_name));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = LAUNCHER_RESTART_S;
	RegisterBackgroundWorker(&worker);
}

void
capi_launcher_main(Datum main_arg)
{
	uint32		wait_event;

	(void) main_arg;

	set_up_process();
	wait_event = capi_wait_event("CapiLauncherMain");
	read_databases();

	while (!ShutdownRequestPending)
	{
		long		wait_ms = supervise_slots();

		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 wait_ms, wait_event);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();

		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			read_databases();
		}
	}

	proc_exit(1);
}

/* Handlers before signals; this process takes no lock that it could wait on. */
static void
set_up_process(void)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);

	/*
	 * The server ignores this one in workers without a database.  It is how
	 * the postmaster says that a worker of ours started or ended.
	 */
	pqsignal(SIGUSR1, procsignal_sigusr1_handler);
	BackgroundWorkerUnblockSignals();

	/* For log_line_prefix. */
	SetConfigOption("application_name", "capi launcher",
					PGC_USERSET, PGC_S_OVERRIDE);

	capi_shmem_attach_launcher();
}

/* Hands the present list to the slots.  It was checked when it was set. */
static void
read_databases(void)
{
	char	   *copy = pstrdup(capi_databases);
	List	   *names = NIL;

	if (SplitIdentifierString(copy, ',', &names))
		capi_shmem_list_databases(names);

	list_free(names);
	pfree(copy);
}

/* Does what is due for every slot; returns how long to wait, in ms. */
static long
supervise_slots(void)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz wake_at = TimestampTzPlusMilliseconds(now, LAUNCHER_MAX_WAIT_MS);

	/* a clock that was set back leaves delays too long; the list ends them */
	if (now < last)
		read_databases();
	last = now;

	for (int slotno = 0; slotno < CAPI_MAX_DATABASES; slotno++)
		supervise_slot(slotno, &wake_at);

	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), wake_at);
}

/* Does what is due for one slot; two tasks in a row at most. */
static void
supervise_slot(int slotno, TimestampTz *wake_at)
{
	char		dbname[NAMEDATALEN];

	for (;;)
	{
		CapiSlotWorker worker = look_at_worker(slotno);

		switch (capi_shmem_next_task(slotno, worker, dbname, wake_at))
		{
			case CAPI_TASK_NONE:
				return;
			case CAPI_TASK_START:
				start_dispatcher(slotno, dbname);
				return;
			case CAPI_TASK_REPORT_MISSING:
				report_missing(dbname);
				break;
		}
	}
}

/* Tells what became of the registered worker; an end is told once. */
static CapiSlotWorker
look_at_worker(int slotno)
{
	pid_t		pid;

	if (workers[slotno] == NULL)
		return CAPI_WORKER_UNKNOWN;

	switch (GetBackgroundWorkerPid(workers[slotno], &pid))
	{
		case BGWH_STARTED:
		case BGWH_NOT_YET_STARTED:
			return CAPI_WORKER_ALIVE;
		case BGWH_STOPPED:
		case BGWH_POSTMASTER_DIED:
			break;
	}

	pfree(workers[slotno]);
	workers[slotno] = NULL;
	return CAPI_WORKER_ENDED;
}

static void
start_dispatcher(int slotno, const char *dbname)
{
	BackgroundWorker worker;

	StaticAssertStmt(NAMEDATALEN <= BGW_EXTRALEN,
					 "a database name must fit into bgw_extra");

	memset(&worker, 0, sizeof(worker));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name),
			 "capi dispatcher for %s", dbname);
	strlcpy(worker.bgw_type, "capi dispatcher", sizeof(worker.bgw_type));
	strlcpy(worker.bgw_library_name, "capi", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "capi_dispatcher_main",
			sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_extra, dbname, sizeof(worker.bgw_extra));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;

	CAPI_TEST_POINT("before a dispatcher is started");
	if (RegisterDynamicBackgroundWorker(&worker, &workers[slotno]))
	{
		no_worker_reported = false;
		CAPI_TEST_POINT("after a dispatcher was started");
	}
	else
	{
		workers[slotno] = NULL;
		capi_shmem_retry_start(slotno, NO_WORKER_RETRY_MS);
		report_no_worker(dbname);
	}
}

static void
report_missing(const char *dbname)
{
	ereport(WARNING,
			(errcode(ERRCODE_UNDEFINED_DATABASE),
			 errmsg("database \"%s\" of capi.databases does not exist",
					dbname),
			 errdetail("Its dispatcher starts when the database is created."),
			 errhint("Create the database, or remove it from capi.databases and reload the configuration.")));
}

/* Once, until a worker was found again: tries go on every few seconds. */
static void
report_no_worker(const char *dbname)
{
	if (no_worker_reported)
		return;
	no_worker_reported = true;

	ereport(LOG,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("no background worker is free for the capi dispatcher of database \"%s\"",
					dbname),
			 errdetail("Orders are still captured; their events wait, and the start is tried again every %d seconds.",
					   NO_WORKER_RETRY_MS / 1000),
			 errhint("Raise max_worker_processes (now %d): capi takes one worker, and for each database of capi.databases one and as many as capi.readers says.",
					 max_worker_processes)));
}
