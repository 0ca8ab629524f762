/*
 * database_hook.c
 *		Keeps dispatchers out of the way of database commands, and tells them
 *		when the extension comes or goes.
 *
 * DROP DATABASE, ALTER DATABASE ... RENAME and SET TABLESPACE and CREATE
 * DATABASE ... TEMPLATE refuse to work on a database that somebody is
 * connected to.  Before such a command runs, the slot of the database is held
 * and its dispatcher terminated; the server's own checks stay what they are.
 *
 * Everything is undone or told at the end of the transaction, in one callback:
 *	- holds are released at commit, abort and prepare.  An ERROR aborts the
 *	  transaction, and so does the exit of a session, so there is no way to
 *	  leave a hold behind.
 *	- the creation and the drop of the extension are told at commit only.
 *
 * Limitations:
 *	- After a rollback to a savepoint, a change that was undone is still told
 *	  at commit.  The dispatcher looks, finds what it knew, and goes on.
 *	- What COMMIT PREPARED does is not known; the launcher looks for an extension
 *	  that was not there, and an error in the dispatcher finds that one is gone.
 *
 * Active only when the library was preloaded.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/capi.h"
#include "base/compat.h"
#include "base/shmem.h"
#include "process/database_hook.h"

/* Core itself waits as long for sessions that are on their way out. */
#define EXIT_WAIT_MS	5000

/* What a command needs a database for. */
typedef enum CommandUse
{
	USE_OWNER,					/* changes or drops it */
	USE_TEMPLATE				/* copies it */
} CommandUse;

/* What the end of this transaction has to undo or tell; see xact_callback. */
static bool work_pending = false;	/* any of the following is set */
static bool held[CAPI_MAX_DATABASES];	/* slots this transaction holds */
static bool extension_changed = false;	/* created or dropped, here */
static char extension_dbname[NAMEDATALEN];
static char new_dbname[NAMEDATALEN];	/* created or renamed to; or empty */
static int	dropped_slotno = -1;	/* its database was dropped */
static Oid	dropped_dboid = InvalidOid;

static ProcessUtility_hook_type prev_process_utility = NULL;
static object_access_hook_type prev_object_access = NULL;

static void process_utility(PlannedStmt *pstmt, const char *queryString,
							bool readOnlyTree, ProcessUtilityContext context,
							ParamListInfo params, QueryEnvironment *queryEnv,
							DestReceiver *dest, QueryCompletion *qc);
static int	prepare_command(Node *stmt, bool can_run);
static void note_done(Node *stmt, int slotno, Oid dboid);
static int	pause_dispatcher(const char *dbname, CommandUse use);
static bool may_use_database(Oid dboid, CommandUse use);
static char *option_string(List *options, const char *name);
static void object_access(ObjectAccessType access, Oid classId, Oid objectId,
						  int subId, void *arg);
static void note_extension_change(void);
static void xact_callback(XactEvent event, void *arg);
static void release_holds(bool committed);

PG_FUNCTION_INFO_V1(capi_sql_installed);

void
capi_hook_init(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	prev_object_access = object_access_hook;
	object_access_hook = object_access;
	RegisterXactCallback(xact_callback, NULL);
}

/*
 * Called at the end of the install script, and of upgrade scripts: there is
 * no hook that sees an extension whole.
 */
Datum
capi_sql_installed(PG_FUNCTION_ARGS)
{
	(void) fcinfo;

	note_extension_change();
	PG_RETURN_VOID();
}

static void
process_utility(PlannedStmt *pstmt, const char *queryString,
				bool readOnlyTree, ProcessUtilityContext context,
				ParamListInfo params, QueryEnvironment *queryEnv,
				DestReceiver *dest, QueryCompletion *qc)
{
	Node	   *stmt = pstmt->utilityStmt;
	int			slotno = -1;
	Oid			dboid = InvalidOid;
	bool		is_ours;

	is_ours = capi_shmem_available() &&
		(IsA(stmt, DropdbStmt) || IsA(stmt, RenameStmt) ||
		 IsA(stmt, AlterDatabaseStmt) || IsA(stmt, CreatedbStmt));

	if (is_ours)
	{
		bool		is_toplevel = (context == PROCESS_UTILITY_TOPLEVEL);

		slotno = prepare_command(stmt, !IsInTransactionBlock(is_toplevel));
		if (IsA(stmt, DropdbStmt))
			dboid = get_database_oid(castNode(DropdbStmt, stmt)->dbname, true);
	}

	(prev_process_utility ? prev_process_utility : standard_ProcessUtility)
		(pstmt, queryString, readOnlyTree, context, params, queryEnv,
		 dest, qc);

	if (is_ours)
		note_done(stmt, slotno, dboid);
	if (IsA(stmt, TransactionStmt) &&
		castNode(TransactionStmt, stmt)->kind == TRANS_STMT_COMMIT_PREPARED)
		capi_shmem_prepared_committed(MyDatabaseId, get_database_name(MyDatabaseId));
}

/*
 * Holds the slot that a command needs free, if any.  can_run is false inside
 * a transaction block, where all but RENAME will be refused.
 */
