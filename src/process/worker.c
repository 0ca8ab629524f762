/*
 * worker.c
 *		The dispatcher process of one database: connects, makes its settings
 *		its own, looks for the extension and runs the pipeline of dispatch.c.
 *
 * Knows nothing of queues and events.  Started by launcher.c only, with the
 * name of the database in bgw_extra.
 *
 * How it ends, and what the launcher makes of it (see slot.c):
 *		no extension or no database		started again when there is one
 *		slot held by a database command	started again after the command
 *		settings of the database changed	started again at once
 *		error, or terminated			started again after a growing delay
 * Errors are not caught: the server logs them and the process exits with code
 * 1.  Code 0, which is not logged, is for ends without a fault.
 *
 * SIGTERM is handled by the server's own die() from the first moment, so that
 * a dispatcher that waits for a lock of a database command while it connects
 * can be terminated.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"

/* for background workers */
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"

#include "base/capi.h"
#include "base/pinned.h"
#include "base/shmem.h"
#include "base/test_point.h"
#include "process/worker.h"
#include "send/dispatch.h"

/* The hook that was there before connect_database. */
static emit_log_hook_type prev_emit_log_hook = NULL;

static void connect_database(const char *dbname);
static void note_missing_database(ErrorData *edata);
static bool extension_exists(void);
static void extension_gone(void);

void
capi_dispatcher_main(Datum main_arg)
{
	const char *dbname = MyBgworkerEntry->bgw_extra;

	(void) main_arg;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	if (!capi_shmem_attach(dbname))
		proc_exit(0);

	connect_database(dbname);
	CAPI_TEST_POINT("a dispatcher connected");
	capi_pinned_for_process(CAPI_PINNED_DISPATCHER, "capi dispatcher");

	(void) capi_shmem_clear_recheck();
	if (!extension_exists())
		extension_gone();

	capi_shmem_set_database(MyDatabaseId);
	capi_shmem_set_state(CAPI_SLOT_RUNNING);
	capi_dispatch_forever(extension_gone);
}

static void
extension_gone(void)
{
	capi_shmem_set_state(CAPI_SLOT_NO_EXTENSION);
	proc_exit(0);
}

static void
connect_database(const char *dbname)
{
	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = note_missing_database;
	BackgroundWorkerInitializeConnection(dbname, NULL, 0);
	emit_log_hook = prev_emit_log_hook;
}

/*
 * A listed database that does not exist is looked for again and again.  The
 * server's FATAL message each time would be noise: the launcher says it once,
 * with a hint.  The same code with a detail is something else (a database
 * whose directory is gone, or that was dropped this instant) and is logged.
 */
static void
note_missing_database(ErrorData *edata)
{
	if (edata->elevel == FATAL &&
		edata->sqlerrcode == ERRCODE_UNDEFINED_DATABASE)
	{
		capi_shmem_set_state(CAPI_SLOT_NO_DATABASE);
		if (edata->detail == NULL)
			edata->output_to_server = false;
	}

	if (prev_emit_log_hook)
		prev_emit_log_hook(edata);
}

static bool
extension_exists(void)
{
	bool		exists;

	SetCurrentStatementStartTimestamp();
	pgstat_report_activity(STATE_RUNNING, "looking for extension capi");
	StartTransactionCommand();
	exists = OidIsValid(get_extension_oid(CAPI_EXTENSION, true));
	CommitTransactionCommand();
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);

	return exists;
}
