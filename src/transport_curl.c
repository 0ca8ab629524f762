/*
 * transport_curl.c
 *		HTTPS requests over libcurl's multi interface; the only file that knows
 *		libcurl.
 *
 * DESIGN
 *		One multi handle drives every request of the process.  Its sockets are
 *		kept in one epoll set (level triggered), and the descriptor of that set
 *		is waited for together with the process latch, so the dispatcher has a
 *		single wait point that SetLatch, barriers and cancellation all reach.
 *		curl's timer is a deadline beside it.
 *
 *		idle -> capi_transport_start -> in flight -> finish_transfer -> finished
 *		  ^                                                                |
 *		  +--------------------- capi_transport_next ----------------------+
 *
 * INVARIANTS
 *	1.	Nothing is raised and nothing is palloc'ed in a callback or between two
 *		calls into curl: callbacks record and return.
 *	2.	All state is malloc'ed and changed only between interrupt checks, so an
 *		error that leaves capi_transport_wait by longjmp finds and leaves the
 *		transport consistent.
 *	3.	All signals are blocked while curl may start its resolver thread, which
 *		would otherwise inherit the mask and run the server's signal handlers.
 *	4.	The token is in one header line of the transfer, and that line is wiped
 *		when the transfer ends.  It is in no URL, error text or answer.
 *	5.	Certificate and host name are verified, always; there is no setting.
 *
 * LIMITS
 *	-	curl copies the header line into its send buffer, which it frees without
 *		wiping.
 *	-	Proxy variables of the server's environment are ignored: an environment
 *		set for something else must not decide where orders are sent.
 *	-	curl itself repeats a request, once, on a fresh connection when a reused
 *		one turns out to be closed before a byte of the answer.  Same body, so
 *		the same event ids: what our own retry would do.
 *
 * Called by dispatch.c and by the SQL function capi.test_dataset.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "lib/ilist.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/wait_event.h"

#include "capi.h"
#include "compat.h"
#include "transport.h"

/* 7.83 is the oldest release the project is tested with (DESIGN section 7). */
#define MIN_CURL_VERSION		0x075300
#if LIBCURL_VERSION_NUM < MIN_CURL_VERSION
#error "capi requires libcurl 7.83 or newer"
#endif

#ifndef CAPI_VERSION
#define CAPI_VERSION			"unknown"
#endif

/*
 * Connections, to one host and in all.  A dispatcher has a handful of requests
 * in flight and HTTP/2 needs one connection for all of them; eight is for
 * HTTP/1.1 peers.  More requests than that wait inside curl.
 */
#define MAX_HOST_CONNECTIONS	8
#define MAX_CONNECTIONS			16

/* A connection is replaced after this time, so that DNS changes are followed. */
#define CONNECTION_LIFETIME_S	900

/* Transfers kept for reuse when nothing is in flight. */
#define MAX_IDLE_TRANSFERS		8

/*
 * A peer that moves nothing for this long is gone.  Matters only when the
 * request timeout is set longer.
 */
#define STALL_TIMEOUT_S			60

/* Events taken from the kernel in one call. */
#define EPOLL_BATCH				16

/* Longest sleep in one piece; also keeps the value inside an int. */
#define MAX_SLEEP_MS			(60 * 60 * 1000)

/* First allocation for an answer; most fit. */
#define FIRST_BODY_BYTES		1024

/* One request, from start until its answer was taken. */
typedef struct Transfer
{
	dlist_node	node;			/* in exactly one list of the transport */
	CURL	   *easy;
	struct curl_slist *headers; /* holds the token: see wipe_headers */
	char		error[CURL_ERROR_SIZE]; /* curl's words, valid until reset */
	size_t		body_size;		/* bytes allocated for answer.body */
	bool		too_large;		/* on_body refused to take more */
	bool		out_of_memory;	/* on_body could not get more */
	int64		started_ms;
	CapiAnswer	answer;			/* filled as it arrives */
} Transfer;

struct CapiTransport
{
	CURLM	   *multi;			/* NULL after a breakdown, until next start */
	int			epoll_fd;
	int64		timer_ms;		/* when curl wants to be called; -1: never */
	bool		io_failed;		/* a callback could not register a socket */
	int			in_flight_count;	/* started and not yet taken */
	int			idle_count;
	dlist_head	in_flight;
	dlist_head	finished;
	dlist_head	idle;
};

