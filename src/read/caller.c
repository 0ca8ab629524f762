/*
 * caller.c
 *		Reads orders through a source's query as the caller, not as the
 *		source's role: who may not read the shop's tables sees nothing of them.
 *		Only for a superuser, who sees all, it is the source's role: what a
 *		query calls must gain nothing by it.
 *
 * Sends nothing and writes nothing.  The configuration and the browser
 * contexts are read as the owner of the extension.  Called by preview.c,
 * quality.c and pixel.c.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/capi.h"
#include "base/encoding.h"
#include "base/entry.h"
#include "base/nearest.h"
#include "base/txn.h"
#include "event/payload.h"
#include "read/caller.h"
#include "store/context.h"
#include "store/item.h"

static void
unknown_source(CapiConfig *config, const char *name)
{
	const char **known = palloc(sizeof(char *) * (config->nsources + 1));
	const char *nearest;
	bool		was_detached = false;
	int			n = 0;

	for (int i = 0; i < config->nsources; i++)
		if (!config->sources[i].detached)
			known[n++] = pstrdup(config->sources[i].name);
		else if (strcmp(config->sources[i].name, name) == 0)
			was_detached = true;
	nearest = capi_nearest(name, known, n);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("source \"%s\" does not exist", name),
			 was_detached ? errdetail("It was detached; what became of its orders is in capi.delivery_status.") : 0,
			 nearest != NULL ? errhint("Perhaps you meant \"%s\".", nearest) :
			 errhint("The sources are listed in capi.source_status.")));
}

void
capi_caller_set_role(CapiSource *source)
{
	if (!superuser())
		source->run_as = GetUserId();
}

void
capi_caller_open(CapiCaller *reader, FunctionCallInfo fcinfo, int argno)
{
	char	   *name;
	CapiOwnerScope scope;

	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("source must not be null"),
				 errhint("The sources are listed in capi.source_status.")));
	name = text_to_cstring(PG_GETARG_TEXT_PP(argno));
	reader->owner = capi_function_owner(fcinfo->flinfo->fn_oid);
	capi_enter_owner(reader->owner, &scope);
	reader->config = capi_config_read(false);
	capi_leave_owner(&scope);
	reader->source = NULL;
	for (int i = 0; i < reader->config->nsources; i++)
		if (strcmp(reader->config->sources[i].name, name) == 0 &&
			!reader->config->sources[i].detached)
			reader->source = &reader->config->sources[i];
	if (reader->source == NULL)
		unknown_source(reader->config, name);
	capi_caller_set_role(reader->source);
}

void
capi_caller_close(CapiCaller *reader)
{
	capi_config_free(reader->config);
}

char **
capi_caller_keys(CapiCaller *reader, TimestampTz since, TimestampTz until, int max,
				 int *nkeys)
{
	MemoryContext caller = CurrentMemoryContext;
	CapiSource *source = reader->source;
	CapiQueryScope scope;
	Oid			types[2] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		args[2] = {TimestampTzGetDatum(since), TimestampTzGetDatum(until)};
	bool		bounded = since != DT_NOBEGIN || until != DT_NOEND;
	char	  **keys;
	char	   *sql;
	char	   *query = capi_query_single_select(source->query);
	const char *window = "";

	if (bounded)
	{
		const char *at = capi_query_time_sql(source, query);

		window = psprintf(" AND %s OPERATOR(pg_catalog.>=) $1"
						  " AND %s OPERATOR(pg_catalog.<) $2", at, at);
	}
	sql = psprintf("SELECT q.key FROM (%s\n) AS q WHERE q.key IS NOT NULL%s"
				   " ORDER BY q.event_time DESC NULLS LAST LIMIT %d", query,
				   window, max);
	capi_query_enter(&scope, source->run_as, source->search_path);
	capi_query_use_key_settings(source);
	if (capi_txn_execute_with_args(sql, bounded ? 2 : 0, types, args, NULL, true, 0)
		!= SPI_OK_SELECT)
		elog(ERROR, "could not run the query of a source");
	MemoryContextSwitchTo(caller);
	*nkeys = (int) SPI_processed;
	keys = palloc(sizeof(char *) * (*nkeys + 1));
	for (int i = 0; i < *nkeys; i++)
	{
		CHECK_FOR_INTERRUPTS();
		keys[i] = pstrdup(SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
	}
	SPI_freetuptable(SPI_tuptable);
	capi_query_leave(&scope);
	return keys;
}

/* CapiOrderTaker; arg: the orders of all keys. */
static void
collect(void *arg, int at, CapiOrder *order)
{
	CapiOrder  *rows = arg;

	if (order->found == 1)
		rows[at] = *order;
	rows[at].found = order->found;
}

void
capi_caller_rows(CapiCaller *reader, char **keys, int nkeys, CapiOrder *rows)
{
	char	  **known = palloc(sizeof(char *) * (nkeys + 1));
	CapiOwnerScope scope;
	CapiContext *contexts;

	memset(rows, 0, sizeof(CapiOrder) * nkeys);
	capi_query_each(reader->source, keys, nkeys, false, CurrentMemoryContext,
					collect, rows);
	/* who asks for 007 means the order that is known as 7 */
	for (int i = 0; i < nkeys; i++)
		known[i] = rows[i].key != NULL ? unconstify(char *, rows[i].key) : keys[i];
	capi_enter_owner(reader->owner, &scope);
	contexts = capi_context_read(reader->source, known, nkeys);
	capi_leave_owner(&scope);
	for (int i = 0; contexts != NULL && i < nkeys; i++)
		capi_context_complete(&contexts[i], &rows[i]);
}

const char *
capi_caller_judge(CapiCaller *reader, const char *key, CapiOrder *row,
				  StringInfo out, const char **reason)
{
	int64		now_s = timestamptz_to_time_t(GetCurrentTimestamp());
	CapiEvent  *event = &row->event;

	/* one order may have much to normalise and to hash */
	CHECK_FOR_INTERRUPTS();
	*reason = row->found == 0 ? CAPI_REASON_MISSING : row->ignore_reason;
	if (*reason != NULL)
		return "ignored";
	if (row->found > 1)
	{
		*reason = "several_rows";
		return "rejected";
	}
	if (row->dataset != NULL &&
		capi_config_dataset_by_name(reader->config, capi_from_utf8(row->dataset)) == NULL)
	{
		*reason = CAPI_REASON_UNKNOWN_DATASET;
		return "queued";
	}
	capi_query_defaults(event, reader->source, capi_to_utf8(row->key != NULL ? row->key : key));
	capi_payload_event(event, now_s, out);
	if (event->verdict == CAPI_VERDICT_SEND &&
		event->event_time_s - now_s > CAPI_CLOCK_TOLERANCE_S)
	{
		*reason = "in_the_future";
		return "held";
	}
	if (event->verdict == CAPI_VERDICT_SEND)
		return "delivered";
	*reason = event->reason;
	return event->verdict == CAPI_VERDICT_EXPIRED ? "expired" : "rejected";
}
