/*
 * run.c
 *		A reader's work on one portion: run the source's query, write the events
 *		of the orders it returns, find those whose data makes it fail.
 *
 * Everything the shop's code can do happens in try_part(), one transaction with
 * a time limit of its own: reading rows, but also normalising what they hold.
 * Any error of it, at the commit too, is caught, and the part is cut in halves
 * until the orders are found whose data it is (P6); the others are answered at
 * once.  First it is asked whether the query would run for no order at all: if
 * not, nobody's data is at fault, and the source is broken.
 *
 * Nothing of the shop's code is logged (P7), nothing that a session could keep
 * outlives a part.  What the server itself keeps of what was read (its caches of
 * tables, of time zones) does; when memory is out, it may be for that, and then
 * a new reader is to find out whose fault it is.  Knows no token, no connection and no table but the browser
 * contexts.  Called by process/reader.c.
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "optimizer/planner.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/capi.h"
#include "base/encoding.h"
#include "base/entry.h"
#include "base/extension.h"
#include "base/guc.h"
#include "base/pinned.h"
#include "base/test_point.h"
#include "event/payload.h"
#include "read/people.h"
#include "read/query.h"
#include "read/reader_lock.h"
#include "read/run.h"
#include "store/context.h"
#include "store/item.h"

/* JSON kept at a time; a portion with more is read in parts. */
#define MAX_PART_BYTES	(4 * 1024 * 1024)

/* After its time a query is cancelled as often, and then the process ends. */
#define CANCEL_MS		1000
#define MAX_CANCELS		4

/* How a part ended. */
typedef enum PartEnd
{
	PART_READ,
	PART_FAILED,
	PART_TIMED_OUT,
	PART_TOO_LARGE,				/* more JSON than is kept at a time */
	PART_STOPPED				/* the rest is to be left, for the time being */
} PartEnd;

/* Where the message about an order is in part_results; of no length: nowhere. */
typedef struct Place
{
	int			start;
	int			len;
} Place;

/* The part at hand, and what was found of its orders. */
typedef struct Part
{
	const CapiRequest *request;
	int			from;
	int			n;
	char	  **keys;
	CapiContext *contexts;		/* or NULL */
	Place	   *places;
	bool		is_too_large;
	bool		only_look;		/* would the query run? */
} Part;

/* Of the process: where answers go, and who may ask for an early end. */
static CapiLinkShared *link_shared;
static shm_mq_handle *link_answers;

/* Everything of one part; reset before the next. */
static MemoryContext part_context;

/* What is answered: one message, and those about the orders of a part. */
static StringInfoData message;
static StringInfoData part_results;

/* The last part failed for want of memory; and one of this process did. */
static bool out_of_memory = false;
static bool was_out_of_memory = false;

/* Contexts are capi's: who locks them is no fault of the query. */
static bool reads_contexts = false;
static bool contexts_locked = false;

/* What this process has begun so far. */
static int	nportions = 0;
static int	nparts = 0;

/* What the present transaction is for. */
static const char *doing = NULL;

/* SQLSTATE or message of the last failed part, allocated in part_context. */
static char *failure;

/* Of a trial: what was said of a right that lacks. */
static char *denial = NULL;

static TimeoutId run_timeout;
static volatile sig_atomic_t timed_out = false;
static volatile sig_atomic_t timeouts = 0;

/* The shop's code is running: what it says is nobody's. */
static volatile sig_atomic_t is_silent = false;
static emit_log_hook_type prev_emit_log_hook = NULL;
static planner_hook_type prev_planner_hook = NULL;

static PartEnd try_part(const CapiRequest *request, int from, int n, int limit_ms);

/* ---------- set-up ---------- */

/*
 * Comes again and again: what traps the cancel is ended, also when nobody is
 * there any more who would do it.
 */
static void
on_timeout(void)
{
	timed_out = true;
	InterruptPending = true;
	QueryCancelPending = true;
	if (++timeouts > MAX_CANCELS)
		ProcDiePending = true;
	SetLatch(MyLatch);
}

