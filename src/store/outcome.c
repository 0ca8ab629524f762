/*
 * outcome.c
 *		All SQL of the dispatcher on capi.delivery, capi.backlog, capi.request
 *		and on the states of datasets and sources.  (What is due: due.c.)
 *
 * Does not decide anything: dispatch.c says what became of an event, this file
 * writes it down.  A waiting event has one row in the backlog, a finished one
 * one row in the log; both change in the same transaction (P3).
 *
 * Rows go in as arrays, one statement for up to a thousand events.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/encoding.h"
#include "base/guc.h"
#include "base/txn.h"
#include "store/context.h"
#include "store/delivery.h"
#include "store/direct.h"
#include "store/outcome.h"

/* One array argument under construction. */
typedef struct ArrayArg
{
	Oid			type;			/* of the element */
	int			n;
	Datum	   *values;
	bool	   *nulls;
} ArrayArg;

static void
array_init(ArrayArg *arg, Oid type, int room)
{
	arg->type = type;
	arg->n = 0;
	arg->values = palloc(sizeof(Datum) * (room + 1));
	arg->nulls = palloc(sizeof(bool) * (room + 1));
}

static void
array_add(ArrayArg *arg, Datum value, bool isnull)
{
	arg->values[arg->n] = value;
	arg->nulls[arg->n++] = isnull;
}

static void
array_add_text(ArrayArg *arg, const char *text)
{
	array_add(arg, text != NULL ? CStringGetTextDatum(text) : (Datum) 0, text == NULL);
}

/* A text of the pipeline's (encoding.c). */
static void
array_add_utf8(ArrayArg *arg, const char *text)
{
	array_add_text(arg, text != NULL ? capi_from_utf8(text) : NULL);
}

static Datum
array_datum(ArrayArg *arg, Oid *array_type)
{
	int			dims[1] = {arg->n};
	int			lower[1] = {1};
	int16		len;
	bool		byval;
	char		align;

	get_typlenbyvalalign(arg->type, &len, &byval, &align);
	*array_type = get_array_type(arg->type);
	return PointerGetDatum(construct_md_array(arg->values, arg->nulls, 1, dims, lower,
											  arg->type, len, byval, align));
}

static void
run(const char *sql, ArrayArg *arrays, int narrays, int expected)
{
	Oid			types[16];
	Datum		args[16];

	Assert(narrays <= 16);
	for (int i = 0; i < narrays; i++)
		args[i] = array_datum(&arrays[i], &types[i]);
	if (capi_txn_execute_with_args(sql, narrays, types, args, NULL, false, 0) != expected)
		elog(ERROR, "could not record outcomes");
}

static bool
is_finished(CapiOutcomeKind kind)
{
	return kind <= CAPI_OUTCOME_EXPIRED;
}

/* Columns of the backlog, in the order of the SQL. */
enum
{
	A_SOURCE, A_KEY, A_DATASET, A_KIND, A_CAPTURED, A_ATTEMPTS, A_EVENT_ID,
	A_EVENT_NAME, A_EVENT_TIME, A_VALUE, A_CURRENCY, A_REASON, A_CODE,
	A_SUBCODE, A_REQUEST, A_NEXT, A_COUNT
};

static void
init_arrays(ArrayArg *a, int room)
{
	static const Oid types[A_COUNT] = {
		INT4OID, TEXTOID, INT4OID, TEXTOID, TIMESTAMPTZOID, INT4OID, TEXTOID,
		TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, INT4OID,
		INT8OID, TIMESTAMPTZOID
	};

	for (int i = 0; i < A_COUNT; i++)
		array_init(&a[i], types[i], room);
}

static void
add_waiting(ArrayArg *a, const CapiOutcome *outcome)
{
	const CapiItem *item = outcome->item;
	bool		same_id = item->event_id == NULL || strcmp(item->event_id, item->key) == 0;
	TimestampTz event_time;
	bool		has_time = capi_item_event_time(item, &event_time);

	array_add(&a[A_SOURCE], Int32GetDatum(item->source_id), false);
	array_add_text(&a[A_KEY], item->key);
	array_add(&a[A_DATASET], Int32GetDatum(item->dataset_id), item->dataset_id == 0);
	array_add_text(&a[A_KIND], capi_outcome_word(outcome->kind));
	array_add(&a[A_CAPTURED], TimestampTzGetDatum(item->captured_at), false);
	array_add(&a[A_ATTEMPTS], Int32GetDatum(item->attempts), false);
	array_add_utf8(&a[A_EVENT_ID], same_id ? NULL : item->event_id);
	array_add_utf8(&a[A_EVENT_NAME], item->event_name);
	array_add(&a[A_EVENT_TIME], TimestampTzGetDatum(event_time), !has_time);
	array_add_text(&a[A_VALUE], item->value);
	array_add_utf8(&a[A_CURRENCY], item->currency);
	array_add_utf8(&a[A_REASON], outcome->reason);
	array_add(&a[A_CODE], Int32GetDatum(outcome->error_code), outcome->error_code == 0);
	array_add(&a[A_SUBCODE], Int32GetDatum(outcome->error_subcode), outcome->error_subcode == 0);
	array_add(&a[A_REQUEST], Int64GetDatum(outcome->request_id), outcome->request_id == 0);
	array_add(&a[A_NEXT], TimestampTzGetDatum(outcome->next_attempt_at), false);
}

