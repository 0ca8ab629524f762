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
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "entry.h"
#include "txn.h"

static bool session = false;
static Oid	session_owner = InvalidOid;

/* Of the present transaction. */
static CapiOwnerScope owner_scope;
static MemoryContext outer_context = NULL;

void
capi_txn_setup(bool in_session, Oid owner)
{
	session = in_session;
	session_owner = owner;
}

void
capi_txn_begin(const char *activity)
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
		SPI_connect();
		PushActiveSnapshot(GetTransactionSnapshot());
		pgstat_report_activity(STATE_RUNNING, activity);
	}
	/* what another machine must confirm is not ours to wait for */
	(void) set_config_option("synchronous_commit", "local", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	MemoryContextSwitchTo(outer_context);
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
