/*
 * probe.c
 *		capi.test_dataset(): one request to a dataset's endpoint, and what its
 *		answer says of token, connection and version.
 *
 * With a test event code the request carries one event, which shows on Meta's
 * Test Events screen; without one it carries none, and the refusal of that tells
 * a token that works from one that does not.  The caller waits for the answer
 * in his own transaction, for CONNECT_MS and ANSWER_MS at most; the dispatcher
 * is not concerned.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "answer/response.h"
#include "base/capi.h"
#include "base/entry.h"
#include "base/guc.h"
#include "base/here.h"
#include "base/nearest.h"
#include "event/hash.h"
#include "event/payload.h"
#include "send/remains.h"
#include "send/transport.h"
#include "store/config.h"

#define CONNECT_MS		5000
#define ANSWER_MS		10000

PG_FUNCTION_INFO_V1(capi_sql_test_dataset);

static CapiDataset *find_dataset(FunctionCallInfo fcinfo, CapiConfig *config);
static const char *find_code(FunctionCallInfo fcinfo, const CapiDataset *dataset);
static bool is_code(const char *code);
static void append_test_event(StringInfo body);
static void ask(const CapiDataset *dataset, StringInfo body, CapiResult *result,
				char *problem, size_t size);
static void report(ReturnSetInfo *rows, const CapiDataset *dataset,
				   const char *code, const CapiResult *result, const char *problem);
static void put_row(ReturnSetInfo *rows, const char *check, bool ok,
					const char *detail);

/*
 * capi.test_dataset(name text, test_event_code text): one row per check.  Raises
 * 42704 for an unknown name and 22023 for a code that is none.
 */
Datum
capi_sql_test_dataset(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	ReturnSetInfo *rows = (ReturnSetInfo *) fcinfo->resultinfo;
	CapiOwnerScope scope;
	CapiConfig *config;
	CapiDataset *dataset;
	CapiResult	result;
	const char *code;
	char		problem[256] = "";
	StringInfoData body;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	MemoryContextSwitchTo(caller);
	capi_enter_owner(capi_function_owner(fcinfo->flinfo->fn_oid), &scope);
	config = capi_config_read(true);
	capi_leave_owner(&scope);
	SPI_finish();
	MemoryContextSwitchTo(caller);
	dataset = find_dataset(fcinfo, config);
	code = find_code(fcinfo, dataset);
	if (code != NULL && !is_code(code))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid test_event_code"),
				 errdetail("A code has letters, digits, \"_\" and \"-\", for example TEST12345.")));
	put_row(rows, "token", dataset->token != NULL, dataset->token != NULL ?
			"There is a token." : dataset->token_problem);
	if (capi_is_elsewhere())
		put_row(rows, "place", false, "capi.only_on does not name this server: nothing is sent.");
	else if (dataset->token != NULL)
	{
		initStringInfo(&body);
		capi_payload_open(&body);
		if (code != NULL)
			append_test_event(&body);
		capi_payload_close(&body, code, dataset->proof);
		ask(dataset, &body, &result, problem, sizeof(problem));
		report(rows, dataset, code, &result, problem);
	}
	capi_config_free(config);
	return (Datum) 0;
}

static const char *
find_code(FunctionCallInfo fcinfo, const CapiDataset *dataset)
{
	return PG_ARGISNULL(1) ? dataset->test_event_code :
		text_to_cstring(PG_GETARG_TEXT_PP(1));
}

static bool
is_code(const char *code)
{
	size_t		len = strlen(code);

	return len > 0 && len <= 64 &&
		strspn(code, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			   "0123456789_-") == len;
}

static void
unknown_dataset(CapiConfig *config, const char *name)
{
	const char **known = palloc(sizeof(char *) * (config->ndatasets + 1));
	const char *nearest;

	for (int i = 0; i < config->ndatasets; i++)
		known[i] = config->datasets[i].name;
	nearest = capi_nearest(name, known, config->ndatasets);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("dataset \"%s\" does not exist", name),
			 nearest != NULL ? errhint("Perhaps you meant \"%s\".", nearest) :
			 errhint("The datasets are listed in capi.health.")));
}

static CapiDataset *
find_dataset(FunctionCallInfo fcinfo, CapiConfig *config)
{
	char	   *name;
	CapiDataset *dataset;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("name must not be null")));
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	dataset = capi_config_dataset_by_name(config, name);
	if (dataset == NULL)
		unknown_dataset(config, name);
	return dataset;
}

