/*
 * backfill.c
 *		CALL capi.backfill(): orders that were never captured are queued, as if
 *		the trigger had seen them.
 *
 * Which ones is found in one snapshot, as capi.missing_orders() finds it, with
 * the rights of the caller.  Then they go into the queue by thousands, each with
 * a commit, so that it may be cut off at any point and called again; what another
 * one queues at the same time has the same keys, and the dispatcher sends an
 * order once (P5).  What becomes of an order the ordinary way decides: its query,
 * consent, ignore_reason.
 *
 * Not queued, and counted: what Meta would refuse for its age, and what does not
 * meet the rule of the source, an unpaid order say that the query returns (P4).
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lock.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/capi.h"
#include "base/entry.h"
#include "base/test_point.h"
#include "base/wake.h"
#include "call/reconcile.h"
#include "store/queue.h"

/* Orders between two commits. */
#define CHUNK			1000

/* How often is said how far it is. */
#define NOTICE_US		(5 * USECS_PER_SEC)

/* What pg_locks shows of a run; sql/capi/repair.sql looks for it. */
#define LOCK_CLASS		1128353865

/* Columns of what is missing, as the ledger gives it. */
enum
{
	M_KEY, M_AT, M_ACTION_SOURCE, M_COLUMNS
};

/* What became of the missing orders so far. */
typedef enum Fate
{
	FATE_QUEUED, FATE_TOO_OLD, FATE_NOT_BY_RULE, FATE_KNOWN, FATE_UNUSABLE,
	FATES
} Fate;

typedef struct Backfill
{
	Oid			owner;			/* of the extension */
	CapiCaller	reader;
	TimestampTz since;
	TimestampTz until;
	int64		run;			/* its number */
	char	   *rule_sql;		/* or NULL: every order meets the rule */
	TupleDesc	desc;
	Tuplestorestate *missing;	/* lives over commits */
	int64		total;
	int64		counts[FATES];
	TimestampTz counted_at;
	TimestampTz noticed_at;
	MemoryContext chunk;
} Backfill;

PG_FUNCTION_INFO_V1(capi_sql_backfill);

/* ---------- its row in capi.backfill_run ---------- */

static void
set_lock_tag(LOCKTAG *tag, int64 run)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, LOCK_CLASS, (uint32) run, 2);
	/* of a type that no function takes, and so nobody else holds */
	tag->locktag_type = LOCKTAG_USERLOCK;
	tag->locktag_lockmethodid = DEFAULT_LOCKMETHOD;
}

static int64
run_as_owner(Backfill *b, const char *sql, int nargs, Oid *types, Datum *args)
{
	CapiOwnerScope scope;
	int64		result = 0;
	bool		isnull;

	capi_enter_owner(b->owner, &scope);
	if (SPI_execute_with_args(sql, nargs, types, args, NULL, false, 0) < 0)
		elog(ERROR, "could not note how far a backfill is");
	if (SPI_tuptable != NULL && SPI_processed == 1)
		result = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
											 1, &isnull));
	capi_leave_owner(&scope);
	return result;
}

