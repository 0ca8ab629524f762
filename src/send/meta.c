/*
 * meta.c
 *		Asks Meta what it counted, how well it matches, and when a token ends
 *		(SPEC 9.1 to 9.3).
 *
 * One question at a time, never before anything that is to be sent, and none
 * to a dataset that rests, fails or is paused.  What is asked when, and what of
 * an answer is kept, is decided in sql/capi/meta.sql; this file carries it over
 * the network, without a transaction open (P11).
 *
 * The token is in the Authorization header, as with events.  /debug_token wants
 * it as a parameter, too: that goes in the body of a POST that says of itself
 * that it is a GET, for it must be in no URL (P8).
 *
 * Called by dispatch.c and share.c.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "answer/response.h"
#include "base/capi.h"
#include "base/guc.h"
#include "base/test_point.h"
#include "base/txn.h"
#include "send/dispatch_state.h"

/* Nobody waits for these answers, but capi.deliver() ends after them. */
#define CONNECT_MS			5000
#define ANSWER_MS			10000

/* When something else had to come first; when nothing is due. */
#define BUSY_MS				1000
#define PUT_OFF_MS			(60 * 1000)
#define IDLE_MS				(10 * 60 * 1000)

#define QUALITY_FIELDS \
	"web{event_name,event_match_quality{composite_score," \
	"match_key_feedback{identifier,coverage{percentage}}}," \
	"event_coverage{percentage,goal_percentage}," \
	"dedupe_key_feedback{dedupe_key,browser_events_with_dedupe_key{percentage}," \
	"server_events_with_dedupe_key{percentage}," \
	"overall_browser_coverage_from_dedupe_key{percentage}}," \
	"data_freshness{upload_frequency},acr{percentage}}"

typedef enum Question
{
	QUESTION_COUNTS,
	QUESTION_QUALITY,
	QUESTION_TOKEN
} Question;

static const char *const question_names[] = {"counts", "quality", "token"};

struct CapiMeta
{
	MemoryContext context;		/* of the request under way */
	TimestampTz look_at;		/* something may be due then */
	bool		under_way;
	int			dataset_id;
	Question	question;
	TimestampTz from_hour;		/* of counts */
	TimestampTz until_hour;
	TimestampTz secrets_at;		/* of which time its secrets are; 0: it has none */
	StringInfoData url;
	StringInfoData body;		/* may hold the token */
};

/* Of a look at what is due. */
typedef struct Look
{
	CapiDispatcher *d;
	bool		found;
} Look;

/* An answer on its way into the tables. */
typedef struct Told
{
	const CapiMeta *meta;
	const char *state;
	const char *reason;			/* or NULL */
	int64		rest_ms;
	const char *body;			/* or NULL */
	size_t		body_len;
} Told;

CapiMeta *
capi_meta_create(MemoryContext parent)
{
	CapiMeta   *meta = MemoryContextAllocZero(parent, sizeof(CapiMeta));

	meta->context = AllocSetContextCreate(parent, "capi question",
										  ALLOCSET_SMALL_SIZES);
	meta->look_at = DT_NOBEGIN;
	return meta;
}

/* Forgets the request, of which the transport knows nothing any more. */
static void
forget_request(CapiMeta *meta)
{
	if (meta->body.data != NULL)
		explicit_bzero(meta->body.data, meta->body.maxlen);
	MemoryContextReset(meta->context);
	memset(&meta->url, 0, sizeof(meta->url));
	memset(&meta->body, 0, sizeof(meta->body));
	meta->under_way = false;
}

void
capi_meta_destroy(CapiMeta *meta)
{
	forget_request(meta);
}

/* The configuration changed, a token perhaps. */
void
capi_meta_look(CapiMeta *meta)
{
	meta->look_at = DT_NOBEGIN;
}

TimestampTz
capi_meta_look_at(const CapiMeta *meta)
{
	return meta->under_way || capi_stats_interval == 0 ? DT_NOEND : meta->look_at;
}