/* Of nobody: the customer is the hash of capi's own name. */
static void
append_test_event(StringInfo body)
{
	char		hex[CAPI_HASH_HEX_LEN + 1] = "";

	capi_hash_hex(CAPI_EXTENSION, strlen(CAPI_EXTENSION), hex);
	appendStringInfo(body, "{\"event_name\":\"CapiTest\",\"event_time\":" INT64_FORMAT
					 ",\"event_id\":\"capi-test\",\"action_source\":\"system_generated\""
					 ",\"user_data\":{\"external_id\":[\"%s\"]}}",
					 (int64) timestamptz_to_time_t(GetCurrentTimestamp()), hex);
}

/* One request and its answer; problem: why there was none, or "". */
static void
ask(const CapiDataset *dataset, StringInfo body, CapiResult *result,
	char *problem, size_t size)
{
	CapiTransport *transport = capi_transport_create();
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													CONNECT_MS + ANSWER_MS);
	CapiHttpRequest request = {
		.url = dataset->url, .token = dataset->token,
		.body = body->data, .body_len = body->len,
		.connect_timeout_ms = CONNECT_MS, .request_timeout_ms = ANSWER_MS,
		.ca_file = capi_ca_file != NULL && capi_ca_file[0] != '\0' ? capi_ca_file : NULL,
		.allow_http = capi_allow_http
	};
	CapiAnswer	answer;
	bool		answered = false;

	memset(result, 0, sizeof(*result));
	PG_TRY();
	{
		if (capi_transport_start(transport, &request, problem, size))
			while (!(answered = capi_transport_next(transport, &answer)) &&
				   GetCurrentTimestamp() < until)
				capi_transport_wait(transport, ANSWER_MS);
		if (answered)
		{
			capi_response_classify(&answer, 1, result);
			if (answer.transport != CAPI_TRANSPORT_OK)
				strlcpy(problem, answer.detail, size);
			capi_transport_free_answer(&answer);
		}
		else if (problem[0] == '\0')
			strlcpy(problem, "no answer in time", size);
	}
	PG_FINALLY();
	{
		capi_transport_destroy(transport);
		capi_remains_wipe();
	}
	PG_END_TRY();
}

static char *
what_meta_said(const CapiResult *result)
{
	return psprintf("HTTP %d, code %d%s%s: %s", result->http_status, result->error_code,
					result->error_subcode != 0 ? "/" : "",
					result->error_subcode != 0 ? psprintf("%d", result->error_subcode) : "",
					result->message[0] != '\0' ? result->message : "no message");
}

static void
report(ReturnSetInfo *rows, const CapiDataset *dataset, const char *code,
	   const CapiResult *result, const char *problem)
{
	bool		refused = result->class == CAPI_CLASS_CREDENTIAL;
	bool		understood = result->class == CAPI_CLASS_ACCEPTED ||
		result->class == CAPI_CLASS_PERMANENT;

	put_row(rows, "connection", problem[0] == '\0', problem[0] == '\0' ?
			psprintf("%s answers.", dataset->url) : psprintf("%s: %s.", dataset->url, problem));
	if (problem[0] != '\0')
		return;
	put_row(rows, "credentials", understood, refused || !understood ? what_meta_said(result) :
			"The token may send to this dataset.");
	put_row(rows, "version", result->class != CAPI_CLASS_VERSION && result->warning[0] == '\0',
			result->class == CAPI_CLASS_VERSION ? what_meta_said(result) :
			result->warning[0] != '\0' ? result->warning : "The version of the API is served.");
	if (code == NULL)
		return;
	put_row(rows, "test event", result->class == CAPI_CLASS_ACCEPTED,
			result->class == CAPI_CLASS_ACCEPTED ?
			psprintf("Event CapiTest was accepted with code %s; trace id %s.", code, result->fbtrace_id) :
			what_meta_said(result));
}

static void
put_row(ReturnSetInfo *rows, const char *check, bool ok, const char *detail)
{
	Datum		values[3] = {CStringGetTextDatum(check), BoolGetDatum(ok),
	CStringGetTextDatum(detail)};
	bool		nulls[3] = {false, false, false};

	tuplestore_putvalues(rows->setResult, rows->setDesc, values, nulls);
}
