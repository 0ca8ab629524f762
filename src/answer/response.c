/*
 * response.c
 *		What an answer means: the one place that turns the transport's result,
 *		the HTTP status and the body into what to do next.
 *
 * Order of judgement (SPEC 8.3, 8.4): transport; then error.code with its
 * subcode, whatever the status; then the HTTP status.  Texts never decide:
 * they are translated and change.
 *
 * Decisions that the API leaves open, and why
 *	-	200 whose body is not the documented one (a page of some proxy, a body
 *		cut short): the outcome is unknown, so transient; the events have their
 *		ids, and Meta may have them twice rather than not at all.
 *	-	events_received lower than sent, but not 0: accepted, with a note in
 *		message.  There is no result per event, a bad one would have refused
 *		all (SPEC 1.3), and sending again would repeat those that arrived.
 *	-	events_received 0: nothing arrived, so nothing repeats; transient.
 *	-	A code that is not in the table: transient and uncertain.  Refusals of
 *		single events all come as 100, so a new code is more likely about the
 *		account, and orders must not be rejected on a guess.
 *	-	An HTTP status 4xx without JSON: transient and uncertain.  It is not the
 *		API that answered.
 *
 * CapiResult.uncertain asks the caller for care:
 *	-	transient: an event may be the cause after all.  If it repeats, split
 *		the request, so that the innocent do not wait with the guilty.
 *	-	permanent: the dataset may be at fault and not an event (100 without a
 *		subcode is also said for a missing permission).  If events are refused
 *		alike, stop the dataset, reject none: suspect.c.
 *
 * Pure: no network, no database, no clock.  Called by dispatch.c.
 */
#include "postgres.h"

#include "answer/response.h"
#include "base/capi.h"

#define TRACE_ID_BYTES		23
#define MS_PER_S			INT64CONST(1000)
#define MS_PER_MINUTE		(60 * MS_PER_S)

/* No header may silence a dataset for longer: SPEC 8.6 knows a day at most. */
#define MAX_REST_MS			(24 * 60 * MS_PER_MINUTE)

/* When throttled without being told for how long: the shorter block of 8.5. */
#define THROTTLED_REST_MS	MS_PER_MINUTE

/*
 * From so many percent of a limit on requests become slower: a second between
 * them at first, a minute when nothing is left, most of it near the end.
 */
#define SLOW_FROM_PERCENT	75
#define SLOWEST_MS			MS_PER_MINUTE

/* 368 is about abuse and wants "a long wait" (SPEC 8.4). */
#define BLOCKED_REST_MS		(60 * MS_PER_MINUTE)

#define ANY_SUBCODE			(-1)

/* Those of event validation are all of this range (SPEC 8.4). */
#define EVENT_SUBCODE		(-2)
#define MIN_EVENT_SUBCODE	2804000
#define MAX_EVENT_SUBCODE	2804999

/* The table of SPEC 8.4; the first row that fits counts. */
typedef struct CodeRow
{
	int			low;			/* first and last error.code */
	int			high;
	int			subcode;		/* or ANY_SUBCODE; 0: none given */
	CapiClass	class;
	bool		uncertain;
	int64		rest_ms;		/* when no header names a time */
} CodeRow;

