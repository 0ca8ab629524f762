/*
 * test_response.c
 *		Answers of all kinds against what response.c makes of them, and texts
 *		against what response_mask.c leaves of them.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "answer/response.h"
#include "tap.h"

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define MINUTE 60000

extern int	test_encoding;

/* Zero members are what most answers have; sent is 3 and status 400 then. */
typedef struct AnswerCase
{
	const char *name;
	int			status;
	const char *body;
	CapiClass	class;
	int			code;
	int			subcode;
	bool		uncertain;
	int			guilty;			/* index + 1, 0: none */
	int64		rest_ms;
	const char *message;		/* NULL: not looked at */
} AnswerCase;

#define ERR(members) "{\"error\":{\"message\":\"m\"," members "}}"

static const AnswerCase answers[] = {
	/* success, SPEC 8.1 */
	{"accepted", 200, "{\"events_received\":3,\"messages\":[],\"fbtrace_id\":\"AbC-_1\"}",
	CAPI_CLASS_ACCEPTED, .message = ""},
	{"byte order mark", 200, "\xEF\xBB\xBF{\"events_received\":3}", CAPI_CLASS_ACCEPTED, .message = ""},
	{"accepted, error null", 200, "{\"error\":null,\"events_received\":3}", CAPI_CLASS_ACCEPTED, .message = ""},
	{"fewer received", 200, "{\"events_received\":2}", CAPI_CLASS_ACCEPTED,
	.message = "answer counts 2 of 3 events"},
	{"none received", 200, "{\"events_received\":0}", CAPI_CLASS_TRANSIENT,
	.message = "answer counts 0 of 3 events"},
	{"number not said", 200, "{\"messages\":[]}", CAPI_CLASS_TRANSIENT,
	.message = "answer does not tell the number of events received"},
	{"number below another member", 200, "{\"x\":{\"events_received\":3}}", CAPI_CLASS_TRANSIENT},
	{"number as text", 200, "{\"events_received\":\"3\"}", CAPI_CLASS_ACCEPTED},
	{"number negative", 200, "{\"events_received\":-3}", CAPI_CLASS_TRANSIENT},
	{"page instead of JSON", 200, "<html>ok</html>", CAPI_CLASS_TRANSIENT,
	.message = "HTTP status 200 without an answer of the API (15 bytes)"},
	{"JSON cut short", 200, "{\"events_received\":3", CAPI_CLASS_TRANSIENT},
	{"JSON of another kind", 200, "[{\"events_received\":3}]", CAPI_CLASS_TRANSIENT},
	{"nothing", 200, NULL, CAPI_CLASS_TRANSIENT},
	{"nothing at all", 204, NULL, CAPI_CLASS_TRANSIENT},
	{"error under 200", 200, ERR("\"code\":190"), CAPI_CLASS_CREDENTIAL, 190},

	/* codes, SPEC 8.4 */
	{"1", 500, ERR("\"code\":1"), CAPI_CLASS_TRANSIENT, 1},
	{"1/99", 500, ERR("\"code\":1,\"error_subcode\":99"), CAPI_CLASS_TRANSIENT, 1, 99, true},
	{"2 under 400", 400, ERR("\"code\":2"), CAPI_CLASS_TRANSIENT, 2},
	{"3", 400, ERR("\"code\":3"), CAPI_CLASS_CREDENTIAL, 3},
	{"4", 400, ERR("\"code\":4,\"error_subcode\":1504022"), CAPI_CLASS_THROTTLED, 4, 1504022, .rest_ms = MINUTE},
	{"4, also transient", 400, ERR("\"code\":4,\"is_transient\":true"), CAPI_CLASS_THROTTLED, 4, .rest_ms = MINUTE},
	{"10", 403, ERR("\"code\":10"), CAPI_CLASS_CREDENTIAL, 10},
	{"17", 400, ERR("\"code\":17,\"error_subcode\":2446079"), CAPI_CLASS_THROTTLED, 17, 2446079, .rest_ms = MINUTE},
	{"32", 400, ERR("\"code\":32"), CAPI_CLASS_THROTTLED, 32, .rest_ms = MINUTE},
	{"100/33", 400, ERR("\"code\":100,\"error_subcode\":33"), CAPI_CLASS_CREDENTIAL, 100, 33},
	{"100", 400, ERR("\"code\":100"), CAPI_CLASS_PERMANENT, 100, .uncertain = true},
	{"100/2804003", 400, ERR("\"code\":100,\"error_subcode\":2804003"), CAPI_CLASS_PERMANENT, 100, 2804003},
	{"100/2804003 as text", 400, ERR("\"code\":\"100\",\"error_subcode\":\"2804003\""), CAPI_CLASS_PERMANENT, 100, 2804003},
	{"100 that is transient", 400, ERR("\"code\":100,\"error_subcode\":2804003,\"is_transient\":true"), CAPI_CLASS_TRANSIENT, 100, 2804003},
	{"is_transient as text is none", 400, ERR("\"code\":100,\"error_subcode\":2804003,\"is_transient\":\"true\""), CAPI_CLASS_PERMANENT, 100, 2804003},
	{"100 under 500", 500, ERR("\"code\":100,\"error_subcode\":2804050"), CAPI_CLASS_PERMANENT, 100, 2804050},
	{"102", 400, ERR("\"code\":102"), CAPI_CLASS_CREDENTIAL, 102},
	{"104", 400, ERR("\"code\":104"), CAPI_CLASS_CREDENTIAL, 104},
	{"105", 400, ERR("\"code\":105"), CAPI_CLASS_PERMANENT, 105, .uncertain = true},
	{"190/463", 401, ERR("\"code\":190,\"error_subcode\":463"), CAPI_CLASS_CREDENTIAL, 190, 463},
	{"200", 403, ERR("\"code\":200"), CAPI_CLASS_CREDENTIAL, 200},
	{"294", 403, ERR("\"code\":294"), CAPI_CLASS_CREDENTIAL, 294},
	{"341", 400, ERR("\"code\":341"), CAPI_CLASS_TRANSIENT, 341},
	{"368", 400, ERR("\"code\":368"), CAPI_CLASS_THROTTLED, 368, .rest_ms = 60 * MINUTE},
	{"506", 400, ERR("\"code\":506"), CAPI_CLASS_PERMANENT, 506, .uncertain = true},
	{"613", 400, ERR("\"code\":613,\"error_subcode\":1487742"), CAPI_CLASS_THROTTLED, 613, 1487742, .rest_ms = MINUTE},
	{"803", 400, ERR("\"code\":803"), CAPI_CLASS_CREDENTIAL, 803},
	{"2500", 400, ERR("\"code\":2500"), CAPI_CLASS_CREDENTIAL, 2500},
	{"2635", 400, ERR("\"code\":2635"), CAPI_CLASS_VERSION, 2635},
	{"5000", 400, ERR("\"code\":5000"), CAPI_CLASS_TRANSIENT, 5000},
	{"21009", 400, ERR("\"code\":21009"), CAPI_CLASS_TRANSIENT, 21009},
	{"80004", 400, ERR("\"code\":80004"), CAPI_CLASS_THROTTLED, 80004, .rest_ms = MINUTE},
	{"80015", 400, ERR("\"code\":80015"), CAPI_CLASS_TRANSIENT, 80015, .uncertain = true},
	{"negative", 400, ERR("\"code\":-3"), CAPI_CLASS_TRANSIENT, -3},
	{"unknown", 400, ERR("\"code\":777777"), CAPI_CLASS_TRANSIENT, 777777, .uncertain = true},
	{"unknown under 500", 500, ERR("\"code\":777777"), CAPI_CLASS_TRANSIENT, 777777},
	{"unknown under 429", 429, ERR("\"code\":777777"), CAPI_CLASS_THROTTLED, 777777, .rest_ms = MINUTE},
	{"code beyond int", 400, ERR("\"code\":99999999999"), CAPI_CLASS_TRANSIENT, PG_INT32_MAX, .uncertain = true},
	{"code beyond int64", 400, ERR("\"code\":99999999999999999999"), CAPI_CLASS_TRANSIENT, .uncertain = true},
	{"no code", 400, ERR("\"type\":\"x\""), CAPI_CLASS_TRANSIENT, .uncertain = true},
	{"error is a text", 400, "{\"error\":\"invalid_token\"}", CAPI_CLASS_TRANSIENT, .uncertain = true, .message = ""},
	{"code below error_data is another", 400, ERR("\"code\":190,\"error_data\":{\"code\":4}"), CAPI_CLASS_CREDENTIAL, 190},

	/* status alone */
	{"page under 400", 400, "<html>", CAPI_CLASS_TRANSIENT, .uncertain = true},
	{"page under 401", 401, "<html>", CAPI_CLASS_TRANSIENT, .uncertain = true},
	{"408", 408, NULL, CAPI_CLASS_TRANSIENT},
	{"413", 413, "<html>", CAPI_CLASS_PERMANENT, .uncertain = true},
	{"429", 429, NULL, CAPI_CLASS_THROTTLED, .rest_ms = MINUTE},
	{"302", 302, NULL, CAPI_CLASS_TRANSIENT},
	{"502", 502, "<html>", CAPI_CLASS_TRANSIENT,
	.message = "HTTP status 502 without an answer of the API (6 bytes)"},

	/* who is guilty */
	{"path", 400, ERR("\"code\":100,\"error_subcode\":2804019,\"error_user_msg\":\"Bad: $['data'][2]['custom_data']['contents']\""),
		CAPI_CLASS_PERMANENT, 100, 2804019, .guilty = 3,
	.message = "***: Bad: $['data'][2]['custom_data']['contents']"},
	{"path in the message", 400, "{\"error\":{\"message\":\"$[\\\"data\\\"][0]\",\"code\":100,\"error_subcode\":2804019}}",
	CAPI_CLASS_PERMANENT, 100, 2804019, .guilty = 1},
	{"path of an event not sent", 400, ERR("\"code\":100,\"error_subcode\":2804019,\"error_user_msg\":\"$['data'][3]\""), CAPI_CLASS_PERMANENT, 100, 2804019},
	{"path without an index", 400, ERR("\"code\":100,\"error_subcode\":2804019,\"error_user_msg\":\"$['data'][x]\""), CAPI_CLASS_PERMANENT, 100, 2804019},
	{"path under another subcode", 400, ERR("\"code\":100,\"error_subcode\":2804003,\"error_user_msg\":\"$['data'][1]\""), CAPI_CLASS_PERMANENT, 100, 2804003},
	{"event_index nested", 400, ERR("\"code\":100,\"error_subcode\":1815356,\"error_data\":{\"errors\":[{\"event_index\":1}]}"),
	CAPI_CLASS_PERMANENT, 100, 1815356, .guilty = 2},
	{"event_index in a text", 400, ERR("\"code\":100,\"error_subcode\":1815356,\"error_data\":\"{\\\"event_index\\\": 2}\""),
	CAPI_CLASS_PERMANENT, 100, 1815356, .guilty = 3},

	/* texts */
	{"escapes", 400, "{\"error\":{\"message\":\"caf\\u00e9 \\uD83D\\uDE00 \\ud800 \\u0000\\u0007\\n.\",\"code\":2}}",
	CAPI_CLASS_TRANSIENT, 2, .message = "service temporarily down"},
	{"not UTF-8", 400, "{\"error\":{\"message\":\"a\xFF\xC3z\xE2\x82\",\"code\":2}}",
	CAPI_CLASS_TRANSIENT, 2, .message = "a??***??"},
	{"personal data", 400, "{\"error\":{\"message\":\"Bad value 'Ann Lee' for em ann@x.org\",\"code\":2,\"error_user_msg\":\"Call +39 333 1234567\"}}",
	CAPI_CLASS_TRANSIENT, 2, .message = "Bad value '***' for em ***: Call +***"},
	{"broken escape", 400, "{\"error\":{\"message\":\"\\u12", CAPI_CLASS_TRANSIENT, .uncertain = true},
};

