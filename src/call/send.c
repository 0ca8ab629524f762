/*
 * send.c
 *		capi.send(): an event in Meta's own shape, for what no table shows.
 *
 * Turns the jsonb into a CapiEvent, writes its final JSON at once, hashed, and
 * stores that: nothing raw but what Meta takes raw is kept (P7).  What is wrong
 * with the shape is an error of the caller; what is wrong with the data becomes
 * the event's outcome, since a form's content must not fail the form.
 */
#include "postgres.h"

#include <math.h>

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/capi.h"
#include "base/encoding.h"
#include "base/entry.h"
#include "base/wake.h"
#include "event/event.h"
#include "event/member.h"
#include "event/payload.h"
#include "store/event_name.h"
#include "store/queue.h"

/* What capi.attach() takes when it is not told (DESIGN 4.2). */
#define DEFAULT_ACTION_SOURCE	"website"

PG_FUNCTION_INFO_V1(capi_sql_send);

static void too_large(const char *detail);
static void check_written_size(Jsonb *json);
static void read_event(Jsonb *json, CapiEvent *event);
static void read_group(JsonbValue *object, CapiFieldGroup group,
					   CapiEvent *event);
static void read_field(int field, JsonbValue *value, CapiEvent *event);
static int64 store_event(FunctionCallInfo fcinfo, CapiEvent *event);

/*
 * capi.send(dataset text, event jsonb, order_key text) returns bigint: the
 * number of the event.  A second event with the same name and order_key (or
 * event_id) is the same event and is not sent again.
 */
Datum
capi_sql_send(PG_FUNCTION_ARGS)
{
	CapiEvent	event = {0};
	Jsonb	   *json;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("dataset and event must not be null")));
	event.has_event_time = true;
	event.event_time_s = timestamptz_to_time_t(GetCurrentTimestamp());
	/* before anything is done with it */
	if (toast_raw_datum_size(PG_GETARG_DATUM(1)) > CAPI_MAX_EVENT_BYTES)
		too_large("It is larger as it is given.");
	json = PG_GETARG_JSONB_P(1);
	check_written_size(json);
	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("event must be a JSON object"),
				 errdetail("It has the shape of one member of Meta's \"data\".")));
	read_event(json, &event);
	if (event.event_name == NULL || event.event_name[0] == '\0' ||
		strlen(event.event_name) > 50)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("event has no usable event_name"),
				 errdetail("A name has 1 to 50 bytes."),
				 errhint("Give one of Meta's, Lead for example, or your own.")));
	PG_RETURN_INT64(store_event(fcinfo, &event));
}

/* ---------- limits ---------- */

static void
too_large(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("event is larger than %d bytes", CAPI_MAX_EVENT_BYTES),
			 errdetail("%s", detail),
			 errhint("Give what the event is about; a list of much else belongs elsewhere.")));
}

/* Digits of a number when it is written without an exponent. */
static double
written_digits(Numeric number)
{
	double		value = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
														   NumericGetDatum(number)));
	int			scale = DatumGetInt32(DirectFunctionCall1(numeric_scale,
														  NumericGetDatum(number)));

	if (isinf(value))
		return CAPI_MAX_EVENT_BYTES;
	return scale + (fabs(value) > 1 ? log10(fabs(value)) : 0);
}

/* A number of a few bytes may be one of a hundred thousand digits. */
static void
check_written_size(Jsonb *json)
{
	JsonbIterator *it = JsonbIteratorInit(&json->root);
	JsonbValue	value;
	JsonbIteratorToken token;
	double		size = VARSIZE(json);

	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
		if ((token == WJB_VALUE || token == WJB_ELEM) && value.type == jbvNumeric)
			size += written_digits(value.val.numeric);
	if (size > CAPI_MAX_EVENT_BYTES)
		too_large("It is larger with its numbers written out.");
}

/* ---------- from jsonb to raw values ---------- */

static char *
utf8(const char *text, int len)
{
	return capi_to_utf8(pnstrdup(text, len));
}

/* Text of a scalar, or NULL for null; raises for anything else. */
static char *
scalar(const char *name, JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return NULL;
		case jbvString:
			return utf8(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%s\" of the event must be a single value", name)));
	}
	return NULL;
}

/*
 * Text of a timestamp that says its offset from UTC, as to_jsonb(now()) does:
 * another would be of the zone that the session happens to have.
 */
static bool
has_offset(const char *text)
{
	const char *time = strpbrk(text, "T ");

	return time != NULL && strpbrk(time, "+-Z") != NULL;
}

