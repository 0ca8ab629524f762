/*
 * dispatch.c
 *		The delivery pipeline of one database.
 *
 * DESIGN
 *
 * One process at a time runs it, made sure by a lock of its session: the
 * dispatcher, or a session in CALL capi.deliver().  What is under way lives
 * only in this process's memory; no claim is stored (P11).  A turn of the loop:
 *
 *		answers that arrived  ->  outcomes, in one transaction each
 *		due backlog rows and new queue rows, as long as there is room
 *			-> known already?		settled
 *			-> source's query		evaluate.c, a transaction of its own
 *			-> event				into the open batch of its dataset
 *		batches that are full or have lingered -> transport
 *		cursor, segments, partitions
 *		one wait for latch, sockets and the next deadline
 *
 * Nothing is in a transaction during the wait.  An error of the database ends
 * the process; the next one starts at the saved cursor and skips what the log
 * and the backlog know.
 *
 * evaluate.c judges items, answer.c turns answers into outcomes, share.c sees
 * to it that one dataset leaves room for others; all work on the CapiDispatcher
 * declared in dispatch_state.h.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/capi.h"
#include "base/compat.h"
#include "base/database_settings.h"
#include "base/guc.h"
#include "base/here.h"
#include "base/sender_lock.h"
#include "base/shmem.h"
#include "base/test_point.h"
#include "base/txn.h"
#include "send/dispatch.h"
#include "send/dispatch_state.h"
#include "store/context.h"
#include "store/direct.h"

/* How often the cursor is saved while there is work or none, logs maintained. */
#define SAVE_INTERVAL_MS		10000
#define IDLE_SAVE_INTERVAL_MS	1000
/* After as much reading it is time to look at answers and at the clock. */
#define TURN_MS					100

/* What is about to fill a batch is waited for so long beyond capi.linger. */
#define FILL_MS					150

/* After something that a lock of somebody's kept from being done. */
#define LOCKED_MS				1000

#define MAINTAIN_INTERVAL_MS	(10 * 60 * 1000)
#define MAINTAIN_AGAIN_MS		(10 * 1000)

static void follow_clock(CapiDispatcher *d);
static void refresh_config(CapiDispatcher *d);
static bool fetch(CapiDispatcher *d);
static void submit_ready(CapiDispatcher *d, bool only_full);
static void housekeep(CapiDispatcher *d);
static int64 time_to_wait(CapiDispatcher *d);

/* ---------- life ---------- */

CapiDispatcher *
capi_dispatch_create(void)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "capi dispatcher",
												  ALLOCSET_DEFAULT_SIZES);
	CapiDispatcher *d = MemoryContextAllocZero(context, sizeof(CapiDispatcher));
	HASHCTL		ctl = {.keysize = sizeof(uint64), .entrysize = sizeof(CapiInFlight),
	.hcxt = context};

	d->context = context;
	d->turn_context = AllocSetContextCreate(context, "capi dispatcher turn",
											ALLOCSET_DEFAULT_SIZES);
	d->in_flight = hash_create("capi keys in flight", 4096, &ctl,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	d->transport = capi_transport_create();
	d->pool = capi_pool_create(context);
	d->intake = capi_intake_create(context);
	d->meta = capi_meta_create(context);
	d->audiences = capi_audiences_create(context);
	d->backlog_due_at = DT_NOBEGIN;
	d->settings_until = DT_NOEND;	/* a session's settings are its own */
	d->look_at_queue = true;
	d->reclaim_again = true;
	/* orders first */
	d->health_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 1000);
	capi_config_init();
	return d;
}

void
capi_dispatch_destroy(CapiDispatcher *d)
{
	capi_pool_destroy(d->pool);
	capi_transport_destroy(d->transport);
	capi_meta_destroy(d->meta);
	capi_queue_close(d->reader);
	MemoryContextDelete(d->context);
}

bool
capi_dispatch_lock(void)
{
	bool		got;

	capi_txn_begin("capi: taking the sender's lock");
	got = capi_sender_lock_take();
	capi_txn_commit();
	return got;
}

void
capi_dispatch_unlock(void)
{
	capi_txn_begin("capi: giving the sender's lock back");
	capi_sender_lock_release();
	capi_txn_commit();
}

