/*
 * query.c
 *		From keys to raw events: runs a source's query as the role it belongs
 *		to, read-only, with a time limit, in a transaction of its own.
 *
 * Called by dispatch.c, and by check.c for the check at attach.  Does not judge
 * or change values: payload.c does.  What the query returned lives in the
 * memory of the caller until the events are written; it is never logged (P7).
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/analyze.h"
#include "parser/parse_type.h"
#include "parser/parser.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/capi.h"
#include "base/guc.h"
#include "base/key.h"
#include "base/pinned.h"
#include "base/txn.h"
#include "read/query.h"

/* The statement around a source's query begins like this. */
#define STATEMENT_BEGIN		"SELECT q.* FROM ("

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
	FmgrInfo	out;			/* of the type, or of the array's element */
	bool		is_array;
	Oid			element;
	int16		len;
	bool		byval;
	char		align;
} ResultColumn;

/* Position of a key among the keys asked for. */
typedef struct KeyEntry
{
	uint32		hash;			/* hash key */
	int			first;			/* index of a key with this hash */
} KeyEntry;

/* The keys asked for in one run. */
typedef struct Keys
{
	char	  **texts;			/* as they were captured */
	int			n;
	HTAB	   *index;			/* KeyEntry by hash of the text */
	bool		as_text;		/* several columns: compared as text */
	TypeCacheEntry *type;		/* of the query's key column, else */
	Datum	   *values;			/* the keys in that type */
} Keys;

static TimeoutId query_timeout;
static bool timeout_registered = false;
static volatile sig_atomic_t timed_out = false;

static void read_rows(const CapiSource *source, Keys *keys, CapiOrder *rows,
					  MemoryContext context);
static void read_row(const CapiSource *source, HeapTuple tuple, TupleDesc desc,
					 ResultColumn *columns, CapiOrder *row);
static void describe_error(ErrorData *edata, CapiQueryError *error);

/* ---------- rights ---------- */