static const struct
{
	const char *text;
	const char *masked;
}			texts[] = {
	{"", ""},
	{"Invalid parameter", "Invalid parameter"},
	{"(#100) Missing Permission", "(#100) Missing Permission"},
	{"(#1713230) Missing Permission", "(#1713230) Missing Permission"},
	{"the user's value isn't valid", "the user's value isn't valid"},
	{"value 'O'Neil' is bad", "value '***' is bad"},
	{"field 'em' and `ph` and \"fn\"", "field 'em' and `ph` and \"fn\""},
	{"open 'quote never closes", "***"},
	{"first 'quote never closes", "first ***"},
	{"not \xE2\x80\x9CJos\xC3\xA9\xE2\x80\x9D or \xC2\xABLi\xC2\xBB", "not \xE2\x80\x9C***\xE2\x80\x9D or \xC2\xAB***\xC2\xBB"},
	{"$['data'][0]['user_data']", "$['data'][0]['user_data']"},
	{"$['data'][0]['custom_data']['content_type']", "$['data'][0]['custom_data']['content_type']"},
	{"$['data'][0]['Ann Lee']", "$['data'][0]['***']"},
	{"$['data'][0]['quixby']", "$['data'][0]['***']"},
	{"email ann.lee+x@example.org.", "email ***."},
	{"email (ann@example.org), bob@x", "email (***), ***"},
	{"date 1990-05-17 or 19900517", "date *** or ***"},
	{"date 1990-05-17, or 19900517", "date ***, or ***"},
	{"phone +1 (650) 555-1212 now", "phone +*** now"},
	{"version v25.0 code 190", "version v25.0 code 190"},
	{"12345 used, 123456 not, 90210-1 bad", "*** used, *** not, *** bad"},
	{"within 7 days", "within 7 days"},
	{"ip 10.0.0.1 and 2001:db8::1", "ip *** and ***"},
	{"see https://shop.example/?q=ann", "***"},
	{"token EAABsbCS1iHgBAKZC0123abcXYZ bad", "token *** bad"},
	{"token=EAABsbCS1iHgBAKZC0123abcXYZ", "***"},
	{"hash " HASH " bad", "hash *** bad"},
	{"hash " HASH "0 bad", "hash *** bad"},
	{"hash 27ae41e4649b934ca495 bad", "hash *** bad"},
	{"application_request_limit_reached", "application_request_limit_reached"},
	{"first\nname\taccount\x7f", "first name account "},
	{"a\xFF\x80 not\xC3", "***"},
	/* names, cities and the like without quotes, in any letters */
	{"Dorothea Quixby is not a valid name", "*** is not a valid name"},
	{"value quixby for ln, K\xC3\xB6ln for ct", "value *** for ln, *** for ct"},
	{"ct: Bad Oeynhausen; st=nrw; zp=32545", "ct: Bad ***; st=***; zp=***"},
	{"anna_schmidt is unknown", "*** is unknown"},
	{"Anna-Lena O'Brien-Smith", "***-***-***"},
	{"\xC3\x89v\xC3\xA9nement trop ancien", "***"},
	{"gender f", "***"},
	/* digits in groups: birth dates, addresses */
	{"date 12.05.90 or 5/6/90", "date *** or ***"},
	{"ip 1.2.3.4/24 and |1:2:3:4|", "ip *** and |***|"},
	{"zp 110 001 or 123-456; 12 34", "zp *** or ***; 12 34"},
	{"1 or 2 of 10.5", "1 or 2 of 10.5"},
};

