/*
 * event.c
 *		What is noted on an event while it is written: problems and verdict.
 *		Pure; called by payload.c and validate.c.
 */
#include "postgres.h"

#include "event/event.h"
#include "event/text.h"

/* A list that goes wrong in more ways goes wrong as a whole. */
#define MAX_PROBLEMS	50

static void
append_problem(StringInfo out, const char *where, const char *problem)
{
	appendStringInfoString(out, "{\"field\":");
	capi_text_append_json(out, where, strlen(where));
	appendStringInfoString(out, ",\"problem\":");
	capi_text_append_json(out, problem, strlen(problem));
	appendStringInfoChar(out, '}');
}

void
capi_event_problem(CapiEvent *ev, const char *where, const char *problem)
{
	StringInfo	out = &ev->problems;
	int			before = out->len;
	int			start;

	if (ev->nproblems > MAX_PROBLEMS)
		return;
	if (out->data == NULL)
		initStringInfo(out);
	else if (before > 0)
		appendStringInfoChar(out, ',');
	start = out->len;
	if (ev->nproblems == MAX_PROBLEMS)
		append_problem(out, "event", "more problems are not listed");
	else
		append_problem(out, where, problem);
	/* finds at least itself */
	if (strstr(out->data, out->data + start) < out->data + start)
	{
		out->len = before;
		out->data[before] = '\0';
	}
	else
		ev->nproblems++;
}

bool
capi_event_judge(CapiEvent *ev, CapiVerdict verdict, const char *reason, int subcode)
{
	if (ev->verdict == CAPI_VERDICT_SEND)
	{
		ev->verdict = verdict;
		ev->reason = reason;
		ev->error_code = 100;
		ev->error_subcode = subcode;
	}
	return ev->unchecked;
}