#define UNNEST_COLUMNS \
	" FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)" \
	" AS u (source_id, key, dataset_id, kind, captured_at, attempts, event_id, event_name," \
	" event_time, value, currency, reason, error_code, error_subcode, request_id, next)"

static void
add_key(ArrayArg *pair, const CapiItem *item)
{
	array_add(&pair[0], Int32GetDatum(item->source_id), false);
	array_add_text(&pair[1], item->key);
}

static void
forget(ArrayArg *pair, void (*forget_them) (Oid, Datum, Oid, Datum))
{
	Oid			types[2];
	Datum		source_ids = array_datum(&pair[0], &types[0]);
	Datum		keys = array_datum(&pair[1], &types[1]);

	forget_them(types[0], source_ids, types[1], keys);
}

/* What has to go when orders have their outcome, besides the queue row. */
typedef struct Leaving
{
	ArrayArg	backlog[2];
	ArrayArg	replaced[2];	/* rows of the log that say "ignored" */
	ArrayArg	contexts[2];
	ArrayArg	direct[2];
} Leaving;

static void
collect_leaving(Leaving *leaving, const CapiOutcome *outcome)
{
	const CapiItem *item = outcome->item;

	/* somebody may have redriven an ignored order that was under way */
	if (item->from_backlog || item->was_ignored)
		add_key(leaving->backlog, item);
	if (item->was_ignored)
		add_key(leaving->replaced, item);
	if (item->is_direct)
		add_key(leaving->direct, item);
	/* an ignored order may be looked at again, unless consent is lacking */
	if (item->context != 0 && (outcome->kind != CAPI_OUTCOME_IGNORED ||
							   strcmp(outcome->reason, "no consent") == 0))
		add_key(leaving->contexts, item);
}

/* Rows of the log that say "ignored" of orders that were captured again. */
static void
delete_replaced(ArrayArg *pair)
{
	if (pair[0].n > 0)
		run("DELETE FROM capi.delivery d USING unnest($1, $2) AS u (source_id, key)"
			" WHERE d.source_id = u.source_id AND d.key = u.key AND d.outcome = 'ignored'",
			pair, 2, SPI_OK_DELETE);
}

static void
record_finished(CapiOutcome *outcomes, int n, int count)
{
	Leaving		leaving;
	ArrayArg   *all = leaving.backlog;

	/* pairs of int4 and text, as long as there are outcomes */
	for (int i = 0; i < (int) (sizeof(leaving) / sizeof(ArrayArg)); i++)
		array_init(&all[i], i % 2 == 0 ? INT4OID : TEXTOID, count);
	for (int i = 0; i < n; i++)
		if (is_finished(outcomes[i].kind))
			collect_leaving(&leaving, &outcomes[i]);
	delete_replaced(leaving.replaced);
	capi_delivery_append(outcomes, n);
	if (leaving.contexts[0].n > 0)
		forget(leaving.contexts, capi_context_forget);
	if (leaving.direct[0].n > 0)
		forget(leaving.direct, capi_direct_forget);
	if (leaving.backlog[0].n > 0)
		run("DELETE FROM capi.backlog b USING unnest($1, $2) AS u (source_id, key)"
			" WHERE b.source_id = u.source_id AND b.key = u.key",
			leaving.backlog, 2, SPI_OK_DELETE);
}

/*
 * A line in the story of each order that waits now and did not wait like that
 * before.  Not when the log has no partition for it yet (capi._maintain_logs).
 */
