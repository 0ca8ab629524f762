/*
 * text.c
 *		Unicode text for the pure modules (text.h).
 *
 * Knows no field and no rule of Meta's.  ASCII, which nearly all text is,
 * takes a path without tables.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "text.h"
#include "text_tables.h"

#define CAPITAL_I_WITH_DOT	0x0130
#define CAPITAL_SIGMA		0x03A3
#define FINAL_SIGMA			"\xCF\x82"

bool
capi_text_is_valid(const char *s, int len)
{
	int			i = 0;
	uint64		chunk;

	for (; i + (int) sizeof(chunk) <= len; i += sizeof(chunk))
	{
		memcpy(&chunk, s + i, sizeof(chunk));
		if (chunk & UINT64CONST(0x8080808080808080))
			break;
	}
	for (; i < len; i++)
		if (IS_HIGHBIT_SET(s[i]))
			return pg_encoding_verifymbstr(PG_UTF8, s, len) == len;
	return true;
}

/* Unicode's White_Space property. */
static bool
is_space(uint32 c)
{
	if (c < 0x80)
		return c == ' ' || (c >= '\t' && c <= '\r');
	return c == 0x85 || c == 0xA0 || c == 0x1680 ||
		(c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
		c == 0x202F || c == 0x205F || c == 0x3000;
}

static bool
is_mark(uint32 c)
{
	int			low = 0;
	int			high = lengthof(mark_ranges) - 1;

	if (c < 0x80)
		return !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
				 (c >= '0' && c <= '9') || is_space(c));
	while (low <= high)
	{
		int			mid = (low + high) / 2;

		if (c < mark_ranges[mid].first)
			high = mid - 1;
		else if (c > mark_ranges[mid].last)
			low = mid + 1;
		else
			return !is_space(c);
	}
	return false;
}

/* Simple lower-case mapping; the code point itself when there is none. */
static uint32
lower_case(uint32 c)
{
	int			low = 0;
	int			high = lengthof(lower_ranges) - 1;

	while (low <= high)
	{
		int			mid = (low + high) / 2;
		const LowerRange *range = &lower_ranges[mid];

		if (c < range->first)
			high = mid - 1;
		else if (c > range->last)
			low = mid + 1;
		else if ((c - range->first) % range->stride != 0)
			return c;
		else
			return c + range->delta;
	}
	return c;
}

/* Decodes one character of valid text and steps over it. */
static uint32
next_char(const char **p)
{
	uint32		c = utf8_to_unicode((const unsigned char *) *p);

	*p += pg_utf_mblen((const unsigned char *) *p);
	return c;
}

/* Cannot be white space, seen alone: ASCII beyond the space. */
static inline bool
is_plain(char c)
{
	return c > ' ' && !IS_HIGHBIT_SET(c);
}

void
capi_text_trim(const char **s, int *len)
{
	const char *p = *s;
	const char *end = *s + *len;
	const char *last;

	if (*len > 0 && is_plain(*p) && is_plain(end[-1]))
		return;
	while (p < end)
	{
		const char *q = p;

		if (!is_space(next_char(&q)))
			break;
		p = q;
	}
	while (end > p)
	{
		const char *q;

		last = end - 1;
		while (last > p && (*last & 0xC0) == 0x80)
			last--;
		q = last;
		if (!is_space(next_char(&q)))
			break;
		end = last;
	}
	*s = p;
	*len = end - p;
}

/*
 * Letters that have case, as far as the rule of the final sigma needs them:
 * those of the scripts that occur in a word together with Greek.
 */
static bool
is_cased(uint32 c)
{
	if (c < 0x80)
		return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
	return (c >= 0xC0 && c <= 0x24F && c != 0xD7 && c != 0xF7) ||
		(c >= 0x370 && c <= 0x52F && !is_mark(c)) ||
		(c >= 0x1E00 && c <= 0x1FFF && !is_mark(c));
}

/* Characters that the rule of the final sigma looks through. */
static bool
is_case_ignorable(uint32 c)
{
	return c == '\'' || c == '.' || c == ':' || c == '^' || c == '`' ||
		c == 0xA8 || c == 0xAD || c == 0xB4 || c == 0xB7 || c == 0xB8 ||
		(c >= 0x2B0 && c <= 0x36F) || c == 0x384 || c == 0x385 ||
		(c >= 0x483 && c <= 0x489) || c == 0x1FBD ||
		(c >= 0x1FBF && c <= 0x1FC1) || (c >= 0x200B && c <= 0x200F) ||
		c == 0x2018 || c == 0x2019 || c == 0xFEFF;
}

