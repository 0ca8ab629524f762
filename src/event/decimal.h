/*
 * decimal.h
 *		Numbers as JSON takes them, without loss.  Pure; called by normalize.c.
 */
#ifndef CAPI_DECIMAL_H
#define CAPI_DECIMAL_H

#include "lib/stringinfo.h"

#define CAPI_DECIMAL_MAX_LEN	104

/*
 * Appends the number that the text holds, exact and in the shortest form:
 * 64.8000 is 64.8, 1e2 is 100, -0 is 0.  False, and out is unchanged, if it is
 * no number written with digits, point and exponent, or integer was asked for
 * and it is none.
 */
extern bool capi_decimal_append(StringInfo out, const char *s, int len,
								bool integer);

/*
 * Moves the point of the number that out holds from start on, one that
 * capi_decimal_append wrote, to the left: 6480 and two digits are 64.8.
 */
extern void capi_decimal_shift(StringInfo out, int start, int digits);

/*
 * Writes an amount of money as people and money columns print it, 1.234,50 EUR,
 * with digits and a point only.  Takes trimmed, valid UTF-8.  Returns the
 * length, or 0 with the problem if it is none, or one that can be read in two
 * ways.
 */
extern int	capi_decimal_from_amount(char *plain, const char *s, int len,
									 const char **problem);

#endif							/* CAPI_DECIMAL_H */
