/*
 * trial.c
 *		Whether a query can read one order as the role that will read them all,
 *		for capi.attach(): rights that only a function of the query needs are
 *		not looked at before that function runs.
 *
 * A query that nobody has tried may do anything, so it is tried where it will
 * run later, in a reader with a reader's bounds, and never in the session.  The
 * reader does not see what the session has not committed: a failure may be of
 * that, which capi._try_query() judges by the catalogs.  It may also wait, in vain, for a lock
 * of the session's transaction, on a table that was altered in it say: then it is
 * given up at once, and nothing is found out.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "read/pool.h"
#include "read/query.h"

/* Of the run, and with that a reader's start and its waiting for another one. */
#define RUN_LIMIT_MS	500
#define LIMIT_MS		1500

/*
 * How often to look whether the role's reader of another process has finished,
 * and whether ours waits for this session.
 */
#define BUSY_MS			20

PG_FUNCTION_INFO_V1(capi_sql_try_in_reader);

typedef struct Trial
{
	CapiRequest request;
	MemoryContext context;		/* of the reason */
	char	   *reason;			/* why it failed, or NULL */
	bool		given;
	bool		ended;
} Trial;

static bool
has_room(void *arg, void *tag)
{
	return true;
}

static void
take_result(void *arg, void *tag, CapiOrderResult *result)
{
	Trial	   *trial = arg;

	if (result->kind == CAPI_RESULT_FAILED)
		trial->reason = MemoryContextStrdup(trial->context, result->reason);
}

static void
take_page(void *arg, void *tag, const CapiPage *page)
{
}

static void
take_end(void *arg, void *tag, CapiPortionEnd how, const char *text)
{
	Trial	   *trial = arg;

	trial->ended = true;
	if (how == CAPI_END_BROKEN)
		trial->reason = MemoryContextStrdup(trial->context, text);
}

/* An order of which nothing but its key is read, and that is the row's text. */
static void
fill_request(CapiRequest *request, const char *query, char *path, Oid role)
{
	static CapiAsked asked = {.key = "none"};

	request->source.query = psprintf("SELECT (SELECT q::pg_catalog.text FROM (%s\n) AS q LIMIT 1) AS key",
									 capi_query_single_select(query));
	request->source.search_path = path;
	request->source.run_as = role;
	request->source.key_type = "text";
	request->limit_ms = RUN_LIMIT_MS;
	request->part_limit_ms = RUN_LIMIT_MS;
	request->is_trial = true;
	request->n = 1;
	request->asked = &asked;
}

/* Does it wait for a lock of this session's transaction? */
static bool
waits_for_us(int reader)
{
	ArrayType  *holders;
	int		   *pids;

	if (reader == 0)
		return false;
	holders = DatumGetArrayTypeP(DirectFunctionCall1(pg_blocking_pids, Int32GetDatum(reader)));
	pids = (int *) ARR_DATA_PTR(holders);
	for (int i = 0; i < ArrayGetNItems(ARR_NDIM(holders), ARR_DIMS(holders)); i++)
		if (pids[i] == MyProcPid)
			return true;
	return false;
}

static void
wait_for_reader(CapiPool *pool, Trial *trial)
{
	const CapiPoolEvents events = {
		.arg = trial, .has_room = has_room, .result = take_result, .page = take_page, .ended = take_end
	};
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LIMIT_MS);

	while (!trial->ended && GetCurrentTimestamp() < until)
	{
		CapiGiven	given = trial->given ? CAPI_GIVEN : capi_pool_give(pool, &trial->request, trial);

		if (given == CAPI_GIVEN_NO_WORKER)
			return;
		trial->given = given == CAPI_GIVEN;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 BUSY_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		capi_pool_poll(pool, &events);
		if (!trial->ended && waits_for_us(capi_pool_reader_pid(pool, trial)))
			return;
	}
}

/*
 * capi._try_in_reader(query text, search_path text, run_as oid): why one order
 * cannot be read, with the SQLSTATE and nobody's data; of 42501 also what
 * capi._denial() makes of the message.  Null when it can, and
 * when that could not be found out within one and a half seconds.
 */
Datum
capi_sql_try_in_reader(PG_FUNCTION_ARGS)
{
	Trial		trial = {.context = CurrentMemoryContext};
	CapiPool   *pool;

	fill_request(&trial.request, text_to_cstring(PG_GETARG_TEXT_PP(0)),
				 text_to_cstring(PG_GETARG_TEXT_PP(1)), PG_GETARG_OID(2));
	pool = capi_pool_create(CurrentMemoryContext);
	PG_TRY();
	{
		wait_for_reader(pool, &trial);
	}
	PG_FINALLY();
	{
		capi_pool_destroy(pool);
	}
	PG_END_TRY();
	if (trial.reason == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(trial.reason));
}
