/*
 * pool.c
 *		The readers of one sending process (pool.h).
 *
 * DESIGN
 *
 * A reader is a dynamic background worker, so that nothing need be preloaded,
 * bound for its life to one role: what a session can keep of one tenant (a
 * named connection of dblink, variables of an interpreter) another never sees.
 * It shares a segment with this process: link.h.  At most capi.readers work or
 * wait at a time; while another database has none and no worker slot to start
 * one, only one does, and only if there is something to do.
 *
 * A portion that is under way has a deadline, moved by each run that the reader
 * says it begins:
 *
 *		limit of the run	the reader cancels the run itself
 *		+ GRACE_MS			SIGTERM, which no exception handler can trap
 *		+ GRACE_MS			given up: it serves no interrupt
 *
 * A reader that was given up keeps its entry until it has ended, does not count
 * among those that work, and keeps its role from getting another.  It is never
 * killed harder: the server would restart for that.  When this process ends, it
 * stays; the next pool finds it by its lock (reader_lock.c), and waits likewise.
 * So a role has never more of them than it had readers when the first one hung.
 *
 * A custom audience is read apart: by one reader more, which no portion of orders
 * is given to or waits for, whatever becomes of it.
 *
 * Waits for nothing and raises only for want of memory.  Decides nothing about
 * orders: send/evaluate.c does.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/attempt.h"
#include "base/guc.h"
#include "base/shmem.h"
#include "base/test_point.h"
#include "base/txn.h"
#include "read/link.h"
#include "read/pool.h"
#include "read/reader_lock.h"

/* Readers, those given up included. */
#define MAX_ENTRIES			64

/* What a reader gets beyond its limit, and then beyond SIGTERM. */
#define GRACE_MS			2000

/* A reader has to begin within this time; the postmaster may be busy. */
#define START_LIMIT_MS		15000

/* One without work is ended after that. */
#define IDLE_LIMIT_MS		60000

/*
 * How often to look whether a reader of an earlier pool has ended: most do at
 * once, those beyond GRACE_MS hang.
 */
#define LEFTOVER_MS			50
#define LEFTOVER_HUNG_MS	1000

/* With one that works, another is tried again so long after there was no slot. */
#define ANOTHER_MS			1000

typedef enum EntryState
{
	ENTRY_FREE,
	ENTRY_IDLE,
	ENTRY_WORKING,
	ENTRY_TERMINATED,			/* SIGTERM was sent, it has not ended */
	ENTRY_GIVEN_UP
} EntryState;

typedef struct Entry
{
	EntryState	state;
	MemoryContext context;		/* of what belongs to it */
	Oid			role;
	bool		apart;			/* reads an audience, and counts nowhere */
	dsm_segment *segment;
	CapiLinkShared *shared;
	shm_mq_handle *requests;
	shm_mq_handle *answers;
	BackgroundWorkerHandle *worker;
	void	   *tag;			/* of the portion under way */
	bool		began;			/* it has said so of this portion */
	StringInfoData unsent;		/* request that is not all in the queue yet */
	TimestampTz deadline;
} Entry;

/* A role of which a reader of another pool is there. */
typedef struct Leftover
{
	Oid			role;
	TimestampTz since;
	TimestampTz look_at;
} Leftover;

struct CapiPool
{
	MemoryContext context;
	Entry		entries[MAX_ENTRIES];
	List	   *leftovers;
	TimestampTz another_at;		/* no second reader is tried before */
	bool		lacks_memory;	/* the last start: there was none to share */
};

/* Of this process, for its end. */
static CapiPool *live_pool = NULL;

/* Interrupts what a reader does; false when it did so before. */
static bool
interrupt_reader(Entry *entry)
{
	pid_t		pid;

	if (pg_atomic_exchange_u32(&entry->shared->stop, 1) != 0)
		return false;
	if (GetBackgroundWorkerPid(entry->worker, &pid) == BGWH_STARTED)
		kill(pid, SIGINT);
	return true;
}

/* capi_txn_busy_hook: a query of the shop holds locks on the shop's tables. */
static void
interrupt_all(void)
{
	for (int i = 0; live_pool != NULL && i < MAX_ENTRIES; i++)
		if (live_pool->entries[i].state == ENTRY_WORKING)
			(void) interrupt_reader(&live_pool->entries[i]);
}

/*
 * Readers at work do not look whether anybody listens still.  One that is
 * interrupted does, and ends in silence; one that cannot be ends by itself when
 * its time is over (run.c).
 */
static void
leave_at_exit(int code, Datum arg)
{
	interrupt_all();
	live_pool = NULL;
}

