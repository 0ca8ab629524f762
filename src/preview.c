/*
 * preview.c
 *		capi.preview(): what would be sent for real orders, without sending.
 *
 * Runs the source's query as the caller, not as the source's role: who may not
 * read the shop's tables sees nothing of them here.  Reads only.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "config.h"
#include "entry.h"
#include "payload.h"
#include "query.h"

PG_FUNCTION_INFO_V1(capi_sql_preview);

static CapiSource *find_source(FunctionCallInfo fcinfo, CapiConfig **config);
static char **list_keys(const CapiSource *source, int max_rows, int *nkeys);
static void put_row(ReturnSetInfo *result, const CapiSource *source,
					char *key, CapiQueryRow *row);

/*
 * capi.preview(source text, order_key text, max_rows int): one row per order;
 * without a key the newest orders.  Errors of the query are raised as they are.
 */
Datum
capi_sql_preview(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	int			max_rows = PG_ARGISNULL(2) ? 10 : PG_GETARG_INT32(2);
	CapiConfig *config;
	CapiSource *source;
	CapiQueryRow *rows;
	char	  **keys;
	int			nkeys = 1;

	if (max_rows < 0 || max_rows > 1000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must be between 0 and 1000")));
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("source must not be null")));
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	MemoryContextSwitchTo(caller);
	source = find_source(fcinfo, &config);
	source->run_as = GetUserId();
	if (PG_ARGISNULL(1))
		keys = list_keys(source, max_rows, &nkeys);
	else
	{
		keys = palloc(sizeof(char *));
		keys[0] = text_to_cstring(PG_GETARG_TEXT_PP(1));
	}
	rows = palloc0(sizeof(CapiQueryRow) * (nkeys + 1));
	if (nkeys > 0)
		capi_query_read(source, keys, nkeys, rows);
	for (int i = 0; i < nkeys; i++)
		put_row((ReturnSetInfo *) fcinfo->resultinfo, source, keys[i], &rows[i]);
	capi_config_free(config);
	SPI_finish();
	return (Datum) 0;
}

/* The configuration is read as the owner of the extension. */
static CapiSource *
find_source(FunctionCallInfo fcinfo, CapiConfig **config)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	CapiOwnerScope scope;
	CapiSource *found = NULL;

	capi_enter_owner(capi_function_owner(fcinfo->flinfo->fn_oid), &scope);
	*config = capi_config_load(NULL);
	capi_leave_owner(&scope);
	for (int i = 0; i < (*config)->nsources; i++)
		if (strcmp((*config)->sources[i].name, name) == 0 && !(*config)->sources[i].detached)
			found = &(*config)->sources[i];
	if (found == NULL)
	{
		capi_config_free(*config);
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("source \"%s\" does not exist", name),
				 errhint("The sources are listed in capi.source_status.")));
	}
	return found;
}

static char **
list_keys(const CapiSource *source, int max_rows, int *nkeys)
{
	MemoryContext caller = CurrentMemoryContext;
	CapiQueryScope scope;
	char	  **keys;

	char	   *sql = psprintf("SELECT q.key::text FROM (%s\n) AS q WHERE q.key IS NOT NULL"
							   " ORDER BY q.event_time DESC NULLS LAST LIMIT %d",
							   capi_query_single_select(source->query), max_rows);

	capi_query_enter(&scope, source->run_as, source->search_path);
	if (SPI_execute(sql, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run the query of a source");
	capi_query_leave(&scope);
	MemoryContextSwitchTo(caller);
	*nkeys = (int) SPI_processed;
	keys = palloc(sizeof(char *) * (*nkeys + 1));
	for (int i = 0; i < *nkeys; i++)
		keys[i] = pstrdup(SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
	SPI_freetuptable(SPI_tuptable);
	return keys;
}

/* The list of problems as a text array, one JSON object a member. */
static Datum
problem_array(CapiEvent *event)
{
	Datum		json = DirectFunctionCall1(jsonb_in,
										   CStringGetDatum(psprintf("[%s]",
																	event->problems.data != NULL ?
																	event->problems.data : "")));
	Jsonb	   *list = DatumGetJsonbP(json);
	int			n = JB_ROOT_COUNT(list);
	Datum	   *texts = palloc(sizeof(Datum) * (n + 1));

	for (int i = 0; i < n; i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(&list->root, i);
		Jsonb	   *member = JsonbValueToJsonb(value);

		texts[i] = CStringGetTextDatum(JsonbToCString(NULL, &member->root, 0));
	}
	return PointerGetDatum(construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
put_row(ReturnSetInfo *result, const CapiSource *source, char *key,
		CapiQueryRow *row)
{
	int64		now_s = GetCurrentTimestamp() / USECS_PER_SEC +
		(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
	CapiEvent  *event = &row->event;
	const char *outcome;
	const char *reason = NULL;
	Datum		values[5] = {0};
	bool		nulls[5] = {false, false, true, true, false};
	StringInfoData json;

	initStringInfo(&json);
	if (row->found == 1 && row->ignore_reason == NULL)
	{
		capi_query_defaults(event, source, key);
		capi_payload_event(event, now_s, &json);
		outcome = event->verdict == CAPI_VERDICT_SEND ? "delivered" :
			event->verdict == CAPI_VERDICT_EXPIRED ? "expired" : "rejected";
		if (event->verdict != CAPI_VERDICT_SEND)
			reason = event->reason;
	}
	else if (row->found > 1)
	{
		outcome = "rejected";
		reason = "several_rows";
	}
	else
	{
		outcome = "ignored";
		reason = row->found == 0 ? "not returned by the query" : row->ignore_reason;
	}
	values[0] = CStringGetTextDatum(key);
	values[1] = CStringGetTextDatum(outcome);
	nulls[2] = reason == NULL;
	if (reason != NULL)
		values[2] = CStringGetTextDatum(reason);
	nulls[3] = json.len == 0;
	if (json.len > 0)
		values[3] = DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
	values[4] = problem_array(event);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}
