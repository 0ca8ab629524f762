/*
 * response_mask.c
 *		Makes a text of the peer fit to be stored and shown.
 *
 * Such texts may repeat what was sent to them, so nothing of them is kept but
 * words that are known (response_words.c), punctuation, and short numbers.  The
 * rest becomes "***", one for many words:
 *	-	what stands between quotes, unless it is a name of Meta's own format or
 *		a step of a path as in $['data'][0]['user_data'];
 *	-	a word with "@" or "://", an address of the internet, a word of 20 or
 *		more letters and digits (tokens, hashes);
 *	-	digits that may be a phone, a birth date, an address or the number of a
 *		customer: six, also with separators between them, or three groups of
 *		them as in 1.2.3.4; a number of more than three that is no
 *		code as in (#2500);
 *	-	every other word that is not in the list.
 * Line breaks and other control characters become spaces.
 *
 * Texts are UTF-8.  The result is valid in the database's encoding: where that
 * is not UTF-8, every character beyond ASCII is "?".
 *
 * Pure.  Called by response.c.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "answer/response.h"

#define MASK				"***"
#define LONG_WORD_BYTES		20
#define MIN_DIGITS			6
#define DIGIT_GROUPS		3
#define MAX_NAME_BYTES		40
#define MAX_NUMBER_DIGITS	3
#define MAX_CODE_DIGITS		7

/* Characters that may stand between the digits of one number. */
#define DIGIT_SEPARATORS	" ()-./+:|,"

/* Where the result goes; pieces that no longer fit are left out whole. */
typedef struct MaskTarget
{
	char	   *data;
	size_t		size;
	size_t		len;
	bool		full;
} MaskTarget;

/* Opening quotes and what closes them; the ASCII ones come first. */
static const struct
{
	const char *open;
	const char *close;
}			quotes[] = {
	{"\"", "\""},
	{"'", "'"},
	{"`", "`"},
	{"\xE2\x80\x9C", "\xE2\x80\x9D"},	/* English double */
	{"\xE2\x80\x9E", "\xE2\x80\x9C"},	/* German double */
	{"\xE2\x80\x98", "\xE2\x80\x99"},	/* English single */
	{"\xC2\xAB", "\xC2\xBB"},	/* French */
};

static void put(MaskTarget *target, const char *piece, size_t len);
static void put_mask(MaskTarget *target);
static size_t mask_quoted(MaskTarget *target, const char *text, const char *p);
static bool is_name(const char *p, size_t len);
static size_t keep_word(MaskTarget *target, const char *text, const char *p);
static bool is_kept(const char *text, const char *p, size_t len);
static size_t mask_digits(MaskTarget *target, const char *text, const char *p);
static size_t mask_word(MaskTarget *target, const char *p);
static bool is_suspicious_word(const char *p, size_t len);
static size_t put_character(MaskTarget *target, const char *p);
static bool is_letter_or_digit(char c);

void
capi_response_mask(const char *text, char *target, size_t size)
{
	MaskTarget	out = {target, size, 0, false};
	const char *p = text;
	bool		word_starts = true;

	target[0] = '\0';
	while (*p != '\0' && !out.full)
	{
		size_t		eaten = mask_quoted(&out, text, p);

		if (eaten == 0 && word_starts)
			eaten = mask_word(&out, p);
		if (eaten == 0)
			eaten = mask_digits(&out, text, p);
		if (eaten == 0 && word_starts)
			eaten = keep_word(&out, text, p);
		if (eaten == 0)
			eaten = put_character(&out, p);
		p += eaten;
		/* a word may also begin after a bracket, "=" and the like */
		word_starts = !is_letter_or_digit(p[-1]);
	}
}

/* Adds a piece if it fits, so that no character is cut in two. */
static void
put(MaskTarget *target, const char *piece, size_t len)
{
	if (target->full || len >= target->size - target->len)
	{
		target->full = true;
		return;
	}
	memcpy(target->data + target->len, piece, len);
	target->len += len;
	target->data[target->len] = '\0';
}

/* One for all that is masked with nothing but spaces between it. */
static void
put_mask(MaskTarget *target)
{
	size_t		len = target->len;

	while (len > 0 && target->data[len - 1] == ' ')
		len--;
	if (len >= strlen(MASK) &&
		memcmp(target->data + len - strlen(MASK), MASK, strlen(MASK)) == 0)
	{
		target->len = len;
		target->data[len] = '\0';
	}
	else
		put(target, MASK, strlen(MASK));
}

/*
 * If a quote opens at p: writes it, its content or the mask, and what closes
 * it.  Returns bytes eaten, 0 if no quote opens here.  An apostrophe between
 * letters is none.  A quote that never closes hides the rest of the text.
 */
static size_t
mask_quoted(MaskTarget *target, const char *text, const char *p)
{
	for (size_t i = 0; i < lengthof(quotes); i++)
	{
		size_t		open_len = strlen(quotes[i].open);
		size_t		close_len = strlen(quotes[i].close);
		const char *content = p + open_len;
		const char *end;

		if (strncmp(p, quotes[i].open, open_len) != 0)
			continue;
		if (*p == '\'' && p > text && is_letter_or_digit(p[-1]))
			return 0;

		for (end = strstr(content, quotes[i].close);
			 end != NULL && *p == '\'' && is_letter_or_digit(end[1]);)
			end = strstr(end + 1, quotes[i].close);
		if (end == NULL)
		{
			put_mask(target);
			return strlen(p);
		}

		put(target, p, open_len);
		if (capi_response_is_name(content, end - content) ||
			(p > text && p[-1] == '[' && end[close_len] == ']' &&
			 is_name(content, end - content) &&
			 capi_response_is_word(content, end - content)))
			put(target, content, end - content);
		else
			put(target, MASK, strlen(MASK));
		put(target, end, close_len);
		return end + close_len - p;
	}
	return 0;
}