static void
check_answer(const AnswerCase *c)
{
	CapiAnswer	answer = {0};
	CapiResult	r;

	answer.http_status = c->status;
	answer.body = (char *) c->body;
	answer.body_len = c->body != NULL ? strlen(c->body) : 0;
	capi_response_classify(&answer, 3, &r);

	ok(r.class == c->class && r.error_code == c->code &&
	   r.error_subcode == c->subcode && r.uncertain == c->uncertain &&
	   r.guilty_index == c->guilty - 1 && r.rest_ms == c->rest_ms &&
	   r.http_status == c->status &&
	   (c->message == NULL || strcmp(c->message, r.message) == 0), c->name);
	if (tap_failed > 0)
		printf("#   %s code %d/%d uncertain %d guilty %d rest " INT64_FORMAT " \"%s\"\n",
			   capi_response_class_name(r.class), r.error_code,
			   r.error_subcode, r.uncertain, r.guilty_index, r.rest_ms,
			   r.message);
}

/* One set of headers on an answer of the given status. */
static CapiResult
with_headers(int status, const char *body, const char *retry_after,
			 const char *app, const char *account, const char *business)
{
	CapiAnswer	answer = {0};
	CapiResult	r;

	answer.http_status = status;
	answer.body = (char *) body;
	answer.body_len = strlen(body);
	strlcpy(answer.retry_after, retry_after, sizeof(answer.retry_after));
	strlcpy(answer.app_usage, app, sizeof(answer.app_usage));
	strlcpy(answer.account_usage, account, sizeof(answer.account_usage));
	strlcpy(answer.business_usage, business, sizeof(answer.business_usage));
	capi_response_classify(&answer, 1, &r);
	return r;
}

