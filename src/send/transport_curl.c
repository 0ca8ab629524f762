/*
 * transport_curl.c
 *		HTTPS requests over libcurl's multi interface.
 *
 * DESIGN
 *		One multi handle drives every request of the process.  Its sockets are
 *		kept in one epoll set (level triggered), and the descriptor of that set
 *		is waited for together with the process latch, so the dispatcher has a
 *		single wait point that SetLatch, barriers and cancellation all reach.
 *		curl's timer is a deadline beside it.  What a single request looks like
 *		is transfer_curl.c's business.
 *
 *		idle -> capi_transport_start -> in flight -> drive -> finished
 *		 ^                                                       |
 *		 +----------------- capi_transport_next -----------------+
 *
 * INVARIANTS
 *	1.	Nothing is raised and nothing is palloc'ed in a callback: callbacks
 *		record and return.
 *	2.	All state is malloc'ed and changed only between interrupt checks, so an
 *		error that leaves capi_transport_wait by longjmp finds and leaves the
 *		transport consistent.
 *	3.	All signals are blocked while curl may start its resolver thread; with
 *		its own mask that thread would run the server's signal handlers.
 *
 * LIMITS
 *		curl itself repeats a request, once and on a fresh connection, when a
 *		reused one turns out to be closed before a byte of the answer.  Same
 *		body, so the same event ids: what our own retry would do.
 *
 * Called by dispatch.c and by the SQL function capi.test_dataset.
 */
#include "postgres.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/wait_event.h"

#include "base/capi.h"
#include "base/compat.h"
#include "send/environment.h"
#include "send/remains.h"
#include "send/transfer_curl.h"

/* Connections kept for reuse. */
#define MAX_IDLE_CONNECTIONS	8

/* Transfers kept for reuse when nothing is in flight. */
#define MAX_IDLE_TRANSFERS		8

/* Events taken from the kernel in one call. */
#define EPOLL_BATCH				16

/* Longest sleep in one piece; also keeps the value inside an int. */
#define MAX_SLEEP_MS			(60 * 60 * 1000)

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

static void initialize_curl(void);
static bool open_multi(CapiTransport *t, char *err, size_t errlen);
static bool configure_multi(CapiTransport *t, char *err, size_t errlen);
static CapiTransfer *take_transfer(CapiTransport *t);
static void recycle_transfer(CapiTransport *t, CapiTransfer *x);
static void drive(CapiTransport *t, curl_socket_t fd, int flags);
static void serve_sockets(CapiTransport *t);
static void collect_finished(CapiTransport *t);
static void finish(CapiTransport *t, CapiTransfer *x, CURLcode code);
static void abandon_all(CapiTransport *t, const char *why);
static int	on_socket(CURL *easy, curl_socket_t fd, int what, void *arg,
					  void *socket_arg);
static int	on_timer(CURLM *multi, long timeout_ms, void *arg);
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
		wait_event_http = capi_wait_event("CapiHttp");
	return wait_event_http;
}

/*
 * What libcurl gives back may hold the token: it copies header lines into
 * buffers of its own (P8).
 */