/* A row of this run; those of long ago go. */
static void
begin_run(Backfill *b)
{
	Oid			types[] = {INT4OID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		args[] = {
		Int32GetDatum(b->reader.source->id), Int32GetDatum(MyProcPid),
		TimestampTzGetDatum(b->since), TimestampTzGetDatum(b->until)
	};
	LOCKTAG		tag;

	run_as_owner(b, "DELETE FROM capi.backfill_run r WHERE r.ctid = ANY (ARRAY(SELECT o.ctid"
				 " FROM capi.backfill_run o WHERE o.updated_at < now() - interval '30 days'"
				 " FOR UPDATE SKIP LOCKED))", 0, NULL, NULL);
	b->run = run_as_owner(b, "INSERT INTO capi.backfill_run (id, source_id, pid, started_at,"
						  " since, until, updated_at)"
						  " VALUES (nextval('capi.backfill_run_id_seq'), $1, $2, clock_timestamp(),"
						  " $3, $4, clock_timestamp()) RETURNING id",
						  4, types, args);
	set_lock_tag(&tag, b->run);
	(void) LockAcquire(&tag, ExclusiveLock, true, true);
}

static void
release_run(Backfill *b)
{
	LOCKTAG		tag;

	set_lock_tag(&tag, b->run);
	(void) LockRelease(&tag, ExclusiveLock, true);
}

static void
note_run(Backfill *b, bool finished)
{
	Oid			types[] = {
		INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, BOOLOID,
		TIMESTAMPTZOID
	};
	Datum		args[] = {
		Int64GetDatum(b->run), Int64GetDatum(b->total),
		Int64GetDatum(b->counts[FATE_QUEUED]), Int64GetDatum(b->counts[FATE_TOO_OLD]),
		Int64GetDatum(b->counts[FATE_NOT_BY_RULE]), Int64GetDatum(b->counts[FATE_KNOWN]),
		Int64GetDatum(b->counts[FATE_UNUSABLE]), BoolGetDatum(finished),
		TimestampTzGetDatum(b->counted_at)
	};

	run_as_owner(b, "UPDATE capi.backfill_run SET total = $2, queued = $3, too_old = $4,"
				 " not_by_rule = $5, known = $6, unusable = $7, counted_at = $9,"
				 " updated_at = clock_timestamp(),"
				 " finished_at = CASE WHEN $8 THEN clock_timestamp() END WHERE id = $1",
				 9, types, args);
}

/* ---------- what is missing ---------- */

/* What the rule means today; one that is broken means nothing. */
static void
read_rule(Backfill *b)
{
	Oid			types[] = {INT4OID};
	Datum		args[] = {Int32GetDatum(b->reader.source->id)};
	MemoryContext context = CurrentMemoryContext;
	CapiOwnerScope scope;
	char	   *problem;
	char	   *sql;

	capi_enter_owner(b->owner, &scope);
	if (SPI_execute_with_args("SELECT p.problem, CASE WHEN p.problem IS NULL THEN capi._rule_sql($1) END"
							  " FROM (SELECT capi._rule_gap($1) AS problem) p",
							  1, types, args, NULL, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read the rule of a source");
	problem = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	sql = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	capi_leave_owner(&scope);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the rule of source \"%s\" cannot be applied", b->reader.source->name),
				 errdetail("Its problem: %s.", problem),
				 errhint("Mend it with capi.alter_source(); until then nobody knows which orders it means.")));
	b->rule_sql = sql == NULL ? NULL : MemoryContextStrdup(context, sql);
}

static void
find_missing(Backfill *b)
{
	CapiLedger	ledger = {
		.kind = CAPI_LEDGER_BACKFILL, .since = b->since, .until = b->until
	};

	b->desc = CreateTemplateTupleDesc(M_COLUMNS);
	TupleDescInitEntry(b->desc, M_KEY + 1, "key", TEXTOID, -1, 0);
	TupleDescInitEntry(b->desc, M_AT + 1, "at", TIMESTAMPTZOID, -1, 0);
	TupleDescInitEntry(b->desc, M_ACTION_SOURCE + 1, "action_source", TEXTOID, -1, 0);
	b->missing = tuplestore_begin_heap(false, true, work_mem);
	capi_reconcile(&b->reader, &ledger, b->missing, b->desc);
	b->total = tuplestore_tuple_count(b->missing);
	b->counted_at = GetCurrentTimestamp();
}

/* ---------- a thousand of them ---------- */

typedef struct Chunk
{
	int			n;
	Datum		keys[CHUNK];	/* texts */
	Fate		fates[CHUNK];
} Chunk;

static bool
is_too_old(const Backfill *b, TupleTableSlot *slot)
{
	bool		no_time;
	bool		no_action;
	Datum		at = slot_getattr(slot, M_AT + 1, &no_time);
	Datum		action = slot_getattr(slot, M_ACTION_SOURCE + 1, &no_action);
	const char *action_source = no_action ? b->reader.source->action_source :
		TextDatumGetCString(action);
	int64		max_age = strcmp(action_source, "physical_store") == 0 ?
		CAPI_MAX_AGE_STORE_S : CAPI_MAX_AGE_S;

	return !no_time &&
		timestamptz_to_time_t(GetCurrentTimestamp()) - timestamptz_to_time_t(DatumGetTimestampTz(at)) > max_age;
}

static void
read_chunk(Backfill *b, Chunk *chunk)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(b->desc, &TTSOpsMinimalTuple);

	for (chunk->n = 0; chunk->n < CHUNK; chunk->n++)
	{
		bool		isnull;

		if (!tuplestore_gettupleslot(b->missing, true, true, slot))
			break;
		chunk->keys[chunk->n] = PointerGetDatum(PG_DETOAST_DATUM_COPY(slot_getattr(slot, M_KEY + 1, &isnull)));
		chunk->fates[chunk->n] = is_too_old(b, slot) ? FATE_TOO_OLD :
			VARSIZE_ANY_EXHDR(DatumGetPointer(chunk->keys[chunk->n])) > CAPI_MAX_KEY_BYTES ?
			FATE_UNUSABLE : FATE_QUEUED;
	}
	ExecDropSingleTupleTableSlot(slot);
}

