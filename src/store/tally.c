/*
 * tally.c
 *		Puts the orders of a window and its records together by key, and sums up
 *		what is clear (ledger.h).
 *
 * SQL would do, at three times the time: for each order a dozen aggregates, and
 * a hash table that goes through a file beyond work_mem.  Here an order takes
 * some two hundred bytes; where a window has more orders than that much memory is
 * taken for, they are gone through several times, each time for a part of all
 * keys.  How many records there are is known when they have come: the parts are
 * more then, and all begins anew.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "store/bucket.h"
#include "store/tally.h"

/* Memory that one part may take, and what an order takes of it. */
#define PART_BYTES		INT64CONST(268435456)
#define ORDER_BYTES		200

#define MAX_PARTS		100000

/* For orders of so much time the bucket is looked for once, if it is one. */
#define SLOT_US			(15 * USECS_PER_MINUTE)

#define ENTRIES_AT_ONCE	4096

/* What is known of an order.  Times: DT_NOBEGIN where there is none. */
typedef struct Entry
{
	const char *key;
	text	   *raw_key;		/* NULL: not asked for, or no order */
	Numeric		value;
	Numeric		sent_value;
	TimestampTz at;
	TimestampTz ignored_at;
	TimestampTz unread_at;
	TimestampTz event_time;
	TimestampTz seen_at;
	int16		currency;		/* words; 0: none */
	int16		sent_currency;
	int16		action_source;
	int8		rank;			/* -1: no record */
	bool		returned;		/* by the query */
	bool		ignored;
} Entry;

typedef struct Slot
{
	uint32		hash;
	char		status;
	const char *key;
	Entry	   *entry;
} Slot;

#define SH_PREFIX		keytable
#define SH_ELEMENT_TYPE	Slot
#define SH_KEY_TYPE		const char *
#define SH_KEY			key
#define SH_HASH_KEY(tb, k)	string_hash(k, strlen(k) + 1)
#define SH_EQUAL(tb, a, b)	(strcmp(a, b) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a)	(a)->hash
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* Sums of one class. */
typedef struct SumKey
{
	TimestampTz bucket;
	int16		currency;
	int16		sent_currency;
	int32		class;			/* of classes */
} SumKey;

typedef struct Sum
{
	SumKey		key;			/* hash key */
	int64		orders;
	Numeric		value;
	Numeric		sent_value;
} Sum;

static const char *const classes[] = {
	"waiting", "ignored", "expired", "rejected", "delivered"
};

/* Words that many orders have in common: currencies, action sources. */
typedef struct Words
{
	char	  **words;			/* the first is none */
	int			n;
	int			room;
	int			last;
} Words;

typedef struct RecordReceiver
{
	DestReceiver pub;
	CapiTally  *tally;
} RecordReceiver;

struct CapiTally
{
	CapiLedger *ledger;
	int			part;
	int			parts;
	int64		nrecords;		/* of all parts */
	bool		is_full;		/* some were left out */
	MemoryContext context;
	keytable_hash *table;
	Entry	  **chunks;			/* in the order they came */
	int			nchunks;
	int			filled;			/* of the last */
	Entry	   *last;			/* that was found */
	Words		words;
	HTAB	   *sums;
	Sum		   *last_sum;
	int64		slot;			/* of the last bucket */
	TimestampTz bucket;
};

int
capi_tally_parts(int64 orders)
{
	return 1 + (int) Min(orders * ORDER_BYTES / PART_BYTES, MAX_PARTS - 1);
}

int
capi_tally_needed_parts(const CapiTally *tally)
{
	if (!tally->is_full)
		return tally->parts;
	return Max(tally->parts + 1,
			   capi_tally_parts(Max(tally->ledger->orders->n, tally->nrecords)));
}

CapiTally *
capi_tally_begin(CapiLedger *ledger, int part, int parts)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "capi tally",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	CapiTally  *tally = palloc0(sizeof(CapiTally));
	HASHCTL		ctl = {.keysize = sizeof(SumKey), .entrysize = sizeof(Sum), .hcxt = context};

	tally->ledger = ledger;
	tally->part = part;
	tally->parts = parts;
	tally->context = context;
	tally->table = keytable_create(context, Min(ledger->orders->n / parts + 64, 1 << 26), NULL);
	tally->filled = ENTRIES_AT_ONCE;
	tally->words.room = 16;
	tally->words.words = palloc(sizeof(char *) * tally->words.room);
	tally->words.words[tally->words.n++] = "";
	tally->slot = PG_INT64_MIN;
	tally->sums = hash_create("capi sums", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	MemoryContextSwitchTo(old);
	return tally;
}

