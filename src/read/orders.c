/*
 * orders.c
 *		Runs a source's query over a range of time, or for some keys, as the
 *		caller (caller.c), and keeps of each order what a count needs.
 *
 * No other column of the query is computed (needed.c).  Amounts and currencies
 * become what would be sent, by the rules of event/, so that they compare with
 * what was sent.  Reads only.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/plancache.h"
#include "utils/timestamp.h"

#include "base/attempt.h"
#include "base/capi.h"
#include "base/encoding.h"
#include "base/key.h"
#include "event/currency.h"
#include "event/decimal.h"
#include "event/normalize.h"
#include "read/needed.h"
#include "read/orders.h"

/* Keys that are asked for in one statement. */
#define KEYS_AT_ONCE	1000

/* Receives the rows of the statement; its columns are those of an order. */
typedef struct OrderReceiver
{
	DestReceiver pub;
	CapiRows   *orders;
	int			minor_units;
	MemoryContext row;			/* what one row needs */
	StringInfoData scratch;
	bool		has_numbers;	/* amounts are numbers already */
	StringInfoData raw_currency;	/* as the last order had it, */
	StringInfoData currency;	/* and as it is sent; empty: not usable */
} OrderReceiver;

/* The statement under construction. */
typedef struct Statement
{
	const CapiSource *source;
	char	   *query;
	TupleDesc	desc;			/* of the query */
	StringInfoData sql;
} Statement;

/* ---------- rows ---------- */

/* Longest number that is passed on without a look at its digits. */
#define SHORT_NUMBER	32

/* Decimals beyond these are shown only where they are not zero. */
#define MAX_SCALE		4

/* Normal form of a text, in scratch; false if it has none. */
static bool
normal_form(OrderReceiver *r, char *raw, int field)
{
	const char *problem;

	resetStringInfo(&r->scratch);
	return capi_normalize(field, capi_to_utf8(raw), NULL,
						  &r->scratch, &problem);
}

/* Most orders have that of the order before. */
static void
read_currency(OrderReceiver *r, Datum value)
{
	text	   *raw = DatumGetTextPP(value);
	int			len = VARSIZE_ANY_EXHDR(raw);

	if (len == r->raw_currency.len && memcmp(VARDATA_ANY(raw), r->raw_currency.data, len) == 0)
		return;
	resetStringInfo(&r->raw_currency);
	appendBinaryStringInfo(&r->raw_currency, VARDATA_ANY(raw), len);
	resetStringInfo(&r->currency);
	if (normal_form(r, text_to_cstring(raw), CAPI_FIELD_CURRENCY))
		appendBinaryStringInfo(&r->currency, r->scratch.data, r->scratch.len);
}

/* The amount as it would be sent; the currency says how many decimals it hides. */
static bool
read_value(OrderReceiver *r, Datum *value, const char *currency)
{
	int			digits = r->minor_units;
	char	   *raw;

	if (r->has_numbers)
	{
		Numeric		number = DatumGetNumeric(*value);

		if (VARSIZE_ANY(number) <= SHORT_NUMBER && !numeric_is_nan(number) && !numeric_is_inf(number))
		{
			*value = NumericGetDatum(number);
			/* cents / 100.0 have sixteen decimals */
			if (DatumGetInt32(DirectFunctionCall1(numeric_scale, *value)) > MAX_SCALE)
				*value = DirectFunctionCall1(numeric_trim_scale, *value);
			return true;
		}
		raw = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));
	}
	else
		raw = TextDatumGetCString(*value);
	if (!normal_form(r, raw, CAPI_FIELD_VALUE))
		return false;
	if (digits == CAPI_MINOR_BY_CURRENCY)
		digits = Max(capi_currency_exponent(currency), 0);
	if (digits > 0)
		capi_decimal_shift(&r->scratch, 0, digits);
	*value = DirectFunctionCall3(numeric_in, CStringGetDatum(r->scratch.data),
								 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	return true;
}

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	OrderReceiver *r = (OrderReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(r->row);
	Datum		values[ORDER_COLUMNS];
	bool		nulls[ORDER_COLUMNS];
	const char *currency = "";

	slot_getallattrs(slot);
	memcpy(values, slot->tts_values, sizeof(values));
	memcpy(nulls, slot->tts_isnull, sizeof(nulls));
	if (!nulls[ORDER_CURRENCY])
	{
		read_currency(r, values[ORDER_CURRENCY]);
		currency = r->currency.data;
	}
	nulls[ORDER_CURRENCY] = currency[0] == '\0';
	if (currency[0] != '\0')
		values[ORDER_CURRENCY] = CStringGetTextDatum(currency);
	/* a time that cannot be sent is none (row.c) */
	nulls[ORDER_AT] = nulls[ORDER_AT] ||
		TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(values[ORDER_AT]));
	nulls[ORDER_VALUE] = nulls[ORDER_VALUE] ||
		!read_value(r, &values[ORDER_VALUE], currency);
	tuplestore_putvalues(r->orders->rows, r->orders->desc, values, nulls);
	r->orders->n++;
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->row);
	return true;
}