static int
prepare_command(Node *stmt, bool can_run)
{
	if (IsA(stmt, RenameStmt))
	{
		RenameStmt *rename = castNode(RenameStmt, stmt);

		if (rename->renameType == OBJECT_DATABASE)
			return pause_dispatcher(rename->subname, USE_OWNER);
	}
	else if (!can_run)
		return -1;
	else if (IsA(stmt, DropdbStmt))
		return pause_dispatcher(castNode(DropdbStmt, stmt)->dbname, USE_OWNER);
	else if (IsA(stmt, AlterDatabaseStmt))
	{
		AlterDatabaseStmt *alter = castNode(AlterDatabaseStmt, stmt);

		if (option_string(alter->options, "tablespace") != NULL)
			return pause_dispatcher(alter->dbname, USE_OWNER);
	}
	else if (IsA(stmt, CreatedbStmt))
	{
		char	   *source;

		source = option_string(castNode(CreatedbStmt, stmt)->options,
							   "template");
		return pause_dispatcher(source ? source : "template1", USE_TEMPLATE);
	}
	return -1;
}

/* Remembers what a command that succeeded has to be told at commit. */
static void
note_done(Node *stmt, int slotno, Oid dboid)
{
	if (IsA(stmt, DropdbStmt))
	{
		/* IF EXISTS of a database that never was is no news. */
		if (!OidIsValid(dboid))
			return;
		dropped_slotno = slotno;
		dropped_dboid = dboid;
		work_pending = true;
	}
	else if (IsA(stmt, CreatedbStmt))
	{
		strlcpy(new_dbname, castNode(CreatedbStmt, stmt)->dbname, NAMEDATALEN);
		work_pending = true;
	}
	else if (IsA(stmt, RenameStmt) &&
			 castNode(RenameStmt, stmt)->renameType == OBJECT_DATABASE)
	{
		strlcpy(new_dbname, castNode(RenameStmt, stmt)->newname, NAMEDATALEN);
		work_pending = true;
	}
}

/*
 * Keeps dispatchers out of a database until the transaction ends.  Does
 * nothing for a user whom the command will refuse anyway: nobody may stop a
 * dispatcher by trying.  If the dispatcher is still there after the wait, the
 * command reports that the database is in use.
 */
static int
pause_dispatcher(const char *dbname, CommandUse use)
{
	Oid			dboid = get_database_oid(dbname, true);
	int			slotno;

	if (!OidIsValid(dboid) || !may_use_database(dboid, use))
		return -1;

	slotno = capi_shmem_hold(dbname);
	if (slotno < 0)
		return -1;

	if (held[slotno])
		capi_shmem_release(slotno, false);	/* one hold is enough */
	held[slotno] = true;
	work_pending = true;

	(void) capi_shmem_wait_detached(slotno, EXIT_WAIT_MS);
	return slotno;
}

static bool
may_use_database(Oid dboid, CommandUse use)
{
	HeapTuple	tuple;
	bool		may_create = superuser();
	bool		is_template = false;

	if (use == USE_OWNER || may_create)
		return capi_owns_database(dboid, GetUserId());

	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (HeapTupleIsValid(tuple))
	{
		may_create = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}

	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(dboid));
	if (HeapTupleIsValid(tuple))
	{
		is_template = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
		ReleaseSysCache(tuple);
	}

	return may_create &&
		(is_template || capi_owns_database(dboid, GetUserId()));
}

/* Value of an option, or NULL if it is not there or is DEFAULT. */
static char *
option_string(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, name) == 0)
			return option->arg ? defGetString(option) : NULL;
	}
	return NULL;
}

/* Sees DROP EXTENSION, also as part of a cascade. */
static void
object_access(ObjectAccessType access, Oid classId, Oid objectId,
			  int subId, void *arg)
{
	if (prev_object_access)
		prev_object_access(access, classId, objectId, subId, arg);

	if (access == OAT_DROP && classId == ExtensionRelationId &&
		objectId == get_extension_oid(CAPI_EXTENSION, true))
		note_extension_change();
}

/* The name is looked up now: after commit no catalog may be read. */
static void
note_extension_change(void)
{
	char	   *dbname;

	if (!capi_shmem_available() || extension_changed)
		return;

	dbname = get_database_name(MyDatabaseId);
	if (dbname == NULL)
		return;
	strlcpy(extension_dbname, dbname, NAMEDATALEN);
	pfree(dbname);
	extension_changed = true;
	work_pending = true;
}

/* Runs at the end of every transaction, after commit included: cannot fail. */
static void
xact_callback(XactEvent event, void *arg)
{
	(void) arg;

	if (!work_pending)
		return;

	switch (event)
	{
		case XACT_EVENT_COMMIT:
			release_holds(true);
			if (OidIsValid(dropped_dboid))
				capi_shmem_forget_missed(dropped_dboid);
			if (new_dbname[0] != '\0')
				capi_shmem_extension_changed(InvalidOid, new_dbname);
			if (extension_changed)
				capi_shmem_extension_changed(MyDatabaseId, extension_dbname);
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			release_holds(false);
			break;
		default:
			return;
	}

	work_pending = false;
	extension_changed = false;
	new_dbname[0] = '\0';
	dropped_slotno = -1;
	dropped_dboid = InvalidOid;
}

static void
release_holds(bool committed)
{
	for (int i = 0; i < CAPI_MAX_DATABASES; i++)
	{
		if (!held[i])
			continue;
		held[i] = false;
		capi_shmem_release(i, committed && i == dropped_slotno);
	}
}
