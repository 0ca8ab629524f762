/*
 * pixel.c
 *		capi.pixel_event(): the arguments of the browser pixel's call for an
 *		order, equal to what the server will send (SPEC 6).
 *
 * Holds custom_data only, nothing of the customer's.  Runs the source's query
 * as the caller (caller.c).
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "base/capi.h"
#include "base/encoding.h"
#include "event/text.h"
#include "read/caller.h"

PG_FUNCTION_INFO_V1(capi_sql_pixel_event);

static Jsonb *pixel_call(const char *event_json);
static void make_inert(StringInfo json);

/*
 * capi.pixel_event(source text, order_key text) returns jsonb: event_name,
 * event_id and parameters; null when the server sends nothing for the order as
 * it is now.
 */
Datum
capi_sql_pixel_event(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	CapiCaller	reader;
	CapiOrder row = {0};
	StringInfoData json;
	const char *reason;
	char	   *key;
	Jsonb	   *result = NULL;

	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();
	key = text_to_cstring(PG_GETARG_TEXT_PP(1));
	initStringInfo(&json);
	SPI_connect();
	MemoryContextSwitchTo(caller);
	capi_caller_open(&reader, fcinfo, 0);
	capi_caller_rows(&reader, &key, 1, &row);
	if (strcmp(capi_caller_judge(&reader, key, &row, &json, &reason), "delivered") == 0)
	{
		make_inert(&json);
		result = pixel_call(capi_from_utf8(json.data));
	}
	capi_caller_close(&reader);
	SPI_finish();
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(result);
}

/*
 * JSON is put into a page's script as it is, and jsonb cannot keep an escape:
 * "</script>" and "<!--" would end or hide it.  Both need the less-than sign,
 * which becomes a look-alike (U+2039).  The line separators U+2028 and U+2029,
 * which old browsers take for line ends, become U+2027, of the same length.
 */
static void
make_inert(StringInfo json)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < json->len; i++)
	{
		const char *p = json->data + i;

		if (*p == '<')
			appendStringInfoString(&out, "\xE2\x80\xB9");
		else if (strncmp(p, "\xE2\x80\xA8", 3) == 0 || strncmp(p, "\xE2\x80\xA9", 3) == 0)
		{
			appendStringInfoString(&out, "\xE2\x80\xA7");
			i += 2;
		}
		else
			appendStringInfoChar(&out, *p);
	}
	*json = out;
}

static JsonbValue *
find_member(Jsonb *json, const char *name)
{
	JsonbValue	key = {.type = jbvString};

	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	return findJsonbValueFromContainer(&json->root, JB_FOBJECT, &key);
}

/* JSON text of a member, or absent if it is not there. */
static char *
member_text(Jsonb *json, const char *name, char *absent)
{
	JsonbValue *value = find_member(json, name);

	return value == NULL ? absent : JsonbToCString(NULL, &JsonbValueToJsonb(value)->root, 0);
}

static Jsonb *
pixel_call(const char *event_json)
{
	Jsonb	   *event = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(event_json)));
	char	   *text = psprintf("{\"event_name\": %s, \"event_id\": %s, \"parameters\": %s}",
								member_text(event, "event_name", "null"),
								member_text(event, "event_id", "null"),
								member_text(event, "custom_data", "{}"));

	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}
