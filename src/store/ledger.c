/*
 * ledger.c
 *		Each order of a time in exactly one class: orders that the shop's query
 *		tells today, put beside what the tables of capi hold, by key.
 *
 * In two statements, so that the cost follows the window and not the log:
 *
 *		look		the window's orders and the window's records.  What is clear
 *					is summed up at once, the rest is kept order by order
 *		settle		the rest is looked up in all of the log by key, and in what
 *					the query says of it besides ("elsewhere")
 *
 * An order belongs to the time that the query tells; one that it does not return
 * any more, to that of its record.  Called by call/reconcile.c, which runs the
 * query.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/queryenvironment.h"
#include "utils/snapmgr.h"

#include "base/entry.h"
#include "store/ledger.h"
#include "store/segment.h"

/* Columns of what the first statement finds. */
enum
{
	KNOWN_KEY, KNOWN_AT, KNOWN_VALUE, KNOWN_CURRENCY, KNOWN_IGNORED,
	KNOWN_ACTION_SOURCE, KNOWN_RANK, KNOWN_IGNORED_AT, KNOWN_UNREAD_AT,
	KNOWN_EVENT_TIME, KNOWN_SEEN_AT, KNOWN_SENT_VALUE, KNOWN_SENT_CURRENCY,
	KNOWN_CLASS, KNOWN_ORDERS, KNOWN_COLUMNS
};

typedef struct Column
{
	const char *name;
	Oid			type;
} Column;

static const Column order_columns[] = {
	{"key", TEXTOID}, {"at", TIMESTAMPTZOID}, {"value", NUMERICOID},
	{"currency", TEXTOID}, {"ignored", BOOLOID}, {"action_source", TEXTOID}
};

static const Column known_columns[] = {
	{"key", TEXTOID}, {"at", TIMESTAMPTZOID}, {"value", NUMERICOID},
	{"currency", TEXTOID}, {"ignored", BOOLOID}, {"action_source", TEXTOID},
	{"rank", INT4OID}, {"ignored_at", TIMESTAMPTZOID}, {"unread_at", TIMESTAMPTZOID},
	{"event_time", TIMESTAMPTZOID}, {"seen_at", TIMESTAMPTZOID},
	{"sent_value", NUMERICOID}, {"sent_currency", TEXTOID}, {"class", TEXTOID},
	{"orders", INT8OID}
};

StaticAssertDecl(lengthof(order_columns) == ORDER_COLUMNS, "columns of an order");
StaticAssertDecl(lengthof(known_columns) == KNOWN_COLUMNS, "columns of what is known");

static CapiRows *
create_rows(const Column *columns, int n)
{
	CapiRows   *rows = palloc0(sizeof(CapiRows));

	rows->desc = CreateTemplateTupleDesc(n);
	for (int i = 0; i < n; i++)
	{
		TupleDescInitEntry(rows->desc, i + 1, columns[i].name, columns[i].type, -1, 0);
		if (columns[i].type == TEXTOID)
			TupleDescInitEntryCollation(rows->desc, i + 1, C_COLLATION_OID);
	}
	rows->rows = tuplestore_begin_heap(false, false, work_mem);
	return rows;
}

CapiRows *
capi_ledger_orders(void)
{
	return create_rows(order_columns, ORDER_COLUMNS);
}

/* ---------- one snapshot ---------- */

/* A truncated segment is empty for every snapshot, also for an older one. */
static void
check_segments(void)
{
	if (SPI_execute("SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
					" WHERE n.nspname IN ('capi', 'capi_reserve') AND c.relname ~ '^queue(_[0-3])?$'"
					" AND c.relfilenode <> pg_relation_filenode(c.oid)", true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look at the queue");
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the queue was emptied after this transaction began"),
				 errdetail("What this transaction still sees of the log does not say what became of the orders that were in it."),
				 errhint("Try again in a new transaction, or under READ COMMITTED.")));
}

void
capi_ledger_begin(Oid owner)
{
	CapiOwnerScope scope;

	for (int i = 0; i < CAPI_QUEUE_SEGMENTS; i++)
		LockRelationOid(capi_segment_relid(i), AccessShareLock);
	PushActiveSnapshot(GetTransactionSnapshot());
	capi_enter_owner(owner, &scope);
	check_segments();
	capi_leave_owner(&scope);
}

void
capi_ledger_end(void)
{
	PopActiveSnapshot();
}

/* ---------- statements ---------- */

/* Makes the rows known to statements under that name. */
static void
lend(const char *name, CapiRows *rows)
{
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));

	enr->md.name = pstrdup(name);
	enr->md.reliddesc = InvalidOid;
	enr->md.tupdesc = rows->desc;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = rows->n;
	enr->reldata = rows->rows;
	if (SPI_register_relation(enr) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register \"%s\"", name);
}

