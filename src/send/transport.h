/*
 * transport.h
 *		What the dispatcher needs from an HTTP client, free of any library.
 *
 * transport_curl.c and transfer_curl.c implement it; no other file knows
 * libcurl.  Called by dispatch.c (and by the SQL function capi.test_dataset).
 * Nothing here opens a transaction, and a request that fails is no error:
 * failures come back in CapiAnswer.transport.
 */
#ifndef CAPI_TRANSPORT_H
#define CAPI_TRANSPORT_H

#include "answer/http_answer.h"

/*
 * Connections, to one host and in all.  HTTP/2 needs one for all requests, an
 * HTTP/1.1 peer one for each; more than these wait inside the library.
 */
#define CAPI_MAX_CONNECTIONS	64

typedef struct CapiHttpRequest
{
	const char *url;			/* no secret in it, ever */
	const char *method;			/* NULL: as the body says */
	const char *token;			/* becomes the Authorization header */
	const char *body;			/* owned by the caller until the answer; NULL: GET */
	size_t		body_len;
	bool		is_form;		/* the body is, else JSON */
	int			connect_timeout_ms;
	int			request_timeout_ms;
	const char *ca_file;		/* NULL: the system's store */
	bool		allow_http;		/* plain http, and then to loopback only */
	void	   *tag;			/* comes back in CapiAnswer */
} CapiHttpRequest;

typedef struct CapiTransport CapiTransport;

/*
 * Raises an error (53000, 53200 or 58000) when libcurl cannot be set up.  The
 * transport belongs to the process, not to a memory context or a transaction,
 * and survives errors: whoever creates it destroys it, also on error.
 */
extern CapiTransport *capi_transport_create(void);

/*
 * Starts a request.  False, with the reason in err, when it could not even be
 * queued; the request then never reached the network.
 */
extern bool capi_transport_start(CapiTransport *t, const CapiHttpRequest *req,
								 char *err, size_t errlen);

/*
 * Lets the library work until a request is finished, the latch is set or
 * timeout_ms passed (-1: no limit).  Serves interrupts before and after it
 * sleeps, so it may throw, but never out of a callback.  With nothing in
 * flight it is a plain latch wait; with an answer not yet taken it returns at
 * once.  Resets MyLatch when that woke it.  The only wait point of the
 * dispatcher.
 */
extern void capi_transport_wait(CapiTransport *t, int64 timeout_ms);

/* Next finished request, or false.  Free with capi_transport_free_answer. */
extern bool capi_transport_next(CapiTransport *t, CapiAnswer *answer);
extern void capi_transport_free_answer(CapiAnswer *answer);

/* Requests started whose answer was not taken yet; 0 for NULL. */
extern int	capi_transport_in_flight(const CapiTransport *t);

/* Wait event that capi_transport_wait shows in pg_stat_activity. */
extern uint32 capi_wait_event_http(void);

/* Cancels what is in flight and frees everything; safe on NULL. */
extern void capi_transport_destroy(CapiTransport *t);

#endif							/* CAPI_TRANSPORT_H */