static const CodeRow code_table[] = {
	/* T: internal error of the API */
	{PG_INT32_MIN, -1, ANY_SUBCODE, CAPI_CLASS_TRANSIENT, false, 0},
	/* T, then P: unknown, maybe a bad parameter */
	{1, 1, 99, CAPI_CLASS_TRANSIENT, true, 0},
	/* T: unknown error; service down */
	{1, 2, ANY_SUBCODE, CAPI_CLASS_TRANSIENT, false, 0},
	/* C: capability or permission missing */
	{3, 3, ANY_SUBCODE, CAPI_CLASS_CREDENTIAL, false, 0},
	/* T, back off: rate limit of the application */
	{4, 4, ANY_SUBCODE, CAPI_CLASS_THROTTLED, false, THROTTLED_REST_MS},
	/* C: permission not granted or removed */
	{10, 10, ANY_SUBCODE, CAPI_CLASS_CREDENTIAL, false, 0},
	/* T, back off: rate limit of user or ad account; of the page */
	{17, 17, ANY_SUBCODE, CAPI_CLASS_THROTTLED, false, THROTTLED_REST_MS},
	{32, 32, ANY_SUBCODE, CAPI_CLASS_THROTTLED, false, THROTTLED_REST_MS},
	/* C: wrong dataset id, or a token without access to it */
	{100, 100, 33, CAPI_CLASS_CREDENTIAL, false, 0},
	/* P or C: invalid parameter, but also "Missing Permission" */
	{100, 100, 0, CAPI_CLASS_PERMANENT, true, 0},
	/* P until the clock catches up: in the future */
	{100, 100, 2804004, CAPI_CLASS_EARLY, false, 0},
	/* P: what is known to be said about an event */
	{100, 100, 1815356, CAPI_CLASS_PERMANENT, false, 0},
	{100, 100, EVENT_SUBCODE, CAPI_CLASS_PERMANENT, false, 0},
	/* P: another, so it may be about anything */
	{100, 100, ANY_SUBCODE, CAPI_CLASS_PERMANENT, true, 0},
	/* C: session key invalid; no token given or signature wrong */
	{102, 102, ANY_SUBCODE, CAPI_CLASS_CREDENTIAL, false, 0},
	{104, 104, ANY_SUBCODE, CAPI_CLASS_CREDENTIAL, false, 0},
	/* P: too many parameters */
	{105, 105, ANY_SUBCODE, CAPI_CLASS_PERMANENT, true, 0},
	/* C: token invalid, expired, revoked */
	{190, 190, ANY_SUBCODE, CAPI_CLASS_CREDENTIAL, false, 0},
	/* C: permission missing, 294 among them */
	{200, 299, ANY_SUBCODE, CAPI_CLASS_CREDENTIAL, false, 0},
	/* T: limit of the application, or down */
	{341, 341, ANY_SUBCODE, CAPI_CLASS_TRANSIENT, false, 0},
	/* T, long wait: blocked for policy or abuse */
	{368, 368, ANY_SUBCODE, CAPI_CLASS_THROTTLED, false, BLOCKED_REST_MS},
	/* P: duplicate post */
	{506, 506, ANY_SUBCODE, CAPI_CLASS_PERMANENT, true, 0},
	/* T, back off: too many calls from the ad account */
	{613, 613, ANY_SUBCODE, CAPI_CLASS_THROTTLED, false, THROTTLED_REST_MS},
	/* C: id unknown; path unknown */
	{803, 803, ANY_SUBCODE, CAPI_CLASS_CREDENTIAL, false, 0},
	{2500, 2500, ANY_SUBCODE, CAPI_CLASS_CREDENTIAL, false, 0},
	/* V: API version retired */
	{2635, 2635, ANY_SUBCODE, CAPI_CLASS_VERSION, false, 0},
	/* P or C: custom audiences; not about an event, so C */
	{2650, 2650, ANY_SUBCODE, CAPI_CLASS_CREDENTIAL, false, 0},
	{2655, 2655, ANY_SUBCODE, CAPI_CLASS_CREDENTIAL, false, 0},
	{1713230, 1713230, ANY_SUBCODE, CAPI_CLASS_CREDENTIAL, false, 0},
	/* T: unknown; dataset not ready yet */
	{5000, 5000, ANY_SUBCODE, CAPI_CLASS_TRANSIENT, false, 0},
	{21009, 21009, ANY_SUBCODE, CAPI_CLASS_TRANSIENT, false, 0},
	/* T, wait for the header's time: throttles by business use case */
	{80000, 80014, ANY_SUBCODE, CAPI_CLASS_THROTTLED, false, THROTTLED_REST_MS},
};

static void classify_failure(const CapiAnswer *answer, CapiResult *result);
static int64 classify_error(const CapiAnswerJson *json, CapiResult *result);
static void classify_success(const CapiAnswerJson *json, int sent,
							 CapiResult *result);
