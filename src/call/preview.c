/*
 * preview.c
 *		capi.preview(): what would be sent for real orders, without sending.
 *
 * Runs the source's query as the caller (caller.c), so raw values show only to
 * who may read the shop's tables.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "parser/parse_func.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/attempt.h"
#include "base/capi.h"
#include "base/encoding.h"
#include "base/entry.h"
#include "event/event.h"
#include "event/text.h"
#include "read/caller.h"

#define MAX_PREVIEW_ROWS	1000

/* Columns of the result. */
enum
{
	P_ORDER_KEY, P_OUTCOME, P_REASON, P_EVENT, P_PROBLEMS, P_FIELDS, P_COLUMNS
};

PG_FUNCTION_INFO_V1(capi_sql_preview);

/* How many orders that the rule captures and the query leaves out are shown. */
#define MAX_LEFT_OUT		3

/* What the source's rule is to an order, if that could be found out. */
typedef enum RuleFit
{
	RULE_UNKNOWN,
	RULE_FITS,
	RULE_FITTED,				/* not now, but the order is known */
	RULE_FITS_NOT
} RuleFit;

static bool is_among(const char *key, char **keys, int nkeys);
static int	drop_repeated(char **keys, int nkeys);
static RuleFit *look_at_rule(CapiCaller *reader, char **keys, int nkeys);
static void put_left_out(CapiCaller *reader, ReturnSetInfo *result, char **shown,
						 int nshown);
static void put_row(CapiCaller *reader, ReturnSetInfo *result, char *key,
					CapiOrder *row, const char *disagreement);
static const char *disagreement(RuleFit fit, const CapiOrder *row);

/*
 * capi.preview(source text, order_key text, max_rows int): one row per order;
 * without a key the newest orders.  Errors of the query are raised as they are.
 */
Datum
capi_sql_preview(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	int			max_rows = PG_ARGISNULL(2) ? 10 : PG_GETARG_INT32(2);
	CapiCaller	reader;
	CapiOrder *rows;
	char	  **keys;
	RuleFit    *fits;
	int			nkeys = 1;

	if (max_rows < 0 || max_rows > MAX_PREVIEW_ROWS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must be between 0 and %d", MAX_PREVIEW_ROWS),
				 errhint("Give an order_key to see one order.")));
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	MemoryContextSwitchTo(caller);
	capi_caller_open(&reader, fcinfo, 0);
	if (PG_ARGISNULL(1))
	{
		keys = capi_caller_keys(&reader, DT_NOBEGIN, DT_NOEND, max_rows, &nkeys);
		nkeys = drop_repeated(keys, nkeys);
	}
	else
	{
		keys = palloc(sizeof(char *));
		keys[0] = text_to_cstring(PG_GETARG_TEXT_PP(1));
	}
	rows = palloc0(sizeof(CapiOrder) * (nkeys + 1));
	if (nkeys > 0)
		capi_caller_rows(&reader, keys, nkeys, rows);
	fits = look_at_rule(&reader, keys, nkeys);
	for (int i = 0; i < nkeys; i++)
		put_row(&reader, (ReturnSetInfo *) fcinfo->resultinfo, keys[i], &rows[i],
				disagreement(fits[i], &rows[i]));
	if (PG_ARGISNULL(1) && max_rows > 0)
		put_left_out(&reader, (ReturnSetInfo *) fcinfo->resultinfo, keys, nkeys);
	capi_caller_close(&reader);
	SPI_finish();
	return (Datum) 0;
}

/* ---------- keys ---------- */

static bool
is_among(const char *key, char **keys, int nkeys)
{
	for (int i = 0; i < nkeys; i++)
		if (strcmp(keys[i], key) == 0)
			return true;
	return false;
}

/* A query that lacks the condition of a join returns an order's key often. */
static int
drop_repeated(char **keys, int nkeys)
{
	int			n = 0;

	for (int i = 0; i < nkeys; i++)
		if (!is_among(keys[i], keys, n))
			keys[n++] = keys[i];
	return n;
}

/* ---------- rule and query ---------- */