static void
set_locally(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * What a function of the shop's says below an error may be about a customer,
 * and is neither for the log nor for the session that delivers (P7).
 */
static void
silence(const char *name, int level)
{
	if (level < ERROR)
		(void) set_config_option(name, "error", PGC_SUSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

void
capi_query_enter(CapiQueryScope *scope, Oid run_as, const char *search_path)
{
	/* a role that became a superuser since, or is gone, has no rights here */
	if (superuser_arg(run_as))
		run_as = ROLE_PG_READ_ALL_DATA;
	GetUserIdAndSecContext(&scope->userid, &scope->sec_context);
	scope->nest_level = NewGUCNestLevel();
	capi_pinned_locally(CAPI_PINNED_QUERY, GUC_ACTION_SAVE);
	set_locally("search_path", search_path);
	silence("client_min_messages", client_min_messages);
	silence("log_min_messages", log_min_messages);
	/* from 17 on the setting of that name cannot be set for a while */
	scope->read_only = XactReadOnly;
	XactReadOnly = true;
	SetUserIdAndSecContext(run_as, scope->sec_context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
}

void
capi_query_leave(const CapiQueryScope *scope)
{
	XactReadOnly = scope->read_only;
	AtEOXact_GUC(false, scope->nest_level);
	SetUserIdAndSecContext(scope->userid, scope->sec_context);
}

/*
 * A key of several columns is compared as text, and a time in it was written
 * in UTC (key.c).  Between enter and leave.
 */
void
capi_query_use_key_settings(const CapiSource *source)
{
	if (capi_key_form(source->key_type) != CAPI_KEY_SCALAR ||
		strcmp(source->key_type, "timestamp with time zone") == 0)
		set_locally("timezone", "UTC");
}

/* Position of a syntax error: in the query, not in the caller's statement. */
static void
point_into_query(void *query)
{
	int			position = geterrposition();

	if (position <= 0)
		return;
	errposition(0);
	internalerrposition(position);
	internalerrquery(query);
}

char *
capi_query_single_select(const char *query)
{
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = point_into_query,
		.arg = unconstify(char *, query)
	};
	int			nest_level = NewGUCNestLevel();
	List	   *parsed;
	RawStmt    *stmt;
	SelectStmt *select;
	int			len;

	/* with the meaning that it has when it is run */
	capi_pinned_locally(CAPI_PINNED_QUERY, GUC_ACTION_SAVE);
	error_context_stack = &callback;
	parsed = raw_parser(query, RAW_PARSE_DEFAULT);
	error_context_stack = callback.previous;
	AtEOXact_GUC(false, nest_level);
	if (list_length(parsed) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("the query must be exactly one statement"),
				 errdetail("It has %d.", list_length(parsed)),
				 errhint("Give one SELECT over all orders.")));
	stmt = linitial_node(RawStmt, parsed);
	select = (SelectStmt *) stmt->stmt;
	if (!IsA(stmt->stmt, SelectStmt) || select->intoClause != NULL ||
		select->lockingClause != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("the query must be a SELECT that only reads"),
				 errdetail("INTO, FOR UPDATE and statements that write are refused."),
				 errhint("Give one SELECT over all orders.")));
	len = stmt->stmt_len > 0 ? stmt->stmt_len : (int) strlen(query) - stmt->stmt_location;
	return pnstrdup(query + stmt->stmt_location, len);
}

/* ---------- running ---------- */

static void
on_timeout(void)
{
	timed_out = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

bool
capi_query_run(const CapiSource *source, char **keys, int nkeys,
			   CapiOrder *rows, CapiQueryError *error)
{
	MemoryContext context = CurrentMemoryContext;
	TimestampTz started_at = GetCurrentTimestamp();
	volatile bool ok = true;

	if (!timeout_registered)
	{
		query_timeout = RegisterTimeout(USER_TIMEOUT, on_timeout);
		timeout_registered = true;
	}
	memset(rows, 0, sizeof(CapiOrder) * nkeys);
	timed_out = false;
	capi_txn_begin_query("capi: running the query of a source");
	PG_TRY();
	{
		enable_timeout_after(query_timeout, capi_query_timeout);
		capi_query_read(source, keys, nkeys, rows);
		disable_timeout(query_timeout, false);
		capi_txn_commit();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		disable_timeout(query_timeout, false);
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		/* asked to stop: that is not an error of the query */
		if (ProcDiePending || (edata->sqlerrcode == ERRCODE_QUERY_CANCELED && !timed_out))
			PG_RE_THROW();
		FlushErrorState();
		capi_txn_abort();
		describe_error(edata, error);
		error->took_ms = TimestampDifferenceMilliseconds(started_at,
														 GetCurrentTimestamp());
		FreeErrorData(edata);
		ok = false;
	}
	PG_END_TRY();
	if (timed_out)
		QueryCancelPending = false;
	MemoryContextSwitchTo(context);
	return ok;
}

/* The keys in the type of the query's key column; their array. */
static Datum
read_keys(const CapiSource *source, Keys *keys, Oid *array_type)
{
	Oid			type = TEXTOID;
	int32		typmod;
	Oid			input;
	Oid			ioparam;
	int16		len;
	bool		byval;
	char		align;

	keys->as_text = capi_key_form(source->key_type) != CAPI_KEY_SCALAR;
	if (!keys->as_text)
		parseTypeString(source->key_type, &type, &typmod, false);
	keys->type = lookup_type_cache(type, TYPECACHE_EQ_OPR | TYPECACHE_EQ_OPR_FINFO);
	getTypeInputInfo(type, &input, &ioparam);
	get_typlenbyvalalign(type, &len, &byval, &align);
	keys->values = palloc(sizeof(Datum) * keys->n);
	for (int i = 0; i < keys->n; i++)
		keys->values[i] = OidInputFunctionCall(input, keys->texts[i], ioparam, -1);
	*array_type = get_array_type(type);
	return PointerGetDatum(construct_array(keys->values, keys->n, type, len, byval, align));
}

/* The type's own equality, by name: so that the key's index can be used. */
static char *
equality_operator(const Keys *keys)
{
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(keys->type->eq_opr));
	Form_pg_operator form;
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "type %u has no equality operator", keys->type->type_id);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	name = psprintf("%s.%s", quote_identifier(get_namespace_name(form->oprnamespace)),
					NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return name;
}

void
capi_query_read(const CapiSource *source, char **texts, int nkeys,
				CapiOrder *rows)
{
	MemoryContext context = CurrentMemoryContext;
	Keys		keys = {.texts = texts, .n = nkeys};
	CapiQueryScope scope;
	Oid			argtypes[1];
	Datum		args[1];
	char	   *select = capi_query_single_select(source->query);
	char	   *sql;

	capi_query_enter(&scope, source->run_as, source->search_path);
	capi_query_use_key_settings(source);
	/* values become text, and text values, with the same rights, too */
	args[0] = read_keys(source, &keys, &argtypes[0]);
	sql = psprintf(STATEMENT_BEGIN "%s\n) AS q WHERE q.key%s OPERATOR(%s) ANY ($1)",
				   select, keys.as_text ? "::text" : "", equality_operator(&keys));
	if (capi_txn_execute_with_args(sql, 1, argtypes, args, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run the query of a source");
	read_rows(source, &keys, rows, context);
	SPI_freetuptable(SPI_tuptable);
	capi_query_leave(&scope);
	MemoryContextSwitchTo(context);
}

char *
capi_query_time_sql(const CapiSource *source, const char *query)
{
	CapiQueryScope scope;
	Oid			type;

	capi_query_enter(&scope, source->run_as, source->search_path);
	if (capi_txn_execute(psprintf("SELECT q.event_time FROM (%s\n) AS q LIMIT 0", query),
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run the query of a source");
	type = getBaseType(SPI_gettypeid(SPI_tuptable->tupdesc, 1));
	capi_query_leave(&scope);
	SPI_freetuptable(SPI_tuptable);
	if (type == TIMESTAMPTZOID)
		return pstrdup("q.event_time");
	if (type == TIMESTAMPOID)
		return psprintf("pg_catalog.timezone(%s, q.event_time)",
						quote_literal_cstr(source->time_zone != NULL ? source->time_zone : "UTC"));
	return pstrdup("pg_catalog.to_timestamp(q.event_time)");
}

/* What the query did not say, the source says (DESIGN 4.2). */
void
capi_query_defaults(CapiEvent *event, const CapiSource *source, const char *key)
{
	if (event->event_id == NULL)
		event->event_id = key;
	if (event->event_name == NULL)
		event->event_name = source->event_name;
	if (event->action_source == NULL)
		event->action_source = source->action_source;
}

/* ---------- reading the result ---------- */

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
		column->element = column->target < 0 ? InvalidOid : get_element_type(column->type);
		column->is_array = OidIsValid(column->element);
		if (column->is_array)
			get_typlenbyvalalign(column->element, &column->len, &column->byval, &column->align);
		getTypeOutputInfo(column->is_array ? column->element : column->type, &out, &varlena);
		fmgr_info(out, &column->out);
	}
	return columns;
}

static void
index_keys(Keys *keys)
{
	HASHCTL		ctl = {.keysize = sizeof(uint32), .entrysize = sizeof(KeyEntry),
	.hcxt = CurrentMemoryContext};

	keys->index = hash_create("capi keys of a query", keys->n, &ctl,
							  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int i = keys->n - 1; i >= 0; i--)
	{
		uint32		hash = string_hash(keys->texts[i], strlen(keys->texts[i]) + 1);
		KeyEntry   *entry = hash_search(keys->index, &hash, HASH_ENTER, NULL);

		entry->first = i;
	}
}

/*
 * Index of a key that came back, or -1 for one that was not asked for.  Equal
 * values may be spelled differently, 1 and 1.00 say, when the key was captured
 * from another table than the query reads.
 */
static int
find_key(Keys *keys, Datum value, Oid type, Oid collation, const char *text)
{
	uint32		hash = string_hash(text, strlen(text) + 1);
	KeyEntry   *entry = hash_search(keys->index, &hash, HASH_FIND, NULL);

	if (entry != NULL && strcmp(keys->texts[entry->first], text) == 0)
		return entry->first;
	for (int i = 0; i < keys->n; i++)
		if (strcmp(keys->texts[i], text) == 0)
			return i;
	if (keys->as_text || type != keys->type->type_id)
		return -1;
	for (int i = 0; i < keys->n; i++)
		if (DatumGetBool(FunctionCall2Coll(&keys->type->eq_opr_finfo, collation,
										   value, keys->values[i])))
			return i;
	return -1;
}

static void
read_rows(const CapiSource *source, Keys *keys, CapiOrder *rows,
		  MemoryContext context)
{
	TupleDesc	desc = SPI_tuptable->tupdesc;
	uint64		n = SPI_processed;
	ResultColumn *columns;
	int			k = 0;

	MemoryContextSwitchTo(context);
	columns = describe_columns(desc);
	index_keys(keys);
	for (int i = 0; i < desc->natts; i++)
		if (columns[i].target == OWN_KEY)
			k = i;
	for (uint64 r = 0; r < n; r++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[r];
		bool		isnull;
		Datum		value = SPI_getbinval(tuple, desc, k + 1, &isnull);
		int			at;

		if (isnull)
			continue;
		at = find_key(keys, value, columns[k].type, TupleDescAttr(desc, k)->attcollation,
					  OutputFunctionCall(&columns[k].out, value));
		if (at < 0)
			continue;
		if (rows[at].found++ == 0)
			read_row(source, tuple, desc, columns, &rows[at]);
	}
}

/* Members of a JSON array of scalars, as texts. */
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
		if (token != WJB_ELEM || (v.type == jbvNull && !places))
			continue;
		if (v.type == jbvNull)
			values->v[values->n++] = pstrdup("");
		else if (v.type == jbvString)
			values->v[values->n++] = capi_event_utf8(pnstrdup(v.val.string.val, v.val.string.len));
		else if (v.type == jbvNumeric)
			values->v[values->n++] = DatumGetCString(DirectFunctionCall1(numeric_out,
																		 NumericGetDatum(v.val.numeric)));
	}
}

static void
read_values(ResultColumn *column, Datum value, CapiValues *values)
{
	values->type = column->type;
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
			if (!nulls[i])
				values->v[values->n++] = capi_event_utf8(OutputFunctionCall(&column->out, elements[i]));
			else if (capi_field_info(column->target)->flags & CAPI_FIELD_PLACES)
				values->v[values->n++] = pstrdup("");
		return;
	}
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
			values->v[0] = capi_event_utf8(pnstrdup(scalar.val.string.val, scalar.val.string.len));
			values->n = 1;
			return;
		}
	}
	values->v = palloc(sizeof(char *));
	values->v[0] = capi_event_utf8(OutputFunctionCall(&column->out, value));
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