/* Unix seconds, or a timestamp with its offset; null: now. */
static void
read_time(JsonbValue *value, CapiEvent *event)
{
	char	   *text = scalar("event_time", value);
	char	   *end;
	double		seconds;

	if (text == NULL)
		return;
	seconds = strtod(text, &end);
	if (end != text && *end == '\0' && !isnan(seconds) && !isinf(seconds))
	{
		/* farther away there is no usable time (query.c does the same) */
		event->has_event_time = seconds > -1e15 && seconds < 1e15;
		if (event->has_event_time)
			event->event_time_s = (int64) floor(seconds);
	}
	else if (has_offset(text))
		event->event_time_s = timestamptz_to_time_t(DatumGetTimestampTz(
			DirectFunctionCall3(timestamptz_in, CStringGetDatum(text),
								ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1))));
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("event_time of the event must be Unix seconds or a timestamp with an offset"),
				 errdetail("Without an offset from UTC its zone would be that of the session."),
				 errhint("Write 2026-01-31T12:00:00+01:00, or leave it out for now.")));
}

/* Of user_data a member may have the name that the shop's tables have for it. */
static const char *
member_hint(const char *where, JsonbValue *key)
{
	int			usual = capi_field_lookup_usual(key->val.string.val, key->val.string.len);

	if (strcmp(where, "user_data") == 0 && usual >= 0)
		return psprintf("Perhaps you meant \"%s\".", capi_field_info(usual)->name);
	if (strcmp(where, "the event") == 0)
		return "Who it is about belongs into user_data, what it is about and free properties into custom_data; doc/fields.md lists the fields.";
	return "Free properties belong into custom_data; doc/fields.md lists the fields.";
}

static void
unknown_member(const char *where, JsonbValue *key)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown member \"%.*s\" of %s", Min(key->val.string.len, 60),
					key->val.string.val, where),
			 errdetail("Meta refuses what it does not know, and with it every other event of the request."),
			 errhint("%s", member_hint(where, key))));
}

static bool
key_is(JsonbValue *key, const char *name)
{
	return key->val.string.len == (int) strlen(name) &&
		memcmp(key->val.string.val, name, key->val.string.len) == 0;
}

static int
find_field(JsonbValue *key)
{
	char	   *name = pnstrdup(key->val.string.val, key->val.string.len);
	int			field = capi_field_lookup(name);

	pfree(name);
	return field;
}

static void
read_event(Jsonb *json, CapiEvent *event)
{
	JsonbIterator *it = JsonbIteratorInit(&json->root);
	JsonbValue	key;
	JsonbValue	value;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		int			field;

		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		field = find_field(&key);
		if (key_is(&key, "event_name"))
			event->event_name = scalar("event_name", &value);
		else if (key_is(&key, "event_id"))
			event->event_id = scalar("event_id", &value);
		else if (key_is(&key, "action_source"))
			event->action_source = scalar("action_source", &value);
		else if (key_is(&key, "event_time"))
			read_time(&value, event);
		else if (key_is(&key, "user_data"))
			read_group(&value, CAPI_GROUP_USER_DATA, event);
		else if (key_is(&key, "custom_data"))
			read_group(&value, CAPI_GROUP_CUSTOM_DATA, event);
		else if (field == CAPI_FIELD_APP_DATA || field == CAPI_FIELD_CUSTOMER_SEGMENTATION ||
				 (field >= 0 && capi_field_info(field)->group == CAPI_GROUP_EVENT))
			read_field(field, &value, event);
		else
			unknown_member("the event", &key);
	}
}

/* Members of user_data or custom_data; the latter's free ones stay together. */
static void
read_group(JsonbValue *object, CapiFieldGroup group, CapiEvent *event)
{
	const char *name = group == CAPI_GROUP_USER_DATA ? "user_data" : "custom_data";
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;
	JsonbIteratorToken token;
	JsonbParseState *state = NULL;
	JsonbValue *rest;

	if (object->type == jbvNull)
		return;
	if (object->type != jbvBinary || !JsonContainerIsObject(object->val.binary.data))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" of the event must be a JSON object", name)));
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	it = JsonbIteratorInit(object->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		int			field;

		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		field = find_field(&key);
		if (field >= 0 && field != CAPI_FIELD_CUSTOM_DATA &&
			(capi_field_info(field)->group == group ||
			 (group == CAPI_GROUP_USER_DATA &&
			  capi_field_info(field)->group == CAPI_GROUP_SOURCE)))
			read_field(field, &value, event);
		else if (group == CAPI_GROUP_USER_DATA)
			unknown_member("user_data", &key);
		else
		{
			pushJsonbValue(&state, WJB_KEY, &key);
			pushJsonbValue(&state, WJB_VALUE, &value);
		}
	}
	rest = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	if (group == CAPI_GROUP_CUSTOM_DATA && rest->val.object.nPairs > 0)
	{
		JsonbValue	free_members = {.type = jbvBinary};
		Jsonb	   *packed = JsonbValueToJsonb(rest);

		free_members.val.binary.data = &packed->root;
		free_members.val.binary.len = VARSIZE(packed) - VARHDRSZ;
		read_field(CAPI_FIELD_CUSTOM_DATA, &free_members, event);
	}
}