CapiPool *
capi_pool_create(MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "capi readers",
												  ALLOCSET_DEFAULT_SIZES);
	CapiPool   *pool = MemoryContextAllocZero(context, sizeof(CapiPool));

	pool->context = context;
	live_pool = pool;
	capi_txn_busy_hook = interrupt_all;
	return pool;
}

/* Lets go of a reader that has ended, or whose queues end it. */
static void
release(Entry *entry)
{
	if (entry->segment != NULL)
		dsm_detach(entry->segment);
	MemoryContextDelete(entry->context);
	memset(entry, 0, sizeof(*entry));
}

void
capi_pool_destroy(CapiPool *pool)
{
	for (int i = 0; i < MAX_ENTRIES; i++)
	{
		Entry	   *entry = &pool->entries[i];

		/* an error while it was started leaves one that is free, and has it */
		if (entry->context == NULL)
			continue;
		if (entry->state == ENTRY_WORKING)
			(void) interrupt_reader(entry);
		release(entry);
	}
	live_pool = NULL;
	MemoryContextDelete(pool->context);
}

/* ---------- starting ---------- */

/*
 * Step for capi_attempt_reading(): the segment, with this side of its queues
 * attached.  None, when there are too many already.
 */
static void
make_link(void *arg)
{
	Entry	   *entry = arg;
	shm_toc_estimator estimator;
	shm_toc    *toc;
	shm_mq	   *requests;
	shm_mq	   *answers;
	Size		size;

	shm_toc_initialize_estimator(&estimator);
	shm_toc_estimate_chunk(&estimator, sizeof(CapiLinkShared));
	shm_toc_estimate_chunk(&estimator, CAPI_LINK_REQUEST_BYTES);
	shm_toc_estimate_chunk(&estimator, CAPI_LINK_ANSWER_BYTES);
	shm_toc_estimate_keys(&estimator, 3);
	size = shm_toc_estimate(&estimator);
	entry->segment = dsm_create(size, DSM_CREATE_NULL_IF_MAXSEGMENTS);
	if (entry->segment == NULL)
		return;
	/* it lives as long as this process wants it, whatever transaction is open */
	dsm_pin_mapping(entry->segment);
	toc = shm_toc_create(CAPI_LINK_MAGIC, dsm_segment_address(entry->segment), size);
	entry->shared = shm_toc_allocate(toc, sizeof(CapiLinkShared));
	entry->shared->dboid = MyDatabaseId;
	entry->shared->role = entry->role;
	entry->shared->apart = entry->apart;
	pg_atomic_init_u32(&entry->shared->stop, 0);
	shm_toc_insert(toc, CAPI_LINK_SHARED, entry->shared);
	requests = shm_mq_create(shm_toc_allocate(toc, CAPI_LINK_REQUEST_BYTES),
							 CAPI_LINK_REQUEST_BYTES);
	shm_toc_insert(toc, CAPI_LINK_REQUESTS, requests);
	shm_mq_set_sender(requests, MyProc);
	answers = shm_mq_create(shm_toc_allocate(toc, CAPI_LINK_ANSWER_BYTES),
							CAPI_LINK_ANSWER_BYTES);
	shm_toc_insert(toc, CAPI_LINK_ANSWERS, answers);
	shm_mq_set_receiver(answers, MyProc);
	entry->requests = shm_mq_attach(requests, entry->segment, NULL);
	entry->answers = shm_mq_attach(answers, entry->segment, NULL);
}

/* A file system for it that is full is an error, of which is told once. */
static bool
has_link(CapiPool *pool, Entry *entry)
{
	const char *error = capi_attempt_reading(make_link, entry);
	bool		lacks = error != NULL || entry->segment == NULL;

	if (lacks && !pool->lacks_memory)
		ereport(LOG,
				(errmsg("no shared memory for a reader: %s",
						error != NULL ? error : "the server has too many segments")));
	pool->lacks_memory = lacks;
	return !lacks;
}

bool
capi_pool_lacks_memory(const CapiPool *pool)
{
	return pool->lacks_memory;
}

static bool
start_worker(Entry *entry)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "capi", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "capi_reader_main", sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, BGW_MAXLEN, "capi reader");
	snprintf(worker.bgw_type, BGW_MAXLEN, "capi reader");
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(entry->segment));
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &entry->worker))
		return false;
	/* from here on the queues know when it ends without having attached */
	shm_mq_set_handle(entry->requests, entry->worker);
	shm_mq_set_handle(entry->answers, entry->worker);
	return true;
}