static void
read_row(const CapiSource *source, HeapTuple tuple, TupleDesc desc,
		 ResultColumn *columns, CapiOrder *row)
{
	Datum	   *cells = palloc(sizeof(Datum) * desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * desc->natts);

	heap_deform_tuple(tuple, desc, cells, nulls);
	row->event.minor_units = source->minor_units;
	for (int i = 0; i < desc->natts; i++)
	{
		ResultColumn *column = &columns[i];
		Datum		value = cells[i];

		if (nulls[i] || column->target == OWN_UNKNOWN || column->target == OWN_KEY)
			continue;
		if (column->target >= 0)
		{
			read_values(column, value, &row->event.values[column->target]);
			continue;
		}
		if (column->target == OWN_EVENT_TIME)
		{
			read_time(source, column->type, value, &row->event);
			continue;
		}
		else
		{
			char	   *text = capi_event_utf8(OutputFunctionCall(&column->out, value));

			if (column->target == OWN_EVENT_ID)
				row->event.event_id = text;
			else if (column->target == OWN_EVENT_NAME)
				row->event.event_name = text;
			else if (column->target == OWN_ACTION_SOURCE)
				row->event.action_source = text;
			else if (column->target == OWN_DATASET)
				row->dataset = text;
			else if (column->target == OWN_IGNORE_REASON)
				row->ignore_reason = text;
		}
	}
}

