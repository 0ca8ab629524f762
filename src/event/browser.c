/*
 * browser.c
 *		What the customer's browser says: address, click and browser id, URL
 *		(form.h, browser.h).
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "event/browser.h"
#include "event/form.h"
#include "event/none.h"
#include "event/text.h"

/* Room for an IPv6 address with brackets, zone and port. */
#define MAX_ADDRESS_BYTES	80

/* A click id alone, not in a URL, is told from other text by its length. */
#define MIN_BARE_CLICK_ID	20
#define MAX_CLICK_ID		1024

/* SPEC 3.2: the time is in milliseconds, of which there are 13 until 2286. */
#define MILLISECONDS_DIGITS	13

/* ---------- client_ip_address ---------- */

/* What never reaches a server in the Internet as a customer's address. */
static bool
is_own_ipv4(const unsigned char *a)
{
	return !(a[0] == 0 || a[0] == 10 || a[0] == 127 || a[0] >= 224 ||
			 (a[0] == 100 && (a[1] & 0xC0) == 64) ||
			 (a[0] == 169 && a[1] == 254) ||
			 (a[0] == 172 && (a[1] & 0xF0) == 16) ||
			 (a[0] == 192 && a[1] == 168));
}

static bool
is_own_ipv6(const struct in6_addr *a)
{
	return !(IN6_IS_ADDR_UNSPECIFIED(a) || IN6_IS_ADDR_LOOPBACK(a) ||
			 IN6_IS_ADDR_MULTICAST(a) || IN6_IS_ADDR_LINKLOCAL(a) ||
			 IN6_IS_ADDR_SITELOCAL(a) || (a->s6_addr[0] & 0xFE) == 0xFC);
}

/*
 * Takes quotes, brackets, port, zone and a host's mask from an address; in
 * place.
 */
static char *
bare_address(char *s)
{
	char	   *colon;
	char	   *mask;

	s += strspn(s, "\"'[{(");
	s[strcspn(s, "\"'])}%")] = '\0';
	colon = strchr(s, ':');
	if (colon != NULL && strchr(colon + 1, ':') == NULL)
		*colon = '\0';			/* IPv4 with a port */
	mask = strchr(s, '/');
	if (mask != NULL &&
		strcmp(mask, strchr(s, ':') != NULL ? "/128" : "/32") == 0)
		*mask = '\0';
	return s;
}

/* inet_ntop goes through a format string. */
static void
append_ipv4(StringInfo out, const unsigned char *a)
{
	char		buf[INET_ADDRSTRLEN];
	int			n = 0;

	for (int i = 0; i < 4; i++)
	{
		if (i > 0)
			buf[n++] = '.';
		if (a[i] > 99)
			buf[n++] = '0' + a[i] / 100;
		if (a[i] > 9)
			buf[n++] = '0' + a[i] / 10 % 10;
		buf[n++] = '0' + a[i] % 10;
	}
	capi_text_put(out, buf, n);
}

/*
 * Appends an address in its shortest form.  False if it is none or, with
 * *valid, one that cannot be the customer's.
 */
static bool
append_address(char *s, StringInfo out, bool *valid)
{
	struct in6_addr v6;
	struct in_addr v4;
	char		buf[INET6_ADDRSTRLEN];

	s = bare_address(s);
	if (strchr(s, ':') != NULL && inet_pton(AF_INET6, s, &v6) == 1)
	{
		*valid = true;
		if (!IN6_IS_ADDR_V4MAPPED(&v6))
		{
			if (is_own_ipv6(&v6))
				appendStringInfoString(out, inet_ntop(AF_INET6, &v6, buf,
													  sizeof(buf)));
			return is_own_ipv6(&v6);
		}
		memcpy(&v4, v6.s6_addr + 12, sizeof(v4));
	}
	else if (inet_pton(AF_INET, s, &v4) != 1)
		return false;
	*valid = true;
	if (!is_own_ipv4((unsigned char *) &v4))
		return false;
	append_ipv4(out, (unsigned char *) &v4);
	return true;
}

/*
 * Narrows an element of RFC 7239, for=203.0.113.42;proto=https, to the value of
 * "for"; others have no "=".  False if it says nothing about the customer.
 */