/*
 * When the clock is set back, all times in memory lie as much too far ahead: the
 * dispatcher begins anew, as after a change of settings, once those in the tables
 * are reckoned anew.
 */
static void
look_at_clock(CapiDispatcher *d)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();
	int64		back_us = last - now;

	last = now;
	if (back_us < CAPI_CLOCK_STEP_MS * INT64CONST(1000) || d->restart)
		return;
	ereport(LOG,
			(errmsg("the clock was set back by " INT64_FORMAT " s: capi's times are reckoned anew",
					back_us / USECS_PER_SEC)));
	d->clock_back_us += back_us;
	d->clock_at = now;
}

void
capi_dispatch_forever(void (*extension_gone) (void))
{
	CapiDispatcher *d;

	capi_txn_setup(false, InvalidOid, extension_gone);
	d = capi_dispatch_create();
	d->settings_until = DT_NOBEGIN;
	capi_shmem_set_enabled(capi_enabled);
	while (!capi_dispatch_lock())
	{
		/* a session is at CALL capi.deliver(); it does our work meanwhile */
		capi_transport_wait(d->transport, capi_poll_interval);
		if (capi_guc_reload())
			capi_shmem_set_enabled(capi_enabled);
	}
	for (;;)
	{
		if (capi_guc_reload())
		{
			d->reload = true;
			d->settings_until = DT_NOBEGIN;
			capi_shmem_set_enabled(capi_enabled);
		}
		/* if the extension was dropped, the next transaction finds out */
		if (capi_shmem_clear_recheck())
			d->reload = true;
		look_at_clock(d);
		capi_dispatch_turn(d);
		if (d->restart && capi_transport_in_flight(d->transport) == 0 && d->records == NIL)
		{
			capi_dispatch_finish(d);
			capi_shmem_restart();
			proc_exit(0);
		}
		capi_transport_wait(d->transport, time_to_wait(d));
		d->look_at_queue = true;
	}
}

/* ---------- one turn ---------- */

/* May anything be read or sent now? */
static bool
may_begin(const CapiDispatcher *d)
{
	return capi_enabled && !capi_is_elsewhere() && !d->draining && !d->restart && d->config != NULL &&
		d->config->has_state && !d->config->is_copy;
}

/*
 * Does a batch linger whose time will bring us back soon?  Till then it would be
 * idle to be woken by each order: the queue is looked at before it is sent.
 */
static bool
is_lingering(CapiDispatcher *d)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *lc;

	foreach(lc, d->batches)
	{
		CapiBatch  *batch = lfirst(lc);
		CapiDataset *dataset = capi_config_dataset(d->config, batch->dataset_id);

		if (capi_batch_is_open(batch) && dataset != NULL &&
			capi_share_may_start(d, dataset) &&
			now < TimestampTzPlusMilliseconds(batch->opened_at, capi_linger))
			return true;
	}
	return false;
}

bool
capi_dispatch_turn(CapiDispatcher *d)
{
	CapiAnswer	answer;
	MemoryContext old = MemoryContextSwitchTo(d->turn_context);
	bool		worked = false;

	CHECK_FOR_INTERRUPTS();
	CAPI_TEST_LOOK();
	follow_clock(d);
	refresh_config(d);
	while (capi_transport_next(d->transport, &answer))
	{
		CAPI_TEST_POINT("an answer came");
		if (answer.tag == d->audiences)
			capi_audiences_answer(d, &answer);
		else if (!capi_meta_answer(d, &answer))
			capi_answer_handle(d, &answer);
		capi_transport_free_answer(&answer);
		worked = true;
	}
	capi_suspects_judge(d);
	capi_record_again(d);
	worked |= capi_portions_work(d);
	d->armed = may_begin(d) && !is_lingering(d);
	if (d->armed)
		capi_shmem_arm_wake();
	if (may_begin(d))
	{
		TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), TURN_MS);
		bool		more = true;

		/* what lingered gets company first: nobody told us of the last orders */
		submit_ready(d, true);
		while (more && GetCurrentTimestamp() < until)
		{
			CHECK_FOR_INTERRUPTS();
			CAPI_TEST_LOOK();
			MemoryContextReset(d->turn_context);
			more = fetch(d);
			more |= capi_portions_work(d);
			worked |= more;
			/* what is about to be read fills a batch better than waiting does */
			submit_ready(d, (more && (d->more_in_queue ||
									  d->backlog_due_at <= GetCurrentTimestamp())) ||
						 capi_portions_are_arriving(d));
		}
	}
	MemoryContextReset(d->turn_context);
	capi_audiences_work(d, may_begin(d));
	housekeep(d);
	capi_health_look(d);
	if (may_begin(d))
		capi_meta_work(d);
	MemoryContextSwitchTo(old);
	MemoryContextReset(d->turn_context);
	return worked;
}

