/*
 * transfer_curl.c
 *		One request as libcurl sees it.
 *
 * Nothing here waits or talks to the network: a handle is prepared, callbacks
 * collect the answer within its limits, and the end is translated into the
 * words of transport.h.  transport_curl.c drives the handle.
 *
 * INVARIANTS
 *	1.	Nothing is raised and nothing is palloc'ed, in callbacks above all: they
 *		record and return.
 *	2.	The token is in one header line of the transfer, and that line is wiped
 *		when the transfer ends.  It is in no URL, error text or answer.
 *	3.	Certificate and host name are verified, always; there is no setting.
 *
 * LIMITS
 *	-	curl copies the header line into buffers of its own, which are wiped when
 *		it frees them (transport_curl.c); what is below it does not wipe, so free
 *		memory is cleared when a transport ends (remains.c).
 *	-	Proxy variables of the server's environment are ignored: an environment
 *		set for something else must not decide where orders are sent.
 */
#include "postgres.h"

#include <arpa/inet.h>

#include "base/capi.h"
#include "base/compat.h"
#include "send/transfer_curl.h"

/* A connection is replaced after this time, to follow changes of DNS. */
#define CONNECTION_LIFETIME_S	900

/*
 * A peer that moves nothing for this long is gone.  Matters only when the
 * request timeout is set longer.
 */
#define STALL_TIMEOUT_S			60

/* First allocation for an answer; most fit. */
#define FIRST_BODY_BYTES		1024

/* What stands before the token in its header line. */
#define TOKEN_PREFIX			"Authorization: Bearer "

/*
 * Sets an option or leaves the function with false and a reason that names it.
 * Wants err and errlen in scope.
 */
#define SETOPT(easy, option, value) \
	do { \
		CURLcode	setopt_code = curl_easy_setopt(easy, option, value); \
		if (setopt_code != CURLE_OK) \
		{ \
			snprintf(err, errlen, "could not set %s: %s", #option, \
					 curl_easy_strerror(setopt_code)); \
			return false; \
		} \
	} while (0)

/* Reads a value, or leaves the variable at its preset and says so in detail. */
#define GETINFO(x, option, variable) \
	do { \
		CURLcode	getinfo_code = \
			curl_easy_getinfo((x)->easy, option, variable); \
		if (getinfo_code != CURLE_OK) \
			snprintf((x)->answer.detail, sizeof((x)->answer.detail), \
					 "could not get %s: %s", #option, \
					 curl_easy_strerror(getinfo_code)); \
	} while (0)

static char *check_url(const CapiHttpRequest *req, char *err, size_t errlen);
static bool host_is_loopback(const char *host);
static bool set_options(CapiTransfer *x, const CapiHttpRequest *req,
						const char *url, char *err, size_t errlen);
static bool set_tls_options(CURL *easy, const CapiHttpRequest *req,
							char *err, size_t errlen);
static bool build_headers(CapiTransfer *x, const CapiHttpRequest *req,
						  char *err, size_t errlen);
static bool append_header(CapiTransfer *x, const char *line);
static void wipe_headers(CapiTransfer *x);
static CapiTransportCode translate_code(const CapiTransfer *x, CURLcode code,
										long sent);
static void fill_detail(CapiTransfer *x, CURLcode code);
static size_t on_body(char *data, size_t size, size_t count, void *arg);
static size_t on_header(char *data, size_t size, size_t count, void *arg);

CapiTransfer *
capi_transfer_create(void)
{
	CapiTransfer *x = calloc(1, sizeof(CapiTransfer));

	if (x == NULL)
		return NULL;
	x->easy = curl_easy_init();
	if (x->easy == NULL)
	{
		free(x);
		return NULL;
	}
	return x;
}

bool
capi_transfer_configure(CapiTransfer *x, const CapiHttpRequest *req,
						char *err, size_t errlen)
{
	char	   *url = check_url(req, err, errlen);
	bool		ok;

	if (url == NULL)
		return false;
	ok = build_headers(x, req, err, errlen) &&
		set_options(x, req, url, err, errlen);
	curl_free(url);				/* curl has its own copy */
	x->answer.tag = req->tag;
	return ok;
}

void
capi_transfer_finish(CapiTransfer *x, CURLcode code)
{
	CapiAnswer *answer = &x->answer;
	curl_off_t	retry_after = 0;
	long		http_status = 0;
	long		sent = 0;

	GETINFO(x, CURLINFO_RESPONSE_CODE, &http_status);
	GETINFO(x, CURLINFO_REQUEST_SIZE, &sent);
	GETINFO(x, CURLINFO_RETRY_AFTER, &retry_after);

	answer->transport = translate_code(x, code, sent);
	if (answer->transport == CAPI_TRANSPORT_OK ||
		answer->transport == CAPI_TRANSPORT_TOO_LARGE)
		answer->http_status = (int) http_status;
	if (answer->transport != CAPI_TRANSPORT_OK)
		fill_detail(x, code);

	/* curl has turned a date into the seconds from now */
	if (retry_after > 0)
		snprintf(answer->retry_after, sizeof(answer->retry_after),
				 INT64_FORMAT, (int64) retry_after);

	wipe_headers(x);
}

