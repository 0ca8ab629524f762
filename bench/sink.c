/*
 * sink.c
 *		Stand-in for Meta's endpoint that is too fast to be the bottleneck.
 *
 * One thread, epoll, HTTP/1.1 keep-alive, TLS or plain on the same port (the
 * first byte of a connection tells).  Every POST is counted and accepted: the
 * body is searched for event names, not parsed, so nothing here checks that
 * it is right.  Started by lib.sh; not part of the extension.
 *
 *	sink CERT KEY [RING]	prints "port N" when ready; RING > 0 keeps the
 *							arrival time of that many events (default 0)
 *
 *	POST anything			{"events_received":N,...}
 *	GET /stats				counters since the last reset, as JSON
 *	GET /wait/N				the same, once N events have come
 *	GET /arrivals			lines "event_id<TAB>microseconds since 1970", taken
 *							when the first byte of the request was read
 *	GET /reset				all back to zero
 *
 * Caveats: no chunked requests; waiting clients are few (linear search).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define MAX_REQUEST_BYTES	(16 * 1024 * 1024)
#define READ_BYTES			(64 * 1024)
#define MAX_CONNECTIONS		1024	/* also the bound of descriptors */
#define MAX_ID_BYTES		40

typedef struct Buffer
{
	char	   *data;			/* NUL-terminated */
	size_t		len;
	size_t		cap;
} Buffer;

typedef struct Connection
{
	int			fd;
	bool		greeted;		/* TLS or plain is decided */
	bool		continued;		/* "100 Continue" sent for this request */
	SSL		   *ssl;			/* NULL: plain */
	Buffer		in;
	Buffer		out;
	size_t		sent;			/* bytes of out already written */
	uint64_t	waits_for;		/* events of GET /wait, 0: none */
	int64_t		first_us;		/* first byte of the current request */
} Connection;

typedef struct Arrival
{
	int64_t		at_us;
	char		id[MAX_ID_BYTES];
} Arrival;

static struct
{
	uint64_t	requests;
	uint64_t	events;
	uint64_t	bytes;
	uint64_t	first_events;	/* events of the first request */
	int64_t		first_us;
	int64_t		last_us;		/* when the last request was complete */
}			stats;

static Arrival *ring;
static uint64_t ring_size;
static uint64_t ring_used;		/* ever written; position is modulo size */

static Connection *connections[MAX_CONNECTIONS];	/* by descriptor */
static SSL_CTX *tls;
static int	poller;