static int64 classify_status(const CapiAnswer *answer, CapiResult *result);
static void describe_error(const CapiAnswerJson *json, CapiResult *result);
static int	find_guilty_index(const CapiAnswerJson *json, int sent);
static int	find_path_index(const char *text);
static void read_headers(const CapiAnswer *answer, int64 default_rest_ms,
						 CapiResult *result);
static int64 pace_ms(int usage_percent);
static int64 read_retry_after(const char *text);
static void copy_version(const char *version, CapiResult *result);
static void copy_trace_id(const char *id, CapiResult *result);

/* See response.h. */
void
capi_response_classify(const CapiAnswer *answer, int sent, CapiResult *result)
{
	CapiAnswerJson json;
	int64		default_rest_ms = 0;

	memset(result, 0, sizeof(*result));
	result->class = CAPI_CLASS_TRANSIENT;
	result->http_status = answer->http_status;
	result->events_received = -1;
	result->guilty_index = -1;
	result->usage_percent = -1;

	if (answer->transport != CAPI_TRANSPORT_OK)
	{
		classify_failure(answer, result);
		read_headers(answer, 0, result);
		return;
	}

	capi_response_read_json(answer->body, answer->body_len, &json);
	/* the clock of a proxy is nobody's concern */
	if (json.valid && (json.has_error || json.events_received >= 0))
		result->date_s = answer->date_s;
	if (json.valid && json.has_error)
	{
		default_rest_ms = classify_error(&json, result);
		if (result->class == CAPI_CLASS_PERMANENT)
			result->guilty_index = find_guilty_index(&json, sent);
		describe_error(&json, result);
	}
	else if (json.valid && answer->http_status / 100 == 2)
		classify_success(&json, sent, result);
	else
		default_rest_ms = classify_status(answer, result);

	copy_trace_id(json.fbtrace_id, result);
	read_headers(answer, default_rest_ms, result);
}

const char *
capi_response_class_name(CapiClass class)
{
	switch (class)
	{
		case CAPI_CLASS_ACCEPTED:
			return "accepted";
		case CAPI_CLASS_TRANSIENT:
			return "transient";
		case CAPI_CLASS_THROTTLED:
			return "throttled";
		case CAPI_CLASS_CREDENTIAL:
			return "credential";
		case CAPI_CLASS_VERSION:
			return "version";
		case CAPI_CLASS_EARLY:
			return "early";
		case CAPI_CLASS_PERMANENT:
			return "permanent";
	}
	return "unknown";			/* not reached, for the compiler */
}

/*
 * No answer, or not all of it: always worth another try.  An answer too large
 * came from somebody else than the API, or is about an event.
 */
static void
classify_failure(const CapiAnswer *answer, CapiResult *result)
{
	static const char *const words[] = {
		[CAPI_TRANSPORT_OK] = "answer",
		[CAPI_TRANSPORT_RESOLVE] = "host name not found",
		[CAPI_TRANSPORT_CONNECT] = "not connected",
		[CAPI_TRANSPORT_TLS] = "no secure connection",
		[CAPI_TRANSPORT_TIMEOUT] = "no answer in time",
		[CAPI_TRANSPORT_CUT] = "connection lost",
		[CAPI_TRANSPORT_TOO_LARGE] = "answer too large",
		[CAPI_TRANSPORT_OTHER] = "request failed",
	};

	result->uncertain = answer->transport == CAPI_TRANSPORT_TOO_LARGE;
	snprintf(result->message, sizeof(result->message), "%s: %s",
			 words[answer->transport], answer->detail);
}

static bool
fits_subcode(int wanted, int subcode)
{
	if (wanted == EVENT_SUBCODE)
		return subcode >= MIN_EVENT_SUBCODE && subcode <= MAX_EVENT_SUBCODE;
	return wanted == ANY_SUBCODE || wanted == subcode;
}