/* An object, or the objects of an array, have known members only. */
static void
check_members(int field, JsonbContainer *container)
{
	const CapiMember *list = capi_member_list(field);
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbValue	key;
	JsonbIteratorToken token;

	while (list != NULL && (token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM && key.type == jbvBinary &&
			JsonContainerIsObject(key.val.binary.data))
			check_members(field, key.val.binary.data);
		if (token == WJB_KEY &&
			capi_member_find(list, key.val.string.val, key.val.string.len) == NULL)
			unknown_member(capi_field_info(field)->name, &key);
	}
}

static void
read_list(int field, JsonbContainer *container, CapiValues *values)
{
	const CapiFieldInfo *info = capi_field_info(field);
	int			n = JsonContainerSize(container);

	if (!(info->flags & CAPI_FIELD_LIST))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" of the event must be a single value", info->name)));
	if (n > CAPI_MAX_LIST_VALUES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("\"%s\" of the event has more than %d values", info->name,
						CAPI_MAX_LIST_VALUES),
				 errdetail("It has %d.", n),
				 errhint("Give those of this customer and this event only.")));
	values->v = palloc(sizeof(char *) * (n + 1));
	values->is_empty_list = n == 0;
	for (int i = 0; i < n; i++)
	{
		char	   *text = scalar(info->name, getIthJsonbValueFromContainer(container, i));

		if (text != NULL || (info->flags & CAPI_FIELD_PLACES))
			values->v[values->n++] = text != NULL ? text : pstrdup("");
	}
}

static void
read_field(int field, JsonbValue *value, CapiEvent *event)
{
	const CapiFieldInfo *info = capi_field_info(field);
	CapiValues *values = &event->values[field];
	char	   *text;

	if (info->flags & CAPI_FIELD_JSON)
	{
		if (value->type == jbvNull)
			return;
		if (value->type != jbvBinary)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%s\" of the event must be a JSON object or array", info->name)));
		check_members(field, value->val.binary.data);
		text = JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
		text = utf8(text, strlen(text));
	}
	else if (value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data) &&
			 !JsonContainerIsScalar(value->val.binary.data))
	{
		read_list(field, value->val.binary.data, values);
		return;
	}
	else
		text = scalar(info->name, value);
	if (text == NULL)
		return;
	values->v = palloc(sizeof(char *));
	values->v[0] = text;
	values->n = 1;
}

/* ---------- storing ---------- */

static Datum
server_text(const char *utf8_text)
{
	return CStringGetTextDatum(capi_from_utf8(utf8_text));
}

/* Writes the event's JSON and judges it; false if it is not to be sent. */
static bool
write_event(CapiEvent *event, StringInfo json)
{
	if (event->action_source == NULL)
		event->action_source = DEFAULT_ACTION_SOURCE;
	capi_payload_event(event, timestamptz_to_time_t(GetCurrentTimestamp()), json);
	if (json->len > CAPI_MAX_EVENT_BYTES)
		too_large("It is larger as Meta gets it, with its values hashed.");
	return event->verdict == CAPI_VERDICT_SEND;
}

/* Arguments of capi._put_direct_event, in its order. */
enum
{
	D_SOURCE, D_KEY, D_EVENT_NAME, D_EVENT_ID, D_EVENT, D_TIME, D_MAX_AGE,
	D_VALUE, D_CURRENCY, D_REASON, D_EXPIRED, D_SUBCODE, D_PROBLEMS, D_COUNT
};