/* Saves how far the queue was read, and empties what is past, before the end. */
void
capi_dispatch_finish(CapiDispatcher *d)
{
	MemoryContext old = MemoryContextSwitchTo(d->turn_context);

	d->save_at = DT_NOBEGIN;
	housekeep(d);
	d->health_at = DT_NOBEGIN;
	capi_health_look(d);
	MemoryContextSwitchTo(old);
	MemoryContextReset(d->turn_context);
}

/* Parts of a batch that was refused stay apart until they are judged. */
static bool
stays_apart(const CapiBatch *batch, const CapiDataset *dataset)
{
	return batch->suspected_at != 0 && dataset != NULL && dataset->token != NULL &&
		dataset->state == CAPI_DATASET_ACTIVE;
}

/* Are there events in memory whose time is not later than now? */
static bool
has_batches_due(CapiDispatcher *d)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *lc;

	foreach(lc, d->batches)
	{
		CapiBatch  *batch = lfirst(lc);
		CapiDataset *dataset = capi_config_dataset(d->config, batch->dataset_id);

		if (!stays_apart(batch, dataset) || dataset->rest_until <= now)
			return true;
	}
	return false;
}

/* Nothing waits in memory, and nothing is due now. */
bool
capi_dispatch_idle(CapiDispatcher *d)
{
	return capi_transport_in_flight(d->transport) == 0 && !has_batches_due(d) &&
		d->portions == NIL && d->records == NIL && capi_audiences_idle(d) &&
		capi_intake_retry_at(d->intake) == DT_NOEND &&
		!d->more_in_queue && d->backlog_due_at > GetCurrentTimestamp();
}

int64
capi_dispatch_wait_ms(CapiDispatcher *d)
{
	return time_to_wait(d);
}

/*
 * ALTER DATABASE ... SET reaches only who connects, so the dispatcher begins
 * anew; what is under way is waited for first, and nothing new begun.
 */
static void
note_settings(CapiDispatcher *d)
{
	TimestampTz now = GetCurrentTimestamp();

	if (now < d->settings_until)
		return;
	d->settings_until = TimestampTzPlusMilliseconds(now, capi_poll_interval);
	d->restart = d->restart || capi_database_settings_changed();
}

/* Ids only grow, so another set of them has another sum. */
static void
note_datasets(CapiDispatcher *d)
{
	int64		sum = 0;

	for (int i = 0; i < d->config->ndatasets; i++)
		sum += d->config->datasets[i].id;
	if (sum != d->known_datasets && d->config->has_state && !d->config->is_copy)
		capi_outcome_retry_unknown();
	d->known_datasets = sum;
}

/*
 * Are the tables those that this library knows?  Between its coming and ALTER
 * EXTENSION capi UPDATE orders are captured, and wait.
 */
static bool
is_current(void)
{
	static bool told = false;
	char	   *version;

	if (capi_txn_execute("SELECT extversion FROM pg_extension WHERE extname = 'capi'",
						 true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read the version of the extension");
	version = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (strcmp(version, CAPI_VERSION) == 0)
		return true;
	if (!told)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("nothing is sent: the extension capi in this database is %s, the library %s",
						version, CAPI_VERSION),
				 errhint("ALTER EXTENSION capi UPDATE; orders are captured until then, and sent after it.")));
	told = true;
	return false;
}

/* Step for capi_txn_try(). */
static void
reckon_anew(void *arg)
{
	CapiDispatcher *d = arg;

	if (d->config == NULL && !is_current())
		return;
	capi_outcome_follow_clock(d->clock_back_us);
	d->clock_at = DT_NOEND;
}

/*
 * Was the clock ahead?  At first the tables tell, for it may have been set back
 * while nobody looked.  It takes locks that orders do without: when somebody has
 * one, they go on, and this is tried again in a moment.
 */
