/*
 * ledger.c
 *		Each order of a time in exactly one class: orders that the shop's query
 *		tells today, put beside what the tables of capi hold, by key.
 *
 * In two statements, so that the cost follows the window and not the log:
 *
 *		look		the window's records, beside its orders.  What is clear is
 *					summed up at once, the rest is kept order by order (tally.c)
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
#include "store/tally.h"

typedef struct Column
{
	const char *name;
	Oid			type;
} Column;

static const Column order_columns[] = {
	{"key", TEXTOID}, {"at", TIMESTAMPTZOID}, {"value", NUMERICOID},
	{"currency", TEXTOID}, {"ignored", BOOLOID}, {"action_source", TEXTOID},
	{"raw_key", TEXTOID}
};

static const Column known_columns[] = {
	{"key", TEXTOID}, {"at", TIMESTAMPTZOID}, {"value", NUMERICOID},
	{"currency", TEXTOID}, {"ignored", BOOLOID}, {"action_source", TEXTOID},
	{"raw_key", TEXTOID}, {"rank", INT4OID}, {"ignored_at", TIMESTAMPTZOID}, {"unread_at", TIMESTAMPTZOID},
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
execute(const CapiLedger *ledger, const char *sql, DestReceiver *dest)
{
	Oid			types[] = {INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INTERVALOID};
	Datum		values[] = {
		Int32GetDatum(ledger->source_id), TimestampTzGetDatum(ledger->since),
		TimestampTzGetDatum(ledger->until), IntervalPGetDatum(&ledger->bucket)
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
	options.dest = dest;
	if (SPI_execute_plan_extended(plan, &options) != SPI_OK_SELECT)
		elog(ERROR, "could not count orders");
	SPI_freeplan(plan);
}

/* Who is cancelled here, or comes to his timeout, is not told our statement. */
static void
run(const CapiLedger *ledger, const char *sql, DestReceiver *dest)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		execute(ledger, sql, dest);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		edata->context = NULL;
		ReThrowError(edata);
	}
	PG_END_TRY();
}

char *
capi_ledger_key_sql(const char *type, const char *key)
{
	if (strcmp(type, "numeric") == 0 || strncmp(type, "numeric(", 8) == 0)
		return psprintf("CASE WHEN pg_catalog.strpos(%s, '.') OPERATOR(pg_catalog.>) 0 THEN"
						" pg_catalog.rtrim(pg_catalog.rtrim(%s, '0'), '.') ELSE %s END",
						key, key, key);
	if (strcmp(type, "pg_catalog.bpchar") == 0 || strncmp(type, "character", 9) == 0)
		return psprintf("pg_catalog.rtrim(%s, ' ')", key);
	if (strstr(type, "citext") != NULL)
		return psprintf("pg_catalog.lower(%s)", key);
	return psprintf("%s", key);
}

/* Columns that an order gives to the row of its key. */
#define ORDER_ROW \
	"o.at, o.value, o.currency, o.ignored, o.action_source, o.raw_key," \
	" NULL::int AS rank, NULL::timestamptz AS ignored_at, NULL::timestamptz AS unread_at," \
	" NULL::timestamptz AS event_time, NULL::timestamptz AS seen_at," \
	" NULL::numeric AS sent_value, NULL::text COLLATE \"C\" AS sent_currency"

/* Those that a record gives; what its rank means is in tally.h. */
#define DELIVERY_RECORD \
	"CASE d.outcome WHEN 'forgotten' THEN 6 WHEN 'delivered' THEN 5 WHEN 'rejected' THEN 4" \
	" WHEN 'expired' THEN 3 ELSE 1 END," \
	" CASE WHEN d.outcome = 'ignored' THEN d.captured_at END, NULL::timestamptz," \
	" d.event_time, d.captured_at," \
	" CASE WHEN d.outcome = 'delivered' THEN d.value END, d.currency"
#define BACKLOG_RECORD \
	"2, NULL, NULL, w.event_time, w.captured_at, NULL, w.currency"
#define UNREAD_RECORD \
	"0, NULL, u.captured_at, NULL, u.captured_at, NULL, NULL"

