/*
 * context.c
 *		Reads and deletes capi.context and capi.consent, which capi.set_context()
 *		writes.
 *
 * These values cannot be hashed (SPEC 3.2), so they stand in the table as they
 * are until the order has its outcome; nobody has rights on it, and no dump
 * holds it (P7).  That a customer refused consent stays: the order may be
 * captured again.
 *
 * A web tier may tell of orders that never come, and somebody may make it do so
 * without end: capi.context_size bounds the table.  It never grows beyond; from
 * half of it on the dispatcher deletes what has waited longest for nothing.  Why
 * there are no partitions is told and measured in doc/design.md.
 *
 * Called by run.c in a reader, by outcome.c and caller.c.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "storage/bufmgr.h"
#include "storage/freespace.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "base/capi.h"
#include "base/encoding.h"
#include "base/guc.h"
#include "base/lock.h"
#include "base/txn.h"
#include "event/none.h"
#include "store/context.h"
#include "store/soon.h"

/* A page has room if it has as much: two rows of usual size. */
#define USUAL_ROW_BYTES		1024

/*
 * Old ones that go in one transaction, as in capi._evict_contexts(); the next
 * has its turn some seconds later.
 */
#define OLD_AT_ONCE			20000

PG_FUNCTION_INFO_V1(capi_sql_consent_place);
PG_FUNCTION_INFO_V1(capi_sql_context_is_full);
PG_FUNCTION_INFO_V1(capi_sql_context_obstacle);
PG_FUNCTION_INFO_V1(capi_sql_source_is_free);

/* Their numbers are bits of capi.delivery's context (capi._context_text). */
static const CapiField context_fields[CAPI_CONTEXT_FIELDS] = {
	CAPI_FIELD_FBP, CAPI_FIELD_FBC, CAPI_FIELD_CLIENT_IP_ADDRESS,
	CAPI_FIELD_CLIENT_USER_AGENT, CAPI_FIELD_EVENT_SOURCE_URL,
	CAPI_FIELD_REFERRER_URL
};

/* Most shops have none: then a look at the sizes of tables is enough. */
static bool
table_is_empty(Oid table)
{
	Relation	rel = table_open(table, AccessShareLock);
	bool		empty = RelationGetNumberOfBlocks(rel) == 0;

	table_close(rel, AccessShareLock);
	return empty;
}

static bool
has_contexts(void)
{
	return !table_is_empty(capi_config_table("context"));
}

static bool
has_consents(void)
{
	return !table_is_empty(capi_config_table("consent")) ||
		!table_is_empty(capi_config_reserve_table("consent"));
}

/*
 * What was said of this source goes before what was said of all, and later
 * before earlier.  Of calls that did not see each other there are several rows;
 * more than eight there cannot be but by somebody's intention.  Who may tell of
 * this source is asked once for each role; OFFSET has the roles looked up by key,
 * whatever is known of the table.
 */
static const char read_sql[] =
"WITH told AS MATERIALIZED (SELECT w.writer FROM (SELECT DISTINCT x.writer"
" FROM unnest($1) AS k (key) CROSS JOIN LATERAL (SELECT y.writer FROM capi.context y"
" WHERE y.key = k.key AND y.source_id = 0 OFFSET 0) AS x) AS w"
" WHERE $2 IN (SELECT capi._told(w.writer)))"
" SELECT u.n::int4, c.fields->>'fbp', c.fields->>'fbc',"
" c.fields->>'client_ip_address', c.fields->>'client_user_agent',"
" c.fields->>'event_source_url', c.fields->>'referrer_url'"
" FROM unnest($1) WITH ORDINALITY AS u (key, n)"
" CROSS JOIN (VALUES (1, $2), (2, 0)) AS s (level, id)"
" CROSS JOIN LATERAL (SELECT * FROM capi.context x WHERE x.key = u.key AND x.source_id = s.id"
" AND (s.id <> 0 OR x.writer IN (SELECT t.writer FROM told t))"
" ORDER BY x.set_at DESC LIMIT 8) c"
" ORDER BY u.n, s.level, c.set_at DESC";

