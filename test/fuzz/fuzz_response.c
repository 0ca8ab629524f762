/*
 * fuzz_response.c
 *		Any bytes as the answer to a request: the first two say which part they
 *		are, the rest is the body, a header or a message.
 *
 * Besides memory: texts end within their arrays and are valid, and the result
 * is within its limits.
 */
#include "postgres.h"

#include "fuzz.h"
#include "answer/response.h"
#include "event/text.h"

#define MAX_REST_MS		INT64CONST(86400000)	/* response.h */
#define EVENTS_SENT		3

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int statuses[] = {
	0, 200, 400, 401, 403, 404, 408, 413, 429, 500, 503
};

static void
check_text(const char *text, size_t size)
{
	size_t		len = strnlen(text, size);

	require(len < size);
	require(capi_text_is_valid(text, len));
}

static void
check_result(const CapiResult *r)
{
	check_text(r->message, sizeof(r->message));
	check_text(r->fbtrace_id, sizeof(r->fbtrace_id));
	check_text(r->warning, sizeof(r->warning));
	require(capi_response_class_name(r->class) != NULL);
	require(r->rest_ms >= 0 && r->rest_ms <= MAX_REST_MS);
	require(r->guilty_index >= -1 && r->guilty_index < EVENTS_SENT);
	require(r->usage_percent >= -1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CapiAnswer	answer = {0};
	CapiResult	result;
	CapiAnswerJson json;
	char		masked[100];
	char	   *text;

	if (size < 2)
		return 0;
	text = pnstrdup((const char *) data + 2, size - 2);
	answer.transport = data[0] % (CAPI_TRANSPORT_OTHER + 1);
	answer.http_status = statuses[data[1] % lengthof(statuses)];
	answer.body = text;
	answer.body_len = strlen(text);
	/* our own words, which transfer_curl.c keeps to ASCII */
	strlcpy(answer.detail, "connection refused", sizeof(answer.detail));
	if (data[1] & 0x80)
	{
		strlcpy(answer.retry_after, text, sizeof(answer.retry_after));
		strlcpy(answer.app_usage, text, sizeof(answer.app_usage));
		strlcpy(answer.account_usage, text, sizeof(answer.account_usage));
		strlcpy(answer.business_usage, text, sizeof(answer.business_usage));
		strlcpy(answer.api_warning, text, sizeof(answer.api_warning));
	}
	capi_response_classify(&answer, EVENTS_SENT, &result);
	check_result(&result);
	capi_response_read_json(text, strlen(text), &json);
	capi_response_mask(text, masked, sizeof(masked));
	check_text(masked, sizeof(masked));
	free_all();
	return 0;
}