static void
run(const CapiLedger *ledger, const char *sql, Tuplestorestate *result,
	TupleDesc desc, int64 *n)
{
	Oid			types[] = {INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID};
	Datum		values[] = {
		Int32GetDatum(ledger->source_id), TimestampTzGetDatum(ledger->since),
		TimestampTzGetDatum(ledger->until), CStringGetTextDatum(ledger->zone),
		CStringGetTextDatum(ledger->unit)
	};
	SPIExecuteOptions options = {.read_only = true, .params = makeParamList(lengthof(types))};
	SPIPlanPtr	plan = SPI_prepare(sql, lengthof(types), types);

	if (plan == NULL)
		elog(ERROR, "could not prepare a count");
	for (int i = 0; i < (int) lengthof(types); i++)
	{
		options.params->params[i].value = values[i];
		options.params->params[i].isnull = false;
		options.params->params[i].pflags = PARAM_FLAG_CONST;
		options.params->params[i].ptype = types[i];
	}
	options.dest = CreateDestReceiver(DestTuplestore);
	SetTuplestoreDestReceiverParams(options.dest, result, CurrentMemoryContext,
									false, desc, "a count has other columns than it should");
	if (SPI_execute_plan_extended(plan, &options) != SPI_OK_SELECT)
		elog(ERROR, "could not count orders");
	*n = SPI_processed;
	SPI_freeplan(plan);
}

/*
 * How a key is compared: as its text, where equal values have one text.  Of a
 * number the zeros at the end do not count, of char(n) the blanks; the type
 * citext, of an extension, has no regard for case.
 */
static char *
key_sql(const CapiLedger *ledger, const char *key)
{
	if (strcmp(ledger->key_type, "numeric") == 0 ||
		strncmp(ledger->key_type, "numeric(", 8) == 0)
		return psprintf("CASE WHEN strpos(%s, '.') > 0 THEN rtrim(rtrim(%s, '0'), '.') ELSE %s END",
						key, key, key);
	if (strcmp(ledger->key_type, "pg_catalog.bpchar") == 0 ||
		strncmp(ledger->key_type, "character", 9) == 0)
		return psprintf("rtrim(%s, ' ')", key);
	if (strstr(ledger->key_type, "citext") != NULL)
		return psprintf("lower(%s)", key);
	return psprintf("%s", key);
}

/* Columns that an order gives to the row of its key. */
#define ORDER_ROW \
	"o.at, o.value, o.currency, o.ignored, o.action_source," \
	" NULL::int AS rank, NULL::timestamptz AS ignored_at, NULL::timestamptz AS unread_at," \
	" NULL::timestamptz AS event_time, NULL::timestamptz AS seen_at," \
	" NULL::numeric AS sent_value, NULL::text COLLATE \"C\" AS sent_currency"

/* Those that a record gives, without an order's own. */
#define RECORD_ROW \
	"NULL::timestamptz, NULL::numeric, NULL::text, NULL::boolean, NULL::text, "

/*
 * What a record says.  An ignored order that was captured again waits; one that
 * was forgotten stays it, whatever else is found.
 */
#define DELIVERY_ROW \
	RECORD_ROW \
	"CASE d.outcome WHEN 'forgotten' THEN 6 WHEN 'delivered' THEN 5 WHEN 'rejected' THEN 4" \
	" WHEN 'expired' THEN 3 ELSE 1 END," \
	" CASE WHEN d.outcome = 'ignored' THEN d.captured_at END, NULL," \
	" d.event_time, d.captured_at," \
	" CASE WHEN d.outcome = 'delivered' THEN d.value END, d.currency"
#define BACKLOG_ROW \
	RECORD_ROW "2, NULL, NULL, w.event_time, w.captured_at, NULL, w.currency"
#define UNREAD_ROW \
	RECORD_ROW "0, NULL, u.captured_at, NULL, u.captured_at, NULL, NULL"

#define CLASS \
	"CASE WHEN b.rank = 5 THEN 'delivered' WHEN b.rank = 4 THEN 'rejected'" \
	" WHEN b.rank = 3 THEN 'expired' WHEN b.rank = 2 THEN 'waiting' WHEN b.rank = 6 THEN 'ignored'" \
	" WHEN b.unread_at > coalesce(b.ignored_at, '-infinity') THEN 'waiting'" \
	" WHEN b.rank = 1 THEN 'ignored' ELSE 'missing' END"

