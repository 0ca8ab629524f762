/*
 * txn.c
 *		Bracket around each transaction of the dispatcher; see txn.h.
 *
 * In a worker the bracket starts and ends transactions itself.  In a session
 * it uses SPI_commit() and SPI_rollback(), which leave a new transaction
 * behind; it has neither a snapshot nor an id, so it holds nothing back.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "capi.h"
#include "entry.h"
#include "txn.h"
#include "worker.h"

static bool session = false;
static Oid	session_owner = InvalidOid;

/* The extension this worker works for; looked up in its first transaction. */
static Oid	extension = InvalidOid;

/* Of the present transaction. */
static CapiOwnerScope owner_scope;
static MemoryContext outer_context = NULL;

void
capi_txn_setup(bool in_session, Oid owner)
{
	session = in_session;
	session_owner = owner;
	extension = InvalidOid;
}

/*
 * Keeps DROP EXTENSION out until the end of the transaction: it locks the
 * extension before anything that belongs to it.
 */
static void
lock_extension(void)
{
	if (!OidIsValid(extension))
		extension = get_extension_oid(CAPI_EXTENSION, true);
	if (OidIsValid(extension))
	{
		LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
		if (get_extension_oid(CAPI_EXTENSION, true) == extension)
			return;
	}
	capi_worker_extension_gone();
}

static void
begin(const char *activity, bool is_query)
{
	outer_context = CurrentMemoryContext;
	if (session)
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		capi_enter_owner(session_owner, &owner_scope);
		SPI_connect();
	}
	else
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		pgstat_report_activity(STATE_RUNNING, activity);
		if (!is_query)
			lock_extension();
		SPI_connect();
		PushActiveSnapshot(GetTransactionSnapshot());
	}
	/* what another machine must confirm is not ours to wait for */
	(void) set_config_option("synchronous_commit", "local", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	MemoryContextSwitchTo(outer_context);
}

void
capi_txn_begin(const char *activity)
{
	begin(activity, false);
}

void
capi_txn_begin_query(const char *activity)
{
	begin(activity, true);
}

void
capi_txn_commit(void)
{
	if (session)
	{
		SPI_finish();
		capi_leave_owner(&owner_scope);
		PopActiveSnapshot();
		SPI_commit();
	}
	else
	{
		SPI_finish();
		PopActiveSnapshot();
		CommitTransactionCommand();
		pgstat_report_stat(false);
		pgstat_report_activity(STATE_IDLE, NULL);
	}
	MemoryContextSwitchTo(outer_context);
}

void
capi_txn_abort(void)
{
	if (session)
	{
		capi_leave_owner(&owner_scope);
		SPI_rollback();
	}
	else
	{
		AbortCurrentTransaction();
		pgstat_report_activity(STATE_IDLE, NULL);
	}
	MemoryContextSwitchTo(outer_context);
}