int
capi_meta_in_flight(const CapiMeta *meta)
{
	return meta->under_way ? 1 : 0;
}

/* ---------- what is due ---------- */

static bool
may_ask(CapiDispatcher *d, int dataset_id, Question question, TimestampTz now)
{
	CapiDataset *dataset = capi_config_dataset(d->config, dataset_id);

	return dataset != NULL && dataset->rest_until <= now &&
		!capi_dataset_is_careful(dataset) &&
		(dataset->token != NULL ||
		 (question == QUESTION_COUNTS && dataset->stats_token != NULL));
}

static Question
read_question(const char *name)
{
	for (size_t i = 0; i < lengthof(question_names); i++)
		if (strcmp(name, question_names[i]) == 0)
			return (Question) i;
	elog(ERROR, "unknown question \"%s\"", name);
}

static TimestampTz
read_time(HeapTuple row, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, desc, column, &isnull);

	return isnull ? 0 : DatumGetTimestampTz(value);
}

/* Of the rows, which are sorted by time, the first that may be asked now. */
static void
choose(Look *look)
{
	CapiMeta   *meta = look->d->meta;
	TimestampTz now = GetCurrentTimestamp();
	TupleDesc	desc = SPI_tuptable->tupdesc;

	meta->look_at = TimestampTzPlusMilliseconds(now, IDLE_MS);
	for (uint64 i = 0; i < SPI_processed && !look->found; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TimestampTz next_at = read_time(row, desc, 3);

		meta->dataset_id = atoi(SPI_getvalue(row, desc, 1));
		meta->question = read_question(SPI_getvalue(row, desc, 2));
		meta->from_hour = read_time(row, desc, 4);
		meta->until_hour = read_time(row, desc, 5);
		meta->secrets_at = read_time(row, desc, 6);
		if (next_at > now)
		{
			meta->look_at = Min(meta->look_at, next_at);
			break;
		}
		look->found = may_ask(look->d, meta->dataset_id, meta->question, now);
		if (!look->found)
			meta->look_at = TimestampTzPlusMilliseconds(now, PUT_OFF_MS);
	}
}

/*
 * Each once; a crash may have one said twice, not never: what is noted by the
 * commit was said.
 */