/*
 * The server writes some things to its standard error past every hook: when
 * memory is out, where it went, with texts of statements that a function made
 * of a customer's values.
 */
static void
set_silent(bool silent)
{
	static int	log_fd = -1;
	static int	null_fd = -1;

	if (log_fd < 0)
	{
		log_fd = dup(STDERR_FILENO);
		null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	}
	if (log_fd >= 0 && null_fd >= 0)
		(void) dup2(silent ? null_fd : log_fd, STDERR_FILENO);
	is_silent = silent;
}

/*
 * RAISE LOG, whatever the level of the log, and the log of statements may quote
 * a customer.  That the process is ended by somebody's word may be said.
 */
static void
drop_message(ErrorData *edata)
{
	if (is_silent)
	{
		if (edata->elevel < FATAL)
			edata->output_to_server = false;
		else
			set_silent(false);
		edata->context = NULL;
		edata->detail = NULL;
		edata->detail_log = NULL;
		edata->hide_stmt = true;
	}
	if (prev_emit_log_hook)
		prev_emit_log_hook(edata);
}

/*
 * A cancel is for a part that runs; one that comes a moment too late must not
 * end a reader that waits or answers.  An error sets the count back to zero.
 */
static void
hold_cancel(void)
{
	QueryCancelPending = false;
	QueryCancelHoldoffCount = 1;
}

/*
 * No parallel workers, whatever a function sets: they have neither the filter
 * of messages nor the bounds of a reader, and take the server's worker slots.
 */
static PlannedStmt *
plan_serially(Query *parse, const char *query_string, int cursor_options,
			  ParamListInfo params)
{
	cursor_options &= ~CURSOR_OPT_PARALLEL_OK;
	if (prev_planner_hook)
		return prev_planner_hook(parse, query_string, cursor_options, params);
	return standard_planner(parse, query_string, cursor_options, params);
}

void
capi_run_init(CapiLinkShared *shared, shm_mq_handle *answers)
{
	link_shared = shared;
	link_answers = answers;
	part_context = AllocSetContextCreate(TopMemoryContext, "capi part of a portion",
										 ALLOCSET_DEFAULT_SIZES);
	initStringInfo(&message);
	initStringInfo(&part_results);
	run_timeout = RegisterTimeout(USER_TIMEOUT, on_timeout);
	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = drop_message;
	prev_planner_hook = planner_hook;
	planner_hook = plan_serially;
	hold_cancel();
}

/* ---------- answering ---------- */

static void
send_bytes(const char *data, int len, bool flush)
{
	if (shm_mq_send(link_answers, len, data, false, flush) != SHM_MQ_SUCCESS)
		proc_exit(0);
}

/* One long event must not stay for the life of the process. */
static void
shrink(StringInfo buffer, int limit)
{
	MemoryContext old;

	if (buffer->maxlen <= limit)
		return;
	old = MemoryContextSwitchTo(TopMemoryContext);
	pfree(buffer->data);
	initStringInfo(buffer);
	MemoryContextSwitchTo(old);
}

static void
answer(bool flush)
{
	send_bytes(message.data, message.len, flush);
	shrink(&message, MAX_PART_BYTES);
}

static void
answer_results(const Part *part)
{
	for (int i = 0; i < part->n; i++)
	{
		const Place *place = &part->places[i];
		CapiOrderResult missing = {.at = part->request->asked[part->from + i].at,
		.kind = CAPI_RESULT_IGNORED, .reason = CAPI_REASON_MISSING};

		if (i == part->n / 2)
			CAPI_TEST_POINT("a reader has answered a half");
		if (place->len > 0)
		{
			send_bytes(part_results.data + place->start, place->len, false);
			continue;
		}
		capi_portion_write_result(&message, &missing);
		answer(false);
	}
}