#define CLASS \
	"CASE WHEN b.rank = 5 THEN 'delivered' WHEN b.rank = 4 THEN 'rejected'" \
	" WHEN b.rank = 3 THEN 'expired' WHEN b.rank = 2 THEN 'waiting' WHEN b.rank = 6 THEN 'ignored'" \
	" WHEN b.unread_at > coalesce(b.ignored_at, '-infinity') THEN 'waiting'" \
	" WHEN b.rank = 1 THEN 'ignored' ELSE 'missing' END"

/* Of an ignored order that was captured again, the capture. */
#define AT \
	"coalesce(b.at, CASE WHEN b.rank = 1 AND b.unread_at > b.ignored_at THEN b.unread_at END," \
	" b.event_time, b.seen_at)"
#define IN_WINDOW	AT " >= $2 AND " AT " < $3"

/* In the query's result, though perhaps without a time? */
#define RETURNED	"(b.ignored IS NOT NULL)"

#define CURRENCY	"CASE WHEN " RETURNED " THEN b.currency ELSE b.sent_currency END"

/* A delivered order that the query tells otherwise today. */
#define DRIFTED \
	"b.rank = 5 AND (NOT " RETURNED " OR b.ignored OR b.value IS DISTINCT FROM b.sent_value" \
	" OR b.currency IS DISTINCT FROM b.sent_currency)"

/* As the views show it: as it was captured, or else as the query tells it. */
#define RAW_KEY		"coalesce(b.raw_key, b.key)"

/* One row for each key, of the rows that say something of it. */
static char *
by_key(const char *rows)
{
	return psprintf("SELECT k.key, min(k.at) AS at, min(k.value) AS value,"
					" min(k.currency) AS currency, bool_or(k.ignored) AS ignored,"
					" min(k.action_source) AS action_source, min(k.raw_key) AS raw_key,"
					" max(k.rank) AS rank,"
					" max(k.ignored_at) AS ignored_at, max(k.unread_at) AS unread_at,"
	/* times of the record that counts */
					" (array_agg(k.event_time ORDER BY k.rank DESC NULLS LAST,"
					" k.event_time DESC NULLS LAST))[1] AS event_time,"
					" (array_agg(k.seen_at ORDER BY k.rank DESC NULLS LAST, k.seen_at))[1] AS seen_at,"
					" max(k.sent_value) AS sent_value, max(k.sent_currency) AS sent_currency"
					" FROM (%s) AS k GROUP BY k.key", rows);
}

/*
 * Records of the window.  A row of the log without a time of its event is found
 * by that of its end, before which it was captured.
 */
static char *
record_sql(const CapiLedger *ledger)
{
	char	   *logged = capi_ledger_key_sql(ledger->key_type, "d.key");

	return psprintf("SELECT %s, " DELIVERY_RECORD " FROM capi.delivery d"
					" WHERE d.source_id = $1 AND d.event_time >= $2 AND d.event_time < $3"
					" UNION ALL SELECT %s, " DELIVERY_RECORD " FROM capi.delivery d"
					" WHERE d.source_id = $1 AND d.event_time IS NULL AND d.captured_at >= $2"
					" AND d.captured_at < $3 AND d.finished_at >= $2 - interval '1 hour'"
					" UNION ALL SELECT %s, " BACKLOG_RECORD " FROM capi.backlog w"
					" WHERE w.source_id = $1"
					" UNION ALL SELECT %s, " UNREAD_RECORD " FROM capi._unread u"
					" WHERE u.source_id = $1 AND u.key IS NOT NULL",
					logged, logged, capi_ledger_key_sql(ledger->key_type, "w.key"),
					capi_ledger_key_sql(ledger->key_type, "u.key"));
}

/* False: these are too few parts, and *parts is how many it takes. */
static bool
look_in_parts(CapiLedger *ledger, const char *sql, int *parts)
{
	ledger->known = create_rows(known_columns, KNOWN_COLUMNS);
	for (int part = 0; part < *parts; part++)
	{
		CapiTally  *tally = capi_tally_begin(ledger, part, *parts);
		int			needed;

		capi_tally_orders(tally);
		run(ledger, sql, capi_tally_records(tally));
		needed = capi_tally_needed_parts(tally);
		if (needed > *parts)
		{
			capi_tally_drop(tally);
			tuplestore_end(ledger->known->rows);
			*parts = needed;
			return false;
		}
		capi_tally_finish(tally);
	}
	tuplestore_rescan(ledger->known->rows);
	return true;
}

