/*
 * audiences.c
 *		Custom audiences: lists of people at Meta, kept in step with a query.
 *
 * DESIGN
 *
 * One thing is done at a time, for one audience at a time:
 *
 *		READING	a reader of its own (pool.c) runs the query and hands over its
 *				people, hashed and in the order of their keys, page by page.  Each
 *				page is compared with what is known in the same range, in a short
 *				transaction that writes differences alone.
 *		SENDING	one request with up to 10,000 of those that are to be removed, or
 *				else added; its answer settles them.
 *
 * Events go first (P6): an audience has its own reader and one request, begins
 * nothing while captured orders are still to be read, and rests by itself; what
 * Meta says against it is no word on the dataset.
 *
 * Repeats do no harm: Meta adds nobody twice.  What a crash leaves is in the
 * tables: people that wait, the session and its next batch, and between which
 * keys an answer may have been lost.  A reading that broke off is begun anew.
 *
 * No raw value and no token is in what is kept (P13, P8).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "answer/response.h"
#include "base/backoff.h"
#include "base/capi.h"
#include "base/guc.h"
#include "base/test_point.h"
#include "base/txn.h"
#include "event/customer.h"
#include "event/hash.h"
#include "event/text.h"
#include "send/dispatch_state.h"
#include "store/audience.h"

/* SPEC 9.4. */
#define MAX_REQUEST_PEOPLE	10000

/* A list of all customers takes longer than a portion of orders. */
#define READ_LIMIT_FACTOR	10

/* After a failed reading, and after a refusal, an audience is tried again. */
#define READ_BASE_MS		(60 * 1000)
#define READ_CEILING_MS		(60 * 60 * 1000)
#define PROBE_INTERVAL_MS	(5 * 60 * 1000)
#define REFUSED_MS			(60 * 60 * 1000)
#define THROTTLE_FLOOR_MS	(60 * 1000)
#define MAX_STEP			7

/* What could not be written because of somebody's lock, or begun, is tried then. */
#define AGAIN_MS			1000

/* People of a dropped audience that are deleted in one transaction. */
#define SWEEP_PEOPLE		10000

/* Longest number of a session: JSON has no larger integers that all read alike. */
#define MAX_SESSION_ID		(INT64CONST(1) << 53)

typedef enum Phase
{
	PHASE_IDLE,
	PHASE_READING,
	PHASE_SENDING
} Phase;

/* What is to be written next; nothing else is begun before. */
typedef enum Next
{
	NEXT_NOTHING,
	NEXT_PAGE,
	NEXT_STATE,
	NEXT_SENT
} Next;

struct CapiAudiences
{
	MemoryContext context;
	MemoryContext work_context; /* of one page, or one request */
	CapiAudienceList *list;
	bool		is_stale;		/* the list is to be loaded again, */
	bool		has_word;		/* perhaps because somebody changed something, */
	TimestampTz load_at;		/* at this time */
	Phase		phase;
	int			id;				/* the one at work, or the last */
	Next		next;
	TimestampTz again_at;		/* that is tried then */
	bool		hurry;			/* a page made room for the next */

	/* a reading */
	CapiAudienceReading reading;
	bool		reader_ended;
	bool		is_last;
	pg_uuid_t	after;			/* key of the last page's last person */
	pg_uuid_t	upto;
	ArrayType  *keys;
	ArrayType  *packed;

	/* a request */
	CapiAudienceBatch batch;
	StringInfoData body;
	char		op;
	int64		session_id;
	int			batch_seq;
	int			nsent;
	bool		ends_session;
	int64		invalid;

	/* a state */
	const char *state;
	char		reason[512];
};

CapiAudiences *
capi_audiences_create(MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "capi audiences at work",
												  ALLOCSET_SMALL_SIZES);
	CapiAudiences *a = MemoryContextAllocZero(context, sizeof(CapiAudiences));

	a->context = context;
	a->work_context = AllocSetContextCreate(context, "capi audience at work",
											ALLOCSET_DEFAULT_SIZES);
	return a;
}

/* Inside a transaction. */
static void
load_list(CapiAudiences *a, bool fresh)
{
	a->list = capi_audience_load(a->list, a->context, fresh);
}

