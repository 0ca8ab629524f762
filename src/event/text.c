/*
 * text.c
 *		Unicode text for the pure modules (text.h).
 *
 * Knows no field and no rule of Meta's.  ASCII, which nearly all text is, takes
 * a path without tables; the rest asks libunistring.  That library keeps no
 * state and reports failures by its result; what it allocates is freed here
 * before anything that could raise an error.
 */
#include "postgres.h"

#include <unicase.h>
#include <unictype.h>
#include <uninorm.h>
#include <unistr.h>

#include "mb/pg_wchar.h"

#include "event/text.h"

#define NON_JOINER			0x200C
#define JOINER				0x200D

/* Names and addresses fit; longer text is allocated by libunistring. */
#define STACK_BUFFER_BYTES	512

/* General categories of what CAPI_TEXT_NO_MARK drops. */
#define MARK_CATEGORIES \
	(UC_CATEGORY_MASK_P | UC_CATEGORY_MASK_S | UC_CATEGORY_MASK_Cc)

/* Eight bytes at once, each handled alike. */
#define EACH_BYTE(b)	(UINT64CONST(0x0101010101010101) * (b))
#define HIGH_BITS		EACH_BYTE(0x80)

static inline uint64
load_chunk(const char *s)
{
	uint64		chunk;

	memcpy(&chunk, s, sizeof(chunk));
	return chunk;
}

bool
capi_text_is_valid(const char *s, int len)
{
	uint64		seen = 0;
	int			i = 0;

	if (len >= (int) sizeof(seen))
	{
		for (; i + (int) sizeof(seen) <= len; i += sizeof(seen))
			seen |= load_chunk(s + i);
		seen |= load_chunk(s + len - sizeof(seen));
	}
	else
		for (; i < len; i++)
			seen |= (unsigned char) s[i];
	return (seen & HIGH_BITS) == 0 ||
		pg_encoding_verifymbstr(PG_UTF8, s, len) == len;
}

/* White space of ASCII. */
static inline bool
is_ascii_space(unsigned char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline bool
is_ascii_mark(unsigned char c)
{
	return !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			 (c >= '0' && c <= '9') || is_ascii_space(c));
}

/*
 * Unicode's White_Space, and format characters such as U+FEFF and U+200B,
 * which come from copying and nobody sees.  The joiners are format characters
 * too, but part of the spelling inside a word.
 */
static bool
is_space(ucs4_t c)
{
	return uc_is_property(c, UC_PROPERTY_WHITE_SPACE) ||
		uc_is_general_category_withtable(c, UC_CATEGORY_MASK_Cf);
}

uint32
capi_text_decode(const char **p, const char *end)
{
	ucs4_t		c;

	*p += u8_mbtouc_unsafe(&c, (const uint8_t *) *p, end - *p);
	return c;
}

int
capi_text_digit_value(uint32 c)
{
	return uc_decimal_value(c);
}

/* Is the character one that capi_text_trim takes away? */
static bool
is_trimmed(ucs4_t c)
{
	return is_space(c) ||
		uc_is_general_category_withtable(c, UC_CATEGORY_MASK_Cc);
}

void
capi_text_trim_ends(const char **s, int *len)
{
	const char *p = *s;
	const char *end = *s + *len;

	while (p < end)
	{
		const char *q = p;

		if (!is_trimmed(capi_text_next(&q, end)))
			break;
		p = q;
	}
	while (end > p)
	{
		const char *last = end - 1;
		const char *q;

		while (last > p && (*last & 0xC0) == 0x80)
			last--;
		q = last;
		if (!is_trimmed(capi_text_next(&q, end)))
			break;
		end = last;
	}
	*s = p;
	*len = end - p;
}

/* Does a flag ask to drop the character? */
static bool
is_dropped(ucs4_t c, int flags)
{
	if (c < 0x80)
		return ((flags & CAPI_TEXT_NO_SPACE) && is_ascii_space(c)) ||
			((flags & CAPI_TEXT_NO_MARK) && is_ascii_mark(c)) ||
			((flags & CAPI_TEXT_NO_DIGIT) && c >= '0' && c <= '9');
	if ((flags & CAPI_TEXT_NO_SPACE) && is_space(c))
		return c != NON_JOINER && c != JOINER;
	return (flags & CAPI_TEXT_NO_MARK) &&
		uc_is_general_category_withtable(c, MARK_CATEGORIES) && !is_space(c);
}

/* Trims what was appended: dropping may have left a joiner at an end. */
static void
trim_appended(StringInfo out, int start)
{
	const char *s = out->data + start;
	int			len = out->len - start;

	capi_text_trim(&s, &len);
	memmove(out->data + start, s, len);
	out->len = start + len;
	out->data[out->len] = '\0';
}

