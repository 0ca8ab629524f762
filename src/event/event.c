/*
 * event.c
 *		What is noted on an event while it is written: problems and verdict.
 *		Pure; called by payload.c and validate.c.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "event/event.h"
#include "event/text.h"

char *
capi_event_utf8(char *text)
{
	if (GetDatabaseEncoding() == PG_SQL_ASCII)
		return text;
	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

void
capi_event_problem(CapiEvent *ev, const char *where, const char *problem)
{
	if (ev->problems.data == NULL)
		initStringInfo(&ev->problems);
	else if (ev->problems.len > 0)
		appendStringInfoChar(&ev->problems, ',');
	appendStringInfoString(&ev->problems, "{\"field\":");
	capi_text_append_json(&ev->problems, where, strlen(where));
	appendStringInfoString(&ev->problems, ",\"problem\":");
	capi_text_append_json(&ev->problems, problem, strlen(problem));
	appendStringInfoChar(&ev->problems, '}');
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