/* What one row of the table says; row: see the SELECT above. */
static void
add_row(HeapTuple tuple, TupleDesc desc, CapiContext *found, MemoryContext context)
{
	found->is_known = true;
	for (int i = 0; i < CAPI_CONTEXT_FIELDS; i++)
	{
		char	   *text = SPI_getvalue(tuple, desc, 2 + i);

		if (text != NULL && found->values[i] == NULL)
			found->values[i] = MemoryContextStrdup(context, capi_to_utf8(text));
	}
}

static int
int_column(HeapTuple tuple, int column)
{
	bool		isnull;

	return DatumGetInt32(SPI_getbinval(tuple, SPI_tuptable->tupdesc, column, &isnull));
}

static void
read_fields(Oid *types, Datum *args, CapiContext *found, MemoryContext context)
{
	if (capi_txn_execute_with_args(read_sql, 2, types, args, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the browser contexts");
	for (uint64 r = 0; r < SPI_processed; r++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[r];
		TupleDesc	desc = SPI_tuptable->tupdesc;

		add_row(tuple, desc, &found[int_column(tuple, 1) - 1], context);
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * The last word of the source, or of one before it, or that of all, is no.  What is
 * in the reserve, which has no index, is read once for all keys.
 */
static const char refused_sql[] =
"WITH kept AS MATERIALIZED (SELECT r.key, r.source_id, r.said_at, r.given, r.writer"
" FROM capi_reserve.consent r WHERE r.key = ANY ($1)),"
" said AS NOT MATERIALIZED (SELECT c.key, c.source_id, c.said_at, c.given, c.writer FROM capi.consent c"
" UNION ALL SELECT k.key, k.source_id, k.said_at, k.given, k.writer FROM kept k),"
" told AS MATERIALIZED (SELECT w.writer, r.oid IS NOT NULL AS known FROM (SELECT DISTINCT x.writer"
" FROM unnest($1) AS k (key) CROSS JOIN LATERAL (SELECT y.writer FROM said y"
" WHERE y.key = k.key AND y.source_id = 0 OFFSET 0) AS x) AS w"
" LEFT JOIN pg_catalog.pg_roles r ON r.rolname = w.writer"
" WHERE r.oid IS NULL OR $2 IN (SELECT capi._told(r.oid)))"
" SELECT u.n::int4"
" FROM unnest($1) WITH ORDINALITY AS u (key, n)"
" CROSS JOIN (VALUES (false, capi._same_orders($2)), (true, '{0}')) AS s (of_all, ids)"
" CROSS JOIN LATERAL (SELECT x.given FROM said x WHERE x.key = u.key AND x.source_id = ANY (s.ids)"
/* of a role that is gone nobody knows whose customers it spoke of: only its no counts */
" AND (NOT s.of_all OR EXISTS (SELECT FROM told t WHERE t.writer = x.writer AND (t.known OR NOT x.given)))"
" ORDER BY x.said_at DESC LIMIT 1) c"
" WHERE NOT c.given";

static void
read_refusals(Oid *types, Datum *args, CapiContext *found)
{
	if (capi_txn_execute_with_args(refused_sql, 2, types, args, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read who refused consent");
	for (uint64 r = 0; r < SPI_processed; r++)
		found[int_column(SPI_tuptable->vals[r], 1) - 1].is_refused = true;
	SPI_freetuptable(SPI_tuptable);
}

CapiContext *
capi_context_read(const CapiSource *source, char **keys, int nkeys)
{
	MemoryContext context = CurrentMemoryContext;
	bool		fields = has_contexts();
	bool		refusals = has_consents();
	CapiContext *found;
	Datum	   *texts;
	Oid			types[2] = {TEXTARRAYOID, INT4OID};
	Datum		args[2];

	if (!fields && !refusals)
		return NULL;
	found = palloc0(sizeof(CapiContext) * (nkeys + 1));
	texts = palloc(sizeof(Datum) * (nkeys + 1));
	for (int i = 0; i < nkeys; i++)
		texts[i] = CStringGetTextDatum(keys[i]);
	args[0] = PointerGetDatum(construct_array(texts, nkeys, TEXTOID, -1, false, TYPALIGN_INT));
	args[1] = Int32GetDatum(source->id);
	if (fields)
		read_fields(types, args, found, context);
	if (refusals)
		read_refusals(types, args, found);
	return found;
}

/* Did the query return nothing, or a word of the browser's for nothing? */
static bool
is_missing(const CapiValues *values)
{
	return values->n == 0 ||
		(values->n == 1 && capi_none_is(values->v[0], strlen(values->v[0])));
}

void
capi_context_complete(const CapiContext *context, CapiOrder *order)
{
	if (context == NULL)
		return;
	order->context = context->is_known ? CAPI_CONTEXT_KNOWN : 0;
	if (context->is_refused && order->ignore_reason == NULL)
		order->ignore_reason = pstrdup("no consent");
	for (int i = 0; i < CAPI_CONTEXT_FIELDS; i++)
	{
		CapiValues *values = &order->event.values[context_fields[i]];

		if (context->values[i] == NULL || !is_missing(values))
			continue;
		values->v = palloc(sizeof(char *));
		values->v[0] = context->values[i];
		values->n = 1;
		order->context |= 1 << i;
	}
}

/*
 * A context that was said of all sources stays while another one that it is
 * said of may still need it: one whose order has no outcome yet.
 */
static const char forget_sql[] =
"WITH told AS MATERIALIZED (SELECT w.writer, t.id FROM (SELECT DISTINCT x.writer"
" FROM unnest($2) AS k (key) CROSS JOIN LATERAL (SELECT y.writer FROM capi.context y"
" WHERE y.key = k.key AND y.source_id = 0 OFFSET 0) AS x) AS w"
" CROSS JOIN LATERAL capi._told(w.writer) AS t (id))"
" DELETE FROM capi.context c USING unnest($1, $2) AS u (source_id, key)"
" WHERE c.key = u.key AND (c.source_id = u.source_id OR (c.source_id = 0"
" AND EXISTS (SELECT FROM told t WHERE t.writer = c.writer AND t.id = u.source_id)"
" AND NOT EXISTS (SELECT FROM told t JOIN capi.source s ON s.id = t.id"
" WHERE t.writer = c.writer AND s.detached_at IS NULL AND t.id <> u.source_id"
" AND NOT EXISTS (SELECT FROM capi.delivery d WHERE d.key = u.key AND d.source_id = t.id))))";

void
capi_context_forget(Oid int_array, Datum source_ids, Oid text_array, Datum keys)
{
	Oid			types[2] = {int_array, text_array};
	Datum		args[2] = {source_ids, keys};

	if (capi_txn_execute_with_args(forget_sql, 2, types, args, NULL, false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not delete browser contexts");
}

/* ---------- limits ---------- */

static BlockNumber
most_blocks(void)
{
	return (BlockNumber) ((int64) capi_context_size * 1024 / BLCKSZ);
}

/* As large as it may be, and VACUUM knows of no room in it. */
static bool
is_full(Relation rel)
{
	return RelationGetNumberOfBlocks(rel) >= most_blocks() &&
		GetPageWithFreeSpace(rel, USUAL_ROW_BYTES) == InvalidBlockNumber;
}

/* capi._context_is_full(): does capi.context take no more rows? */
Datum
capi_sql_context_is_full(PG_FUNCTION_ARGS)
{
	Relation	rel = table_open(capi_config_table("context"), AccessShareLock);
	bool		full = is_full(rel);

	(void) fcinfo;
	table_close(rel, AccessShareLock);
	PG_RETURN_BOOL(full);
}

/* capi._source_is_free(): may names of sources be looked up without waiting? */
Datum
capi_sql_source_is_free(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_BOOL(capi_lock_soon("source", RowExclusiveLock));
}

/*
 * capi._consent_place(): the schema whose table takes what was said of consent
 * now, or null.  Who writes to the first reads both.
 */
Datum
capi_sql_consent_place(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	if (capi_lock_soon("consent", RowExclusiveLock) &&
		capi_lock_reserve_soon("consent", AccessShareLock))
		PG_RETURN_TEXT_P(cstring_to_text(CAPI_SCHEMA));
	if (capi_lock_reserve_soon("consent", RowExclusiveLock))
		PG_RETURN_TEXT_P(cstring_to_text(CAPI_RESERVE_SCHEMA));
	PG_RETURN_NULL();
}

/*
 * capi._context_obstacle(with_source): null, or why no context can be kept now.
 * What a later statement of this call would wait for is locked here, without
 * waiting (lock.c).
 */
Datum
capi_sql_context_obstacle(PG_FUNCTION_ARGS)
{
	Relation	rel;
	bool		full;

	if (!capi_lock_soon("context", RowExclusiveLock) ||
		(PG_GETARG_BOOL(0) && !capi_lock_soon("source", RowExclusiveLock)))
		PG_RETURN_TEXT_P(cstring_to_text("Another session holds locks on capi's tables."));
	rel = table_open(capi_config_table("context"), NoLock);
	full = is_full(rel);
	table_close(rel, NoLock);
	if (full)
		PG_RETURN_TEXT_P(cstring_to_text("Contexts of orders without an outcome take all of capi.context_size."));
	PG_RETURN_NULL();
}

/*
 * Half of the room is for orders to come: what was given for nothing leaves it.
 * Whether there may be more.
 */
static bool
make_room(void)
{
	Relation	rel = table_open(capi_config_table("context"), AccessShareLock);
	bool		crowded = RelationGetNumberOfBlocks(rel) > most_blocks() / 2;
	char	   *sql = psprintf("SELECT capi._evict_contexts(%d::bigint * 512)", capi_context_size);
	bool		isnull;
	int64		gone;

	table_close(rel, AccessShareLock);
	if (!crowded)
		return false;
	if (capi_txn_execute(sql, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not make room for browser contexts");
	gone = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	if (gone > 0)
		ereport(LOG,
				(errmsg("capi deleted " INT64_FORMAT " browser contexts that no event waits for", gone),
				 errdetail("They took more than half of capi.context_size.")));
	return gone == OLD_AT_ONCE;
}

/* Without waiting: what is not deleted now is next time. */
static bool
is_free(const char *name)
{
	return capi_lock_at_once(capi_config_table(name), RowExclusiveLock);
}

/* Some of the old ones, no row that somebody holds; whether there may be more. */
static bool
delete_old(void)
{
	char	   *sql = psprintf("DELETE FROM capi.context WHERE ctid = ANY (ARRAY("
							   " SELECT c.ctid FROM capi.context c"
							   " WHERE c.set_at < pg_catalog.now() - interval '%d minutes'"
							   " LIMIT %d FOR UPDATE SKIP LOCKED))",
							   capi_context_retention, OLD_AT_ONCE);

	if (capi_txn_execute(sql, false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not delete old browser contexts");
	return SPI_processed == OLD_AT_ONCE;
}

bool
capi_context_expire(void)
{
	bool		more;

	if (!is_free("context") || !has_contexts())
		return false;
	more = delete_old();
	return make_room() || more;
}

bool
capi_context_tidy_consent(void)
{
	char	   *sql = psprintf("SELECT capi._tidy_consent(%d::bigint * 1024)", capi_context_size);

	if (is_free("consent") &&
		capi_lock_at_once(capi_config_reserve_table("consent"), RowExclusiveLock) &&
		has_consents() && capi_txn_execute(sql, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not tidy up what was said of consent");
	return false;
}