/* An earlier version of the extension cannot be asked. */
static bool
can_ask_of_rule(CapiCaller *reader)
{
	Oid			types[2] = {INT4OID, OIDOID};

	return !reader->source->is_direct &&
		OidIsValid(LookupFuncName(list_make2(makeString(pstrdup(CAPI_SCHEMA)),
											 makeString(pstrdup("_rule_sample"))),
								  2, types, true));
}

/* Runs as the owner of the extension; the looks in it as the reader's role. */
static void
ask_of_rule(CapiCaller *reader, const char *sql, char **keys, int nkeys)
{
	MemoryContext caller = CurrentMemoryContext;
	CapiOwnerScope scope;
	Datum	   *texts = palloc(sizeof(Datum) * (nkeys + 1));
	Oid			types[3] = {INT4OID, OIDOID, TEXTARRAYOID};
	Datum		args[3];

	for (int i = 0; i < nkeys; i++)
		texts[i] = CStringGetTextDatum(keys[i]);
	args[0] = Int32GetDatum(reader->source->id);
	args[1] = ObjectIdGetDatum(reader->source->run_as);
	args[2] = PointerGetDatum(construct_array(texts, nkeys, TEXTOID, -1, false,
											  TYPALIGN_INT));
	capi_enter_owner(reader->owner, &scope);
	if (SPI_execute_with_args(sql, 3, types, args, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look at the rule of a source");
	capi_leave_owner(&scope);
	MemoryContextSwitchTo(caller);
}

static RuleFit *
look_at_rule(CapiCaller *reader, char **keys, int nkeys)
{
	RuleFit    *fits = palloc0(sizeof(RuleFit) * (nkeys + 1));

	if (nkeys == 0 || !can_ask_of_rule(reader))
		return fits;
	ask_of_rule(reader, "SELECT f.fits, f.known"
				" FROM capi._rule_fits($1, $2, $3) WITH ORDINALITY AS f ORDER BY ordinality",
				keys, nkeys);
	for (uint64 i = 0; i < SPI_processed && i < (uint64) nkeys; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;

		fits[i] = SPI_getvalue(tuple, desc, 1)[0] == 't' ? RULE_FITS :
			SPI_getvalue(tuple, desc, 2)[0] == 't' ? RULE_FITTED : RULE_FITS_NOT;
	}
	SPI_freetuptable(SPI_tuptable);
	return fits;
}

/* The problem that rule and query say different things of the order, or NULL. */
static const char *
disagreement(RuleFit fit, const CapiOrder *row)
{
	if (fit == RULE_FITS && row->found == 0)
		return "the rule captures it, and the query does not return it";
	if (fit == RULE_FITS_NOT && row->found > 0 && row->ignore_reason == NULL)
		return "the query returns it, and the rule does not capture it as it is now";
	return NULL;
}

/* What read_sample() works on. */
typedef struct Sample
{
	CapiCaller *reader;
	char	  **keys;
	int			nkeys;
	CapiOrder  *rows;
} Sample;

/* Step for capi_attempt(): some orders that the rule fits, and the query's rows. */
static void
read_sample(void *arg)
{
	Sample	   *sample = arg;

	ask_of_rule(sample->reader, "SELECT s.key FROM capi._rule_sample($1, $2) AS s (key)"
				" WHERE $3 IS NOT NULL", NULL, 0);
	sample->nkeys = (int) SPI_processed;
	sample->keys = palloc(sizeof(char *) * (sample->nkeys + 1));
	for (int i = 0; i < sample->nkeys; i++)
		sample->keys[i] = pstrdup(SPI_getvalue(SPI_tuptable->vals[i],
											   SPI_tuptable->tupdesc, 1));
	SPI_freetuptable(SPI_tuptable);
	sample->rows = palloc0(sizeof(CapiOrder) * (sample->nkeys + 1));
	if (sample->nkeys > 0)
		capi_caller_rows(sample->reader, sample->keys, sample->nkeys, sample->rows);
}

/*
 * Orders that the rule fits and the query does not return, or ignores: the
 * former one by one, the latter when they are most of those looked at, since
 * some always are.
 */
static void
put_left_out(CapiCaller *reader, ReturnSetInfo *result, char **shown, int nshown)
{
	Sample		sample = {.reader = reader};
	CapiOrder  *rows;
	int			nkeys;
	int			nignored = 0;
	int			nleft = 0;

	/* an order that makes the query fail is not among those that were asked for */
	if (!can_ask_of_rule(reader) || capi_attempt(read_sample, &sample) != NULL)
		return;
	rows = sample.rows;
	nkeys = sample.nkeys;
	for (int i = 0; i < nkeys; i++)
		nignored += rows[i].found == 1 && rows[i].ignore_reason != NULL;
	for (int i = 0; i < nkeys && nleft < MAX_LEFT_OUT; i++)
	{
		const char *problem = disagreement(RULE_FITS, &rows[i]);

		if (problem == NULL && nignored * 2 > nkeys && rows[i].found == 1 &&
			rows[i].ignore_reason != NULL)
			problem = psprintf("of %d orders that the rule captures the query ignores %d",
							   nkeys, nignored);
		if (problem == NULL || is_among(sample.keys[i], shown, nshown))
			continue;
		put_row(reader, result, sample.keys[i], &rows[i], problem);
		nleft++;
	}
}

/* ---------- rows ---------- */

/* The list of problems as a text array, one JSON object a member. */
static Datum
problem_array(CapiEvent *event)
{
	char	   *text = psprintf("[%s]", event->problems.data != NULL ? event->problems.data : "");
	Datum		json = DirectFunctionCall1(jsonb_in, CStringGetDatum(capi_from_utf8(text)));
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
append_member(StringInfo out, const char *name, const char *value)
{
	appendStringInfo(out, ",\"%s\":", name);
	if (value != NULL && capi_text_is_valid(value, strlen(value)))
		capi_text_append_json(out, value, strlen(value));
	else
		appendStringInfoString(out, "null");
}

/* What note_value works on. */
typedef struct FieldNotes
{
	CapiEvent  *event;
	StringInfoData json;		/* the array being written */
} FieldNotes;

/* CapiValueObserver */
static void
note_value(void *arg, int field, const char *raw, const char *normal,
		   const char *sent, const char *problem)
{
	FieldNotes *notes = arg;
	StringInfo	out = &notes->json;
	Oid			type = notes->event->values[field].type;

	appendStringInfo(out, "%s{\"field\":\"%s\"", out->len > 1 ? "," : "",
					 capi_field_info(field)->name);
	append_member(out, "type", OidIsValid(type) ? format_type_be(type) : NULL);
	append_member(out, "raw", raw);
	append_member(out, "normalised", normal);
	append_member(out, "sent", sent);
	append_member(out, "problem", problem);
	appendStringInfoChar(out, '}');
}

static Datum
json_datum(StringInfo json)
{
	return DirectFunctionCall1(jsonb_in,
							   CStringGetDatum(capi_from_utf8(json->data)));
}

static void
put_row(CapiCaller *reader, ReturnSetInfo *result, char *key, CapiOrder *row,
		const char *disagreement)
{
	const char *reason;
	Datum		values[P_COLUMNS] = {0};
	bool		nulls[P_COLUMNS] = {false};
	StringInfoData json;
	FieldNotes	notes = {.event = &row->event};

	initStringInfo(&json);
	initStringInfo(&notes.json);
	appendStringInfoChar(&notes.json, '[');
	row->event.observer = note_value;
	row->event.observer_arg = &notes;
	values[P_ORDER_KEY] = CStringGetTextDatum(key);
	values[P_OUTCOME] = CStringGetTextDatum(capi_caller_judge(reader, key, row, &json, &reason));
	nulls[P_REASON] = reason == NULL;
	if (reason != NULL)
		values[P_REASON] = CStringGetTextDatum(capi_from_utf8(reason));
	nulls[P_EVENT] = json.len == 0;
	if (json.len > 0)
		values[P_EVENT] = json_datum(&json);
	if (disagreement != NULL)
		capi_event_problem(&row->event, "key", disagreement);
	values[P_PROBLEMS] = problem_array(&row->event);
	appendStringInfoChar(&notes.json, ']');
	values[P_FIELDS] = json_datum(&notes.json);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}
