/*
 * txn.c
 *		Bracket around each transaction of the dispatcher; see txn.h.
 *
 * In a worker the bracket starts and ends transactions itself.  In a session
 * it uses SPI_commit(), which leaves a new transaction behind; it has neither
 * a snapshot nor an id, so it holds nothing back.  What belongs to the bracket
 * is done in a subtransaction there: after an error nothing else would bring
 * back the state that SPI, the user and the snapshots had before.
 *
 * Either way it runs as the owner of the extension, who need not be a superuser
 * any more, up to and including the commit: a trigger that somebody put on a
 * table of capi's must not run as the superuser that a worker is (P9).
 *
 * No transaction here waits long for anything: not for a lock of a table, which
 * who may look at one can keep busy, and not for one of the extension.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/entry.h"
#include "base/extension.h"
#include "base/pinned.h"
#include "base/sender_lock.h"
#include "base/test_point.h"
#include "base/txn.h"

/* How often to look whether who is about to drop the extension has done it. */
#define BUSY_WAIT_MS		50

static bool session = false;
static Oid	session_owner = InvalidOid;

/* What a worker does when it is not there any more; does not return. */
static void (*extension_gone) (void) = NULL;

void		(*capi_txn_busy_hook) (void) = NULL;

/* Of the present transaction. */
static CapiOwnerScope owner_scope;
static Oid	worker_user = InvalidOid;
static int	worker_sec_context = 0;
static int	worker_nest_level = 0;	/* of settings */
static MemoryContext outer_context = NULL;
static ResourceOwner outer_resources = NULL;
static bool in_subtransaction = false;
static const char *doing = NULL;
static bool in_commit = false;	/* of a session */

void
capi_txn_setup(bool in_session, Oid owner, void (*gone) (void))
{
	session = in_session;
	extension_gone = gone;
	session_owner = owner;
	in_subtransaction = false;
	in_commit = false;
}

/* In a worker there are no others. */
bool
capi_txn_is_open(void)
{
	return session ? in_subtransaction : extension_gone != NULL;
}

static void
begin_subtransaction(void)
{
	outer_resources = CurrentResourceOwner;
	BeginInternalSubTransaction(NULL);
	in_subtransaction = true;
}

/*
 * Starts a transaction during which the extension stays.  While somebody drops
 * it, none is open between two looks; that he may take his time is seen in
 * pg_stat_activity.
 */
static void
start_with_extension(const char *activity, Oid *owner)
{
	static uint32 wait_event = 0;
	CapiExtensionLock lock;

	if (wait_event == 0)
		wait_event = capi_wait_event("CapiExtensionDrop");
	for (;;)
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		lock = capi_extension_lock(owner);
		if (lock == CAPI_EXTENSION_LOCKED)
			break;
		CommitTransactionCommand();
		if (lock == CAPI_EXTENSION_GONE)
			extension_gone();
		if (capi_txn_busy_hook != NULL)
			capi_txn_busy_hook();
		pgstat_report_activity(STATE_RUNNING,
							   "capi: waiting for a transaction that drops the extension");
		/* not for the latch: whoever set it is heard by the loop's own wait */
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, BUSY_WAIT_MS,
						 wait_event);
		CHECK_FOR_INTERRUPTS();
	}
	pgstat_report_activity(STATE_RUNNING, activity);
}