/* Page by page; the transaction that read them is over. */
static void
answer_people(const Part *part)
{
	MemoryContext page_context = AllocSetContextCreate(part_context, "capi page",
													   ALLOCSET_DEFAULT_SIZES);
	CapiPage	page = {0};

	while (!part->only_look && !page.is_last &&
		   pg_atomic_read_u32(&link_shared->stop) == 0)
	{
		MemoryContextReset(page_context);
		MemoryContextSwitchTo(page_context);
		capi_people_page(&page);
		MemoryContextSwitchTo(part_context);
		capi_portion_write_page(&message, &page);
		answer(true);
	}
	CAPI_TEST_POINT("a reader has answered with people");
	capi_people_forget();
}

static void
answer_failed(const CapiRequest *request, int at)
{
	CapiOrderResult result = {.at = request->asked[at].at, .kind = CAPI_RESULT_FAILED, .reason = failure};

	capi_portion_write_result(&message, &result);
	answer(false);
}

/* ---------- from an order to its result ---------- */

/*
 * What was sent once is sent the same again (P5); but a time to come that was
 * taken from a clock that was ahead is now.
 */
static void
pin(CapiEvent *event, const CapiAsked *asked, const char *key, int64 now_s)
{
	if (asked->event_id != NULL)
		event->event_id = asked->event_id;
	else if (asked->has_time)
		event->event_id = key;
	if (asked->event_name != NULL)
		event->event_name = asked->event_name;
	if (asked->has_time)
	{
		event->has_event_time = true;
		event->event_time_s = asked->event_time_s;
	}
	if (asked->not_ahead)
		event->event_time_s = Min(event->event_time_s, now_s);
}

/* Appends the event's JSON to the results, unless it is not to be sent. */
static void
write_event(Part *part, const CapiAsked *asked, CapiOrder *order,
			CapiOrderResult *result)
{
	CapiEvent  *event = &order->event;
	const char *key = capi_to_utf8(asked->key);
	int64		now_s = timestamptz_to_time_t(GetCurrentTimestamp());

	pin(event, asked, key, now_s);
	capi_query_defaults(event, &part->request->source, key);
	event->unchecked = !part->request->local_checks;
	capi_payload_event(event, now_s, &part_results);
	result->event_id = unconstify(char *, event->event_id == key ? NULL : event->event_id);
	result->event_name = unconstify(char *, event->event_name);
	result->has_time = event->has_event_time;
	result->event_time_s = event->event_time_s;
	result->value = unconstify(char *, event->value_text);
	result->currency = unconstify(char *, event->currency);
	if (event->problems.data != NULL && event->problems.len > 0)
		result->problems = psprintf("[%s]", event->problems.data);
	if (event->verdict == CAPI_VERDICT_SEND)
		return;
	result->kind = event->verdict == CAPI_VERDICT_EXPIRED ?
		CAPI_RESULT_EXPIRED : CAPI_RESULT_REJECTED;
	result->reason = unconstify(char *, event->reason);
	result->error_code = event->error_code;
	result->error_subcode = event->error_subcode;
}

/* What the query and the context say of an order; JSON goes to the results. */
static void
judge_order(Part *part, const CapiAsked *asked, CapiOrder *order,
			CapiOrderResult *result)
{
	result->kind = CAPI_RESULT_EVENT;
	result->context = order->context;
	result->is_store =
		pg_strcasecmp(order->event.action_source != NULL ? order->event.action_source :
					  part->request->source.action_source, "physical_store") == 0;
	/* compared with names as the tables have them */
	result->dataset = order->dataset != NULL ? capi_from_utf8(order->dataset) : NULL;
	result->has_time = order->event.has_event_time;
	result->event_time_s = order->event.event_time_s;
	if (order->ignore_reason == NULL)
		write_event(part, asked, order, result);
	else
	{
		result->kind = CAPI_RESULT_IGNORED;
		result->reason = order->ignore_reason;
	}
}