/* By error.code; returns how long the table says to rest. */
static int64
classify_error(const CapiAnswerJson *json, CapiResult *result)
{
	const CodeRow *row = NULL;

	result->error_code = json->has_code ? json->code : 0;
	result->error_subcode = json->subcode;
	result->is_transient = json->is_transient;

	for (size_t i = 0; i < lengthof(code_table) && row == NULL; i++)
	{
		if (json->has_code &&
			json->code >= code_table[i].low &&
			json->code <= code_table[i].high &&
			fits_subcode(code_table[i].subcode, json->subcode))
			row = &code_table[i];
	}

	if (row != NULL)
	{
		result->class = row->class;
		result->uncertain = row->uncertain;
	}
	else
	{
		result->class = result->http_status == 429 ?
			CAPI_CLASS_THROTTLED : CAPI_CLASS_TRANSIENT;
		result->uncertain = result->http_status < 500 &&
			result->http_status != 429;
	}

	/* A throttle is transient too, but knows better how long to wait. */
	if (json->is_transient && result->class != CAPI_CLASS_THROTTLED)
	{
		result->class = CAPI_CLASS_TRANSIENT;
		result->uncertain = false;
	}
	if (result->class != CAPI_CLASS_THROTTLED)
		return 0;
	return row != NULL ? row->rest_ms : THROTTLED_REST_MS;
}

/* A JSON body without error under a status 2xx (SPEC 8.1). */
static void
classify_success(const CapiAnswerJson *json, int sent, CapiResult *result)
{
	result->events_received = json->events_received;
	result->invalid_entries = json->invalid_entries;
	if (json->events_received > 0 || (sent == 0 && json->events_received == 0))
		result->class = CAPI_CLASS_ACCEPTED;

	if (json->events_received < 0)
		snprintf(result->message, sizeof(result->message),
				 "answer does not tell the number of events received");
	else if (json->events_received != sent)
		snprintf(result->message, sizeof(result->message),
				 "answer counts %d of %d events",
				 json->events_received, sent);
}

/*
 * By the HTTP status alone, when the body says nothing.  413 is the one such
 * answer that the same body would get again and parts of it would not.
 */
static int64
classify_status(const CapiAnswer *answer, CapiResult *result)
{
	int			status = answer->http_status;

	snprintf(result->message, sizeof(result->message),
			 "HTTP status %d without an answer of the API (%zu bytes)",
			 status, answer->body_len);

	if (status == 429)
	{
		result->class = CAPI_CLASS_THROTTLED;
		return THROTTLED_REST_MS;
	}
	/* a proxy that says so of a single event may say so of all */
	if (status == 413)
		result->class = CAPI_CLASS_PERMANENT;
	result->uncertain = status / 100 == 4 && status != 408;
	return 0;
}

/* Is there anything in a masked text but masks? */
static bool
says_something(const char *text)
{
	return strcspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") <
		strlen(text);
}

static void
add_text(CapiResult *result, const char *text)
{
	if (text[0] == '\0' || strlen(result->message) + 8 > sizeof(result->message))
		return;
	if (result->message[0] != '\0')
		strlcat(result->message, ": ", sizeof(result->message));
	strlcat(result->message, text, sizeof(result->message));
}

/*
 * Meta's words as far as they are known; the second, translated text explains
 * the first.  Where nothing of them is left, what the code means.
 */
static void
describe_error(const CapiAnswerJson *json, CapiResult *result)
{
	const char *title = capi_response_title(json->code, json->subcode);
	char		user_msg[sizeof(result->message)];

	capi_response_mask(json->message, result->message,
					   sizeof(result->message));
	capi_response_mask(json->user_msg, user_msg, sizeof(user_msg));
	if (says_something(user_msg) || title == NULL)
		add_text(result, user_msg);
	else if (!says_something(result->message))
		strlcpy(result->message, title, sizeof(result->message));
	else if (user_msg[0] != '\0')
		add_text(result, title);
}

