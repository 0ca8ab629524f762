/*
 * row.c
 *		From a row that a source's query returned to the raw values of an order
 *		(row.h).
 *
 * Knows the columns a query may return and their types; judges and changes no
 * value: event/ does.  A value is looked at by its stored size first: what is
 * longer than anything that is ever sent is not fetched from where the server
 * keeps long values, and is named among the event's problems instead.
 */
#include "postgres.h"

#include <math.h>

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/capi.h"
#include "base/encoding.h"
#include "read/row.h"

/* Longest value of one field, and longest list or object of many. */
#define MAX_VALUE_BYTES		(64 * 1024)
#define MAX_LIST_BYTES		(16 * 1024 * 1024)

/*
 * Texts that are kept as the query gave them, in the log and in memory until it
 * is written: longer reasons are cut, longer names and ids are none.
 */
#define MAX_REASON_BYTES	400
#define MAX_NAME_BYTES		256

/* Stands for a text that is not even read. */
#define UNREAD_TEXT			"a text of more than 64 kB"

/* Columns that are not fields of Meta's; kept in step with check.c. */
typedef enum OwnColumn
{
	OWN_KEY = -1,
	OWN_EVENT_TIME = -2,
	OWN_EVENT_ID = -3,
	OWN_EVENT_NAME = -4,
	OWN_ACTION_SOURCE = -5,
	OWN_DATASET = -6,
	OWN_IGNORE_REASON = -7,
	OWN_UNKNOWN = -100
} OwnColumn;

static const struct
{
	const char *name;
	OwnColumn	column;
}			own_columns[] = {
	{"key", OWN_KEY},
	{"event_time", OWN_EVENT_TIME},
	{"event_id", OWN_EVENT_ID},
	{"event_name", OWN_EVENT_NAME},
	{"action_source", OWN_ACTION_SOURCE},
	{"dataset", OWN_DATASET},
	{"ignore_reason", OWN_IGNORE_REASON},
};

/* One column of the result. */
typedef struct ResultColumn
{
	int			target;			/* CapiField, or OwnColumn */
	Oid			type;
	int16		stored_len;		/* -1: may be stored elsewhere */
	FmgrInfo	out;			/* of the type, or of the array's element */
	bool		is_array;
	Oid			element;
	int16		len;
	bool		byval;
	char		align;
} ResultColumn;

struct CapiRowReader
{
	const CapiSource *source;
	TupleDesc	desc;
	ResultColumn *columns;
	int			key;			/* index of the key's column */
};

static ResultColumn *describe_columns(TupleDesc desc);

CapiRowReader *
capi_row_open(const CapiSource *source, TupleDesc desc)
{
	CapiRowReader *reader = palloc0(sizeof(CapiRowReader));

	reader->source = source;
	reader->desc = desc;
	reader->columns = describe_columns(desc);
	for (int i = 0; i < desc->natts; i++)
		if (reader->columns[i].target == OWN_KEY)
			reader->key = i;
	return reader;
}

static int
column_target(const char *name)
{
	int			field = capi_field_lookup(name);

	if (field >= 0)
		return field;
	for (size_t i = 0; i < lengthof(own_columns); i++)
		if (strcmp(own_columns[i].name, name) == 0)
			return own_columns[i].column;
	return OWN_UNKNOWN;
}

static ResultColumn *
describe_columns(TupleDesc desc)
{
	ResultColumn *columns = palloc0(sizeof(ResultColumn) * desc->natts);

	for (int i = 0; i < desc->natts; i++)
	{
		ResultColumn *column = &columns[i];
		Oid			out;
		bool		varlena;

		column->target = column_target(NameStr(TupleDescAttr(desc, i)->attname));
		column->type = getBaseType(TupleDescAttr(desc, i)->atttypid);
		column->stored_len = TupleDescAttr(desc, i)->attlen;
		column->element = column->target < 0 ? InvalidOid : get_element_type(column->type);
		column->is_array = OidIsValid(column->element);
		if (column->is_array)
			get_typlenbyvalalign(column->element, &column->len, &column->byval, &column->align);
		getTypeOutputInfo(column->is_array ? column->element : column->type, &out, &varlena);
		fmgr_info(out, &column->out);
	}
	return columns;
}

