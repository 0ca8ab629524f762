/*
 * portion.h
 *		The boundary between the process that sends and those that read (P13):
 *		a portion of one source's orders goes to a reader, results come back.
 *
 * Everything that crosses is here, written into and read from flat messages.
 * Keys and the source's definition go over; back come finished JSON, hashed,
 * and the few facts that outcomes keep.  No token, no connection, no raw value.
 *
 * A reader's answer to one request is a series of messages:
 *		begin	a run of the query starts, and is given so long
 *		result	of one order
 *		page	people of an audience, hashed, in the order of their keys
 *		broken	the query as such does not run: nobody's data is at fault
 *		again	memory is full of what earlier orders left: a new reader is to
 *				read those without a result; this one ends
 *		done	nothing more comes; orders without a result were not read
 */
#ifndef CAPI_PORTION_H
#define CAPI_PORTION_H

#include "lib/stringinfo.h"

#include "store/config.h"

/* One order asked for; what was sent once is to be sent the same again (P5). */
typedef struct CapiAsked
{
	char	   *key;
	int			at;				/* its number in the portion */
	char	   *event_id;		/* pinned, or NULL: with a time, the key */
	char	   *event_name;		/* pinned, or NULL */
	bool		has_time;		/* event_time_s is pinned */
	int64		event_time_s;
	bool		not_ahead;		/* a time to come was taken from a clock ahead */
} CapiAsked;

typedef struct CapiRequest
{
	CapiSource	source;			/* its definition; no state */
	int			limit_ms;		/* of a run of the query */
	int			part_limit_ms;	/* of a run that looks for one bad order */
	bool		local_checks;
	bool		one_by_one;		/* orders that made the query fail before */
	bool		is_audience;	/* all people that the query returns: n is 1 */
	bool		is_trial;		/* of attach(), which says what right lacks: n is 1 */
	int			n;
	CapiAsked  *asked;
} CapiRequest;

typedef enum CapiResultKind
{
	CAPI_RESULT_EVENT,			/* json is to be sent */
	CAPI_RESULT_IGNORED,
	CAPI_RESULT_REJECTED,
	CAPI_RESULT_EXPIRED,
	CAPI_RESULT_FAILED			/* this order's data makes the query fail */
} CapiResultKind;

typedef struct CapiOrderResult
{
	int			at;				/* CapiAsked.at of the order */
	CapiResultKind kind;
	char	   *reason;			/* NULL for an event */
	int			error_code;
	int			error_subcode;
	char	   *event_id;		/* NULL: the key */
	char	   *event_name;
	bool		has_time;
	int64		event_time_s;
	char	   *value;
	char	   *currency;
	char	   *problems;		/* JSON array text, or NULL */
	char	   *dataset;		/* name the query gave, or NULL */
	int			context;		/* order.h */
	bool		is_store;		/* action_source is physical_store */
	const char *json;			/* not terminated; set and used by who reads it */
	int			json_len;
} CapiOrderResult;

/*
 * People of an audience.  The key of one is a hash of his hashes (customer.h),
 * and nobody has a key between those of a page.
 */
#define CAPI_PAGE_PEOPLE	500
#define CAPI_PERSON_KEY_BYTES	16

typedef struct CapiPage
{
	int			n;
	uint8		(*keys)[CAPI_PERSON_KEY_BYTES];
	uint8	  **packed;			/* capi_customer_pack() */
	int		   *packed_len;
	bool		is_last;		/* then the members below are known */
	int64		people;			/* rows that the query returned */
	int64		no_consent;
	int64		unusable;
	char	   *problems;		/* JSON array text, or NULL */
} CapiPage;

typedef enum CapiMessageKind
{
	CAPI_MESSAGE_BEGIN = 'B',
	CAPI_MESSAGE_RESULT = 'R',
	CAPI_MESSAGE_PAGE = 'P',
	CAPI_MESSAGE_BROKEN = 'E',
	CAPI_MESSAGE_AGAIN = 'A',
	CAPI_MESSAGE_DONE = 'D'
} CapiMessageKind;

/* One message of an answer; which members count says kind. */
typedef struct CapiMessage
{
	CapiMessageKind kind;
	int			limit_ms;		/* begin */
	char	   *text;			/* broken: why, without any order's value */
	bool		one_by_one;		/* again: so are they to be read */
	CapiOrderResult result;
	CapiPage	page;
} CapiMessage;

/*
 * Texts read are copies in the current memory context.  Reading raises 08P01
 * (protocol_violation) for bytes that are no message.
 */
extern void capi_portion_write_request(StringInfo out, const CapiRequest *request);
extern void capi_portion_read_request(char *data, int len, CapiRequest *request);

/*
 * A result is appended in two steps, between which its JSON is, if it has any:
 * an event is written where it is sent from.  start: of the message in the buffer.
 */
extern void capi_portion_begin_result(StringInfo out);
extern void capi_portion_end_result(StringInfo out, int start, const CapiOrderResult *result);

/* Each begins the buffer anew. */
extern void capi_portion_write_begin(StringInfo out, int limit_ms);
extern void capi_portion_write_result(StringInfo out, const CapiOrderResult *result);
extern void capi_portion_write_page(StringInfo out, const CapiPage *page);
extern void capi_portion_write_broken(StringInfo out, const char *text);
extern void capi_portion_write_again(StringInfo out, bool one_by_one);
extern void capi_portion_write_done(StringInfo out);
extern void capi_portion_read(char *data, int len, CapiMessage *message);

#endif							/* CAPI_PORTION_H */