static void
record_history(ArrayArg *a)
{
	run("INSERT INTO capi.history (at, source_id, dataset_id, attempts, error_code,"
		" error_subcode, request_id, next_attempt_at, status, key, reason)"
		" SELECT clock_timestamp(), u.source_id, u.dataset_id, u.attempts, u.error_code,"
		" u.error_subcode, u.request_id, u.next, u.kind, u.key, u.reason" UNNEST_COLUMNS
		" WHERE (SELECT capi._partition_now('history') IS NOT NULL)"
		" AND NOT EXISTS (SELECT FROM capi.backlog b WHERE b.source_id = u.source_id"
		" AND b.key = u.key AND b.status = u.kind AND b.attempts = u.attempts"
		" AND b.reason IS NOT DISTINCT FROM u.reason)",
		a, A_COUNT, SPI_OK_INSERT);
}

static void
record_waiting(CapiOutcome *outcomes, int n, int count)
{
	ArrayArg	a[A_COUNT];
	ArrayArg	replaced[2];

	init_arrays(a, count);
	array_init(&replaced[0], INT4OID, count);
	array_init(&replaced[1], TEXTOID, count);
	for (int i = 0; i < n; i++)
		if (!is_finished(outcomes[i].kind) && outcomes[i].kind != CAPI_OUTCOME_NONE)
		{
			CapiItem   *item = outcomes[i].item;

			add_waiting(a, &outcomes[i]);
			capi_outcome_due_from(item->source_id, item->dataset_id,
								  outcomes[i].next_attempt_at);
			if (item->was_ignored)
				add_key(replaced, item);
		}
	delete_replaced(replaced);
	record_history(a);
	run("INSERT INTO capi.backlog (source_id, key, dataset_id, status, captured_at,"
		" next_attempt_at, attempts, event_id, event_name, event_time, value, currency, reason,"
		" error_code, error_subcode, request_id)"
		" SELECT u.source_id, u.key, u.dataset_id, u.kind, u.captured_at, u.next, u.attempts,"
		" u.event_id, u.event_name, u.event_time, u.value::numeric, u.currency, u.reason,"
		" u.error_code, u.error_subcode, u.request_id" UNNEST_COLUMNS
	/* what was to be forgotten while it was under way does not wait again */
		" WHERE NOT EXISTS (SELECT FROM capi.delivery d WHERE d.source_id = u.source_id"
		" AND d.key = u.key AND d.outcome = 'forgotten')"
		" ON CONFLICT (source_id, key) DO UPDATE SET dataset_id = excluded.dataset_id,"
		" status = excluded.status, next_attempt_at = excluded.next_attempt_at,"
		" attempts = excluded.attempts, event_id = excluded.event_id,"
		" event_name = excluded.event_name, event_time = excluded.event_time,"
		" value = excluded.value, currency = excluded.currency, reason = excluded.reason,"
		" error_code = excluded.error_code, error_subcode = excluded.error_subcode,"
		" request_id = excluded.request_id",
		a, A_COUNT, SPI_OK_INSERT);
}

void
capi_outcome_record(CapiOutcome *outcomes, int n)
{
	int			finished = 0;
	int			waiting = 0;

	for (int i = 0; i < n; i++)
	{
		finished += is_finished(outcomes[i].kind);
		waiting += !is_finished(outcomes[i].kind) && outcomes[i].kind != CAPI_OUTCOME_NONE;
	}
	if (finished > 0)
		record_finished(outcomes, n, finished);
	if (waiting > 0)
		record_waiting(outcomes, n, waiting);
}

/* One that somebody has locked is looked at again when it is due. */
void
capi_outcome_drop_waiting(CapiItem **items, int n)
{
	ArrayArg	pair[2];

	array_init(&pair[0], INT4OID, n);
	array_init(&pair[1], TEXTOID, n);
	for (int i = 0; i < n; i++)
		add_key(pair, items[i]);
	run("DELETE FROM capi.backlog b USING (SELECT l.source_id, l.key FROM unnest($1, $2)"
		" AS u (source_id, key) JOIN capi.backlog l ON l.source_id = u.source_id"
		" AND l.key = u.key FOR UPDATE OF l SKIP LOCKED) g"
		" WHERE b.source_id = g.source_id AND b.key = g.key",
		pair, 2, SPI_OK_DELETE);
}

int64
capi_outcome_next_request(void)
{
	return nextval_internal(capi_config_table("request_id_seq"), true);
}