/* Is the value longer, as it is stored, than what is ever sent? */
static bool
is_too_long(const ResultColumn *column, Datum value, bool is_list)
{
	return column->stored_len == -1 &&
		toast_raw_datum_size(value) > (is_list ? MAX_LIST_BYTES : MAX_VALUE_BYTES) + VARHDRSZ;
}

char *
capi_row_key(CapiRowReader *reader, TupleTableSlot *row, Datum *value, Oid *type,
			 Oid *collation)
{
	ResultColumn *column = &reader->columns[reader->key];
	bool		isnull;

	*value = slot_getattr(row, reader->key + 1, &isnull);
	*type = column->type;
	*collation = TupleDescAttr(reader->desc, reader->key)->attcollation;
	/* none that long was ever asked for */
	if (isnull || is_too_long(column, *value, false))
		return NULL;
	return OutputFunctionCall(&column->out, *value);
}

/* Members of a JSON array as texts; what is no scalar as the JSON it is. */
static void
json_list(Jsonb *json, bool places, CapiValues *values)
{
	JsonbIterator *it = JsonbIteratorInit(&json->root);
	JsonbValue	v;
	JsonbIteratorToken token;

	values->v = palloc(sizeof(char *) * (JB_ROOT_COUNT(json) + 1));
	values->is_empty_list = JB_ROOT_COUNT(json) == 0;
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		if (token != WJB_ELEM || (v.type == jbvNull && !places))
			continue;
		if (v.type == jbvNull)
			values->v[values->n++] = pstrdup("");
		else if (v.type == jbvString)
			values->v[values->n++] = capi_to_utf8(pnstrdup(v.val.string.val, v.val.string.len));
		else if (v.type == jbvNumeric)
			values->v[values->n++] = DatumGetCString(DirectFunctionCall1(numeric_out,
																		 NumericGetDatum(v.val.numeric)));
		else if (v.type == jbvBinary)
			values->v[values->n++] = capi_to_utf8(JsonbToCString(NULL, v.val.binary.data,
																	v.val.binary.len));
	}
}

static bool
is_json_null(Jsonb *json)
{
	JsonbValue	scalar;

	return JsonbExtractScalar(&json->root, &scalar) && scalar.type == jbvNull;
}

static void
read_values(ResultColumn *column, Datum value, CapiValues *values)
{
	values->type = column->type;
	if (is_too_long(column, value, column->is_array || column->type == JSONBOID ||
					(capi_field_info(column->target)->flags & CAPI_FIELD_JSON)))
	{
		values->is_too_long = true;
		return;
	}
	if (column->is_array)
	{
		Datum	   *elements;
		bool	   *nulls;
		int			n;

		deconstruct_array(DatumGetArrayTypeP(value), column->element, column->len,
						  column->byval, column->align, &elements, &nulls, &n);
		values->v = palloc(sizeof(char *) * (n + 1));
		values->is_empty_list = n == 0;
		for (int i = 0; i < n; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (!nulls[i])
				values->v[values->n++] = capi_to_utf8(OutputFunctionCall(&column->out, elements[i]));
			else if (capi_field_info(column->target)->flags & CAPI_FIELD_PLACES)
				values->v[values->n++] = pstrdup("");
		}
		return;
	}
	/* of j -> 'member', when it is null there */
	if (column->type == JSONBOID && is_json_null(DatumGetJsonbP(value)))
		return;
	if (column->type == JSONBOID && capi_field_is_list(column->target) &&
		!JB_ROOT_IS_SCALAR(DatumGetJsonbP(value)))
	{
		Jsonb	   *json = DatumGetJsonbP(value);

		if (JB_ROOT_IS_ARRAY(json))
		{
			json_list(json, (capi_field_info(column->target)->flags & CAPI_FIELD_PLACES) != 0,
					  values);
			return;
		}
	}
	else if (column->type == JSONBOID)
	{
		JsonbValue	scalar;

		/* a JSON string is meant as its text, without the quotes */
		if (JsonbExtractScalar(&DatumGetJsonbP(value)->root, &scalar) &&
			scalar.type == jbvString)
		{
			values->v = palloc(sizeof(char *));
			values->v[0] = capi_to_utf8(pnstrdup(scalar.val.string.val, scalar.val.string.len));
			values->n = 1;
			return;
		}
	}
	values->v = palloc(sizeof(char *));
	values->v[0] = capi_to_utf8(OutputFunctionCall(&column->out, value));
	values->n = 1;
}