#define AT			"coalesce(b.at, b.event_time, b.seen_at)"
#define IN_WINDOW	AT " >= $2 AND " AT " < $3"

/* In the query's result, though perhaps without a time? */
#define RETURNED	"(b.ignored IS NOT NULL)"

#define CURRENCY	"CASE WHEN " RETURNED " THEN b.currency ELSE b.sent_currency END"

/* Nothing else can be found out of an order and its record in the window. */
#define IS_CLEAR	"coalesce(b.at IS NOT NULL AND b.rank > 0, false)"

/* A delivered order that the query tells otherwise today. */
#define DRIFTED \
	"b.rank = 5 AND (NOT " RETURNED " OR b.ignored OR b.value IS DISTINCT FROM b.sent_value" \
	" OR b.currency IS DISTINCT FROM b.sent_currency)"

/* One row for each key, of the rows that say something of it. */
static char *
by_key(const char *rows)
{
	return psprintf("SELECT k.key, min(k.at) AS at, min(k.value) AS value,"
					" min(k.currency) AS currency, bool_or(k.ignored) AS ignored,"
					" min(k.action_source) AS action_source, max(k.rank) AS rank,"
					" max(k.ignored_at) AS ignored_at, max(k.unread_at) AS unread_at,"
					" max(k.event_time) AS event_time, min(k.seen_at) AS seen_at,"
					" max(k.sent_value) AS sent_value, max(k.sent_currency) AS sent_currency"
					" FROM (%s) AS k GROUP BY k.key", rows);
}

/*
 * Orders and records of the window.  A row of the log without a time of its
 * event is found by that of its end, before which it was captured.
 */
static char *
window_rows(const CapiLedger *ledger)
{
	char	   *logged = key_sql(ledger, "d.key");

	return psprintf("SELECT %s AS key, " ORDER_ROW " FROM capi_orders o"
					" UNION ALL SELECT %s, " DELIVERY_ROW " FROM capi.delivery d"
					" WHERE d.source_id = $1 AND d.event_time >= $2 AND d.event_time < $3"
					" UNION ALL SELECT %s, " DELIVERY_ROW " FROM capi.delivery d"
					" WHERE d.source_id = $1 AND d.event_time IS NULL AND d.captured_at >= $2"
					" AND d.captured_at < $3 AND d.finished_at >= $2 - interval '1 hour'"
					" UNION ALL SELECT %s, " BACKLOG_ROW " FROM capi.backlog w"
					" WHERE w.source_id = $1"
					" UNION ALL SELECT %s, " UNREAD_ROW " FROM capi._unread u"
					" WHERE u.source_id = $1 AND u.key IS NOT NULL",
					key_sql(ledger, "o.key"), logged, logged,
					key_sql(ledger, "w.key"), key_sql(ledger, "u.key"));
}

/* What is not clear, order by order, and of the rest what is wanted. */
static char *
look_sql(const CapiLedger *ledger)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "WITH b AS MATERIALIZED (%s)"
					 " SELECT b.*, NULL::text, 1::bigint FROM b WHERE " IN_WINDOW
					 " AND (NOT " IS_CLEAR, by_key(window_rows(ledger)));
	if (ledger->kind == CAPI_LEDGER_DRIFT)
		appendStringInfoString(&sql, " OR " DRIFTED);
	appendStringInfoChar(&sql, ')');
	if (ledger->kind == CAPI_LEDGER_SUMS)
		appendStringInfoString(&sql, " UNION ALL SELECT NULL, s.bucket, sum(s.value), s.currency,"
							   " NULL, NULL, NULL, NULL, NULL, NULL, NULL, sum(s.sent_value),"
							   " s.sent_currency, s.class, count(*)"
							   " FROM (SELECT date_trunc($5, b.at, $4) AS bucket, b.value, b.currency,"
							   " b.sent_value, b.sent_currency, " CLASS " AS class"
							   " FROM b WHERE " IS_CLEAR ") AS s"
							   " GROUP BY s.bucket, s.currency, s.sent_currency, s.class");
	return sql.data;
}

void
capi_ledger_look(CapiLedger *ledger)
{
	ledger->known = create_rows(known_columns, KNOWN_COLUMNS);
	lend("capi_orders", ledger->orders);
	run(ledger, look_sql(ledger), ledger->known->rows, ledger->known->desc,
		&ledger->known->n);
}