void
capi_transfer_reset(CapiTransfer *x)
{
	CURL	   *easy = x->easy;

	curl_easy_reset(easy);
	wipe_headers(x);
	free(x->answer.body);
	memset(x, 0, sizeof(CapiTransfer));
	x->easy = easy;
}

void
capi_transfer_free(CapiTransfer *x)
{
	curl_easy_cleanup(x->easy);
	wipe_headers(x);
	free(x->answer.body);
	free(x);
}

/*
 * The URL as curl understood it, to be freed with curl_free, or NULL with the
 * reason in err.  https only; http when the caller allows it and then only to
 * this very machine.  What was checked is what is used: curl gets the result,
 * not the original text.
 */
static char *
check_url(const CapiHttpRequest *req, char *err, size_t errlen)
{
	CURLU	   *parsed = curl_url();
	char	   *scheme = NULL;
	char	   *host = NULL;
	char	   *user = NULL;
	char	   *url = NULL;
	const char *problem = NULL;

	if (parsed == NULL)
		problem = "out of memory";
	else if (req->url == NULL ||
			 curl_url_set(parsed, CURLUPART_URL, req->url, 0) != CURLUE_OK ||
			 curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
			 curl_url_get(parsed, CURLUPART_HOST, &host, 0) != CURLUE_OK)
		problem = "the address is not a valid URL";
	else if (curl_url_get(parsed, CURLUPART_USER, &user, 0) == CURLUE_OK)
		problem = "the address must not hold a user name or password";
	else if (strcmp(scheme, "http") == 0)
	{
		if (!req->allow_http)
			problem = "the address is not https";
		else if (!host_is_loopback(host))
			problem = "plain http is possible to this machine only";
	}
	else if (strcmp(scheme, "https") != 0)
		problem = "the address is not https";

	if (problem == NULL &&
		curl_url_get(parsed, CURLUPART_URL, &url, 0) != CURLUE_OK)
		problem = "out of memory";

	curl_free(scheme);
	curl_free(host);
	curl_free(user);
	curl_url_cleanup(parsed);
	if (problem != NULL)
		snprintf(err, errlen, "%s", problem);
	return url;
}

/*
 * curl resolves "localhost" by itself to 127.0.0.1 and ::1 (since 7.78, RFC
 * 6761), and has already turned short and hexadecimal addresses into dotted
 * ones.
 */