/* Does a letter with case follow at p? */
static bool
cased_follows(const char *p, const char *end)
{
	while (p < end)
	{
		uint32		c = next_char(&p);

		if (!is_case_ignorable(c))
			return is_cased(c);
	}
	return false;
}

static void
append_char(StringInfo out, uint32 c)
{
	unsigned char buf[4];

	unicode_to_utf8(c, buf);
	appendBinaryStringInfo(out, (char *) buf, pg_utf_mblen(buf));
}

/* capi_text_append for text that is not ASCII throughout. */
static void
append_unicode(StringInfo out, const char *p, const char *end, int flags)
{
	bool		after_cased = false;	/* for the final sigma */

	while (p < end)
	{
		const char *start = p;
		uint32		c = next_char(&p);
		uint32		lower;

		if (((flags & CAPI_TEXT_NO_SPACE) && is_space(c)) ||
			((flags & CAPI_TEXT_NO_MARK) && is_mark(c)) ||
			((flags & CAPI_TEXT_NO_DIGIT) && c >= '0' && c <= '9'))
			 /* dropped */ ;
		else if (!(flags & CAPI_TEXT_LOWER))
			appendBinaryStringInfo(out, start, p - start);
		else if (c == CAPITAL_I_WITH_DOT)
			appendStringInfoString(out, "i\xCC\x87");
		else if (c == CAPITAL_SIGMA && after_cased && !cased_follows(p, end))
			appendStringInfoString(out, FINAL_SIGMA);
		else if (c < 0x80)
			appendStringInfoChar(out, (c >= 'A' && c <= 'Z') ? c + 32 : c);
		else if ((lower = lower_case(c)) == c)
			appendBinaryStringInfo(out, start, p - start);
		else
			append_char(out, lower);

		if (!is_case_ignorable(c))
			after_cased = is_cased(c);
	}
}

void
capi_text_append(StringInfo out, const char *s, int len, int flags)
{
	char	   *to;
	int			start = out->len;

	enlargeStringInfo(out, len);
	to = out->data + out->len;
	for (int i = 0; i < len; i++)
	{
		unsigned char c = s[i];

		if (IS_HIGHBIT_SET(c))
		{
			out->len = start;
			append_unicode(out, s, s + len, flags);
			return;
		}
		if (c >= 'a' && c <= 'z')
			*to++ = c;
		else if (c >= 'A' && c <= 'Z')
			*to++ = (flags & CAPI_TEXT_LOWER) ? c + 32 : c;
		else if (c >= '0' && c <= '9')
		{
			if (!(flags & CAPI_TEXT_NO_DIGIT))
				*to++ = c;
		}
		else if (is_space(c))
		{
			if (!(flags & CAPI_TEXT_NO_SPACE))
				*to++ = c;
		}
		else if (!(flags & CAPI_TEXT_NO_MARK))
			*to++ = c;
	}
	*to = '\0';
	out->len = to - out->data;
}

static void
append_json_escape(StringInfo out, unsigned char c)
{
	switch (c)
	{
		case '"':
			appendStringInfoString(out, "\\\"");
			break;
		case '\\':
			appendStringInfoString(out, "\\\\");
			break;
		case '\n':
			appendStringInfoString(out, "\\n");
			break;
		case '\r':
			appendStringInfoString(out, "\\r");
			break;
		case '\t':
			appendStringInfoString(out, "\\t");
			break;
		default:
			appendStringInfo(out, "\\u%04x", c);
	}
}

void
capi_text_append_json(StringInfo out, const char *s, int len)
{
	int			from = 0;		/* what follows it is not yet written */

	enlargeStringInfo(out, len + 2);
	appendStringInfoCharMacro(out, '"');
	for (int i = 0; i < len; i++)
	{
		unsigned char c = s[i];

		if (c >= ' ' && c != '"' && c != '\\' && c != 0x7F)
			continue;
		appendBinaryStringInfo(out, s + from, i - from);
		append_json_escape(out, c);
		from = i + 1;
	}
	appendBinaryStringInfo(out, s + from, len - from);
	appendStringInfoCharMacro(out, '"');
}