static bool
start_reader(CapiPool *pool, Entry *entry, Oid role, bool apart)
{
	static bool registered = false;
	MemoryContext old;
	bool		started;

	/* here, so that it comes before the sender's lock is given back */
	if (!registered)
		before_shmem_exit(leave_at_exit, (Datum) 0);
	registered = true;
	entry->context = AllocSetContextCreate(pool->context, "capi reader",
										   ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(entry->context);
	entry->role = role;
	entry->apart = apart;
	initStringInfo(&entry->unsent);
	started = has_link(pool, entry) && start_worker(entry);
	CAPI_TEST_POINT("a reader was registered");
	MemoryContextSwitchTo(old);
	if (started)
		entry->state = ENTRY_IDLE;
	else
		release(entry);
	return started;
}

/* ---------- giving ---------- */

/* Those that are idle hold no lock that counts. */
static bool
has_at_work(const CapiPool *pool, Oid role)
{
	for (int i = 0; i < MAX_ENTRIES; i++)
		if (pool->entries[i].state != ENTRY_FREE && pool->entries[i].state != ENTRY_IDLE &&
			pool->entries[i].role == role && !pool->entries[i].apart)
			return true;
	return false;
}

static Leftover *
find_leftover(const CapiPool *pool, Oid role)
{
	ListCell   *lc;

	foreach(lc, pool->leftovers)
	{
		Leftover   *leftover = lfirst(lc);

		if (leftover->role == role)
			return leftover;
	}
	return NULL;
}

/*
 * Is a reader of another pool at work for the role: an earlier one's, or one that
 * tries a query at its attach?  With one of its own at work the pool has looked
 * before.
 */
static bool
is_left_over(CapiPool *pool, Oid role, TimestampTz now)
{
	Leftover   *leftover = find_leftover(pool, role);
	MemoryContext old;

	if (leftover != NULL)
		return true;
	if (has_at_work(pool, role) || !capi_reader_lock_held(role, false))
		return false;
	old = MemoryContextSwitchTo(pool->context);
	leftover = palloc(sizeof(Leftover));
	leftover->role = role;
	leftover->since = now;
	leftover->look_at = TimestampTzPlusMilliseconds(now, LEFTOVER_MS);
	pool->leftovers = lappend(pool->leftovers, leftover);
	MemoryContextSwitchTo(old);
	return true;
}

static bool
has_hung(const Leftover *leftover, TimestampTz now)
{
	return TimestampDifferenceExceeds(leftover->since, now, GRACE_MS);
}

static void
look_after_leftovers(CapiPool *pool, TimestampTz now)
{
	ListCell   *lc;

	foreach(lc, pool->leftovers)
	{
		Leftover   *leftover = lfirst(lc);

		if (now < leftover->look_at)
			continue;
		leftover->look_at = TimestampTzPlusMilliseconds(now, has_hung(leftover, now) ?
														LEFTOVER_HUNG_MS : LEFTOVER_MS);
		if (capi_reader_lock_held(leftover->role, false))
			continue;
		pool->leftovers = foreach_delete_current(pool->leftovers, lc);
		pfree(leftover);
	}
}

/* Counts those that work or wait, and finds what a portion might be given to. */
static int
survey(CapiPool *pool, Oid role, Entry **own, Entry **other, Entry **unused)
{
	int			live = 0;

	*own = *other = *unused = NULL;
	for (int i = 0; i < MAX_ENTRIES; i++)
	{
		Entry	   *entry = &pool->entries[i];

		if (entry->state == ENTRY_FREE && *unused == NULL)
			*unused = entry;
		if (entry->apart)
			continue;
		if (entry->state == ENTRY_IDLE)
		{
			if (entry->role == role)
				*own = entry;
			else if (*other == NULL || entry->deadline < (*other)->deadline)
				*other = entry;
		}
		live += entry->state != ENTRY_FREE && entry->state != ENTRY_GIVEN_UP;
	}
	return live;
}

static void
push_request(Entry *entry)
{
	if (entry->unsent.len > 0 &&
		shm_mq_send(entry->requests, entry->unsent.len, entry->unsent.data,
					true, true) == SHM_MQ_SUCCESS)
		resetStringInfo(&entry->unsent);
}

/* Starts a reader's work on a portion. */
static void
hand_over(Entry *entry, const CapiRequest *request, void *tag)
{
	pg_atomic_write_u32(&entry->shared->stop, 0);
	capi_portion_write_request(&entry->unsent, request);
	entry->state = ENTRY_WORKING;
	entry->tag = tag;
	entry->began = false;
	entry->deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), START_LIMIT_MS);
	push_request(entry);
}