/* ---------- entries ---------- */

/*
 * Number of a word; in the tally's memory.  There are as many as ISO 4217 has
 * currencies, at most, and some more.
 */
static int16
word_number(CapiTally *tally, const char *s, int len)
{
	Words	   *words = &tally->words;

	if (words->last > 0 && strncmp(words->words[words->last], s, len) == 0 &&
		words->words[words->last][len] == '\0')
		return words->last;
	for (int i = 1; i < words->n; i++)
		if (strncmp(words->words[i], s, len) == 0 && words->words[i][len] == '\0')
			return words->last = i;
	if (words->n == PG_INT16_MAX)
		elog(ERROR, "orders have too many currencies");
	if (words->n == words->room)
		words->words = repalloc(words->words, sizeof(char *) * (words->room *= 2));
	words->words[words->n] = pnstrdup(s, len);
	return words->last = words->n++;
}

static int16
currency_number(CapiTally *tally, Datum text, bool isnull)
{
	return isnull ? 0 : word_number(tally, VARDATA_ANY(DatumGetPointer(text)),
									VARSIZE_ANY_EXHDR(DatumGetPointer(text)));
}

/* It matters whether it is the one whose events may be older. */
static int16
action_number(CapiTally *tally, Datum text, bool isnull)
{
	static const char *const store = "physical_store";
	int			len;

	if (isnull)
		return 0;
	len = VARSIZE_ANY_EXHDR(DatumGetPointer(text));
	if (len == (int) strlen(store) && memcmp(VARDATA_ANY(DatumGetPointer(text)), store, len) == 0)
		return word_number(tally, store, len);
	return word_number(tally, "other", 5);
}

static Entry *
add_entry(CapiTally *tally, const char *key)
{
	Entry	   *entry;

	if (tally->filled == ENTRIES_AT_ONCE)
	{
		tally->chunks = tally->chunks == NULL ? palloc(sizeof(Entry *)) :
			repalloc(tally->chunks, sizeof(Entry *) * (tally->nchunks + 1));
		tally->chunks[tally->nchunks++] = palloc(sizeof(Entry) * (ENTRIES_AT_ONCE + 1));
		tally->filled = 0;
	}
	entry = &tally->chunks[tally->nchunks - 1][tally->filled++];
	memset(entry, 0, 2 * sizeof(Entry));	/* after the last one comes one without a key */
	entry->key = key;
	entry->rank = -1;
	entry->at = entry->ignored_at = entry->unread_at = entry->event_time =
		entry->seen_at = DT_NOBEGIN;
	return entry;
}

/* ORDER_BYTES is a usual size, not the largest. */
static bool
has_room(CapiTally *tally)
{
	if (tally->parts < MAX_PARTS &&
		MemoryContextMemAllocated(tally->context, false) > PART_BYTES / 4 * 5)
		tally->is_full = true;
	return !tally->is_full;
}

/*
 * Records stand in the log much as orders do in their table, so the one that
 * came after the last one that was found is worth a look: memory that is at hand,
 * where the hash table is a cache miss.
 */
static Entry *
guess_entry(CapiTally *tally, const char *key, int len)
{
	Entry	   *next = tally->last + 1;

	if (tally->last == NULL || next->key == NULL ||
		strncmp(next->key, key, len) != 0 || next->key[len] != '\0')
		return NULL;
	return tally->last = next;
}

/* The entry of a key, made when it is new; NULL: of another part, or no room. */
static Entry *
find_entry(CapiTally *tally, Datum text)
{
	char		buffer[256];
	int			len = VARSIZE_ANY_EXHDR(DatumGetPointer(text));
	char	   *key = VARDATA_ANY(DatumGetPointer(text));
	Entry	   *entry = guess_entry(tally, key, len);
	uint32		hash;
	Slot	   *slot;
	bool		found;

	if (entry != NULL)
		return entry;
	key = memcpy(len < (int) sizeof(buffer) ? buffer : palloc(len + 1), key, len);
	key[len] = '\0';
	hash = string_hash(key, len + 1);
	if (tally->parts > 1 && (hash >> 8) % tally->parts != (uint32) tally->part)
		return NULL;
	slot = keytable_lookup_hash(tally->table, key, hash);
	if (slot == NULL)
	{
		if (!has_room(tally))
			return NULL;
		key = pnstrdup(key, len);
		slot = keytable_insert_hash(tally->table, key, hash, &found);
		slot->entry = add_entry(tally, key);
	}
	return tally->last = slot->entry;
}

