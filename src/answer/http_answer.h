/*
 * http_answer.h
 *		What came back for one request: the input of response.c.
 *
 * Filled by the transport in send/, which alone knows an HTTP library.  Pure.
 */
#ifndef CAPI_HTTP_ANSWER_H
#define CAPI_HTTP_ANSWER_H

/* What became of a request below HTTP. */
typedef enum CapiTransportCode
{
	CAPI_TRANSPORT_OK,			/* an HTTP status arrived, body complete */
	CAPI_TRANSPORT_RESOLVE,		/* name not found; nothing was sent */
	CAPI_TRANSPORT_CONNECT,		/* not connected; nothing was sent */
	CAPI_TRANSPORT_TLS,			/* handshake or certificate; nothing sent */
	CAPI_TRANSPORT_TIMEOUT,		/* outcome unknown */
	CAPI_TRANSPORT_CUT,			/* connection lost; outcome unknown */
	CAPI_TRANSPORT_TOO_LARGE,	/* answer beyond CAPI_MAX_ANSWER_BYTES */
	CAPI_TRANSPORT_OTHER		/* anything else; outcome unknown */
} CapiTransportCode;

typedef struct CapiAnswer
{
	void	   *tag;
	CapiTransportCode transport;
	int			http_status;	/* 0 unless transport is OK or TOO_LARGE */
	char		detail[256];	/* library's words on a failure, no secret */
	char	   *body;			/* NUL-terminated, bounded, malloc'ed; NULL if
								 * there is none */
	size_t		body_len;
	char		retry_after[64];	/* Retry-After in seconds (a date is
									 * converted on arrival), or "" */
	char		app_usage[512];		/* X-App-Usage, or "" */
	char		account_usage[512]; /* X-Ad-Account-Usage, or "" */
	char		business_usage[2048];	/* X-Business-Use-Case-Usage, or "" */
	int64		date_s;			/* Date, in Unix seconds; 0: none */
	char		api_version[32];	/* facebook-api-version, or "" */
	char		api_warning[256];	/* X-Ad-Api-Version-Warning, or "" */
	int64		duration_ms;
} CapiAnswer;

#endif							/* CAPI_HTTP_ANSWER_H */
