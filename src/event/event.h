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

#include "event/field.h"

/* Values of one column: a scalar has one, a list any number, null none. */
typedef struct CapiValues
{
	char	  **v;				/* UTF-8 text, never NULL inside */
	int			n;
	Oid			type;			/* of the column, InvalidOid: not from one */
	bool		is_empty_list;	/* an array without members, not null */
	bool		is_too_long;	/* there was more than is ever sent, none is here */
} CapiValues;

/*
 * Is told of each value: as it came, normalised, as sent (hashed, say), and
 * what is wrong with it; any but raw may be NULL.  A value may be sent and yet
 * be doubtful.  For previews only.
 */
typedef void (*CapiValueObserver) (void *arg, int field, const char *raw,
								   const char *normal, const char *sent,
								   const char *problem);

/* SPEC 5: places of extinfo, all of which must be there. */
#define CAPI_EXTINFO_PLACES		16

/* Amounts in major units, or in minor ones with that many decimals. */
#define CAPI_MINOR_NONE			0
#define CAPI_MINOR_BY_CURRENCY	(-1)	/* as ISO 4217 says */

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
	bool		id_is_too_long; /* there was one, longer than any that is sent */
	const char *action_source;
	int64		event_time_s;	/* Unix seconds; valid if has_event_time */
	bool		has_event_time;
	CapiValues	values[CAPI_FIELD_COUNT];	/* by CapiField; n = 0: null */
	int			minor_units;	/* CAPI_MINOR_*, or digits */
	bool		unchecked;		/* written whatever is wrong with it */
	CapiValueObserver observer; /* or NULL */
	void	   *observer_arg;

	/* out: set by payload.c */
	CapiVerdict verdict;
	const char *reason;			/* static word, e.g. "no_customer_data" */
	int			error_code;		/* SPEC 8.4 code Meta would give, or 0 */
	int			error_subcode;
	StringInfoData problems;	/* JSON array members: dropped fields, no raw
								 * value: {"field":"ph","problem":"..."} ; data==NULL if none */
	int			nproblems;		/* their number */
	bool		written[CAPI_FIELD_COUNT];	/* fields that were usable */
	const char *value_text;		/* exact decimal text of value as sent, or NULL */
	const char *currency;		/* as sent, or NULL */
} CapiEvent;

/*
 * Notes what is wrong with a field, or part of one; never with its value.  The
 * same thing is noted once, and of very many things the first.
 */
extern void capi_event_problem(CapiEvent *ev, const char *where,
							   const char *problem);

/*
 * Notes why the event is not to be sent; the first reason stands.  True when
 * it is to be written all the same.
 */
extern bool capi_event_judge(CapiEvent *ev, CapiVerdict verdict,
							 const char *reason, int subcode);

#endif							/* CAPI_EVENT_H */