/*
 * The event an answer names: by event_index (1815356), or in a path such as
 * $['data'][7]['custom_data'] (2804019).  That is the format of the request,
 * not wording, and is not translated.  An index that was not sent is ignored.
 */
static int
find_guilty_index(const CapiAnswerJson *json, int sent)
{
	int			index = json->event_index;

	if (index < 0 && json->subcode == 2804019)
	{
		index = find_path_index(json->user_msg);
		if (index < 0)
			index = find_path_index(json->message);
	}
	return index < sent ? index : -1;
}

static int
find_path_index(const char *text)
{
	static const char *const starts[] = {"['data'][", "[\"data\"][", "data["};

	for (size_t i = 0; i < lengthof(starts); i++)
	{
		const char *p = strstr(text, starts[i]);
		char	   *end;
		long		index;

		if (p == NULL)
			continue;
		p += strlen(starts[i]);
		if (*p < '0' || *p > '9')
			continue;
		index = strtol(p, &end, 10);
		if (*end == ']' && index < CAPI_MAX_BATCH_EVENTS)
			return (int) index;
	}
	return -1;
}

/* Usage, rest and warning (SPEC 8.5); needs result->class. */
static void
read_headers(const CapiAnswer *answer, int64 default_rest_ms,
			 CapiResult *result)
{
	const char *const usages[] = {
		answer->app_usage, answer->account_usage, answer->business_usage,
	};
	bool		throttled = result->class == CAPI_CLASS_THROTTLED;
	int64		rest_ms = read_retry_after(answer->retry_after);

	for (size_t i = 0; i < lengthof(usages); i++)
	{
		CapiAnswerJson json;

		capi_response_read_json(usages[i], strlen(usages[i]), &json);
		if (json.usage_percent >= 0)
			result->usage_percent = Max(result->usage_percent,
										(int) Min(json.usage_percent, 10000));
		rest_ms = Max(rest_ms,
					  Min(json.regain_minutes, MAX_REST_MS) * MS_PER_MINUTE);

		/* said in every answer, so it counts only when there is nothing left */
		if (throttled || json.usage_percent >= 100)
			rest_ms = Max(rest_ms,
						  Min(json.reset_seconds, MAX_REST_MS) * MS_PER_S);
	}

	if (rest_ms <= 0)
		rest_ms = Max(default_rest_ms, pace_ms(result->usage_percent));
	result->rest_ms = Min(rest_ms, MAX_REST_MS);
	copy_version(answer->api_version, result);
	capi_response_mask(answer->api_warning, result->warning,
					   sizeof(result->warning));
}

static int64
pace_ms(int usage_percent)
{
	int			above = Min(usage_percent, 100) - SLOW_FROM_PERCENT;
	int			range = 100 - SLOW_FROM_PERCENT;

	if (above < 0)
		return 0;
	return MS_PER_S + (SLOWEST_MS - MS_PER_S) * above * above / (range * range);
}

/* Seconds as digits, nothing else: the transport has converted dates. */
static int64
read_retry_after(const char *text)
{
	size_t		digits = strspn(text, "0123456789");

	if (digits == 0 || text[digits] != '\0')
		return 0;
	if (digits > 9)
		return MAX_REST_MS;
	return strtol(text, NULL, 10) * MS_PER_S;
}

/* "v" and a number, nothing else. */
static void
copy_version(const char *version, CapiResult *result)
{
	size_t		digits = version[0] == 'v' ? strspn(version + 1, "0123456789.") : 0;

	if (digits > 0 && digits < 8 && version[digits + 1] == '\0')
		strlcpy(result->api_version, version, sizeof(result->api_version));
}

/*
 * A word for Meta's support: "A" and 22 characters of base64url.  Anything else
 * is not one, and may be what was sent.
 */
static void
copy_trace_id(const char *id, CapiResult *result)
{
	if (id[0] == 'A' && strlen(id) == TRACE_ID_BYTES &&
		strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") ==
		TRACE_ID_BYTES)
		strlcpy(result->fbtrace_id, id, sizeof(result->fbtrace_id));
}