/* CapiOrderTaker; arg: the part. */
static void
take_order(void *arg, int at, CapiOrder *order)
{
	Part	   *part = arg;
	Place	   *place = &part->places[at];
	const CapiAsked *asked = &part->request->asked[part->from + at];
	CapiOrderResult result = {.at = asked->at};

	place->start = part_results.len;
	capi_portion_begin_result(&part_results);
	if (order->found > 1)
	{
		result.kind = CAPI_RESULT_REJECTED;
		result.reason = "several_rows";
	}
	else
	{
		if (part->contexts != NULL)
			capi_context_complete(&part->contexts[at], order);
		judge_order(part, asked, order, &result);
	}
	capi_portion_end_result(&part_results, place->start, &result);
	place->len = part_results.len - place->start;
	if (part_results.len <= MAX_PART_BYTES || part->n == 1)
		return;
	part->is_too_large = true;
	elog(ERROR, "a portion is read in parts");
}

/* ---------- one part ---------- */

static void
begin(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	doing = activity;
	pgstat_report_activity(STATE_RUNNING, activity);
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	MemoryContextSwitchTo(part_context);
}

static void
commit(void)
{
	CAPI_TEST_POINT_OF(doing, "before commit");
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(part_context);
	CAPI_TEST_POINT_OF(doing, "after commit");
}

/*
 * The session is the role's, so that session_user says so and there is nobody
 * to go back to: what a function could set or reset gains nothing (P9), nor
 * does what runs at the commit.
 */
static void
become_role(Oid run_as)
{
	Oid			role;
	char	   *name;

	StartTransactionCommand();
	role = capi_query_role(run_as);
	if (role != GetSessionUserId())
	{
		name = GetUserNameFromId(role, true);
		/* one that is gone, or never was here, has no rights; nor does its query run */
		if (name == NULL)
			SetSessionAuthorization(OidIsValid(role) ? role : ROLE_PG_READ_ALL_DATA, false);
		else
			SetConfigOption("session_authorization", name, PGC_SUSET, PGC_S_OVERRIDE);
		SetConfigOption("role", "none", PGC_SUSET, PGC_S_OVERRIDE);
	}
	CommitTransactionCommand();
}

/* Contexts are the extension's, and read as its owner; nobody is waited for long. */
static void
read_contexts(Part *part)
{
	CapiOwnerScope scope;

	reads_contexts = true;
	begin("capi: reading browser contexts");
	capi_pinned_locally(CAPI_PINNED_TXN, GUC_ACTION_LOCAL);
	capi_enter_owner(capi_extension_owner(), &scope);
	part->contexts = capi_context_read(&part->request->source, part->keys, part->n);
	capi_leave_owner(&scope);
	commit();
	reads_contexts = false;
}

static void
run_query(Part *part)
{
	begin("capi: running the query of a source");
	XactReadOnly = true;
	if (part->request->is_audience)
		capi_people_read(&part->request->source, part->only_look);
	else if (part->n == 0)
		capi_query_check(&part->request->source);
	else
		capi_query_each(&part->request->source, part->keys, part->n, true, NULL,
						take_order, part);
	commit();
}

static void
set_up_part(Part *part, const CapiRequest *request, int from, int n)
{
	MemoryContextReset(part_context);
	MemoryContextSwitchTo(part_context);
	memset(part, 0, sizeof(*part));
	part->request = request;
	part->from = from;
	part->n = n;
	part->only_look = n == 0;
	part->keys = palloc(sizeof(char *) * (n + 1));
	part->places = palloc0(sizeof(Place) * (n + 1));
	for (int i = 0; i < n; i++)
		part->keys[i] = request->asked[from + i].key;
	resetStringInfo(&part_results);
}