static void
follow_clock(CapiDispatcher *d)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		set_back = d->clock_back_us > 0;

	if (now < d->clock_at || d->restart)
		return;
	d->clock_at = TimestampTzPlusMilliseconds(now, LOCKED_MS);
	if (!capi_txn_try(set_back ? "capi: following the clock" :
					  "capi: looking whether the clock was ahead", reckon_anew, d) ||
		d->clock_at != DT_NOEND)
		return;
	/* what is known already has rests as they were; a session ends by itself */
	d->restart = set_back || (d->config != NULL && d->settings_until != DT_NOEND);
	if (set_back)
		d->records_at = now;
}

/* Step for capi_txn_try(). */
static void
load_config(void *arg)
{
	CapiDispatcher *d = arg;
	CapiQueueReader *before = d->reader;
	bool		changed;

	note_settings(d);
	if (d->config == NULL && !is_current())
		return;
	/* what other sessions changed reaches us only inside a transaction */
	AcceptInvalidationMessages();
	changed = capi_config_stale();
	if (d->config != NULL && !changed && !d->reload &&
		GetCurrentTimestamp() < d->config_until)
		return;
	if (d->dbname == NULL)
		d->dbname = MemoryContextStrdup(d->context, get_database_name(MyDatabaseId));
	d->config = capi_config_load(d->config, d->context);
	note_datasets(d);
	capi_audiences_reload(d->audiences, changed);
	if (d->config->is_copy || !d->config->has_state)
	{
		capi_queue_close(d->reader);
		d->reader = NULL;
	}
	else if (d->reader == NULL)
		d->reader = capi_queue_open();
	if (d->reader != before)
	{
		/* items under way were emitted by another */
		d->generation++;
		capi_intake_reset(d->intake);
	}
	d->reload = false;
	d->backlog_due_at = DT_NOBEGIN;
	capi_meta_look(d->meta);
	/* token files are looked at again by and by (DESIGN 4.1) */
	d->config_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 60000);
}

/* What cannot be read because of somebody's lock is read in a moment. */
static void
refresh_config(CapiDispatcher *d)
{
	TimestampTz now = GetCurrentTimestamp();

	if (now < d->config_locked_until)
		return;
	if (d->config != NULL && !d->look_at_queue && !d->reload && now < d->config_until)
		return;
	if (!capi_txn_try("capi: reading the configuration", load_config, d))
	{
		d->reload = true;
		d->config_locked_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOCKED_MS);
	}
}

/* Something is newer than what is known of the configuration. */
void
capi_dispatch_reload(CapiDispatcher *d)
{
	d->reload = true;
	refresh_config(d);
}

static int
take_from_backlog(CapiDispatcher *d, CapiItem **items)
{
	if (d->backlog_due_at > GetCurrentTimestamp())
		return 0;
	return capi_backlog_take(d, items, capi_share_rows(d));
}

static int
take_from_queue(CapiDispatcher *d, CapiItem **items, bool *worked)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!d->look_at_queue && !d->more_in_queue && capi_intake_retry_at(d->intake) > now)
		return 0;
	if (capi_share_queue_blocked_until(d) > now)
		return 0;
	return capi_intake_take(d, items, worked);
}

/*
 * Takes up to a thousand items; true when it took any, or is to come again.
 * What waited and what is new take turns, so that neither is behind the other.
 */
static bool
fetch(CapiDispatcher *d)
{
	CapiItem  **items = palloc(sizeof(CapiItem *) * CAPI_MAX_BATCH_EVENTS);
	bool		worked = false;
	bool		queue_first = d->backlog_was_last;
	int			n = 0;

	if (!capi_portions_have_room(d) || capi_record_is_full(d))
		return false;
	if (queue_first)
		n = take_from_queue(d, items, &worked);
	d->backlog_was_last = n == 0 && (n = take_from_backlog(d, items)) > 0;
	if (n == 0 && !queue_first)
		n = take_from_queue(d, items, &worked);
	if (n > 0)
		capi_evaluate_items(d, items, n);
	return n > 0 || worked;
}

/* ---------- sending ---------- */

/*
 * Flushes what was written so far: with synchronous_commit off, the order and
 * what its query read are visible before they are on disk, and what a crash
 * may take away must not be reported (P4).
 *
 * At the start of a page the insert position lies behind a header that does
 * not exist yet; the end of what exists is the page boundary, and the server
 * logs a complaint if asked for more.
 */
