/*
 * entry.c
 *		The door between a user's call and the extension's own tables.
 *
 * A public function such as capi.attach() is declared in C and lands here.  It
 * finds its internal twin, the function with an underscore before its name,
 * and calls it as the owner of the extension, with the caller's role as first
 * argument.  So the twin can be written in PL/pgSQL, reads and writes tables
 * on which nobody has rights, and still knows exactly who asked, which
 * SECURITY DEFINER alone cannot tell (P9).
 *
 * Also here: errors leave without the internal function's context lines, and
 * calls that carry a secret take the statement's text off the activity view
 * and out of what an error would log (P8).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/capi.h"
#include "base/entry.h"
#include "base/pinned.h"

PG_FUNCTION_INFO_V1(capi_sql_as_owner);
PG_FUNCTION_INFO_V1(capi_sql_as_owner_path);
PG_FUNCTION_INFO_V1(capi_sql_as_owner_secret);

static Datum call_twin(FunctionCallInfo fcinfo, bool with_path, bool is_secret);
static Oid	find_twin(Oid funcid, bool with_path, Oid *owner);
static char *effective_search_path(void);

Datum
capi_sql_as_owner(PG_FUNCTION_ARGS)
{
	return call_twin(fcinfo, false, false);
}

/* The twin also gets the caller's search_path, for queries to be stored. */
Datum
capi_sql_as_owner_path(PG_FUNCTION_ARGS)
{
	return call_twin(fcinfo, true, false);
}

/*
 * One of the arguments is a secret, and the statement holds it, if not one of
 * those around it that messages tell as their context: forget them.  In shared
 * memory the text is written over up to its end, not only up to ours.
 */
Datum
capi_sql_as_owner_secret(PG_FUNCTION_ARGS)
{
	static const char *const hidden = "<statement with a secret, text removed by capi>";
	ErrorContextCallback *callers = error_context_stack;
	char	   *blank = palloc(pgstat_track_activity_query_size);
	Datum		result;

	memset(blank, ' ', pgstat_track_activity_query_size - 1);
	blank[pgstat_track_activity_query_size - 1] = '\0';
	debug_query_string = hidden;
	pgstat_report_activity(STATE_RUNNING, blank);
	pgstat_report_activity(STATE_RUNNING, hidden);
	pfree(blank);
	/* after an error it is brought back by who catches that */
	error_context_stack = NULL;
	result = call_twin(fcinfo, false, true);
	error_context_stack = callers;
	return result;
}

/*
 * The caller's search_path must not decide which operator or function a
 * statement of ours means: it would run with the owner's rights.  Nor must his
 * other settings change what it does.
 */
void
capi_enter_owner(Oid owner, CapiOwnerScope *scope)
{
	scope->nest_level = NewGUCNestLevel();
	capi_pinned_locally(CAPI_PINNED_OWNER, GUC_ACTION_SAVE);
	GetUserIdAndSecContext(&scope->userid, &scope->sec_context);
	SetUserIdAndSecContext(owner, scope->sec_context | CAPI_OWNER_SEC_CONTEXT);
}

void
capi_leave_owner(const CapiOwnerScope *scope)
{
	SetUserIdAndSecContext(scope->userid, scope->sec_context);
	AtEOXact_GUC(false, scope->nest_level);
}

/* Owner of this function, which is the owner of the extension. */
Oid
capi_function_owner(Oid funcid)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(funcid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", funcid);
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * A longjmp out of the twin ends the (sub)transaction, which restores user id
 * and settings by itself; only the normal way out must do it here.
 */
static Datum
call_twin(FunctionCallInfo fcinfo, bool with_path, bool is_secret)
{
	LOCAL_FCINFO(call, FUNC_MAX_ARGS);
	MemoryContext caller_context = CurrentMemoryContext;
	int			shift = with_path ? 2 : 1;
	FmgrInfo	flinfo;
	CapiOwnerScope scope;
	Oid			owner;
	Oid			twin = find_twin(fcinfo->flinfo->fn_oid, with_path, &owner);
	Datum		result;

	fmgr_info(twin, &flinfo);
	InitFunctionCallInfoData(*call, &flinfo, fcinfo->nargs + shift,
							 fcinfo->fncollation, NULL, NULL);
	call->args[0].value = ObjectIdGetDatum(GetUserId());
	call->args[0].isnull = false;
	if (with_path)
	{
		call->args[1].value = CStringGetTextDatum(effective_search_path());
		call->args[1].isnull = false;
	}
	for (int i = 0; i < fcinfo->nargs; i++)
		call->args[i + shift] = fcinfo->args[i];

	capi_enter_owner(owner, &scope);
	if (is_secret)
		capi_pinned_locally(CAPI_PINNED_SECRET, GUC_ACTION_SAVE);
	PG_TRY();
	{
		result = FunctionCallInvoke(call);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(caller_context);
		edata = CopyErrorData();
		FlushErrorState();
		edata->context = NULL;
		edata->hide_stmt |= is_secret;
		ReThrowError(edata);
	}
	PG_END_TRY();
	capi_leave_owner(&scope);
	fcinfo->isnull = call->isnull;
	return result;
}

static Oid
find_twin(Oid funcid, bool with_path, Oid *owner)
{
	Oid			argtypes[FUNC_MAX_ARGS];
	int			nargs = 0;
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(funcid));
	Form_pg_proc proc;
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", funcid);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	argtypes[nargs++] = OIDOID;
	if (with_path)
		argtypes[nargs++] = TEXTOID;
	for (int i = 0; i < proc->pronargs; i++)
		argtypes[nargs++] = proc->proargtypes.values[i];
	name = psprintf("_%s", NameStr(proc->proname));
	*owner = proc->proowner;
	ReleaseSysCache(tuple);
	return LookupFuncName(list_make2(makeString(pstrdup(CAPI_SCHEMA)),
									 makeString(name)),
						  nargs, argtypes, false);
}

/*
 * The schemas the caller sees now, by name, without "$user".  Temporary tables
 * come last: by default they would come first, and whoever calls
 * capi.deliver() could put one in the place of the shop's.
 */
static char *
effective_search_path(void)
{
	List	   *schemas = fetch_search_path(false);
	StringInfoData path;
	ListCell   *lc;

	initStringInfo(&path);
	foreach(lc, schemas)
	{
		char	   *name = get_namespace_name(lfirst_oid(lc));

		if (name != NULL && !isAnyTempNamespace(lfirst_oid(lc)))
			appendStringInfo(&path, "%s%s", path.len > 0 ? ", " : "",
							 quote_identifier(name));
	}
	list_free(schemas);
	appendStringInfo(&path, "%spg_temp", path.len > 0 ? ", " : "");
	return path.data;
}
