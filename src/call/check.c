/*
 * check.c
 *		Checks of what users give to create_dataset() and attach().
 *
 * Called by the functions of sql/capi/, as the owner of the extension.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "base/guc.h"
#include "base/key.h"
#include "base/nearest.h"
#include "call/query_text.h"
#include "event/field.h"
#include "read/query.h"

/* Leaves room for version, dataset and edge in the URL. */
#define MAX_ENDPOINT_BYTES	500

PG_FUNCTION_INFO_V1(capi_sql_check_endpoint);
PG_FUNCTION_INFO_V1(capi_sql_check_query);
PG_FUNCTION_INFO_V1(capi_sql_check_values);

static bool is_plain(Oid base);
static ArrayType *canonical_texts(Oid type, Datum *values, int n);
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

/* Length of the host part; 0 if what follows is no port and no path. */
static int
host_length(const char *host)
{
	int			len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/");
	const char *rest = host + len;

	if (len < 1 || len > (int) strlen(host) || (host[0] == '[' && len < 4))
		return 0;
	if (*rest == ':')
	{
		int			digits = strspn(rest + 1, "0123456789");
		int			port = digits >= 1 && digits <= 5 ? atoi(rest + 1) : 0;

		if (port < 1 || port > 65535)
			return 0;
		rest += 1 + digits;
	}
	return *rest == '\0' || *rest == '/' ? len : 0;
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
	int			len = strlen(endpoint);
	int			host_len;

	if (!https && !http)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid endpoint"),
				 errdetail("An endpoint begins with https://."),
				 errhint("Leave it out to send to Meta.")));
	while (len > host - endpoint && endpoint[len - 1] == '/')
		endpoint[--len] = '\0';
	host_len = host_length(host);
	if (len > MAX_ENDPOINT_BYTES || host_len == 0 ||
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
 * capi._check_values(type oid, vals text[]): the values in the one form that
 * means the same in every session.  Raises 22023 or an error of the type
 * unless each can be read as the type, and the type can be compared.
 *
 * Input is by the base type: a domain's checks are code of some user, and
 * this runs as the owner of the extension (P9).
 */
Datum
capi_sql_check_values(PG_FUNCTION_ARGS)
{
	Oid			type = PG_GETARG_OID(0);
	Oid			base = getBaseType(type);
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
	if (!is_plain(base))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("on_values cannot be used with a column of type %s",
						format_type_be(type)),
				 errdetail("It works with scalar types and enums that have equality."),
				 errhint("Leave it out to watch for the column becoming non-null, and let the query's ignore_reason judge the value.")));
	getTypeInputInfo(base, &input, &ioparam);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("on_values must not contain null"),
					 errhint("Leave on_values out to watch for the column becoming non-null.")));
		texts[i] = OidInputFunctionCall(input, TextDatumGetCString(texts[i]), ioparam, -1);
	}
	PG_RETURN_ARRAYTYPE_P(canonical_texts(base, texts, n));
}

/*
 * Can values be read, written and compared without running anything that a
 * user wrote?  Types made of other types could hide a domain inside.
 */
static bool
is_plain(Oid base)
{
	char		kind = get_typtype(base);

	return (kind == TYPTYPE_BASE || kind == TYPTYPE_ENUM) &&
		!OidIsValid(get_element_type(base)) && OidIsValid(get_array_type(base)) &&
		OidIsValid(lookup_type_cache(base, TYPECACHE_EQ_OPR)->eq_opr);
}

