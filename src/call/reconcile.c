/*
 * reconcile.c
 *		capi.reconcile(), capi.missing_orders(), capi.drift() and the view
 *		capi.reconciliation: do my orders and what was sent agree?
 *
 * The source's query runs as the caller (read/orders.c), capi's own tables are
 * read as the owner of the extension (store/ledger.c), all in one snapshot.
 * Writes nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/attempt.h"
#include "base/capi.h"
#include "base/entry.h"
#include "call/reconcile.h"
#include "read/orders.h"
#include "store/bucket.h"

PG_FUNCTION_INFO_V1(capi_sql_reconcile);
PG_FUNCTION_INFO_V1(capi_sql_reconciliation);
PG_FUNCTION_INFO_V1(capi_sql_missing_orders);
PG_FUNCTION_INFO_V1(capi_sql_drift);

void
capi_reconcile_check_range(bool no_since, TimestampTz since, bool no_until,
						   TimestampTz until)
{
	if (no_since || no_until)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("since and until must not be null"),
				 errhint("Write -infinity for the beginning of time.")));
	if (since > until)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("since is later than until"),
				 errdetail("Orders count whose time is from since until, which itself is not in it."),
				 errhint("Exchange the two.")));
}

void
capi_reconcile(CapiCaller *reader, CapiLedger *ledger, Tuplestorestate *result,
			   TupleDesc desc)
{
	CapiOwnerScope scope;
	bool		has_query = !reader->source->is_direct;

	ledger->source_id = reader->source->id;
	ledger->key_type = reader->source->key_type;
	ledger->orders = capi_ledger_orders();
	ledger->orders->with_raw_keys = ledger->kind == CAPI_LEDGER_BACKFILL ||
		ledger->kind == CAPI_LEDGER_MISSING;
	ledger->elsewhere = capi_ledger_orders();
	capi_ledger_begin(reader->owner);
	if (has_query)
		capi_orders_add_window(ledger->orders, reader, ledger->since, ledger->until);
	capi_enter_owner(reader->owner, &scope);
	capi_ledger_look(ledger);
	capi_leave_owner(&scope);
	if (has_query)
		capi_orders_add_keys(ledger->elsewhere, reader, capi_ledger_strays, ledger);
	capi_enter_owner(reader->owner, &scope);
	capi_ledger_settle(ledger, result, desc);
	capi_leave_owner(&scope);
	capi_ledger_end();
	tuplestore_end(ledger->orders->rows);
	tuplestore_end(ledger->elsewhere->rows);
	tuplestore_end(ledger->known->rows);
}

/* A function whose arguments begin with source, since and until. */
static void
answer(FunctionCallInfo fcinfo, CapiLedger *ledger)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext caller = CurrentMemoryContext;
	CapiCaller	reader;

	ledger->since = PG_ARGISNULL(1) ? 0 : PG_GETARG_TIMESTAMPTZ(1);
	ledger->until = PG_ARGISNULL(2) ? 0 : PG_GETARG_TIMESTAMPTZ(2);
	capi_reconcile_check_range(PG_ARGISNULL(1), ledger->since,
							   PG_ARGISNULL(2), ledger->until);
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	MemoryContextSwitchTo(caller);
	capi_caller_open(&reader, fcinfo, 0);
	capi_reconcile(&reader, ledger, result->setResult, result->setDesc);
	capi_caller_close(&reader);
	SPI_finish();
}

/* capi.reconcile(source text, since timestamptz, until timestamptz, bucket interval) */
Datum
capi_sql_reconcile(PG_FUNCTION_ARGS)
{
	CapiLedger	ledger = {.kind = CAPI_LEDGER_SUMS};

	if (PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("bucket must not be null"),
				 errhint("Leave it out to have a row for each day.")));
	ledger.bucket = *PG_GETARG_INTERVAL_P(3);
	if (!capi_bucket_is_usable(&ledger.bucket))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown bucket"),
				 errdetail("A bucket is a length of time of a minute to a day, or of whole days, or of whole months."),
				 errhint("For example 15 minutes, 6 hours, 1 day, 1 week, 1 month or 1 year.")));
	answer(fcinfo, &ledger);
	return (Datum) 0;
}

