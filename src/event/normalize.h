/*
 * normalize.h
 *		One field's raw text -> the text that is sent or hashed (SPEC 3 and 4).
 *
 * Pure: no catalog, no locale, no clock, so the same text gives the same
 * answer anywhere and always.  Documentation goes before libraries; every
 * choice where those disagree is in doc/normalisation.md.
 *
 * Called by payload.c and normalize_sql.c.
 */
#ifndef CAPI_NORMALIZE_H
#define CAPI_NORMALIZE_H

#include "lib/stringinfo.h"

/*
 * Appends the normal form of raw, UTF-8 text of that CapiField, to out.  The
 * form of a hashed field is still to be hashed (hash.h), unless raw already is
 * a hash: then it is that hash, bare and lower-case.
 *
 * country: lower-case alpha-2 code of the customer's country or NULL; it
 * completes telephone numbers and chooses rules for states and postcodes.
 *
 * Of several values in one text the first usable one counts.
 *
 * False if there is nothing to send, and out is unchanged.  *problem is then a
 * static text that tells why, without the value, or NULL if raw is merely
 * empty.  With true it may be set as well: sent, but doubtful.
 */
extern bool capi_normalize(int field, const char *raw, const char *country,
						   StringInfo out, const char **problem);

/*
 * The same for one of the values that *rest holds: several e-mail addresses or
 * telephone numbers may stand in one text.  Moves *rest to the next one, or to
 * the end of the text.
 */
extern bool capi_normalize_next(int field, const char **rest,
								const char *country, StringInfo out,
								const char **problem);

/* The same for text whose end is known and for a CapiFieldForm, not hashed. */
extern bool capi_normalize_form(int form, const char *raw, int len,
								const char *country, StringInfo out,
								const char **problem);

/*
 * What was appended to out from start on must be one of the words, whatever
 * its case, and becomes it; NULL allows everything.  False, with the problem
 * and without the text, if it is none of them.
 */
extern bool capi_normalize_word(const char *const *words, StringInfo out,
								int start, const char **problem);

#endif							/* CAPI_NORMALIZE_H */
