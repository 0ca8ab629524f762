/*
 * response.h
 *		One place that turns transport result, HTTP status and answer body into
 *		what to do (SPEC section 8).  Pure: no network, no database, no clock.
 *		Called by dispatch.c only.
 */
#ifndef CAPI_RESPONSE_H
#define CAPI_RESPONSE_H

#include "transport.h"

typedef enum CapiClass
{
	CAPI_CLASS_ACCEPTED,		/* every event of the request was received */
	CAPI_CLASS_TRANSIENT,		/* same body again later, with backoff */
	CAPI_CLASS_THROTTLED,		/* the dataset rests, then the same again */
	CAPI_CLASS_CREDENTIAL,		/* the dataset pauses; its events wait */
	CAPI_CLASS_VERSION,			/* API version retired: dataset pauses */
	CAPI_CLASS_PERMANENT		/* some event of the request is refused */
} CapiClass;

typedef struct CapiResult
{
	CapiClass	class;
	int			http_status;	/* 0: no HTTP answer */
	int			error_code;		/* 0: none */
	int			error_subcode;	/* 0: none */
	bool		is_transient;
	int			events_received;	/* -1: not said */
	int			guilty_index;	/* event the answer names (SPEC 8.4, 2804019), or -1 */
	int64		rest_ms;		/* how long the headers ask to wait, or 0 */
	int			usage_percent;	/* highest usage in the headers, or -1 */
	char		message[300];	/* for the request log: Meta's message with values
								 * that may be personal masked, or transport detail */
	char		fbtrace_id[64];
	char		warning[256];	/* API version warning header, or "" */
} CapiResult;

/* sent: number of events in the request. */
extern void capi_response_classify(const CapiAnswer *answer, int sent,
								   CapiResult *result);

/* Word for the request log and reasons: "accepted", "transient", ... */
extern const char *capi_response_class_name(CapiClass class);

#endif							/* CAPI_RESPONSE_H */