/* Letters and "_" only, as all names of the format are (SPEC 1 to 5). */
static bool
is_name(const char *p, size_t len)
{
	if (len == 0 || len > MAX_NAME_BYTES)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		if (!((p[i] >= 'a' && p[i] <= 'z') || p[i] == '_'))
			return false;
	}
	return true;
}

/* The digits of a code in parentheses, "(#2500)". */
static bool
is_code(const char *text, const char *p)
{
	size_t		digits = strspn(p, "0123456789");

	return p - text >= 2 && p[-1] == '#' && p[-2] == '(' &&
		digits >= 1 && digits <= MAX_CODE_DIGITS && p[digits] == ')';
}

/*
 * If a number begins at p that is too long to be shown: writes the mask and
 * returns the bytes it stands for, else 0.
 */
static size_t
mask_digits(MaskTarget *target, const char *text, const char *p)
{
	int			digits = 0;
	bool		in_group = false;
	int			groups = 0;
	size_t		last = 0;		/* bytes until after the last digit */

	if (*p < '0' || *p > '9' ||
		(p > text && p[-1] >= '0' && p[-1] <= '9') || is_code(text, p))
		return 0;

	for (size_t i = 0; p[i] != '\0'; i++)
	{
		if (p[i] >= '0' && p[i] <= '9')
		{
			digits++;
			groups += !in_group;
			in_group = true;
			last = i + 1;
		}
		else if (strchr(DIGIT_SEPARATORS, p[i]) != NULL)
			in_group = false;
		else
			break;
	}
	if (digits < MIN_DIGITS && groups < DIGIT_GROUPS)
		return 0;

	put_mask(target);
	return last;
}

/*
 * If the word that begins at p must not be shown: writes the mask and returns
 * its length; 0 if it may be looked at character by character.
 */
static size_t
mask_word(MaskTarget *target, const char *p)
{
	size_t		len = 0;

	/* quotes are mask_quoted's, commas and brackets end a word */
	while (p[len] != '\0' && strchr(" \t\r\n,;\"'`()[]{}<>", p[len]) == NULL)
		len++;
	while (len > 0 && strchr(".!?", p[len - 1]) != NULL)
		len--;					/* the sentence's, not the word's */

	if (len == 0)
		return 0;
	if (!is_suspicious_word(p, len))
		return 0;
	put_mask(target);
	return len;
}

static bool
is_suspicious_word(const char *p, size_t len)
{
	size_t		longest = 0;
	size_t		run = 0;
	int			dots = 0;
	int			colons = 0;
	bool		address = true; /* only what internet addresses consist of */

	for (size_t i = 0; i < len; i++)
	{
		if (p[i] == '@' || (len - i >= 3 && strncmp(p + i, "://", 3) == 0))
			return true;
		dots += p[i] == '.';
		colons += p[i] == ':';
		if (strchr("0123456789abcdefABCDEF.:", p[i]) == NULL)
			address = false;
		run = is_letter_or_digit(p[i]) || strchr("_-|", p[i]) != NULL ?
			run + 1 : 0;
		longest = Max(longest, run);
	}
	if (address && (dots >= 3 || colons >= 2))
		return true;
	return longest >= LONG_WORD_BYTES && !is_name(p, len);
}

/*
 * If a word begins at p: writes it if it may be kept, else the mask; returns its
 * length.  An apostrophe between letters belongs to it.
 */
static size_t
keep_word(MaskTarget *target, const char *text, const char *p)
{
	size_t		len = 0;

	while (is_letter_or_digit(p[len]) || p[len] == '_' ||
		   (len > 0 && p[len] == '\'' && is_letter_or_digit(p[len - 1]) &&
			is_letter_or_digit(p[len + 1])))
		len++;
	if (len == 0)
		return 0;
	if (is_kept(text, p, len))
		put(target, p, len);
	else
		put_mask(target);
	return len;
}

/* A known word, a short number, a code, or a version as in v25.0. */
static bool
is_kept(const char *text, const char *p, size_t len)
{
	size_t		digits = strspn(p, "0123456789");

	if (digits >= len)
		return len <= MAX_NUMBER_DIGITS || is_code(text, p);
	if (*p == 'v' && strspn(p + 1, "0123456789") == len - 1)
		return len > 1 && len - 1 <= MAX_NUMBER_DIGITS;
	return capi_response_is_word(p, len);
}

/* Copies one character; returns the bytes it had. */
static size_t
put_character(MaskTarget *target, const char *p)
{
	size_t		n = pg_utf_mblen((const unsigned char *) p);
	size_t		left = strnlen(p, n);

	if ((unsigned char) *p < ' ' || *p == 0x7f)
	{
		put(target, " ", 1);
		return 1;
	}
	if (n > left || !pg_utf8_islegal((const unsigned char *) p, (int) n))
	{
		put(target, "?", 1);
		return 1;
	}
	if (n > 1 && GetDatabaseEncoding() != PG_UTF8)
		put(target, "?", 1);
	else
		put(target, p, n);
	return n;
}

/* Bytes of characters beyond ASCII count as letters. */
static bool
is_letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || (unsigned char) c >= 0x80;
}
