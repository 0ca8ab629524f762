/*
 * fuzz_payload.c
 *		Any bytes as the columns of an event, in a server of one user: the
 *		payload is read and written with the server's jsonb, which no program
 *		outside of it has.
 *
 * The bytes are lines "field:value"; a field that comes again makes a list.
 * Besides memory: an event that is to be sent is valid JSON with what Meta
 * asks for, one that is not leaves nothing behind, problems are valid JSON.
 *
 * The library is loaded by CREATE FUNCTION capi_fuzz(text); the text holds the
 * arguments of libFuzzer, which ends the server when it is done.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "fuzz.h"
#include "event/hash.h"
#include "event/payload.h"

#define NOW_S			INT64CONST(1764000000)
#define MAX_ARGUMENTS	32
#define MAX_VALUES		16
#define REPEAT_MARK		"*"		/* a line of it makes the value before long */
#define REPEAT_BYTES	(1024 * 1024)

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(capi_fuzz);

/* of libFuzzer */
typedef int (*FuzzCallback) (const uint8_t *data, size_t size);
extern int	LLVMFuzzerRunDriver(int *argc, char ***argv, FuzzCallback callback);

static MemoryContext run_context = NULL;

/* The text as jsonb; a property that does not hold if it is none. */
static Jsonb *
parse(const char *json)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
}

static JsonbValue *
member(Jsonb *object, const char *name)
{
	JsonbValue	key = {.type = jbvString};

	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	return findJsonbValueFromContainer(&object->root, JB_FOBJECT, &key);
}

static void
add_value(CapiValues *values, char *text)
{
	if (values->v == NULL)
		values->v = palloc(sizeof(char *) * MAX_VALUES);
	if (values->n < MAX_VALUES)
		values->v[values->n++] = text;
}

/* Repeats the last value up to a megabyte. */
static void
make_long(CapiValues *values)
{
	StringInfoData text;

	if (values == NULL || values->n == 0 || values->v[values->n - 1][0] == '\0')
		return;
	initStringInfo(&text);
	while (text.len < REPEAT_BYTES)
		appendStringInfoString(&text, values->v[values->n - 1]);
	values->v[values->n - 1] = text.data;
}

static void
read_line(CapiEvent *ev, char *line, CapiValues **last)
{
	char	   *value = strchr(line, ':');
	int			field;

	if (strcmp(line, REPEAT_MARK) == 0)
		make_long(*last);
	if (value == NULL)
		return;
	*value++ = '\0';
	if (strcmp(line, "event_name") == 0)
		ev->event_name = value;
	else if (strcmp(line, "event_id") == 0)
		ev->event_id = value;
	else if (strcmp(line, "action_source") == 0)
		ev->action_source = value;
	else if (strcmp(line, "event_time") == 0)
		ev->event_time_s = strtoll(value, NULL, 10);
	else if (strcmp(line, "minor_units") == 0)
		ev->minor_units = Min(Max(atoi(value), CAPI_MINOR_BY_CURRENCY), 6);
	else if ((field = capi_field_lookup(line)) >= 0)
	{
		*last = &ev->values[field];
		if (strcmp(value, "{}") == 0 && (*last)->n == 0)
			(*last)->is_empty_list = true;
		else
			add_value(*last, value);
	}
}

static void
check_problems(CapiEvent *ev)
{
	if (ev->problems.data != NULL)
		(void) parse(psprintf("[%s]", ev->problems.data));
}

static void
check_event(CapiEvent *ev, const char *json)
{
	Jsonb	   *event = parse(json);
	JsonbValue *user_data;

	require(JB_ROOT_IS_OBJECT(event));
	require(member(event, "event_name") != NULL);
	require(member(event, "event_time")->type == jbvNumeric);
	require(member(event, "action_source")->type == jbvString);
	user_data = member(event, "user_data");
	require(user_data != NULL && user_data->type == jbvBinary &&
			JsonContainerSize(user_data->val.binary.data) > 0);
	if (strcmp(ev->event_name, "Purchase") == 0)
		require(ev->value_text != NULL && is_json_number(ev->value_text) &&
				ev->currency != NULL && strlen(ev->currency) == 3);
}

static int
run_once(const uint8_t *data, size_t size)
{
	MemoryContext old = MemoryContextSwitchTo(run_context);
	CapiEvent	ev = {.event_name = "Purchase", .action_source = "website",
	.event_time_s = NOW_S - 60, .has_event_time = true};
	CapiValues *last = NULL;
	StringInfoData out;
	char	   *text = pnstrdup((const char *) data, size);
	char	   *line;

	while ((line = strsep(&text, "\n")) != NULL)
		read_line(&ev, line, &last);
	initStringInfo(&out);
	capi_payload_open(&out);
	capi_payload_event(&ev, NOW_S, &out);
	check_problems(&ev);
	if (ev.verdict == CAPI_VERDICT_SEND)
		check_event(&ev, out.data + strlen("{\"data\":["));
	else
		require(ev.reason != NULL && strcmp(out.data, "{\"data\":[") == 0);
	capi_payload_close(&out, NULL, NULL);
	(void) parse(out.data);
	MemoryContextSwitchTo(old);
	MemoryContextReset(run_context);
	return 0;
}

/* An error of the server's is as good as a crash here. */
static int
run(const uint8_t *data, size_t size)
{
	PG_TRY();
	{
		(void) run_once(data, size);
	}
	PG_CATCH();
	{
		EmitErrorReport();
		abort();
	}
	PG_END_TRY();
	return 0;
}

/* capi_fuzz(arguments text): does not return */
Datum
capi_fuzz(PG_FUNCTION_ARGS)
{
	char	   *rest = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *argv[MAX_ARGUMENTS + 1] = {"fuzz_payload", NULL};
	char	  **args = argv;
	char	   *arg;
	int			argc = 1;

	/* a server of one user may lack it; then JSON would overflow the stack */
	(void) set_stack_base();
	run_context = AllocSetContextCreate(TopMemoryContext, "capi fuzz run",
										ALLOCSET_DEFAULT_SIZES);
	while (argc < MAX_ARGUMENTS && (arg = strsep(&rest, " ")) != NULL)
		argv[argc++] = arg;
	PG_RETURN_INT32(LLVMFuzzerRunDriver(&argc, &args, run));
}
