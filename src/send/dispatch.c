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
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/capi.h"
#include "base/guc.h"
#include "base/shmem.h"
#include "base/txn.h"
#include "send/dispatch.h"
#include "send/dispatch_state.h"
#include "store/known.h"

/* Number of the sender's lock among those on the extension; others use 0. */
#define SENDER_LOCK	1

/* How often the cursor is saved while there is work or none, logs maintained. */
#define SAVE_INTERVAL_MS		10000
#define IDLE_SAVE_INTERVAL_MS	1000
/* After as much reading it is time to look at answers and at the clock. */
#define TURN_MS					100

#define MAINTAIN_INTERVAL_MS	(10 * 60 * 1000)

static void refresh_config(CapiDispatcher *d);
static void load_config(CapiDispatcher *d);
static bool fetch(CapiDispatcher *d);
static int	fetch_backlog(CapiDispatcher *d, CapiItem **items, int room);
static int	fetch_queue(CapiDispatcher *d, CapiItem **items, int room);
static void drop_known(CapiDispatcher *d, CapiItem **items, int *n);
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
	d->backlog_due_at = DT_NOBEGIN;
	d->look_at_queue = true;
	d->reclaim_again = true;
	capi_config_init();
	return d;
}

void
capi_dispatch_destroy(CapiDispatcher *d)
{
	capi_transport_destroy(d->transport);
	capi_queue_close(d->reader);
	MemoryContextDelete(d->context);
}

/*
 * The sender's lock is the session's, as an advisory lock would be; but such a
 * one could be held by any role, and given back by any function that a
 * source's query calls.
 */
static LOCKTAG sender_lock;
static bool holds_lock = false;

/*
 * The server gives such a lock back at the abort of a transaction, but not when
 * a process ends that is in none.
 */
static void
release_at_exit(int code, Datum arg)
{
	capi_dispatch_release_lock();
}

static bool
try_lock(void)
{
	static bool registered = false;

	if (!registered)
		before_shmem_exit(release_at_exit, (Datum) 0);
	registered = true;
	SET_LOCKTAG_OBJECT(sender_lock, MyDatabaseId, ExtensionRelationId,
					   get_extension_oid(CAPI_EXTENSION, false), SENDER_LOCK);
	holds_lock = LockAcquire(&sender_lock, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
	return holds_lock;
}

/* Needs no transaction that works: also for use after an error. */
void
capi_dispatch_release_lock(void)
{
	if (holds_lock)
		(void) LockRelease(&sender_lock, ExclusiveLock, true);
	holds_lock = false;
}

bool
capi_dispatch_lock(void)
{
	bool		got;

	capi_txn_begin("capi: taking the sender's lock");
	got = try_lock();
	capi_txn_commit();
	return got;
}

void
capi_dispatch_unlock(void)
{
	capi_txn_begin("capi: giving the sender's lock back");
	capi_dispatch_release_lock();
	capi_txn_commit();
}

void
capi_dispatch_forever(void (*extension_gone) (void))
{
	CapiDispatcher *d;

	capi_txn_setup(false, InvalidOid, extension_gone);
	d = capi_dispatch_create();
	while (!capi_dispatch_lock())
	{
		/* a session is at CALL capi.deliver(); it does our work meanwhile */
		capi_transport_wait(d->transport, capi_poll_interval);
		capi_guc_reload();
	}
	for (;;)
	{
		if (capi_guc_reload())
			d->reload = true;
		/* if the extension was dropped, the next transaction finds out */
		if (capi_shmem_clear_recheck())
			d->reload = true;
		capi_dispatch_turn(d);
		capi_transport_wait(d->transport, time_to_wait(d));
		d->look_at_queue = true;
	}
}

/* ---------- one turn ---------- */

/* May anything be read or sent now? */
static bool
may_begin(const CapiDispatcher *d)
{
	return capi_enabled && !d->draining && d->config != NULL &&
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
	refresh_config(d);
	while (capi_transport_next(d->transport, &answer))
	{
		capi_answer_handle(d, &answer);
		capi_transport_free_answer(&answer);
		worked = true;
	}
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
			MemoryContextReset(d->turn_context);
			more = fetch(d);
			worked |= more;
			/* what is about to be read fills a batch better than waiting does */
			submit_ready(d, more && d->more_in_queue);
		}
	}
	housekeep(d);
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
	MemoryContextSwitchTo(old);
	MemoryContextReset(d->turn_context);
}

/* Nothing waits in memory, and nothing is due now. */
bool
capi_dispatch_idle(CapiDispatcher *d)
{
	return capi_transport_in_flight(d->transport) == 0 && d->nwaiting == 0 &&
		!d->more_in_queue && d->backlog_due_at > GetCurrentTimestamp();
}

int64
capi_dispatch_wait_ms(CapiDispatcher *d)
{
	return time_to_wait(d);
}