/* What a session can keep beyond a transaction: the list of DISCARD ALL. */
static void
discard_session(void)
{
	LockReleaseAll(USER_LOCKMETHOD, true);
	DropAllPreparedStatements();
	ResetSequenceCaches();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* After an error in a part: out of the transaction, and what it was. */
static void
clean_up_failure(const Part *part)
{
	ErrorData  *edata;

	HOLD_INTERRUPTS();
	disable_timeout(run_timeout, false);
	QueryCancelPending = false;
	MemoryContextSwitchTo(part_context);
	edata = CopyErrorData();
	FlushErrorState();
	AbortCurrentTransaction();
	LockReleaseAll(USER_LOCKMETHOD, true);
	MemoryContextSwitchTo(part_context);
	failure = timed_out ? psprintf("the query took longer than %scapi.query_timeout",
								   part->request->is_audience ? "ten times " : "") :
		capi_query_error_text(edata, part->only_look);
	out_of_memory = edata->sqlerrcode == ERRCODE_OUT_OF_MEMORY;
	contexts_locked = reads_contexts && edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
	if (part->request->is_trial && edata->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE)
		denial = MemoryContextStrdup(TopMemoryContext, edata->message);
	FreeErrorData(edata);
	shrink(&part_results, 0);
	capi_query_forget_plans();
	capi_people_forget();
	RESUME_INTERRUPTS();
}

/* Is it full of what the server keeps for the life of the process? */
static bool
is_memory_full(void)
{
	return MemoryContextMemAllocated(TopMemoryContext, true) / 1024 > (Size) capi_reader_memory / 2;
}

/* The rest of the portion is for a new reader. */
static void
leave(bool one_by_one)
{
	capi_portion_write_again(&message, one_by_one);
	answer(true);
	proc_exit(0);
}

/*
 * After a part that failed for want of memory, which may be another one's fault:
 * that of a portion before, or of an order of this one.  The first part of a
 * process, if it is one order, has nobody else to blame, so each process gets on.
 */
static void
note_out_of_memory(const CapiRequest *request, int n)
{
	static int	told_in = 0;	/* once for a portion, which may have many such */

	was_out_of_memory = true;
	if (!request->is_audience && n > 0)
	{
		if (nportions > 1)
			leave(false);
		if ((nparts > 1 || n > 1) && is_memory_full())
			leave(true);
	}
	if (n <= 1 && told_in != nportions)
	{
		told_in = nportions;
		ereport(LOG,
				(errmsg("the query of source %d wants more than capi.reader_memory", request->source.id),
				 errdetail("An order that needs so much waits, and is tried again.")));
	}
}

/*
 * Runs the query for n orders (0: looks whether it would run) and keeps what it
 * found; answers it when all went well.
 */
static PartEnd
try_part(const CapiRequest *request, int from, int n, int limit_ms)
{
	Part	   *part = MemoryContextAlloc(TopMemoryContext, sizeof(Part));
	volatile PartEnd end = PART_READ;

	capi_reader_lock_keep(link_shared->role, link_shared->apart);
	capi_portion_write_begin(&message, limit_ms);
	answer(true);
	set_up_part(part, request, from, n);
	timed_out = false;
	timeouts = 0;
	out_of_memory = false;
	reads_contexts = false;
	contexts_locked = false;
	nparts++;
	QueryCancelPending = false;
	QueryCancelHoldoffCount = 0;
	set_silent(true);
	PG_TRY();
	{
		if (pg_atomic_read_u32(&link_shared->stop) != 0)
			elog(ERROR, "a portion is left");
		enable_timeout_every(run_timeout, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), limit_ms),
							 CANCEL_MS);
		if (n > 0 && !request->is_audience)
			read_contexts(part);
		run_query(part);
		disable_timeout(run_timeout, false);
	}
	PG_CATCH();
	{
		clean_up_failure(part);
		end = pg_atomic_read_u32(&link_shared->stop) != 0 || contexts_locked ? PART_STOPPED :
			part->is_too_large ? PART_TOO_LARGE :
			timed_out ? PART_TIMED_OUT : PART_FAILED;
	}
	PG_END_TRY();
	hold_cancel();
	discard_session();
	set_silent(false);
	if (out_of_memory)
		note_out_of_memory(request, n);
	if (end == PART_READ && request->is_audience)
		answer_people(part);
	else if (end == PART_READ)
		answer_results(part);
	/* it doubles until a part has room */
	shrink(&part_results, 2 * MAX_PART_BYTES);
	pfree(part);
	return end;
}

/* ---------- one portion ---------- */

/*
 * Looks for the orders that make a part fail, half by half.  Returns whether
 * everything was answered that is going to be; not if the query is too slow for
 * either half of the portion, whosever data it reads.
 */