/* Does the error come from the statement itself, not from a function in it? */
static bool
is_of_statement(const ErrorData *edata)
{
	const char *at;

	if (edata->context == NULL)
		return true;
	at = strstr(edata->context, STATEMENT_BEGIN);
	return at != NULL && memchr(edata->context, '\n', at - edata->context) == NULL;
}

/*
 * Messages about names and rights hold no row's values and are kept; the text
 * of a data error, or of any error in a function, may quote a customer, so only
 * its SQLSTATE is (P7).
 */
static void
describe_error(ErrorData *edata, CapiQueryError *error)
{
	int			category = ERRCODE_TO_CATEGORY(edata->sqlerrcode);

	error->sqlstate = edata->sqlerrcode;
	error->of_query = category != ERRCODE_DATA_EXCEPTION &&
		category != ERRCODE_CARDINALITY_VIOLATION &&
		category != ERRCODE_TO_CATEGORY(ERRCODE_RAISE_EXCEPTION);
	if (timed_out)
		strlcpy(error->text, "the query took longer than capi.query_timeout",
				sizeof(error->text));
	else if (category == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION &&
			 is_of_statement(edata))
		strlcpy(error->text, edata->message, sizeof(error->text));
	else
		snprintf(error->text, sizeof(error->text), "the query failed with SQLSTATE %s",
				 unpack_sql_state(edata->sqlerrcode));
}