static bool
take_forwarded_for(const char **s, int *len)
{
	const char *end = *s + *len;
	const char *part = *s;

	if (memchr(*s, '=', *len) == NULL)
		return true;
	while (part < end)
	{
		const char *part_end = memchr(part, ';', end - part);

		if (part_end == NULL)
			part_end = end;
		if (part_end - part > 4 && pg_strncasecmp(part, "for=", 4) == 0)
		{
			*s = part + 4;
			*len = part_end - *s;
			return true;
		}
		part = part_end + 1;
	}
	return false;
}

/*
 * Of a forwarding chain the first that can be the customer's: proxies on the
 * customer's side put private addresses in front.
 */
bool
capi_form_ip(CapiInput *in, StringInfo out)
{
	const char *p = in->s;
	const char *end = in->s + in->len;
	bool		valid = false;

	while (p < end)
	{
		char		buf[MAX_ADDRESS_BYTES];
		const char *address = p;
		int			len;

		while (p < end && *p != ',' && (unsigned char) *p > ' ')
			p++;
		len = p - address;
		if (take_forwarded_for(&address, &len) && len > 0 &&
			len < (int) sizeof(buf))
		{
			memcpy(buf, address, len);
			buf[len] = '\0';
			if (append_address(buf, out, &valid))
				return true;
		}
		p++;
	}
	return capi_form_refuse(in, valid ?
							"a private address, not the customer's own" :
							"not an IP address");
}

/* ---------- fbc, fbp ---------- */