static Datum
keys_array(Chunk *chunk)
{
	return PointerGetDatum(construct_array(chunk->keys, chunk->n, TEXTOID,
										   -1, false, TYPALIGN_INT));
}

/* Numbers that the statement returned are of keys with that fate, or without. */
static void
judge(Chunk *chunk, bool found, Fate fate)
{
	bool	   *listed = palloc0(sizeof(bool) * (chunk->n + 1));

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		int			n = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
													1, &isnull));

		listed[n] = true;
	}
	for (int i = 0; i < chunk->n; i++)
		if (chunk->fates[i] == FATE_QUEUED && listed[i + 1] == found)
			chunk->fates[i] = fate;
}

/* The keys as the trigger writes them, by which orders are known (known.c). */
static void
take_captured_texts(Chunk *chunk)
{
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		bool		isnull;
		int			n = DatumGetInt32(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));

		chunk->keys[n - 1] = CStringGetTextDatum(SPI_getvalue(row, SPI_tuptable->tupdesc, 2));
	}
}

/* As the caller, who reads the watched table with his own rights. */
static void
judge_by_rule(Backfill *b, Chunk *chunk)
{
	CapiSource *source = b->reader.source;
	Oid			types[] = {TEXTARRAYOID};
	Datum		args[] = {keys_array(chunk)};
	CapiQueryScope scope;

	if (b->rule_sql == NULL)
		return;
	capi_query_enter(&scope, source->run_as, source->search_path);
	capi_query_use_key_settings(source);
	if (SPI_execute_with_args(b->rule_sql, 1, types, args, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not apply the rule of a source");
	capi_query_leave(&scope);
	MemoryContextSwitchTo(b->chunk);
	judge(chunk, false, FATE_NOT_BY_RULE);
	take_captured_texts(chunk);
}

/* Somebody may have captured them since, another backfill for one. */
static void
judge_known(Backfill *b, Chunk *chunk)
{
	Oid			types[] = {INT4OID, TEXTARRAYOID};
	Datum		args[] = {Int32GetDatum(b->reader.source->id), keys_array(chunk)};
	CapiOwnerScope scope;

	capi_enter_owner(b->owner, &scope);
	if (SPI_execute_with_args("SELECT capi._known_keys($1, $2)", 2, types, args, NULL, true, 0)
		!= SPI_OK_SELECT)
		elog(ERROR, "could not look keys up");
	capi_leave_owner(&scope);
	MemoryContextSwitchTo(b->chunk);
	judge(chunk, true, FATE_KNOWN);
}

static void
append(Backfill *b, const Chunk *chunk)
{
	bool		any = false;

	for (int i = 0; i < chunk->n; i++)
	{
		if (chunk->fates[i] != FATE_QUEUED)
			continue;
		if (!capi_queue_append(b->reader.source->id, TextDatumGetCString(chunk->keys[i]), 0))
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("could not note orders in the queue"),
					 errdetail("Another session holds locks on all of the queue's segments."),
					 errhint("Call capi.backfill() again when it is done: what was queued stays.")));
		any = true;
	}
	if (any)
		capi_wake_at_commit(false);
}

static bool
queue_chunk(Backfill *b)
{
	MemoryContext old = MemoryContextSwitchTo(b->chunk);
	Chunk	   *chunk = palloc0(sizeof(Chunk));

	read_chunk(b, chunk);
	if (chunk->n > 0)
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		judge_by_rule(b, chunk);
		judge_known(b, chunk);
		append(b, chunk);
		PopActiveSnapshot();
		for (int i = 0; i < chunk->n; i++)
			b->counts[chunk->fates[i]]++;
		note_run(b, false);
	}
	MemoryContextSwitchTo(old);
	CAPI_TEST_POINT("backfill: before commit");
	SPI_commit();
	CAPI_TEST_POINT("backfill: after commit");
	MemoryContextReset(b->chunk);
	return chunk->n > 0;
}

/* ---------- the whole ---------- */

static int64
done(const Backfill *b)
{
	int64		n = 0;

	for (int i = 0; i < FATES; i++)
		n += b->counts[i];
	return n;
}