void
capi_audiences_reload(CapiAudiences *a, bool has_word)
{
	a->is_stale = true;
	a->has_word |= has_word;
}

/* Step for capi_txn_try(). */
static void
load_again(void *arg)
{
	CapiAudiences *a = arg;

	load_list(a, a->has_word);
}

/* Apart from the configuration: who holds a table of these stops no orders (P6). */
static void
refresh_list(CapiAudiences *a)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!a->is_stale || now < a->load_at)
		return;
	if (capi_txn_try("capi: reading the audiences", load_again, a))
		a->is_stale = a->has_word = false;
	else
		a->load_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), AGAIN_MS);
}

static CapiAudience *
find_audience(CapiAudiences *a, int id)
{
	for (int i = 0; a->list != NULL && i < a->list->n; i++)
		if (a->list->v[i].id == id)
			return &a->list->v[i];
	return NULL;
}

/* ---------- writing what happened ---------- */

static void
write_page(CapiAudiences *a)
{
	capi_audience_page(a->id, UUIDPGetDatum(&a->after), UUIDPGetDatum(&a->upto),
					   PointerGetDatum(a->keys), PointerGetDatum(a->packed));
	if (a->is_last)
		capi_audience_read(a->id, &a->reading);
}

/* Step for capi_txn_try(). */
static void
write_next(void *arg)
{
	CapiAudiences *a = arg;

	switch (a->next)
	{
		case NEXT_PAGE:
			write_page(a);
			break;
		case NEXT_STATE:
			capi_audience_set_state(a->id, a->state, a->reason[0] != '\0' ? a->reason : NULL);
			break;
		case NEXT_SENT:
			capi_audience_sent(a->id, a->op, a->batch.keys[0], a->batch.keys[a->nsent - 1],
							   a->ends_session, a->invalid);
			break;
		case NEXT_NOTHING:
			break;
	}
	if (a->next != NEXT_PAGE || a->is_last)
		load_list(a, false);
}

static void
finish_page(CapiAudiences *a)
{
	CapiAudience *audience = find_audience(a, a->id);

	a->after = a->upto;
	a->hurry = true;
	if (a->is_last || a->reader_ended)
		a->phase = PHASE_IDLE;
	if (a->is_last && audience != NULL)
		audience->read_failures = 0;
}

/* True when there is nothing more to write. */
static bool
write_it(CapiAudiences *a)
{
	if (a->next == NEXT_NOTHING)
		return true;
	if (GetCurrentTimestamp() < a->again_at)
		return false;
	if (!capi_txn_try("capi: keeping an audience in step", write_next, a))
	{
		a->again_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), AGAIN_MS);
		return false;
	}
	if (a->next == NEXT_PAGE)
		finish_page(a);
	else
		a->phase = PHASE_IDLE;
	a->next = NEXT_NOTHING;
	a->again_at = 0;
	MemoryContextReset(a->work_context);
	return true;
}

static void
set_state(CapiAudiences *a, const char *state, const char *reason)
{
	a->next = NEXT_STATE;
	a->state = state;
	strlcpy(a->reason, reason != NULL ? reason : "", sizeof(a->reason));
}

/* ---------- reading ---------- */

bool
capi_audiences_have_room(const CapiAudiences *a)
{
	return a->next == NEXT_NOTHING;
}

/* A page of people came; it is kept until it is compared. */
void
capi_audiences_take_page(CapiAudiences *a, const CapiPage *page)
{
	MemoryContext old = MemoryContextSwitchTo(a->work_context);
	Datum	   *keys = palloc(sizeof(Datum) * (page->n + 1));
	Datum	   *packed = palloc(sizeof(Datum) * (page->n + 1));

	for (int i = 0; i < page->n; i++)
	{
		bytea	   *cells = palloc(VARHDRSZ + page->packed_len[i]);
		CapiCustomer customer;

		if (!capi_customer_unpack(page->packed[i], page->packed_len[i], &customer))
			elog(ERROR, "a reader sent what is no person");
		SET_VARSIZE(cells, VARHDRSZ + page->packed_len[i]);
		memcpy(VARDATA(cells), page->packed[i], page->packed_len[i]);
		packed[i] = PointerGetDatum(cells);
		keys[i] = PointerGetDatum(page->keys[i]);
	}
	a->keys = construct_array(keys, page->n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR);
	a->packed = construct_array(packed, page->n, BYTEAOID, -1, false, TYPALIGN_INT);
	a->is_last = page->is_last;
	if (page->is_last)
		memset(&a->upto, 0xFF, sizeof(a->upto));
	else if (page->n > 0)
		memcpy(&a->upto, page->keys[page->n - 1], sizeof(a->upto));
	a->reading.people = page->people;
	a->reading.no_consent = page->no_consent;
	a->reading.unusable = page->unusable;
	a->reading.problems = page->problems != NULL ? pstrdup(page->problems) : NULL;
	a->next = NEXT_PAGE;
	MemoryContextSwitchTo(old);
}