static void
check_headers(void)
{
	static const char *const good = "{\"events_received\":1}";
	static const char *const limit = "{\"error\":{\"code\":80004}}";
	static const char *const business =
		"{\"1\":[{\"type\":\"ads_management\",\"call_count\":95,\"total_cputime\":20,\"total_time\":20,\"estimated_time_to_regain_access\":19}],"
		"\"2\":[{\"call_count\":7,\"estimated_time_to_regain_access\":3}]";
	char		closed[400];
	CapiResult	r;

	r = with_headers(200, good, "", "{\"call_count\":28,\"total_time\":25,\"total_cputime\":31}", "", "");
	is_int(r.usage_percent, 31, "application usage: the highest counts");
	is_int(r.rest_ms, 0, "and asks for no rest");

	snprintf(closed, sizeof(closed), "%s}", business);
	r = with_headers(400, limit, "", "", "", closed);
	is_int(r.rest_ms, 19 * MINUTE, "business usage counts minutes");
	is_int(r.usage_percent, 95, "its usage is read");
	r = with_headers(400, limit, "", "", "", business);
	is_int(r.rest_ms, 19 * MINUTE, "even when the header was cut");

	r = with_headers(200, good, "", "", "{\"acc_id_util_pct\":9.67,\"reset_time_duration\":100}", "");
	is_int(r.usage_percent, 9, "account usage is read");
	is_int(r.rest_ms, 0, "reset time means nothing while there is room");
	r = with_headers(200, good, "", "", "{\"acc_id_util_pct\":100,\"reset_time_duration\":100}", "");
	is_int(r.rest_ms, 100000, "reset time counts when there is none");
	r = with_headers(400, limit, "", "", "{\"acc_id_util_pct\":9.67,\"reset_time_duration\":100}", "");
	is_int(r.rest_ms, 100000, "and when throttled");

	r = with_headers(200, good, "", "{\"call_count\":74}", "", "");
	is_int(r.rest_ms, 0, "no slower below three quarters of a limit");
	r = with_headers(200, good, "", "{\"total_time\":75}", "", "");
	is_int(r.rest_ms, 1000, "a second from three quarters on");
	r = with_headers(200, good, "", "", "{\"acc_id_util_pct\":90.5}", "");
	is_int(r.rest_ms, 22240, "more and more");
	r = with_headers(200, good, "", "", "", "{\"1\":[{\"call_count\":100}]}");
	is_int(r.rest_ms, MINUTE, "a minute when nothing is left");
	r = with_headers(503, "", "7", "", "", "");
	is_int(r.rest_ms, 7000, "Retry-After counts seconds");
	r = with_headers(400, limit, "7", "", "", "");
	is_int(r.rest_ms, 7000, "and replaces the usual rest");
	r = with_headers(503, "", "99999999999999999999", "", "", "");
	is_int(r.rest_ms, INT64CONST(86400000), "no rest is longer than a day");
	r = with_headers(503, "", "999999", "", "", "");
	is_int(r.rest_ms, INT64CONST(86400000), "not one that fits either");
	r = with_headers(503, "", "-5", "", "", "");
	is_int(r.rest_ms, 0, "negative Retry-After is ignored");
	r = with_headers(400, limit, "", "", "", "{\"1\":[{\"estimated_time_to_regain_access\":9223372036854775807}]}");
	is_int(r.rest_ms, INT64CONST(86400000), "huge minutes do not overflow");
	r = with_headers(200, good, "", "nonsense", "[[[", "{\"call_count\":1e999}");
	is_int(r.rest_ms, 0, "nonsense in headers is ignored");
	is_int(r.class, CAPI_CLASS_ACCEPTED, "and changes no verdict");
}

