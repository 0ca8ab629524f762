/*
 * transfer_curl.h
 *		One request as libcurl sees it: how it is set up, what is kept of its
 *		answer, and what its end means.
 *
 * Shared by transfer_curl.c and transport_curl.c, and for no other file: these
 * two are all that knows libcurl.
 */
#ifndef CAPI_TRANSFER_CURL_H
#define CAPI_TRANSFER_CURL_H

#include <curl/curl.h>

#include "lib/ilist.h"

#include "send/transport.h"

/* 7.83 is the oldest release the project supports. */
#define CAPI_MIN_CURL_VERSION	0x075300
#if LIBCURL_VERSION_NUM < CAPI_MIN_CURL_VERSION
#error "capi requires libcurl 7.83 or newer"
#endif

/* One request, from start until its answer was taken. */
typedef struct CapiTransfer
{
	dlist_node	node;			/* in exactly one list of the transport */
	CURL	   *easy;
	struct curl_slist *headers; /* holds the token: see wipe_headers */
	char		error[CURL_ERROR_SIZE]; /* curl's words, valid until reset */
	size_t		body_size;		/* bytes allocated for answer.body */
	bool		too_large;		/* on_body refused to take more */
	bool		out_of_memory;	/* on_body could not get more */
	int64		started_ms;		/* by the transport's clock */
	CapiAnswer	answer;			/* filled as it arrives */
} CapiTransfer;

/* NULL when out of memory. */
extern CapiTransfer *capi_transfer_create(void);

/*
 * Sets every option of the request.  False, with the reason in err, when it
 * must not or cannot be sent; then reset or free the transfer.
 */
extern bool capi_transfer_configure(CapiTransfer *x,
									const CapiHttpRequest *req,
									char *err, size_t errlen);

/* Completes the answer; the handle is out of the multi handle by then. */
extern void capi_transfer_finish(CapiTransfer *x, CURLcode code);

/* Forgets everything of the request and keeps the handle. */
extern void capi_transfer_reset(CapiTransfer *x);
extern void capi_transfer_free(CapiTransfer *x);

#endif							/* CAPI_TRANSFER_CURL_H */