/* An audience; not while the server is short of workers, or one hangs at it. */
static CapiGiven
give_apart(CapiPool *pool, const CapiRequest *request, void *tag)
{
	Oid			role = request->source.run_as;
	Entry	   *unused = NULL;

	for (int i = 0; i < MAX_ENTRIES; i++)
	{
		Entry	   *entry = &pool->entries[i];

		if (entry->state == ENTRY_FREE)
			unused = entry;
		else if (entry->apart)
			return CAPI_GIVEN_BUSY;
	}
	if (unused == NULL || capi_shmem_reader_wanted() || capi_reader_lock_held(role, true))
		return CAPI_GIVEN_BUSY;
	if (!start_reader(pool, unused, role, true))
		return CAPI_GIVEN_NO_WORKER;
	hand_over(unused, request, tag);
	return CAPI_GIVEN;
}

/*
 * No reader could be started beside those that live; one that has nothing to do
 * for another role makes room, which is there in a moment.
 */
static CapiGiven
no_worker(CapiPool *pool, int live, Entry *idle, TimestampTz now)
{
	if (idle != NULL)
	{
		release(idle);
		return CAPI_GIVEN_BUSY;
	}
	if (live > 0)
	{
		pool->another_at = TimestampTzPlusMilliseconds(now, ANOTHER_MS);
		return CAPI_GIVEN_BUSY;
	}
	capi_shmem_want_reader();
	return CAPI_GIVEN_NO_WORKER;
}

CapiGiven
capi_pool_give(CapiPool *pool, const CapiRequest *request, void *tag)
{
	Oid			role = request->source.run_as;
	TimestampTz now = GetCurrentTimestamp();
	Entry	   *entry;
	Entry	   *other;
	Entry	   *unused;
	int			live;
	int			limit;

	if (request->is_audience)
		return give_apart(pool, request, tag);
	if (capi_pool_is_stuck(pool, role) || is_left_over(pool, role, now))
		return CAPI_GIVEN_BUSY;
	limit = capi_shmem_reader_wanted() ? 1 : capi_readers;
	live = survey(pool, role, &entry, &other, &unused);
	if (entry != NULL && live > limit)
	{
		release(entry);			/* another database's need is greater */
		return CAPI_GIVEN_BUSY;
	}
	if (entry == NULL)
	{
		if (live >= limit && other != NULL)
		{
			release(other);		/* another role's, without work */
			unused = other;
			live--;
		}
		if (live >= limit || unused == NULL || (live > 0 && now < pool->another_at))
			return CAPI_GIVEN_BUSY;
		entry = unused;
		if (!start_reader(pool, entry, role, false))
			return no_worker(pool, live, other == entry ? NULL : other, now);
	}
	hand_over(entry, request, tag);
	return CAPI_GIVEN;
}

void
capi_pool_yield(CapiPool *pool)
{
	if (!capi_shmem_reader_wanted())
		return;
	for (int i = 0; i < MAX_ENTRIES; i++)
		if (pool->entries[i].state == ENTRY_IDLE)
			release(&pool->entries[i]);
}

bool
capi_pool_is_stuck(const CapiPool *pool, Oid role)
{
	Leftover   *leftover;

	for (int i = 0; i < MAX_ENTRIES; i++)
		if (pool->entries[i].role == role && !pool->entries[i].apart &&
			(pool->entries[i].state == ENTRY_GIVEN_UP ||
			 pool->entries[i].state == ENTRY_TERMINATED))
			return true;
	leftover = find_leftover(pool, role);
	return leftover != NULL && has_hung(leftover, GetCurrentTimestamp());
}

int
capi_pool_reader_pid(const CapiPool *pool, const void *tag)
{
	for (int i = 0; i < MAX_ENTRIES; i++)
	{
		const Entry *entry = &pool->entries[i];
		pid_t		pid;

		if (entry->state == ENTRY_WORKING && entry->tag == tag && entry->began &&
			GetBackgroundWorkerPid(entry->worker, &pid) == BGWH_STARTED)
			return pid;
	}
	return 0;
}

void
capi_pool_stop(CapiPool *pool, const void *tag)
{
	for (int i = 0; i < MAX_ENTRIES; i++)
	{
		Entry	   *entry = &pool->entries[i];

		if (entry->state != ENTRY_WORKING || entry->tag != tag || !entry->began ||
			!interrupt_reader(entry))
			continue;
		entry->deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), GRACE_MS);
	}
}

/* ---------- watching ---------- */

static TimestampTz
from_now(int ms)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
}