static void
warn_of_tokens(void)
{
	if (capi_txn_execute("SELECT name, days FROM capi._token_warnings()", false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look at the ends of tokens");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		char	   *days = SPI_getvalue(row, desc, 2);

		ereport(LOG,
				(errmsg("the access token of dataset \"%s\" expires in less than %s day%s",
						SPI_getvalue(row, desc, 1), days,
						strcmp(days, "1") == 0 ? "" : "s"),
				 errhint("Set a new one with capi.set_access_token().")));
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Step for capi_txn_try(). */
static void
find_due(void *arg)
{
	Look	   *look = arg;

	look->found = false;
	warn_of_tokens();
	if (capi_txn_execute(psprintf("SELECT * FROM capi._meta_due(interval '%d seconds')",
								  capi_stats_interval), true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look what to ask");
	choose(look);
	SPI_freetuptable(SPI_tuptable);
}

/* ---------- the request ---------- */

/* A value of a URL or a form. */
static void
append_encoded(StringInfo buf, const char *value)
{
	for (const char *p = value; *p != '\0'; p++)
	{
		if (isalnum((unsigned char) *p) || *p == '-' || *p == '_' || *p == '.' || *p == ',')
			appendStringInfoChar(buf, *p);
		else
			appendStringInfo(buf, "%%%02X", (unsigned char) *p);
	}
}

static void
append_counts_url(CapiMeta *meta, const CapiDataset *dataset)
{
	TimestampTz until = Min(meta->until_hour, GetCurrentTimestamp());

	appendStringInfo(&meta->url, "%s/%s/stats?aggregation=event&event_source=SERVER_ONLY"
					 "&start_time=" INT64_FORMAT "&end_time=" INT64_FORMAT,
					 dataset->graph, dataset->meta_id,
					 (int64) timestamptz_to_time_t(meta->from_hour),
					 (int64) timestamptz_to_time_t(until));
}

static void
append_quality_url(CapiMeta *meta, const CapiDataset *dataset)
{
	appendStringInfo(&meta->url, "%s/dataset_quality?dataset_id=%s&fields=",
					 dataset->graph, dataset->meta_id);
	append_encoded(&meta->url, QUALITY_FIELDS);
}

/* A proof is no secret: it is of use only with the token (SPEC 1.2). */
static void
build_request(CapiMeta *meta, const CapiDataset *dataset, const char *proof)
{
	initStringInfo(&meta->url);
	switch (meta->question)
	{
		case QUESTION_COUNTS:
			append_counts_url(meta, dataset);
			break;
		case QUESTION_QUALITY:
			append_quality_url(meta, dataset);
			break;
		case QUESTION_TOKEN:
			appendStringInfo(&meta->url, "%s/debug_token", dataset->graph);
			initStringInfo(&meta->body);
			/* or it would grow, and leave a copy behind */
			enlargeStringInfo(&meta->body, 3 * strlen(dataset->token) + 256);
			appendStringInfoString(&meta->body, "method=get&input_token=");
			append_encoded(&meta->body, dataset->token);
			if (proof != NULL)
				appendStringInfo(&meta->body, "&appsecret_proof=%s", proof);
			return;
	}
	if (proof != NULL)
		appendStringInfo(&meta->url, "&appsecret_proof=%s", proof);
}

static void handle(CapiDispatcher *d, const CapiAnswer *answer);

static void
ask(CapiDispatcher *d)
{
	CapiMeta   *meta = d->meta;
	CapiDataset *dataset = capi_config_dataset(d->config, meta->dataset_id);
	MemoryContext old = MemoryContextSwitchTo(meta->context);
	bool		own = meta->question == QUESTION_COUNTS && dataset->stats_token != NULL;
	CapiHttpRequest request = {
		.token = own ? dataset->stats_token : dataset->token,
		.connect_timeout_ms = Min(capi_connect_timeout, CONNECT_MS),
		.request_timeout_ms = Min(capi_request_timeout, ANSWER_MS),
		.ca_file = capi_ca_file != NULL && capi_ca_file[0] != '\0' ? capi_ca_file : NULL,
		.allow_http = capi_allow_http,
		.is_form = true,
		.tag = meta
	};
	CapiAnswer	failure = {.tag = meta, .transport = CAPI_TRANSPORT_CONNECT};

	build_request(meta, dataset, own ? dataset->stats_proof : dataset->proof);
	request.url = meta->url.data;
	request.body = meta->body.data;
	request.body_len = meta->body.len;
	MemoryContextSwitchTo(old);
	meta->under_way = true;
	if (!capi_transport_start(d->transport, &request, failure.detail, sizeof(failure.detail)))
		handle(d, &failure);
	CAPI_TEST_POINT("after a question began");
}

/* Looks what is due, and asks it; what is to be sent comes first. */
void
capi_meta_work(CapiDispatcher *d)
{
	CapiMeta   *meta = d->meta;
	TimestampTz now = GetCurrentTimestamp();
	Look		look = {.d = d};

	if (now < capi_meta_look_at(meta))
		return;
	if (capi_transport_in_flight(d->transport) >= capi_max_in_flight)
	{
		meta->look_at = TimestampTzPlusMilliseconds(now, BUSY_MS);
		return;
	}
	if (!capi_txn_try("capi: looking what to ask", find_due, &look))
	{
		meta->look_at = TimestampTzPlusMilliseconds(now, PUT_OFF_MS);
		return;
	}
	if (look.found)
		ask(d);
}

/* ---------- the answer ---------- */

/*
 * Why there is none, in our own words.  100 without a subcode is said for a
 * missing permission, too (SPEC 8.4).
 */
static const char *
explain(const CapiResult *result)
{
	const char *title = capi_response_title(result->error_code, result->error_subcode);

	if (result->error_code == 0)
		return pstrdup(result->message);
	if (result->error_code == 100 && result->error_subcode == 0)
		title = "the token may not read this";
	return psprintf("error %d%s%s%s", result->error_code,
					result->error_subcode != 0 ? psprintf("/%d", result->error_subcode) : "",
					title != NULL ? ": " : "", title != NULL ? title : "");
}

static void
judge(const CapiAnswer *answer, Told *told)
{
	CapiResult	result;

	capi_response_classify(answer, 0, &result);
	told->rest_ms = result.rest_ms;
	if (answer->transport == CAPI_TRANSPORT_TOO_LARGE)
		told->state = "too much";
	else if (answer->transport == CAPI_TRANSPORT_OK && result.http_status / 100 == 2 &&
			 result.error_code == 0)
	{
		told->state = "ok";
		told->body = answer->body;
		told->body_len = answer->body_len;
		return;
	}
	else if (result.class == CAPI_CLASS_THROTTLED)
		told->state = "throttled";
	else if (result.class == CAPI_CLASS_TRANSIENT || result.error_code == 0)
		told->state = "no answer";
	else
		told->state = "not permitted";
	told->reason = explain(&result);
}

/* Step for capi_txn_try(). */
static void
write_told(void *arg)
{
	const Told *told = arg;
	const CapiMeta *meta = told->meta;
	bool		hours = meta->question == QUESTION_COUNTS;
	bytea	   *body = palloc(VARHDRSZ + told->body_len);
	Oid			types[10] = {INT4OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
	TEXTOID, TEXTOID, INT8OID, INT4OID, BYTEAOID, TIMESTAMPTZOID};
	Datum		args[10] = {
		Int32GetDatum(meta->dataset_id),
		CStringGetTextDatum(question_names[meta->question]),
		TimestampTzGetDatum(meta->from_hour),
		TimestampTzGetDatum(meta->until_hour),
		CStringGetTextDatum(told->state),
		CStringGetTextDatum(told->reason != NULL ? told->reason : ""),
		Int64GetDatum(told->rest_ms / 1000),
		Int32GetDatum(capi_stats_interval),
		PointerGetDatum(body),
		TimestampTzGetDatum(meta->secrets_at)
	};
	char		nulls[] = {' ', ' ', hours ? ' ' : 'n', hours ? ' ' : 'n', ' ',
		told->reason != NULL ? ' ' : 'n', ' ', ' ',
	told->body != NULL ? ' ' : 'n', meta->secrets_at != 0 ? ' ' : 'n', '\0'};

	SET_VARSIZE(body, VARHDRSZ + told->body_len);
	if (told->body != NULL)
		memcpy(VARDATA(body), told->body, told->body_len);
	if (capi_txn_execute_with_args("SELECT capi._meta_told($1, $2, $3, $4, $5, $6,"
								   " make_interval(secs => $7), make_interval(secs => $8), $9, $10)",
								   10, types, args, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not note what Meta told");
}

/* What could not be written is asked again. */
static void
handle(CapiDispatcher *d, const CapiAnswer *answer)
{
	CapiMeta   *meta = d->meta;
	Told		told = {.meta = meta};
	TimestampTz later = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PUT_OFF_MS);

	/* an endpoint that does not answer one question will hardly the next */
	judge(answer, &told);
	meta->look_at = capi_txn_try("capi: noting what Meta told", write_told, &told) &&
		(answer->transport == CAPI_TRANSPORT_OK ||
		 answer->transport == CAPI_TRANSPORT_TOO_LARGE) ? DT_NOBEGIN : later;
	forget_request(meta);
}

/* False when it is the answer to a batch. */
bool
capi_meta_answer(CapiDispatcher *d, const CapiAnswer *answer)
{
	if (answer->tag != d->meta)
		return false;
	handle(d, answer);
	return true;
}