static void
start_up(DestReceiver *self, int operation, TupleDesc desc)
{
	((OrderReceiver *) self)->has_numbers = TupleDescAttr(desc, ORDER_VALUE)->atttypid == NUMERICOID;
}

static void
shut_down(DestReceiver *self)
{
}

/* Between enter and leave. */
static void
run(CapiRows *orders, const CapiSource *source, const char *sql,
	Oid argtype, Datum arg)
{
	OrderReceiver r = {
		.pub = {receive, start_up, shut_down, shut_down, DestTuplestore},
		.orders = orders, .minor_units = source->minor_units
	};
	SPIExecuteOptions options = {.read_only = true, .dest = &r.pub};
	MemoryContext context = CurrentMemoryContext;
	SPIPlanPtr	plan = SPI_prepare(sql, OidIsValid(argtype) ? 1 : 0, &argtype);

	if (plan == NULL)
		elog(ERROR, "could not prepare the query of a source");
	/* SPI leaves that of its connection, which lasts longer */
	MemoryContextSwitchTo(context);
	initStringInfo(&r.scratch);
	initStringInfo(&r.raw_currency);
	initStringInfo(&r.currency);
	r.row = AllocSetContextCreate(CurrentMemoryContext, "capi row of an order",
								  ALLOCSET_DEFAULT_SIZES);
	if (OidIsValid(argtype))
	{
		options.params = makeParamList(1);
		options.params->params[0].value = arg;
		options.params->params[0].isnull = false;
		options.params->params[0].pflags = PARAM_FLAG_CONST;
		options.params->params[0].ptype = argtype;
	}
	if (capi_needed_execute(plan, &options) != SPI_OK_SELECT)
		elog(ERROR, "could not run the query of a source");
	SPI_freeplan(plan);
	MemoryContextDelete(r.row);
}

/* ---------- the statement ---------- */

/* Type of a column of the query, InvalidOid if it has none of that name. */
static Oid
column_type(const Statement *s, const char *name)
{
	for (int i = 0; i < s->desc->natts; i++)
		if (strcmp(NameStr(TupleDescAttr(s->desc, i)->attname), name) == 0)
			return getBaseType(TupleDescAttr(s->desc, i)->atttypid);
	return InvalidOid;
}

static void
append_text(Statement *s, const char *name)
{
	Oid			type = column_type(s, name);

	if (!OidIsValid(type))
		appendStringInfoString(&s->sql, ", NULL::pg_catalog.text");
	else if (type == JSONBOID)
		/* a JSON string is meant as its text, without the quotes */
		appendStringInfo(&s->sql, ", q.%s OPERATOR(pg_catalog.#>>) '{}'", name);
	else
		appendStringInfo(&s->sql, ", q.%s::pg_catalog.text", name);
}

/* Numbers need no reading when they are sent as they are. */
static void
append_value(Statement *s)
{
	switch (column_type(s, "value"))
	{
		case NUMERICOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
			if (s->source->minor_units == CAPI_MINOR_NONE)
			{
				appendStringInfoString(&s->sql, ", q.value::pg_catalog.numeric");
				break;
			}
			/* FALLTHROUGH */
		default:
			append_text(s, "value");
	}
}