static void
refresh_config(CapiDispatcher *d)
{
	if (d->config != NULL && !d->look_at_queue && !d->reload &&
		GetCurrentTimestamp() < d->config_until)
		return;
	capi_txn_begin("capi: reading the configuration");
	/* what other sessions changed reaches us only inside a transaction */
	AcceptInvalidationMessages();
	if (d->config == NULL || capi_config_stale() || d->reload ||
		GetCurrentTimestamp() >= d->config_until)
		load_config(d);
	capi_txn_commit();
}

/* Inside a transaction. */
static void
load_config(CapiDispatcher *d)
{
	(void) capi_config_stale();
	d->config = capi_config_load(d->config, d->context);
	if (d->config->is_copy || !d->config->has_state)
	{
		capi_queue_close(d->reader);
		d->reader = NULL;
	}
	else if (d->reader == NULL)
		d->reader = capi_queue_open();
	d->reload = false;
	d->backlog_due_at = DT_NOBEGIN;
	/* token files are looked at again by and by (DESIGN 4.1) */
	d->config_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 60000);
}

/* Takes up to a thousand items; true when it took any. */
static bool
fetch(CapiDispatcher *d)
{
	CapiItem  **items = palloc(sizeof(CapiItem *) * CAPI_MAX_BATCH_EVENTS);
	int			n = 0;

	if (d->backlog_due_at <= GetCurrentTimestamp())
		n = fetch_backlog(d, items, capi_share_rows(d));
	if (n == 0 && (d->look_at_queue || d->more_in_queue) &&
		capi_share_queue_blocked_until(d) <= GetCurrentTimestamp())
		n = fetch_queue(d, items, CAPI_MAX_BATCH_EVENTS);
	if (n == 0)
		return false;
	capi_evaluate_items(d, items, n);
	return true;
}

/*
 * Due rows of one source and dataset (0: any) that are not under way; returns
 * how many of items are taken now.  *next: when to look again.
 */
static int
fetch_due(CapiDispatcher *d, int source_id, int dataset_id, CapiItem **items,
		  int n, int room, TimestampTz *next)
{
	int			max = room - n + d->nwaiting;
	CapiItem  **due = palloc(sizeof(CapiItem *) * max);
	TimestampTz later;

	/* rows that are under way are still in the table: look past them */
	int			got = capi_outcome_due(source_id, dataset_id, max, due, &later);

	*next = Min(*next, later);
	for (int i = 0; i < got; i++)
	{
		if (n == room)
		{
			*next = DT_NOBEGIN;
			break;
		}
		if (capi_in_flight_add(d, due[i]))
			items[n++] = due[i];
	}
	pfree(due);
	return n;
}

static int
fetch_backlog(CapiDispatcher *d, CapiItem **items, int room)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = DT_NOEND;
	int			n = 0;

	d->backlog_crowded = false;
	capi_txn_begin("capi: reading the backlog");
	for (int s = 0; s < d->config->nsources && n < room; s++)
	{
		CapiSource *source = &d->config->sources[s];

		if (source->detached)
		{
			/* whatever its dataset: it is not going to be sent */
			n = fetch_due(d, source->id, 0, items, n, room, &next);
			continue;
		}
		if (source->paused)
			continue;
		if (source->broken && source->retry_at > now)
		{
			next = Min(next, source->retry_at);
			continue;
		}
		for (int t = 0; t < d->config->ndatasets && n < room; t++)
		{
			CapiDataset *dataset = &d->config->datasets[t];

			/* only a query may send an order elsewhere */
			if (source->is_direct && dataset->id != source->dataset_id)
				continue;
			if (!capi_dataset_may_send(dataset, now))
			{
				if (dataset->rest_until > now)
					next = Min(next, dataset->rest_until);
			}
			else if (!capi_share_has_room(d, dataset))
				d->backlog_crowded = true;
			else
				n = fetch_due(d, source->id, dataset->id, items, n, room, &next);
		}
	}
	capi_txn_commit();
	d->backlog_due_at = n == room ? DT_NOBEGIN : next;
	return n;
}

/* Adds up what could not be captured, one update for a source. */
static void
count_missed(CapiQueueRow *rows, int n)
{
	for (int i = 0; i < n; i++)
	{
		int			total = 0;

		for (int j = i; rows[i].missed > 0 && j < n; j++)
			if (rows[j].source_id == rows[i].source_id && rows[j].missed > 0)
			{
				total += rows[j].missed;
				if (j > i)
					rows[j].missed = -1;
			}
		if (total > 0)
			capi_outcome_missed(rows[i].source_id, total);
	}
}

