/*
 * txn.c
 *		Bracket around each transaction of the dispatcher; see txn.h.
 *
 * In a worker the bracket starts and ends transactions itself.  In a session
 * it uses SPI_commit(), which leaves a new transaction behind; it has neither
 * a snapshot nor an id, so it holds nothing back.  What belongs to the bracket
 * is done in a subtransaction there: after an error nothing else would bring
 * back the state that SPI, the user and the snapshots had before.  The same in
 * a worker where an error is caught: the abort of a whole transaction gives
 * back the session's locks, and with them the sender's.
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
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "base/capi.h"
#include "base/entry.h"
#include "base/txn.h"

static bool session = false;
static Oid	session_owner = InvalidOid;

/* The extension this worker works for; looked up in its first transaction. */
static Oid	extension = InvalidOid;

/* What a worker does when it is not there any more; does not return. */
static void (*extension_gone) (void) = NULL;

/* Of the present transaction. */
static CapiOwnerScope owner_scope;
static MemoryContext outer_context = NULL;
static ResourceOwner outer_resources = NULL;
static bool in_subtransaction = false;

/*
 * A session's own settings must change neither what our statements mean,
 * which run as the owner of the extension (P9), nor what an event looks like;
 * worker.c has the like for workers.
 */
static const struct
{
	const char *name;
	const char *value;
}			session_settings[] = {
	{"bytea_output", "hex"},
	{"datestyle", "ISO"},
	{"extra_float_digits", "1"},
	{"intervalstyle", "postgres"},
	{"search_path", "pg_catalog, pg_temp"},
	{"synchronous_commit", "local"},
};

void
capi_txn_setup(bool in_session, Oid owner, void (*gone) (void))
{
	session = in_session;
	extension_gone = gone;
	session_owner = owner;
	in_subtransaction = false;
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
	extension_gone();
}

static void
set_local(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

static void
begin_subtransaction(void)
{
	outer_resources = CurrentResourceOwner;
	BeginInternalSubTransaction(NULL);
	in_subtransaction = true;
}

static void
begin(const char *activity, bool is_query, bool guarded)
{
	outer_context = CurrentMemoryContext;
	if (session)
	{
		set_local("transaction_isolation", "read committed");
		PushActiveSnapshot(GetTransactionSnapshot());
		begin_subtransaction();
		for (size_t i = 0; i < lengthof(session_settings); i++)
			set_local(session_settings[i].name, session_settings[i].value);
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
		PushActiveSnapshot(GetTransactionSnapshot());
		if (guarded)
			begin_subtransaction();
		SPI_connect();
		/* what another machine must confirm is not ours to wait for */
		set_local("synchronous_commit", "local");
	}
	MemoryContextSwitchTo(outer_context);
}

void
capi_txn_begin(const char *activity)
{
	begin(activity, false, false);
}

void
capi_txn_begin_guarded(const char *activity)
{
	begin(activity, false, true);
}

void
capi_txn_begin_query(const char *activity)
{
	begin(activity, true, true);
}

/* Commits the outer transaction, to which the subtransaction is history. */
static void
end(void)
{
	PopActiveSnapshot();
	if (session)
		SPI_commit();
	else
	{
		CommitTransactionCommand();
		pgstat_report_stat(false);
		pgstat_report_activity(STATE_IDLE, NULL);
	}
	MemoryContextSwitchTo(outer_context);
}

void
capi_txn_commit(void)
{
	SPI_finish();
	if (session)
		capi_leave_owner(&owner_scope);
	if (in_subtransaction)
	{
		ReleaseCurrentSubTransaction();
		in_subtransaction = false;
		CurrentResourceOwner = outer_resources;
	}
	end();
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
	Assert(in_subtransaction);
	capi_txn_clear();
	end();
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
