/*
 * look.c
 *		Bounded looks at the shop's tables and at the text of queries, for the
 *		advice of capi.attach() and capi.diagnose() and the problems of
 *		capi.preview().
 *
 * A look runs as the source's role, read-only, like its query (P9).  It is not
 * begun when the planner thinks that it reads much, and is given up when it
 * takes long: advice is worth a moment, not a scan of ten million rows.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/plannodes.h"
#include "storage/latch.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/timeout.h"

#include "call/query_text.h"
#include "read/query.h"

/* In the planner's units, about pages: some tens of milliseconds. */
#define MAX_COST			10000.0

#define MAX_TIME_MS			500

/* Longest text of a value that is shown. */
#define MAX_VALUE_BYTES		1024

PG_FUNCTION_INFO_V1(capi_sql_look);
PG_FUNCTION_INFO_V1(capi_sql_query_columns);
PG_FUNCTION_INFO_V1(capi_sql_query_is_limited);
PG_FUNCTION_INFO_V1(capi_sql_single_select);

static TimeoutId look_timeout;
static bool has_look_timeout = false;
static volatile sig_atomic_t is_out_of_time = false;

static void
on_timeout(void)
{
	is_out_of_time = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

static bool
is_cheap(SPIPlanPtr plan)
{
	CachedPlan *cached = SPI_plan_get_cached_plan(plan);
	double		cost = 0;
	ListCell   *lc;

	if (cached == NULL)
		return false;
	foreach(lc, cached->stmt_list)
	{
		PlannedStmt *stmt = lfirst_node(PlannedStmt, lc);

		if (stmt->planTree != NULL)
			cost += stmt->planTree->total_cost;
	}
	ReleaseCachedPlan(cached, NULL);
	return cost <= MAX_COST;
}

/* First column of the rows as a text array, in the context. */
static ArrayType *
collect(MemoryContext context)
{
	Datum	   *texts = palloc(sizeof(Datum) * (SPI_processed + 1));
	MemoryContext before;
	ArrayType  *result;
	int			n = 0;

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char	   *value = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);

		if (value != NULL && strlen(value) <= MAX_VALUE_BYTES)
			texts[n++] = CStringGetTextDatum(value);
	}
	before = MemoryContextSwitchTo(context);
	result = construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT);
	MemoryContextSwitchTo(before);
	return result;
}

/* NULL: it would cost too much. */
static ArrayType *
look(const char *sql, const char *path, Oid run_as, int max_rows, MemoryContext context)
{
	CapiQueryScope scope;
	SPIPlanPtr	plan;
	ArrayType  *result = NULL;

	SPI_connect();
	capi_query_enter(&scope, run_as, path);
	plan = SPI_prepare(sql, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare a look at a table");
	if (is_cheap(plan))
	{
		if (SPI_execute_plan(plan, NULL, NULL, true, max_rows) != SPI_OK_SELECT)
			elog(ERROR, "could not look at a table");
		result = collect(context);
	}
	capi_query_leave(&scope);
	SPI_finish();
	return result;
}

/*
 * capi._look(sql text, search_path text, run_as oid, max_rows int): the first
 * column of the rows.  Null when it would cost too much, or took too long.
 */
Datum
capi_sql_look(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char	   *sql = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *path = text_to_cstring(PG_GETARG_TEXT_PP(1));
	ArrayType  *volatile result = NULL;

	if (!has_look_timeout)
		look_timeout = RegisterTimeout(USER_TIMEOUT, on_timeout);
	has_look_timeout = true;
	is_out_of_time = false;
	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		enable_timeout_after(look_timeout, MAX_TIME_MS);
		result = look(sql, path, PG_GETARG_OID(2), PG_GETARG_INT32(3), context);
		disable_timeout(look_timeout, false);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		disable_timeout(look_timeout, false);
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (!is_out_of_time || error->sqlerrcode != ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		result = NULL;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	/* it may have struck when all was done */
	if (is_out_of_time)
		QueryCancelPending = false;
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_ARRAYTYPE_P(result);
}

/* capi._query_columns(query text, search_path text, run_as oid) */
Datum
capi_sql_query_columns(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *query = text_to_cstring(PG_GETARG_TEXT_PP(0));
	CapiQueryScope scope;
	TupleDesc	desc;
	Datum	   *names;
	ArrayType  *result;

	SPI_connect();
	capi_query_enter(&scope, PG_GETARG_OID(2), text_to_cstring(PG_GETARG_TEXT_PP(1)));
	if (SPI_execute(psprintf("SELECT q.* FROM (%s\n) AS q LIMIT 0",
							 capi_query_single_select(query)), true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run the query");
	desc = SPI_tuptable->tupdesc;
	names = palloc(sizeof(Datum) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
		names[i] = CStringGetTextDatum(NameStr(TupleDescAttr(desc, i)->attname));
	MemoryContextSwitchTo(context);
	result = construct_array(names, desc->natts, TEXTOID, -1, false, TYPALIGN_INT);
	capi_query_leave(&scope);
	SPI_finish();
	PG_RETURN_ARRAYTYPE_P(result);
}

/* capi._query_is_limited(query text) */
Datum
capi_sql_query_is_limited(PG_FUNCTION_ARGS)
{
	char	   *query = text_to_cstring(PG_GETARG_TEXT_PP(0));

	PG_RETURN_BOOL(capi_query_text_is_limited(capi_query_single_select(query)));
}

/* capi._single_select(query text): without its semicolon */
Datum
capi_sql_single_select(PG_FUNCTION_ARGS)
{
	char	   *query = text_to_cstring(PG_GETARG_TEXT_PP(0));

	PG_RETURN_TEXT_P(cstring_to_text(capi_query_single_select(query)));
}