static ArrayType *
canonical_texts(Oid type, Datum *values, int n)
{
	CapiKeySettings saved;
	Oid			output;
	bool		varlena;

	getTypeOutputInfo(type, &output, &varlena);
	capi_key_use_settings(&saved);
	PG_TRY();
	{
		for (int i = 0; i < n; i++)
			values[i] = CStringGetTextDatum(OidOutputFunctionCall(output, values[i]));
	}
	PG_FINALLY();
	{
		capi_key_restore_settings(&saved);
	}
	PG_END_TRY();
	return construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT);
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
	char	   *select = capi_query_single_select(query);
	char	   *sql = psprintf("SELECT q.* FROM (%s\n) AS q LIMIT 0", select);
	MemoryContext caller = CurrentMemoryContext;
	CapiQueryScope scope;
	const char *result;

	SPI_connect();
	capi_query_enter(&scope, run_as, path);
	/* not as SPI's "read-only", whose errors speak of functions */
	if (SPI_execute(sql, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run the query");
	result = check_columns(SPI_tuptable->tupdesc, key_types, has_zone);
	capi_query_text_check_zones(select);
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

/* What a column of such a name is called in a query of a source, or NULL. */
static const char *
usual_column(const char *name)
{
	int			len = strlen(name);
	int			field = capi_field_lookup_usual(name, len);

	if (field >= 0)
		return capi_field_info(field)->name;
	if (strcmp(name, "id") == 0)
		return "key";
	if (len > 3 && strcmp(name + len - 3, "_at") == 0)
		return "event_time";
	return NULL;
}

static void
unknown_column(const char *name)
{
	const char *known[lengthof(own_columns) + CAPI_FIELD_COUNT];
	const char *nearest;
	int			n = 0;
	StringInfoData list;

	for (size_t i = 0; i < lengthof(own_columns); i++)
		known[n++] = own_columns[i];
	for (int i = 0; i < CAPI_FIELD_COUNT; i++)
		known[n++] = capi_field_info(i)->name;
	initStringInfo(&list);
	for (int i = 0; i < n; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", known[i]);
	nearest = usual_column(name);
	if (nearest == NULL)
		nearest = capi_nearest(name, known, n);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("the query returns an unknown column \"%s\"", name),
			 errdetail("Known columns: %s.", list.data),
			 nearest != NULL ? errhint("Perhaps you meant \"%s\".", nearest) :
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
						 errmsg("the query returns column \"%s\" twice", name),
						 errhint("Name each column once; several values of a field go into one array.")));
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
				 errdetail("Every query returns key, the value that identifies the order, and event_time."),
				 errhint("Name the columns with AS, for example o.id AS key.")));
	return key;
}

/* Can a key of the column's type be looked up among those of the query? */
static bool
is_comparable(Oid query_type, Oid column)
{
	List	   *equals = list_make2(makeString(pstrdup("pg_catalog")),
									makeString(pstrdup("=")));

	query_type = getBaseType(query_type);
	column = getBaseType(column);
	return query_type == column ||
		OidIsValid(OpernameGetOprid(equals, column, query_type)) ||
		(TypeCategory(query_type) == TYPCATEGORY_STRING &&
		 TypeCategory(column) == TYPCATEGORY_STRING);
}

/* The text for query_key_type: a type name, "record" or "array". */
static const char *
check_key(Oid query_type, ArrayType *key_types)
{
	int			nkeys = ARR_DIMS(key_types)[0];
	Oid			column = ((Oid *) ARR_DATA_PTR(key_types))[0];
	Oid			base = getBaseType(query_type);

	if (nkeys > 1)
	{
		if (base == RECORDOID || get_typtype(base) == TYPTYPE_COMPOSITE)
			return "record";
		if (OidIsValid(get_element_type(base)))
			return "array";
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the key has %d columns, but the query returns one value of type %s",
						nkeys, format_type_be(query_type)),
				 errhint("Return ROW(first, second) AS key, in the order of key_columns, or name fewer key_columns.")));
	}
	if (!is_plain(base))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("an order key cannot have type %s", format_type_be(query_type)),
				 errdetail("A key is a scalar or an enum that has equality."),
				 errhint("Return the column that identifies the order.")));
	if (!is_comparable(query_type, column))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the query returns a key of type %s, but the table's key has type %s",
						format_type_be(query_type), format_type_be(column)),
				 errdetail("The two must be comparable with \"=\"."),
				 errhint("Return the table's own column, without a cast, so that its index can be used.")));
	return format_type_be_qualified(base);
}
