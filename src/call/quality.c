/*
 * quality.c
 *		capi.match_quality(): how many orders have each match key in a usable
 *		form, so that its lack shows before the first event is sent.  For the
 *		report the same of a sample, between two times.
 *
 * Runs the source's query as the caller (caller.c); reads only.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "base/capi.h"
#include "read/caller.h"

/* A sample of the newest is as good as all of them. */
#define MAX_ORDERS			100000

/* Kinds of problems told apart for one field. */
#define MAX_PROBLEMS		8

typedef struct FieldCount
{
	int64		given;			/* orders with a value */
	int64		usable;			/* orders of which something good is sent */
	bool		usable_now;		/* the same of the order at hand */
	const char *problem[MAX_PROBLEMS];	/* static texts */
	int64		times[MAX_PROBLEMS];
} FieldCount;

typedef struct Quality
{
	int64		orders;
	FieldCount	fields[CAPI_FIELD_COUNT];
} Quality;

/* Keys that Meta matches by (SPEC 3.2), shown also when no order has them. */
static const CapiField usual_keys[] = {
	CAPI_FIELD_EM, CAPI_FIELD_PH, CAPI_FIELD_FN, CAPI_FIELD_LN,
	CAPI_FIELD_CT, CAPI_FIELD_ST, CAPI_FIELD_ZP, CAPI_FIELD_COUNTRY,
	CAPI_FIELD_EXTERNAL_ID, CAPI_FIELD_CLIENT_IP_ADDRESS,
	CAPI_FIELD_CLIENT_USER_AGENT, CAPI_FIELD_FBC, CAPI_FIELD_FBP
};

PG_FUNCTION_INFO_V1(capi_sql_match_quality);
PG_FUNCTION_INFO_V1(capi_sql_match_coverage);

static void count_orders(CapiCaller *reader, char **keys, int n, Quality *quality);
static void put_rows(ReturnSetInfo *result, Quality *quality);

/* A function whose first argument is a source; of its orders the newest. */
static void
measure(FunctionCallInfo fcinfo, TimestampTz since, TimestampTz until, int max)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext chunk;
	Quality    *quality = palloc0(sizeof(Quality));
	CapiCaller	reader;
	char	  **keys;
	int			nkeys;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	MemoryContextSwitchTo(caller);
	capi_caller_open(&reader, fcinfo, 0);
	keys = capi_caller_keys(&reader, since, until, max, &nkeys);
	chunk = AllocSetContextCreate(caller, "capi match quality", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(chunk);
	for (int at = 0; at < nkeys; at += CAPI_MAX_BATCH_EVENTS)
	{
		CHECK_FOR_INTERRUPTS();
		count_orders(&reader, keys + at, Min(nkeys - at, CAPI_MAX_BATCH_EVENTS), quality);
		MemoryContextReset(chunk);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(chunk);
	put_rows((ReturnSetInfo *) fcinfo->resultinfo, quality);
	capi_caller_close(&reader);
	SPI_finish();
}

/*
 * capi.match_quality(source text, since timestamptz): one row per match key.
 * Of the orders since then, at most the newest hundred thousand.
 */
Datum
capi_sql_match_quality(PG_FUNCTION_ARGS)
{
	measure(fcinfo, PG_ARGISNULL(1) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(1),
			DT_NOEND, MAX_ORDERS);
	return (Datum) 0;
}

/* capi._match_coverage(source text, since timestamptz, until timestamptz, max_orders int) */
Datum
capi_sql_match_coverage(PG_FUNCTION_ARGS)
{
	measure(fcinfo, PG_ARGISNULL(1) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(1),
			PG_ARGISNULL(2) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(2),
			PG_ARGISNULL(3) ? MAX_ORDERS : Min(PG_GETARG_INT32(3), MAX_ORDERS));
	return (Datum) 0;
}

/* CapiValueObserver; arg: the counts of all fields. */
static void
note_value(void *arg, int field, const char *raw, const char *normal,
		   const char *sent, const char *problem)
{
	FieldCount *count = &((Quality *) arg)->fields[field];

	if (problem == NULL)
	{
		count->usable_now |= sent != NULL;
		return;
	}
	for (int i = 0; i < MAX_PROBLEMS; i++)
	{
		if (count->problem[i] != NULL && strcmp(count->problem[i], problem) != 0)
			continue;
		count->problem[i] = problem;
		count->times[i]++;
		return;
	}
}

static void
count_orders(CapiCaller *reader, char **keys, int n, Quality *quality)
{
	CapiOrder *rows = palloc0(sizeof(CapiOrder) * n);
	StringInfoData json;

	capi_caller_rows(reader, keys, n, rows);
	initStringInfo(&json);
	for (int i = 0; i < n; i++)
	{
		CapiEvent  *event = &rows[i].event;
		const char *reason;

		if (rows[i].found != 1 || rows[i].ignore_reason != NULL)
			continue;
		quality->orders++;
		event->observer = note_value;
		event->observer_arg = quality;
		/* old orders say as much about the shop's data as new ones */
		event->unchecked = true;
		resetStringInfo(&json);
		(void) capi_caller_judge(reader, keys[i], &rows[i], &json, &reason);
		for (int f = 0; f < CAPI_FIELD_COUNT; f++)
		{
			quality->fields[f].given += event->values[f].n > 0;
			quality->fields[f].usable += quality->fields[f].usable_now;
			quality->fields[f].usable_now = false;
		}
	}
}

static const char *
most_frequent_problem(const FieldCount *count)
{
	int			best = 0;

	for (int i = 1; i < MAX_PROBLEMS; i++)
		if (count->times[i] > count->times[best])
			best = i;
	return count->problem[best];
}

/* usable / orders with four decimals. */
static Datum
share(int64 usable, int64 orders)
{
	Datum		ratio = DirectFunctionCall2(numeric_div,
											NumericGetDatum(int64_to_numeric(usable)),
											NumericGetDatum(int64_to_numeric(orders)));

	return DirectFunctionCall2(numeric_round, ratio, Int32GetDatum(4));
}

static void
put_rows(ReturnSetInfo *result, Quality *quality)
{
	for (int f = CAPI_FIELD_FIRST_USER_DATA; f < CAPI_FIELD_FIRST_CUSTOM_DATA; f++)
	{
		FieldCount *count = &quality->fields[f];
		const char *problem = most_frequent_problem(count);
		bool		wanted = count->given > 0;
		Datum		values[6];
		bool		nulls[6] = {false};

		for (int i = 0; i < (int) lengthof(usual_keys); i++)
			wanted |= (int) usual_keys[i] == f;
		if (!wanted)
			continue;
		values[0] = CStringGetTextDatum(capi_field_info(f)->name);
		values[1] = Int64GetDatum(quality->orders);
		values[2] = Int64GetDatum(count->given);
		values[3] = Int64GetDatum(count->usable);
		nulls[4] = quality->orders == 0;
		values[4] = nulls[4] ? (Datum) 0 : share(count->usable, quality->orders);
		nulls[5] = problem == NULL;
		values[5] = nulls[5] ? (Datum) 0 : CStringGetTextDatum(problem);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}