static void
fill_arguments(FunctionCallInfo fcinfo, CapiEvent *event, StringInfo json,
			   bool usable, Datum *args, char *nulls)
{
	memset(nulls, ' ', D_COUNT);
	args[D_EVENT_NAME] = server_text(event->event_name);
	args[D_TIME] = Int64GetDatum(event->event_time_s);
	args[D_MAX_AGE] = Int64GetDatum(strcmp(event->action_source, "physical_store") == 0 ?
									CAPI_MAX_AGE_STORE_S : CAPI_MAX_AGE_S);
	args[D_EXPIRED] = BoolGetDatum(event->verdict == CAPI_VERDICT_EXPIRED);
	args[D_SUBCODE] = Int32GetDatum(event->error_subcode);
	if (usable)
		args[D_EVENT] = PointerGetDatum(cstring_to_text_with_len(json->data, json->len));
	else
		args[D_REASON] = CStringGetTextDatum(event->reason);
	nulls[usable ? D_REASON : D_EVENT] = 'n';
	if (!PG_ARGISNULL(2))
		args[D_KEY] = PG_GETARG_DATUM(2);
	else
		args[D_KEY] = server_text(event->event_id);
	args[D_EVENT_ID] = server_text(event->event_id);
	nulls[D_VALUE] = event->value_text != NULL ? ' ' : 'n';
	if (event->value_text != NULL)
		args[D_VALUE] = CStringGetTextDatum(event->value_text);
	nulls[D_CURRENCY] = event->currency != NULL ? ' ' : 'n';
	if (event->currency != NULL)
		args[D_CURRENCY] = CStringGetTextDatum(event->currency);
	nulls[D_PROBLEMS] = event->problems.data != NULL ? ' ' : 'n';
	if (event->problems.data != NULL)
		args[D_PROBLEMS] = server_text(psprintf("[%s]", event->problems.data));
}

/* The event's own id decides what is "the same event" when no key is given. */
static void
choose_id(FunctionCallInfo fcinfo, CapiEvent *event)
{
	char	   *key = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));

	if (strlen(key != NULL ? key : event->event_id != NULL ? event->event_id : "") >
		CAPI_MAX_KEY_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("order_key is longer than %d bytes", CAPI_MAX_KEY_BYTES),
				 errdetail("The event_id is the key when no order_key is given."),
				 errhint("Give an order_key of usual length.")));
	if (event->event_id != NULL)
		return;
	if (key != NULL)
		event->event_id = capi_to_utf8(key);
	else
		event->event_id = DatumGetCString(DirectFunctionCall1(uuid_out,
															  DirectFunctionCall1(gen_random_uuid, (Datum) 0)));
}

/* The number of the event; *is_new: false if it is there already. */
static int64
put_event(Oid owner, Datum *args, const char *nulls, bool *is_new)
{
	Oid			types[D_COUNT] = {
		INT4OID, TEXTOID, TEXTOID, TEXTOID, BYTEAOID, INT8OID, INT8OID,
		TEXTOID, TEXTOID, TEXTOID, BOOLOID, INT4OID, TEXTOID
	};
	CapiOwnerScope scope;
	HeapTuple	row;
	bool		isnull;
	int64		id;

	SPI_connect();
	capi_enter_owner(owner, &scope);
	if (SPI_execute_with_args("SELECT p.id, p.is_new FROM capi._put_direct_event("
							  "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) p",
							  D_COUNT, types, args, nulls, false, 1)
		!= SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not store an event");
	row = SPI_tuptable->vals[0];
	id = DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));
	*is_new = DatumGetBool(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull));
	capi_leave_owner(&scope);
	SPI_finish();
	return id;
}

/* Looks the segments up again before it gives up: the extension may be a new one. */
static bool
append_key(int source_id, const char *key)
{
	if (capi_queue_append(source_id, key, 0))
		return true;
	capi_queue_forget();
	return capi_queue_append(source_id, key, 0);
}

/*
 * Every lock that could have to be waited for is taken without waiting, before
 * any statement runs (event_name.c): who sends may have a checkout open.
 */
static int64
store_event(FunctionCallInfo fcinfo, CapiEvent *event)
{
	Datum		args[D_COUNT] = {0};
	char		nulls[D_COUNT + 1] = "";
	StringInfoData json;
	bool		is_new;
	int64		id;
	int			source_id;

	initStringInfo(&json);
	choose_id(fcinfo, event);
	fill_arguments(fcinfo, event, &json, write_event(event, &json), args, nulls);
	source_id = capi_event_name_source(text_to_cstring(PG_GETARG_TEXT_PP(0)),
									   TextDatumGetCString(args[D_EVENT_NAME]));
	args[D_SOURCE] = Int32GetDatum(source_id);
	id = put_event(capi_function_owner(fcinfo->flinfo->fn_oid), args, nulls, &is_new);
	if (!is_new)
		return id;
	if (!append_key(source_id, TextDatumGetCString(args[D_KEY])))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not note the event in the queue"),
				 errdetail("Another session holds locks on all of the queue's segments."),
				 errhint("Try again when it is done.")));
	capi_wake_at_commit(false);
	return id;
}