/* capi.missing_orders(source text, since timestamptz, until timestamptz) */
Datum
capi_sql_missing_orders(PG_FUNCTION_ARGS)
{
	CapiLedger	ledger = {.kind = CAPI_LEDGER_MISSING};

	answer(fcinfo, &ledger);
	return (Datum) 0;
}

/* capi.drift(source text, since timestamptz, until timestamptz) */
Datum
capi_sql_drift(PG_FUNCTION_ARGS)
{
	CapiLedger	ledger = {.kind = CAPI_LEDGER_DRIFT};

	answer(fcinfo, &ledger);
	return (Datum) 0;
}

/* ---------- all sources ---------- */

/* What count_source() works on. */
typedef struct SourceCount
{
	CapiCaller *reader;
	CapiLedger	ledger;
	Tuplestorestate *rows;
	TupleDesc	desc;			/* of capi.reconcile() */
} SourceCount;

/* Step for capi_attempt_error(), which leaves nothing of it when it fails. */
static void
count_source(void *arg)
{
	SourceCount *count = arg;

	SPI_connect();
	capi_reconcile(count->reader, &count->ledger, count->rows, count->desc);
	SPI_finish();
}

/* Columns of the view: the source, those of capi.reconcile(), the reason. */
static TupleDesc
inner_desc(TupleDesc outer)
{
	TupleDesc	desc = CreateTemplateTupleDesc(outer->natts - 2);

	for (int i = 0; i < desc->natts; i++)
		TupleDescCopyEntry(desc, i + 1, outer, i + 2);
	return desc;
}

static void
put_source(ReturnSetInfo *result, const char *name, const SourceCount *count,
		   const char *reason)
{
	int			n = result->setDesc->natts;
	Datum	   *values = palloc0(sizeof(Datum) * n);
	bool	   *nulls = palloc(sizeof(bool) * n);
	TupleTableSlot *slot;

	memset(nulls, true, sizeof(bool) * n);
	values[0] = CStringGetTextDatum(name);
	nulls[0] = false;
	if (reason != NULL)
	{
		values[n - 1] = CStringGetTextDatum(reason);
		nulls[n - 1] = false;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		return;
	}
	slot = MakeSingleTupleTableSlot(count->desc, &TTSOpsMinimalTuple);
	while (tuplestore_gettupleslot(count->rows, true, false, slot))
	{
		slot_getallattrs(slot);
		memcpy(values + 1, slot->tts_values, sizeof(Datum) * count->desc->natts);
		memcpy(nulls + 1, slot->tts_isnull, sizeof(bool) * count->desc->natts);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	ExecDropSingleTupleTableSlot(slot);
}

static void
reconcile_source(ReturnSetInfo *result, CapiCaller *reader, TimestampTz now)
{
	SourceCount count = {
		.reader = reader,
		.ledger = {
			.kind = CAPI_LEDGER_SUMS, .since = now - 7 * USECS_PER_DAY, .until = now,
			.bucket = {.day = 1}
		},
		.rows = tuplestore_begin_heap(false, false, work_mem),
		.desc = inner_desc(result->setDesc)
	};
	const char *name = pstrdup(reader->source->name);
	ErrorData  *error = capi_attempt_error(count_source, &count);

	/* its words may quote an order, like those a reader is told */
	put_source(result, name, &count,
			   error != NULL ? capi_query_error_text(error, true) : NULL);
	tuplestore_end(count.rows);
}

/*
 * capi._reconciliation(): the last seven days of each source.  One whose query
 * fails has its reason instead, and does not keep the others from being shown.
 */
Datum
capi_sql_reconciliation(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext caller = CurrentMemoryContext;
	CapiCaller	reader = {.owner = capi_function_owner(fcinfo->flinfo->fn_oid)};
	CapiOwnerScope scope;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	MemoryContextSwitchTo(caller);
	capi_enter_owner(reader.owner, &scope);
	reader.config = capi_config_read(false);
	capi_leave_owner(&scope);
	SPI_finish();
	for (int i = 0; i < reader.config->nsources; i++)
	{
		reader.source = &reader.config->sources[i];
		if (reader.source->detached)
			continue;
		capi_caller_set_role(reader.source);
		reconcile_source(result, &reader, GetCurrentTransactionStartTimestamp());
	}
	capi_config_free(reader.config);
	return (Datum) 0;
}