int
capi_ledger_strays(CapiLedger *ledger, char ***keys)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(ledger->known->desc, &TTSOpsMinimalTuple);
	int			room = 64;
	int			n = 0;

	*keys = palloc(sizeof(char *) * room);
	tuplestore_rescan(ledger->known->rows);
	while (tuplestore_gettupleslot(ledger->known->rows, true, false, slot))
	{
		bool		no_key;
		bool		no_order;
		Datum		key = slot_getattr(slot, KNOWN_KEY + 1, &no_key);

		(void) slot_getattr(slot, KNOWN_AT + 1, &no_order);
		if (no_key || !no_order)
			continue;
		if (n == room)
			*keys = repalloc_huge(*keys, sizeof(char *) * (room *= 2));
		(*keys)[n++] = TextDatumGetCString(key);
	}
	ExecDropSingleTupleTableSlot(slot);
	return n;
}

/* The rest once more, with all that the log and the query say of it. */
static char *
settled_rows(const CapiLedger *ledger)
{
	return by_key(psprintf("SELECT l.key, l.at, l.value, l.currency, l.ignored, l.action_source,"
						   " l.rank, l.ignored_at, l.unread_at, l.event_time, l.seen_at,"
						   " l.sent_value, l.sent_currency FROM capi_known l WHERE l.key IS NOT NULL"
						   " UNION ALL SELECT %s, " ORDER_ROW " FROM capi_elsewhere o"
						   " UNION ALL SELECT l.key, " DELIVERY_ROW " FROM capi_known l"
						   " JOIN capi.delivery d ON d.source_id = $1 AND %s = l.key",
						   key_sql(ledger, "o.key"), key_sql(ledger, "d.key")));
}

static const char *
answer_sql(const CapiLedger *ledger)
{
	switch (ledger->kind)
	{
		case CAPI_LEDGER_MISSING:
			return "SELECT b.key, b.at, b.value, b.currency FROM b"
				" WHERE " IN_WINDOW " AND b.rank IS NULL ORDER BY b.at, b.key";
		case CAPI_LEDGER_BACKFILL:
			return "SELECT b.key, b.at, b.action_source FROM b"
				" WHERE " IN_WINDOW " AND b.rank IS NULL ORDER BY b.at, b.key";
		case CAPI_LEDGER_DRIFT:
			return "SELECT b.key, b.sent_value, b.value,"
				" CASE WHEN NOT " RETURNED " THEN 'gone' WHEN b.ignored THEN 'ignored now'"
				" ELSE 'changed' END, b.sent_currency, b.currency, " AT " FROM b"
				" WHERE " IN_WINDOW " AND " DRIFTED " ORDER BY " AT ", b.key";
		default:
			return ", s AS (SELECT k.at AS bucket, k.currency, k.class, k.orders, k.value,"
				" k.sent_value, k.sent_currency FROM capi_known k WHERE k.key IS NULL"
				" UNION ALL SELECT date_trunc($5, " AT ", $4), " CURRENCY ", " CLASS ", 1,"
				" b.value, b.sent_value, b.sent_currency FROM b WHERE " IN_WINDOW "),"
	/* what was sent in another currency than the order has today */
				" t AS (SELECT s.bucket, s.currency, s.class, s.orders, s.value,"
				" CASE WHEN s.sent_currency IS NOT DISTINCT FROM s.currency THEN s.sent_value END AS sent"
				" FROM s UNION ALL SELECT s.bucket, s.sent_currency, NULL, 0, NULL, s.sent_value FROM s"
				" WHERE s.sent_currency IS DISTINCT FROM s.currency AND s.sent_value IS NOT NULL)"
				" SELECT t.bucket, t.currency, sum(t.orders)::bigint,"
				" coalesce(sum(t.orders) FILTER (WHERE t.class = 'delivered'), 0)::bigint,"
				" coalesce(sum(t.orders) FILTER (WHERE t.class = 'waiting'), 0)::bigint,"
				" coalesce(sum(t.orders) FILTER (WHERE t.class = 'ignored'), 0)::bigint,"
				" coalesce(sum(t.orders) FILTER (WHERE t.class = 'rejected'), 0)::bigint,"
				" coalesce(sum(t.orders) FILTER (WHERE t.class = 'expired'), 0)::bigint,"
				" coalesce(sum(t.orders) FILTER (WHERE t.class = 'missing'), 0)::bigint,"
				" coalesce(sum(t.value), 0), coalesce(sum(t.sent), 0)"
				" FROM t GROUP BY t.bucket, t.currency ORDER BY t.bucket, t.currency";
	}
}

void
capi_ledger_settle(CapiLedger *ledger, Tuplestorestate *result, TupleDesc desc)
{
	int64		n;

	lend("capi_known", ledger->known);
	lend("capi_elsewhere", ledger->elsewhere);
	run(ledger, psprintf("WITH b AS (%s)%s", settled_rows(ledger), answer_sql(ledger)),
		result, desc, &n);
}