void
capi_outcome_request(int64 request_id, int dataset_id, TimestampTz sent_at,
					 int64 duration_ms, int events, size_t bytes,
					 const CapiResult *result)
{
	static CapiStatement insert = {
		.sql = "INSERT INTO capi.request (request_id, dataset_id, sent_at,"
		" duration_ms, events, bytes, http_status, error_code,"
		" error_subcode, class, message, fbtrace_id, usage_percent)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
		.nargs = 13,
		.types = {INT8OID, INT4OID, TIMESTAMPTZOID, INT4OID, INT4OID, INT4OID,
		INT4OID, INT4OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, INT4OID}
	};
	Datum		args[13];
	char		nulls[14] = "             ";
	bool		accepted = result->class == CAPI_CLASS_ACCEPTED;

	args[0] = Int64GetDatum(request_id);
	args[1] = Int32GetDatum(dataset_id);
	args[2] = TimestampTzGetDatum(sent_at);
	args[3] = Int32GetDatum((int32) Min(duration_ms, PG_INT32_MAX));
	args[4] = Int32GetDatum(events);
	args[5] = Int32GetDatum((int32) bytes);
	args[6] = Int32GetDatum(result->http_status);
	args[7] = Int32GetDatum(result->error_code);
	args[8] = Int32GetDatum(result->error_subcode);
	args[9] = CStringGetTextDatum(capi_response_class_name(result->class));
	args[10] = CStringGetTextDatum(result->message);
	args[11] = CStringGetTextDatum(result->fbtrace_id);
	args[12] = Int32GetDatum(result->usage_percent);
	if (result->http_status == 0)
		nulls[6] = 'n';
	if (result->error_code == 0)
		nulls[7] = 'n';
	if (result->error_subcode == 0)
		nulls[8] = 'n';
	if (accepted || result->message[0] == '\0')
		nulls[10] = 'n';
	if (result->fbtrace_id[0] == '\0')
		nulls[11] = 'n';
	if (result->usage_percent < 0)
		nulls[12] = 'n';
	if (capi_txn_execute_saved(&insert, args, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not log a request");
}

/* False when somebody has changed the source and not committed yet. */
static bool
note_at_source(const char *change, int source_id, int count, TimestampTz at)
{
	Oid			types[3] = {INT4OID, INT4OID, TIMESTAMPTZOID};
	Datum		args[3] = {Int32GetDatum(source_id), Int32GetDatum(count),
	TimestampTzGetDatum(at)};

	if (capi_txn_execute_with_args("SELECT FROM capi.source WHERE id = $1", 1, types, args,
								   NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look a source up");
	/* there is nobody any more to note it for */
	if (SPI_processed == 0)
		return true;
	if (capi_txn_execute_with_args(psprintf("UPDATE capi.source SET %s"
											" WHERE id = (SELECT id FROM capi.source WHERE id = $1"
											" AND $2 > 0 FOR UPDATE SKIP LOCKED)", change),
								   3, types, args, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not note what was missed");
	return SPI_processed == 1;
}

bool
capi_outcome_missed(int source_id, int count)
{
	return note_at_source("missed_captures = missed_captures + $2", source_id, count, 0);
}

/*
 * A log that knows none of its orders takes none of the new ones for an old one.
 * at: not when it is read, for what was said meanwhile is of the new ones.
 */
bool
capi_outcome_renumbered(int source_id, TimestampTz at)
{
	return note_at_source("renumbered_at = CASE WHEN EXISTS (SELECT FROM capi.delivery d"
						  " WHERE d.source_id = $1) THEN least($3, now()) END", source_id, 1, at);
}

static void
update_state(const char *sql, int id, const char *first, const char *second)
{
	Oid			types[3] = {INT4OID, TEXTOID, TEXTOID};
	Datum		args[3] = {Int32GetDatum(id), CStringGetTextDatum(first),
	second != NULL ? CStringGetTextDatum(second) : (Datum) 0};
	char		nulls[4] = {' ', ' ', second != NULL ? ' ' : 'n', '\0'};

	if (capi_txn_execute_with_args(sql, second != NULL || strstr(sql, "$3") != NULL ? 3 : 2,
								   types, args, nulls, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not note a state");
}

/*
 * Never overrides a person's pause, and waits for nobody: a row that somebody
 * has changed and not committed yet is looked at again when he has, because
 * that loads the configuration anew.
 */
void
capi_outcome_dataset_state(int dataset_id, const char *state, const char *reason)
{
	update_state("UPDATE capi.dataset SET state = $2, reason = $3, state_since = now()"
				 " WHERE id = (SELECT id FROM capi.dataset WHERE id = $1 AND state <> 'paused'"
				 " AND state <> $2 FOR UPDATE SKIP LOCKED)",
				 dataset_id, state, reason);
}

/* A row of its own, which nobody else writes: users change the dataset's. */
void
capi_outcome_rest(int dataset_id, TimestampTz rest_until, bool throttled)
{
	Oid			types[3] = {INT4OID, TIMESTAMPTZOID, BOOLOID};
	Datum		args[3] = {Int32GetDatum(dataset_id), TimestampTzGetDatum(rest_until),
	BoolGetDatum(throttled)};
	char		nulls[4] = {' ', rest_until != 0 ? ' ' : 'n', ' ', '\0'};

	if (capi_txn_execute_with_args("INSERT INTO capi.dataset_state AS s"
								   " (dataset_id, rest_until, throttled) VALUES ($1, $2, $3)"
								   " ON CONFLICT (dataset_id) DO UPDATE SET"
								   " rest_until = excluded.rest_until,"
								   " throttled = excluded.throttled",
								   3, types, args, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not note a rest");
}

/* Which version of the API answers, which may be another than was asked for. */
void
capi_outcome_served_version(int dataset_id, const char *version)
{
	Oid			types[2] = {INT4OID, TEXTOID};
	Datum		args[2] = {Int32GetDatum(dataset_id), CStringGetTextDatum(version)};

	if (capi_txn_execute_with_args("INSERT INTO capi.dataset_state AS s"
								   " (dataset_id, served_version) VALUES ($1, $2)"
								   " ON CONFLICT (dataset_id) DO UPDATE SET"
								   " served_version = excluded.served_version",
								   2, types, args, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not note a version");
}

/* There is another dataset: events that wait for an unknown one are due. */
void
capi_outcome_retry_unknown(void)
{
	if (capi_txn_execute("UPDATE capi.backlog b SET next_attempt_at = now()"
						 " FROM (SELECT source_id, key FROM capi.backlog"
						 " WHERE reason = '" CAPI_REASON_UNKNOWN_DATASET "'"
						 " AND next_attempt_at > now() FOR UPDATE SKIP LOCKED) u"
						 " WHERE b.source_id = u.source_id AND b.key = u.key",
						 false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not retry events of unknown datasets");
}

/*
 * Times that were reckoned with a clock that was ahead are reckoned anew.  0: it
 * is not known whether it was, because nobody looked.
 */
void
capi_outcome_follow_clock(int64 back_us)
{
	Oid			types[1] = {INT8OID};
	Datum		args[1] = {Int64GetDatum(back_us)};

	if (capi_txn_execute_with_args("SELECT capi._follow_clock(nullif($1, 0) * interval '1 microsecond')",
								   1, types, args, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not follow the clock");
}

/* How far this server's clock is ahead of the endpoint's. */
void
capi_outcome_clock(int dataset_id, int64 ahead_ms)
{
	Oid			types[2] = {INT4OID, INT8OID};
	Datum		args[2] = {Int32GetDatum(dataset_id), Int64GetDatum(ahead_ms)};

	if (capi_txn_execute_with_args("INSERT INTO capi.dataset_state AS s"
								   " (dataset_id, clock_ahead_ms, clock_seen_at) VALUES ($1, $2, now())"
								   " ON CONFLICT (dataset_id) DO UPDATE SET"
								   " clock_ahead_ms = excluded.clock_ahead_ms,"
								   " clock_seen_at = excluded.clock_seen_at",
								   2, types, args, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not note a clock");
}

void
capi_outcome_source_broken(int source_id, const char *reason)
{
	if (reason != NULL)
		update_state("UPDATE capi.source SET broken_since = coalesce(broken_since, now()),"
					 " broken_reason = $2 WHERE id = (SELECT id FROM capi.source WHERE id = $1"
					 " AND broken_reason IS DISTINCT FROM $2 FOR UPDATE SKIP LOCKED)",
					 source_id, reason, NULL);
	else
		update_state("UPDATE capi.source SET broken_since = NULL, broken_reason = NULL"
					 " WHERE id = (SELECT id FROM capi.source WHERE id = $1 AND $2 = ''"
					 " FOR UPDATE SKIP LOCKED)", source_id, "", NULL);
}

bool
capi_outcome_maintain(void)
{
	char	   *sql = psprintf("SELECT capi._maintain_logs(interval '%d minutes')", capi_retention);

	if (capi_txn_execute(sql, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not maintain the logs");
	if (capi_txn_execute("SELECT FROM capi._logs() l WHERE capi._partition_now(l.parent) IS NULL",
						 false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look at the partitions of the logs");
	return SPI_processed > 0;
}
