/*
 * queue.pml
 *		Why no committed order is lost, and none is repeated but what was in
 *		flight: a model that spin searches to its last state.
 *
 * Three transactions of the shop capture two orders (the first two the same
 * one), each into a segment of its choosing, and commit or roll back in any
 * order.  The dispatcher reads by the difference of two snapshots, sends,
 * records, saves its cursor, empties segments, and may die between any two
 * steps.  One step here is one transaction, or one visit to a block, in
 * src/store/queue.c, src/send/ and src/store/outcome.c; a segment is one block.
 *
 * Left out: time, batches, several datasets, copies of a database, and readers
 * (a reader that dies is a request that was not accepted).
 *
 * doc/model/check runs it as it is, and once with each fault below, each of
 * which spin must find:
 *
 *		ORDER_OF_IDS	pass over ids below the newest that was seen to end
 *		EARLY_CURSOR	save the cursor before what was read is settled
 *		BLIND_TRUNCATE	empty a segment without its lock
 *		EARLY_TRUNCATE	empty a segment whose rows are not all settled
 *		SKIP_BLOCK		take a block as done that holds an open transaction's row
 *		NO_LOOKUP		do not look into log and backlog
 *		FORGET_FLIGHT	take an order up that is under way already
 *		SPLIT_OUTCOME	delete from the backlog first, write the log afterwards
 *		EARLY_OUTCOME	write the log before the answer
 */
#define T			3			/* transactions */
#define ORDERS		2
#define SEGMENTS	2
#ifndef CRASHES
#define CRASHES		1
#endif
#define REFUSALS	1			/* requests that are not accepted, for now */

#define ALL				7		/* the set of all transactions */
#define bit(i)			(1 << (i))
#define has(set, i)		(((set) >> (i)) & 1)

/* The orders that a set of transactions captured: the first two the first. */
#define order_of(t)		((t) / 2)
#define orders(set)		((((set) & 3) != 0 -> 1 : 0) | (((set) & 4) != 0 -> 2 : 0))

/* What is durable.  A byte is a set, of transactions or of orders. */
byte committed;					/* transactions */
byte ended;						/* transactions, rolled back ones too */
byte segment[SEGMENTS];			/* transactions whose row is there */
byte lsn[SEGMENTS];				/* changes with every insert */
byte cursor;					/* transactions whose end was dealt with */
byte backlog, log;				/* orders */

/* Locks on a segment: of transactions until their end; of who empties it. */
byte writers[SEGMENTS];
byte emptied;

/* The dispatcher's memory. */
byte prev, cur;					/* snapshots: transactions that ended before */
byte done_lsn[SEGMENTS];		/* block is done as long as this is its LSN */
byte work;						/* orders that were read and not looked up */
byte flight;					/* orders under way */
byte taken;						/* of these, those that Meta accepted */

/* What the world saw. */
byte accepted[ORDERS];			/* how often Meta accepted it */
byte excused[ORDERS];			/* how often a crash came before the record */
byte crashes, refusals;

#define accounted(set)	((orders((set) & committed) & ~(log | backlog | flight)) == 0)

/* A transaction of the shop: lock, insert, end. */
active [T] proctype shop()
{
	byte s;

	if							/* which segment is present is a hint only */
	:: s = 0
	:: s = 1
	fi;
	atomic { !has(emptied, s) -> writers[s] = writers[s] | bit(_pid) };
	atomic { segment[s] = segment[s] | bit(_pid); lsn[s]++ };
	atomic {
		if
		:: committed = committed | bit(_pid)
		:: skip					/* rolled back */
		fi;
		ended = ended | bit(_pid);
		writers[s] = writers[s] & ~bit(_pid)
	}
}

/* One block of a pass: emits what is visible in cur and was not in prev. */
inline read_block(s)
{
	t = 0; unfinished = false;
	do
	:: t < T ->
		if
		:: has(segment[s], t) && !has(cur, t) -> unfinished = true
		:: has(segment[s], t) && has(cur, t) && has(committed, t) && !has(prev, t) ->
			work = work | bit(order_of(t))
		:: else
		fi;
		t++
	:: else -> break
	od;
#ifdef SKIP_BLOCK
	done_lsn[s] = lsn[s];
#else
	done_lsn[s] = (unfinished -> 0 : lsn[s]);
#endif
	t = 0; unfinished = false
}

