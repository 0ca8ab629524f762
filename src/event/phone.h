/*
 * phone.h
 *		What the files on telephone numbers share: phone.c, phone_list.c and
 *		phone_mend.c.  Pure; no other file includes it.
 */
#ifndef CAPI_PHONE_H
#define CAPI_PHONE_H

#include "event/form.h"

/* Fewer digits do not make a number of a list, or one with an extension. */
#define CAPI_PHONE_MIN_LISTED	7
#define CAPI_PHONE_MIN_MAIN		4

/* So many digits and a fraction are no area code and a number behind a point. */
#define CAPI_PHONE_MIN_WHOLE	9

#define CAPI_PHONE_CLAMPED		"the largest integer, not a telephone number"

static inline bool
capi_phone_is_plus(uint32 c)
{
	return c == '+' || c == 0xFF0B;
}

/* Digits of any script between the two. */
extern int	capi_phone_count_digits(const char *p, const char *end);

/*
 * Cuts what follows a number of so many digits behind a mark that parts numbers,
 * when it is not enough for another one: 512-555-0100 / 12.  False if there is
 * nothing, or more than max_rest digits.
 */
extern bool capi_phone_cut_remainder(CapiInput *in, int min_digits, int max_rest);

/* What a column of integers holds when a number was too large for it? */
extern bool capi_phone_is_clamped(const char *s, int len);

/*
 * A number that passed through a column or spreadsheet of numbers, in buf, of
 * CAPI_NUMBER_MAX_LEN bytes, or as it was, also beside a remark.  False with the
 * problem if not all of it is left.
 */
extern bool capi_phone_mend(CapiInput *in, char *buf);

#endif							/* CAPI_PHONE_H */