static void
begin_in_session(void)
{
	(void) set_config_option("transaction_isolation", "read committed", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	capi_pinned_locally(CAPI_PINNED_TXN, GUC_ACTION_LOCAL);
	PushActiveSnapshot(GetTransactionSnapshot());
	begin_subtransaction();
	capi_enter_owner(session_owner, &owner_scope);
	SPI_connect();
}

/* The other settings of the process are those of the owner already. */
static void
begin_in_worker(const char *activity)
{
	Oid			owner;

	start_with_extension(activity, &owner);
	capi_pinned_locally(CAPI_PINNED_TXN, GUC_ACTION_LOCAL);
	/* what a trigger sets ends with it */
	worker_nest_level = NewGUCNestLevel();
	GetUserIdAndSecContext(&worker_user, &worker_sec_context);
	SetUserIdAndSecContext(owner, worker_sec_context | CAPI_OWNER_SEC_CONTEXT);
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
}

void
capi_txn_begin(const char *activity)
{
	doing = activity;
	outer_context = CurrentMemoryContext;
	if (session)
		begin_in_session();
	else
		begin_in_worker(activity);
	capi_sender_lock_keep();
	MemoryContextSwitchTo(outer_context);
}

/* Commits the outer transaction, to which the subtransaction is history. */
static void
end(void)
{
	PopActiveSnapshot();
	if (session)
	{
		in_commit = true;
		SPI_commit();
		in_commit = false;
	}
	else
	{
		CommitTransactionCommand();
		SetUserIdAndSecContext(worker_user, worker_sec_context);
	}
}

static void
ended(void)
{
	if (!session)
	{
		pgstat_report_stat(false);
		pgstat_report_activity(STATE_IDLE, NULL);
	}
	MemoryContextSwitchTo(outer_context);
}

void
capi_txn_commit(void)
{
	CAPI_TEST_POINT_OF(doing, "before commit");
	SPI_finish();
	if (session)
	{
		capi_leave_owner(&owner_scope);
		ReleaseCurrentSubTransaction();
		in_subtransaction = false;
		CurrentResourceOwner = outer_resources;
	}
	else
		AtEOXact_GUC(false, worker_nest_level);
	end();
	ended();
	CAPI_TEST_POINT_OF(doing, "after commit");
}

/*
 * May what failed so be tried again?  What the server lacks (room on a disk, in
 * memory, in the table of locks) may be there later, like a lock of somebody's.
 * A session tells its user, and so only waits for locks.
 */
static bool
may_try_again(int sqlerrcode, int also, bool whatever)
{
	if (sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE || sqlerrcode == also)
		return true;
	if (session)
		return false;
	return whatever || sqlerrcode == ERRCODE_IO_ERROR ||
		ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES;
}

/* What is not a lock of somebody's is told, once until something else fails. */
static void
tell_failure(const char *activity, const ErrorData *edata)
{
	static const char *told_activity = NULL;
	static int	told = 0;

	if (edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		(told == edata->sqlerrcode && told_activity == activity))
		return;
	told = edata->sqlerrcode;
	told_activity = activity;
	ereport(LOG,
			(errcode(edata->sqlerrcode),
			 errmsg("%s failed, and is tried again: %s", activity, edata->message)));
}

static bool
try_step(const char *activity, void (*step) (void *arg), void *arg, int also,
		 bool whatever)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool done = true;
	volatile bool begun = false;

	PG_TRY();
	{
		/* its beginning takes locks, too, for which there may be no room */
		capi_txn_begin(activity);
		begun = true;
		step(arg);
		capi_txn_commit();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		if (!may_try_again(geterrcode(), also, whatever) || (session && !begun))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		capi_txn_abort();
		tell_failure(activity, edata);
		FreeErrorData(edata);
		done = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return done;
}

bool
capi_txn_try(const char *activity, void (*step) (void *arg), void *arg)
{
	return try_step(activity, step, arg, ERRCODE_LOCK_NOT_AVAILABLE, false);
}

bool
capi_txn_try_whatever(const char *activity, void (*step) (void *arg), void *arg)
{
	return try_step(activity, step, arg, ERRCODE_LOCK_NOT_AVAILABLE, true);
}

/* A queue of notifications that is full is in the way like a lock. */
bool
capi_txn_try_notify(const char *activity, void (*step) (void *arg), void *arg)
{
	return try_step(activity, step, arg, ERRCODE_PROGRAM_LIMIT_EXCEEDED, false);
}

void
capi_txn_clear(void)
{
	if (!in_subtransaction)
		return;
	in_subtransaction = false;
	RollbackAndReleaseCurrentSubTransaction();
	CurrentResourceOwner = outer_resources;
}

void
capi_txn_abort(void)
{
	if (!session)
		AbortCurrentTransaction();
	else if (in_commit)			/* SPI_commit() has aborted and begun another */
		in_commit = false;
	else
	{
		capi_txn_clear();
		end();
	}
	ended();
}

int
capi_txn_execute(const char *sql, bool read_only, long max_rows)
{
	return capi_txn_execute_with_args(sql, 0, NULL, NULL, NULL, read_only,
									  max_rows);
}

int
capi_txn_execute_with_args(const char *sql, int nargs, Oid *types,
						   Datum *args, const char *nulls, bool read_only,
						   long max_rows)
{
	MemoryContext context = CurrentMemoryContext;
	int			result;

	result = SPI_execute_with_args(sql, nargs, types, args, nulls, read_only,
								   max_rows);
	MemoryContextSwitchTo(context);
	return result;
}

int
capi_txn_execute_saved(CapiStatement *statement, Datum *args,
					   const char *nulls, bool read_only, long max_rows)
{
	MemoryContext context = CurrentMemoryContext;
	int			result;

	if (statement->plan == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(statement->sql, statement->nargs, statement->types);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare a statement: %s", SPI_result_code_string(SPI_result));
		statement->plan = plan;
	}
	result = SPI_execute_plan(statement->plan, args, nulls, read_only, max_rows);
	MemoryContextSwitchTo(context);
	return result;
}