static void
tell_end(Entry *entry, const CapiPoolEvents *events, CapiPortionEnd how, const char *text)
{
	void	   *tag = entry->tag;

	entry->tag = NULL;
	if (tag != NULL)
		events->ended(events->arg, tag, how, text);
}

static void
take_message(Entry *entry, const CapiPoolEvents *events, CapiMessage *message)
{
	if (entry->tag == NULL)
		return;
	switch (message->kind)
	{
		case CAPI_MESSAGE_BEGIN:
			entry->began = true;
			if (entry->state == ENTRY_WORKING &&
				pg_atomic_read_u32(&entry->shared->stop) == 0)
				entry->deadline = from_now(message->limit_ms + GRACE_MS);
			break;
		case CAPI_MESSAGE_RESULT:
			events->result(events->arg, entry->tag, &message->result);
			break;
		case CAPI_MESSAGE_PAGE:
			events->page(events->arg, entry->tag, &message->page);
			entry->deadline = Max(entry->deadline, from_now(GRACE_MS));
			break;
		case CAPI_MESSAGE_AGAIN:
			tell_end(entry, events, message->one_by_one ? CAPI_END_ALONE : CAPI_END_AGAIN, NULL);
			break;
		case CAPI_MESSAGE_BROKEN:
		case CAPI_MESSAGE_DONE:
			/* one that was terminated may have been done at that moment: it ends */
			if (entry->state == ENTRY_WORKING)
			{
				entry->state = ENTRY_IDLE;
				entry->deadline = from_now(entry->apart ? 0 : IDLE_LIMIT_MS);
			}
			tell_end(entry, events, message->kind == CAPI_MESSAGE_DONE ?
					 CAPI_END_DONE : CAPI_END_BROKEN, message->text);
			break;
	}
}

/* Takes all that is there; false when the reader has ended, or is about to. */
static bool
receive(Entry *entry, const CapiPoolEvents *events)
{
	for (;;)
	{
		CapiMessage message;
		Size		len;
		void	   *data;
		shm_mq_result got;

		/* the queue is full soon, and the reader waits: its time does not count */
		if (!events->has_room(events->arg, entry->tag))
		{
			entry->deadline = Max(entry->deadline,
								  TimestampTzPlusMilliseconds(GetCurrentTimestamp(), GRACE_MS));
			return true;
		}
		got = shm_mq_receive(entry->answers, &len, &data, true);
		if (got == SHM_MQ_WOULD_BLOCK)
			return true;
		if (got == SHM_MQ_DETACHED)
			return false;
		capi_portion_read(data, (int) len, &message);
		take_message(entry, events, &message);
		if (message.kind == CAPI_MESSAGE_AGAIN)
			return false;
	}
}

static void
deadline_passed(Entry *entry, const CapiPoolEvents *events, TimestampTz now)
{
	switch (entry->state)
	{
		case ENTRY_IDLE:
			release(entry);
			break;
		case ENTRY_WORKING:
			entry->state = ENTRY_TERMINATED;
			entry->deadline = TimestampTzPlusMilliseconds(now, GRACE_MS);
			TerminateBackgroundWorker(entry->worker);
			break;
		case ENTRY_TERMINATED:
			entry->state = ENTRY_GIVEN_UP;
			entry->deadline = DT_NOEND;
			tell_end(entry, events, entry->began ? CAPI_END_HUNG : CAPI_END_LOST, NULL);
			break;
		default:
			break;
	}
}

static void
poll_entry(Entry *entry, const CapiPoolEvents *events, TimestampTz now)
{
	push_request(entry);
	if (receive(entry, events))
	{
		if (now >= entry->deadline)
			deadline_passed(entry, events, now);
		return;
	}
	tell_end(entry, events, !entry->began ? CAPI_END_LOST :
			 entry->state == ENTRY_WORKING ? CAPI_END_DIED : CAPI_END_HUNG, NULL);
	release(entry);
}

void
capi_pool_poll(CapiPool *pool, const CapiPoolEvents *events)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < MAX_ENTRIES; i++)
		if (pool->entries[i].state != ENTRY_FREE)
			poll_entry(&pool->entries[i], events, now);
	look_after_leftovers(pool, now);
}

TimestampTz
capi_pool_deadline(const CapiPool *pool)
{
	TimestampTz deadline = DT_NOEND;
	ListCell   *lc;

	foreach(lc, pool->leftovers)
		deadline = Min(deadline, ((Leftover *) lfirst(lc))->look_at);
	for (int i = 0; i < MAX_ENTRIES; i++)
		if (pool->entries[i].state != ENTRY_FREE)
			deadline = Min(deadline, pool->entries[i].deadline);
	return deadline;
}
