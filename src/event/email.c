/*
 * email.c
 *		E-mail addresses (form.h).
 *
 * The documentation asks for no test of validity; only what cannot be an
 * address is refused.  Letters beyond ASCII are legal today and stay.  What
 * programs put around an address, a name or "mailto:", is taken away.
 */
#include "postgres.h"

#include <unictype.h>

#include "event/form.h"
#include "event/text.h"

/* RFC 5321: 64, "@" and 255 */
#define MAX_ADDRESS_BYTES	320

static const char *const message = "not an e-mail address";

/* Domain part: two labels or more, none empty or beginning or ending in "-". */
static bool
is_domain(const char *s, const char *end)
{
	bool		dotted = false;
	const char *label = s;

	for (const char *p = s;; p++)
	{
		if (p < end && *p != '.')
		{
			if (!IS_HIGHBIT_SET(*p) && !capi_form_is_alnum(*p) &&
				*p != '-' && *p != '_')
				return false;
			continue;
		}
		if (p == label || *label == '-' || p[-1] == '-')
			return false;
		if (p == end)
			return dotted;
		dotted = true;
		label = p + 1;
	}
}

/* Characters that separate addresses or stand around them. */
static const bool delimiters[128] = {
	[0 ... ' '] = true, ['"'] = true, ['('] = true, [')'] = true,
	[','] = true, [':'] = true, [';'] = true, ['<'] = true, ['>'] = true,
	['['] = true, ['\\'] = true, [']'] = true, [0x7F] = true
};

/* One "@" between two parts that may be mailbox and domain? */
static bool
is_address(const char *s, const char *end)
{
	const char *at = NULL;

	if (end - s > MAX_ADDRESS_BYTES)
		return false;
	for (const char *p = s; p < end;)
	{
		const char *start = p;
		uint32		c = capi_text_next(&p, end);

		if (c == '@')
		{
			if (at != NULL)
				return false;
			at = start;
		}
		else if (c < 0x80 ? delimiters[c] : uc_is_property_white_space(c))
			return false;
	}
	return at != NULL && at > s && is_domain(at + 1, end);
}

/* Keeps what stands between the last "<" and its ">", if they are there. */
static void
take_bracketed(CapiInput *in)
{
	int			close = in->len - 1;
	int			open;

	if (memchr(in->s, '<', in->len) == NULL)
		return;
	while (close > 0 && in->s[close] != '>')
		close--;
	open = close;
	while (open > 0 && in->s[open] != '<')
		open--;
	if (close <= 0 || in->s[open] != '<')
		return;
	in->s += open + 1;
	in->len = close - open - 1;
}

/* Drops a comment behind the address: a@b.de (Anna) */
static void
drop_comment(CapiInput *in)
{
	const char *space = memchr(in->s, ' ', in->len);

	if (space != NULL && in->s[in->len - 1] == ')' && space[1] == '(' &&
		memchr(in->s, '@', space - in->s) != NULL)
		in->len = space - in->s;
}

/* Drops "mailto:" and what a link says behind the address. */
static void
drop_scheme(CapiInput *in)
{
	static const char scheme[] = "mailto:";
	int			len = sizeof(scheme) - 1;
	const char *query;

	if (in->len <= len || pg_strncasecmp(in->s, scheme, len) != 0)
		return;
	in->s += len;
	in->len -= len;
	query = memchr(in->s, '?', in->len);
	if (query != NULL)
		in->len = query - in->s;
}

static inline bool
is_stop(char c)
{
	return c == '.' || c == ',' || c == ';';
}

/* Drops what encloses an address, and the stop of a sentence behind it. */
static void
drop_enclosure(CapiInput *in)
{
	while (in->len > 0 && is_stop(in->s[in->len - 1]))
		in->len--;
	while (in->len > 1 &&
		   ((in->s[0] == '\'' && in->s[in->len - 1] == '\'') ||
			(in->s[0] == '"' && in->s[in->len - 1] == '"') ||
			(in->s[0] == '(' && in->s[in->len - 1] == ')') ||
			(in->s[0] == '[' && in->s[in->len - 1] == ']')))
	{
		in->s++;
		in->len -= 2;
	}
}

bool
capi_form_email(CapiInput *in, StringInfo out)
{
	take_bracketed(in);
	capi_text_trim(&in->s, &in->len);
	drop_comment(in);
	drop_enclosure(in);
	drop_scheme(in);
	if (in->len == 0 || !is_address(in->s, in->s + in->len))
		return capi_form_refuse(in, message);
	capi_text_append(out, in->s, in->len,
					 CAPI_TEXT_LOWER | CAPI_TEXT_NO_SPACE);
	return true;
}

/* Does the word behind the spaces at p hold an address, and not in "<>"? */
static bool
address_follows(const char *p, const char *end)
{
	while (p < end && *p == ' ')
		p++;
	if (p < end && *p == '<')
		return false;
	while (p < end && *p != ' ')
		if (*p++ == '@')
			return true;
	return false;
}

/* The quote that closes the one at p, or p itself if none does. */
static const char *
skip_quoted(const char *p, const char *end)
{
	const char *close = memchr(p + 1, '"', end - p - 1);

	return close != NULL ? close : p;
}

static inline bool
is_mark(char c)
{
	return c == ',' || c == '|' || c == '\n' || c == ';';
}

/*
 * A mark ends an address only once one was seen: Berg, Anna <a@b.de> is a name
 * with a comma.  A space does when the next word is an address too.
 */
bool
capi_email_next(const char **s, int *len, CapiInput *in)
{
	const char *end = *s + *len;
	const char *p;
	bool		seen = false;	/* an "@" */

	if (*len == 0)
		return false;
	for (p = *s; p < end; p++)
	{
		if (*p == '"')
			p = skip_quoted(p, end);
		else if (*p == '@')
			seen = true;
		else if (seen && (is_mark(*p) || (*p == ' ' && address_follows(p, end))))
			break;
	}
	in->s = *s;
	in->len = p - *s;
	*s = p < end ? p + 1 : end;
	*len = end - *s;
	return true;
}