/* Whole seconds since 1970, rounded down, also before it. */
static void
set_time(CapiEvent *event, TimestampTz t)
{
	event->has_event_time = !TIMESTAMP_NOT_FINITE(t);
	event->event_time_s = (t >= 0 ? t / USECS_PER_SEC : -((-t + USECS_PER_SEC - 1) / USECS_PER_SEC))
		+ (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
}

/* A timestamp without time zone is in the zone the source was given. */
static void
set_naive_time(CapiEvent *event, Timestamp t, const char *zone)
{
	Datum		with_zone;

	if (TIMESTAMP_NOT_FINITE(t))
	{
		event->has_event_time = false;
		return;
	}
	with_zone = DirectFunctionCall2(timestamp_zone,
									CStringGetTextDatum(zone), TimestampGetDatum(t));
	set_time(event, DatumGetTimestampTz(with_zone));
}

/* Unix seconds as extract(epoch FROM ...) gives them. */
static void
set_epoch(CapiEvent *event, Oid type, Datum value)
{
	double		seconds = type == FLOAT8OID ? DatumGetFloat8(value) :
		DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, value));

	/* within what the checks of its age can judge */
	event->has_event_time = seconds > -1e15 && seconds < 1e15;
	if (event->has_event_time)
		event->event_time_s = (int64) floor(seconds);
}

static void
read_time(const CapiSource *source, Oid type, Datum value, CapiEvent *event)
{
	event->has_event_time = true;
	if (type == TIMESTAMPTZOID)
		set_time(event, DatumGetTimestampTz(value));
	else if (type == TIMESTAMPOID && source->time_zone != NULL)
		set_naive_time(event, DatumGetTimestamp(value), source->time_zone);
	else if (type == INT8OID)
		event->event_time_s = DatumGetInt64(value);
	else if (type == INT4OID)
		event->event_time_s = DatumGetInt32(value);
	else if (type == NUMERICOID || type == FLOAT8OID)
		set_epoch(event, type, value);
	else
		event->has_event_time = false;
}

/* True when the UTF-8 text was longer; never cut through a character. */
static bool
cut(char *text, size_t limit)
{
	if (strlen(text) <= limit)
		return false;
	while (limit > 0 && (text[limit] & 0xC0) == 0x80)
		limit--;
	text[limit] = '\0';
	return true;
}

/*
 * A column that is no field of Meta's.  Without its id an event has the key, as
 * the page has that read it here, too; the name of an event, of a dataset or of
 * an action source that is too long is not replaced by another one, but wrong.
 */
static void
read_own(CapiRowReader *reader, ResultColumn *column, Datum value, CapiOrder *order)
{
	bool		is_reason = column->target == OWN_IGNORE_REASON;
	bool		unread;
	bool		was_cut;
	char	   *text;

	if (column->target == OWN_EVENT_TIME)
	{
		read_time(reader->source, column->type, value, &order->event);
		return;
	}
	unread = is_too_long(column, value, false);
	text = unread ? pstrdup(UNREAD_TEXT) :
		capi_to_utf8(OutputFunctionCall(&column->out, value));
	was_cut = cut(text, is_reason ? MAX_REASON_BYTES : MAX_NAME_BYTES) || unread;
	if (is_reason)
		order->ignore_reason = text;
	else if (column->target == OWN_EVENT_ID && was_cut)
		order->event.id_is_too_long = true;
	else if (column->target == OWN_EVENT_ID)
		order->event.event_id = text;
	else if (column->target == OWN_EVENT_NAME)
		order->event.event_name = was_cut ? "" : text;
	else if (column->target == OWN_ACTION_SOURCE)
		order->event.action_source = text;
	else if (column->target == OWN_DATASET)
		order->dataset = text;
}

void
capi_row_read(CapiRowReader *reader, TupleTableSlot *row, CapiOrder *order)
{
	slot_getallattrs(row);
	order->event.minor_units = reader->source->minor_units;
	for (int i = 0; i < reader->desc->natts; i++)
	{
		ResultColumn *column = &reader->columns[i];

		if (row->tts_isnull[i] || column->target == OWN_UNKNOWN || column->target == OWN_KEY)
			continue;
		if (column->target >= 0)
			read_values(column, row->tts_values[i], &order->event.values[column->target]);
		else
			read_own(reader, column, row->tts_values[i], order);
	}
}