static Numeric
copy_numeric(Datum value, bool isnull)
{
	return isnull ? NULL : DatumGetNumericCopy(value);
}

static TimestampTz
time_of(Datum value, bool isnull)
{
	return isnull ? DT_NOBEGIN : DatumGetTimestampTz(value);
}

/* Of several rows of one order the earliest counts. */
static void
add_order(CapiTally *tally, TupleTableSlot *slot)
{
	Datum	   *v = slot->tts_values;
	bool	   *null = slot->tts_isnull;
	Entry	   *entry = find_entry(tally, v[ORDER_KEY]);
	TimestampTz at = time_of(v[ORDER_AT], null[ORDER_AT]);

	if (entry == NULL)
		return;
	entry->ignored |= DatumGetBool(v[ORDER_IGNORED]);
	if (entry->returned && at >= entry->at)
		return;
	entry->returned = true;
	entry->at = at;
	entry->value = copy_numeric(v[ORDER_VALUE], null[ORDER_VALUE]);
	entry->currency = currency_number(tally, v[ORDER_CURRENCY], null[ORDER_CURRENCY]);
	entry->action_source = action_number(tally, v[ORDER_ACTION_SOURCE], null[ORDER_ACTION_SOURCE]);
	entry->raw_key = null[ORDER_RAW_KEY] ? NULL : DatumGetTextPCopy(v[ORDER_RAW_KEY]);
}

void
capi_tally_orders(CapiTally *tally)
{
	CapiRows   *orders = tally->ledger->orders;
	TupleTableSlot *slot = MakeSingleTupleTableSlot(orders->desc, &TTSOpsMinimalTuple);
	MemoryContext old = MemoryContextSwitchTo(tally->context);

	tuplestore_rescan(orders->rows);
	while (tuplestore_gettupleslot(orders->rows, true, false, slot))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		add_order(tally, slot);
	}
	MemoryContextSwitchTo(old);
	ExecDropSingleTupleTableSlot(slot);
}

/* Those of the record that counts. */
static void
note_times(Entry *entry, int rank, TimestampTz event_time, TimestampTz seen_at)
{
	if (rank > entry->rank)
	{
		entry->event_time = event_time;
		entry->seen_at = seen_at;
	}
	else if (rank == entry->rank)
	{
		entry->event_time = Max(entry->event_time, event_time);
		entry->seen_at = Min(entry->seen_at, seen_at);
	}
}

/* receiveSlot */
static bool
add_record(TupleTableSlot *slot, DestReceiver *self)
{
	CapiTally  *tally = ((RecordReceiver *) self)->tally;
	MemoryContext old = MemoryContextSwitchTo(tally->context);
	Datum	   *v = slot->tts_values;
	bool	   *null = slot->tts_isnull;
	Entry	   *entry;
	int			rank;

	tally->nrecords++;
	slot_getallattrs(slot);
	entry = find_entry(tally, PointerGetDatum(PG_DETOAST_DATUM_PACKED(v[RECORD_KEY])));
	if (entry != NULL)
	{
		rank = DatumGetInt32(v[RECORD_RANK]);
		entry->ignored_at = Max(entry->ignored_at, time_of(v[RECORD_IGNORED_AT], null[RECORD_IGNORED_AT]));
		entry->unread_at = Max(entry->unread_at, time_of(v[RECORD_UNREAD_AT], null[RECORD_UNREAD_AT]));
		note_times(entry, rank, time_of(v[RECORD_EVENT_TIME], null[RECORD_EVENT_TIME]),
				   DatumGetTimestampTz(v[RECORD_SEEN_AT]));
		if (entry->sent_value == NULL)
			entry->sent_value = copy_numeric(v[RECORD_SENT_VALUE], null[RECORD_SENT_VALUE]);
		if (entry->sent_currency == 0 || rank > entry->rank)
			entry->sent_currency = currency_number(tally, v[RECORD_SENT_CURRENCY], null[RECORD_SENT_CURRENCY]);
		entry->rank = Max(entry->rank, rank);
	}
	MemoryContextSwitchTo(old);
	return true;
}

