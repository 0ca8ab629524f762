/*
 * text.h
 *		Unicode text for the pure modules: checking, trimming, lower-casing,
 *		dropping classes of characters, quoting for JSON.
 *
 * All text is UTF-8, whatever the database's encoding, and no function looks at
 * a locale.  Lower-casing is our own table of Unicode 14 rather than the C
 * library's or ICU's: a hash must be the same on every build, major version
 * and operating system, before and after an upgrade of each, and the server
 * has such tables of its own only from 17 on.  Two rules go beyond one-to-one:
 * U+0130 becomes "i" and U+0307, and a capital sigma that ends a word becomes
 * the final sigma.
 */
#ifndef CAPI_TEXT_H
#define CAPI_TEXT_H

#include "lib/stringinfo.h"

#define CAPI_TEXT_LOWER		0x01	/* lower-case */
#define CAPI_TEXT_NO_SPACE	0x02	/* drop white space, also inside */
#define CAPI_TEXT_NO_MARK	0x04	/* drop punctuation, symbols, controls */
#define CAPI_TEXT_NO_DIGIT	0x08	/* drop the digits 0 to 9 */

/* Are these bytes valid UTF-8? */
extern bool capi_text_is_valid(const char *s, int len);

/* Moves both ends inwards over Unicode white space. */
extern void capi_text_trim(const char **s, int *len);

/* Appends the text, changed as flags say.  The text must be valid. */
extern void capi_text_append(StringInfo out, const char *s, int len, int flags);

/* Appends the text as a JSON string with its quotes. */
extern void capi_text_append_json(StringInfo out, const char *s, int len);

#endif							/* CAPI_TEXT_H */