static void
check_others(void)
{
	static const CapiTransportCode codes[] = {
		CAPI_TRANSPORT_RESOLVE, CAPI_TRANSPORT_CONNECT, CAPI_TRANSPORT_TLS,
		CAPI_TRANSPORT_TIMEOUT, CAPI_TRANSPORT_CUT, CAPI_TRANSPORT_TOO_LARGE,
		CAPI_TRANSPORT_OTHER,
	};
	CapiAnswer	answer = {0};
	CapiResult	r;
	static const struct
	{
		const char *said;
		const char *kept;
	}			traces[] = {
		{"AXk3-_bcdefghijklmnopqr", "AXk3-_bcdefghijklmnopqr"},
		{"ann@x", ""},
		{"DorotheaQuixby", ""},
		{"Anna-Quixby", ""},
		{"15155559004", ""},
		{"AXk3 _bcdefghijklmnopqr", ""},
		{HASH, ""},
	};
	char		deep[5000];
	char		small[8];

	for (size_t i = 0; i < lengthof(codes); i++)
	{
		answer.transport = codes[i];
		strlcpy(answer.detail, "words", sizeof(answer.detail));
		capi_response_classify(&answer, 3, &r);
		ok(r.class == CAPI_CLASS_TRANSIENT && strstr(r.message, ": words"),
		   r.message);
	}

	memset(deep, '[', sizeof(deep));
	memcpy(deep, "{\"a\":", 5);
	memset(&answer, 0, sizeof(answer));
	answer.http_status = 200;
	answer.body = deep;
	answer.body_len = sizeof(deep);
	capi_response_classify(&answer, 3, &r);
	is_int(r.class, CAPI_CLASS_TRANSIENT, "deep nesting is no JSON");

	answer.body = "{\"events_received\":3,\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"}";
	answer.body_len = strlen(answer.body);
	capi_response_classify(&answer, 3, &r);
	is_int(r.class, CAPI_CLASS_ACCEPTED, "brackets in a text do not nest");

	for (size_t i = 0; i < lengthof(traces); i++)
	{
		char	   *body = psprintf("{\"events_received\":3,\"fbtrace_id\":\"%s\"}", traces[i].said);

		answer.body = body;
		answer.body_len = strlen(body);
		capi_response_classify(&answer, 3, &r);
		is_text(r.fbtrace_id, traces[i].kept, psprintf("trace id %s", traces[i].said));
	}

	capi_response_mask("to, too\xC3\xA9", small, sizeof(small));
	is_text(small, "to, ***", "cut between words");
	test_encoding = PG_LATIN1;
	capi_response_mask("\xC2\xAB no", small, sizeof(small));
	is_text(small, "***", "no UTF-8 in a database of another encoding");
	test_encoding = PG_UTF8;
}