static void
die(const char *what)
{
	perror(what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static void
buffer_reserve(Buffer *b, size_t more)
{
	if (b->len + more + 1 <= b->cap)
		return;
	b->cap = (b->len + more + 1) * 2;
	b->data = realloc(b->data, b->cap);
	if (b->data == NULL)
		die("realloc");
}

__attribute__((format(printf, 2, 3)))
static void
buffer_printf(Buffer *b, const char *format, ...)
{
	va_list		args;
	int			n;

	va_start(args, format);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	buffer_reserve(b, n);
	va_start(args, format);
	vsnprintf(b->data + b->len, n + 1, format, args);
	va_end(args);
	b->len += n;
}

static void
respond(Connection *c, const char *type, const Buffer *body)
{
	buffer_printf(&c->out, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n"
				  "Content-Length: %zu\r\n\r\n", type, body->len);
	buffer_reserve(&c->out, body->len);
	memcpy(c->out.data + c->out.len, body->data, body->len);
	c->out.len += body->len;
}

static void
respond_stats(Connection *c)
{
	Buffer		body = {0};

	buffer_printf(&body, "{\"requests\":%" PRIu64 ",\"events\":%" PRIu64
				  ",\"bytes\":%" PRIu64 ",\"first_events\":%" PRIu64
				  ",\"first_us\":%" PRId64 ",\"last_us\":%" PRId64 "}\n",
				  stats.requests, stats.events, stats.bytes,
				  stats.first_events, stats.first_us, stats.last_us);
	respond(c, "application/json", &body);
	free(body.data);
}

static void
respond_arrivals(Connection *c)
{
	Buffer		body = {0};
	uint64_t	first = ring_used > ring_size ? ring_used - ring_size : 0;

	buffer_reserve(&body, 1);
	for (uint64_t i = first; i < ring_used; i++)
	{
		Arrival    *a = &ring[i % ring_size];

		buffer_printf(&body, "%s\t%" PRId64 "\n", a->id, a->at_us);
	}
	respond(c, "text/plain", &body);
	free(body.data);
}

/* Number of times that key stands in text. */
static uint64_t
count_keys(const char *text, size_t len, const char *key)
{
	const char *end = text + len;
	size_t		key_len = strlen(key);
	uint64_t	n = 0;

	while ((text = memmem(text, end - text, key, key_len)) != NULL)
	{
		text += key_len;
		n++;
	}
	return n;
}

static void
note_arrivals(const char *text, size_t len, int64_t at_us)
{
	static const char key[] = "\"event_id\":\"";
	const char *end = text + len;

	while ((text = memmem(text, end - text, key, sizeof(key) - 1)) != NULL)
	{
		Arrival    *a = &ring[ring_used++ % ring_size];
		size_t		n = 0;

		for (text += sizeof(key) - 1;
			 text < end && *text != '"' && n < MAX_ID_BYTES - 1; text++)
			a->id[n++] = *text;
		a->id[n] = '\0';
		a->at_us = at_us;
	}
}

static void
accept_events(Connection *c, const char *text, size_t len)
{
	/* a quote inside a JSON string is escaped, so this matches keys only */
	uint64_t	n = count_keys(text, len, "\"event_name\"");
	Buffer		body = {0};

	if (stats.requests++ == 0)
	{
		stats.first_us = c->first_us;
		stats.first_events = n;
	}
	stats.events += n;
	stats.bytes += len;
	stats.last_us = now_us();
	if (ring_size > 0)
		note_arrivals(text, len, c->first_us);

	buffer_printf(&body, "{\"events_received\":%" PRIu64 ",\"messages\":[],"
				  "\"fbtrace_id\":\"bench%" PRIu64 "\"}", n, stats.requests);
	respond(c, "application/json", &body);
	free(body.data);
}

/* Answers one request whose head and body are complete. */
static void
handle_request(Connection *c, const char *body, size_t body_len)
{
	const char *head = c->in.data;

	if (strncmp(head, "POST ", 5) == 0)
		accept_events(c, body, body_len);
	else if (strncmp(head, "GET /wait/", 10) == 0)
		c->waits_for = strtoull(head + 10, NULL, 10);
	else if (strncmp(head, "GET /arrivals", 13) == 0)
		respond_arrivals(c);
	else
	{
		if (strncmp(head, "GET /reset", 10) == 0)
		{
			memset(&stats, 0, sizeof(stats));
			ring_used = 0;
		}
		respond_stats(c);
	}
}

/* Answers every complete request in the buffer; false: give up on it. */
static bool
handle_input(Connection *c)
{
	for (;;)
	{
		char	   *end;
		char	   *field;
		size_t		head_len;
		size_t		body_len = 0;

		if (c->in.len == 0)
			return true;
		c->in.data[c->in.len] = '\0';
		end = memmem(c->in.data, c->in.len, "\r\n\r\n", 4);
		if (end == NULL)
			return c->in.len < READ_BYTES;
		head_len = end + 4 - c->in.data;

		*end = '\0';			/* search the head only */
		field = strcasestr(c->in.data, "\r\ncontent-length:");
		if (field != NULL)
			body_len = strtoull(field + 17, NULL, 10);
		if (body_len > MAX_REQUEST_BYTES ||
			strcasestr(c->in.data, "\r\ntransfer-encoding:") != NULL)
			return false;
		if (!c->continued && c->in.len < head_len + body_len &&
			strcasestr(c->in.data, "\r\nexpect: 100-continue") != NULL)
		{
			buffer_printf(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
			c->continued = true;
		}
		*end = '\r';
		if (c->in.len < head_len + body_len)
			return true;

		handle_request(c, c->in.data + head_len, body_len);
		c->continued = false;
		c->in.len -= head_len + body_len;
		memmove(c->in.data, c->in.data + head_len + body_len, c->in.len);
		c->first_us = now_us(); /* of a pipelined request, if any */
	}
}

/*
 * Reads or writes once.  Returns bytes moved, 0 when it must wait for the
 * socket, -1 when the connection is over.
 */
static ssize_t
transfer(Connection *c, char *data, size_t len, bool writing)
{
	ssize_t		n;

	if (c->ssl != NULL)
	{
		int			why;

		ERR_clear_error();
		n = writing ? SSL_write(c->ssl, data, len)
			: SSL_read(c->ssl, data, len);
		if (n > 0)
			return n;
		why = SSL_get_error(c->ssl, n);
		return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE
			? 0 : -1;
	}
	n = writing ? send(c->fd, data, len, 0) : recv(c->fd, data, len, 0);
	if (n > 0)
		return n;
	return n < 0 && errno == EAGAIN ? 0 : -1;
}

/* Chooses TLS or plain by the first byte; false: nothing there. */
static bool
greet(Connection *c)
{
	char		first;

	if (recv(c->fd, &first, 1, MSG_PEEK) != 1)
		return false;
	if (first == 0x16)			/* TLS record of a handshake */
	{
		c->ssl = SSL_new(tls);
		if (c->ssl == NULL || !SSL_set_fd(c->ssl, c->fd))
			die("SSL_new");
		SSL_set_accept_state(c->ssl);
	}
	c->greeted = true;
	return true;
}

static bool
flush_output(Connection *c)
{
	struct epoll_event e = {.events = EPOLLIN,.data.fd = c->fd};

	while (c->sent < c->out.len)
	{
		ssize_t		n = transfer(c, c->out.data + c->sent,
								 c->out.len - c->sent, true);

		if (n < 0)
			return false;
		if (n == 0)
		{
			e.events |= EPOLLOUT;
			break;
		}
		c->sent += n;
	}
	if (c->sent == c->out.len)
		c->sent = c->out.len = 0;
	return epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e) == 0;
}

/* Everything that a readable or writable connection calls for. */
static bool
serve(Connection *c)
{
	if (!c->greeted && !greet(c))
		return false;
	for (;;)
	{
		ssize_t		n;

		buffer_reserve(&c->in, READ_BYTES);
		n = transfer(c, c->in.data + c->in.len, READ_BYTES, false);
		if (n < 0)
			return false;
		if (n == 0)
			break;
		if (c->in.len == 0)
			c->first_us = now_us();
		c->in.len += n;
		if (!handle_input(c))
			return false;
	}
	return flush_output(c);
}

static void
close_connection(Connection *c)
{
	connections[c->fd] = NULL;
	SSL_free(c->ssl);
	close(c->fd);
	free(c->in.data);
	free(c->out.data);
	free(c);
}

/* Answers every GET /wait whose number is reached. */
static void
release_waiters(void)
{
	for (int fd = 0; fd < MAX_CONNECTIONS; fd++)
	{
		Connection *c = connections[fd];

		if (c == NULL || c->waits_for == 0 || stats.events < c->waits_for)
			continue;
		c->waits_for = 0;
		respond_stats(c);
		if (!flush_output(c))
			close_connection(c);
	}
}

static void
accept_connection(int listener)
{
	int			fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	int			on = 1;
	struct epoll_event e = {.events = EPOLLIN,.data.fd = fd};

	if (fd < 0)
		return;
	if (fd >= MAX_CONNECTIONS)
	{
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	connections[fd] = calloc(1, sizeof(Connection));
	if (connections[fd] == NULL ||
		epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e) != 0)
		die("new connection");
	connections[fd]->fd = fd;
}

static int
listen_somewhere(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t	len = sizeof(a);
	int			fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *) &a, len) != 0 ||
		listen(fd, 128) != 0 ||
		getsockname(fd, (struct sockaddr *) &a, &len) != 0)
		die("listen");
	printf("port %d\n", ntohs(a.sin_port));
	fflush(stdout);
	return fd;
}

int
main(int argc, char **argv)
{
	struct epoll_event events[64];
	struct epoll_event e = {.events = EPOLLIN};
	int			listener;

	if (argc < 3)
	{
		fprintf(stderr, "usage: sink CERT KEY [RING]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	tls = SSL_CTX_new(TLS_server_method());
	if (tls == NULL ||
		SSL_CTX_use_certificate_chain_file(tls, argv[1]) != 1 ||
		SSL_CTX_use_PrivateKey_file(tls, argv[2], SSL_FILETYPE_PEM) != 1)
		die("certificate");
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE |
					 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	ring_size = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
	if (ring_size > 0 && (ring = calloc(ring_size, sizeof(Arrival))) == NULL)
		die("calloc");

	poller = epoll_create1(0);
	listener = listen_somewhere();
	e.data.fd = listener;
	if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e) != 0)
		die("epoll_ctl");
	for (;;)
	{
		int			n = epoll_wait(poller, events, 64, -1);

		for (int i = 0; i < n; i++)
		{
			Connection *c = connections[events[i].data.fd];

			if (events[i].data.fd == listener)
				accept_connection(listener);
			else if (c != NULL && !serve(c))
				close_connection(c);
		}
		release_waiters();
	}
}