/* Meta accepts what is under way.  Once for each order, and once more for each
 * crash that came between its answer and the record of it. */
inline accept()
{
	t = 0;
	do
	:: t < ORDERS ->
		accepted[t] = accepted[t] + has(flight & ~taken, t);
		assert(accepted[t] <= 1 + excused[t]);
		t++
	:: else -> break
	od;
	t = 0; taken = flight
}

/* The process dies: its memory is gone, what is durable stays. */
inline crash()
{
	t = 0;
	do
	:: t < ORDERS -> excused[t] = excused[t] + has(taken, t); t++
	:: else -> break
	od;
	t = 0; crashes++;
	prev = cursor; cur = 0; work = 0; flight = 0; taken = 0;
	done_lsn[0] = 0; done_lsn[1] = 0
}

/* Takes the lock, looks once more, empties. */
inline truncate(s)
{
#ifndef BLIND_TRUNCATE
	atomic { writers[s] == 0 -> emptied = bit(s) };
#endif
	if
#ifdef EARLY_TRUNCATE
	:: done_lsn[s] == lsn[s] ->
#else
	:: done_lsn[s] == lsn[s] && work == 0 && (flight & ~backlog) == 0 ->
#endif
		atomic { segment[s] = 0; emptied = 0 }
	:: else -> emptied = 0
	fi
}

active proctype dispatcher()
{
	byte t, s;
	bool unfinished;

	do
	/* A pass: the snapshot first, then block after block. */
	:: work == 0 && prev != ALL ->
		cur = ended;
		s = 0;
		do
		:: s < SEGMENTS ->
			atomic {
				if
				:: done_lsn[s] == lsn[s]
				:: else -> read_block(s)
				fi;
				s++
			}
		:: else -> break
		od;
		atomic {
			s = 0;
#ifdef ORDER_OF_IDS
			prev = (cur >= 4 -> 7 : (cur >= 2 -> 3 : cur));
#else
			prev = cur;
#endif
#ifdef EARLY_CURSOR
			cursor = prev;
#endif
			cur = 0;
			assert(work != 0 || accounted(prev))
		}

	/* What was read is looked up; what is new goes under way. */
	:: atomic { work != 0 ->
#ifndef NO_LOOKUP
		work = work & ~(log | backlog);
#endif
#ifdef FORGET_FLIGHT
		taken = taken & ~work;
#else
		work = work & ~flight;
#endif
		flight = flight | work; work = 0 }

	/* What waits is due; it stays in the backlog until it is settled. */
	:: atomic { (backlog & ~flight) != 0 -> flight = flight | backlog }

	/* Meta accepts, or does not. */
	:: atomic { (flight & ~taken) != 0 -> accept()
#ifdef EARLY_OUTCOME
		}
	:: atomic { (flight & ~log) != 0 -> log = log | flight
#endif
		}
	:: atomic { (flight & ~taken) != 0 && refusals < REFUSALS ->
		refusals++; backlog = backlog | (flight & ~taken); flight = taken }

	/* What was accepted is recorded, in one transaction. */
#ifdef SPLIT_OUTCOME
	:: atomic { (backlog & taken) != 0 -> backlog = backlog & ~taken }
#endif
	:: atomic { taken != 0 ->
		log = log | taken; backlog = backlog & ~taken;
		flight = flight & ~taken; taken = 0 }

	/* The cursor is saved when all that was read is settled. */
	:: atomic { work == 0 && (flight & ~backlog) == 0 && cursor != prev -> cursor = prev }

	:: segment[0] != 0 && done_lsn[0] == lsn[0] -> truncate(0)
	:: segment[1] != 0 && done_lsn[1] == lsn[1] -> truncate(1)

	:: atomic { crashes < CRASHES -> crash() }

	/* All is over: each order that was committed was accepted. */
	:: atomic { prev == ALL && ended == ALL && work == 0 && flight == 0 && backlog == 0 ->
		assert((orders(committed) & ~log) == 0);
		assert(!has(log, 0) || accepted[0] > 0);
		assert(!has(log, 1) || accepted[1] > 0);
		break }
	od
}
