/*
 * query.c
 *		From keys to raw orders: runs a source's query as the role it belongs
 *		to, read-only, inside a transaction of the caller's.
 *
 * Called by run.c in a reader, by caller.c for functions that look at orders as
 * their caller, and by check.c for the check at attach.  Limits rows, not time:
 * the reader does.  What the query returned is row.c's to read, goes to the
 * caller row by row, and is never logged (P7).
 */
#include "postgres.h"

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
#include "mb/pg_wchar.h"
#include "parser/parser.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/lsyscache.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "base/capi.h"
#include "base/encoding.h"
#include "base/guc.h"
#include "base/key.h"
#include "base/pinned.h"
#include "base/txn.h"
#include "read/query.h"
#include "read/row.h"

/*
 * Rows for each order, and some for all, beyond which a query is given up: two
 * would be too many already, and a join without its condition returns millions.
 */
#define MAX_ROWS_PER_KEY	10
#define SPARE_ROWS			100

/* Longest text of an error that is kept. */
#define MAX_ERROR_BYTES		400

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

/* A statement that is kept for the next portion of the same source. */
typedef struct SavedPlan
{
	int			source_id;
	Oid			run_as;
	char	   *sql;
	char	   *search_path;
	SPIPlanPtr	plan;
} SavedPlan;

/* Of the sources whose orders this process reads; the oldest makes room. */
#define MAX_SAVED_PLANS		16
static SavedPlan saved_plans[MAX_SAVED_PLANS];
static int	next_saved_plan = 0;

/* The statement that was made last, of whose errors some are told. */
static char *statement = NULL;

static int	find_key(Keys *keys, Datum value, Oid type, Oid collation, const char *text);
static void index_keys(Keys *keys);

/* ---------- rights ---------- */