static bool
host_is_loopback(const char *host)
{
	unsigned char address[sizeof(struct in_addr)];

	if (pg_strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
		return true;
	return inet_pton(AF_INET, host, address) == 1 && address[0] == 127;
}

/* Every option of a request is set here or in set_tls_options, on purpose. */
static bool
set_options(CapiTransfer *x, const CapiHttpRequest *req, const char *url,
			char *err, size_t errlen)
{
	CURL	   *easy = x->easy;

	SETOPT(easy, CURLOPT_NOSIGNAL, 1L);
	SETOPT(easy, CURLOPT_ERRORBUFFER, x->error);
	SETOPT(easy, CURLOPT_PRIVATE, x);

#if LIBCURL_VERSION_NUM >= 0x075500
	SETOPT(easy, CURLOPT_PROTOCOLS_STR,
		   req->allow_http ? "http,https" : "https");
#else
	SETOPT(easy, CURLOPT_PROTOCOLS, (long) (CURLPROTO_HTTPS |
		   (req->allow_http ? CURLPROTO_HTTP : 0)));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
	/* Or taking down a transfer would wait for a name server that is silent. */
	SETOPT(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
	SETOPT(easy, CURLOPT_URL, url);
	SETOPT(easy, CURLOPT_PROXY, "");	/* not even from the environment */
	SETOPT(easy, CURLOPT_FOLLOWLOCATION, 0L);
	SETOPT(easy, CURLOPT_USERAGENT, "capi/" CAPI_VERSION);

	if (req->body == NULL)
		SETOPT(easy, CURLOPT_HTTPGET, 1L);
	else
	{
		SETOPT(easy, CURLOPT_POST, 1L);
		SETOPT(easy, CURLOPT_POSTFIELDS, req->body);
		SETOPT(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) req->body_len);
	}
	SETOPT(easy, CURLOPT_HTTPHEADER, x->headers);
	SETOPT(easy, CURLOPT_CUSTOMREQUEST, req->method);

	SETOPT(easy, CURLOPT_WRITEFUNCTION, on_body);
	SETOPT(easy, CURLOPT_WRITEDATA, x);
	SETOPT(easy, CURLOPT_HEADERFUNCTION, on_header);
	SETOPT(easy, CURLOPT_HEADERDATA, x);
	SETOPT(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t) CAPI_MAX_ANSWER_BYTES);

	SETOPT(easy, CURLOPT_CONNECTTIMEOUT_MS, (long) req->connect_timeout_ms);
	SETOPT(easy, CURLOPT_TIMEOUT_MS, (long) req->request_timeout_ms);
	SETOPT(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
	SETOPT(easy, CURLOPT_LOW_SPEED_TIME, (long) STALL_TIMEOUT_S);

	SETOPT(easy, CURLOPT_TCP_NODELAY, 1L);
	SETOPT(easy, CURLOPT_MAXLIFETIME_CONN, (long) CONNECTION_LIFETIME_S);
	return set_tls_options(easy, req, err, errlen);
}

static bool
set_tls_options(CURL *easy, const CapiHttpRequest *req,
				char *err, size_t errlen)
{
	bool		has_http2;

	/* a library without HTTP/2 refuses the wish for it */
	has_http2 = (curl_version_info(CURLVERSION_NOW)->features &
				 CURL_VERSION_HTTP2) != 0;
	SETOPT(easy, CURLOPT_HTTP_VERSION, has_http2 ?
		   (long) CURL_HTTP_VERSION_2TLS : (long) CURL_HTTP_VERSION_1_1);
	SETOPT(easy, CURLOPT_PIPEWAIT, has_http2 ? 1L : 0L);

	SETOPT(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	SETOPT(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	SETOPT(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	if (req->ca_file != NULL && req->ca_file[0] != '\0')
	{
		SETOPT(easy, CURLOPT_CAINFO, req->ca_file);
		/* or the system's directory of certificates would still be trusted */
		SETOPT(easy, CURLOPT_CAPATH, NULL);
	}
	return true;
}

/*
 * Header lines of the request.  A token with a line break or anything else
 * that is not visible ASCII is refused here, or it could add headers.
 */
static bool
build_headers(CapiTransfer *x, const CapiHttpRequest *req, char *err, size_t errlen)
{
	const char *token = req->token;
	char	   *line;
	size_t		size;
	bool		ok;

	/* An empty Expect: or a large body waits for a 100 from the peer. */
	ok = req->body == NULL ||
		(append_header(x, req->is_form ?
					   "Content-Type: application/x-www-form-urlencoded" :
					   "Content-Type: application/json") &&
		 append_header(x, "Expect:"));

	if (ok && token != NULL && token[0] != '\0')
	{
		for (const char *p = token; *p != '\0'; p++)
		{
			if (*p <= ' ' || *p > '~')
			{
				snprintf(err, errlen,
						 "the access token has characters that no token can have");
				return false;
			}
		}

		size = sizeof(TOKEN_PREFIX) + strlen(token);
		line = malloc(size);
		if (line != NULL)
			snprintf(line, size, "%s%s", TOKEN_PREFIX, token);
		ok = line != NULL && append_header(x, line);	/* copies */
		if (line != NULL)
			explicit_bzero(line, size);
		free(line);
	}
	if (!ok)
		snprintf(err, errlen, "out of memory");
	return ok;
}

static bool
append_header(CapiTransfer *x, const char *line)
{
	struct curl_slist *longer = curl_slist_append(x->headers, line);

	if (longer == NULL)
		return false;
	x->headers = longer;
	return true;
}

/* Only when curl no longer uses them: keeps invariant 2. */
static void
wipe_headers(CapiTransfer *x)
{
	for (struct curl_slist *line = x->headers; line != NULL; line = line->next)
		explicit_bzero(line->data, strlen(line->data));
	curl_slist_free_all(x->headers);
	x->headers = NULL;
}

/*
 * What a result of curl means for the events.  Codes that say "nothing was
 * sent" must really mean it; all the rest is an unknown outcome.
 */
static CapiTransportCode
translate_code(const CapiTransfer *x, CURLcode code, long sent)
{
	switch (code)
	{
		case CURLE_OK:
			return CAPI_TRANSPORT_OK;
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_COULDNT_RESOLVE_PROXY:
			return CAPI_TRANSPORT_RESOLVE;
		case CURLE_COULDNT_CONNECT:
			return CAPI_TRANSPORT_CONNECT;
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CIPHER:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_SSL_ENGINE_INITFAILED:
		case CURLE_SSL_INVALIDCERTSTATUS:
		case CURLE_USE_SSL_FAILED:
			return CAPI_TRANSPORT_TLS;
		case CURLE_OPERATION_TIMEDOUT:
			/* times do not tell: new versions fill them in on failure, too */
			return sent == 0 ?
				CAPI_TRANSPORT_CONNECT : CAPI_TRANSPORT_TIMEOUT;
		case CURLE_FILESIZE_EXCEEDED:
			return CAPI_TRANSPORT_TOO_LARGE;
		case CURLE_WRITE_ERROR:
			return x->too_large ?
				CAPI_TRANSPORT_TOO_LARGE : CAPI_TRANSPORT_OTHER;
		case CURLE_PARTIAL_FILE:
		case CURLE_GOT_NOTHING:
		case CURLE_SEND_ERROR:
		case CURLE_RECV_ERROR:
		case CURLE_HTTP2:
		case CURLE_HTTP2_STREAM:
			return CAPI_TRANSPORT_CUT;
		default:
			return CAPI_TRANSPORT_OTHER;
	}
}

/*
 * The library's words on a failure.  They name host, port and certificate, no
 * path and no header; should one ever hold the token, they are not used.
 */
static void
fill_detail(CapiTransfer *x, CURLcode code)
{
	CapiAnswer *answer = &x->answer;
	const char *text = x->error[0] != '\0' ?
		x->error : curl_easy_strerror(code);
	const size_t prefix_len = sizeof(TOKEN_PREFIX) - 1;

	for (struct curl_slist *line = x->headers; line != NULL; line = line->next)
	{
		if (strncmp(line->data, TOKEN_PREFIX, prefix_len) == 0 &&
			strstr(text, line->data + prefix_len) != NULL)
			text = curl_easy_strerror(code);
	}
	if (x->too_large)
		text = "the answer is too large";
	if (x->out_of_memory)
		text = "out of memory";

	strlcpy(answer->detail, text, sizeof(answer->detail));
	for (char *p = answer->detail; *p != '\0'; p++)
	{
		if (*p < ' ' || *p > '~')
			*p = ' ';
	}
}

/* Keeps the answer's body up to its limit; a short return ends the transfer. */
static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
	CapiTransfer *x = arg;
	CapiAnswer *answer = &x->answer;
	size_t		len = size * count;
	size_t		wanted;

	if (len > CAPI_MAX_ANSWER_BYTES - answer->body_len)
	{
		x->too_large = true;
		return 0;
	}

	wanted = answer->body_len + len + 1;
	if (wanted > x->body_size)
	{
		size_t		new_size = Max(x->body_size * 2, FIRST_BODY_BYTES);
		char	   *grown;

		while (new_size < wanted)
			new_size *= 2;
		grown = realloc(answer->body, new_size);
		if (grown == NULL)
		{
			x->out_of_memory = true;
			return 0;
		}
		answer->body = grown;
		x->body_size = new_size;
	}

	memcpy(answer->body + answer->body_len, data, len);
	answer->body_len += len;
	answer->body[answer->body_len] = '\0';
	return len;
}

/* Keeps the few headers an answer is classified by (SPEC 7, 8.5). */
static size_t
on_header(char *data, size_t size, size_t count, void *arg)
{
	CapiAnswer *answer = &((CapiTransfer *) arg)->answer;
	size_t		len = size * count;
	char		date[64] = "";
	const struct
	{
		const char *name;
		char	   *target;
		size_t		room;
	}			kept[] = {
		{"x-app-usage:", answer->app_usage, sizeof(answer->app_usage)},
		{"x-ad-account-usage:", answer->account_usage,
		sizeof(answer->account_usage)},
		{"x-business-use-case-usage:", answer->business_usage,
		sizeof(answer->business_usage)},
		{"x-business-use-case:", answer->business_usage,
		sizeof(answer->business_usage)},
		{"x-ad-api-version-warning:", answer->api_warning,
		sizeof(answer->api_warning)},
		{"facebook-api-version:", answer->api_version,
		sizeof(answer->api_version)},
		{"date:", date, sizeof(date)},
	};

	for (size_t i = 0; i < lengthof(kept); i++)
	{
		size_t		name_len = strlen(kept[i].name);
		size_t		from;
		size_t		until = len;

		if (len < name_len || pg_strncasecmp(data, kept[i].name, name_len) != 0)
			continue;
		for (from = name_len; from < until && data[from] == ' ';)
			from++;
		while (until > from && (unsigned char) data[until - 1] <= ' ')
			until--;
		until = Min(until, from + kept[i].room - 1);
		memcpy(kept[i].target, data + from, until - from);
		kept[i].target[until - from] = '\0';
		break;
	}
	if (date[0] != '\0')
		answer->date_s = Max((int64) curl_getdate(date, NULL), 0);
	return len;
}