/* Every beginning of every answer, and each with a byte changed: no crash. */
static void
check_garbage(void)
{
	int			n = 0;

	for (size_t i = 0; i < lengthof(answers); i++)
	{
		size_t		len = answers[i].body ? strlen(answers[i].body) : 0;

		for (size_t cut = 0; cut <= len; cut++)
		{
			CapiAnswer	answer = {0};
			CapiResult	r;
			char	   *copy = malloc(cut + 1);

			memcpy(copy, answers[i].body ? answers[i].body : "", cut);
			copy[cut] = '\0';
			answer.http_status = 400;
			answer.body = copy;
			answer.body_len = cut;
			capi_response_classify(&answer, 3, &r);
			if (cut > 0)
			{
				copy[cut / 2] = (char) (cut * 37);
				capi_response_classify(&answer, 3, &r);
			}
			capi_response_mask(copy, r.message, sizeof(r.message));
			free(copy);
			n++;
		}
	}
	ok(n > 1000, "cut and changed answers");
}

int
main(void)
{
	for (size_t i = 0; i < lengthof(answers); i++)
		check_answer(&answers[i]);
	for (size_t i = 0; i < lengthof(texts); i++)
	{
		char		masked[300];

		capi_response_mask(texts[i].text, masked, sizeof(masked));
		is_text(masked, texts[i].masked,
				psprintf("mask: text %zu", i + 1));
	}
	check_headers();
	check_others();
	check_garbage();
	return done_testing();
}