/* The query failed, or its reader did. */
static void
reading_failed(CapiAudiences *a, const char *why)
{
	CapiAudience *audience = find_audience(a, a->id);

	a->phase = PHASE_IDLE;
	if (audience == NULL)
		return;
	audience->read_failures++;
	audience->read_after =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									capi_backoff_ceiling_ms(audience->read_failures,
															READ_BASE_MS, READ_CEILING_MS));
	set_state(a, "broken", why);
}

void
capi_audiences_reading_ended(CapiAudiences *a, CapiPortionEnd how, const char *text)
{
	CapiAudience *audience = find_audience(a, a->id);

	/* all is told with the last page: what is at work now may be something else */
	if (a->phase != PHASE_READING || a->is_last)
		return;
	a->reader_ended = true;
	if (how == CAPI_END_BROKEN)
		reading_failed(a, text);
	else if (how == CAPI_END_DIED)
		reading_failed(a, "the reader ended while it ran the query");
	else if (how == CAPI_END_HUNG)
		reading_failed(a, "the query cannot be stopped");
	else if (a->next != NEXT_PAGE)
		a->phase = PHASE_IDLE;
	/* left, or not begun: nobody's fault */
	if (audience != NULL)
		audience->read_after = Max(audience->read_after,
								   TimestampTzPlusMilliseconds(GetCurrentTimestamp(), AGAIN_MS));
}

static void
start_reading(CapiDispatcher *d, CapiAudience *audience)
{
	CapiAudiences *a = d->audiences;
	CapiAsked	whole = {.key = ""};
	CapiRequest request = {.is_audience = true, .n = 1, .asked = &whole};

	request.source = audience->source;
	request.limit_ms = capi_query_timeout * READ_LIMIT_FACTOR;
	request.part_limit_ms = capi_query_timeout;
	if (capi_pool_give(d->pool, &request, a) != CAPI_GIVEN)
	{
		audience->read_after = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), AGAIN_MS);
		return;
	}
	a->phase = PHASE_READING;
	a->id = audience->id;
	a->reading.began = GetCurrentTimestamp();
	a->reader_ended = a->is_last = false;
	memset(&a->after, 0, sizeof(a->after));
	a->upto = a->after;
}

/* What is read of an audience that is paused or gone is left. */
static void
leave_reading(CapiDispatcher *d)
{
	CapiAudience *audience = find_audience(d->audiences, d->audiences->id);

	if (audience == NULL || audience->is_dropped || audience->paused)
		capi_pool_stop(d->pool, d->audiences);
}

/* ---------- sending ---------- */

static void
append_row(StringInfo body, const CapiCustomer *customer, int schema)
{
	static const char digits[] = "0123456789abcdef";
	bool		separate = false;

	appendStringInfoChar(body, '[');
	for (int cell = 0; cell < CAPI_CELL_COUNT; cell++)
	{
		if ((schema & CAPI_CELL_BIT(cell)) == 0)
			continue;
		appendStringInfoString(body, separate ? ",\"" : "\"");
		separate = true;
		for (int i = 0; i < CAPI_CELL_BYTES && (customer->present & CAPI_CELL_BIT(cell)); i++)
		{
			appendStringInfoCharMacro(body, digits[customer->cells[cell][i] >> 4]);
			appendStringInfoCharMacro(body, digits[customer->cells[cell][i] & 0xF]);
		}
		appendStringInfoChar(body, '"');
	}
	appendStringInfoChar(body, ']');
}

