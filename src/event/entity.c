/*
 * entity.c
 *		Decoding of character references (entity.h).
 *
 * By the rules of HTML5 for names, numbers, and which of them may lack their
 * semicolon.  "AT&T" and "R&D" stay, for these are none.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "event/entity.h"
#include "event/form.h"

/* Where a name and, behind it, what it stands for begin in entity_text. */
typedef struct Entity
{
	uint16		at;
	uint8		len;
	bool		bare;			/* may lack its semicolon */
} Entity;

#include "event/entity_table.h"

/* "CounterClockwiseContourIntegral" and room for a number with zeros. */
#define MAX_NAME_BYTES		40

#define MIN_NAME_BYTES		2

/* Encoded twice is read twice, and so on; what is left stays. */
#define MAX_PASSES			8

#define REPLACEMENT			0xFFFD
#define MAX_CODE_POINT		0x10FFFF

/*
 * HTML5: numbers from 128 to 159 mean what Windows-1252 has there.  0 where it
 * has nothing.
 */
static const uint16 windows_1252[] = {
	0x20AC, 0, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
	0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0, 0x017D, 0,
	0, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
	0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0, 0x017E, 0x0178
};

static const Entity *
find_name(const char *name, int len)
{
	int			low = 0;
	int			high = lengthof(entities) - 1;

	while (low <= high)
	{
		int			mid = (low + high) / 2;
		const Entity *entity = &entities[mid];
		int			cmp = memcmp(name, entity_text + entity->at,
								 Min(len, entity->len));

		if (cmp == 0)
			cmp = len - entity->len;
		if (cmp == 0)
			return entity;
		if (cmp < 0)
			high = mid - 1;
		else
			low = mid + 1;
	}
	return NULL;
}

static void
append_code_point(StringInfo out, uint32 c)
{
	unsigned char utf8[MAX_MULTIBYTE_CHAR_LEN];

	if (c >= 0x80 && c < 0x80 + lengthof(windows_1252) &&
		windows_1252[c - 0x80] != 0)
		c = windows_1252[c - 0x80];
	if (c == 0 || c > MAX_CODE_POINT || (c >= 0xD800 && c <= 0xDFFF))
		c = REPLACEMENT;
	unicode_to_utf8(c, utf8);
	appendBinaryStringInfo(out, (char *) utf8, pg_utf_mblen(utf8));
}

static int
digit_value(char c, int base)
{
	int			value = base;

	if (capi_form_is_digit(c))
		value = c - '0';
	else if (pg_ascii_tolower(c) >= 'a' && pg_ascii_tolower(c) <= 'f')
		value = pg_ascii_tolower(c) - 'a' + 10;
	return value < base ? value : -1;
}

/*
 * Appends what the number at s stands for, behind "&#".  Returns the bytes read,
 * 0 if it is none.
 */
static int
decode_number(const char *s, const char *end, bool closed, StringInfo out)
{
	const char *p = s;
	int			base = 10;
	uint32		c = 0;
	const char *digits;

	if (p < end && (*p == 'x' || *p == 'X'))
	{
		base = 16;
		p++;
	}
	digits = p;
	for (; p < end && digit_value(*p, base) >= 0; p++)
		c = Min(c * base + digit_value(*p, base), MAX_CODE_POINT + 1);
	if (p == digits || (closed && (p == end || *p != ';')))
		return 0;
	append_code_point(out, c);
	return p - s + (p < end && *p == ';');
}

static inline const char *
value_of(const Entity *entity)
{
	return entity_text + entity->at + entity->len;
}

/* &NTILDE; of a name that somebody has put into capitals; NULL: it is none. */
static const Entity *
find_capitals(const char *name, int len)
{
	char		lower[MAX_NAME_BYTES];

	for (int i = 0; i < len; i++)
	{
		if (name[i] >= 'a' && name[i] <= 'z')
			return NULL;
		lower[i] = pg_ascii_tolower(name[i]);
	}
	return find_name(lower, len);
}

/* The same for a name, behind "&". */
static int
decode_name(const char *s, const char *end, CapiEntityUse use, StringInfo out)
{
	const Entity *entity = NULL;
	int			len = 0;

	while (s + len < end && len < MAX_NAME_BYTES && capi_form_is_alnum(s[len]))
		len++;
	if (s + len < end && s[len] == ';')
		entity = find_name(s, len);
	if (entity == NULL && use == CAPI_ENTITY_TEXT && s + len < end && s[len] == ';')
		entity = find_capitals(s, len);
	if (entity != NULL)
	{
		appendStringInfoString(out, value_of(entity));
		return len + 1;
	}
	if (use < CAPI_ENTITY_WORD ||
		(use == CAPI_ENTITY_WORD && s + len < end && s[len] == '='))
		return 0;
	for (; len >= MIN_NAME_BYTES; len--)
	{
		entity = find_name(s, len);
		if (entity != NULL && entity->bare)
		{
			appendStringInfoString(out, value_of(entity));
			return len;
		}
		if (use == CAPI_ENTITY_WORD)
			break;
	}
	return 0;
}

/* The same in a URL, where only an ampersand cannot be meant as it stands. */
static int
decode_ampersand(const char *s, const char *end, StringInfo out)
{
	int			before = out->len;
	int			read = 0;

	if (s < end && *s == '#')
		read = 1 + decode_number(s + 1, end, true, out);
	else if (end - s >= 4 && pg_strncasecmp(s, "amp;", 4) == 0)
	{
		appendStringInfoChar(out, '&');
		read = 4;
	}
	if (out->len == before + 1 && out->data[before] == '&')
		return read;
	out->len = before;
	return 0;
}

/* Appends the text decoded once; false if nothing was. */
static bool
decode_once(const char *s, int len, CapiEntityUse use, StringInfo out)
{
	const char *end = s + len;
	const char *from = s;		/* what follows it is not yet written */
	const char *p;
	bool		any = false;

	for (p = s; p < end && (p = memchr(p, '&', end - p)) != NULL;)
	{
		int			before;
		int			read;

		appendBinaryStringInfo(out, from, p - from);
		from = p++;
		before = out->len;
		if (use == CAPI_ENTITY_AMPERSAND)
			read = decode_ampersand(p, end, out);
		else if (p < end && *p == '#')
		{
			read = decode_number(p + 1, end, use < CAPI_ENTITY_TEXT, out);
			read += read > 0 ? 1 : 0;
		}
		else
			read = decode_name(p, end, use, out);
		if (out->len > before)
		{
			any = true;
			p += read;
			from = p;
		}
	}
	appendBinaryStringInfo(out, from, end - from);
	return any;
}

const char *
capi_entity_decode(const char *s, int *len, CapiEntityUse use)
{
	for (int pass = 0; pass < MAX_PASSES && use != CAPI_ENTITY_NEVER &&
		 memchr(s, '&', *len) != NULL; pass++)
	{
		StringInfoData out;

		initStringInfo(&out);
		if (!decode_once(s, *len, use, &out))
		{
			pfree(out.data);
			break;
		}
		s = out.data;
		*len = out.len;
	}
	return s;
}