static void
start_up(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
shut_down(DestReceiver *self)
{
}

DestReceiver *
capi_tally_records(CapiTally *tally)
{
	RecordReceiver *receiver = MemoryContextAllocZero(tally->context, sizeof(RecordReceiver));

	receiver->pub.receiveSlot = add_record;
	receiver->pub.rStartup = start_up;
	receiver->pub.rShutdown = shut_down;
	receiver->pub.rDestroy = shut_down;
	receiver->pub.mydest = DestTuplestore;
	receiver->tally = tally;
	return &receiver->pub;
}

/* ---------- what comes out ---------- */

/* Nothing else can be found out of an order and its record in the window. */
static bool
is_clear(const Entry *entry)
{
	return entry->at != DT_NOBEGIN && entry->rank > RANK_UNREAD;
}

/* Was it captured again after it was ignored? */
static bool
is_recaptured(const Entry *entry)
{
	return entry->rank == RANK_IGNORED && entry->unread_at > entry->ignored_at;
}

/* When the query does not tell it. */
static TimestampTz
time_by_record(const Entry *entry)
{
	if (is_recaptured(entry))
		return entry->unread_at;
	return entry->event_time != DT_NOBEGIN ? entry->event_time : entry->seen_at;
}

/* Of an entry that is clear, a number of classes. */
static int
class_of(const Entry *entry)
{
	switch (entry->rank)
	{
		case RANK_IGNORED:
			return is_recaptured(entry) ? 0 : 1;
		case RANK_FORGOTTEN:
			return 1;
		case RANK_EXPIRED:
			return 2;
		case RANK_REJECTED:
			return 3;
		case RANK_DELIVERED:
			return 4;
		default:
			return 0;
	}
}

static bool
same_number(Numeric a, Numeric b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a), NumericGetDatum(b))) == 0;
}

static bool
has_drifted(const Entry *entry)
{
	return entry->rank == RANK_DELIVERED &&
		(entry->ignored || entry->currency != entry->sent_currency ||
		 !same_number(entry->value, entry->sent_value));
}

static void
put_time(Datum *values, bool *nulls, int column, TimestampTz at)
{
	nulls[column] = at == DT_NOBEGIN;
	values[column] = TimestampTzGetDatum(at);
}

static void
put_word(CapiTally *tally, Datum *values, bool *nulls, int column, int word)
{
	nulls[column] = word == 0;
	if (word != 0)
		values[column] = CStringGetTextDatum(tally->words.words[word]);
}

static void
put_number(Datum *values, bool *nulls, int column, Numeric number)
{
	nulls[column] = number == NULL;
	if (number != NULL)
		values[column] = NumericGetDatum(number);
}

static void
put_row(CapiTally *tally, Datum *values, bool *nulls)
{
	CapiRows   *known = tally->ledger->known;

	tuplestore_putvalues(known->rows, known->desc, values, nulls);
	known->n++;
}

static void
put_entry(CapiTally *tally, const Entry *entry)
{
	Datum		values[KNOWN_COLUMNS] = {0};
	bool		nulls[KNOWN_COLUMNS] = {false};

	values[KNOWN_KEY] = CStringGetTextDatum(entry->key);
	put_time(values, nulls, KNOWN_AT, entry->at);
	put_number(values, nulls, KNOWN_VALUE, entry->value);
	put_word(tally, values, nulls, KNOWN_CURRENCY, entry->currency);
	nulls[KNOWN_IGNORED] = !entry->returned;
	values[KNOWN_IGNORED] = BoolGetDatum(entry->ignored);
	put_word(tally, values, nulls, KNOWN_ACTION_SOURCE, entry->action_source);
	nulls[KNOWN_RAW_KEY] = entry->raw_key == NULL;
	values[KNOWN_RAW_KEY] = PointerGetDatum(entry->raw_key);
	nulls[KNOWN_RANK] = entry->rank < 0;
	values[KNOWN_RANK] = Int32GetDatum(entry->rank);
	put_time(values, nulls, KNOWN_IGNORED_AT, entry->ignored_at);
	put_time(values, nulls, KNOWN_UNREAD_AT, entry->unread_at);
	put_time(values, nulls, KNOWN_EVENT_TIME, entry->event_time);
	put_time(values, nulls, KNOWN_SEEN_AT, entry->seen_at);
	put_number(values, nulls, KNOWN_SENT_VALUE, entry->sent_value);
	put_word(tally, values, nulls, KNOWN_SENT_CURRENCY, entry->sent_currency);
	nulls[KNOWN_CLASS] = true;
	values[KNOWN_ORDERS] = Int64GetDatum(1);
	put_row(tally, values, nulls);
}