void
capi_ledger_look(CapiLedger *ledger)
{
	char	   *sql = record_sql(ledger);
	int			parts = capi_tally_parts(ledger->orders->n);

	while (!look_in_parts(ledger, sql, &parts))
		CHECK_FOR_INTERRUPTS();
}

int
capi_ledger_strays(void *arg, char **keys, int max)
{
	CapiLedger *ledger = arg;
	TupleTableSlot *slot = MakeSingleTupleTableSlot(ledger->known->desc, &TTSOpsMinimalTuple);
	int			n = 0;

	while (n < max && tuplestore_gettupleslot(ledger->known->rows, true, false, slot))
	{
		bool		no_key;
		bool		no_order;
		Datum		key = slot_getattr(slot, KNOWN_KEY + 1, &no_key);

		(void) slot_getattr(slot, KNOWN_AT + 1, &no_order);
		if (!no_key && no_order)
			keys[n++] = TextDatumGetCString(key);
	}
	ExecDropSingleTupleTableSlot(slot);
	return n;
}

/* The rest once more, with all that the log and the query say of it. */
static char *
settled_rows(const CapiLedger *ledger)
{
	return by_key(psprintf("SELECT l.key, l.at, l.value, l.currency, l.ignored, l.action_source,"
						   " l.raw_key, l.rank, l.ignored_at, l.unread_at, l.event_time, l.seen_at,"
						   " l.sent_value, l.sent_currency FROM capi_known l WHERE l.key IS NOT NULL"
						   " UNION ALL SELECT o.key, " ORDER_ROW " FROM capi_elsewhere o"
						   " UNION ALL SELECT l.key, NULL, NULL, NULL, NULL, NULL, d.key, " DELIVERY_RECORD
						   " FROM capi_known l"
						   " JOIN capi.delivery d ON d.source_id = $1 AND %s = l.key",
						   capi_ledger_key_sql(ledger->key_type, "d.key")));
}

static const char *
answer_sql(const CapiLedger *ledger)
{
	switch (ledger->kind)
	{
		case CAPI_LEDGER_MISSING:
			return "SELECT " RAW_KEY ", b.at, b.value, b.currency FROM b"
				" WHERE " IN_WINDOW " AND b.rank IS NULL ORDER BY b.at, b.key";
		case CAPI_LEDGER_BACKFILL:
			return "SELECT " RAW_KEY ", b.at, b.action_source FROM b"
				" WHERE " IN_WINDOW " AND b.rank IS NULL ORDER BY b.at, b.key";
		case CAPI_LEDGER_DRIFT:
			return "SELECT " RAW_KEY ", b.sent_value, b.value,"
				" CASE WHEN NOT " RETURNED " THEN 'gone' WHEN b.ignored THEN 'ignored now'"
				" ELSE 'changed' END, b.sent_currency, b.currency, " AT " FROM b"
				" WHERE " IN_WINDOW " AND " DRIFTED " ORDER BY " AT ", b.key";
		default:
			return ", s AS (SELECT k.at AS bucket, k.currency, k.class, k.orders, k.value,"
				" k.sent_value, k.sent_currency FROM capi_known k WHERE k.key IS NULL"
				" UNION ALL SELECT capi._bucket(" AT ", $4), " CURRENCY ", " CLASS ", 1,"
				" b.value, CASE WHEN b.rank = 5 THEN b.sent_value END, b.sent_currency FROM b WHERE " IN_WINDOW "),"
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
	DestReceiver *dest = CreateDestReceiver(DestTuplestore);

	SetTuplestoreDestReceiverParams(dest, result, CurrentMemoryContext, false, desc,
									"a count has other columns than it should");
	lend("capi_known", ledger->known);
	lend("capi_elsewhere", ledger->elsewhere);
	run(ledger, psprintf("WITH b AS (%s)%s", settled_rows(ledger), answer_sql(ledger)), dest);
}