static void
wipe_and_free(void *p)
{
	if (p != NULL)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

static void *
wipe_and_realloc(void *p, size_t size)
{
	void	   *longer = malloc(size);

	if (longer != NULL && p != NULL)
	{
		memcpy(longer, p, Min(size, malloc_usable_size(p)));
		wipe_and_free(p);
	}
	return longer;
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
	for (int i = 0; i < CAPI_MAX_CONNECTIONS; i++)
		ReserveExternalFD();

	/* from here on until it is destroyed, an error included */
	capi_remains_watch(true);
	if (!open_multi(t, err, sizeof(err)))
	{
		capi_transport_destroy(t);
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("could not set up the HTTP client"),
				 errdetail("libcurl %s: %s.",
						   curl_version_info(CURLVERSION_NOW)->version, err),
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
	CapiTransfer *x;
	CURLMcode	code;
	sigset_t	saved;

	if (t->multi == NULL && !open_multi(t, err, errlen))
		return false;
	x = take_transfer(t);
	if (x == NULL)
	{
		snprintf(err, errlen, "out of memory");
		return false;
	}
	if (!capi_transfer_configure(x, req, err, errlen))
	{
		recycle_transfer(t, x);
		return false;
	}

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
	CapiTransfer *x;

	if (dlist_is_empty(&t->finished))
		return false;

	x = dlist_container(CapiTransfer, node, dlist_pop_head_node(&t->finished));
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
		CapiTransfer *x = dlist_container(CapiTransfer, node,
										  dlist_pop_head_node(&t->in_flight));

		(void) curl_multi_remove_handle(t->multi, x->easy);
		capi_transfer_free(x);
	}
	while (!dlist_is_empty(&t->finished))
		capi_transfer_free(dlist_container(CapiTransfer, node,
										   dlist_pop_head_node(&t->finished)));
	while (!dlist_is_empty(&t->idle))
		capi_transfer_free(dlist_container(CapiTransfer, node,
										   dlist_pop_head_node(&t->idle)));
	if (t->multi != NULL)
		(void) curl_multi_cleanup(t->multi);

	close(t->epoll_fd);
	for (int i = 0; i < CAPI_MAX_CONNECTIONS + 1; i++)
		ReleaseExternalFD();
	free(t);
	capi_remains_watch(false);
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

	capi_environment_clear();
	block_signals(&saved);
	code = curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wipe_and_free,
								wipe_and_realloc, strdup, calloc);
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
	if (curl_version_info(CURLVERSION_NOW)->version_num < CAPI_MIN_CURL_VERSION)
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
	if (!configure_multi(t, err, errlen))
	{
		(void) curl_multi_cleanup(t->multi);
		t->multi = NULL;
		return false;
	}
	return true;
}

static bool
configure_multi(CapiTransport *t, char *err, size_t errlen)
{
	SETOPT_MULTI(t->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	SETOPT_MULTI(t->multi, CURLMOPT_SOCKETDATA, t);
	SETOPT_MULTI(t->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	SETOPT_MULTI(t->multi, CURLMOPT_TIMERDATA, t);
	SETOPT_MULTI(t->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
	SETOPT_MULTI(t->multi, CURLMOPT_MAX_HOST_CONNECTIONS,
				 (long) CAPI_MAX_CONNECTIONS);
	SETOPT_MULTI(t->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
				 (long) CAPI_MAX_CONNECTIONS);
	SETOPT_MULTI(t->multi, CURLMOPT_MAXCONNECTS, (long) MAX_IDLE_CONNECTIONS);
	return true;
}

/* A transfer in no list, with a fresh handle; NULL when out of memory. */
static CapiTransfer *
take_transfer(CapiTransport *t)
{
	if (dlist_is_empty(&t->idle))
		return capi_transfer_create();

	t->idle_count--;
	return dlist_container(CapiTransfer, node, dlist_pop_head_node(&t->idle));
}

static void
recycle_transfer(CapiTransport *t, CapiTransfer *x)
{
	if (t->idle_count >= MAX_IDLE_TRANSFERS)
	{
		capi_transfer_free(x);
		return;
	}
	capi_transfer_reset(x);
	dlist_push_head(&t->idle, &x->node);
	t->idle_count++;
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
		finish(t, (CapiTransfer *) private, code);
	}
}

/* Takes a transfer that ended, however, out of curl's hands. */
static void
finish(CapiTransport *t, CapiTransfer *x, CURLcode code)
{
	/* fails only when it is not in there, and it is to go anyway */
	(void) curl_multi_remove_handle(t->multi, x->easy);
	capi_transfer_finish(x, code);
	x->answer.duration_ms = now_ms() - x->started_ms;
	dlist_delete(&x->node);
	dlist_push_tail(&t->finished, &x->node);
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
		CapiTransfer *x = dlist_head_element(CapiTransfer, node,
											 &t->in_flight);

		finish(t, x, CURLE_ABORTED_BY_CALLBACK);
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