void
capi_dispatch_flush_wal(void)
{
	XLogRecPtr	lsn = GetXLogInsertRecPtr();
	uint32		header = XLogSegmentOffset(lsn, wal_segment_size) < XLOG_BLCKSZ ?
		SizeOfXLogLongPHD : SizeOfXLogShortPHD;

	if (lsn % XLOG_BLCKSZ == header)
		lsn -= header;
	XLogFlush(lsn);
}

static void
submit(CapiDispatcher *d, CapiBatch *batch, CapiDataset *dataset)
{
	CapiHttpRequest request = {0};
	char		problem[256];

	capi_dispatch_flush_wal();
	if (!batch->closed)
		capi_batch_close(batch, dataset);
	batch->sent_at = GetCurrentTimestamp();
	request.url = dataset->url;
	request.token = dataset->token;
	request.body = batch->body.data;
	request.body_len = batch->body.len;
	request.connect_timeout_ms = capi_connect_timeout;
	request.request_timeout_ms = capi_request_timeout;
	request.ca_file = capi_ca_file != NULL && capi_ca_file[0] != '\0' ? capi_ca_file : NULL;
	request.allow_http = capi_allow_http;
	request.tag = batch;
	dataset->allowance -= batch->n;
	capi_share_started(dataset, batch->sent_at);
	CAPI_TEST_POINT("before a request");
	if (!capi_transport_start(d->transport, &request, problem, sizeof(problem)))
	{
		CapiAnswer	answer = {0};

		answer.tag = batch;
		answer.transport = CAPI_TRANSPORT_CONNECT;
		strlcpy(answer.detail, problem, sizeof(answer.detail));
		capi_answer_handle(d, &answer);
	}
	CAPI_TEST_POINT("after a request began");
}

/* No more events than the dataset may send now; the rest waits. */
static CapiBatch *
cut_to_allowance(CapiDispatcher *d, CapiBatch *batch, CapiDataset *dataset)
{
	int			most = (int) dataset->allowance;
	CapiBatch  *part;

	/* parts of what failed are cut already */
	if (batch->suspected_at == 0 || dataset->state == CAPI_DATASET_REFUSED)
		most = Min(most, capi_dataset_probe_size(dataset));
	if (batch->n <= most)
		return batch;
	part = capi_batch_split(batch, 0, most, -1);
	capi_answer_put_back(d, capi_batch_split(batch, most, batch->n, -1), dataset);
	capi_batch_free(batch);
	return part;
}

/*
 * Does it wait for company?  An event apart has none, and waits as long, so that
 * it does not take an allowance before those that are sent together.
 */
static bool
is_gathering(const CapiBatch *batch, bool only_full, TimestampTz now)
{
	bool		apart = batch->items[0]->apart && batch->suspected_at == 0;

	return (apart || (capi_batch_is_open(batch) && batch->n < CAPI_MAX_BATCH_EVENTS)) &&
		now < TimestampTzPlusMilliseconds(batch->opened_at,
										  only_full ? capi_linger + FILL_MS : capi_linger);
}

/*
 * Sends what is ready while there is room; what may not go now waits.
 * only_full: batches that still take events wait, too.
 */
static void
submit_ready(CapiDispatcher *d, bool only_full)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *lc;

	foreach(lc, d->batches)
	{
		CapiBatch  *batch = lfirst(lc);
		CapiDataset *dataset = capi_config_dataset(d->config, batch->dataset_id);

		if (is_gathering(batch, only_full, now))
			continue;
		if (dataset != NULL && capi_dataset_awaits_probe(dataset, now))
			continue;
		if (dataset == NULL || !capi_dataset_may_send(dataset, now))
		{
			if (stays_apart(batch, dataset))
				continue;
			d->batches = foreach_delete_current(d->batches, lc);
			capi_answer_put_back(d, batch, dataset);
			continue;
		}
		if (!capi_share_may_start(d, dataset))
			continue;
		d->batches = foreach_delete_current(d->batches, lc);
		submit(d, cut_to_allowance(d, batch, dataset), dataset);
	}
}

/* ---------- the rest ---------- */

/* Step for capi_txn_try(). */
static void
save_cursor(void *arg)
{
	(void) capi_queue_save(((CapiDispatcher *) arg)->reader);
}