/* Done once in a process; libcurl's own counter is not relied upon. */
static bool curl_is_initialized = false;

/* Chosen at first use, see capi_wait_event_http. */
static uint32 wait_event_http = 0;

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

#define SETOPT_MULTI(multi, option, value) \
	do { \
		CURLMcode	setopt_code = curl_multi_setopt(multi, option, value); \
		if (setopt_code != CURLM_OK) \
		{ \
			snprintf(err, errlen, "could not set %s: %s", #option, \
					 curl_multi_strerror(setopt_code)); \
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

static void initialize_curl(void);
static bool open_multi(CapiTransport *t, char *err, size_t errlen);
static char *check_url(const CapiHttpRequest *req, char *err, size_t errlen);
static bool host_is_loopback(const char *host);
static Transfer *take_transfer(CapiTransport *t);
static void recycle_transfer(CapiTransport *t, Transfer *x);
static void free_transfer(Transfer *x);
static bool configure_transfer(Transfer *x, const CapiHttpRequest *req,
							   const char *url, char *err, size_t errlen);
static bool configure_tls(CURL *easy, const CapiHttpRequest *req,
						  char *err, size_t errlen);
static bool build_headers(Transfer *x, const char *token,
						  char *err, size_t errlen);
static void wipe_headers(Transfer *x);
static void drive(CapiTransport *t, curl_socket_t fd, int flags);
static void serve_sockets(CapiTransport *t);
static void collect_finished(CapiTransport *t);
static void finish_transfer(CapiTransport *t, Transfer *x, CURLcode code);
static CapiTransportCode translate_code(const Transfer *x, CURLcode code,
										curl_off_t pretransfer_us);
static void fill_detail(Transfer *x, CURLcode code);
static void abandon_all(CapiTransport *t, const char *why);
static int	on_socket(CURL *easy, curl_socket_t fd, int what, void *arg,
					  void *socket_arg);
static int	on_timer(CURLM *multi, long timeout_ms, void *arg);
static size_t on_body(char *data, size_t size, size_t count, void *arg);
static size_t on_header(char *data, size_t size, size_t count, void *arg);
static void block_signals(sigset_t *saved);
static void restore_signals(const sigset_t *saved);
static int64 now_ms(void);

/*
 * Wait event under which capi_transport_wait shows in pg_stat_activity.  Not
 * for use inside of a callback: from 17 on it takes a lock at first use.
 */
uint32
capi_wait_event_http(void)
{
	if (wait_event_http == 0)
		wait_event_http = CAPI_WAIT_EVENT_NEW("CapiHttp");
	return wait_event_http;
}

/*
 * Sets up a transport.  It belongs to the process, not to a memory context or
 * a transaction: the caller destroys it, also on error.
 */
CapiTransport *
capi_transport_create(void)
{
	CapiTransport *t;
	char		err[256];

	(void) capi_wait_event_http();
	initialize_curl();

	t = calloc(1, sizeof(CapiTransport));
	if (t == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	dlist_init(&t->in_flight);
	dlist_init(&t->finished);
	dlist_init(&t->idle);
	t->timer_ms = -1;

	if (!AcquireExternalFD())
	{
		free(t);
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not set up the HTTP client"),
				 errdetail("There are too many open files in this process."),
				 errhint("Raise max_files_per_process and the limit of the operating system.")));
	}

	t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (t->epoll_fd < 0)
	{
		int			save_errno = errno;

		ReleaseExternalFD();
		free(t);
		errno = save_errno;
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not set up the HTTP client"),
				 errdetail("epoll_create1 failed: %m."),
				 errhint("Raise the operating system's limit of open files.")));
	}

	/* Tell the server's own file cache about the descriptors curl will use. */
	for (int i = 0; i < MAX_CONNECTIONS; i++)
		ReserveExternalFD();

	if (!open_multi(t, err, sizeof(err)))
	{
		capi_transport_destroy(t);
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("could not set up the HTTP client"),
				 errdetail("libcurl %s: %s.", curl_version_info(CURLVERSION_NOW)->version, err),
				 errhint("Check that the installed libcurl is 7.83 or newer.")));
	}
	return t;
}

/*
 * Starts a request and gives it a first push, so that on a warm connection it
 * is on the wire when this returns.  See transport.h.
 */