static void
say_progress(Backfill *b)
{
	TimestampTz now = GetCurrentTimestamp();
	double		rate;

	if (now - b->noticed_at < NOTICE_US || done(b) == 0)
		return;
	b->noticed_at = now;
	rate = done(b) * (double) USECS_PER_SEC / Max(now - b->counted_at, 1);
	ereport(NOTICE,
			(errmsg("backfill of source \"%s\": " INT64_FORMAT " of " INT64_FORMAT
					" orders, %.0f a second, %.0f s left",
					b->reader.source->name, done(b), b->total, rate, (b->total - done(b)) / rate)));
}

static void
say_result(Backfill *b)
{
	StringInfoData rest;

	initStringInfo(&rest);
	if (b->counts[FATE_TOO_OLD] > 0)
		appendStringInfo(&rest, " " INT64_FORMAT " are too old for Meta.", b->counts[FATE_TOO_OLD]);
	if (b->counts[FATE_NOT_BY_RULE] > 0)
		appendStringInfo(&rest, " " INT64_FORMAT " do not meet the rule of the source today.",
						 b->counts[FATE_NOT_BY_RULE]);
	if (b->counts[FATE_KNOWN] > 0)
		appendStringInfo(&rest, " " INT64_FORMAT " were captured meanwhile.", b->counts[FATE_KNOWN]);
	if (b->counts[FATE_UNUSABLE] > 0)
		appendStringInfo(&rest, " " INT64_FORMAT " have a key of more than %d bytes.",
						 b->counts[FATE_UNUSABLE], CAPI_MAX_KEY_BYTES);
	ereport(NOTICE,
			(errmsg("backfill of source \"%s\": " INT64_FORMAT " of " INT64_FORMAT " missing orders queued",
					b->reader.source->name, b->counts[FATE_QUEUED], b->total),
			 rest.len > 0 ? errdetail("%s", rest.data + 1) : 0,
			 b->counts[FATE_NOT_BY_RULE] == 0 ? 0 :
			 errhint("Let the query leave out what is never an order, carts say: until then it counts as missing.")));
}

static void
backfill(Backfill *b)
{
	find_missing(b);
	note_run(b, false);
	SPI_commit();
	CAPI_TEST_POINT("a backfill has counted");
	while (queue_chunk(b))
	{
		CHECK_FOR_INTERRUPTS();
		say_progress(b);
	}
	note_run(b, true);
	SPI_commit();
	CAPI_TEST_POINT("a backfill is done");
	say_result(b);
}

Datum
capi_sql_backfill(PG_FUNCTION_ARGS)
{
	CallContext *call = (CallContext *) fcinfo->context;
	MemoryContext caller = CurrentMemoryContext;
	Backfill   *b = palloc0(sizeof(Backfill));

	if (call == NULL || !IsA(call, CallContext) || call->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("capi.backfill() cannot run inside a transaction block"),
				 errhint("Use CALL capi.backfill() on its own: it commits what it has done as it goes.")));
	PreventCommandDuringRecovery("CALL capi.backfill()");
	PreventCommandIfReadOnly("CALL capi.backfill()");
	b->since = PG_ARGISNULL(1) ? 0 : PG_GETARG_TIMESTAMPTZ(1);
	b->until = PG_ARGISNULL(2) ? 0 : PG_GETARG_TIMESTAMPTZ(2);
	capi_reconcile_check_range(PG_ARGISNULL(1), b->since, PG_ARGISNULL(2), b->until);
	b->owner = capi_function_owner(fcinfo->flinfo->fn_oid);
	b->chunk = AllocSetContextCreate(caller, "capi backfill", ALLOCSET_DEFAULT_SIZES);
	b->noticed_at = GetCurrentTimestamp();
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	MemoryContextSwitchTo(caller);
	capi_caller_open(&b->reader, fcinfo, 0);
	if (b->reader.source->is_direct)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("source \"%s\" has no orders to look for", b->reader.source->name),
				 errdetail("Its events come from capi.send(), which no table shows."),
				 errhint("Call capi.send() for what is missing.")));
	MemoryContextSwitchTo(caller);
	read_rule(b);
	begin_run(b);
	MemoryContextSwitchTo(caller);
	SPI_commit();
	CAPI_TEST_POINT("a backfill began");
	PG_TRY();
	{
		MemoryContextSwitchTo(caller);
		backfill(b);
	}
	PG_FINALLY();
	{
		/* the lock is the session's: it would outlive the error */
		release_run(b);
	}
	PG_END_TRY();
	tuplestore_end(b->missing);
	capi_caller_close(&b->reader);
	SPI_finish();
	PG_RETURN_VOID();
}
