/*
 * response.h
 *		One place that turns transport result, HTTP status and answer body into
 *		what to do (SPEC section 8).  Pure: no network, no database, no clock.
 *		Called by dispatch.c only.
 */
#ifndef CAPI_RESPONSE_H
#define CAPI_RESPONSE_H

#include "answer/http_answer.h"

typedef enum CapiClass
{
	CAPI_CLASS_ACCEPTED,		/* every event of the request was received */
	CAPI_CLASS_TRANSIENT,		/* same body again later, with backoff */
	CAPI_CLASS_THROTTLED,		/* the dataset rests, then the same again */
	CAPI_CLASS_CREDENTIAL,		/* the dataset pauses; its events wait */
	CAPI_CLASS_VERSION,			/* API version retired: dataset pauses */
	CAPI_CLASS_EARLY,			/* some event is in the future by Meta's clock */
	CAPI_CLASS_PERMANENT		/* some event of the request is refused */
} CapiClass;

typedef struct CapiResult
{
	CapiClass	class;
	int			http_status;	/* 0: no HTTP answer */
	int			error_code;		/* 0: none */
	int			error_subcode;	/* 0: none */
	bool		is_transient;	/* as the answer says */
	bool		uncertain;		/* class is a guess: see response.c */
	int			events_received;	/* or rows of an audience; -1: not said */
	int			invalid_entries;	/* rows of an audience that are none */
	int			guilty_index;	/* event the answer names (SPEC 8.4, 2804019), or -1 */
	int64		date_s;			/* Meta's clock at the answer; 0: not told */
	int64		rest_ms;		/* least time before the dataset's next request,
								 * from headers or by class; 0: none; <= 24 h */
	int			usage_percent;	/* highest usage in the headers, or -1 */
	char		message[300];	/* for the request log: Meta's message with values
								 * that may be personal masked, or transport detail */
	char		fbtrace_id[64];
	char		api_version[32];	/* that answered, or "" */
	char		warning[256];	/* API version warning header, or "" */
} CapiResult;

/*
 * sent: number of events in the request.  Needs no transaction; raises nothing
 * but out of memory.  Texts in result are valid in the database's encoding.
 */
extern void capi_response_classify(const CapiAnswer *answer, int sent,
								   CapiResult *result);

/* Word for the request log and reasons: "accepted", "transient", ... */
extern const char *capi_response_class_name(CapiClass class);

/*
 * Copies text into target, cut at size, without anything that could be a
 * person's: see response_mask.c.
 */
extern void capi_response_mask(const char *text, char *target, size_t size);

/* Known words of messages, names of the format, and titles (response_words.c). */
extern bool capi_response_is_word(const char *p, size_t len);
extern bool capi_response_is_name(const char *p, size_t len);

/* What an error means, or NULL. */
extern const char *capi_response_title(int code, int subcode);

/*
 * JSON text (response_json.c): what an answer or a header said.  Unknown
 * members are skipped; a text that breaks off leaves what was read until then.
 */
#define CAPI_JSON_TEXT_BYTES	1024

typedef struct CapiAnswerJson
{
	bool		valid;			/* the whole text is one JSON object */
	bool		has_error;		/* a member "error" at the top, not null */
	bool		has_code;
	int			code;			/* error.code */
	int			subcode;		/* error.error_subcode, or 0 */
	bool		is_transient;	/* error.is_transient */
	int			event_index;	/* event_index anywhere in error, or -1 */
	int			events_received;	/* or num_received; -1: not said */
	int			invalid_entries;	/* num_invalid_entries, or 0 */
	char		message[CAPI_JSON_TEXT_BYTES];	/* raw, never to be shown */
	char		user_msg[CAPI_JSON_TEXT_BYTES]; /* raw, never to be shown */
	char		fbtrace_id[64];
	double		usage_percent;	/* highest of all usage members, or -1 */
	int64		regain_minutes; /* estimated_time_to_regain_access, highest */
	int64		reset_seconds;	/* reset_time_duration, highest */
} CapiAnswerJson;

extern void capi_response_read_json(const char *text, size_t len,
									CapiAnswerJson *json);

#endif							/* CAPI_RESPONSE_H */