static bool
search(const CapiRequest *request, int from, int n, bool is_whole)
{
	int			middle = n / 2;
	int			begins[2] = {from, from + middle};
	int			sizes[2] = {middle, n - middle};
	PartEnd		ends[2];

	for (int i = 0; i < 2; i++)
	{
		ends[i] = try_part(request, begins[i], sizes[i], request->part_limit_ms);
		if (ends[i] == PART_STOPPED)
			return true;
		if (sizes[i] == 1 && ends[i] != PART_READ)
			answer_failed(request, begins[i]);
	}
	if (is_whole && n > 2 && ends[0] == PART_TIMED_OUT && ends[1] == PART_TIMED_OUT)
		return false;
	for (int i = 0; i < 2; i++)
		if (ends[i] != PART_READ && sizes[i] > 1 &&
			pg_atomic_read_u32(&link_shared->stop) == 0)
			(void) search(request, begins[i], sizes[i], false);
	return true;
}

/* After a failed part: does the query fail with not one order to read? */
static bool
fails_without_orders(const CapiRequest *request)
{
	char	   *what = MemoryContextStrdup(TopMemoryContext, failure);
	PartEnd		end = try_part(request, 0, 0, request->part_limit_ms);

	if (end == PART_READ || out_of_memory)
	{
		MemoryContextReset(part_context);
		failure = MemoryContextStrdup(part_context, what);
	}
	pfree(what);
	return (end == PART_FAILED && !out_of_memory) || end == PART_TIMED_OUT;
}

/* Orders that failed before get the whole time each; false: it is the query. */
static bool
read_each(const CapiRequest *request)
{
	bool		checked = false;

	for (int i = 0; i < request->n; i++)
	{
		PartEnd		end = try_part(request, i, 1, request->limit_ms);

		if (end == PART_STOPPED)
			break;
		if (end == PART_READ)
			continue;
		if (!checked && fails_without_orders(request))
			return false;
		checked = true;
		answer_failed(request, i);
	}
	return true;
}

/* Of a right that lacks, names of objects are told, and no other word (P7). */
static void
tell_denial(void)
{
	Oid			types[1] = {TEXTOID};
	Datum		args[1];
	CapiOwnerScope scope;
	char	   *text;

	begin("capi: naming a right that lacks");
	args[0] = CStringGetTextDatum(denial);
	capi_enter_owner(capi_extension_owner(), &scope);
	if (SPI_execute_with_args("SELECT capi._denial($1)", 1, types, args, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not name a right");
	text = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	failure = MemoryContextStrdup(part_context, psprintf("%s: %s", failure, text));
	capi_leave_owner(&scope);
	commit();
}

/* All at once, and in parts when that fails; false: it is the query. */
static bool
read_all(const CapiRequest *request)
{
	PartEnd		end = try_part(request, 0, request->n, request->limit_ms);

	if (end == PART_READ || end == PART_STOPPED)
		return true;
	if (end != PART_TOO_LARGE && fails_without_orders(request))
		return false;
	if (request->n > 1)
		return search(request, 0, request->n, true);
	if (denial != NULL)
		tell_denial();
	answer_failed(request, 0);
	return true;
}

/* An audience is one whole: its list is all there, or the query is at fault. */
static bool
read_people(const CapiRequest *request)
{
	PartEnd		end = try_part(request, 0, 1, request->limit_ms);

	if (end == PART_READ || end == PART_STOPPED)
		return true;
	/* if it fails for nobody at all, the reason can be told in words */
	(void) fails_without_orders(request);
	return false;
}

void
capi_run_portion(const CapiRequest *request)
{
	nportions++;
	if (was_out_of_memory)
		leave(false);
	become_role(request->source.run_as);
	if (request->is_audience ? read_people(request) :
		request->one_by_one ? read_each(request) : read_all(request))
		capi_portion_write_done(&message);
	else
		capi_portion_write_broken(&message, failure);
	answer(true);
}
