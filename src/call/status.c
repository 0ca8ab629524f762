/*
 * status.c
 *		Small facts for the views and for capi.diagnose().  Reads only.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "base/capi.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/here.h"
#include "base/shmem.h"

PG_FUNCTION_INFO_V1(capi_sql_identity);
PG_FUNCTION_INFO_V1(capi_sql_slot);
PG_FUNCTION_INFO_V1(capi_sql_library_version);
PG_FUNCTION_INFO_V1(capi_sql_elsewhere);

/* So long a dispatcher that is not there yet is about to start. */
#define STARTING_MS		10000

static TupleDesc
result_row(FunctionCallInfo fcinfo)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return BlessTupleDesc(desc);
}

/* capi._identity(): whose database this is (P4). */
Datum
capi_sql_identity(PG_FUNCTION_ARGS)
{
	Datum		values[2];
	bool		nulls[2] = {false, false};

	values[0] = CStringGetTextDatum(psprintf(UINT64_FORMAT, GetSystemIdentifier()));
	values[1] = ObjectIdGetDatum(MyDatabaseId);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(result_row(fcinfo), values, nulls)));
}

Datum
capi_sql_library_version(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_TEXT_P(cstring_to_text(CAPI_VERSION));
}

/* capi._elsewhere(): what this place is called, if it may not send; or null. */
Datum
capi_sql_elsewhere(PG_FUNCTION_ARGS)
{
	if (!capi_is_elsewhere())
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(capi_place_name()));
}

static bool
database_listed(const char *dbname)
{
	List	   *names;
	ListCell   *lc;
	bool		found = false;

	if (capi_databases == NULL ||
		!SplitIdentifierString(pstrdup(capi_databases), ',', &names))
		return false;
	foreach(lc, names)
		found |= strcmp((char *) lfirst(lc), dbname) == 0;
	return found;
}

static const char *
state_word(CapiSlotState state)
{
	switch (state)
	{
		case CAPI_SLOT_STARTING:
			return "starting";
		case CAPI_SLOT_RUNNING:
			return "running";
		case CAPI_SLOT_NO_EXTENSION:
			return "no extension";
		case CAPI_SLOT_WAITING:
			return "waiting to restart";
		case CAPI_SLOT_HELD:
			return "held by a database command";
		default:
			return "none";
	}
}

/*
 * Has there been no time yet for the dispatcher to appear?  The launcher may not
 * have read the list, or not have heard of the extension.
 */
static bool
is_starting(const CapiSlotInfo *info)
{
	TimestampTz due = Max(PgStartTime, PgReloadTime);

	if (info != NULL && (info->pid != 0 || info->no_worker || info->failures > 0 ||
						 info->state == CAPI_SLOT_HELD))
		return false;
	if (info != NULL)
		due = Max(due, info->due_since);
	return !TimestampDifferenceExceeds(due, GetCurrentTimestamp(), STARTING_MS);
}

/* capi._slot(): what shared memory says of this database's dispatcher. */
Datum
capi_sql_slot(PG_FUNCTION_ARGS)
{
	const char *dbname = get_database_name(MyDatabaseId);
	int			launcher = capi_shmem_launcher_pid();
	CapiSlotInfo info;
	bool		known = capi_shmem_slot_info(MyDatabaseId, dbname, &info);
	/* an earlier version of the extension has no columns for the last two */
	Datum		values[10] = {0};
	bool		nulls[10] = {false};

	values[0] = BoolGetDatum(capi_shmem_available());
	values[1] = BoolGetDatum(database_listed(dbname));
	values[2] = Int32GetDatum(launcher);
	nulls[2] = launcher == 0;
	nulls[3] = nulls[8] = !known || info.pid == 0;
	nulls[4] = nulls[5] = nulls[6] = !known;
	if (known)
	{
		values[3] = Int32GetDatum(info.pid);
		values[4] = CStringGetTextDatum(state_word(info.state));
		values[5] = TimestampTzGetDatum(info.state_since);
		values[6] = Int32GetDatum(info.failures);
		values[8] = BoolGetDatum(info.enabled);
	}
	values[9] = BoolGetDatum(capi_shmem_available() && database_listed(dbname) &&
							 !RecoveryInProgress() && is_starting(known ? &info : NULL));
	values[7] = Int64GetDatum((int64) capi_shmem_missed(MyDatabaseId));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(result_row(fcinfo), values, nulls)));
}