static bool
unpack(Datum datum, CapiCustomer *customer)
{
	bytea	   *packed = DatumGetByteaPP(datum);

	return capi_customer_unpack((uint8 *) VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed), customer);
}

/* Keys that any of the people has, and how many people fit into a request. */
static int
choose_schema(CapiAudiences *a)
{
	CapiCustomer customer;
	int			schema = 0;
	int			cells = 0;

	for (int i = 0; i < a->batch.n; i++)
		if (unpack(a->batch.packed[i], &customer))
			schema |= customer.present;
	for (int cell = 0; cell < CAPI_CELL_COUNT; cell++)
		cells += (schema & CAPI_CELL_BIT(cell)) != 0;
	a->nsent = Min(a->batch.n, CAPI_MAX_BODY_BYTES / (cells * (CAPI_HASH_HEX_LEN + 3) + 3));
	return schema;
}

static void
write_body(CapiAudiences *a, const CapiDataset *dataset, int schema, int64 waiting)
{
	CapiCustomer customer;
	StringInfo	body = &a->body;
	bool		separate = false;

	initStringInfo(body);
	appendStringInfoString(body, "{\"payload\":{\"schema\":[");
	for (int cell = 0; cell < CAPI_CELL_COUNT; cell++)
	{
		if ((schema & CAPI_CELL_BIT(cell)) == 0)
			continue;
		appendStringInfo(body, "%s\"%s\"", separate ? "," : "", capi_cell_names[cell]);
		separate = true;
	}
	appendStringInfoString(body, "],\"data\":[");
	for (int i = 0; i < a->nsent; i++)
	{
		(void) unpack(a->batch.packed[i], &customer);
		if (i > 0)
			appendStringInfoChar(body, ',');
		append_row(body, &customer, schema);
	}
	appendStringInfo(body, "]},\"session\":{\"session_id\":" INT64_FORMAT ",\"batch_seq\":%d,"
					 "\"last_batch_flag\":%s,\"estimated_num_total\":" INT64_FORMAT "}",
					 a->session_id, a->batch_seq, a->ends_session ? "true" : "false",
					 waiting + (int64) (a->batch_seq - 1) * MAX_REQUEST_PEOPLE);
	if (dataset->proof != NULL)
		appendStringInfo(body, ",\"appsecret_proof\":\"%s\"", dataset->proof);
	appendStringInfoChar(body, '}');
}

/* Removals first: of a customer whose address changed the old row goes before. */
static void
choose_people(CapiAudiences *a, const CapiAudience *audience)
{
	static const char ops[] = {CAPI_AUDIENCE_REMOVE, CAPI_AUDIENCE_ADD_AGAIN, CAPI_AUDIENCE_ADD};

	for (size_t i = 0; i < lengthof(ops); i++)
	{
		a->op = ops[i];
		capi_audience_batch(audience->id, a->op, MAX_REQUEST_PEOPLE, &a->batch);
		if (a->batch.n > 0)
			return;
	}
}

typedef struct Preparation
{
	CapiAudiences *a;
	CapiAudience *audience;
	const CapiDataset *dataset;
} Preparation;

/* Step for capi_txn_try(). */
static void
prepare_request(void *arg)
{
	Preparation *p = arg;
	CapiAudiences *a = p->a;
	const CapiAudience *audience = p->audience;
	MemoryContext old = MemoryContextSwitchTo(a->work_context);
	int			schema;

	choose_people(a, audience);
	if (a->batch.n > 0)
	{
		bool		goes_on = audience->session_id != 0 && audience->session_op == a->op;

		a->session_id = goes_on ? audience->session_id :
			(int64) pg_prng_uint64_range(&pg_global_prng_state, 1, MAX_SESSION_ID - 1);
		a->batch_seq = goes_on ? audience->batch_seq : 1;
		schema = choose_schema(a);
		a->ends_session = !a->batch.more && a->nsent == a->batch.n;
		capi_audience_sending(audience->id, a->op, a->session_id, a->batch_seq,
							  a->batch.keys[0], a->batch.keys[a->nsent - 1]);
		write_body(a, p->dataset, schema,
				   a->op == CAPI_AUDIENCE_REMOVE ? audience->to_remove : audience->to_add);
	}
	else
	{
		capi_audience_nothing_waits(audience->id);
		load_list(a, false);
	}
	MemoryContextSwitchTo(old);
}

