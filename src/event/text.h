/*
 * text.h
 *		Unicode text for the pure modules: checking, trimming, lower-casing,
 *		dropping classes of characters, quoting for JSON.
 *
 * All text is UTF-8, whatever the database's encoding, and no function looks at
 * a locale.  Case and classes are those of libunistring: Unicode's full lower
 * case with its two rules beyond one-to-one (U+0130 becomes "i" and U+0307, a
 * capital sigma that ends a word the final sigma), the same in every server
 * version and database.  See doc/normalisation.md for why it is that library.
 */
#ifndef CAPI_TEXT_H
#define CAPI_TEXT_H

#include "lib/stringinfo.h"

/* Most text is ASCII, and most functions of text.c begin here, inline. */

#define CAPI_TEXT_LOWER		0x01	/* lower-case */
#define CAPI_TEXT_NO_SPACE	0x02	/* drop what is not seen, also inside */
#define CAPI_TEXT_NO_MARK	0x04	/* drop punctuation, symbols, controls */
#define CAPI_TEXT_NO_DIGIT	0x08	/* drop the digits 0 to 9 */

/* Are these bytes valid UTF-8? */
extern bool capi_text_is_valid(const char *s, int len);

/* For the inline functions below: the same beyond ASCII. */
extern void capi_text_trim_ends(const char **s, int *len);
extern uint32 capi_text_decode(const char **p, const char *end);
extern int	capi_text_digit_value(uint32 c);

/* Cannot be trimmed, seen alone: ASCII beyond the space. */
static inline bool
capi_text_is_plain(char c)
{
	return c > ' ' && c != 0x7F && !IS_HIGHBIT_SET(c);
}

/* Moves both ends inwards over white space and what else is not seen. */
static inline void
capi_text_trim(const char **s, int *len)
{
	if (*len == 0 || !capi_text_is_plain(**s) || !capi_text_is_plain((*s)[*len - 1]))
		capi_text_trim_ends(s, len);
}

/* Decodes one character of valid text and steps over it. */
static inline uint32
capi_text_next(const char **p, const char *end)
{
	return IS_HIGHBIT_SET(**p) ? capi_text_decode(p, end) : (unsigned char) *(*p)++;
}

/*
 * The same, with the character in *c; its value if it is a decimal digit of
 * any script, else -1.
 */
static inline int
capi_text_digit(const char **p, const char *end, uint32 *c)
{
	*c = capi_text_next(p, end);
	if (*c < 0x80)
		return *c >= '0' && *c <= '9' ? (int) *c - '0' : -1;
	return capi_text_digit_value(*c);
}

/* appendBinaryStringInfo, for the few bytes that most pieces are. */
static inline void
capi_text_put(StringInfo out, const char *s, int len)
{
	if (out->maxlen - out->len <= len)
		enlargeStringInfo(out, len);
	memcpy(out->data + out->len, s, len);
	out->len += len;
	out->data[out->len] = '\0';
}

/* The same of a string constant. */
#define capi_text_put_literal(out, s)	capi_text_put((out), (s), sizeof(s) - 1)

/* Appends the text, changed as flags say.  The text must be valid. */
extern void capi_text_append(StringInfo out, const char *s, int len, int flags);

/*
 * Writes what names of countries and the like are compared by: compatibility
 * decomposition, case folded, letters and digits only, so that spaces, accents
 * and widths do not matter.  Returns its length without the terminator, 0 if
 * nothing is left or it does not fit.  The text must be valid.
 */
extern int	capi_text_key(char *key, int size, const char *s, int len);

/* Appends the text as a JSON string with its quotes. */
extern void capi_text_append_json(StringInfo out, const char *s, int len);

#endif							/* CAPI_TEXT_H */
