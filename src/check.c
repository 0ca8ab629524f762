/*
 * check.c
 *		Checks of what users give to create_dataset() and attach().
 *
 * Called by the functions of sql/capi/, as the owner of the extension.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "catalog/namespace.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "nodes/parsenodes.h"
#include "parser/parse_oper.h"
#include "parser/parser.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "capi.h"
#include "field.h"
#include "guc.h"
#include "query.h"

PG_FUNCTION_INFO_V1(capi_sql_check_endpoint);
PG_FUNCTION_INFO_V1(capi_sql_check_query);
PG_FUNCTION_INFO_V1(capi_sql_check_values);

static const char *check_columns(TupleDesc desc, ArrayType *key_types,
								 bool has_zone);
static const char *check_key(Oid query_type, ArrayType *key_types);

static bool
is_loopback(const char *host, int len)
{
	return (len == 9 && strncmp(host, "localhost", 9) == 0) ||
		(len >= 7 && strncmp(host, "127.", 4) == 0 &&
		 strspn(host, "0123456789.") >= (size_t) len) ||
		(len == 5 && strncmp(host, "[::1]", 5) == 0);
}

/*
 * capi._check_endpoint(endpoint text): the endpoint without trailing slash.
 * Raises 22023 unless it is https://host[:port][/path], or plain http to a
 * loopback address with capi.allow_http on.
 */
Datum
capi_sql_check_endpoint(PG_FUNCTION_ARGS)
{
	char	   *endpoint = text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool		https = strncmp(endpoint, "https://", 8) == 0;
	bool		http = strncmp(endpoint, "http://", 7) == 0;
	const char *host = endpoint + (https ? 8 : 7);
	int			host_len;
	int			len = strlen(endpoint);

	while (len > 0 && endpoint[len - 1] == '/')
		endpoint[--len] = '\0';
	if (!https && !http)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid endpoint"),
				 errdetail("An endpoint begins with https://."),
				 errhint("Leave it out to send to Meta.")));
	host_len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/");
	if (len > 500 || host_len < 1 || host_len > (int) strlen(host) ||
		strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			   "0123456789.-_:/[]~") != strlen(host))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid endpoint"),
				 errdetail("An endpoint is https://host, with a port and a path if need be; it has no user name, query or fragment.")));
	if (http && !(capi_allow_http && is_loopback(host, host_len)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("plain http is not allowed for this endpoint"),
				 errdetail("Plain http is for tests: it needs capi.allow_http and a loopback address."),
				 errhint("Use https://.")));
	PG_RETURN_TEXT_P(cstring_to_text(endpoint));
}

/*
 * capi._check_values(type oid, vals text[]): raises 22023 unless every value
 * can be read as the type, and the type can be compared.
 */
Datum
capi_sql_check_values(PG_FUNCTION_ARGS)
{
	Oid			type = PG_GETARG_OID(0);
	Datum	   *texts;
	bool	   *nulls;
	int			n;
	Oid			input;
	Oid			ioparam;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT,
					  &texts, &nulls, &n);
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("on_values must not be empty"),
				 errhint("Leave it out to watch for the column becoming non-null.")));
	if (!OidIsValid(lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("values of type %s cannot be compared", format_type_be(type))));
	getTypeInputInfo(type, &input, &ioparam);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("on_values must not contain null")));
		(void) OidInputFunctionCall(input, TextDatumGetCString(texts[i]), ioparam, -1);
	}
	PG_RETURN_VOID();
}

/*
 * capi._check_query(query, search_path, run_as, key_types): runs the query for
 * no key, as the role and read-only, and looks at its columns.  Returns the
 * type of its key for capi.source.query_key_type.
 */