static void
start_sending(CapiDispatcher *d, CapiAudience *audience, CapiDataset *dataset)
{
	CapiAudiences *a = d->audiences;
	Preparation preparation = {a, audience, dataset};
	CapiHttpRequest request = {0};
	char		problem[256];

	MemoryContextReset(a->work_context);
	a->id = audience->id;
	a->batch.n = 0;
	a->invalid = 0;
	if (!capi_txn_try("capi: preparing people of an audience", prepare_request, &preparation))
	{
		audience->send_after = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), AGAIN_MS);
		return;
	}
	if (a->batch.n == 0)
		return;
	capi_dispatch_flush_wal();
	request.url = psprintf("%s/%s/users", dataset->graph, audience->list_id);
	request.method = a->op == CAPI_AUDIENCE_REMOVE ? "DELETE" : NULL;
	request.token = dataset->token;
	request.body = a->body.data;
	request.body_len = a->body.len;
	request.connect_timeout_ms = capi_connect_timeout;
	request.request_timeout_ms = capi_request_timeout;
	request.ca_file = capi_ca_file != NULL && capi_ca_file[0] != '\0' ? capi_ca_file : NULL;
	request.allow_http = capi_allow_http;
	request.tag = a;
	a->phase = PHASE_SENDING;
	if (!capi_transport_start(d->transport, &request, problem, sizeof(problem)))
	{
		CapiAnswer	answer = {0};

		answer.transport = CAPI_TRANSPORT_CONNECT;
		strlcpy(answer.detail, problem, sizeof(answer.detail));
		capi_audiences_answer(d, &answer);
	}
	CAPI_TEST_POINT("after a request with people began");
}

/* When the next request may go after one that failed, and what is told of it. */
static void
sending_failed(CapiAudiences *a, const CapiResult *result)
{
	CapiAudience *audience = find_audience(a, a->id);
	int64		rest = result->rest_ms;
	const char *state = "active";
	char		reason[512];

	switch (result->class)
	{
		case CAPI_CLASS_CREDENTIAL:
			state = "credential";
			rest = Max(rest, PROBE_INTERVAL_MS);
			break;
		case CAPI_CLASS_VERSION:
			state = "version";
			rest = Max(rest, PROBE_INTERVAL_MS);
			break;
		case CAPI_CLASS_PERMANENT:
		case CAPI_CLASS_EARLY:
			state = "refused";
			rest = Max(rest, REFUSED_MS);
			break;
		case CAPI_CLASS_THROTTLED:
			rest = rest > 0 ? rest : THROTTLE_FLOOR_MS;
			break;
		default:
			break;
	}
	if (audience != NULL)
	{
		audience->send_failures++;
		rest = Max(rest, capi_backoff_delay_ms(Min(audience->send_failures, MAX_STEP),
											   pg_prng_double(&pg_global_prng_state), 0));
		audience->send_after = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), rest);
	}
	if (result->error_code == 0)
		strlcpy(reason, result->message, sizeof(reason));
	else if (result->error_subcode == 0)
		snprintf(reason, sizeof(reason), "error %d: %s", result->error_code, result->message);
	else
		snprintf(reason, sizeof(reason), "error %d/%d: %s", result->error_code,
				 result->error_subcode, result->message);
	set_state(a, state, reason);
}

void
capi_audiences_answer(CapiDispatcher *d, const CapiAnswer *answer)
{
	CapiAudiences *a = d->audiences;
	CapiAudience *audience = find_audience(a, a->id);
	CapiResult	result;

	capi_response_classify(answer, a->nsent, &result);
	if (result.class != CAPI_CLASS_ACCEPTED)
	{
		sending_failed(a, &result);
		return;
	}
	a->invalid = result.invalid_entries;
	a->next = NEXT_SENT;
	if (audience == NULL)
		return;
	audience->send_failures = 0;
	/* Meta nears a limit: slower */
	audience->send_after = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), result.rest_ms);
}

/* ---------- one turn ---------- */