/*
 * Orders come by time, mostly, so one bucket after the other.  One may begin
 * within a quarter of an hour where the offset from UTC is no multiple of it.
 */
static TimestampTz
bucket_of(CapiTally *tally, TimestampTz at)
{
	const Interval *length = &tally->ledger->bucket;
	int64		slot = at / SLOT_US - (at % SLOT_US < 0);
	TimestampTz first = slot * SLOT_US;
	TimestampTz last = first + SLOT_US - 1;

	if (slot == tally->slot)
		return tally->bucket;
	tally->bucket = capi_bucket_begin(length, at);
	tally->slot = IS_VALID_TIMESTAMP(first) && IS_VALID_TIMESTAMP(last) &&
		capi_bucket_begin(length, first) == capi_bucket_begin(length, last) ? slot : PG_INT64_MIN;
	return tally->bucket;
}

/* Mostly that of the order before. */
static Sum *
find_sum(CapiTally *tally, const Entry *entry)
{
	SumKey		key = {
		bucket_of(tally, entry->at), entry->currency, entry->sent_currency, class_of(entry)
	};
	Sum		   *sum;
	bool		found;

	if (tally->last_sum != NULL && memcmp(&tally->last_sum->key, &key, sizeof(key)) == 0)
		return tally->last_sum;
	sum = hash_search(tally->sums, &key, HASH_ENTER, &found);
	if (!found)
	{
		sum->orders = 0;
		sum->value = sum->sent_value = NULL;
	}
	return tally->last_sum = sum;
}

static void
add_number(Numeric *sum, Numeric number)
{
	Numeric		old = *sum;

	if (number == NULL)
		return;
	*sum = old == NULL ? DatumGetNumericCopy(NumericGetDatum(number)) :
		DatumGetNumeric(DirectFunctionCall2(numeric_add, NumericGetDatum(old),
											NumericGetDatum(number)));
	if (old != NULL)
		pfree(old);
}

static void
put_sums(CapiTally *tally)
{
	HASH_SEQ_STATUS seq;
	Sum		   *sum;

	hash_seq_init(&seq, tally->sums);
	while ((sum = hash_seq_search(&seq)) != NULL)
	{
		Datum		values[KNOWN_COLUMNS] = {0};
		bool		nulls[KNOWN_COLUMNS];

		memset(nulls, true, sizeof(nulls));
		put_time(values, nulls, KNOWN_AT, sum->key.bucket);
		put_number(values, nulls, KNOWN_VALUE, sum->value);
		put_word(tally, values, nulls, KNOWN_CURRENCY, sum->key.currency);
		put_number(values, nulls, KNOWN_SENT_VALUE, sum->sent_value);
		put_word(tally, values, nulls, KNOWN_SENT_CURRENCY, sum->key.sent_currency);
		nulls[KNOWN_CLASS] = nulls[KNOWN_ORDERS] = false;
		values[KNOWN_CLASS] = CStringGetTextDatum(classes[sum->key.class]);
		values[KNOWN_ORDERS] = Int64GetDatum(sum->orders);
		put_row(tally, values, nulls);
	}
}

static void
settle_entry(CapiTally *tally, const Entry *entry)
{
	Sum		   *sum;

	if (!is_clear(entry))
	{
		TimestampTz at = entry->at != DT_NOBEGIN ? entry->at : time_by_record(entry);

		if (at >= tally->ledger->since && at < tally->ledger->until)
			put_entry(tally, entry);
		return;
	}
	if (tally->ledger->kind == CAPI_LEDGER_DRIFT && has_drifted(entry))
		put_entry(tally, entry);
	if (tally->ledger->kind != CAPI_LEDGER_SUMS)
		return;
	sum = find_sum(tally, entry);
	sum->orders++;
	add_number(&sum->value, entry->value);
	if (entry->rank == RANK_DELIVERED)
		add_number(&sum->sent_value, entry->sent_value);
}

void
capi_tally_finish(CapiTally *tally)
{
	MemoryContext old = MemoryContextSwitchTo(tally->context);

	for (int c = 0; c < tally->nchunks; c++)
	{
		int			n = c == tally->nchunks - 1 ? tally->filled : ENTRIES_AT_ONCE;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
			settle_entry(tally, &tally->chunks[c][i]);
	}
	put_sums(tally);
	MemoryContextSwitchTo(old);
	capi_tally_drop(tally);
}

void
capi_tally_drop(CapiTally *tally)
{
	MemoryContextDelete(tally->context);
}
