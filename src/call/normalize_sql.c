/*
 * normalize_sql.c
 *		capi.normalize and capi.hash: the worker's rules, to try from SQL.
 *
 * Checks arguments and converts between the database's encoding and UTF-8; the
 * rules are normalize.c's.
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "base/encoding.h"
#include "event/contents.h"
#include "event/country.h"
#include "event/event.h"
#include "event/field.h"
#include "event/hash.h"
#include "event/list.h"
#include "event/member.h"
#include "event/normalize.h"
#include "event/text.h"

PG_FUNCTION_INFO_V1(capi_sql_normalize);
PG_FUNCTION_INFO_V1(capi_sql_hash);

/* An argument as UTF-8. */
static char *
text_to_utf8(const text *t)
{
	return capi_to_utf8(text_to_cstring(t));
}

/* Names of all fields, or of the hashed ones, comma-separated. */
static char *
list_fields(bool hashed_only)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < CAPI_FIELD_COUNT; i++)
	{
		const CapiFieldInfo *info = capi_field_info(i);

		if (!hashed_only || (info->flags & CAPI_FIELD_HASHED))
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "",
							 info->name);
	}
	return names.data;
}

static void
unknown_field(const char *name, bool hashed_only)
{
	int			usual = capi_field_lookup_usual(name, strlen(name));

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown field \"%s\"", name),
			 errdetail("Fields have the names that Meta gives them, in lower case."),
			 usual >= 0 ? errhint("Perhaps you meant \"%s\".", capi_field_info(usual)->name) :
			 errhint("Known fields are: %s.", list_fields(hashed_only))));
}

/* The field named by the argument, or an error that lists the known ones. */
static int
lookup_field(FunctionCallInfo fcinfo, bool hashed_only)
{
	char	   *name;
	int			field;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("field must not be null"),
				 errdetail("The rule to apply depends on the field."),
				 errhint("Give one of: %s.", list_fields(hashed_only))));
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	field = capi_field_lookup(name);
	if (field < 0)
		unknown_field(name, hashed_only);
	if (hashed_only && !(capi_field_info(field)->flags & CAPI_FIELD_HASHED))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("field \"%s\" is not hashed", name),
				 errdetail("Meta takes this field as it is."),
				 errhint("Hashed fields are: %s.", list_fields(true))));
	return field;
}

/* Alpha-2 code of the country argument, or NULL if null, empty or unknown. */
static const char *
get_country(FunctionCallInfo fcinfo)
{
	StringInfoData folded;
	const CapiCountry *found = NULL;
	const char *problem;
	char	   *raw;

	if (PG_ARGISNULL(2))
		return NULL;
	raw = text_to_utf8(PG_GETARG_TEXT_PP(2));
	initStringInfo(&folded);
	if (capi_normalize_form(CAPI_FORM_COUNTRY, raw, strlen(raw), NULL,
							&folded, &problem))
		return folded.data;
	if (capi_text_is_valid(raw, strlen(raw)))
		found = capi_country_read(raw, strlen(raw));
	return found != NULL ? found->alpha2 : NULL;
}

/* CapiContentsReport for what only the form of a value is asked of. */
static void
ignore_problem(void *arg, const char *where, const char *problem)
{
}

/* Normal form of a field that is JSON; false if nothing of it is usable. */
static bool
normalize_json(int field, const char *json, StringInfo out)
{
	CapiContentsLimit limit = {PG_INT32_MAX, PG_INT32_MAX, 0};
	bool		any = false;

	if (capi_field_info(field)->form == CAPI_FORM_CONTENTS)
	{
		appendStringInfoChar(out, '[');
		any = capi_contents_append_items(out, json, false, 0, false, &limit,
										 ignore_problem, NULL) > 0;
		appendStringInfoChar(out, ']');
		return any;
	}
	appendStringInfoChar(out, '{');
	if (capi_member_list(field) != NULL)
		capi_contents_append_object(out, json, field, &any, ignore_problem, NULL);
	else
		capi_contents_append_members(out, json, field == CAPI_FIELD_CUSTOM_DATA,
									 &any, ignore_problem, NULL);
	appendStringInfoChar(out, '}');
	return any;
}

/* Normal form of the first usable value in a text; false if there is none. */
static bool
normalize_values(int field, char *text, const char *country, StringInfo out)
{
	CapiValues	values = {.v = &text, .n = 1};
	const char *problem;

	if (capi_field_is_list(field))
		capi_list_expand(field, &values, ignore_problem, NULL);
	for (int i = 0; i < values.n; i++)
		if (capi_normalize(field, values.v[i], country, out, &problem))
			return true;
	return false;
}

/* Normal form of the value argument; false if there is none. */
static bool
normalize_argument(FunctionCallInfo fcinfo, bool hashed_only, StringInfo out)
{
	int			field = lookup_field(fcinfo, hashed_only);

	initStringInfo(out);
	if (PG_ARGISNULL(1))
		return false;
	if (capi_field_info(field)->flags & CAPI_FIELD_JSON)
		return normalize_json(field, text_to_utf8(PG_GETARG_TEXT_PP(1)), out);
	return normalize_values(field, text_to_utf8(PG_GETARG_TEXT_PP(1)),
							get_country(fcinfo), out);
}

/* capi.normalize(field text, value text, country text) returns text */
Datum
capi_sql_normalize(PG_FUNCTION_ARGS)
{
	StringInfoData out;

	if (!normalize_argument(fcinfo, false, &out))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(capi_from_utf8(out.data)));
}

/* capi.hash(field text, value text, country text) returns text */
Datum
capi_sql_hash(PG_FUNCTION_ARGS)
{
	StringInfoData out;
	char		hex[CAPI_HASH_HEX_LEN];

	if (!normalize_argument(fcinfo, true, &out))
		PG_RETURN_NULL();
	if (!capi_hash_recognise(out.data, out.len, hex))
		capi_hash_hex(out.data, out.len, hex);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(hex, sizeof(hex)));
}