static bool
may_read(const CapiAudience *audience, TimestampTz now)
{
	return audience->due_at <= now && audience->read_after <= now;
}

static bool
may_send(const CapiAudience *audience, const CapiDataset *dataset, TimestampTz now)
{
	return audience->to_add + audience->to_remove > 0 && audience->send_after <= now &&
		dataset->rest_until <= now;
}

static bool
is_at_rest(const CapiAudience *audience, const CapiDataset *dataset)
{
	return audience->paused || dataset == NULL || dataset->state == CAPI_DATASET_PAUSED;
}

/* Step for capi_txn_try(). */
static void
sweep(void *arg)
{
	CapiAudiences *a = arg;

	capi_audience_sweep(a->id, SWEEP_PEOPLE);
	load_list(a, false);
}

static void
begin_with(CapiDispatcher *d, CapiAudience *audience, TimestampTz now)
{
	CapiAudiences *a = d->audiences;
	CapiDataset *dataset = capi_config_dataset(d->config, audience->dataset_id);

	if (audience->is_dropped)
	{
		a->id = audience->id;
		a->hurry = true;
		if (!capi_txn_try("capi: forgetting an audience", sweep, a))
			a->again_at = TimestampTzPlusMilliseconds(now, AGAIN_MS);
	}
	else if (is_at_rest(audience, dataset))
		return;
	else if (may_read(audience, now))
		start_reading(d, audience);
	else if (may_send(audience, dataset, now) && dataset->token != NULL)
		start_sending(d, audience, dataset);
	else if (may_send(audience, dataset, now))
	{
		a->id = audience->id;
		audience->send_after = TimestampTzPlusMilliseconds(now, PROBE_INTERVAL_MS);
		set_state(a, "credential", dataset->token_problem);
	}
}

/* When something can be done for the audience; DT_NOEND: nobody knows. */
static TimestampTz
next_at(CapiDispatcher *d, const CapiAudience *audience)
{
	CapiDataset *dataset = capi_config_dataset(d->config, audience->dataset_id);
	TimestampTz next;

	if (audience->is_dropped)
		return audience->read_after;
	if (is_at_rest(audience, dataset))
		return DT_NOEND;
	next = Max(audience->due_at, audience->read_after);
	if (audience->to_add + audience->to_remove > 0)
		next = Min(next, Max(audience->send_after, dataset->rest_until));
	return next;
}

/* Events go first: nothing is begun while a crowd of them is still to be read. */
static void
begin(CapiDispatcher *d)
{
	CapiAudiences *a = d->audiences;
	TimestampTz now = GetCurrentTimestamp();

	if (d->more_in_queue || a->list == NULL)
		return;
	/* each in turn, from the one behind the last */
	for (int round = 0; round < 2; round++)
	{
		for (int i = 0; i < a->list->n; i++)
		{
			CapiAudience *audience = &a->list->v[i];

			if ((audience->id > a->id) != (round == 0) || next_at(d, audience) > now)
				continue;
			begin_with(d, audience, now);
			return;
		}
	}
}

void
capi_audiences_work(CapiDispatcher *d, bool may_begin)
{
	CapiAudiences *a = d->audiences;

	a->hurry = false;
	refresh_list(a);
	if (!write_it(a))
		return;
	if (a->phase == PHASE_READING)
		leave_reading(d);
	else if (a->phase == PHASE_IDLE && may_begin)
		begin(d);
}

TimestampTz
capi_audiences_deadline(CapiDispatcher *d)
{
	CapiAudiences *a = d->audiences;
	TimestampTz until = a->is_stale ? a->load_at : DT_NOEND;

	if (a->hurry)
		return DT_NOBEGIN;
	if (a->next != NEXT_NOTHING)
		return Min(until, a->again_at);
	if (a->phase != PHASE_IDLE || a->list == NULL || d->more_in_queue)
		return until;
	for (int i = 0; i < a->list->n; i++)
		until = Min(until, next_at(d, &a->list->v[i]));
	return until;
}

bool
capi_audiences_idle(CapiDispatcher *d)
{
	return d->audiences->phase == PHASE_IDLE &&
		capi_audiences_deadline(d) > GetCurrentTimestamp();
}
