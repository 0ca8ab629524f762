/*
 * key.c
 *		The text of an order key: one and the same in every session.
 *
 * The trigger writes a key in the shop's session, the dispatcher compares it
 * with what the source's query returns in its own.  Dates, times, intervals,
 * floating point numbers and byte strings look different under different
 * settings, so both sides use the same: the worker by its settings and those
 * of capi_query_enter(), the trigger by the functions here, which cost a few
 * assignments for a row and nothing for the usual types.
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/float.h"
#include "utils/lsyscache.h"

#include "base/key.h"

CapiKeyForm
capi_key_form(const char *query_key_type)
{
	if (strcmp(query_key_type, "record") == 0)
		return CAPI_KEY_RECORD;
	if (strcmp(query_key_type, "array") == 0)
		return CAPI_KEY_ARRAY;
	return CAPI_KEY_SCALAR;
}

/* Says no only for what is known never to. */
bool
capi_key_varies(Oid type)
{
	type = getBaseType(type);
	switch (type)
	{
		case BOOLOID:
		case BPCHAROID:
		case CHAROID:
		case INETOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NAMEOID:
		case NUMERICOID:
		case OIDOID:
		case TEXTOID:
		case UUIDOID:
		case VARCHAROID:
			return false;
		default:
			return get_typtype(type) != TYPTYPE_ENUM;
	}
}

/*
 * Sets the variables themselves: going through the settings' own functions for
 * each row would cost more than the row.
 */
void
capi_key_use_settings(CapiKeySettings *saved)
{
	static pg_tz *utc = NULL;

	if (utc == NULL)
		utc = pg_tzset("UTC");
	saved->date_style = DateStyle;
	saved->interval_style = IntervalStyle;
	saved->extra_digits = extra_float_digits;
	saved->bytea_format = bytea_output;
	saved->time_zone = session_timezone;
	DateStyle = USE_ISO_DATES;
	IntervalStyle = INTSTYLE_POSTGRES;
	extra_float_digits = 1;
	bytea_output = BYTEA_OUTPUT_HEX;
	if (utc != NULL)
		session_timezone = utc;
}

void
capi_key_restore_settings(const CapiKeySettings *saved)
{
	DateStyle = saved->date_style;
	IntervalStyle = saved->interval_style;
	extra_float_digits = saved->extra_digits;
	bytea_output = saved->bytea_format;
	session_timezone = saved->time_zone;
}

/* Must the part stand in quotes?  As record_out() and array_out() think. */
static bool
needs_quotes(CapiKeyForm form, const char *part)
{
	const char *special = form == CAPI_KEY_RECORD ? "\"\\()," : "\"\\{},";

	if (part[0] == '\0' ||
		(form == CAPI_KEY_ARRAY && pg_strcasecmp(part, "null") == 0))
		return true;
	for (const char *p = part; *p != '\0'; p++)
		if (strchr(special, *p) != NULL || isspace((unsigned char) *p))
			return true;
	return false;
}

void
capi_key_append_part(StringInfo key, CapiKeyForm form, const char *part)
{
	if (key->len > 0)
		appendStringInfoChar(key, ',');
	else
		appendStringInfoChar(key, form == CAPI_KEY_RECORD ? '(' : '{');
	if (!needs_quotes(form, part))
	{
		appendStringInfoString(key, part);
		return;
	}
	appendStringInfoChar(key, '"');
	for (const char *p = part; *p != '\0'; p++)
	{
		if (*p == '"' || *p == '\\')
			appendStringInfoChar(key, form == CAPI_KEY_RECORD ? *p : '\\');
		appendStringInfoChar(key, *p);
	}
	appendStringInfoChar(key, '"');
}

void
capi_key_append_end(StringInfo key, CapiKeyForm form)
{
	appendStringInfoChar(key, form == CAPI_KEY_RECORD ? ')' : '}');
}