Datum
capi_sql_check_query(PG_FUNCTION_ARGS)
{
	char	   *query = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *path = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Oid			run_as = PG_GETARG_OID(2);
	ArrayType  *key_types = PG_GETARG_ARRAYTYPE_P(3);
	bool		has_zone = VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(4)) > 0;
	char	   *sql = psprintf("SELECT q.* FROM (%s\n) AS q LIMIT 0",
							   capi_query_single_select(query));
	MemoryContext caller = CurrentMemoryContext;
	CapiQueryScope scope;
	const char *result;

	SPI_connect();
	capi_query_enter(&scope, run_as, path);
	if (SPI_execute(sql, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run the query");
	result = check_columns(SPI_tuptable->tupdesc, key_types, has_zone);
	result = MemoryContextStrdup(caller, result);
	capi_query_leave(&scope);
	SPI_finish();
	PG_RETURN_TEXT_P(cstring_to_text(result));
}

/* Columns that are not fields of Meta's; kept in step with query.c. */
static const char *const own_columns[] = {
	"action_source", "dataset", "event_id", "event_name", "event_time",
	"ignore_reason", "key"
};

static void
unknown_column(const char *name)
{
	StringInfoData known;

	initStringInfo(&known);
	for (size_t i = 0; i < lengthof(own_columns); i++)
		appendStringInfo(&known, "%s, ", own_columns[i]);
	for (int i = 0; i < CAPI_FIELD_COUNT; i++)
		appendStringInfo(&known, "%s%s", i > 0 ? ", " : "", capi_field_info(i)->name);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("the query returns an unknown column \"%s\"", name),
			 errdetail("Known columns: %s.", known.data),
			 errhint("Put free properties into one jsonb column custom_data.")));
}

static void
check_event_time(Oid type, bool has_zone)
{
	switch (getBaseType(type))
	{
		case TIMESTAMPTZOID:
		case INT8OID:
		case INT4OID:
		case NUMERICOID:
		case FLOAT8OID:
			return;
		case TIMESTAMPOID:
			if (has_zone)
				return;
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("event_time is a timestamp without time zone"),
					 errdetail("Nobody can tell which moment it means."),
					 errhint("Give attach() the time_zone it is written in, for example UTC, or say it in the query: column AT TIME ZONE 'UTC'.")));
		default:
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("event_time has type %s", format_type_be(type)),
					 errdetail("It must be a timestamp, or Unix seconds.")));
	}
}

static const char *
check_columns(TupleDesc desc, ArrayType *key_types, bool has_zone)
{
	const char *key = NULL;
	bool		has_time = false;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		const char *name = NameStr(att->attname);
		bool		own = false;

		for (int j = 0; j < i; j++)
			if (strcmp(NameStr(TupleDescAttr(desc, j)->attname), name) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("the query returns column \"%s\" twice", name)));
		for (size_t j = 0; j < lengthof(own_columns); j++)
			own |= strcmp(own_columns[j], name) == 0;
		if (!own && capi_field_lookup(name) < 0)
			unknown_column(name);
		if (strcmp(name, "key") == 0)
			key = check_key(att->atttypid, key_types);
		if (strcmp(name, "event_time") == 0)
		{
			has_time = true;
			check_event_time(att->atttypid, has_zone);
		}
	}
	if (key == NULL || !has_time)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("the query does not return a column \"%s\"",
						key == NULL ? "key" : "event_time"),
				 errdetail("Every query returns key, the value that identifies the order, and event_time.")));
	return key;
}

/* The text for query_key_type: a type name, "record" or "array". */
static const char *
check_key(Oid query_type, ArrayType *key_types)
{
	int			nkeys = ARR_DIMS(key_types)[0];
	Oid			column = ((Oid *) ARR_DATA_PTR(key_types))[0];

	if (nkeys > 1)
	{
		if (query_type == RECORDOID || get_typtype(query_type) == TYPTYPE_COMPOSITE)
			return "record";
		if (OidIsValid(get_element_type(query_type)))
			return "array";
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the key has %d columns, but the query returns one value of type %s",
						nkeys, format_type_be(query_type)),
				 errhint("Return ROW(first, second) AS key, in the order of key_columns.")));
	}
	if (query_type != column &&
		!OidIsValid(OpernameGetOprid(list_make1(makeString(pstrdup("="))), column, query_type)) &&
		!(TypeCategory(query_type) == TYPCATEGORY_STRING &&
		  TypeCategory(column) == TYPCATEGORY_STRING))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the query returns a key of type %s, but the table's key has type %s",
						format_type_be(query_type), format_type_be(column)),
				 errdetail("The two must be comparable with \"=\"."),
				 errhint("Return the table's own column, without a cast, so that its index can be used.")));
	return format_type_be_qualified(query_type);
}