/* Characters of base64url. */
static inline bool
is_click_char(char c)
{
	static const bool table[256] = {
		['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
		['-'] = true, ['_'] = true
	};

	return table[(unsigned char) c];
}

static inline const char *
skip_click_chars(const char *p, const char *end)
{
	while (p < end && is_click_char(*p))
		p++;
	return p;
}

static bool
are_digits(const char *s, int n)
{
	for (int i = 0; i < n; i++)
		if (!capi_form_is_digit(s[i]))
			return false;
	return true;
}

/* "fb.", a digit, and the time of the click; a point behind each. */
#define TIME_AT			5
#define ID_AT			(TIME_AT + MILLISECONDS_DIGITS + 1)

/* Does the id, and what may be behind it, reach to the end? */
static bool
is_id_with_appendix(const char *id, const char *end)
{
	const char *id_end = skip_click_chars(id, end);
	const char *appendix = id_end + 1;

	/* "fb" twice: two values glued together */
	if (id_end == id || (id_end - id == 2 && strncmp(id, "fb", 2) == 0) ||
		capi_none_is(id, id_end - id))
		return false;
	return id_end == end ||
		(*id_end == '.' && skip_click_chars(appendix, end) == end &&
		 (end - appendix == 2 || end - appendix == 8));
}

/*
 * fb.<index>.<milliseconds>.<id>, and perhaps an appendix of two or eight
 * characters (SPEC 3.2).  A bad one would fail the batch; the id's alphabet is
 * not documented, so only what cannot be in a cookie is refused.
 */
bool
capi_form_browser_id(CapiInput *in, StringInfo out)
{
	/* cookies are kept as JSON by some */
	if (in->len > 1 && in->s[0] == '"' && in->s[in->len - 1] == '"')
	{
		in->s++;
		in->len -= 2;
	}
	if (in->len <= ID_AT || strncmp(in->s, "fb.", 3) != 0 ||
		!capi_form_is_digit(in->s[3]) || in->s[4] != '.' ||
		!are_digits(in->s + TIME_AT, MILLISECONDS_DIGITS) ||
		in->s[ID_AT - 1] != '.' ||
		!is_id_with_appendix(in->s + ID_AT, in->s + in->len))
		return capi_form_refuse(in, capi_none_is(in->s, in->len) ?
								capi_none_problem :
								"not of the form fb.1.<milliseconds>.<id>");
	capi_text_put(out, in->s, in->len);
	return true;
}

static int
hex_value(char c)
{
	if (capi_form_is_digit(c))
		return c - '0';
	c = pg_ascii_tolower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A copy with %2D and the like decoded; *len is its length then. */
static char *
percent_decode(const char *s, int *len)
{
	char	   *copy = palloc(*len + 1);
	int			n = 0;

	for (int i = 0; i < *len; i++)
	{
		char		c = s[i];

		if (c == '%' && i + 2 < *len && hex_value(s[i + 1]) >= 0 &&
			hex_value(s[i + 2]) >= 0)
		{
			c = hex_value(s[i + 1]) << 4 | hex_value(s[i + 2]);
			i += 2;
		}
		copy[n++] = c;
	}
	copy[n] = '\0';
	*len = n;
	return copy;
}

/* May the value of a parameter end in front of this? */
static bool
ends_parameter(char c)
{
	return (unsigned char) c <= ' ' || strchr("&;#\"'<>", c) != NULL;
}

/* The value of the parameter fbclid in a URL or query string, or NULL. */
static const char *
find_parameter(const char *s, int len, int *value_len)
{
	static const char name[] = "fbclid=";
	const int	name_len = sizeof(name) - 1;

	for (int i = 0; i + name_len < len; i++)
	{
		int			n = 0;

		if (pg_strncasecmp(s + i, name, name_len) != 0 ||
			(i > 0 && strchr("?&#;", s[i - 1]) == NULL))
			continue;
		while (i + name_len + n < len && !ends_parameter(s[i + name_len + n]))
			n++;
		*value_len = n;
		if (n > 0)
			return s + i + name_len;
	}
	return NULL;
}

/* A copy of the text if all of it, decoded, can be a click id, else NULL. */
static char *
copy_click_id(const char *s, int len)
{
	char	   *id = percent_decode(s, &len);

	if (memchr(id, '%', len) != NULL)
		id = percent_decode(id, &len);
	if (len == 0 || len > MAX_CLICK_ID || capi_none_is(id, len) ||
		skip_click_chars(id, id + len) != id + len)
		return NULL;
	return id;
}

char *
capi_browser_click_id(const char *s, int len)
{
	int			id_len;
	const char *id = find_parameter(s, len, &id_len);
	char	   *bare;

	/* a URL within another is encoded, once or twice */
	for (int i = 0; i < 2 && id == NULL && memchr(s, '%', len) != NULL; i++)
	{
		s = percent_decode(s, &len);
		id = find_parameter(s, len, &id_len);
	}
	if (id != NULL)
		return copy_click_id(id, id_len);
	while (len > 1 && (*s == '"' || *s == '\'') && s[len - 1] == *s)
	{
		s++;
		len -= 2;
	}
	bare = copy_click_id(s, len);
	return bare != NULL && strlen(bare) >= MIN_BARE_CLICK_ID ? bare : NULL;
}

bool
capi_form_click_id(CapiInput *in, StringInfo out)
{
	char	   *id;

	if (capi_none_is(in->s, in->len))
		return capi_form_refuse(in, capi_none_problem);
	id = capi_browser_click_id(in->s, in->len);
	if (id == NULL)
		return capi_form_refuse(in, "not a click id, nor a URL with fbclid");
	appendStringInfoString(out, id);
	return true;
}

/* ---------- client_user_agent and others ---------- */

/* As it is, unless it is a word for none. */
bool
capi_form_browser_text(CapiInput *in, StringInfo out)
{
	if (capi_none_is(in->s, in->len))
		return capi_form_refuse(in, capi_none_problem);
	capi_text_put(out, in->s, in->len);
	return true;
}

/* ---------- event_source_url ---------- */

/* Length of "https://" or "http://" at the front, or 0. */
static int
scheme_length(const char *s, int len)
{
	if (len > 8 && pg_strncasecmp(s, "https://", 8) == 0)
		return 8;
	if (len > 7 && pg_strncasecmp(s, "http://", 7) == 0)
		return 7;
	return 0;
}

/* Drops control characters, in memory of its own. */
static void
drop_controls(CapiInput *in)
{
	char	   *to = palloc(in->len);
	int			n = 0;

	for (int i = 0; i < in->len; i++)
		if ((unsigned char) in->s[i] >= ' ' && in->s[i] != 0x7F)
			to[n++] = in->s[i];
	in->s = to;
	in->len = n;
}

/* As it is, but without user name and password, and control characters. */
bool
capi_form_url(CapiInput *in, StringInfo out)
{
	int			scheme;
	int			host;
	int			end;

	drop_controls(in);
	scheme = host = end = scheme_length(in->s, in->len);
	if (scheme == 0)
		return capi_form_refuse(in, capi_none_is(in->s, in->len) ?
								capi_none_problem :
								"does not begin with http:// or https://");
	for (; end < in->len && strchr("/?#\\", in->s[end]) == NULL; end++)
		if (in->s[end] == '@')
			host = end + 1;
	if (host == end || in->s[host] == ':' ||
		capi_none_is(in->s + host, end - host))
		return capi_form_refuse(in, "names no host");
	capi_text_put(out, in->s, scheme);
	capi_text_put(out, in->s + host, in->len - host);
	return true;
}