/* Appends what the flags leave of the text. */
static void
append_kept(StringInfo out, const char *p, const char *end, int flags)
{
	const char *from = p;		/* what follows it is not yet written */
	int			start_len = out->len;

	while (p < end)
	{
		const char *start = p;

		if (!is_dropped(capi_text_next(&p, end), flags))
			continue;
		appendBinaryStringInfo(out, from, start - from);
		from = p;
	}
	appendBinaryStringInfo(out, from, end - from);
	if (flags & CAPI_TEXT_NO_SPACE)
		trim_appended(out, start_len);
}

static void
raise_out_of_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("A text could not be brought to lower case.")));
}

/* capi_text_append for text that is not ASCII throughout. */
static void
append_unicode(StringInfo out, const char *s, int len, int flags)
{
	uint8_t		stack[STACK_BUFFER_BYTES];
	uint8_t    *buf = stack;
	size_t		n = (size_t) len * 3 / 2;	/* U+023A grows from 2 to 3 bytes */
	uint8_t    *lower;

	if (!(flags & CAPI_TEXT_LOWER))
	{
		append_kept(out, s, s + len, flags);
		return;
	}
	if (n > sizeof(stack))
		buf = palloc(n);
	/* before anything is dropped: neighbours decide which sigma is final */
	lower = u8_tolower((const uint8_t *) s, len, NULL, NULL, buf, &n);
	if (lower == NULL)
		raise_out_of_memory();
	if (flags == CAPI_TEXT_LOWER)
		appendBinaryStringInfo(out, (char *) lower, n);
	else
		append_kept(out, (char *) lower, (char *) lower + n, flags);
	if (lower != buf)
		free(lower);			/* grew beyond what Unicode 15 knows */
	if (buf != stack)
		pfree(buf);
}

/* What of the flags has a meaning for a character of ASCII. */
static const unsigned char ascii_flags[128] = {
	[0 ... 0x08] = CAPI_TEXT_NO_MARK,
	['\t' ... '\r'] = CAPI_TEXT_NO_SPACE,
	[0x0E ... 0x1F] = CAPI_TEXT_NO_MARK,
	[' '] = CAPI_TEXT_NO_SPACE,
	['!' ... '/'] = CAPI_TEXT_NO_MARK,
	['0' ... '9'] = CAPI_TEXT_NO_DIGIT,
	[':' ... '@'] = CAPI_TEXT_NO_MARK,
	['A' ... 'Z'] = CAPI_TEXT_LOWER,
	['[' ... '`'] = CAPI_TEXT_NO_MARK,
	['{' ... 0x7F] = CAPI_TEXT_NO_MARK
};

/*
 * Latin letters with marks, U+0080 to U+023F, are most of what is not ASCII in
 * names.  Each is changed alike wherever it stands, and has two bytes, as what
 * it becomes; so the library is asked once.
 */
#define FIRST_LATIN_BYTE	0xC2
#define LAST_LATIN_BYTE		0xC8
#define LATIN_LETTERS		((LAST_LATIN_BYTE - FIRST_LATIN_BYTE + 1) * 64)

typedef struct LatinLetter
{
	char		lower[2];
	bool		is_known;
	bool		grows;			/* its lower case has more bytes */
	uint8		dropped_by;		/* flags */
} LatinLetter;

static LatinLetter latin_letters[LATIN_LETTERS];

static void
learn_letter(LatinLetter *letter, const char *s)
{
	uint8_t		lower[8];
	size_t		n = sizeof(lower);
	const char *p = s;
	ucs4_t		c = capi_text_next(&p, s + 2);

	if (u8_tolower((const uint8_t *) s, 2, NULL, NULL, lower, &n) != lower)
		raise_out_of_memory();
	letter->grows = n != 2;
	memcpy(letter->lower, lower, 2);
	for (int flag = CAPI_TEXT_NO_SPACE; flag <= CAPI_TEXT_NO_DIGIT; flag <<= 1)
		if (is_dropped(c, flag))
			letter->dropped_by |= flag;
	letter->is_known = true;
}

/* What is known of the letter at s, not of ASCII; NULL: ask the library. */
static inline const LatinLetter *
find_letter(const char *s)
{
	unsigned char first = s[0];
	LatinLetter *letter;

	if (first < FIRST_LATIN_BYTE || first > LAST_LATIN_BYTE)
		return NULL;
	letter = &latin_letters[(first - FIRST_LATIN_BYTE) * 64 + (s[1] & 0x3F)];
	if (!letter->is_known)
		learn_letter(letter, s);
	return letter->grows ? NULL : letter;
}