bool
capi_transport_start(CapiTransport *t, const CapiHttpRequest *req,
					 char *err, size_t errlen)
{
	Transfer   *x;
	char	   *url;
	bool		ok;
	CURLMcode	code;
	sigset_t	saved;

	if (t->multi == NULL && !open_multi(t, err, errlen))
		return false;
	url = check_url(req, err, errlen);
	if (url == NULL)
		return false;
	x = take_transfer(t);
	if (x == NULL)
	{
		curl_free(url);
		snprintf(err, errlen, "out of memory");
		return false;
	}

	ok = configure_transfer(x, req, url, err, errlen);
	curl_free(url);
	if (!ok)
	{
		recycle_transfer(t, x);
		return false;
	}

	x->answer.tag = req->tag;
	x->started_ms = now_ms();
	block_signals(&saved);
	code = curl_multi_add_handle(t->multi, x->easy);
	restore_signals(&saved);
	if (code != CURLM_OK)
	{
		snprintf(err, errlen, "could not queue the request: %s",
				 curl_multi_strerror(code));
		recycle_transfer(t, x);
		return false;
	}

	dlist_push_tail(&t->in_flight, &x->node);
	t->in_flight_count++;
	drive(t, CURL_SOCKET_TIMEOUT, 0);
	return true;
}

/*
 * Sleeps until a request is finished, the latch is set or timeout_ms is over.
 * Returns at once when an answer is waiting to be taken; the latch then stays
 * as it is.  See transport.h.
 */
void
capi_transport_wait(CapiTransport *t, int64 timeout_ms)
{
	int64		deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;

	for (;;)
	{
		int64		now;
		int64		until;
		int			wanted = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
		long		sleep_ms = -1;
		int			got;

		CHECK_FOR_INTERRUPTS();

		now = now_ms();
		if (t->timer_ms >= 0 && t->timer_ms <= now)
			drive(t, CURL_SOCKET_TIMEOUT, 0);
		if (!dlist_is_empty(&t->finished))
			return;

		until = deadline;
		if (t->timer_ms >= 0 && (until < 0 || t->timer_ms < until))
			until = t->timer_ms;
		if (until >= 0)
		{
			wanted |= WL_TIMEOUT;
			sleep_ms = (long) Min(Max(until - now, 0), MAX_SLEEP_MS);
		}

		/*
		 * A wait set made for each call costs a few system calls, nothing
		 * beside a request; WaitLatch has a permanent one for the idle case.
		 */
		if (t->in_flight_count > 0)
			got = WaitLatchOrSocket(MyLatch, wanted | WL_SOCKET_READABLE,
									t->epoll_fd, sleep_ms,
									capi_wait_event_http());
		else
			got = WaitLatch(MyLatch, wanted, sleep_ms, capi_wait_event_http());

		if (got & WL_SOCKET_READABLE)
			serve_sockets(t);
		if (got & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
			return;
		}
		if (!dlist_is_empty(&t->finished) ||
			(deadline >= 0 && now_ms() >= deadline))
			return;
	}
}

/* Hands over the oldest answer, with its body.  See transport.h. */
bool
capi_transport_next(CapiTransport *t, CapiAnswer *answer)
{
	Transfer   *x;

	if (dlist_is_empty(&t->finished))
		return false;

	x = dlist_container(Transfer, node, dlist_pop_head_node(&t->finished));
	t->in_flight_count--;
	*answer = x->answer;
	x->answer.body = NULL;		/* the caller's now */
	recycle_transfer(t, x);
	return true;
}

void
capi_transport_free_answer(CapiAnswer *answer)
{
	free(answer->body);
	answer->body = NULL;
	answer->body_len = 0;
}

/* Requests started whose answer was not yet taken. */
int
capi_transport_in_flight(const CapiTransport *t)
{
	return t == NULL ? 0 : t->in_flight_count;
}

/*
 * Takes everything down in the order curl documents: handles out of the multi
 * handle, handles, multi handle, and what they referred to last.
 */
void
capi_transport_destroy(CapiTransport *t)
{
	if (t == NULL)
		return;

	while (!dlist_is_empty(&t->in_flight))
	{
		Transfer   *x = dlist_container(Transfer, node,
										dlist_pop_head_node(&t->in_flight));

		/* fails only when it is not in there, and it is to go anyway */
		(void) curl_multi_remove_handle(t->multi, x->easy);
		free_transfer(x);
	}
	while (!dlist_is_empty(&t->finished))
		free_transfer(dlist_container(Transfer, node,
									  dlist_pop_head_node(&t->finished)));
	while (!dlist_is_empty(&t->idle))
		free_transfer(dlist_container(Transfer, node,
									  dlist_pop_head_node(&t->idle)));
	if (t->multi != NULL)
		(void) curl_multi_cleanup(t->multi);

	close(t->epoll_fd);
	for (int i = 0; i < MAX_CONNECTIONS + 1; i++)
		ReleaseExternalFD();
	free(t);
}

