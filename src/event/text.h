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

#define CAPI_TEXT_LOWER		0x01	/* lower-case */
#define CAPI_TEXT_NO_SPACE	0x02	/* drop what is not seen, also inside */
#define CAPI_TEXT_NO_MARK	0x04	/* drop punctuation, symbols, controls */
#define CAPI_TEXT_NO_DIGIT	0x08	/* drop the digits 0 to 9 */

/* Are these bytes valid UTF-8? */
extern bool capi_text_is_valid(const char *s, int len);

/* Moves both ends inwards over white space and what else is not seen. */
extern void capi_text_trim(const char **s, int *len);

/* Decodes one character of valid text and steps over it. */
extern uint32 capi_text_next(const char **p, const char *end);

/*
 * The same, with the character in *c; its value if it is a decimal digit of
 * any script, else -1.
 */
extern int	capi_text_digit(const char **p, const char *end, uint32 *c);

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
