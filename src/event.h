/*
 * event.h
 *		One event between a source's query and the request body.
 *
 * query.c fills it with raw values, payload.c judges it and writes its JSON,
 * dispatch.c keeps the few members that outcomes need and frees the rest.
 * Raw values never leave this struct unhashed where Meta wants a hash.
 */
#ifndef CAPI_EVENT_H
#define CAPI_EVENT_H

#include "lib/stringinfo.h"

#include "field.h"

/* Values of one column: a scalar has one, a list any number, null none. */
typedef struct CapiValues
{
	int			n;
	char	  **v;				/* UTF-8 text, never NULL inside */
} CapiValues;

typedef enum CapiVerdict
{
	CAPI_VERDICT_SEND,			/* JSON written, goes into a batch */
	CAPI_VERDICT_REJECT,		/* Meta would refuse it; reason says why */
	CAPI_VERDICT_EXPIRED		/* too old for Meta (SPEC 1.3) */
} CapiVerdict;

typedef struct CapiEvent
{
	/* in: set by query.c */
	const char *event_name;
	const char *event_id;
	const char *action_source;
	int64		event_time_s;	/* Unix seconds; valid if has_event_time */
	bool		has_event_time;
	CapiValues	values[CAPI_FIELD_COUNT];	/* by CapiField; n = 0: null */

	/* out: set by payload.c */
	CapiVerdict verdict;
	const char *reason;			/* static word, e.g. "no_customer_data" */
	int			error_code;		/* SPEC 8.4 code Meta would give, or 0 */
	int			error_subcode;
	StringInfoData problems;	/* JSON array members: dropped fields, no raw
								 * value: {"field":"ph","problem":"..."} ; data==NULL if none */
	const char *value_text;		/* exact decimal text of value as sent, or NULL */
	const char *currency;		/* as sent, or NULL */
} CapiEvent;

#endif							/* CAPI_EVENT_H */