/* SELECT the columns of an order FROM the query AS q WHERE it has a key */
static void
begin_statement(Statement *s, const CapiSource *source, bool with_raw_keys)
{
	/* as the type prints it, which is what the trigger writes */
	const char *key = "pg_catalog.concat(q.key)";

	SPIPlanPtr	plan;
	CachedPlanSource *cached;

	s->source = source;
	s->query = capi_query_single_select(source->query);
	plan = SPI_prepare(capi_query_statement(s->query, NULL), 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare the query of a source");
	cached = linitial(SPI_plan_get_plan_sources(plan));
	s->desc = CreateTupleDescCopy(cached->resultDesc);
	SPI_freeplan(plan);
	initStringInfo(&s->sql);
	appendStringInfo(&s->sql, "SELECT %s, %s::pg_catalog.timestamptz",
					 capi_ledger_key_sql(source->key_type, key),
					 capi_query_time_sql(source, s->query));
	append_value(s);
	append_text(s, "currency");
	appendStringInfoString(&s->sql, OidIsValid(column_type(s, "ignore_reason")) ?
						   ", q.ignore_reason IS NOT NULL" : ", false");
	append_text(s, "action_source");
	appendStringInfo(&s->sql, ", %s", with_raw_keys ? key : "NULL::pg_catalog.text");
	appendStringInfo(&s->sql, " FROM (%s\n) AS q WHERE q.key IS NOT NULL", s->query);
}

/* A time as the server writes it under the settings of the query. */
static char *
literal(TimestampTz at)
{
	return psprintf("'%s'::pg_catalog.timestamptz",
					DatumGetCString(DirectFunctionCall1(timestamptz_out,
														TimestampTzGetDatum(at))));
}

/* Bounds on a column of numbers, of which so many are a second. */
static void
append_number_bounds(Statement *s, TimestampTz since, TimestampTz until, int units)
{
	/* without quotes: they may be beyond the column's own type */
	appendStringInfoString(&s->sql, "(true");
	if (!TIMESTAMP_NOT_FINITE(since))
		appendStringInfo(&s->sql, " AND q.event_time OPERATOR(pg_catalog.>=) (" INT64_FORMAT ")",
						 ((int64) timestamptz_to_time_t(since) - 1) * units);
	if (!TIMESTAMP_NOT_FINITE(until))
		appendStringInfo(&s->sql, " AND q.event_time OPERATOR(pg_catalog.<) (" INT64_FORMAT ")",
						 ((int64) timestamptz_to_time_t(until) + 1) * units);
	appendStringInfoChar(&s->sql, ')');
}

/* A time without zone may be an hour or two off around a change of summer time. */
static void
append_naive_bound(Statement *s, const char *operator, TimestampTz at, int slack)
{
	if (!TIMESTAMP_NOT_FINITE(at))
		appendStringInfo(&s->sql, " AND q.event_time OPERATOR(pg_catalog.%s)"
						 " (pg_catalog.timezone(%s, %s) + '%d day')", operator,
						 quote_literal_cstr(s->source->time_zone != NULL ? s->source->time_zone : "UTC"),
						 literal(at), slack);
}

/*
 * The window on the column as it is, so that its index can be used, besides the
 * exact one.
 */
static void
append_window(Statement *s, TimestampTz since, TimestampTz until)
{
	Oid			type = column_type(s, "event_time");
	char	   *time = capi_query_time_sql(s->source, s->query);

	appendStringInfo(&s->sql, " AND %s OPERATOR(pg_catalog.>=) %s"
					 " AND %s OPERATOR(pg_catalog.<) %s", time, literal(since), time, literal(until));
	if (type == TIMESTAMPOID)
	{
		append_naive_bound(s, ">=", since, -1);
		append_naive_bound(s, "<", until, 1);
	}
	else if (type != TIMESTAMPTZOID)
	{
		appendStringInfoString(&s->sql, " AND (");
		append_number_bounds(s, since, until, 1);
		appendStringInfoString(&s->sql, " OR ");
		append_number_bounds(s, since, until, 1000);
		appendStringInfoChar(&s->sql, ')');
	}
}

void
capi_orders_add_window(CapiRows *orders, CapiCaller *reader,
					   TimestampTz since, TimestampTz until)
{
	MemoryContext context = CurrentMemoryContext;
	CapiSource *source = reader->source;
	CapiQueryScope scope;
	Statement	s;

	capi_query_enter(&scope, source->run_as, source->search_path);
	capi_query_use_key_settings(source);
	begin_statement(&s, source, orders->with_raw_keys);
	append_window(&s, since, until);
	run(orders, source, s.sql.data, InvalidOid, (Datum) 0);
	capi_query_leave(&scope);
	MemoryContextSwitchTo(context);
}

/* ---------- by key ---------- */

/* What look_up() works on. */
typedef struct KeyInput
{
	const CapiSource *source;
	char	  **keys;
	int			n;
	char	   *condition;
	Datum		array;
	Oid			argtype;
} KeyInput;

/* Step for capi_attempt(). */
static void
read_keys(void *arg)
{
	KeyInput   *in = arg;

	in->condition = capi_query_key_condition(in->source, in->keys, in->n, &in->array,
											 &in->argtype);
}

/*
 * Keys that were captured when the table's had another type may be no values of
 * the present one, which the query cannot return then.
 */
static void
keep_readable(KeyInput *in)
{
	char	  **all = in->keys;
	int			n = in->n;
	int			kept = 0;

	if (capi_attempt(read_keys, in) == NULL)
		return;
	in->n = 1;
	for (int i = 0; i < n; i++)
	{
		in->keys = &all[i];
		if (capi_attempt(read_keys, in) == NULL)
			all[kept++] = all[i];
	}
	in->keys = all;
	in->n = kept;
	read_keys(in);
}

void
capi_orders_add_keys(CapiRows *orders, CapiCaller *reader, CapiKeySupply next_keys,
					 void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext batch = AllocSetContextCreate(context, "capi keys of a count",
												ALLOCSET_DEFAULT_SIZES);
	char	  **keys = palloc(sizeof(char *) * KEYS_AT_ONCE);
	int			n;
	CapiSource *source = reader->source;
	CapiQueryScope scope;
	Statement	s;

	capi_query_enter(&scope, source->run_as, source->search_path);
	capi_query_use_key_settings(source);
	begin_statement(&s, source, orders->with_raw_keys);
	MemoryContextSwitchTo(batch);
	while ((n = next_keys(arg, keys, KEYS_AT_ONCE)) > 0)
	{
		KeyInput	in = {.source = source, .keys = keys, .n = n};

		CHECK_FOR_INTERRUPTS();
		keep_readable(&in);
		run(orders, source, psprintf("%s AND %s", s.sql.data, in.condition),
			in.argtype, in.array);
		MemoryContextSwitchTo(batch);
		MemoryContextReset(batch);
	}
	capi_query_leave(&scope);
	MemoryContextSwitchTo(context);
	MemoryContextDelete(batch);
}