/*
 * Initializes libcurl, once in a process and never in the postmaster: on some
 * systems it starts threads.  Raises an error when it cannot be used.
 */
static void
initialize_curl(void)
{
	CURLcode	code;
	sigset_t	saved;

	if (curl_is_initialized)
		return;

	block_signals(&saved);
	code = curl_global_init(CURL_GLOBAL_DEFAULT);
	restore_signals(&saved);
	if (code != CURLE_OK)
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("could not initialize libcurl"),
				 errdetail("libcurl says: %s.", curl_easy_strerror(code)),
				 errhint("Check the installation of libcurl and of its TLS library.")));
	curl_is_initialized = true;
}

static bool
open_multi(CapiTransport *t, char *err, size_t errlen)
{
	if (curl_version_info(CURLVERSION_NOW)->version_num < MIN_CURL_VERSION)
	{
		snprintf(err, errlen, "the library is too old");
		return false;
	}

	t->timer_ms = -1;
	t->io_failed = false;
	t->multi = curl_multi_init();
	if (t->multi == NULL)
	{
		snprintf(err, errlen, "out of memory");
		return false;
	}

	SETOPT_MULTI(t->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	SETOPT_MULTI(t->multi, CURLMOPT_SOCKETDATA, t);
	SETOPT_MULTI(t->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	SETOPT_MULTI(t->multi, CURLMOPT_TIMERDATA, t);
	SETOPT_MULTI(t->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
	SETOPT_MULTI(t->multi, CURLMOPT_MAX_HOST_CONNECTIONS,
				 (long) MAX_HOST_CONNECTIONS);
	SETOPT_MULTI(t->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
				 (long) MAX_CONNECTIONS);
	SETOPT_MULTI(t->multi, CURLMOPT_MAXCONNECTS, (long) MAX_HOST_CONNECTIONS);
	return true;
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

	if (strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
		return true;
	return inet_pton(AF_INET, host, address) == 1 && address[0] == 127;
}

/* A transfer in no list, with a fresh handle; NULL when out of memory. */
static Transfer *
take_transfer(CapiTransport *t)
{
	Transfer   *x;

	if (!dlist_is_empty(&t->idle))
	{
		t->idle_count--;
		return dlist_container(Transfer, node, dlist_pop_head_node(&t->idle));
	}

	x = calloc(1, sizeof(Transfer));
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

/* Forgets everything of the request and keeps the handle, or frees it. */
static void
recycle_transfer(CapiTransport *t, Transfer *x)
{
	CURL	   *easy = x->easy;

	if (t->idle_count >= MAX_IDLE_TRANSFERS)
	{
		free_transfer(x);
		return;
	}

	curl_easy_reset(easy);
	wipe_headers(x);
	free(x->answer.body);
	memset(x, 0, sizeof(Transfer));
	x->easy = easy;
	dlist_push_head(&t->idle, &x->node);
	t->idle_count++;
}

static void
free_transfer(Transfer *x)
{
	curl_easy_cleanup(x->easy);
	wipe_headers(x);
	free(x->answer.body);
	free(x);
}

/* Every option of a request is set here or in configure_tls, on purpose. */
static bool
configure_transfer(Transfer *x, const CapiHttpRequest *req, const char *url,
				   char *err, size_t errlen)
{
	CURL	   *easy = x->easy;

	if (!build_headers(x, req->token, err, errlen))
		return false;

	SETOPT(easy, CURLOPT_NOSIGNAL, 1L);
	SETOPT(easy, CURLOPT_ERRORBUFFER, x->error);
	SETOPT(easy, CURLOPT_PRIVATE, x);

#if LIBCURL_VERSION_NUM >= 0x075500
	SETOPT(easy, CURLOPT_PROTOCOLS_STR, req->allow_http ? "http,https" : "https");
#else
	SETOPT(easy, CURLOPT_PROTOCOLS, (long)
		   (req->allow_http ? CURLPROTO_HTTP | CURLPROTO_HTTPS : CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
	/* Or taking down a transfer would wait for a name server that is silent. */
	SETOPT(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
	SETOPT(easy, CURLOPT_URL, url);
	SETOPT(easy, CURLOPT_PROXY, "");	/* not even from the environment */
	SETOPT(easy, CURLOPT_FOLLOWLOCATION, 0L);
	SETOPT(easy, CURLOPT_USERAGENT, "capi/" CAPI_VERSION);

	SETOPT(easy, CURLOPT_POST, 1L);
	SETOPT(easy, CURLOPT_POSTFIELDS, req->body);
	SETOPT(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) req->body_len);
	SETOPT(easy, CURLOPT_HTTPHEADER, x->headers);

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
	return configure_tls(easy, req, err, errlen);
}

static bool
configure_tls(CURL *easy, const CapiHttpRequest *req, char *err, size_t errlen)
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
build_headers(Transfer *x, const char *token, char *err, size_t errlen)
{
	static const char prefix[] = "Authorization: Bearer ";
	static const char *const fixed[] = {
		"Content-Type: application/json",
		"Expect:",				/* or a large body waits for a 100 */
	};
	struct curl_slist *longer;
	char	   *line;
	size_t		size;

	for (int i = 0; i < lengthof(fixed); i++)
	{
		longer = curl_slist_append(x->headers, fixed[i]);
		if (longer == NULL)
			goto out_of_memory;
		x->headers = longer;
	}
	if (token == NULL || token[0] == '\0')
		return true;

	for (const char *p = token; *p != '\0'; p++)
	{
		if (*p <= ' ' || *p > '~')
		{
			snprintf(err, errlen,
					 "the access token has characters that no token can have");
			return false;
		}
	}

	size = sizeof(prefix) + strlen(token);
	line = malloc(size);
	if (line == NULL)
		goto out_of_memory;
	snprintf(line, size, "%s%s", prefix, token);
	longer = curl_slist_append(x->headers, line);	/* copies */
	explicit_bzero(line, size);
	free(line);
	if (longer == NULL)
		goto out_of_memory;
	x->headers = longer;
	return true;

out_of_memory:
	snprintf(err, errlen, "out of memory");
	return false;
}

/* Only when curl no longer uses them: keeps invariant 4. */
static void
wipe_headers(Transfer *x)
{
	for (struct curl_slist *line = x->headers; line != NULL; line = line->next)
		explicit_bzero(line->data, strlen(line->data));
	curl_slist_free_all(x->headers);
	x->headers = NULL;
}

/*
 * Lets curl work: on a socket, or on its timer with CURL_SOCKET_TIMEOUT.
 * Afterwards every request that ended is in the finished list.
 */
static void
drive(CapiTransport *t, curl_socket_t fd, int flags)
{
	CURLMcode	code;
	int			running;
	sigset_t	saved;

	if (t->multi == NULL)
		return;
	if (fd == CURL_SOCKET_TIMEOUT)
		t->timer_ms = -1;		/* on_timer sets the next one */

	block_signals(&saved);
	code = curl_multi_socket_action(t->multi, fd, flags, &running);
	restore_signals(&saved);

	collect_finished(t);
	if (t->io_failed)
		abandon_all(t, "a socket could not be watched");
	else if (code != CURLM_OK)
		abandon_all(t, curl_multi_strerror(code));
}

/* Passes on what the kernel has to say about sockets, without sleeping. */
static void
serve_sockets(CapiTransport *t)
{
	struct epoll_event events[EPOLL_BATCH];
	int			n;

	n = epoll_wait(t->epoll_fd, events, EPOLL_BATCH, 0);
	for (int i = 0; i < n; i++)
	{
		int			flags = 0;

		/*
		 * On an error no flag is given, and curl looks for itself; with its
		 * error flag it would not read what came before the error.
		 */
		if ((events[i].events & (EPOLLERR | EPOLLHUP)) == 0)
		{
			if (events[i].events & EPOLLIN)
				flags |= CURL_CSELECT_IN;
			if (events[i].events & EPOLLOUT)
				flags |= CURL_CSELECT_OUT;
		}
		drive(t, events[i].data.fd, flags);
	}
}

static void
collect_finished(CapiTransport *t)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(t->multi, &left)) != NULL)
	{
		CURLcode	code = message->data.result;	/* message dies below */
		CURL	   *easy = message->easy_handle;
		char	   *private = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private) != CURLE_OK ||
			private == NULL)
			continue;			/* not ours, cannot be */
		(void) curl_multi_remove_handle(t->multi, easy);
		finish_transfer(t, (Transfer *) private, code);
	}
}

/* Completes the answer and moves it to the finished list. */
static void
finish_transfer(CapiTransport *t, Transfer *x, CURLcode code)
{
	CapiAnswer *answer = &x->answer;
	curl_off_t	pretransfer_us = 0;
	curl_off_t	retry_after = 0;
	long		http_status = 0;

	GETINFO(x, CURLINFO_RESPONSE_CODE, &http_status);
	GETINFO(x, CURLINFO_PRETRANSFER_TIME_T, &pretransfer_us);
	GETINFO(x, CURLINFO_RETRY_AFTER, &retry_after);

	answer->transport = translate_code(x, code, pretransfer_us);
	if (answer->transport == CAPI_TRANSPORT_OK ||
		answer->transport == CAPI_TRANSPORT_TOO_LARGE)
		answer->http_status = (int) http_status;
	if (answer->transport != CAPI_TRANSPORT_OK)
		fill_detail(x, code);

	/* curl has turned a date into the seconds from now */
	if (retry_after > 0)
		snprintf(answer->retry_after, sizeof(answer->retry_after),
				 INT64_FORMAT, (int64) retry_after);

	answer->duration_ms = now_ms() - x->started_ms;
	wipe_headers(x);
	dlist_delete(&x->node);
	dlist_push_tail(&t->finished, &x->node);
}

/*
 * What a result of curl means for the events.  Codes that say "nothing was
 * sent" must really mean it; all the rest is an unknown outcome.
 */
static CapiTransportCode
translate_code(const Transfer *x, CURLcode code, curl_off_t pretransfer_us)
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
			/* before this point of a transfer nothing has been sent */
			return pretransfer_us == 0 ?
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
fill_detail(Transfer *x, CURLcode code)
{
	CapiAnswer *answer = &x->answer;
	const char *text = x->error[0] != '\0' ? x->error : curl_easy_strerror(code);
	static const char prefix[] = "Authorization: Bearer ";

	for (struct curl_slist *line = x->headers; line != NULL; line = line->next)
	{
		if (strncmp(line->data, prefix, sizeof(prefix) - 1) == 0 &&
			strstr(text, line->data + sizeof(prefix) - 1) != NULL)
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

/*
 * The multi handle can no longer be trusted: everything in flight ends with
 * an unknown outcome, and the next start opens a new one.
 */
static void
abandon_all(CapiTransport *t, const char *why)
{
	while (!dlist_is_empty(&t->in_flight))
	{
		Transfer   *x = dlist_head_element(Transfer, node, &t->in_flight);

		(void) curl_multi_remove_handle(t->multi, x->easy);
		finish_transfer(t, x, CURLE_ABORTED_BY_CALLBACK);
		strlcpy(x->answer.detail, why, sizeof(x->answer.detail));
	}
	(void) curl_multi_cleanup(t->multi);
	t->multi = NULL;
	t->timer_ms = -1;
}

/* Called by curl when it wants a socket watched differently. */
static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	CapiTransport *t = arg;
	struct epoll_event event = {0};

	if (what == CURL_POLL_REMOVE)
	{
		/* curl may have closed it already, and then it is out anyway */
		(void) epoll_ctl(t->epoll_fd, EPOLL_CTL_DEL, fd, &event);
		return 0;
	}

	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	event.data.fd = fd;
	if (epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ||
		(errno == EEXIST &&
		 epoll_ctl(t->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0))
		return 0;

	t->io_failed = true;
	return -1;
}

/* Called by curl to say when it wants to be called without a socket event. */
static int
on_timer(CURLM *multi, long timeout_ms, void *arg)
{
	CapiTransport *t = arg;

	t->timer_ms = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	return 0;
}

/* Keeps the answer's body up to its limit; a short return ends the transfer. */
static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
	Transfer   *x = arg;
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
	CapiAnswer *answer = &((Transfer *) arg)->answer;
	size_t		len = size * count;
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
	};

	for (int i = 0; i < lengthof(kept); i++)
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
	return len;
}

static void
block_signals(sigset_t *saved)
{
	sigset_t	all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, saved);
}

static void
restore_signals(const sigset_t *saved)
{
	sigprocmask(SIG_SETMASK, saved, NULL);
}

/* Monotonic: a clock that is set must not fire or stop timeouts. */
static int64
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
