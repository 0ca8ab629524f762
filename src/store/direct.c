/*
 * direct.c
 *		Reads and deletes capi.direct_event, where capi.send() stores events
 *		in their final form.  Called by evaluate.c and outcome.c.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/encoding.h"
#include "base/holders.h"
#include "base/txn.h"
#include "store/direct.h"

/*
 * $1: the source; $2, $3, $4: keys, and for those that were tried before, id
 * and time they were tried with.  Of an event that was given twice the first
 * one counts, but never another than was sent already (P5).
 */
static const char read_sql[] =
"SELECT e.n::int4, CASE WHEN e.bytes_before < $5 THEN e.event END, e.event_id, e.event_name,"
" extract(epoch FROM e.event_time)::int8, e.value::text, e.currency,"
" CASE WHEN e.reason IS NULL AND e.expires_at < now() THEN 'too_old' ELSE e.reason END,"
" e.expired OR (e.reason IS NULL AND e.expires_at < now()),"
" CASE WHEN e.reason IS NULL AND e.expires_at < now() THEN 2804003 ELSE e.error_subcode END,"
" e.problems::text, e.bytes_before >= $5, e.expires_at > e.event_time + interval '30 days'"
" FROM (SELECT u.n, o.*, coalesce(sum(octet_length(o.event)) OVER"
" (ORDER BY u.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS bytes_before"
" FROM unnest($2, $3, $4) WITH ORDINALITY AS u (key, event_id, event_time, n)"
" CROSS JOIN LATERAL (SELECT * FROM capi.direct_event d WHERE d.source_id = $1 AND d.key = u.key"
" ORDER BY (d.event_id = u.event_id AND extract(epoch FROM d.event_time)::int8 = u.event_time)"
" DESC NULLS LAST, d.id LIMIT 1) o) e";

static char *
copy_utf8(HeapTuple row, int column, MemoryContext context)
{
	char	   *text = SPI_getvalue(row, SPI_tuptable->tupdesc, column);

	if (text == NULL)
		return NULL;
	return MemoryContextStrdup(context, capi_to_utf8(text));
}

static void
copy_json(HeapTuple row, MemoryContext context, CapiDirectEvent *event)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull);
	bytea	   *bytes;

	if (isnull)
		return;
	bytes = DatumGetByteaPP(value);
	event->json_len = VARSIZE_ANY_EXHDR(bytes);
	event->json = MemoryContextAlloc(context, event->json_len + 1);
	memcpy(event->json, VARDATA_ANY(bytes), event->json_len);
	event->json[event->json_len] = '\0';
}

static int
int_column(HeapTuple row, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}

static void
read_event(HeapTuple row, MemoryContext context, CapiItem *item,
		   CapiDirectEvent *event)
{
	TupleDesc	desc = SPI_tuptable->tupdesc;
	bool		isnull;

	event->found = true;
	event->deferred = DatumGetBool(SPI_getbinval(row, desc, 12, &isnull));
	if (event->deferred)
		return;
	copy_json(row, context, event);
	item->event_id = copy_utf8(row, 3, context);
	item->event_name = copy_utf8(row, 4, context);
	item->event_time_s = DatumGetInt64(SPI_getbinval(row, desc, 5, &isnull));
	item->has_time = true;
	item->value = copy_utf8(row, 6, context);
	item->currency = copy_utf8(row, 7, context);
	event->reason = copy_utf8(row, 8, context);
	event->expired = DatumGetBool(SPI_getbinval(row, desc, 9, &isnull));
	event->error_subcode = int_column(row, 10);
	event->error_code = event->reason != NULL ? 100 : 0;
	item->problems = copy_utf8(row, 11, context);
	item->is_direct = true;
	item->is_store = DatumGetBool(SPI_getbinval(row, desc, 13, &isnull));
}

/* Arguments of read_sql. */
static void
fill_arguments(CapiItem **items, int n, int64 max_bytes, Datum *args)
{
	Datum	   *values = palloc(sizeof(Datum) * n);
	bool	   *nulls = palloc0(sizeof(bool) * n);
	int			lower = 1;

	args[0] = Int32GetDatum(items[0]->source_id);
	for (int i = 0; i < n; i++)
		values[i] = CStringGetTextDatum(items[i]->key);
	args[1] = PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lower, TEXTOID,
												 -1, false, TYPALIGN_INT));
	for (int i = 0; i < n; i++)
		values[i] = CStringGetTextDatum(items[i]->event_id != NULL ?
										items[i]->event_id : items[i]->key);
	args[2] = PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lower, TEXTOID,
												 -1, false, TYPALIGN_INT));
	for (int i = 0; i < n; i++)
	{
		values[i] = Int64GetDatum(items[i]->event_time_s);
		nulls[i] = !items[i]->has_time;
	}
	args[3] = PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lower, INT8OID,
												 sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	args[4] = Int64GetDatum(max_bytes);
}

void
capi_direct_read(CapiItem **items, int n, int64 max_bytes,
				 CapiDirectEvent *events)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			types[5] = {INT4OID, TEXTARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT8OID};
	Datum		args[5];

	memset(events, 0, sizeof(CapiDirectEvent) * n);
	fill_arguments(items, n, max_bytes, args);
	if (capi_txn_execute_with_args(read_sql, 5, types, args, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read events");
	for (uint64 r = 0; r < SPI_processed; r++)
	{
		int			at = int_column(SPI_tuptable->vals[r], 1) - 1;

		read_event(SPI_tuptable->vals[r], context, items[at], &events[at]);
	}
	SPI_freetuptable(SPI_tuptable);
}

void
capi_direct_forget(Oid int_array, Datum source_ids, Oid text_array, Datum keys)
{
	Oid			types[2] = {int_array, text_array};
	Datum		args[2] = {source_ids, keys};

	if (capi_txn_execute_with_args("DELETE FROM capi.direct_event e"
							  " USING unnest($1, $2) AS u (source_id, key)"
							  " WHERE e.source_id = u.source_id AND e.key = u.key",
							  2, types, args, NULL, false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not delete events");
}

/*
 * In two steps: it is found empty, and emptied when each snapshot in the database
 * is from after that.  A dump in between would have the events of its snapshot
 * nowhere.
 */
bool
capi_direct_shrink(void)
{
	static FullTransactionId empty_at = {0};
	static int64 last_id = 0;
	Oid			types[1] = {INT8OID};
	Datum		args[1] = {Int64GetDatum(last_id)};
	bool		is_empty = FullTransactionIdIsValid(empty_at);
	bool		isnull;

	if (is_empty && capi_holders_before(empty_at, NULL))
		return true;
	if (capi_txn_execute_with_args("SELECT capi._shrink_direct_event($1)", 1, types, args,
								   is_empty ? " " : "n", false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not give the space of events back");
	last_id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
										  &isnull));
	empty_at = isnull ? InvalidFullTransactionId : ReadNextFullTransactionId();
	return !isnull;
}
