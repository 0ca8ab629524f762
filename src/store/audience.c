/*
 * audience.c
 *		All SQL of the dispatcher on capi.audience and its people (audience.h).
 *
 * Decides nothing: send/audiences.c does.  The steps are functions of the
 * extension, so that each is one statement; users write capi.audience alone, and
 * the dispatcher the rest, so neither waits for the other (P6).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/encoding.h"
#include "base/txn.h"
#include "store/audience.h"

/* Column numbers of the statement in capi_audience_load(). */
enum
{
	COL_ID = 1, COL_DATASET, COL_LIST, COL_QUERY, COL_PATH, COL_ROLE, COL_PAUSED,
	COL_ASKED, COL_DUE, COL_TO_ADD, COL_TO_REMOVE, COL_SESSION, COL_OP, COL_SEQ
};

static const char *const load_sql =
"SELECT a.id, a.dataset_id, a.audience_id, a.query, a.search_path, a.run_as::oid, a.paused,"
" greatest(a.asked_at, a.changed_at),"
/* by a clock that was ahead it was asked for, or read, at a time to come */
" CASE WHEN (a.asked_at > s.read_at AND a.asked_at <= pg_catalog.now())"
"        OR (a.changed_at > s.read_at AND a.changed_at <= pg_catalog.now())"
"        OR s.read_at > pg_catalog.now() OR s.read_at IS NULL"
"      THEN '-infinity' ELSE s.read_at + a.refresh END,"
" s.to_add, s.to_remove, s.session_id, s.session_op, s.batch_seq"
" FROM capi.audience a JOIN capi.audience_state s ON s.id = a.id"
" UNION ALL"
" SELECT s.id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL"
" FROM capi.audience_state s WHERE NOT EXISTS (SELECT FROM capi.audience a WHERE a.id = s.id)"
" ORDER BY 1";

static char *
text_column(HeapTuple row, int column, MemoryContext context)
{
	char	   *text = SPI_getvalue(row, SPI_tuptable->tupdesc, column);

	return text != NULL ? MemoryContextStrdup(context, text) : NULL;
}