void
capi_text_append(StringInfo out, const char *s, int len, int flags)
{
	char	   *to;
	int			start = out->len;
	bool		is_ascii = true;

	enlargeStringInfo(out, len);
	to = out->data + out->len;
	for (int i = 0; i < len; i++)
	{
		unsigned char c = s[i];
		int			change;

		if (IS_HIGHBIT_SET(c))
		{
			const LatinLetter *letter = find_letter(s + i);

			if (letter == NULL)
			{
				append_unicode(out, s, len, flags);
				return;
			}
			is_ascii = false;
			if ((letter->dropped_by & flags) == 0)
			{
				memcpy(to, flags & CAPI_TEXT_LOWER ? letter->lower : s + i, 2);
				to += 2;
			}
			i++;
			continue;
		}
		change = ascii_flags[c] & flags;
		if (change == 0)
			*to++ = c;
		else if (change == CAPI_TEXT_LOWER)
			*to++ = c + ('a' - 'A');
	}
	*to = '\0';
	out->len = to - out->data;
	if (!is_ascii && (flags & CAPI_TEXT_NO_SPACE))
		trim_appended(out, start);
}

/*
 * Keeps the letters and digits of decomposed, lower-case text.  In place,
 * which works as nothing grows.
 */
static int
keep_letters(char *s, size_t n)
{
	const char *p = s;
	const char *end = s + n;
	char	   *to = s;

	while (p < end)
	{
		const char *start = p;

		if (uc_is_general_category_withtable(capi_text_next(&p, end),
											 UC_CATEGORY_MASK_L |
											 UC_CATEGORY_MASK_N))
		{
			memmove(to, start, p - start);
			to += p - start;
		}
	}
	return to - s;
}

/* capi_text_key for text that is not ASCII throughout. */
static int
fold_unicode(char *key, int size, const char *s, int len)
{
	size_t		n;
	uint8_t    *folded = u8_casefold((const uint8_t *) s, len, NULL,
									 UNINORM_NFKD, NULL, &n);
	int			kept;

	if (folded == NULL)
		raise_out_of_memory();
	kept = keep_letters((char *) folded, n);
	if (kept < size)
		memcpy(key, folded, kept);
	free(folded);
	return kept;
}

int
capi_text_key(char *key, int size, const char *s, int len)
{
	int			kept = 0;

	/* what is much longer than any name is none; saves the work */
	if (len > size * 4)
		return 0;
	for (int i = 0; i < len && kept < size; i++)
	{
		if (IS_HIGHBIT_SET(s[i]))
		{
			kept = fold_unicode(key, size, s, len);
			break;
		}
		if (!is_ascii_mark(s[i]) && !is_ascii_space(s[i]))
			key[kept++] = pg_ascii_tolower(s[i]);
	}
	if (kept >= size)
		return 0;
	key[kept] = '\0';
	return kept;
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

/* Is none of the eight bytes a control character, quote or backslash? */
static inline bool
is_chunk_plain(uint64 chunk)
{
	uint64		quote = chunk ^ EACH_BYTE('"');
	uint64		backslash = chunk ^ EACH_BYTE('\\');
	uint64		rubout = chunk ^ EACH_BYTE(0x7F);
	/* a byte below b: subtracting b sets its high bit, which it did not have */
	uint64		low = (chunk - EACH_BYTE(' ')) & ~chunk;
	uint64		special = ((quote - EACH_BYTE(1)) & ~quote) |
		((backslash - EACH_BYTE(1)) & ~backslash) |
		((rubout - EACH_BYTE(1)) & ~rubout);

	return ((low | special) & HIGH_BITS) == 0;
}

static inline bool
is_plain(unsigned char c)
{
	return c >= ' ' && c != '"' && c != '\\' && c != 0x7F;
}

/* Needs nothing in the text to be escaped? */
static bool
is_text_plain(const char *s, int len)
{
	int			i = 0;

	if (len < (int) sizeof(uint64))
	{
		while (i < len && is_plain(s[i]))
			i++;
		return i == len;
	}
	for (; i + (int) sizeof(uint64) <= len; i += sizeof(uint64))
		if (!is_chunk_plain(load_chunk(s + i)))
			return false;
	return is_chunk_plain(load_chunk(s + len - sizeof(uint64)));
}

void
capi_text_append_json(StringInfo out, const char *s, int len)
{
	int			from = 0;		/* what follows it is not yet written */

	enlargeStringInfo(out, len + 2);
	appendStringInfoCharMacro(out, '"');
	if (!is_text_plain(s, len))
		for (int i = 0; i < len; i++)
		{
			if (is_plain(s[i]))
				continue;
			capi_text_put(out, s + from, i - from);
			append_json_escape(out, s[i]);
			from = i + 1;
		}
	capi_text_put(out, s + from, len - from);
	appendStringInfoCharMacro(out, '"');
}