/* Step for capi_txn_try(). */
static void
reclaim_segments(void *arg)
{
	CapiDispatcher *d = arg;

	d->reclaim_again = capi_queue_reclaim(d->reader);
}

typedef struct Maintenance
{
	bool		(*run) (void);	/* true: again soon */
	bool		again;
} Maintenance;

/* Step for capi_txn_try(). */
static void
maintain(void *arg)
{
	Maintenance *m = arg;

	m->again = m->run();
}

/* In a transaction each: a lock on one table is in no other's way. */
static void
maintain_tables(CapiDispatcher *d)
{
	Maintenance all[] = {
		{capi_outcome_maintain, false}, {capi_context_expire, false},
		{capi_context_tidy_consent, false}, {capi_direct_shrink, false}
	};

	d->maintain_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), MAINTAIN_INTERVAL_MS);
	for (int i = 0; i < (int) lengthof(all); i++)
	{
		/* what somebody's lock, or whatever else, keeps from being done is done next time */
		if (capi_txn_try_whatever("capi: maintaining the logs", maintain, &all[i]) && all[i].again)
			d->maintain_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
														 MAINTAIN_AGAIN_MS);
	}
}

static void
housekeep(CapiDispatcher *d)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		idle = capi_dispatch_idle(d);

	if (d->reader == NULL)
		return;
	if (idle)
		d->save_at = Min(d->save_at, TimestampTzPlusMilliseconds(now, IDLE_SAVE_INTERVAL_MS));
	if (now >= d->save_at && (capi_queue_unsaved(d->reader) || d->reclaim_again))
	{
		/* what is not done because somebody holds a lock is done next time */
		(void) capi_txn_try("capi: saving the cursor", save_cursor, d);
		(void) capi_txn_try("capi: reclaiming queue segments", reclaim_segments, d);
		d->save_at = TimestampTzPlusMilliseconds(now, d->reclaim_again ?
												 IDLE_SAVE_INTERVAL_MS : SAVE_INTERVAL_MS);
	}
	if (now >= d->maintain_at)
		maintain_tables(d);
}

static int64
time_to_wait(CapiDispatcher *d)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = TimestampTzPlusMilliseconds(now, capi_poll_interval);
	bool		arriving = capi_portions_are_arriving(d);
	ListCell   *lc;

	if (d->records != NIL)
		until = Min(until, d->records_at);
	until = Min(until, capi_health_look_at(d));
	if (d->reload && d->config_locked_until > now)
		until = Min(until, d->config_locked_until);
	if (!may_begin(d) || d->reader == NULL)
		return until <= now ? 0 : TimestampDifferenceMilliseconds(now, until) + 1;
	until = Min(until, capi_audiences_deadline(d));
	/* an order may have come since the last look, and told nobody */
	if (!d->armed && !is_lingering(d))
		return 0;
	if (capi_queue_unsaved(d->reader) || d->reclaim_again)
		until = Min(until, d->save_at);
	foreach(lc, d->batches)
	{
		CapiBatch  *batch = lfirst(lc);
		CapiDataset *dataset = capi_config_dataset(d->config, batch->dataset_id);

		/* an answer wakes us for the others */
		if (stays_apart(batch, dataset) && dataset->rest_until > now)
			until = Min(until, dataset->rest_until);
		else if (dataset == NULL ||
				 (capi_share_may_start(d, dataset) && !capi_dataset_awaits_probe(dataset, now)))
			until = Min(until, TimestampTzPlusMilliseconds(batch->opened_at, arriving ?
															capi_linger + FILL_MS : capi_linger));
	}
	until = Min(until, capi_meta_look_at(d->meta));
	until = Min(until, capi_portions_deadline(d));
	until = Min(until, capi_intake_retry_at(d->intake));
	/* with too many orders given to readers, their results wake us */
	if (!capi_portions_have_room(d) || capi_record_is_full(d))
		return until <= now ? 0 : TimestampDifferenceMilliseconds(now, until) + 1;
	until = Min(until, d->backlog_due_at);
	/* still set: there was no room to read the queue */
	if (d->more_in_queue || d->look_at_queue)
		until = Min(until, Max(capi_share_queue_blocked_until(d), capi_intake_not_before(d->intake)));
	return until <= now ? 0 : TimestampDifferenceMilliseconds(now, until) + 1;
}