static int64
int8_column(HeapTuple row, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

static void
read_audience(CapiAudience *audience, HeapTuple row, MemoryContext context)
{
	TupleDesc	desc = SPI_tuptable->tupdesc;
	bool		isnull;
	Datum		value;
	char	   *op;

	audience->id = DatumGetInt32(SPI_getbinval(row, desc, COL_ID, &isnull));
	value = SPI_getbinval(row, desc, COL_DATASET, &isnull);
	audience->is_dropped = isnull;
	if (isnull)
		return;
	audience->dataset_id = DatumGetInt32(value);
	audience->list_id = text_column(row, COL_LIST, context);
	audience->source.id = audience->id;
	audience->source.query = text_column(row, COL_QUERY, context);
	audience->source.search_path = text_column(row, COL_PATH, context);
	audience->source.run_as = DatumGetObjectId(SPI_getbinval(row, desc, COL_ROLE, &isnull));
	audience->paused = DatumGetBool(SPI_getbinval(row, desc, COL_PAUSED, &isnull));
	audience->asked_at = DatumGetTimestampTz(SPI_getbinval(row, desc, COL_ASKED, &isnull));
	audience->due_at = DatumGetTimestampTz(SPI_getbinval(row, desc, COL_DUE, &isnull));
	audience->to_add = int8_column(row, COL_TO_ADD);
	audience->to_remove = int8_column(row, COL_TO_REMOVE);
	audience->session_id = int8_column(row, COL_SESSION);
	op = SPI_getvalue(row, desc, COL_OP);
	audience->session_op = op != NULL ? op[0] : '\0';
	value = SPI_getbinval(row, desc, COL_SEQ, &isnull);
	audience->batch_seq = isnull ? 0 : DatumGetInt32(value);
}

/* What is not in the catalog goes on as it was, until somebody says a word. */
static void
keep_run_time_members(CapiAudience *audience, const CapiAudienceList *old, bool fresh)
{
	for (int i = 0; old != NULL && i < old->n; i++)
	{
		const CapiAudience *before = &old->v[i];

		if (before->id != audience->id || before->asked_at != audience->asked_at)
			continue;
		audience->read_failures = before->read_failures;
		audience->send_failures = before->send_failures;
		audience->read_after = before->read_after;
		audience->send_after = fresh ? 0 : before->send_after;
	}
}

static void
run(const char *sql)
{
	if (capi_txn_execute(sql, false, 0) < 0)
		elog(ERROR, "could not write the state of an audience");
}

CapiAudienceList *
capi_audience_load(CapiAudienceList *old, MemoryContext parent, bool fresh)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "capi audiences",
												  ALLOCSET_SMALL_SIZES);
	CapiAudienceList *list = MemoryContextAllocZero(context, sizeof(CapiAudienceList));

	run("INSERT INTO capi.audience_state (id) SELECT a.id FROM capi.audience a"
		" WHERE NOT EXISTS (SELECT FROM capi.audience_state s WHERE s.id = a.id)");
	if (capi_txn_execute(load_sql, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the audiences");
	list->n = (int) SPI_processed;
	list->v = MemoryContextAllocZero(context, sizeof(CapiAudience) * (list->n + 1));
	for (int i = 0; i < list->n; i++)
	{
		read_audience(&list->v[i], SPI_tuptable->vals[i], context);
		keep_run_time_members(&list->v[i], old, fresh);
	}
	SPI_freetuptable(SPI_tuptable);
	if (old != NULL)
		MemoryContextDelete(GetMemoryChunkContext(old));
	MemoryContextSetParent(context, parent);
	return list;
}

/* ---------- steps ---------- */

static void
call(const char *sql, int nargs, Oid *types, Datum *args, const char *nulls)
{
	if (capi_txn_execute_with_args(sql, nargs, types, args, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not write what became of an audience");
	SPI_freetuptable(SPI_tuptable);
}

void
capi_audience_page(int id, Datum after, Datum upto, Datum keys, Datum packed)
{
	Datum		args[] = {Int32GetDatum(id), after, upto, keys, packed};
	static CapiStatement statement = {
		"SELECT capi._audience_page($1, $2, $3, $4, $5)", 5,
		{INT4OID, UUIDOID, UUIDOID, UUIDARRAYOID, BYTEAARRAYOID}, NULL
	};

	if (capi_txn_execute_saved(&statement, args, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not compare the people of an audience");
	SPI_freetuptable(SPI_tuptable);
}

void
capi_audience_read(int id, const CapiAudienceReading *reading)
{
	Oid			types[] = {INT4OID, TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID, TEXTOID};
	Datum		args[] = {Int32GetDatum(id), TimestampTzGetDatum(reading->began),
		Int64GetDatum(reading->people), Int64GetDatum(reading->no_consent),
		Int64GetDatum(reading->unusable),
		reading->problems != NULL ? CStringGetTextDatum(reading->problems) : (Datum) 0};

	call("SELECT capi._audience_read($1, $2, $3, $4, $5, $6)", lengthof(types), types, args,
		 reading->problems != NULL ? NULL : "     n");
}

void
capi_audience_set_state(int id, const char *state, const char *reason)
{
	Oid			types[] = {INT4OID, TEXTOID, TEXTOID};
	Datum		args[] = {Int32GetDatum(id), CStringGetTextDatum(state),
		reason != NULL ? CStringGetTextDatum(reason) : (Datum) 0};

	call("SELECT capi._audience_state($1, $2, $3)", lengthof(types), types, args,
		 reason != NULL ? NULL : "  n");
}

void
capi_audience_batch(int id, char op, int max, CapiAudienceBatch *batch)
{
	/* the status in the text, or the index of those that wait were of no use */
	char	   *sql = psprintf("SELECT m.key, m.cells FROM capi.audience_member m"
							   " WHERE m.audience_id = %d AND m.status = '%c'"
							   " ORDER BY m.key LIMIT %d", id, op, max + 1);

	if (capi_txn_execute(sql, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the people of an audience");
	batch->more = SPI_processed > (uint64) max;
	batch->n = (int) Min(SPI_processed, (uint64) max);
	batch->keys = palloc(sizeof(Datum) * (batch->n + 1));
	batch->packed = palloc(sizeof(Datum) * (batch->n + 1));
	for (int i = 0; i < batch->n; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		pg_uuid_t  *key = palloc(sizeof(pg_uuid_t));
		bool		isnull;

		*key = *DatumGetUUIDP(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));
		batch->keys[i] = UUIDPGetDatum(key);
		batch->packed[i] = PointerGetDatum(DatumGetByteaPCopy(SPI_getbinval(row, SPI_tuptable->tupdesc,
																			2, &isnull)));
	}
	SPI_freetuptable(SPI_tuptable);
}

void
capi_audience_sending(int id, char op, int64 session_id, int batch_seq, Datum first,
					  Datum last)
{
	Oid			types[] = {INT4OID, CHAROID, INT8OID, INT4OID, UUIDOID, UUIDOID};
	Datum		args[] = {Int32GetDatum(id), CharGetDatum(op), Int64GetDatum(session_id),
	Int32GetDatum(batch_seq), first, last};

	call("SELECT capi._audience_sending($1, $2, $3, $4, $5, $6)", lengthof(types), types, args, NULL);
}

void
capi_audience_sent(int id, char op, Datum first, Datum last, bool is_last, int64 invalid)
{
	Oid			types[] = {INT4OID, CHAROID, UUIDOID, UUIDOID, BOOLOID, INT8OID};
	Datum		args[] = {Int32GetDatum(id), CharGetDatum(op), first, last,
	BoolGetDatum(is_last), Int64GetDatum(invalid)};

	call("SELECT capi._audience_sent($1, $2, $3, $4, $5, $6)", lengthof(types), types, args, NULL);
}

void
capi_audience_nothing_waits(int id)
{
	run(psprintf("UPDATE capi.audience_state SET to_add = 0, to_remove = 0,"
				 " session_id = NULL, session_op = NULL, batch_seq = NULL WHERE id = %d", id));
}

void
capi_audience_sweep(int id, int max)
{
	Oid			types[] = {INT4OID, INT4OID};
	Datum		args[] = {Int32GetDatum(id), Int32GetDatum(max)};

	call("SELECT capi._audience_sweep($1, $2)", lengthof(types), types, args, NULL);
}
