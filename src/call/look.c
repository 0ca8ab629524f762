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
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "call/query_text.h"
#include "read/query.h"

/* In the planner's units, about pages: some tens of milliseconds. */
#define MAX_COST			10000.0

#define MAX_TIME_MS			500

/* Longest text of a value that is shown. */
#define MAX_VALUE_BYTES		1024

PG_FUNCTION_INFO_V1(capi_sql_look);
PG_FUNCTION_INFO_V1(capi_sql_query_columns);
PG_FUNCTION_INFO_V1(capi_sql_query_limit);
PG_FUNCTION_INFO_V1(capi_sql_single_select);

/* A lock that somebody holds is not waited for longer. */
#define LOCK_TIMEOUT		"200ms"

/*
 * From then on the query is cancelled each tenth of a second, for a function of
 * it may trap that; when that does not help, the session ends, rather than
 * hang for who knows how long.
 */
#define CANCEL_AGAIN_MS		100
#define MAX_CANCELS			30

/* One look, and what came of it. */
typedef struct Look
{
	const char *sql;			/* or the query */
	const char *path;
	Oid			run_as;
	int			max_rows;
	MemoryContext context;		/* of the result */
	ArrayType  *result;			/* NULL: it would cost too much */
} Look;

static TimeoutId look_timeout;
static bool has_look_timeout = false;
static volatile sig_atomic_t cancels = 0;

static void
on_timeout(void)
{
	InterruptPending = true;
	QueryCancelPending = true;
	if (++cancels > MAX_CANCELS)
		ProcDiePending = true;
	SetLatch(MyLatch);
}

static void
begin_look(const Look *look, CapiQueryScope *scope)
{
	SPI_connect();
	capi_query_enter(scope, look->run_as, look->path);
	(void) set_config_option("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

static void
end_look(const CapiQueryScope *scope)
{
	capi_query_leave(scope);
	SPI_finish();
}

/*
 * Does the step in a subtransaction, and not for long; false when it was given
 * up.  Other errors of it are raised.
 */
static bool
do_bounded(void (*step) (Look *look), Look *look)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	if (!has_look_timeout)
		look_timeout = RegisterTimeout(USER_TIMEOUT, on_timeout);
	has_look_timeout = true;
	cancels = 0;
	look->context = context;
	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		enable_timeout_every(look_timeout,
							 TimestampTzPlusMilliseconds(GetCurrentTimestamp(), MAX_TIME_MS),
							 CANCEL_AGAIN_MS);
		step(look);
		disable_timeout(look_timeout, false);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		disable_timeout(look_timeout, false);
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error != NULL && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE &&
		(cancels == 0 || error->sqlerrcode != ERRCODE_QUERY_CANCELED))
		ReThrowError(error);
	/* it may have struck when all was done */
	if (cancels > 0)
		QueryCancelPending = false;
	return error == NULL;
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

/* Step for do_bounded(). */
static void
look_at_rows(Look *look)
{
	CapiQueryScope scope;
	SPIPlanPtr	plan;

	begin_look(look, &scope);
	plan = SPI_prepare(look->sql, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare a look at a table");
	if (is_cheap(plan))
	{
		if (SPI_execute_plan(plan, NULL, NULL, true, look->max_rows) != SPI_OK_SELECT)
			elog(ERROR, "could not look at a table");
		look->result = collect(look->context);
	}
	end_look(&scope);
}

/*
 * capi._look(sql text, search_path text, run_as oid, max_rows int): the first
 * column of the rows.  Null when it would cost too much, or took too long.
 */
Datum
capi_sql_look(PG_FUNCTION_ARGS)
{
	Look		look = {
		.sql = text_to_cstring(PG_GETARG_TEXT_PP(0)),
		.path = text_to_cstring(PG_GETARG_TEXT_PP(1)),
		.run_as = PG_GETARG_OID(2),
		.max_rows = PG_GETARG_INT32(3)
	};

	if (!do_bounded(look_at_rows, &look) || look.result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_ARRAYTYPE_P(look.result);
}

/* Step for do_bounded(). */
static void
look_at_columns(Look *look)
{
	CapiQueryScope scope;
	TupleDesc	desc;
	Datum	   *names;

	begin_look(look, &scope);
	if (SPI_execute(psprintf("SELECT q.* FROM (%s\n) AS q LIMIT 0",
							 capi_query_single_select(look->sql)), true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run the query");
	desc = SPI_tuptable->tupdesc;
	names = palloc(sizeof(Datum) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
		names[i] = CStringGetTextDatum(NameStr(TupleDescAttr(desc, i)->attname));
	MemoryContextSwitchTo(look->context);
	look->result = construct_array(names, desc->natts, TEXTOID, -1, false, TYPALIGN_INT);
	end_look(&scope);
}

/*
 * capi._query_columns(query text, search_path text, run_as oid): names of the
 * columns; null when it took too long to tell.
 */
Datum
capi_sql_query_columns(PG_FUNCTION_ARGS)
{
	Look		look = {
		.sql = text_to_cstring(PG_GETARG_TEXT_PP(0)),
		.path = text_to_cstring(PG_GETARG_TEXT_PP(1)),
		.run_as = PG_GETARG_OID(2)
	};

	if (!do_bounded(look_at_columns, &look))
		PG_RETURN_NULL();
	PG_RETURN_ARRAYTYPE_P(look.result);
}

/* capi._query_limit(query text) */
Datum
capi_sql_query_limit(PG_FUNCTION_ARGS)
{
	char	   *query = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const char *limit = capi_query_text_limit(capi_query_single_select(query));

	if (limit == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(limit));
}

/* capi._single_select(query text): without its semicolon */
Datum
capi_sql_single_select(PG_FUNCTION_ARGS)
{
	char	   *query = text_to_cstring(PG_GETARG_TEXT_PP(0));

	PG_RETURN_TEXT_P(cstring_to_text(capi_query_single_select(query)));
}