static void
set_locally(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * What a function of the shop's says may be about a customer, and is neither
 * for the log nor, below an error, for the session (P7).  For a log LOG ranks
 * above ERROR, and parallel workers of a session have these settings, too.
 */
static void
silence(void)
{
	if (log_min_messages < FATAL)
		(void) set_config_option("log_min_messages", "fatal", PGC_SUSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	if (client_min_messages < ERROR)
		set_locally("client_min_messages", "error");
}

/* A role that became a superuser since has no such rights here. */
Oid
capi_query_role(Oid run_as)
{
	return superuser_arg(run_as) ? ROLE_PG_READ_ALL_DATA : run_as;
}

void
capi_query_enter(CapiQueryScope *scope, Oid run_as, const char *search_path)
{
	run_as = capi_query_role(run_as);
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(run_as)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the role that the query of the source runs as does not exist"),
				 errhint("capi.alter_source(..., query => ...) makes it run as the caller.")));
	GetUserIdAndSecContext(&scope->userid, &scope->sec_context);
	scope->nest_level = NewGUCNestLevel();
	capi_pinned_locally(CAPI_PINNED_QUERY, GUC_ACTION_SAVE);
	set_locally("search_path", search_path);
	silence();
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

static bool
is_saved(const SavedPlan *saved, const CapiSource *source, const char *sql)
{
	return saved->plan != NULL && saved->source_id == source->id &&
		saved->run_as == source->run_as && strcmp(saved->sql, sql) == 0 &&
		strcmp(saved->search_path, source->search_path) == 0;
}

void
capi_query_forget_plans(void)
{
	for (int i = 0; i < MAX_SAVED_PLANS; i++)
	{
		SavedPlan  *saved = &saved_plans[i];

		if (saved->plan == NULL)
			continue;
		SPI_freeplan(saved->plan);
		pfree(saved->sql);
		pfree(saved->search_path);
		memset(saved, 0, sizeof(*saved));
	}
}

/* Between enter and leave, and inside SPI. */
static SPIPlanPtr
prepare(const CapiSource *source, const char *sql, Oid argtype, bool keep)
{
	SavedPlan  *saved;
	SPIPlanPtr	plan;

	for (int i = 0; keep && i < MAX_SAVED_PLANS; i++)
		if (is_saved(&saved_plans[i], source, sql))
			return saved_plans[i].plan;
	plan = SPI_prepare(sql, 1, &argtype);
	if (plan == NULL)
		elog(ERROR, "could not prepare the query of a source");
	if (!keep)
		return plan;
	saved = &saved_plans[next_saved_plan];
	next_saved_plan = (next_saved_plan + 1) % MAX_SAVED_PLANS;
	if (saved->plan != NULL)
	{
		SPI_freeplan(saved->plan);
		pfree(saved->sql);
		pfree(saved->search_path);
	}
	memset(saved, 0, sizeof(*saved));
	saved->sql = MemoryContextStrdup(TopMemoryContext, sql);
	saved->search_path = MemoryContextStrdup(TopMemoryContext, source->search_path);
	saved->source_id = source->id;
	saved->run_as = source->run_as;
	SPI_keepplan(plan);
	saved->plan = plan;
	return plan;
}

static void
too_many_rows(uint64 rows, int nkeys)
{
	ereport(ERROR,
			(errcode(ERRCODE_CARDINALITY_VIOLATION),
			 errmsg("the query returned more than %d rows for %d orders",
					(int) rows, nkeys),
			 errdetail("It is to return one row per order."),
			 errhint("Is the condition of a join missing?")));
}

/* Hands on rows as the executor makes them. */
typedef struct Receiver
{
	DestReceiver pub;
	CapiRowTaker take;
	void	   *arg;
} Receiver;

static bool
receive_row(TupleTableSlot *row, DestReceiver *self)
{
	Receiver   *receiver = (Receiver *) self;
	MemoryContext context = CurrentMemoryContext;
	bool		more;

	CHECK_FOR_INTERRUPTS();
	more = receiver->take(receiver->arg, row);
	MemoryContextSwitchTo(context);
	return more;
}

static void
start_rows(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
end_rows(DestReceiver *self)
{
}

/*
 * One by one, so that a query that returns a billion rows is left early; and as
 * they are, where SPI would form a tuple of each, to be taken apart again.
 */
static void
take_rows(Portal portal, CapiRowTaker take, void *arg)
{
	Receiver	receiver = {{receive_row, start_rows, end_rows, end_rows, DestNone}, take, arg};

	(void) PortalRunFetch(portal, FETCH_FORWARD, FETCH_ALL, &receiver.pub);
}

/* The orders of one run of a source's query. */
typedef struct Run
{
	Keys	   *keys;
	CapiRowReader *reader;
	int		   *found;			/* rows by key */
	uint64		rows;
	MemoryContext orders;		/* where they are allocated */
	bool		reset;			/* each goes when its taker returns */
	CapiOrderTaker take;
	void	   *arg;
} Run;

static void
take_order(Run *run, TupleTableSlot *row)
{
	CapiOrder	order;
	Datum		value;
	Oid			type;
	Oid			collation;
	char	   *text = capi_row_key(run->reader, row, &value, &type, &collation);
	int			at = text != NULL ? find_key(run->keys, value, type, collation, text) : -1;

	if (at < 0)
		return;
	memset(&order, 0, sizeof(order));
	order.found = ++run->found[at];
	order.key = text;
	if (order.found == 1)
		capi_row_read(run->reader, row, &order);
	run->take(run->arg, at, &order);
}

/* CapiRowTaker; arg: the run. */
static bool
take_row(void *arg, TupleTableSlot *row)
{
	Run		   *run = arg;
	int			nkeys = run->keys->n;
	uint64		limit = (uint64) nkeys * MAX_ROWS_PER_KEY + SPARE_ROWS;

	/* with one key it is known by now that there are several */
	if (++run->rows > limit && nkeys == 1)
		return false;
	if (run->rows > limit)
		too_many_rows(limit, nkeys);
	MemoryContextSwitchTo(run->orders);
	take_order(run, row);
	if (run->reset)
		MemoryContextReset(run->orders);
	return true;
}

/*
 * Locks first, then the snapshot: one that is older than a command for which
 * the locks were waited for, and which rewrote a table, sees none of the rows
 * that are there now.  For a reader, whose transaction is its own.
 */
static void
look_after_locking(SPIPlanPtr plan, Datum *array)
{
	SPI_cursor_close(SPI_cursor_open(NULL, plan, array, NULL, true));
	PopActiveSnapshot();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/* Condition on a row q of the query; the keys as its argument. */
static char *
key_condition(const CapiSource *source, Keys *keys, Datum *array, Oid *argtype)
{
	*array = read_keys(source, keys, argtype);
	return psprintf("q.key%s OPERATOR(%s) ANY ($1)", keys->as_text ? "::text" : "",
					equality_operator(keys));
}

char *
capi_query_key_condition(const CapiSource *source, char **texts, int nkeys,
						 Datum *array, Oid *argtype)
{
	Keys		keys = {.texts = texts, .n = nkeys};

	return key_condition(source, &keys, array, argtype);
}

char *
capi_query_statement(const char *select, const char *condition)
{
	char	   *sql = psprintf("SELECT q.* FROM (%s\n) AS q%s%s", select,
							   condition != NULL ? " WHERE " : "",
							   condition != NULL ? condition : "");
	char	   *copy = MemoryContextStrdup(TopMemoryContext, sql);

	/* not before: there may be no memory for the copy */
	if (statement != NULL)
		pfree(statement);
	statement = copy;
	return sql;
}

/* The statement around the query, and the keys as its argument. */
static char *
build_statement(const CapiSource *source, Keys *keys, Datum *array, Oid *argtype)
{
	char	   *select = capi_query_single_select(source->query);

	/* values become text, and text values, with the source's rights, too */
	char	   *condition = key_condition(source, keys, array, argtype);

	index_keys(keys);
	return capi_query_statement(select, condition);
}

void
capi_query_check(const CapiSource *source)
{
	MemoryContext context = CurrentMemoryContext;
	Keys		keys = {0};
	CapiQueryScope scope;
	Oid			argtype;
	Datum		array;
	char	   *sql;

	capi_query_enter(&scope, source->run_as, source->search_path);
	capi_query_use_key_settings(source);
	sql = build_statement(source, &keys, &array, &argtype);
	SPI_cursor_close(SPI_cursor_open(NULL, prepare(source, sql, argtype, false),
									 &array, NULL, true));
	capi_query_leave(&scope);
	MemoryContextSwitchTo(context);
}

void
capi_query_each(const CapiSource *source, char **texts, int nkeys, bool in_reader,
				MemoryContext orders, CapiOrderTaker take, void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	Keys		keys = {.texts = texts, .n = nkeys};
	Run			run = {.keys = &keys, .orders = orders, .reset = orders == NULL,
	.take = take, .arg = arg};
	CapiQueryScope scope;
	SPIPlanPtr	plan;
	Portal		portal;
	Oid			argtype;
	Datum		array;
	char	   *sql;

	capi_query_enter(&scope, source->run_as, source->search_path);
	capi_query_use_key_settings(source);
	sql = build_statement(source, &keys, &array, &argtype);
	plan = prepare(source, sql, argtype, in_reader);
	if (in_reader)
		look_after_locking(plan, &array);
	if (run.reset)
		run.orders = AllocSetContextCreate(context, "capi rows of a query",
										   ALLOCSET_DEFAULT_SIZES);
	portal = SPI_cursor_open(NULL, plan, &array, NULL, true);
	run.reader = capi_row_open(source, portal->tupDesc);
	run.found = palloc0(sizeof(int) * (nkeys + 1));
	take_rows(portal, take_row, &run);
	SPI_cursor_close(portal);
	capi_query_leave(&scope);
	MemoryContextSwitchTo(context);
	if (run.reset)
		MemoryContextDelete(run.orders);
}

void
capi_query_rows(const CapiSource *source, bool only_look, CapiRowsOpener open,
				CapiRowTaker take, void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	CapiQueryScope scope;
	SPIPlanPtr	plan;
	Portal		portal;

	capi_query_enter(&scope, source->run_as, source->search_path);
	plan = SPI_prepare(capi_query_statement(capi_query_single_select(source->query), NULL), 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare the query of an audience");
	look_after_locking(plan, NULL);
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	MemoryContextSwitchTo(context);
	open(arg, portal->tupDesc);
	if (!only_look)
		take_rows(portal, take, arg);
	SPI_cursor_close(portal);
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
	/*
	 * As it is sent (validate.c): numbers this large are milliseconds.  What is no
	 * time of the server's is none, rather than an error.
	 */
	return pstrdup("pg_catalog.to_timestamp(CASE"
				   " WHEN q.event_time OPERATOR(pg_catalog.<) (-210866803200) THEN NULL"
				   " WHEN q.event_time OPERATOR(pg_catalog.<) 100000000000 THEN q.event_time::pg_catalog.float8"
				   " WHEN q.event_time OPERATOR(pg_catalog.<) 9224318016000000"
				   " THEN q.event_time::pg_catalog.float8 OPERATOR(pg_catalog./) 1000 END)");
}

/* What the query did not say, the source says (DESIGN 4.2). */
void
capi_query_defaults(CapiEvent *event, const CapiSource *source, const char *key)
{
	if (event->event_id == NULL)
		event->event_id = key;
	if (event->event_name == NULL)
		event->event_name = capi_to_utf8(source->event_name);
	if (event->action_source == NULL)
		event->action_source = capi_to_utf8(source->action_source);
}

/* ---------- keys ---------- */

static void
index_keys(Keys *keys)
{
	HASHCTL		ctl = {.keysize = sizeof(uint32), .entrysize = sizeof(KeyEntry),
	.hcxt = CurrentMemoryContext};

	keys->index = hash_create("capi keys of a query", keys->n + 1, &ctl,
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

/* ---------- errors ---------- */

/*
 * Does the error come from the statement itself, not from a function in it, which
 * the planner may call?  Then it is all there is of a context, but for a few
 * words around it.  A function may run a statement that looks like ours.
 */
static bool
is_of_statement(const ErrorData *edata)
{
	const char *at;

	if (edata->context == NULL)
		return true;
	at = statement != NULL ? strstr(edata->context, statement) : NULL;
	return at != NULL && memchr(edata->context, '\n', at - edata->context) == NULL &&
		strchr(at + strlen(statement), '\n') == NULL;
}

char *
capi_query_error_text(const ErrorData *edata, bool with_no_order)
{
	if (with_no_order && is_of_statement(edata) &&
		ERRCODE_TO_CATEGORY(edata->sqlerrcode) == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION)
		return pnstrdup(edata->message, pg_mbcliplen(edata->message, strlen(edata->message),
													 MAX_ERROR_BYTES));
	return psprintf("the query failed with SQLSTATE %s%s", unpack_sql_state(edata->sqlerrcode),
					edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ?
					": a table that it reads is locked" :
					edata->sqlerrcode == ERRCODE_OUT_OF_MEMORY ?
					": it wants more than capi.reader_memory, or the server has no more" : "");
}
