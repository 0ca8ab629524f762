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
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/capi.h"
#include "base/encoding.h"
#include "event/text.h"
#include "read/caller.h"

#define MAX_PREVIEW_ROWS	1000

/* Columns of the result. */
enum
{
	P_ORDER_KEY, P_OUTCOME, P_REASON, P_EVENT, P_PROBLEMS, P_FIELDS, P_COLUMNS
};

PG_FUNCTION_INFO_V1(capi_sql_preview);

static void put_row(CapiCaller *reader, ReturnSetInfo *result, char *key,
					CapiOrder *row);

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
		keys = capi_caller_keys(&reader, DT_NOBEGIN, DT_NOEND, max_rows, &nkeys);
	else
	{
		keys = palloc(sizeof(char *));
		keys[0] = text_to_cstring(PG_GETARG_TEXT_PP(1));
	}
	rows = palloc0(sizeof(CapiOrder) * (nkeys + 1));
	if (nkeys > 0)
		capi_caller_rows(&reader, keys, nkeys, rows);
	for (int i = 0; i < nkeys; i++)
		put_row(&reader, (ReturnSetInfo *) fcinfo->resultinfo, keys[i], &rows[i]);
	capi_caller_close(&reader);
	SPI_finish();
	return (Datum) 0;
}

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
put_row(CapiCaller *reader, ReturnSetInfo *result, char *key, CapiOrder *row)
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
	values[P_PROBLEMS] = problem_array(&row->event);
	appendStringInfoChar(&notes.json, ']');
	values[P_FIELDS] = json_datum(&notes.json);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}