static int
fetch_queue(CapiDispatcher *d, CapiItem **items, int room)
{
	MemoryContext context = CurrentMemoryContext;
	CapiQueueRow *rows = palloc(sizeof(CapiQueueRow) * room);
	bool		reloaded = false;
	int			n = 0;
	int			got;

	if (d->reader == NULL)
		return 0;
	/* what is captured during a pass, only the next one sees */
	if (!d->more_in_queue)
		d->look_at_queue = false;
	capi_txn_begin("capi: reading the queue");
	got = capi_queue_read(d->reader, rows, room, &d->more_in_queue);
	count_missed(rows, got);
	for (int i = 0; i < got; i++)
	{
		CapiSource *source = capi_config_source(d->config, rows[i].source_id);
		CapiItem   *item;

		/* attached and captured in one transaction: older than our knowledge */
		if ((source == NULL || source->detached) && !reloaded)
		{
			load_config(d);
			reloaded = true;
			source = capi_config_source(d->config, rows[i].source_id);
		}
		if (rows[i].missed != 0 || source == NULL)
		{
			capi_queue_settle(d->reader, rows[i].segment, rows[i].pass);
			continue;
		}
		/* SPI left us in a context of its own, which goes with it */
		item = MemoryContextAllocZero(context, sizeof(CapiItem));
		item->source_id = source->id;
		item->dataset_id = source->dataset_id;
		item->key = rows[i].key;
		item->captured_at = rows[i].captured_at;
		item->segment = rows[i].segment;
		item->pass = rows[i].pass;
		items[n++] = item;
	}
	drop_known(d, items, &n);
	capi_txn_commit();
	return n;
}

/* Settles what log, backlog or memory know already; keeps the rest. */
static void
drop_known(CapiDispatcher *d, CapiItem **items, int *n)
{
	CapiKnown  *known = palloc(sizeof(CapiKnown) * (*n + 1));
	int			kept = 0;

	if (*n == 0)
		return;
	capi_known_look_up(items, *n, known);
	for (int i = 0; i < *n; i++)
	{
		items[i]->was_ignored = known[i] == CAPI_KNOWN_IGNORED;
		if ((known[i] == CAPI_KNOWN_NOT || known[i] == CAPI_KNOWN_IGNORED) &&
			capi_in_flight_add(d, items[i]))
			items[kept++] = items[i];
		else
			capi_queue_settle(d->reader, items[i]->segment, items[i]->pass);
	}
	*n = kept;
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
static void
flush_wal(void)
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

	flush_wal();
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
	if (!capi_transport_start(d->transport, &request, problem, sizeof(problem)))
	{
		CapiAnswer	answer = {0};

		answer.tag = batch;
		answer.transport = CAPI_TRANSPORT_CONNECT;
		strlcpy(answer.detail, problem, sizeof(answer.detail));
		capi_answer_handle(d, &answer);
	}
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
		bool		open = capi_batch_is_open(batch);

		if (open && batch->n < CAPI_MAX_BATCH_EVENTS &&
			(only_full || now < TimestampTzPlusMilliseconds(batch->opened_at, capi_linger)))
			continue;
		if (dataset == NULL || !capi_dataset_may_send(dataset, now))
		{
			d->batches = foreach_delete_current(d->batches, lc);
			capi_answer_put_back(d, batch, dataset);
			continue;
		}
		if (!capi_share_may_start(d, dataset))
			continue;
		d->batches = foreach_delete_current(d->batches, lc);
		submit(d, batch, dataset);
	}
}

/* ---------- the rest ---------- */

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
		capi_txn_begin("capi: saving the cursor");
		(void) capi_queue_save(d->reader);
		capi_txn_commit();
		capi_txn_begin("capi: reclaiming queue segments");
		d->reclaim_again = capi_queue_reclaim(d->reader);
		capi_txn_commit();
		d->save_at = TimestampTzPlusMilliseconds(now, d->reclaim_again ?
												 IDLE_SAVE_INTERVAL_MS : SAVE_INTERVAL_MS);
	}
	if (now >= d->maintain_at)
	{
		d->maintain_at = TimestampTzPlusMilliseconds(now, MAINTAIN_INTERVAL_MS);
		capi_txn_begin_guarded("capi: maintaining the logs");
		PG_TRY();
		{
			capi_outcome_maintain();
			capi_txn_commit();
		}
		PG_CATCH();
		{
			/* somebody reads an old partition: next time */
			if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
				PG_RE_THROW();
			MemoryContextSwitchTo(d->turn_context);
			FlushErrorState();
			capi_txn_abort();
		}
		PG_END_TRY();
	}
}

static int64
time_to_wait(CapiDispatcher *d)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = TimestampTzPlusMilliseconds(now, capi_poll_interval);
	ListCell   *lc;

	if (!may_begin(d) || d->reader == NULL)
		return capi_poll_interval;
	/* an order may have come since the last look, and told nobody */
	if (!d->armed && !is_lingering(d))
		return 0;
	if (capi_queue_unsaved(d->reader) || d->reclaim_again)
		until = Min(until, d->save_at);
	foreach(lc, d->batches)
	{
		CapiBatch  *batch = lfirst(lc);
		CapiDataset *dataset = capi_config_dataset(d->config, batch->dataset_id);

		if (dataset == NULL || capi_share_may_start(d, dataset))
			until = Min(until, TimestampTzPlusMilliseconds(batch->opened_at, capi_linger));
	}
	until = Min(until, d->backlog_due_at);
	/* still set: there was no room to read the queue */
	if (d->more_in_queue || d->look_at_queue)
		until = Min(until, capi_share_queue_blocked_until(d));
	return until <= now ? 0 : TimestampDifferenceMilliseconds(now, until) + 1;
}
